//! The connectors at their boundary: real sockets, real files, an intake that records.

mod file_sink;
mod file_source;
mod mllp_sink;
mod mllp_source;
mod registry;
mod support;
mod timer;
