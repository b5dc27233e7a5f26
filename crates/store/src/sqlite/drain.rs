//! Is anything in a sealed segment open? Once nothing is, recovery and lanes need not look there again:
//! only a later row can open something of it, and that row is found where it lies.

use super::lanes::Span;
use super::view::View;
use crate::Error;

impl View {
    /// Whether all messages of a segment are disposed of, all its sends ended, and none of its routed
    /// rows waits for a handler.
    pub(super) fn is_drained(&mut self, index: usize) -> Result<bool, Error> {
        let after = self.catalog.segments[index].first - 1;
        let span = Span {
            name: None,
            after,
            upto: self.catalog.end(index) - 1,
            limit: 1,
        };
        Ok(self.open_ids(span.after, span.upto, 1)?.is_empty()
            && self.open_sends(span)?.is_empty()
            && self.open_routed(span)?.is_empty())
    }
}
