//! Live chaos: a whole cluster of real processes in network namespaces, faults on purpose, and a judge that knows only
//! what was recorded.
//!
//! [`world`] builds the machines, [`partner`] is what sends and receives, [`watch`] says who has what bound and who
//! leads, [`nemesis`] breaks things by a seed and proves that they broke. Each of them writes a [`record`] of its own.
//! [`judge`] reads the records and [`dump`], the database by its own SQL, and nothing else: it shares no code with
//! the engine or the store. [`run`] puts them together; [`figures`] measures how long partners heard nothing.

#![cfg(target_os = "linux")]

pub mod ask;
pub mod clean;
pub mod clock;
pub mod command;
pub mod dump;
pub mod figures;
pub mod judge;
pub mod nemesis;
pub mod partner;
pub mod record;
pub mod run;
pub mod shell;
pub mod watch;
pub mod world;
