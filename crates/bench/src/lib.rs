//! The other two thirds of a test: a partner that sends, a partner that receives, and a judge.
//!
//! The [`sender`] offers load over MLLP and remembers what was acknowledged. The [`sink`] is the
//! partner on the far side, well-behaved or not on purpose, and remembers what arrived in which
//! order. [`reconcile`] compares the two. [`scenario`] runs all three against whatever listens.
//!
//! This crate knows nothing of the engine, its store or its connectors: it sees only the wire. So
//! `holdfast load`, the end-to-end tests and the demo all judge by the same, independent evidence.

pub mod chart;
pub mod client;
mod clock;
pub mod control_id;
pub mod course;
pub mod payload;
pub mod profile;
pub mod recipe;
pub mod reconcile;
pub mod scenario;
pub mod sender;
pub mod sink;
pub mod stats;
pub mod toll;
pub mod wire;

pub use clock::stamp;
