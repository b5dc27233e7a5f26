//! The store's tests that need whole stores, processes or file systems.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod conformance;
mod crash;
mod disk_full;
mod led;
mod postgres;
mod promises;
mod refusals;
mod retention;
mod scenes;
mod sqlserver;
mod support;
