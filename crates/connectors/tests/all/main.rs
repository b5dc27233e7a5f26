//! The connectors at their boundary: real sockets, real files, an intake that records.

// Support functions are test code too, which clippy.toml cannot tell from here.
#![allow(clippy::unwrap_used)]

mod docs;
mod file_sink;
mod file_source;
mod mllp_sink;
mod mllp_source;
mod registry;
mod support;
mod timer;
