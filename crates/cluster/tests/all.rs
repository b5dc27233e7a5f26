//! The machine from outside: alone, and several of them over one row with everything that can go wrong between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "all/row.rs"]
mod row;

#[path = "all/machine.rs"]
mod machine;
#[path = "all/model.rs"]
mod model_check;
#[path = "all/simulation.rs"]
mod simulation;
