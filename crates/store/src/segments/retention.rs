//! When a segment may go: whole, oldest first, once it is sealed, everything in it is closed and old enough.

use model::Timestamp;

use super::catalog::Segment;
use super::source::Source;
use super::view::View;
use crate::Error;

/// What a drop removed, and why it went no further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropReport {
    /// Segments removed.
    pub segments: u64,
    /// Messages that were in them.
    pub messages: u64,
    /// Bytes given back.
    pub bytes: u64,
    /// Why the next segment stays, for a person.
    pub stopped_by: &'static str,
}

/// The word on the oldest segment.
pub(crate) enum Verdict {
    /// It may go, with so many messages.
    Drop(Segment, u64),
    /// It stays, and so do all later ones; for a person.
    Keep(&'static str),
}

impl<S: Source> View<S> {
    /// Whether the oldest segment may go when everything received before `received_before` may.
    pub(crate) fn may_drop_oldest(&mut self, received_before: Timestamp) -> Result<Verdict, Error> {
        let oldest = self.source.catalog().segments.first();
        let Some(oldest) = oldest.filter(|segment| segment.sealed).cloned() else {
            return Ok(Verdict::Keep("it is not sealed"));
        };
        let (messages, newest) = self.source.extent(0)?;
        if newest.is_some_and(|newest| newest >= received_before) {
            return Ok(Verdict::Keep("something in it is too young"));
        }
        if !self.is_drained(0)? {
            return Ok(Verdict::Keep("something in it is open"));
        }
        Ok(Verdict::Drop(oldest, messages))
    }
}
