//! The only crate that holds SQL or names a database driver: the staged queue, its messages, the
//! lease row.

pub mod contract;
pub mod rows;
pub mod views;

pub use contract::{Census, CommitError, Desired, Error, NameKind, Store, WorkMessage};
pub use rows::{Entry, Receipt, Unit};
