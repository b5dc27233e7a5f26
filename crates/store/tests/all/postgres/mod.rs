//! The PostgreSQL backend: the same promises as every other, and what only a server can do to it.

mod conformance;
mod crash;
mod disk_full;
mod fence;
mod outages;
mod refusals;
mod retention;
mod support;
mod unknown;
