//! The embedded backend: a control file and one SQLite file per segment, in one directory.
//!
//! One OS thread (the writer) makes every write; a transaction touches the newest segment's file only,
//! and so is atomic. A second thread (the keeper) checkpoints, seals and looks for drained segments.
//! Reads run on read-only connections of their own and never wait for the writer.
//!
//! The module hides files, SQL and threads; outside it there is the [`Store`](crate::Store) contract,
//! [`open`] and [`Options`].

mod append;
mod ceiling;
mod control;
mod database;
mod fault;
mod integrity;
mod keeper;
mod layout;
mod migrate;
mod open;
mod options;
mod readers;
mod retention;
mod seal;
mod search;
mod segment;
mod source;
mod store;
mod writer;

pub use ceiling::ceiling;
pub use open::open;
pub use options::Options;
pub use store::SqliteStore;
