//! Is anything in a sealed segment open? Once nothing is, recovery and lanes need not look there again:
//! only a later row can open something of it, and that row is found where it lies.

use super::lanes::Span;
use super::source::Source;
use super::view::View;
use crate::Error;

impl<S: Source> View<S> {
    /// Whether all messages of a segment are disposed of, all its sends ended, and none of its routed
    /// rows waits for a handler.
    pub(crate) fn is_drained(&mut self, index: usize) -> Result<bool, Error> {
        let catalog = self.source.catalog();
        let span = Span {
            name: None,
            after: catalog.segments[index].first - 1,
            upto: catalog.end(index) - 1,
            limit: 1,
        };
        Ok(self.open_ids(span.after, span.upto, 1)?.is_empty()
            && self.open_sends(span)?.is_empty()
            && self.open_routed(span)?.is_empty())
    }
}
