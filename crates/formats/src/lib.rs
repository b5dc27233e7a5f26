//! Formats: bytes in, values and faults out. Pure: no sockets, no files, no clock.

pub mod hl7;
pub mod mllp;
pub mod x12;
pub mod xml;
