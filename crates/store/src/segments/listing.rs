//! Pages for people: messages newest first, dead letters oldest first.
//!
//! A page looks at a bounded number of rows; it may therefore be short, even empty, and still name a
//! next one.

use std::collections::HashMap;

use model::{RowId, Timestamp};

use super::source::Source;
use super::view::View;
use crate::Error;
use crate::views::{DeadLetter, DeadLetterFilter, MessageFilter, Page, Summary};

/// Rows that one page looks at.
const EXAMINED_MAX: usize = 50_000;
/// Rows read at a time: little where every row is shown, more where most may be passed over.
const CHUNK_MIN: usize = 64;
const CHUNK_SIFTING: usize = 1_000;
/// Clocks may step back: a segment is passed over only when it was done this long before, in microseconds.
const CLOCK_SLACK_MICROS: i64 = 60 * 60 * 1_000_000;

impl<S: Source> View<S> {
    /// Messages by filter, newest first.
    pub(crate) fn messages(&mut self, filter: &MessageFilter) -> Result<Page<Summary>, Error> {
        let limit = filter.limit.clamp(1, 1_000);
        let mut before = filter.before.unwrap_or(RowId::MAX).0;
        let mut items = Vec::new();
        let mut examined = 0;
        let start = self
            .source
            .catalog()
            .home(before.saturating_sub(1))
            .map_or(0, |index| index + 1);
        for index in (0..start).rev() {
            if self.is_older_than(index, filter.since) {
                continue;
            }
            loop {
                let chunk = match filter.disposition {
                    Some(_) => CHUNK_SIFTING,
                    None => (limit + 1 - items.len()).max(CHUNK_MIN),
                };
                let rows = self.source.list_messages(index, filter, before, chunk)?;
                let full = rows.len() == chunk;
                let ids: Vec<i64> = rows.iter().map(|summary| summary.id.raw()).collect();
                let stands = self.stands(&ids)?;
                for mut summary in rows {
                    if items.len() == limit || examined == EXAMINED_MAX {
                        return Ok(Page {
                            items,
                            next: Some(RowId(before)),
                        });
                    }
                    examined += 1;
                    before = summary.id.raw();
                    if let Some(stands) = stands.get(&before) {
                        summary.disposition = *stands;
                    }
                    if filter
                        .disposition
                        .is_none_or(|wanted| wanted == summary.disposition)
                    {
                        items.push(summary);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Page { items, next: None })
    }

    /// Whether everything in a segment was received before `since`.
    fn is_older_than(&self, index: usize, since: Option<Timestamp>) -> bool {
        let next = self.source.catalog().segments.get(index + 1);
        matches!((since, next), (Some(since), Some(next)) if next.opened_at + CLOCK_SLACK_MICROS < since.0)
    }

    /// Dead letters that nobody dealt with, oldest first.
    pub(crate) fn dead_letters(&mut self, filter: &DeadLetterFilter) -> Result<Page<DeadLetter>, Error> {
        let limit = filter.limit.clamp(1, 10_000);
        let mut after = filter.after.unwrap_or(RowId::ZERO).0;
        let mut items = Vec::new();
        let mut examined = 0;
        let catalog = self.source.catalog();
        let start = catalog.home(after.saturating_add(1)).unwrap_or(0);
        for index in start..catalog.segments.len() {
            loop {
                let chunk = (limit + 1 - items.len()).max(CHUNK_MIN);
                let rows = self.source.list_letters(index, filter, after, chunk)?;
                let full = rows.len() == chunk;
                let ids: Vec<i64> = rows.iter().map(|letter| letter.row.0).collect();
                let resolved = self.resolved_of(&ids)?;
                for letter in rows {
                    if items.len() == limit || examined == EXAMINED_MAX {
                        return Ok(Page {
                            items,
                            next: Some(RowId(after)),
                        });
                    }
                    examined += 1;
                    after = letter.row.0;
                    if !resolved.contains_key(&after) {
                        items.push(letter);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Page { items, next: None })
    }

    /// When dead letters were dealt with, for those that were.
    pub(crate) fn resolved_of(&mut self, letters: &[i64]) -> Result<HashMap<i64, Timestamp>, Error> {
        let mut newest = HashMap::new();
        for (index, of) in self.reach(letters) {
            newest.extend(self.source.resolved(index, &of)?);
        }
        Ok(newest)
    }
}
