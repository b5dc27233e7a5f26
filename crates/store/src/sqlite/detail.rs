//! One message, whole; and bodies by number.

use bytes::Bytes;
use model::{Body, Disposition, MessageId, RowId, SendId, Timestamp};

use super::listing;
use super::view::{self, View};
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::views::{DeadLetter, Event, MessageDetail, SendDetail};
use crate::{Error, WorkMessage};

impl View {
    /// A message as a router or handler needs it; `None` when it is gone.
    pub(super) fn message_for_work(&mut self, id: MessageId) -> Result<Option<WorkMessage>, Error> {
        let Some(home) = self.catalog.home(id.raw()) else {
            return Ok(None);
        };
        self.row(
            home,
            "SELECT inbound, received_at, body FROM message WHERE id = ?1",
            &[&id.raw()],
            |row| {
                Ok(WorkMessage {
                    id,
                    inbound: view::name(row, 0)?,
                    received_at: Timestamp(row.get(1)?),
                    body: body(row.get(2)?),
                })
            },
        )
    }

    /// The bytes that a send carries; `None` when they are gone.
    pub(super) fn send_body(&mut self, id: SendId) -> Result<Option<Body>, Error> {
        let Some(home) = self.catalog.home(id.raw()) else {
            return Ok(None);
        };
        let found = self.row(
            home,
            "SELECT message, body FROM outbound WHERE id = ?1",
            &[&id.raw()],
            |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?)),
        )?;
        match found {
            None => Ok(None),
            Some((_, Some(own))) => Ok(Some(body(own))),
            Some((message, None)) => Ok(self
                .message_for_work(MessageId::from_raw(message))?
                .map(|work| work.body)),
        }
    }

    /// One message with every row that belongs to it; `None` when it is gone.
    pub(super) fn message(&mut self, message: MessageId) -> Result<Option<MessageDetail>, Error> {
        let id = message.raw();
        let Some(home) = self.catalog.home(id) else {
            return Ok(None);
        };
        let arrival = self.row(
            home,
            "SELECT id, inbound, received_at, control_id, kind, source, parent, length(body), body
             FROM message WHERE id = ?1",
            &[&id],
            |row| Ok((listing::summary(row, Disposition::Received)?, body(row.get(8)?))),
        )?;
        let Some((mut summary, body)) = arrival else {
            return Ok(None);
        };
        let dispositions = self.all(
            id,
            "SELECT at, disposition FROM disposition WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| Ok((Timestamp(row.get(0)?), view::disposition(row, 1)?)),
        )?;
        summary.disposition = self.stands(id)?;
        Ok(Some(MessageDetail {
            summary,
            body,
            routed: self.routed_rows(id)?,
            handled: self.handled_rows(id)?,
            sends: self.send_details(id)?,
            dead_letters: self.dead_letters_of(id)?,
            events: self.events(id)?,
            dispositions,
        }))
    }

    fn routed_rows(&mut self, id: i64) -> Result<Vec<(RowId, Timestamp, Vec<model::NameId>)>, Error> {
        self.all(
            id,
            "SELECT id, at, handlers FROM routed WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| {
                Ok((
                    RowId(row.get(0)?),
                    Timestamp(row.get(1)?),
                    view::handlers(row, 2)?,
                ))
            },
        )
    }

    fn handled_rows(&mut self, id: i64) -> Result<Vec<(model::NameId, Timestamp, HandledResult)>, Error> {
        let rows = self.all(
            id,
            "SELECT handler, at, result FROM handled WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| {
                Ok((
                    view::name(row, 0)?,
                    Timestamp(row.get(1)?),
                    HandledResult::from_code(row.get(2)?),
                ))
            },
        )?;
        Ok(rows
            .into_iter()
            .filter_map(|(handler, at, result)| Some((handler, at, result?)))
            .collect())
    }

    fn send_details(&mut self, id: i64) -> Result<Vec<SendDetail>, Error> {
        let mut sends = self.all(
            id,
            "SELECT id, handler, destination, at, body FROM outbound WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| {
                Ok(SendDetail {
                    id: SendId::from_raw(row.get(0)?),
                    handler: view::name(row, 1)?,
                    destination: view::name(row, 2)?,
                    at: Timestamp(row.get(3)?),
                    body: row.get::<_, Option<Vec<u8>>>(4)?.map(body),
                    outcome: None,
                })
            },
        )?;
        for send in &mut sends {
            let outcome = self.newest(
                send.id.raw(),
                "SELECT at, result, attempts, reply FROM outcome WHERE send = ?1 ORDER BY id DESC LIMIT 1",
                &[&send.id.raw()],
                |row| {
                    let result = OutcomeResult::from_code(row.get(1)?);
                    let reply = row.get::<_, Option<Vec<u8>>>(3)?.map(body);
                    Ok((Timestamp(row.get(0)?), result, row.get(2)?, reply))
                },
            )?;
            send.outcome =
                outcome.and_then(|(at, result, attempts, reply)| Some((at, result?, attempts, reply)));
        }
        Ok(sends)
    }

    fn dead_letters_of(&mut self, id: i64) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = self.all(
            id,
            "SELECT id, message, stage, at_name, send, at, reason FROM dead_letter WHERE message = ?1 ORDER BY id",
            &[&id],
            listing::dead_letter,
        )?;
        for letter in &mut letters {
            letter.resolved_at = self.resolved_at(letter.row.0)?;
        }
        Ok(letters)
    }

    fn events(&mut self, id: i64) -> Result<Vec<Event>, Error> {
        let rows = self.all(
            id,
            "SELECT id, at, send, kind, detail, actor FROM event WHERE message = ?1 ORDER BY id",
            &[&id],
            |row| {
                let kind = EventKind::from_code(row.get(3)?);
                Ok(kind.map(|kind| -> rusqlite::Result<Event> {
                    Ok(Event {
                        row: RowId(row.get(0)?),
                        at: Timestamp(row.get(1)?),
                        send: row.get::<_, Option<i64>>(2)?.map(SendId::from_raw),
                        kind,
                        detail: row.get(4)?,
                        actor: row.get(5)?,
                    })
                }))
            },
        )?;
        // A kind that only a newer program knows is not shown.
        rows.into_iter()
            .flatten()
            .collect::<rusqlite::Result<_>>()
            .map_err(super::fault::database("reading events"))
    }
}

fn body(bytes: Vec<u8>) -> Body {
    Body(Bytes::from(bytes))
}
