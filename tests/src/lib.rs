//! The kit of the end-to-end tests: the product as a partner and an operator see it. It starts the real
//! binary as a process, talks to it through sockets, its HTTP API and its files, kills it, and starts
//! it again. It knows nothing of what is inside.

pub mod binary;
pub mod http;
pub mod machine;
pub mod mllp;
pub mod node;
pub mod ports;
pub mod repository;
pub mod runbook;
pub mod wait;
