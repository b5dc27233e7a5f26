//! What the backends on a database server share. A server's own part is its driver and what its errors mean
//! ([`Connection`]), how values and rows are carried ([`value`]), and for each theme ([`link::Link`] lists them) its SQL,
//! with what it does in a way of its own.
//!
//! One OS thread (the writer) owns one connection and makes every write of a message's life: a grouped
//! commit is one round trip that claims the shard's row and appends to the newest
//! segment's tables. A second thread (the keeper) makes the next segment ahead, seals full ones and looks
//! for drained ones. Reads use a few connections of their own, on blocking threads.
//!
//! Whether a commit happened is never guessed: when the connection is lost in one, the writer connects
//! anew, takes the shard's row for its new session (which waits for the old one and voids whatever it may
//! still do) and looks for the rows.

pub(crate) mod batch;
pub(crate) mod board;
pub(crate) mod control;
pub(crate) mod figures;
pub(crate) mod integrity;
pub(crate) mod keeper;
pub(crate) mod lead;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod migrate;
pub(crate) mod open;
pub(crate) mod orders;
pub(crate) mod readers;
pub(crate) mod retention;
pub(crate) mod seal;
pub(crate) mod segment;
pub(crate) mod settle;
pub(crate) mod store;
pub(crate) mod tables;
pub(crate) mod target;
pub(crate) mod url;
pub(crate) mod value;
pub(crate) mod writer;

pub(crate) use board::ServerBoard;
pub(crate) use lead::{Lead, check_epoch, not_leading};
pub(crate) use link::{Append, Connection, Probe, Purpose, Trouble, session_name};
pub(crate) use open::Settings;
pub(crate) use store::ServerStore;
