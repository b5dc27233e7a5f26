//! The engine over a real store, real connectors and real functions, in one process.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

#[path = "all/site.rs"]
mod site;

#[path = "all/dispositions.rs"]
mod dispositions;
#[path = "all/operators.rs"]
mod operators;
#[path = "all/orderings.rs"]
mod orderings;
#[path = "all/partners.rs"]
mod partners;
#[path = "all/recovery.rs"]
mod recovery;
#[path = "all/retention.rs"]
mod retention;
