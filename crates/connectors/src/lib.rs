//! The only crate that opens partner sockets and files. One folder per connector; `registry` lists them.

pub mod contract;

pub use contract::{
    Accepted, Connector, DeliverError, Delivered, Delivery, FailureClass, Fault, Intake, Received, Refused, Sink,
    Source, SourceContext, SourceError, Status, Verdict,
};
