//! HL7 v2: messages read in place, edited by path, written back byte for byte.
//!
//! | module | what |
//! |---|---|
//! | [`message`] | parse, read, segments |
//! | [`edit`] | set, delete, add, remove, encode |
//! | [`path`] | `PID-3(1).1` |
//! | [`header`] | the MSH alone, for the listener's hot path |
//! | [`ack`] | acknowledgements: build and read |
//! | [`batch`] | FHS/BHS envelopes and concatenated messages |
//! | [`charset`], [`escape`] | MSH-18 and escape sequences |
//!
//! It knows no dictionary here: any segment of a well-formed message is read, known or not.

pub mod ack;
pub mod batch;
pub mod charset;
pub mod dictionary;
pub mod edit;
pub mod escape;
mod fault;
pub mod generate;
pub mod header;
mod index;
pub mod message;
mod own;
pub mod path;
mod separators;
pub mod tree;
pub mod validate;
mod view;

pub use charset::Charset;
pub use fault::{Fault, FaultKind};
pub use header::{Header, Peek, peek};
pub use index::ParseOptions;
pub use message::{Message, SegmentRef};
pub use path::{FieldPath, Name, Path, PathError};
pub use separators::Separators;
