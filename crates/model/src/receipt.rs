//! The receipt of a durable commit. An acknowledgement can be built from nothing else.

use crate::{MessageId, Timestamp};

/// Proof that a message is durable in the store, under the term that wrote it.
///
/// Only the store makes one (`Committed::attest`; a test of the repository holds every other crate
/// to that), so whoever holds one may acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    id: MessageId,
    at: Timestamp,
}

impl Committed {
    /// Called by the store once the transaction that holds `id` is durable.
    pub fn attest(id: MessageId, at: Timestamp) -> Committed {
        Committed { id, at }
    }

    /// The message that is durable.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// When the store wrote it.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}
