//! Open work by anti-join: messages that are not disposed of, with all that is known of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::{Disposition, MessageId, NameId, RowId, SendId};

use super::source::{Arrival, Ended, Handled, Owner, Routed, Sent, Source};
use super::view::View;
use crate::Error;
use crate::views::{KnownSend, MessageFilter, OpenMessage};

/// So many messages serve for a rehearsal.
const REHEARSED: usize = 3;

/// A message with its newest disposition; `None` = no row says anything yet.
pub(crate) type Stood = (i64, Option<Disposition>);

/// Messages `after < id <= until`.
#[derive(Clone, Copy)]
struct Reach {
    after: i64,
    until: i64,
}

impl<S: Source> View<S> {
    /// Open messages with `id > after`, in order, at most `limit`.
    pub(crate) fn open_messages(&mut self, after: i64, limit: usize) -> Result<Vec<OpenMessage>, Error> {
        let ids = self.open_ids(after, i64::MAX, limit)?;
        self.describe(&ids)
    }

    /// Asks of the newest messages what [`View::open_messages`] asks of open ones. Changes nothing, and finds nothing: what
    /// is slow the first time has then been done once.
    pub(crate) fn rehearse(&mut self) -> Result<(), Error> {
        let newest = MessageFilter {
            limit: REHEARSED,
            ..MessageFilter::default()
        };
        let newest = self.messages(&newest)?.items;
        let mut ids: Vec<i64> = newest.iter().map(|line| line.id.raw()).collect();
        ids.sort_unstable();
        if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
            self.open_ids(first - 1, *last, REHEARSED)?;
            self.describe(&ids)?;
        }
        Ok(())
    }

    /// Numbers of open messages, `after < id <= upto`, in order, at most `limit`.
    pub(crate) fn open_ids(&mut self, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let mut found = Vec::new();
        let catalog = self.source.catalog();
        let (start, end) = (
            catalog.home(after.saturating_add(1)).unwrap_or(0),
            catalog.segments.len(),
        );
        for index in start..end {
            if found.len() >= limit || self.source.catalog().segments[index].first > upto {
                break;
            }
            self.open_in(index, after, upto, limit, &mut found)?;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Adds the open messages of one segment until there are `limit`.
    fn open_in(
        &mut self,
        index: usize,
        after: i64,
        upto: i64,
        limit: usize,
        found: &mut Vec<i64>,
    ) -> Result<(), Error> {
        let is_open = |(_, stood): &Stood| stood.is_none_or(|stood| !stood.is_final());
        if self.source.catalog().segments[index].drained {
            let stood = self.reopened(index, after, upto)?;
            found.extend(stood.into_iter().filter(is_open).map(|(id, _)| id));
            return Ok(());
        }
        let chunk = limit.clamp(1_000, 20_000);
        let end = upto.min(self.source.catalog().end(index).saturating_sub(1));
        let mut after = after;
        while found.len() < limit && after < end {
            let ids = self.source.unended(index, after, end, chunk)?;
            let until = if ids.len() < chunk {
                end
            } else {
                ids[ids.len() - 1]
            };
            self.sift(index, ids, Reach { after, until }, found)?;
            after = until;
        }
        Ok(())
    }

    /// Adds those of one segment's messages that are open: `unended` by its own rows, or opened again by some row.
    fn sift(
        &mut self,
        index: usize,
        unended: Vec<i64>,
        reach: Reach,
        found: &mut Vec<i64>,
    ) -> Result<(), Error> {
        let mut reopened = BTreeSet::new();
        for source in self.source.catalog().reach_from(index, reach.until) {
            reopened.extend(self.source.reopened(source, reach.after, reach.until)?);
        }
        let reopened: Vec<i64> = reopened.into_iter().collect();
        let reopened = self.source.existing(index, Owner::Message, &reopened)?;
        let ids: BTreeSet<i64> = unended.into_iter().chain(reopened).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        let standings = self.standings_of(&ids)?;
        let is_open = |id: &i64| standings.get(id).is_none_or(|of| !of.disposition.is_final());
        found.extend(ids.into_iter().filter(is_open));
        Ok(())
    }

    /// Messages of one segment in order, `after < id <= upto`, each with its newest disposition.
    pub(crate) fn stood(
        &mut self,
        index: usize,
        after: i64,
        upto: i64,
        limit: usize,
    ) -> Result<Vec<Stood>, Error> {
        let upto = upto.min(self.source.catalog().end(index).saturating_sub(1));
        let ids = self.source.message_ids(index, after, upto, limit)?;
        let mut stood: Vec<Stood> = ids.into_iter().map(|id| (id, None)).collect();
        if let (Some(&(low, _)), Some(&(high, _))) = (stood.first(), stood.last()) {
            for source in self.source.catalog().reach_from(index, high) {
                let newer = self.source.dispositions_between(source, low, high)?;
                overlay(&mut stood, newer);
            }
        }
        Ok(stood)
    }

    /// Messages of a drained segment of which later segments say something.
    fn reopened(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<Stood>, Error> {
        let catalog = self.source.catalog();
        let low = after.saturating_add(1).max(catalog.segments[index].first);
        let high = upto.min(catalog.end(index).saturating_sub(1));
        let later = catalog.reach_from(index, high);
        let mut stood = BTreeMap::new();
        for source in later.into_iter().filter(|source| *source != index) {
            let newer = self.source.dispositions_between(source, low, high)?;
            stood.extend(newer.into_iter().map(|(id, disposition)| (id, Some(disposition))));
        }
        Ok(stood.into_iter().collect())
    }

    /// All that is known of open messages, in order; those that are gone are left out.
    pub(crate) fn describe(&mut self, ids: &[i64]) -> Result<Vec<OpenMessage>, Error> {
        let mut arrivals: Vec<Arrival> = Vec::new();
        for (index, of) in self.homes(ids) {
            arrivals.extend(self.source.arrivals(index, &of)?);
        }
        let mut routed: HashMap<i64, Vec<Routed>> = HashMap::new();
        let mut handled: HashMap<i64, Vec<Handled>> = HashMap::new();
        let mut sends: HashMap<i64, Vec<Sent>> = HashMap::new();
        for (index, of) in self.reach(ids) {
            for row in self.source.routed(index, &of)? {
                routed.entry(row.message).or_default().push(row);
            }
            for row in self.source.handled(index, &of)? {
                handled.entry(row.message).or_default().push(row);
            }
            for row in self.source.sends(index, &of)? {
                sends.entry(row.message).or_default().push(row);
            }
        }
        let asked: Vec<(i64, i64)> = sends
            .values()
            .flatten()
            .map(|send| (send.message, send.id))
            .collect();
        let numbers: Vec<i64> = asked.iter().map(|(_, send)| *send).collect();
        let outcomes = self.outcomes_of(&numbers)?;
        let failed = self.failed_attempts_of(&asked)?;
        let standings = self.standings_of(ids)?;
        let dead = self.with_open_letters(ids)?;
        let describe = |arrival: Arrival| {
            let id = arrival.id;
            let handled = handled.get(&id).map_or(&[][..], Vec::as_slice);
            let sends = sends.get(&id).map_or(&[][..], Vec::as_slice);
            let put_back = standings
                .get(&id)
                .filter(|standing| standing.disposition == Disposition::Received)
                .map_or(0, |standing| standing.row);
            let routed = routed.get(&id).map_or(&[][..], Vec::as_slice);
            let routed = routed_now(routed, handled, sends, put_back);
            let since = routed.as_ref().map_or(i64::MAX, |(row, _)| row.0);
            OpenMessage {
                id: MessageId::from_raw(id),
                inbound: arrival.inbound,
                received_at: arrival.received_at,
                routed,
                handled: handled
                    .iter()
                    .filter(|row| row.id > since)
                    .filter_map(|row| Some((row.handler, row.result?)))
                    .collect(),
                sends: sends
                    .iter()
                    .map(|send| KnownSend {
                        id: SendId::from_raw(send.id),
                        handler: send.handler,
                        destination: send.destination,
                        priority: send.priority,
                        partition: send.partition.clone(),
                        failed_attempts: failed.get(&send.id).copied().unwrap_or(0),
                        outcome: outcomes.get(&send.id).map(|ended| ended.result),
                    })
                    .collect(),
                dead: dead.contains(&id),
            }
        };
        Ok(arrivals.into_iter().map(describe).collect())
    }

    /// How sends ended, for those that did.
    pub(crate) fn outcomes_of(&mut self, sends: &[i64]) -> Result<HashMap<i64, Ended>, Error> {
        let mut newest = HashMap::new();
        for (index, of) in self.reach(sends) {
            let found = self.source.outcomes(index, &of)?;
            newest.extend(found.into_iter().map(|ended| (ended.send, ended)));
        }
        Ok(newest)
    }

    /// Attempts that are on record as failed, for sends that have any; asked for by (message, send).
    pub(crate) fn failed_attempts_of(&mut self, sends: &[(i64, i64)]) -> Result<HashMap<i64, u32>, Error> {
        let messages: HashMap<i64, i64> = sends.iter().map(|(message, send)| (*send, *message)).collect();
        let numbers: Vec<i64> = messages.keys().copied().collect();
        let mut sums: HashMap<i64, u32> = HashMap::new();
        for (index, of) in self.reach(&numbers) {
            let pairs: Vec<(i64, i64)> = of.into_iter().map(|send| (messages[&send], send)).collect();
            for (send, count) in self.source.failed_attempts(index, &pairs)? {
                *sums.entry(send).or_default() += count;
            }
        }
        Ok(sums)
    }

    /// Which messages have a dead letter that nobody dealt with.
    pub(crate) fn with_open_letters(&mut self, messages: &[i64]) -> Result<HashSet<i64>, Error> {
        let mut letters = Vec::new();
        for (index, of) in self.reach(messages) {
            letters.extend(self.source.letters(index, &of)?);
        }
        let rows: Vec<i64> = letters.iter().map(|letter| letter.row.0).collect();
        let resolved = self.resolved_of(&rows)?;
        let open = letters
            .into_iter()
            .filter(|letter| !resolved.contains_key(&letter.row.0));
        Ok(open.map(|letter| letter.message.raw()).collect())
    }
}

/// Lets one segment's dispositions win over what older segments said. Both sides are in message order, so
/// one pass does it.
fn overlay(stood: &mut [Stood], newer: Vec<(i64, Disposition)>) {
    let mut at = 0;
    for (message, disposition) in newer {
        while stood.get(at).is_some_and(|(id, _)| *id < message) {
            at += 1;
        }
        match stood.get_mut(at) {
            Some((id, stands)) if *id == message => *stands = Some(disposition),
            Some(_) => {}
            None => break,
        }
    }
}

/// The newest routed row, with its handlers and those of older rows that nothing superseded or answered;
/// `None` when the message waits for its router. `put_back` is the row that put it back to the start, or 0.
fn routed_now(
    rows: &[Routed],
    handled: &[Handled],
    sends: &[Sent],
    put_back: i64,
) -> Option<(RowId, Vec<NameId>)> {
    let (newest, older) = rows.split_last()?;
    if put_back > newest.id {
        return None;
    }
    let answered = |handler: NameId, row: i64| {
        handled
            .iter()
            .any(|answer| answer.handler == handler && answer.id > row)
            || sends.iter().any(|send| send.handler == handler && send.id > row)
    };
    let mut handlers = newest.handlers.clone();
    for row in older.iter().rev().filter(|row| row.id > put_back) {
        for handler in &row.handlers {
            if !handlers.contains(handler) && !answered(*handler, row.id) {
                handlers.push(*handler);
            }
        }
    }
    Some((RowId(newest.id), handlers))
}
