//! The machine from outside: alone, and several of them over one database with everything that can go wrong between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "all/database.rs"]
mod database;
#[path = "all/guards.rs"]
mod guards;
#[path = "all/row.rs"]
mod row;

#[path = "all/machine.rs"]
mod machine;
#[path = "all/model/mod.rs"]
mod model_check;
#[path = "all/property.rs"]
mod property;
#[path = "all/simulation/mod.rs"]
mod simulation;
