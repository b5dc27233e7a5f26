//! Which messages a filter may let through, newest first, without reading those that it cannot.
//!
//! One field of the filter leads: the one that the fewest messages meet, as far as the segments' profiles
//! tell. Each segment has an index by which the rows of that field lie in the order of their messages; the
//! segments' streams are merged. The other fields are looked at afterwards, by whoever asked (see `listing`).
//!
//! A disposition or a send may lie in a later segment than its message. So a stream belongs to the segment
//! where its rows lie, and a segment's stream is opened before any message at or below its end is answered.

use std::collections::{HashMap, VecDeque};

use model::{Disposition, NameId, Timestamp};

use super::catalog::Segment;
use super::profile::Profile;
use super::source::{Between, By, Source};
use crate::Error;
use crate::keys::Key;
use crate::views::MessageFilter;

/// Rows read of a stream at first, and later, when many are passed over.
const CHUNK_FIRST: usize = 64;
const CHUNK_LATER: usize = 1_000;
/// Clocks may step back: a segment without a profile is passed over only when it was done this long before,
/// in microseconds.
const CLOCK_SLACK_MICROS: i64 = 60 * 60 * 1_000_000;

/// What leads a search.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lead {
    Every,
    Key(Key),
    ControlId(String),
    Kinds(Option<NameId>, Option<String>),
    Destination(NameId),
    Ended(Disposition),
    InFlight,
}

impl Lead {
    /// Whether its rows may lie in a later segment than their messages.
    fn strays(&self) -> bool {
        matches!(self, Lead::Destination(_) | Lead::Ended(_) | Lead::InFlight)
    }
}

/// The profiles of the sealed segments, by the segments' numbers.
pub(crate) type Profiles = HashMap<u32, Profile>;

/// The numbers of one segment's candidates, descending.
struct Stream {
    index: usize,
    read: VecDeque<i64>,
    /// Where the next chunk goes on: everything from here on was read.
    before: i64,
    chunk: usize,
    ended: bool,
}

/// The candidates of a filter.
pub(super) struct Search {
    lead: Lead,
    profiles: Profiles,
    since: Timestamp,
    until: Timestamp,
    /// Where candidates can lie that was not searched yet, the newest at the end; `between` is searched now.
    ranges: Vec<Between>,
    between: Between,
    /// Segments below this index are not opened yet.
    unopened: usize,
    streams: Vec<Stream>,
}

impl Search {
    /// For the messages older than `before`.
    pub(super) fn new<S: Source>(
        source: &mut S,
        filter: &MessageFilter,
        before: i64,
    ) -> Result<Search, Error> {
        let everything = MessageFilter {
            before: None,
            limit: 0,
            ..filter.clone()
        } == MessageFilter::default();
        // A page of everything needs none.
        let profiles = if everything {
            Profiles::new()
        } else {
            source.profiles()?
        };
        let (since, until) = (
            filter.since.unwrap_or(Timestamp(i64::MIN)),
            filter.until.unwrap_or(Timestamp(i64::MAX)),
        );
        let segments = &source.catalog().segments;
        let mut search = Search {
            lead: lead(filter, segments, &profiles),
            profiles,
            since,
            until,
            ranges: Vec::new(),
            between: Between { low: 0, before: 0 },
            unopened: 0,
            streams: Vec::new(),
        };
        search.ranges = search.ranges(source, before);
        Ok(search)
    }

    /// The ranges of row numbers in which all messages of the filter's time lie, ascending. Several, because the
    /// open segment may hold some, for all that is known of it.
    fn ranges<S: Source>(&self, source: &S, before: i64) -> Vec<Between> {
        let catalog = source.catalog();
        let mut ranges: Vec<Between> = Vec::new();
        for (index, segment) in catalog.segments.iter().enumerate() {
            let end = catalog.end(index);
            let span = match self.profiles.get(&segment.number) {
                Some(profile) => profile.span(self.since, self.until, segment.first, end),
                None => {
                    let next = catalog.segments.get(index + 1);
                    let done = next
                        .is_some_and(|next| next.opened_at.saturating_add(CLOCK_SLACK_MICROS) < self.since.0);
                    (!done).then_some((segment.first, end))
                }
            };
            let Some((low, end)) = span else { continue };
            let end = end.min(before);
            match ranges.last_mut() {
                Some(last) if last.before >= low => last.before = end.max(last.before),
                _ if low < end => ranges.push(Between { low, before: end }),
                _ => {}
            }
        }
        ranges
    }

    /// The next candidate. Each comes once.
    pub(super) fn next<S: Source>(&mut self, source: &mut S) -> Result<Option<i64>, Error> {
        loop {
            let found = self.next_of_range(source)?;
            if found.is_some() {
                return Ok(found);
            }
            let Some(range) = self.ranges.pop() else {
                return Ok(None);
            };
            self.between = range;
            self.unopened = source.catalog().segments.len();
        }
    }

    fn next_of_range<S: Source>(&mut self, source: &mut S) -> Result<Option<i64>, Error> {
        loop {
            for stream in &mut self.streams {
                if stream.read.is_empty() && !stream.ended {
                    refill(
                        stream,
                        &self.lead,
                        &self.profiles,
                        self.between.low,
                        self.since,
                        self.until,
                        source,
                    )?;
                }
            }
            self.streams.retain(|stream| !stream.read.is_empty());
            let newest = self
                .streams
                .iter()
                .filter_map(|stream| stream.read.front())
                .max()
                .copied();
            let older = self.unopened.checked_sub(1);
            match (newest, older) {
                (newest, Some(index)) if newest.is_none_or(|newest| source.catalog().end(index) > newest) => {
                    self.open(source, index);
                }
                (None, _) => return Ok(None),
                (Some(newest), _) => {
                    for stream in &mut self.streams {
                        while stream.read.front() == Some(&newest) {
                            stream.read.pop_front();
                        }
                    }
                    return Ok(Some(newest));
                }
            }
        }
    }

    /// Begins to read a segment, unless nothing can be there.
    fn open<S: Source>(&mut self, source: &S, index: usize) {
        self.unopened = index;
        let catalog = source.catalog();
        let segment = &catalog.segments[index];
        let end = catalog.end(index);
        if end <= self.between.low {
            self.unopened = 0; // nor in any older one
            return;
        }
        let profile = self.profiles.get(&segment.number);
        let before = self.between.before;
        let strays = || segment.oldest_reference.is_none_or(|oldest| oldest < before);
        let reaches = segment.first < before || (self.lead.strays() && strays());
        if reaches && profile.is_none_or(|profile| may_hold(&self.lead, segment, profile)) {
            self.streams.push(Stream {
                index,
                read: VecDeque::new(),
                before: self.between.before.min(end),
                chunk: CHUNK_FIRST,
                ended: false,
            });
        }
    }
}

fn refill<S: Source>(
    stream: &mut Stream,
    lead: &Lead,
    profiles: &Profiles,
    low: i64,
    since: Timestamp,
    until: Timestamp,
    source: &mut S,
) -> Result<(), Error> {
    let index = stream.index;
    let segment = &source.catalog().segments[index];
    let (drained, sealed) = (segment.drained, segment.sealed);
    let profile = profiles.get(&segment.number);
    let low = if lead.strays() {
        low
    } else {
        low.max(segment.first)
    };
    let between = Between {
        low,
        before: stream.before,
    };
    let chunk = stream.chunk;
    let mut read = |by: By<'_>| source.candidates(index, by, between, chunk);
    let found = match lead {
        Lead::Every => read(By::Time(since, until))?,
        Lead::Key(key) => read(By::Key(key, sealed))?,
        Lead::ControlId(text) => read(By::ControlId(text))?,
        Lead::Destination(name) => read(By::Destination(*name))?,
        Lead::Ended(disposition) => read(By::Disposition(*disposition))?,
        Lead::Kinds(inbound, kind) => {
            let known = profile.and_then(|profile| profile.kinds(*inbound, kind.as_deref()));
            match known {
                Some(kinds) => {
                    let kinds: Vec<(NameId, &str)> = kinds
                        .map(|(inbound, kind, _)| (*inbound, kind.as_str()))
                        .collect();
                    read(By::Kinds(&kinds))?
                }
                None => read(By::Scan(*inbound, kind.as_deref(), since, until))?,
            }
        }
        Lead::InFlight => {
            let mut lists = vec![
                read(By::Disposition(Disposition::Received))?,
                read(By::Disposition(Disposition::Routed))?,
            ];
            // In a drained segment only later rows open something again.
            if !drained {
                lists.push(read(By::Undisposed)?);
            }
            merged(lists, chunk)
        }
    };
    stream.ended = found.len() < chunk;
    stream.before = found.last().copied().unwrap_or(stream.before);
    stream.chunk = CHUNK_LATER;
    stream.read.extend(found);
    Ok(())
}

/// Descending lists as one of about `chunk` rows: below the end of a list that was cut, rows may be missing.
fn merged(lists: Vec<Vec<i64>>, chunk: usize) -> Vec<i64> {
    let cut = lists.iter().filter(|list| list.len() >= chunk);
    let low = cut.filter_map(|list| list.last()).max().copied();
    let mut rows: Vec<i64> = lists.into_iter().flatten().collect();
    rows.retain(|row| low.is_none_or(|low| *row >= low));
    rows.sort_unstable_by(|a, b| b.cmp(a));
    rows
}

/// The field that the fewest messages meet; what is not known counts as nothing, for the open segment is small.
fn lead(filter: &MessageFilter, segments: &[Segment], profiles: &Profiles) -> Lead {
    if let Some(key) = &filter.key {
        return Lead::Key(key.clone());
    }
    if let Some(text) = &filter.control_id {
        return Lead::ControlId(text.clone());
    }
    if filter.disposition.is_some_and(|wanted| !wanted.is_final()) {
        return Lead::InFlight;
    }
    let sum = |count: &dyn Fn(&Profile) -> Option<u64>| -> u64 {
        let profiles = segments
            .iter()
            .filter_map(|segment| profiles.get(&segment.number));
        profiles
            .map(|profile| count(profile).unwrap_or(u64::MAX / 1_000_000))
            .sum()
    };
    let mut leads = Vec::new();
    if let Some(wanted) = filter.disposition {
        leads.push((sum(&|profile| Some(profile.count(wanted))), Lead::Ended(wanted)));
    }
    if let Some(name) = filter.destination {
        leads.push((sum(&|profile| profile.sends_to(name)), Lead::Destination(name)));
    }
    if filter.inbound.is_some() || filter.kind.is_some() {
        let count = |profile: &Profile| {
            let kinds = profile.kinds(filter.inbound, filter.kind.as_deref())?;
            Some(kinds.map(|(_, _, count)| count).sum())
        };
        leads.push((sum(&count), Lead::Kinds(filter.inbound, filter.kind.clone())));
    }
    let least = leads.into_iter().min_by_key(|(count, _)| *count);
    least.map_or(Lead::Every, |(_, lead)| lead)
}

fn may_hold(lead: &Lead, segment: &Segment, profile: &Profile) -> bool {
    match lead {
        Lead::Every | Lead::Key(_) | Lead::ControlId(_) => true,
        Lead::Kinds(inbound, kind) => profile
            .kinds(*inbound, kind.as_deref())
            .is_none_or(|mut kinds| kinds.next().is_some()),
        Lead::Destination(name) => profile.sends_to(*name).is_none_or(|count| count > 0),
        Lead::Ended(disposition) => profile.count(*disposition) > 0,
        Lead::InFlight => {
            let reopened = |wanted| profile.count(wanted) > 0;
            !segment.drained || reopened(Disposition::Received) || reopened(Disposition::Routed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_were_cut_are_merged_down_to_where_all_are_known() {
        let merge = |lists: [&[i64]; 3]| merged(lists.map(<[i64]>::to_vec).to_vec(), 3);
        assert_eq!(merge([&[9, 2], &[5], &[]]), [9, 5, 2]);
        assert_eq!(merge([&[9, 8, 4], &[7, 3], &[]]), [9, 8, 7, 4]);
        assert_eq!(merge([&[6, 6, 6], &[9, 8, 7], &[5]]), [9, 8, 7]);
    }
}
