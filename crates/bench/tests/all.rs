//! Sender against sink over real sockets, and the judge over made-up evidence.

#[path = "all/asking.rs"]
mod asking;
#[path = "all/judgement.rs"]
mod judgement;
#[path = "all/misbehaviour.rs"]
mod misbehaviour;
#[path = "all/sending.rs"]
mod sending;
#[path = "all/support.rs"]
mod support;
