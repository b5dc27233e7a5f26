//! What Starlark code sees of the engine: the message and its segments, `send`, and what hangs on a
//! running evaluation. Every evaluation carries a [`Host`] that says what it may do.

pub(crate) mod call_value;
pub(crate) mod declaring;
pub(crate) mod message;
pub(crate) mod messaging;
pub(crate) mod path;
pub(crate) mod raw_content;
pub(crate) mod segment;
pub(crate) mod sent;
mod state;
pub(crate) mod testing;

pub(crate) use state::{Host, Loading, Running, Shared};
