//! The only crate that holds SQL or names a database driver: the staged queue, its messages, the
//! lease row.
//!
//! [`contract`] says what every backend promises; [`conformance`] holds a backend to it; [`sqlite`] is
//! the embedded backend, [`postgres`] and [`sqlserver`] those for a database server. [`ceiling`] measures what a database can
//! append at best.

pub mod board;
pub mod ceiling;
mod codes;
pub mod conformance;
pub mod contract;
mod desk;
pub mod keys;
mod migration;
pub mod orders;
mod outage;
mod packing;
pub mod postgres;
pub mod rows;
mod segments;
mod server;
pub mod sqlite;
pub mod sqlserver;
mod tally;
pub mod views;

pub use contract::{Begin, Census, CommitError, Desired, Error, NameKind, Store, WorkMessage};
pub use keys::{Key, Keys};
pub use migration::Schema;
pub use rows::{Entry, Receipt, Unit};
pub use segments::retention::{Done, Fate, Findings, Horizon, RetentionRules, Retired, SegmentInfo};
pub use server::figures::ServerFigures;
pub use tally::{CommitSizes, commit_sizes};
