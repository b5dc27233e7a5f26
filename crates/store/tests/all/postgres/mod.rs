//! The PostgreSQL backend: the same promises as every other, and what only a server can do to it.

mod board;
mod conformance;
mod connections;
mod crash;
mod disk_full;
mod failover;
mod fence;
mod network;
mod observers;
mod orders;
mod outages;
mod refusals;
mod retention;
mod schema;
mod support;
mod tls;
mod unknown;
