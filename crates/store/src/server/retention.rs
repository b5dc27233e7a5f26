//! Retention: a segment's tables are dropped, or replaced by new ones that hold what has to stay. No row is ever
//! deleted. How tables are dropped and replaced is the server's own part; it proves the term on the lease row in the
//! transaction that does so.

use model::{Term, Timestamp};

use super::lead::not_leading;
use super::link::{Link, Purpose};
use super::segment::Segments;
use super::store::Shared;
use crate::Error;
use crate::segments::View;
use crate::segments::retention::{Done, Fate, Findings, Remainder, RetentionRules, Retired};
use crate::segments::revision::Revision;

/// How segments end.
pub(crate) trait Retention: Segments {
    /// Drops a segment's tables once nobody reads them, and proves the term when all is done.
    fn drop_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        now: Timestamp,
    ) -> Result<(), Error>;
    /// Puts new tables, with what has to stay, in the place of a segment's, and proves the term when all is done.
    fn shrink_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        remainder: &Remainder,
    ) -> Result<(), Error>;
}

/// Looks through a segment; `None` when it is not sealed and live.
pub(super) fn examine<L: Link>(
    link: &mut L,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<(Findings, Remainder)>, Error> {
    let catalog = link.catalog()?;
    let mut segments = catalog.segments.iter();
    let Some(index) = segments.position(|segment| segment.number == number && segment.sealed) else {
        return Ok(None);
    };
    View::new(link.tables(catalog)).examine(index, rules).map(Some)
}

/// Drops a segment or makes it anew, as the rules say.
pub(super) fn retire<L: Link>(
    shared: &Shared<L>,
    term: Term,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<Retired>, Error> {
    // One at a time: what one judges, another must not change.
    let _alone = shared.retiring.lock();
    let mut link = L::open(&shared.target, &shared.settings.node, Purpose::Keep)?;
    let retired = retire_over(&mut link, shared, term, number, rules);
    link.close();
    retired
}

fn retire_over<L: Link>(
    link: &mut L,
    shared: &Shared<L>,
    term: Term,
    number: u32,
    rules: &RetentionRules,
) -> Result<Option<Retired>, Error> {
    if !link.leads(term)? {
        return Err(not_leading());
    }
    let Some((findings, remainder)) = examine(link, number, rules)? else {
        return Ok(None);
    };
    let before = link.bytes(number)?;
    let now = shared.settings.clock.now();
    let revision = &shared.revision;
    let done = match findings.fate {
        Fate::Stay => Ok(Done::Kept),
        Fate::Drop => link
            .drop_segment(revision, term, number, now)
            .map(|()| Done::Dropped(before)),
        Fate::Shrink => link
            .shrink_segment(revision, term, number, &remainder)
            .and_then(|()| {
                if !link.is_whole() {
                    // It did its work; what it was left with was not to be trusted.
                    *link = L::open(&shared.target, &shared.settings.node, Purpose::Keep)?;
                }
                let after = link.bytes(number)?;
                Ok(Done::Shrunk(before.saturating_sub(after)))
            }),
    };
    let done = match done {
        Err(error) if L::is_lock_timeout(&error) => Done::Busy,
        other => other?,
    };
    Ok(Some(Retired { findings, done }))
}
