//! HL7 v2.

use bytes::Bytes;

/// A parsed message.
#[derive(Clone, Debug)]
pub struct Message {
    raw: Bytes,
}

impl Message {
    /// The raw bytes.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
}
