//! The questions that reading asks of one segment, as SQL on that segment's tables: one round trip each,
//! however many rows are asked for.

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};

use super::fault::{Driver, database};
use super::link::Link;
use super::search;
use super::segment::text;
use super::sql;
use super::value::{Row, Value, list, values};
use crate::packing::{self, HEAD_BYTES, Place};
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::segments::catalog::Catalog;
use crate::segments::search::Profiles;
use crate::segments::source::{
    Arrival, Between, By, Candidates, Carried, Ended, Handled, Owner, Routed, Sent, Source, Standing,
};
use crate::views::{DeadLetter, DeadLetterFilter, Event, OpenSend, Summary};
use crate::{Error, WorkMessage};

/// A connection, and the segments as they were when a call began.
pub(crate) struct Tables<'l> {
    link: &'l mut Link,
    catalog: Catalog,
}

impl<'l> Tables<'l> {
    pub(super) fn new(link: &'l mut Link, catalog: Catalog) -> Tables<'l> {
        Tables { link, catalog }
    }

    /// All rows of a statement on the segment at `index`.
    pub(super) fn rows<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Row) -> Result<T, Driver>,
    ) -> Result<Vec<T>, Error> {
        let number = self.catalog.segments[index].number;
        let rows = self.link.rows(&text(sql, number), values);
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|error| failed(error, number))
    }

    /// The same for a list of numbers; no round trip when it is empty.
    fn of<T>(
        &mut self,
        index: usize,
        numbers: &[i64],
        sql: &str,
        read: impl Fn(&Row) -> Result<T, Driver>,
    ) -> Result<Vec<T>, Error> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(index, sql, &values![list(numbers)], read)
    }

    fn count(&mut self, index: usize, sql: &str, values: &[Value<'_>]) -> Result<u64, Error> {
        let counts: Vec<i64> = self.rows(index, sql, values, |row| row.get(0))?;
        Ok(counts.first().copied().unwrap_or(0) as u64)
    }

    pub(super) fn on_a_stand_in(&self) -> bool {
        self.link.stand_in
    }

    pub(super) fn is_sealed(&self, index: usize) -> bool {
        self.catalog.segments[index].sealed
    }
}

impl Source for Tables<'_> {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn message_ids(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let values = values![after, upto, limit as i64];
        self.rows(index, sql::MESSAGE_IDS, &values, |row| row.get(0))
    }

    fn arrivals(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Arrival>, Error> {
        self.of(index, messages, sql::ARRIVALS, |row| {
            Ok(Arrival {
                id: row.get(0)?,
                inbound: name(row, 1)?,
                received_at: time(row, 2)?,
            })
        })
    }

    fn works(&mut self, index: usize, messages: &[i64]) -> Result<Vec<WorkMessage>, Error> {
        let works = self.of(index, messages, sql::WORKS, |row| {
            Ok(Some(WorkMessage {
                id: MessageId::from_raw(row.get(0)?),
                inbound: name(row, 1)?,
                received_at: time(row, 2)?,
                body: match body(row, Place::Message(row.get(0)?), 3)? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            }))
        })?;
        Ok(works.into_iter().flatten().collect())
    }

    fn line(&mut self, index: usize, message: i64) -> Result<Option<(Summary, Option<Body>)>, Error> {
        let lines = self.rows(index, sql::LINE, &values![message], |row| {
            let body = body(row, Place::Message(message), 8)?;
            Ok((summary(row)?, body))
        })?;
        Ok(lines.into_iter().next())
    }

    fn dispositions_between(
        &mut self,
        index: usize,
        low: i64,
        high: i64,
    ) -> Result<Vec<(i64, Disposition)>, Error> {
        self.rows(index, sql::DISPOSITIONS_BETWEEN, &values![low, high], |row| {
            Ok((row.get(0)?, disposition(row, 1)?))
        })
    }

    fn standings(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Standing>, Error> {
        self.of(index, messages, sql::STANDINGS, |row| {
            Ok(Standing {
                message: row.get(0)?,
                row: row.get(1)?,
                disposition: disposition(row, 2)?,
            })
        })
    }

    fn story(&mut self, index: usize, message: i64) -> Result<Vec<(Timestamp, Disposition)>, Error> {
        self.rows(index, sql::STORY, &values![message], |row| {
            Ok((time(row, 0)?, disposition(row, 1)?))
        })
    }

    fn put_back(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(index, sql::PUT_BACK, &values![after, upto], |row| row.get(0))
    }

    fn newest_routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
        self.of(index, messages, sql::NEWEST_ROUTED, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Routed>, Error> {
        self.of(index, messages, sql::ROUTED, routed)
    }

    fn handled(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Handled>, Error> {
        self.of(index, messages, sql::HANDLED, |row| {
            Ok(Handled {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: name(row, 2)?,
                at: time(row, 3)?,
                result: HandledResult::from_code(row.get(4)?),
            })
        })
    }

    fn sends(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Sent>, Error> {
        self.of(index, messages, sql::SENDS, |row| {
            Ok(Sent {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: name(row, 2)?,
                destination: name(row, 3)?,
                priority: row.get(4)?,
                partition: row.get::<Option<String>>(5)?.map(Into::into),
                at: time(row, 6)?,
            })
        })
    }

    fn answers(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, NameId, i64)>, Error> {
        self.of(index, messages, sql::ANSWERS, |row| {
            Ok((row.get(0)?, name(row, 1)?, row.get(2)?))
        })
    }

    fn outcomes(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Ended>, Error> {
        let ended = self.of(index, sends, sql::OUTCOMES, |row| {
            Ok(match OutcomeResult::from_code(row.get(2)?) {
                // A result that only a newer program knows ends nothing here.
                None => None,
                Some(result) => Some(Ended {
                    send: row.get(0)?,
                    at: time(row, 1)?,
                    result,
                    attempts: row.get(3)?,
                }),
            })
        })?;
        Ok(ended.into_iter().flatten().collect())
    }

    fn reply(&mut self, index: usize, send: i64) -> Result<Option<Body>, Error> {
        let replies = self.rows(index, sql::REPLY, &values![send], |row| {
            body(row, Place::Reply(send), 0)
        })?;
        Ok(replies.into_iter().next().flatten())
    }

    fn failed_attempts(&mut self, index: usize, sends: &[(i64, i64)]) -> Result<Vec<(i64, u32)>, Error> {
        if sends.is_empty() {
            return Ok(Vec::new());
        }
        let pairs: Vec<String> = sends
            .iter()
            .map(|(message, send)| format!("[{message},{send}]"))
            .collect();
        let values = values![
            format!("[{}]", pairs.join(",")),
            EventKind::AttemptFailed.code() as i16
        ];
        self.rows(index, sql::FAILED_ATTEMPTS, &values, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn send_bodies(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Carried>, Error> {
        self.of(index, sends, sql::SEND_BODIES, |row| {
            let send = row.get(0)?;
            Ok(Carried {
                send,
                message: row.get(1)?,
                changed: row.get(4)?,
                body: body(row, Place::Send(send), 2)?,
            })
        })
    }

    fn letters(&mut self, index: usize, messages: &[i64]) -> Result<Vec<DeadLetter>, Error> {
        self.of(index, messages, sql::LETTERS, dead_letter)
    }

    fn resolved(&mut self, index: usize, letters: &[i64]) -> Result<Vec<(i64, Timestamp)>, Error> {
        self.of(index, letters, sql::RESOLVED, |row| {
            Ok((row.get(0)?, time(row, 1)?))
        })
    }

    fn events(&mut self, index: usize, message: MessageId) -> Result<Vec<Event>, Error> {
        let events = self.rows(index, sql::EVENTS, &values![message.raw()], |row| {
            Ok(match EventKind::from_code(row.get(3)?) {
                // A kind that only a newer program knows is not shown.
                None => None,
                Some(kind) => Some(Event {
                    row: RowId(row.get(0)?),
                    at: time(row, 1)?,
                    send: row.get::<Option<i64>>(2)?.map(SendId::from_raw),
                    kind,
                    detail: row.get(4)?,
                    actor: row.get(5)?,
                }),
            })
        })?;
        Ok(events.into_iter().flatten().collect())
    }

    fn unrouted(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error> {
        let values = values![of.after, of.upto, name_or_zero(of), of.limit as i64];
        self.rows(index, sql::UNROUTED, &values, |row| row.get(0))
    }

    fn routed_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<Routed>, Error> {
        match of.name {
            Some(_) => {
                let values = values![of.after, of.upto, name_or_zero(of), of.limit as i64];
                self.rows(index, sql::ROUTED_OF, &values, routed)
            }
            None => {
                let values = values![of.after, of.upto, of.limit as i64];
                self.rows(index, sql::ROUTED_ALL, &values, routed)
            }
        }
    }

    fn send_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<OpenSend>, Error> {
        let values = values![of.after, of.upto, name_or_zero(of), of.limit as i64];
        self.rows(index, sql::SEND_CANDIDATES, &values, |row| {
            Ok(OpenSend {
                id: SendId::from_raw(row.get(0)?),
                message: MessageId::from_raw(row.get(1)?),
                priority: row.get(2)?,
                partition: row.get::<Option<String>>(3)?.map(Into::into),
                failed_attempts: 0,
            })
        })
    }

    fn profiles(&mut self) -> Result<Profiles, Error> {
        search::profiles(self.link)
    }

    fn candidates(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        self.messages_by(index, by, between, limit)
    }

    fn lines(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Summary>, Error> {
        const { assert!(HEAD_BYTES == 18, "the statement names it") };
        self.of(index, messages, sql::LINES, summary)
    }

    fn list_letters(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let values = values![
            after,
            limit as i64,
            filter.stage.map_or(-1, |stage| stage.code() as i16),
            filter.at_name.map_or(0, |name| name.0 as i32),
            filter.message.map_or(0, MessageId::raw),
            filter.since.map_or(i64::MIN, |since| since.0),
            filter.until.map_or(i64::MAX, |until| until.0),
        ];
        self.rows(index, sql::LIST_LETTERS, &values, dead_letter)
    }

    fn count_sends(&mut self, index: usize) -> Result<u64, Error> {
        self.count(index, sql::COUNT_SENDS, &[])
    }

    fn count_delivered(&mut self, index: usize, lowest: i64) -> Result<u64, Error> {
        self.count(index, sql::COUNT_DELIVERED, &values![lowest])
    }

    fn with_bodies(&mut self, index: usize) -> Result<Vec<i64>, Error> {
        const { assert!(packing::REMOVED == 2, "the statement names it") };
        self.rows(index, sql::WITH_BODIES, &[], |row| row.get(0))
    }

    fn foreign(&mut self, index: usize, owner: Owner, below: i64) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => sql::FOREIGN_MESSAGES,
            Owner::Delivered => sql::FOREIGN_DELIVERED,
            Owner::Letter => sql::FOREIGN_LETTERS,
        };
        self.rows(index, sql, &values![below], |row| row.get(0))
    }

    fn existing(&mut self, index: usize, owner: Owner, numbers: &[i64]) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => sql::EXISTING_MESSAGES,
            Owner::Delivered => sql::EXISTING_SENDS,
            Owner::Letter => sql::EXISTING_LETTERS,
        };
        self.of(index, numbers, sql, |row| row.get(0))
    }
}

fn name_or_zero(of: Candidates) -> i32 {
    of.name.map_or(0, |name| name.0 as i32)
}

fn name(row: &Row, column: usize) -> Result<NameId, Driver> {
    row.get(column).map(NameId)
}

fn time(row: &Row, column: usize) -> Result<Timestamp, Driver> {
    row.get(column).map(Timestamp)
}

fn disposition(row: &Row, column: usize) -> Result<Disposition, Driver> {
    let code = row.get(column)?;
    Disposition::from_code(code).ok_or_else(|| unknown("disposition", code))
}

fn unknown(what: &str, code: i64) -> Driver {
    Driver::Decode(format!("{code} is no {what} that this program knows").into())
}

/// The bytes in the column behind `enc`, unpacked; `None` where none are.
pub(super) fn body(row: &Row, place: Place, enc: usize) -> Result<Option<Body>, Driver> {
    let packed: Option<Vec<u8>> = row.get(enc + 1)?;
    let code = row.get(enc)?;
    let body = packed.map(|bytes| packing::unpack(place, code, bytes));
    let body = body
        .transpose()
        .map_err(|fault| Driver::Decode(Box::new(fault)))?;
    Ok(body.flatten())
}

/// A body that cannot be read is a refusal that says where it lies; all else is the database's failure.
fn failed(error: Driver, segment: u32) -> Error {
    match &error {
        Driver::Decode(source) if source.is::<packing::Fault>() => {
            Error::Refused(format!("segment {segment}: {source}"))
        }
        _ => database("reading a segment")(error),
    }
}

fn routed(row: &Row) -> Result<Routed, Driver> {
    let handlers: String = row.get(3)?;
    let number = |text: &str| {
        text.parse()
            .map(NameId)
            .map_err(|error| Driver::Decode(Box::new(error)))
    };
    Ok(Routed {
        id: row.get(0)?,
        message: row.get(1)?,
        at: time(row, 2)?,
        handlers: handlers
            .split(',')
            .filter(|text| !text.is_empty())
            .map(number)
            .collect::<Result<_, _>>()?,
    })
}

/// A line of a listing: the body's stored length, its `enc` and its first [`HEAD_BYTES`] are the last three.
fn summary(row: &Row) -> Result<Summary, Driver> {
    let id = row.get(0)?;
    let head: Vec<u8> = row.get(9)?;
    let head = &head[..head.len().min(HEAD_BYTES)];
    let length: i64 = row.get(7)?;
    let enc: i16 = row.get(8)?;
    let size = packing::size(Place::Message(id), enc.into(), head, length as u64)
        .map_err(|fault| Driver::Decode(Box::new(fault)))?;
    Ok(Summary {
        id: MessageId::from_raw(id),
        inbound: name(row, 1)?,
        received_at: time(row, 2)?,
        control_id: row.get(3)?,
        kind: row.get(4)?,
        source: row.get(5)?,
        parent: row.get::<Option<i64>>(6)?.map(MessageId::from_raw),
        size,
        body_removed: enc == packing::REMOVED,
        disposition: Disposition::Received,
    })
}

/// A dead letter that is not known to be resolved.
fn dead_letter(row: &Row) -> Result<DeadLetter, Driver> {
    let stage = row.get(2)?;
    Ok(DeadLetter {
        row: RowId(row.get(0)?),
        message: MessageId::from_raw(row.get(1)?),
        stage: Stage::from_code(stage).ok_or_else(|| unknown("stage", stage))?,
        at_name: name(row, 3)?,
        send: row.get::<Option<i64>>(4)?.map(SendId::from_raw),
        at: time(row, 5)?,
        reason: row.get(6)?,
        resolved_at: None,
    })
}
