//! The store's tests that need whole stores, processes or file systems.

mod conformance;
mod crash;
mod disk_full;
mod refusals;
mod retention;
mod support;
