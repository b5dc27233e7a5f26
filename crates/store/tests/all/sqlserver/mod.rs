//! The SQL Server backend: the same promises as every other, on a server where one is named, and what can be shown
//! without one.

mod board;
mod conformance;
mod errors;
mod fence;
mod locking;
mod outages;
mod parity;
mod peer;
mod refusals;
mod session;
mod statements;
mod support;
mod takeover;
mod unknown;
