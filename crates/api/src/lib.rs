//! HTTP/JSON over a running node: probes, metrics, reads and operator commands; and the client that the
//! command line uses.
//!
//! Loopback only in this release: a listener on another address and a request that names another host are
//! both refused. This crate knows no SQL, no connector and no Starlark; what it answers comes from
//! [`engine::Node`], while one runs here, from [`engine::Observer`] while another one leads, and from
//! [`cluster::Cluster`]. A message body leaves it only through the two `/body` routes, never in an error or a
//! log line.

pub mod client;
mod cluster;
mod commands;
mod error;
mod gauges;
mod guard;
mod orders;
mod probes;
mod query;
mod reader;
mod reads;
mod routes;
mod seat;
mod server;
pub mod telemetry;
mod waiting;
pub mod wire;

pub use seat::{About, Seat};
pub use server::serve;
pub use waiting::wait;
