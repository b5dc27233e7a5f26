//! Every statement of this backend, as constants: a server keeps one plan for each text. `{s}` stands for the beginning
//! of the names of a segment's tables; values are `@P1`, `@P2`, ... What they are stands beside the shared logic that asks
//! (`crate::server`), where a statement is a field of a theme's.
//!
//! A list of numbers is one value, a JSON array. No value is ever NULL: where one may be missing, an empty text stands
//! for it.

mod cluster;
mod control;
mod measure;
mod read;
mod search;
mod segment;
mod write;

pub(super) use cluster::*;
pub(super) use control::*;
pub(super) use measure::*;
pub(super) use read::*;
pub(super) use search::*;
pub(super) use segment::*;
pub(super) use write::*;
