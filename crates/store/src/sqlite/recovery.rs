//! Open work by anti-join: messages that are not disposed of, with all that is known of them.

use model::{Disposition, MessageId, NameId, RowId, SendId, Timestamp};

use super::fault::database;
use super::view::{self, View};
use crate::Error;
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::views::{KnownSend, OpenMessage};

/// A message with its newest disposition; `None` = no row says anything yet.
pub(super) type Standing = (i64, Option<Disposition>);

impl View {
    /// Open messages with `id > after`, in order, at most `limit`.
    pub(super) fn open_messages(&mut self, after: i64, limit: usize) -> Result<Vec<OpenMessage>, Error> {
        let mut found = Vec::new();
        for id in self.open_ids(after, i64::MAX, limit)? {
            found.extend(self.open_message(id)?);
        }
        Ok(found)
    }

    /// Numbers of open messages, `after < id <= upto`, in order, at most `limit`.
    pub(super) fn open_ids(&mut self, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let mut found = Vec::new();
        let start = self.catalog.home(after.saturating_add(1)).unwrap_or(0);
        for index in start..self.catalog.segments.len() {
            if found.len() >= limit || self.catalog.segments[index].first > upto {
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
        let is_open = |(_, standing): &Standing| standing.is_none_or(|standing| !standing.is_final());
        if self.catalog.segments[index].drained {
            let standings = self.reopened(index, after, upto)?;
            found.extend(standings.into_iter().filter(is_open).map(|(id, _)| id));
            return Ok(());
        }
        let chunk = limit.clamp(1_000, 20_000);
        let mut after = after;
        while found.len() < limit {
            let standings = self.standings(index, after, upto, chunk)?;
            let Some(&(last, _)) = standings.last() else { break };
            found.extend(standings.into_iter().filter(is_open).map(|(id, _)| id));
            after = last;
        }
        Ok(())
    }

    /// Messages of one segment in order, `after < id <= upto`, each with its newest disposition.
    pub(super) fn standings(
        &mut self,
        index: usize,
        after: i64,
        upto: i64,
        limit: usize,
    ) -> Result<Vec<Standing>, Error> {
        let upto = upto.min(self.catalog.end(index).saturating_sub(1));
        let mut standings: Vec<Standing> = self.rows(
            index,
            "SELECT id FROM message WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            &[&after, &upto, &(limit as i64)],
            |row| Ok((row.get(0)?, None)),
        )?;
        if let (Some(&(low, _)), Some(&(high, _))) = (standings.first(), standings.last()) {
            for source in self.catalog.reach_from(index, high) {
                self.overlay(source, low, high, &mut standings)?;
            }
        }
        Ok(standings)
    }

    /// Lets one segment's dispositions win over what older segments said. Both sides are in message
    /// order, so one pass does it.
    fn overlay(
        &mut self,
        source: usize,
        low: i64,
        high: i64,
        standings: &mut [Standing],
    ) -> Result<(), Error> {
        let connection = self.connection(source)?;
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = connection.prepare_cached(
                "SELECT message, disposition FROM disposition WHERE message >= ?1 AND message <= ?2
                 ORDER BY message, id",
            )?;
            let mut rows = statement.query([low, high])?;
            let mut at = 0;
            while let Some(row) = rows.next()? {
                let message: i64 = row.get(0)?;
                while standings.get(at).is_some_and(|(id, _)| *id < message) {
                    at += 1;
                }
                match standings.get_mut(at) {
                    Some((id, standing)) if *id == message => *standing = Some(view::disposition(row, 1)?),
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(())
        };
        read().map_err(database("reading dispositions"))
    }

    /// Messages of a drained segment of which later segments say something.
    pub(super) fn reopened(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<Standing>, Error> {
        let low = after.saturating_add(1).max(self.catalog.segments[index].first);
        let high = upto.min(self.catalog.end(index).saturating_sub(1));
        let mut standings = std::collections::BTreeMap::new();
        for source in self
            .catalog
            .reach_from(index, high)
            .into_iter()
            .filter(|source| *source != index)
        {
            let rows = self.rows(
                source,
                "SELECT message, disposition FROM disposition WHERE message >= ?1 AND message <= ?2
                 ORDER BY message, id",
                &[&low, &high],
                |row| Ok((row.get(0)?, Some(view::disposition(row, 1)?))),
            )?;
            standings.extend(rows);
        }
        Ok(standings.into_iter().collect())
    }

    /// All that is known of one open message; `None` when it is gone.
    fn open_message(&mut self, id: i64) -> Result<Option<OpenMessage>, Error> {
        let Some(home) = self.catalog.home(id) else {
            return Ok(None);
        };
        let arrival = self.row(
            home,
            "SELECT inbound, received_at FROM message WHERE id = ?1",
            &[&id],
            |row| Ok((view::name(row, 0)?, Timestamp(row.get(1)?))),
        )?;
        let Some((inbound, received_at)) = arrival else {
            return Ok(None);
        };
        let routed = self.routed_now(id)?;
        let handled = self.handled_since(id, routed.as_ref().map(|(row, _)| row.0))?;
        Ok(Some(OpenMessage {
            id: MessageId::from_raw(id),
            inbound,
            received_at,
            routed,
            handled,
            sends: self.known_sends(id)?,
            dead: self.has_dead_letter(id)?,
        }))
    }

    /// The newest routed row, with its handlers and those of older rows that nothing superseded or
    /// answered; `None` when the message waits for its router.
    fn routed_now(&mut self, id: i64) -> Result<Option<(RowId, Vec<NameId>)>, Error> {
        let rows: Vec<(i64, Vec<NameId>)> = self.all(
            id,
            "SELECT id, handlers FROM routed WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| Ok((row.get(0)?, view::handlers(row, 1)?)),
        )?;
        let Some(((newest, mut handlers), older)) = rows
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .split_first()
            .map(|(newest, older)| (newest.clone(), older.to_vec()))
        else {
            return Ok(None);
        };
        let put_back = match self.disposition(id)? {
            Some((row, Disposition::Received)) => row,
            _ => 0,
        };
        if put_back > newest {
            return Ok(None);
        }
        for (row, named) in older.into_iter().filter(|(row, _)| *row > put_back) {
            for handler in named {
                if !handlers.contains(&handler) && !self.is_handled(id, handler, row)? {
                    handlers.push(handler);
                }
            }
        }
        Ok(Some((RowId(newest), handlers)))
    }

    /// Whether a handler has answered for a message since the routed row `row`.
    pub(super) fn is_handled(&mut self, message: i64, handler: NameId, row: i64) -> Result<bool, Error> {
        let found = self.newest(
            message,
            "SELECT 1 FROM handled WHERE message = ?1 AND handler = ?2 AND id > ?3
             UNION ALL SELECT 1 FROM outbound WHERE message = ?1 AND handler = ?2 AND id > ?3 LIMIT 1",
            &[&message, &handler.0, &row],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    fn handled_since(&mut self, id: i64, routed: Option<i64>) -> Result<Vec<(NameId, HandledResult)>, Error> {
        let Some(routed) = routed else {
            return Ok(Vec::new());
        };
        let rows = self.all(
            id,
            "SELECT handler, result FROM handled WHERE message = ?1 AND id > ?2 ORDER BY id",
            &[&id, &routed],
            |row| Ok((view::name(row, 0)?, HandledResult::from_code(row.get(1)?))),
        )?;
        Ok(rows
            .into_iter()
            .filter_map(|(handler, result)| Some((handler, result?)))
            .collect())
    }

    fn known_sends(&mut self, id: i64) -> Result<Vec<KnownSend>, Error> {
        let mut sends = self.all(
            id,
            "SELECT id, handler, destination, priority, partition_key FROM outbound WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| {
                Ok(KnownSend {
                    id: SendId::from_raw(row.get(0)?),
                    handler: view::name(row, 1)?,
                    destination: view::name(row, 2)?,
                    priority: row.get(3)?,
                    partition: row.get(4)?,
                    failed_attempts: 0,
                    outcome: None,
                })
            },
        )?;
        for send in &mut sends {
            send.outcome = self.outcome(send.id.raw())?;
            send.failed_attempts = self.failed_attempts(id, send.id.raw())?;
        }
        Ok(sends)
    }

    /// How a send ended.
    pub(super) fn outcome(&mut self, send: i64) -> Result<Option<OutcomeResult>, Error> {
        let code = self.newest(
            send,
            "SELECT result FROM outcome WHERE send = ?1 ORDER BY id DESC LIMIT 1",
            &[&send],
            |row| row.get(0),
        )?;
        Ok(code.and_then(OutcomeResult::from_code))
    }

    /// Attempts of a send that are on record as failed.
    pub(super) fn failed_attempts(&mut self, message: i64, send: i64) -> Result<u32, Error> {
        let counts: Vec<u32> = self.all(
            send,
            "SELECT count(*) FROM event WHERE message = ?1 AND send = ?2 AND kind = ?3",
            &[&message, &send, &EventKind::AttemptFailed.code()],
            |row| row.get(0),
        )?;
        Ok(counts.into_iter().sum())
    }

    /// Whether a message has a dead letter that nobody dealt with.
    fn has_dead_letter(&mut self, id: i64) -> Result<bool, Error> {
        let letters: Vec<i64> = self.all(
            id,
            "SELECT id FROM dead_letter WHERE message = ?1",
            &[&id],
            |row| row.get(0),
        )?;
        for letter in letters {
            if self.resolved_at(letter)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// When a dead letter was dealt with.
    pub(super) fn resolved_at(&mut self, letter: i64) -> Result<Option<Timestamp>, Error> {
        self.newest(
            letter,
            "SELECT at FROM resolved WHERE dead_letter = ?1 ORDER BY id DESC LIMIT 1",
            &[&letter],
            |row| row.get(0).map(Timestamp),
        )
    }
}
