//! Pages of lanes: what waits for a router, a handler, a delivery; by row number.
//!
//! A segment answers with everything that may be open; what later segments say of each candidate
//! decides. Segments that are drained hold no open row, except where a later row opened a message again.

use std::collections::HashMap;

use model::{Disposition, MessageId, NameId, RowId};

use super::source::{Candidates, Routed, Source, Standing};
use super::view::View;
use crate::Error;
use crate::views::{OpenRouted, OpenSend};

/// Candidates read at a time.
const CHUNK_MIN: usize = 256;
const CHUNK_MAX: usize = 10_000;

/// The part of a lane that is asked for. `name: None` = all lanes of the stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) name: Option<NameId>,
    pub(crate) after: i64,
    pub(crate) upto: i64,
    pub(crate) limit: usize,
}

impl Span {
    /// Of one lane.
    pub(crate) fn of(name: NameId, after: i64, upto: i64, limit: usize) -> Span {
        Span {
            name: Some(name),
            after,
            upto,
            limit,
        }
    }

    /// The next chunk of it.
    fn candidates(&self, after: i64) -> Candidates {
        Candidates {
            name: self.name,
            after,
            upto: self.upto,
            limit: self.limit.clamp(CHUNK_MIN, CHUNK_MAX),
        }
    }
}

impl<S: Source> View<S> {
    /// Indexes of the segments that hold rows of a span, oldest first.
    fn segments_of(&self, span: &Span) -> std::ops::Range<usize> {
        let catalog = self.source.catalog();
        let start = catalog.home(span.after.saturating_add(1)).unwrap_or(0);
        let end = catalog.home(span.upto).map_or(0, |index| index + 1);
        start..end.max(start)
    }

    fn is_drained_already(&self, index: usize) -> bool {
        self.source.catalog().segments[index].drained
    }

    /// Messages that wait for their router.
    pub(crate) fn open_ingress(&mut self, span: Span) -> Result<Vec<MessageId>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            let mut after = span.after;
            while found.len() < span.limit {
                let candidates = self.ingress_candidates(index, span.candidates(after))?;
                let Some(&last) = candidates.last() else { break };
                let waiting = self.awaiting_routing(&candidates)?;
                let open = candidates.into_iter().filter(|id| waiting.contains(id));
                found.extend(open.map(MessageId::from_raw));
                after = last;
            }
        }
        found.truncate(span.limit);
        Ok(found)
    }

    /// Unrouted messages of one segment, and those that any later row put back to the start; in order, the
    /// next chunk of both.
    fn ingress_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error> {
        let end = self.source.catalog().end(index);
        let of = Candidates {
            upto: of.upto.min(end.saturating_sub(1)),
            ..of
        };
        let mut candidates = Vec::new();
        if !self.is_drained_already(index) {
            candidates = self.source.unrouted(index, of)?;
        }
        // A full chunk ends the look at what was put back, too: neither list may overtake the other.
        let upto = match candidates.last() {
            Some(&last) if candidates.len() == of.limit => last,
            _ => of.upto,
        };
        let mut put_back = Vec::new();
        for source in self.source.catalog().reach_from(index, upto) {
            put_back.extend(self.source.put_back(source, of.after, upto)?);
        }
        if !put_back.is_empty() {
            let put_back = super::view::sorted(&put_back);
            let arrivals = self.source.arrivals(index, &put_back)?;
            let of_lane = arrivals
                .into_iter()
                .filter(|arrival| of.name.is_none_or(|inbound| inbound == arrival.inbound));
            candidates.extend(of_lane.map(|arrival| arrival.id));
            candidates = super::view::sorted(&candidates);
        }
        Ok(candidates)
    }

    /// (message, handler) pairs that wait for the handler.
    pub(crate) fn open_routed(&mut self, span: Span) -> Result<Vec<OpenRouted>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            if self.is_drained_already(index) {
                continue;
            }
            let mut after = span.after;
            while found.len() < span.limit {
                let rows = self.source.routed_candidates(index, span.candidates(after))?;
                let Some(last) = rows.last().map(|row| row.id) else {
                    break;
                };
                let messages: Vec<i64> = rows.iter().map(|row| row.message).collect();
                let known = self.known_answers(&messages)?;
                for row in rows {
                    let asked = row
                        .handlers
                        .iter()
                        .filter(|named| span.name.is_none_or(|name| name == **named));
                    let open = asked.filter(|handler| known.awaits(row.message, **handler, row.id));
                    found.extend(open.map(|_| OpenRouted {
                        row: RowId(row.id),
                        message: MessageId::from_raw(row.message),
                    }));
                }
                after = last;
            }
        }
        found.truncate(span.limit);
        Ok(found)
    }

    fn known_answers(&mut self, messages: &[i64]) -> Result<Known, Error> {
        let mut known = Known {
            standings: self.standings_of(messages)?,
            ..Known::default()
        };
        for (index, of) in self.reach(messages) {
            for (message, handler, row) in self.source.answers(index, &of)? {
                known.answers.entry(message).or_default().push((handler, row));
            }
            for routed in self.source.routed(index, &of)? {
                known.routed.entry(routed.message).or_default().push(routed);
            }
        }
        Ok(known)
    }

    /// Sends without an outcome.
    pub(crate) fn open_sends(&mut self, span: Span) -> Result<Vec<OpenSend>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            if self.is_drained_already(index) {
                continue;
            }
            let mut after = span.after;
            while found.len() < span.limit {
                let candidates = self.source.send_candidates(index, span.candidates(after))?;
                let Some(last) = candidates.last().map(|send| send.id.raw()) else {
                    break;
                };
                let ids: Vec<i64> = candidates.iter().map(|send| send.id.raw()).collect();
                let ended = self.outcomes_of(&ids)?;
                found.extend(
                    candidates
                        .into_iter()
                        .filter(|send| !ended.contains_key(&send.id.raw())),
                );
                after = last;
            }
        }
        found.truncate(span.limit);
        let asked: Vec<(i64, i64)> = found
            .iter()
            .map(|send| (send.message.raw(), send.id.raw()))
            .collect();
        let failed = self.failed_attempts_of(&asked)?;
        for send in &mut found {
            send.failed_attempts = failed.get(&send.id.raw()).copied().unwrap_or(0);
        }
        Ok(found)
    }
}

/// What is known of handlers' answers for some messages.
#[derive(Default)]
struct Known {
    answers: HashMap<i64, Vec<(NameId, i64)>>,
    routed: HashMap<i64, Vec<Routed>>,
    standings: HashMap<i64, Standing>,
}

impl Known {
    /// Whether a handler named by the routed row `row` still has to run: it has not answered since, no
    /// newer row names it, and the message was neither put back to the start nor disposed of.
    fn awaits(&self, message: i64, handler: NameId, row: i64) -> bool {
        let answers = self.answers.get(&message).map_or(&[][..], Vec::as_slice);
        let routed = self.routed.get(&message).map_or(&[][..], Vec::as_slice);
        let answered = answers.iter().any(|(by, at)| *by == handler && *at > row);
        let closed = self.standings.get(&message).is_some_and(|standing| {
            let put_back = standing.disposition == Disposition::Received && standing.row > row;
            standing.disposition.is_final() || put_back
        });
        let superseded = routed
            .iter()
            .any(|newer| newer.id > row && newer.handlers.contains(&handler));
        !answered && !closed && !superseded
    }
}
