//! The only crate that holds SQL or names a database driver: the staged queue, its messages, the
//! lease row.
//!
//! [`contract`] says what every backend promises; [`conformance`] holds a backend to it; [`sqlite`] is
//! the embedded backend.

pub mod conformance;
pub mod contract;
pub mod rows;
pub mod sqlite;
pub mod views;

pub use contract::{Census, CommitError, Desired, Error, NameKind, Store, WorkMessage};
pub use rows::{Entry, Receipt, Unit};
