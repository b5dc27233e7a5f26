//! The only crate that opens partner sockets and files. One folder per connector; [`registry`] lists
//! them. It cannot see the store, the graph or the engine: [`contract`] is all that joins them.

pub mod contract;
pub mod file;
mod internal;
pub mod loopback;
pub mod mllp;
mod options;
pub mod passthrough;
pub mod registry;
pub mod timer;

pub use contract::{
    Accepted, Connector, DeliverError, Delivered, Delivery, FailureClass, Fault, Intake, Received, Refused,
    Sink, Source, SourceContext, SourceError, Status, Unobtainable, Verdict,
};
