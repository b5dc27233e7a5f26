//! Pages of lanes: what waits for a router, a handler, a delivery; by row number.
//!
//! A query inside one file answers with everything that may be open; what later files say of each
//! candidate decides. Segments that are drained hold no open row, except where a later row opened a
//! message again.

use model::{Disposition, MessageId, NameId, RowId, SendId};

use super::view::{self, View};
use crate::Error;
use crate::views::{OpenRouted, OpenSend};

/// Candidates read at a time.
const CHUNK_MIN: usize = 256;

/// The part of a lane that is asked for. `name: None` = all lanes of the stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) name: Option<NameId>,
    pub(super) after: i64,
    pub(super) upto: i64,
    pub(super) limit: usize,
}

impl Span {
    fn name_or_zero(&self) -> u32 {
        self.name.map_or(0, |name| name.0)
    }

    fn chunk(&self) -> i64 {
        self.limit.clamp(CHUNK_MIN, 10_000) as i64
    }
}

impl View {
    /// Indexes of the segments that hold rows of a span, oldest first.
    fn segments_of(&self, span: &Span) -> std::ops::Range<usize> {
        let start = self.catalog.home(span.after.saturating_add(1)).unwrap_or(0);
        let end = self.catalog.home(span.upto).map_or(0, |index| index + 1);
        start..end.max(start)
    }

    /// Messages that wait for their router.
    pub(super) fn open_ingress(&mut self, span: Span) -> Result<Vec<MessageId>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            let mut after = span.after;
            while found.len() < span.limit {
                let candidates = self.ingress_candidates(index, after, &span)?;
                let Some(&last) = candidates.last() else { break };
                for id in candidates {
                    if found.len() < span.limit && self.awaits_routing(id)? {
                        found.push(MessageId::from_raw(id));
                    }
                }
                after = last;
            }
        }
        Ok(found)
    }

    /// Unrouted messages of one file, and those that any later row put back to the start; in order, the
    /// next chunk of both.
    fn ingress_candidates(&mut self, index: usize, after: i64, span: &Span) -> Result<Vec<i64>, Error> {
        let upto = span.upto.min(self.catalog.end(index).saturating_sub(1));
        let mut candidates = Vec::new();
        if !self.catalog.segments[index].drained {
            candidates = self.rows(
                index,
                "SELECT id FROM message AS m
                 WHERE id > ?1 AND id <= ?2 AND (?3 = 0 OR inbound = ?3)
                   AND NOT EXISTS (SELECT 1 FROM routed WHERE message = m.id)
                   AND NOT EXISTS (SELECT 1 FROM disposition WHERE message = m.id AND disposition > 0)
                 ORDER BY id LIMIT ?4",
                &[&after, &upto, &span.name_or_zero(), &span.chunk()],
                |row| row.get(0),
            )?;
        }
        // A full chunk ends the look at what was put back, too: neither list may overtake the other.
        let upto = if candidates.len() as i64 == span.chunk() {
            candidates[candidates.len() - 1]
        } else {
            upto
        };
        for source in self.catalog.reach_from(index, upto) {
            let put_back = self.rows(
                source,
                "SELECT DISTINCT message FROM disposition
                 WHERE disposition = 0 AND message > ?1 AND message <= ?2",
                &[&after, &upto],
                |row| row.get(0),
            )?;
            for id in put_back {
                if self.came_by(index, id, span.name)? {
                    candidates.push(id);
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        Ok(candidates)
    }

    fn came_by(&mut self, home: usize, message: i64, inbound: Option<NameId>) -> Result<bool, Error> {
        let found = self.row(
            home,
            "SELECT inbound FROM message WHERE id = ?1",
            &[&message],
            |row| view::name(row, 0),
        )?;
        Ok(found.is_some_and(|found| inbound.is_none_or(|inbound| inbound == found)))
    }

    /// (message, handler) pairs that wait for the handler.
    pub(super) fn open_routed(&mut self, span: Span) -> Result<Vec<OpenRouted>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            if self.catalog.segments[index].drained {
                continue;
            }
            let mut after = span.after;
            while found.len() < span.limit {
                let rows = self.routed_candidates(index, after, &span)?;
                let Some(&(last, _, _)) = rows.last() else { break };
                for (row, message, handlers) in rows {
                    for handler in handlers
                        .into_iter()
                        .filter(|named| span.name.is_none_or(|name| name == *named))
                    {
                        if found.len() < span.limit && self.awaits_handler(message, handler, row)? {
                            found.push(OpenRouted {
                                row: RowId(row),
                                message: MessageId::from_raw(message),
                            });
                        }
                    }
                }
                after = last;
            }
        }
        Ok(found)
    }

    fn routed_candidates(
        &mut self,
        index: usize,
        after: i64,
        span: &Span,
    ) -> Result<Vec<(i64, i64, Vec<NameId>)>, Error> {
        self.rows(
            index,
            "SELECT id, message, handlers FROM routed AS r
             WHERE id > ?1 AND id <= ?2 AND length(handlers) > 0 AND NOT EXISTS (
                 SELECT 1 FROM disposition WHERE message = r.message AND id > r.id AND disposition > 1)
             ORDER BY id LIMIT ?3",
            &[&after, &span.upto, &span.chunk()],
            |row| Ok((row.get(0)?, row.get(1)?, view::handlers(row, 2)?)),
        )
    }

    /// Whether a handler named by the routed row `row` still has to run: it has not answered since, no
    /// newer row names it, and the message was neither put back to the start nor disposed of.
    fn awaits_handler(&mut self, message: i64, handler: NameId, row: i64) -> Result<bool, Error> {
        if self.is_handled(message, handler, row)? {
            return Ok(false);
        }
        if let Some((at, disposition)) = self.disposition(message)?
            && (disposition.is_final() || (disposition == Disposition::Received && at > row))
        {
            return Ok(false);
        }
        let newer: Vec<Vec<NameId>> = self.all(
            message,
            "SELECT handlers FROM routed WHERE message = ?1 AND id > ?2",
            &[&message, &row],
            |row| view::handlers(row, 0),
        )?;
        Ok(!newer.iter().any(|handlers| handlers.contains(&handler)))
    }

    /// Sends without an outcome.
    pub(super) fn open_sends(&mut self, span: Span) -> Result<Vec<OpenSend>, Error> {
        let mut found = Vec::new();
        for index in self.segments_of(&span) {
            if self.catalog.segments[index].drained {
                continue;
            }
            let mut after = span.after;
            while found.len() < span.limit {
                let candidates = self.send_candidates(index, after, &span)?;
                let Some(last) = candidates.last().map(|send| send.id.raw()) else {
                    break;
                };
                for mut send in candidates {
                    if found.len() < span.limit && self.outcome(send.id.raw())?.is_none() {
                        send.failed_attempts = self.failed_attempts(send.message.raw(), send.id.raw())?;
                        found.push(send);
                    }
                }
                after = last;
            }
        }
        Ok(found)
    }

    fn send_candidates(&mut self, index: usize, after: i64, span: &Span) -> Result<Vec<OpenSend>, Error> {
        self.rows(
            index,
            "SELECT id, message, priority, partition_key FROM outbound AS o
             WHERE id > ?1 AND id <= ?2 AND (?3 = 0 OR destination = ?3)
               AND NOT EXISTS (SELECT 1 FROM outcome WHERE send = o.id)
             ORDER BY id LIMIT ?4",
            &[&after, &span.upto, &span.name_or_zero(), &span.chunk()],
            |row| {
                Ok(OpenSend {
                    id: SendId::from_raw(row.get(0)?),
                    message: MessageId::from_raw(row.get(1)?),
                    priority: row.get(2)?,
                    partition: row.get(3)?,
                    failed_attempts: 0,
                })
            },
        )
    }
}
