//! The SQL Server backend: the same promises as every other, on a server where one is named, and what can be shown
//! without one.

mod board;
mod conformance;
mod locking;
mod parity;
mod peer;
mod statements;
mod support;
mod takeover;
