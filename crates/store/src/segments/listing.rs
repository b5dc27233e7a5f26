//! Pages for people: messages newest first, dead letters oldest first.
//!
//! A page looks at a bounded number of rows; it may therefore be short, even empty, and still name a
//! next one.

use std::collections::{HashMap, HashSet};

use model::{NameId, RowId, Timestamp};

use super::search::Search;
use super::source::Source;
use super::view::View;
use crate::Error;
use crate::views::{DeadLetter, DeadLetterFilter, MessageFilter, Page, Summary};

/// Rows that one page looks at.
const EXAMINED_MAX: usize = 50_000;
/// Rows read at a time: little where every row is shown, more where most may be passed over.
const CHUNK_MIN: usize = 64;
const CHUNK_SIFTING: usize = 1_000;

impl<S: Source> View<S> {
    /// Messages by filter, newest first.
    pub(crate) fn messages(&mut self, filter: &MessageFilter) -> Result<Page<Summary>, Error> {
        let limit = filter.limit.clamp(1, 1_000);
        let mut before = filter.before.unwrap_or(RowId::MAX).0;
        let mut search = Search::new(&mut self.source, filter, before)?;
        let mut items = Vec::new();
        let mut examined = 0;
        let mut chunk = (limit + 1).max(CHUNK_MIN);
        loop {
            let mut candidates = Vec::with_capacity(chunk);
            while candidates.len() < chunk
                && let Some(candidate) = search.next(&mut self.source)?
            {
                candidates.push(candidate);
            }
            let full = candidates.len() == chunk;
            let lines = self.matching(&candidates, filter)?;
            for candidate in candidates {
                if items.len() == limit || examined == EXAMINED_MAX {
                    return Ok(Page {
                        items,
                        next: Some(RowId(before)),
                    });
                }
                examined += 1;
                before = candidate;
                items.extend(lines.get(&candidate).cloned());
            }
            if !full {
                return Ok(Page { items, next: None });
            }
            chunk = CHUNK_SIFTING;
        }
    }

    /// Those of the candidates that a filter lets through, whatever led to them; its key aside, which nothing
    /// but itself leads to.
    fn matching(
        &mut self,
        candidates: &[i64],
        filter: &MessageFilter,
    ) -> Result<HashMap<i64, Summary>, Error> {
        let mut lines = Vec::new();
        for (index, of) in self.homes(candidates) {
            lines.extend(self.source.lines(index, &of)?);
        }
        lines.retain(|line| fits(line, filter));
        let ids: Vec<i64> = lines.iter().map(|line| line.id.raw()).collect();
        let sent = match filter.destination {
            Some(destination) => Some(self.sent_to(destination, &ids)?),
            None => None,
        };
        let stands = self.stands(&ids)?;
        let mut matching = HashMap::with_capacity(lines.len());
        for mut line in lines {
            let id = line.id.raw();
            line.disposition = stands.get(&id).copied().unwrap_or(line.disposition);
            let wanted = filter.disposition.is_none_or(|wanted| wanted == line.disposition)
                && sent.as_ref().is_none_or(|sent| sent.contains(&id));
            if wanted {
                matching.insert(id, line);
            }
        }
        Ok(matching)
    }

    /// Which of these messages were sent to a destination.
    fn sent_to(&mut self, destination: NameId, messages: &[i64]) -> Result<HashSet<i64>, Error> {
        let mut sent = HashSet::new();
        for (index, of) in self.reach(messages) {
            let sends = self.source.sends(index, &of)?;
            sent.extend(
                sends
                    .iter()
                    .filter(|send| send.destination == destination)
                    .map(|send| send.message),
            );
        }
        Ok(sent)
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

/// What a line itself tells.
fn fits(line: &Summary, filter: &MessageFilter) -> bool {
    let begins = |kind: &String| line.kind.as_ref().is_some_and(|of| of.starts_with(kind.as_str()));
    filter.inbound.is_none_or(|inbound| line.inbound == inbound)
        && (filter.control_id.is_none() || line.control_id == filter.control_id)
        && filter.kind.as_ref().is_none_or(begins)
        && filter.since.is_none_or(|since| line.received_at >= since)
        && filter.until.is_none_or(|until| line.received_at < until)
}
