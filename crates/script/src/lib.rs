//! The only crate that runs user code.

pub mod contract;

pub use contract::{
    Content, Fault, FaultKind, Handled, Incoming, Loaded, Program, Request, Routed, Send, TestResult,
};
