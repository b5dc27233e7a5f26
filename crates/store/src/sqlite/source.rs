//! The questions that reading asks of one segment, as SQL on that segment's file. A query inside a process
//! costs microseconds, so rows are looked up one number at a time by a prepared statement.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};
use rusqlite::types::{Type, Value};
use rusqlite::{OptionalExtension, Row, ToSql};

use super::fault::database;
use super::readers::{CONTROL, Reader, Readers};
use super::search;
use crate::packing::{self, HEAD_BYTES, Place};
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::segments::catalog::Catalog;
use crate::segments::search::Profiles;
use crate::segments::source::{
    Arrival, Between, By, Candidates, Carried, Ended, Handled, Owner, Routed, Sent, Source, Standing,
};
use crate::views::{DeadLetter, DeadLetterFilter, Event, OpenSend, Summary};
use crate::{Error, WorkMessage};

/// Connections that one call holds at a time.
const OPEN_MAX: usize = 48;

/// The segment files, as they were when a call began.
pub(super) struct Files {
    catalog: Arc<Catalog>,
    readers: Readers,
    open: HashMap<usize, Rc<Reader>>,
}

impl Files {
    pub(super) fn new(catalog: Arc<Catalog>, readers: Readers) -> Files {
        Files {
            catalog,
            readers,
            open: HashMap::new(),
        }
    }

    /// A connection to the segment at `index`.
    fn connection(&mut self, index: usize) -> Result<Rc<Reader>, Error> {
        if let Some(reader) = self.open.get(&index) {
            return Ok(Rc::clone(reader));
        }
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        let reader = Rc::new(self.readers.take(self.catalog.segments[index].number)?);
        self.open.insert(index, Rc::clone(&reader));
        Ok(reader)
    }

    /// All rows of a query.
    fn rows<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let (connection, number) = (self.connection(index)?, self.catalog.segments[index].number);
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(values, read)?.collect());
        found.map_err(failed("reading a segment", number))
    }

    /// All rows of a query that is asked for each number, in the order of the numbers.
    fn each<T>(
        &mut self,
        index: usize,
        numbers: &[i64],
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let (connection, number) = (self.connection(index)?, self.catalog.segments[index].number);
        let mut ask = || {
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::new();
            for of in numbers {
                let mut rows = statement.query([of])?;
                while let Some(row) = rows.next()? {
                    found.push(read(row)?);
                }
            }
            Ok(found)
        };
        ask().map_err(failed("reading a segment", number))
    }

    /// The one row of a query.
    fn row<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let (connection, number) = (self.connection(index)?, self.catalog.segments[index].number);
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, read).optional());
        found.map_err(failed("reading a segment", number))
    }

    fn list<T>(
        &mut self,
        index: usize,
        query: &Where,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let (connection, number) = (self.connection(index)?, self.catalog.segments[index].number);
        let found = connection.prepare_cached(&query.sql).and_then(|mut statement| {
            statement
                .query_map(rusqlite::params_from_iter(&query.values), read)?
                .collect()
        });
        found.map_err(failed("listing rows", number))
    }
}

impl Source for Files {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn message_ids(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT id FROM message WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
            &[&after, &upto, &(limit as i64)],
            |row| row.get(0),
        )
    }

    fn arrivals(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Arrival>, Error> {
        let sql = "SELECT id, inbound, received_at FROM message WHERE id = ?1";
        self.each(index, messages, sql, |row| {
            Ok(Arrival {
                id: row.get(0)?,
                inbound: name(row, 1)?,
                received_at: Timestamp(row.get(2)?),
            })
        })
    }

    fn works(&mut self, index: usize, messages: &[i64]) -> Result<Vec<WorkMessage>, Error> {
        let sql = "SELECT id, inbound, received_at, enc, body FROM message WHERE id = ?1";
        let works = self.each(index, messages, sql, |row| {
            Ok(Some(WorkMessage {
                id: MessageId::from_raw(row.get(0)?),
                inbound: name(row, 1)?,
                received_at: Timestamp(row.get(2)?),
                body: match body(row, Place::Message(row.get(0)?), 3)? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            }))
        })?;
        Ok(works.into_iter().flatten().collect())
    }

    fn line(&mut self, index: usize, message: i64) -> Result<Option<(Summary, Option<Body>)>, Error> {
        self.row(
            index,
            "SELECT id, inbound, received_at, control_id, kind, source, parent, length(body), enc, body
             FROM message WHERE id = ?1",
            &[&message],
            |row| {
                let body = body(row, Place::Message(message), 8)?;
                Ok((summary(row, 8)?, body))
            },
        )
    }

    fn unended(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT id FROM message AS m WHERE id > ?1 AND id <= ?2
               AND NOT EXISTS (SELECT 1 FROM disposition WHERE message = m.id AND disposition > 1)
             ORDER BY id LIMIT ?3",
            &[&after, &upto, &(limit as i64)],
            |row| row.get(0),
        )
    }

    fn reopened(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT DISTINCT message FROM disposition
             WHERE disposition <= 1 AND message > ?1 AND message <= ?2 ORDER BY message",
            &[&after, &upto],
            |row| row.get(0),
        )
    }

    fn dispositions_between(
        &mut self,
        index: usize,
        low: i64,
        high: i64,
    ) -> Result<Vec<(i64, Disposition)>, Error> {
        self.rows(
            index,
            "SELECT message, disposition FROM disposition WHERE message >= ?1 AND message <= ?2
             ORDER BY message, id",
            &[&low, &high],
            |row| Ok((row.get(0)?, disposition(row, 1)?)),
        )
    }

    fn standings(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Standing>, Error> {
        let sql =
            "SELECT message, id, disposition FROM disposition WHERE message = ?1 ORDER BY id DESC LIMIT 1";
        self.each(index, messages, sql, |row| {
            Ok(Standing {
                message: row.get(0)?,
                row: row.get(1)?,
                disposition: disposition(row, 2)?,
            })
        })
    }

    fn story(&mut self, index: usize, message: i64) -> Result<Vec<(Timestamp, Disposition)>, Error> {
        let sql = "SELECT at, disposition FROM disposition WHERE message = ?1 ORDER BY id";
        self.rows(index, sql, &[&message], |row| {
            Ok((Timestamp(row.get(0)?), disposition(row, 1)?))
        })
    }

    fn put_back(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT DISTINCT message FROM disposition
             WHERE disposition = 0 AND message > ?1 AND message <= ?2 ORDER BY message",
            &[&after, &upto],
            |row| row.get(0),
        )
    }

    fn newest_routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
        let sql = "SELECT message, id FROM routed WHERE message = ?1 ORDER BY id DESC LIMIT 1";
        self.each(index, messages, sql, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Routed>, Error> {
        let sql = "SELECT id, message, at, handlers FROM routed WHERE message = ?1 ORDER BY id";
        self.each(index, messages, sql, routed)
    }

    fn handled(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Handled>, Error> {
        let sql = "SELECT id, message, handler, at, result FROM handled WHERE message = ?1 ORDER BY id";
        self.each(index, messages, sql, |row| {
            Ok(Handled {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: name(row, 2)?,
                at: Timestamp(row.get(3)?),
                result: HandledResult::from_code(row.get(4)?),
            })
        })
    }

    fn sends(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Sent>, Error> {
        let sql = "SELECT id, message, handler, destination, priority, partition_key, at
                   FROM outbound WHERE message = ?1 ORDER BY id";
        self.each(index, messages, sql, |row| {
            Ok(Sent {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: name(row, 2)?,
                destination: name(row, 3)?,
                priority: row.get(4)?,
                partition: row.get(5)?,
                at: Timestamp(row.get(6)?),
            })
        })
    }

    fn answers(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, NameId, i64)>, Error> {
        let sql = "SELECT message, handler, id FROM handled WHERE message = ?1
                   UNION ALL SELECT message, handler, id FROM outbound WHERE message = ?1";
        self.each(index, messages, sql, |row| {
            Ok((row.get(0)?, name(row, 1)?, row.get(2)?))
        })
    }

    fn outcomes(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Ended>, Error> {
        let sql = "SELECT send, at, result, attempts FROM outcome WHERE send = ?1 ORDER BY id DESC LIMIT 1";
        let ended = self.each(index, sends, sql, |row| {
            Ok(match OutcomeResult::from_code(row.get(2)?) {
                // A result that only a newer program knows ends nothing here.
                None => None,
                Some(result) => Some(Ended {
                    send: row.get(0)?,
                    at: Timestamp(row.get(1)?),
                    result,
                    attempts: row.get(3)?,
                }),
            })
        })?;
        Ok(ended.into_iter().flatten().collect())
    }

    fn reply(&mut self, index: usize, send: i64) -> Result<Option<Body>, Error> {
        let sql = "SELECT enc, reply FROM outcome WHERE send = ?1 ORDER BY id DESC LIMIT 1";
        let reply = self.row(index, sql, &[&send], |row| body(row, Place::Reply(send), 0))?;
        Ok(reply.flatten())
    }

    fn failed_attempts(&mut self, index: usize, sends: &[(i64, i64)]) -> Result<Vec<(i64, u32)>, Error> {
        let sql = "SELECT count(*) FROM event WHERE message = ?1 AND send = ?2 AND kind = ?3";
        let kind = EventKind::AttemptFailed.code();
        let mut counts = Vec::new();
        for (message, send) in sends {
            let count: Option<u32> = self.row(index, sql, &[message, send, &kind], |row| row.get(0))?;
            counts.extend(count.filter(|count| *count > 0).map(|count| (*send, count)));
        }
        Ok(counts)
    }

    fn send_bodies(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Carried>, Error> {
        let sql = "SELECT id, message, enc, body, body IS NOT NULL FROM outbound WHERE id = ?1";
        self.each(index, sends, sql, |row| {
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
        let sql = "SELECT id, message, stage, at_name, send, at, reason
                   FROM dead_letter WHERE message = ?1 ORDER BY id";
        self.each(index, messages, sql, dead_letter)
    }

    fn resolved(&mut self, index: usize, letters: &[i64]) -> Result<Vec<(i64, Timestamp)>, Error> {
        let sql = "SELECT dead_letter, at FROM resolved WHERE dead_letter = ?1 ORDER BY id DESC LIMIT 1";
        self.each(index, letters, sql, |row| {
            Ok((row.get(0)?, Timestamp(row.get(1)?)))
        })
    }

    fn events(&mut self, index: usize, message: MessageId) -> Result<Vec<Event>, Error> {
        let sql = "SELECT id, at, send, kind, detail, actor FROM event WHERE message = ?1 ORDER BY id";
        let events = self.rows(index, sql, &[&message.raw()], |row| {
            Ok(match EventKind::from_code(row.get(3)?) {
                // A kind that only a newer program knows is not shown.
                None => None,
                Some(kind) => Some(Event {
                    row: RowId(row.get(0)?),
                    at: Timestamp(row.get(1)?),
                    send: row.get::<_, Option<i64>>(2)?.map(SendId::from_raw),
                    kind,
                    detail: row.get(4)?,
                    actor: row.get(5)?,
                }),
            })
        })?;
        Ok(events.into_iter().flatten().collect())
    }

    fn unrouted(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT id FROM message AS m
             WHERE id > ?1 AND id <= ?2 AND (?3 = 0 OR inbound = ?3)
               AND NOT EXISTS (SELECT 1 FROM routed WHERE message = m.id)
               AND NOT EXISTS (SELECT 1 FROM disposition WHERE message = m.id AND disposition > 0)
             ORDER BY id LIMIT ?4",
            &[&of.after, &of.upto, &name_or_zero(of), &(of.limit as i64)],
            |row| row.get(0),
        )
    }

    fn routed_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<Routed>, Error> {
        self.rows(
            index,
            "SELECT id, message, at, handlers FROM routed AS r
             WHERE id > ?1 AND id <= ?2 AND length(handlers) > 0 AND NOT EXISTS (
                 SELECT 1 FROM disposition WHERE message = r.message AND id > r.id AND disposition > 1)
             ORDER BY id LIMIT ?3",
            &[&of.after, &of.upto, &(of.limit as i64)],
            routed,
        )
    }

    fn send_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<OpenSend>, Error> {
        self.rows(
            index,
            "SELECT id, message, priority, partition_key FROM outbound AS o
             WHERE id > ?1 AND id <= ?2 AND (?3 = 0 OR destination = ?3)
               AND NOT EXISTS (SELECT 1 FROM outcome WHERE send = o.id)
             ORDER BY id LIMIT ?4",
            &[&of.after, &of.upto, &name_or_zero(of), &(of.limit as i64)],
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

    fn profiles(&mut self) -> Result<Profiles, Error> {
        let control = self.readers.take(CONTROL)?;
        search::profiles(&control)
    }

    fn candidates(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        let connection = self.connection(index)?;
        search::messages_by(&connection, by, between, limit).map_err(database("searching a segment"))
    }

    fn lines(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Summary>, Error> {
        const { assert!(HEAD_BYTES == 18, "the statement below names it") };
        let sql = "SELECT id, inbound, received_at, control_id, kind, source, parent, length(body), enc,
                       substr(body, 1, 18)
                   FROM message WHERE id = ?1";
        self.each(index, messages, sql, |row| summary(row, 8))
    }

    fn list_letters(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut query = Where::new(
            "SELECT id, message, stage, at_name, send, at, reason FROM dead_letter WHERE id > ?1",
            vec![after.into()],
        );
        query.and(" AND stage = ?", filter.stage.map(Stage::code));
        query.and(" AND at_name = ?", filter.at_name.map(|name| i64::from(name.0)));
        query.and(" AND message = ?", filter.message.map(MessageId::raw));
        query.and(" AND at >= ?", filter.since.map(|since| since.0));
        query.and(" AND at < ?", filter.until.map(|until| until.0));
        query.and(" ORDER BY id LIMIT ?", Some(limit as i64));
        self.list(index, &query, dead_letter)
    }

    fn count_sends(&mut self, index: usize) -> Result<u64, Error> {
        let count: Option<i64> = self.row(index, "SELECT count(*) FROM outbound", &[], |row| row.get(0))?;
        Ok(count.unwrap_or(0) as u64)
    }

    fn count_delivered(&mut self, index: usize, lowest: i64) -> Result<u64, Error> {
        let sql = "SELECT count(DISTINCT send) FROM outcome WHERE result = ?1 AND send >= ?2";
        let delivered = OutcomeResult::Delivered.code();
        let count: Option<i64> = self.row(index, sql, &[&delivered, &lowest], |row| row.get(0))?;
        Ok(count.unwrap_or(0) as u64)
    }

    fn with_bodies(&mut self, index: usize) -> Result<Vec<i64>, Error> {
        const { assert!(packing::REMOVED == 2, "the statement below names it") };
        let sql = "SELECT id FROM message WHERE enc <> 2
                   UNION SELECT message FROM outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL
                   UNION SELECT message FROM outcome WHERE reply IS NOT NULL AND enc <> 2 ORDER BY 1";
        self.rows(index, sql, &[], |row| row.get(0))
    }

    fn foreign(&mut self, index: usize, owner: Owner, below: i64) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => {
                "SELECT message FROM routed WHERE message < ?1 UNION SELECT message FROM handled WHERE message < ?1
                 UNION SELECT message FROM outbound WHERE message < ?1 UNION SELECT message FROM outcome WHERE message < ?1
                 UNION SELECT message FROM disposition WHERE message < ?1 UNION SELECT message FROM dead_letter WHERE message < ?1
                 UNION SELECT message FROM event WHERE message < ?1 ORDER BY 1"
            }
            Owner::Delivered => {
                "SELECT DISTINCT send FROM outcome WHERE send < ?1 AND result = 1 ORDER BY send"
            }
            Owner::Letter => "SELECT DISTINCT dead_letter FROM resolved WHERE dead_letter < ?1 ORDER BY dead_letter",
        };
        self.rows(index, sql, &[&below], |row| row.get(0))
    }

    fn existing(&mut self, index: usize, owner: Owner, numbers: &[i64]) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => "SELECT id FROM message WHERE id = ?1",
            Owner::Delivered => "SELECT id FROM outbound WHERE id = ?1",
            Owner::Letter => "SELECT id FROM dead_letter WHERE id = ?1",
        };
        self.each(index, numbers, sql, |row| row.get(0))
    }
}

/// A `WHERE` that grows with the fields of a filter that are set.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn new(sql: &str, values: Vec<Value>) -> Where {
        Where {
            sql: sql.to_owned(),
            values,
        }
    }

    fn and(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            self.sql
                .push_str(&condition.replace('?', &format!("?{}", self.values.len())));
        }
    }
}

fn name_or_zero(of: Candidates) -> u32 {
    of.name.map_or(0, |name| name.0)
}

/// A line of a listing, from the columns that [`Files::lines`] selects: the body's stored length, its
/// `enc` (in the column of that number) and its beginning are the last three.
fn summary(row: &Row<'_>, enc: usize) -> rusqlite::Result<Summary> {
    let id = row.get(0)?;
    // The beginning of an empty body is NULL to SQLite.
    let head = row.get_ref(enc + 1)?.as_blob_or_null()?.unwrap_or_default();
    let length = row.get::<_, i64>(enc - 1)? as u64;
    let size = packing::size(Place::Message(id), row.get(enc)?, head, length).map_err(conversion)?;
    Ok(Summary {
        id: MessageId::from_raw(id),
        inbound: name(row, 1)?,
        received_at: Timestamp(row.get(2)?),
        control_id: row.get(3)?,
        kind: row.get(4)?,
        source: row.get(5)?,
        parent: row.get::<_, Option<i64>>(6)?.map(MessageId::from_raw),
        size,
        body_removed: row.get::<_, i16>(enc)? == packing::REMOVED,
        disposition: Disposition::Received,
    })
}

/// A dead letter that is not known to be resolved.
fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let stage = row.get(2)?;
    Ok(DeadLetter {
        row: RowId(row.get(0)?),
        message: MessageId::from_raw(row.get(1)?),
        stage: Stage::from_code(stage).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, stage))?,
        at_name: name(row, 3)?,
        send: row.get::<_, Option<i64>>(4)?.map(SendId::from_raw),
        at: Timestamp(row.get(5)?),
        reason: row.get(6)?,
        resolved_at: None,
    })
}

fn routed(row: &Row<'_>) -> rusqlite::Result<Routed> {
    Ok(Routed {
        id: row.get(0)?,
        message: row.get(1)?,
        at: Timestamp(row.get(2)?),
        handlers: handlers(row, 3)?,
    })
}

fn disposition(row: &Row<'_>, column: usize) -> rusqlite::Result<Disposition> {
    let code = row.get(column)?;
    Disposition::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<NameId> {
    row.get(column).map(NameId)
}

/// The handlers of a routed row.
fn handlers(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<NameId>> {
    let packed = row.get_ref(column)?.as_blob()?;
    let number = |four: &[u8]| {
        NameId(
            four.iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
        )
    };
    Ok(packed.chunks_exact(4).map(number).collect())
}

/// The bytes in the column behind `enc`, unpacked; `None` where none are.
fn body(row: &Row<'_>, place: Place, enc: usize) -> rusqlite::Result<Option<Body>> {
    let packed: Option<Vec<u8>> = row.get(enc + 1)?;
    let code = row.get(enc)?;
    let body = packed.map(|bytes| packing::unpack(place, code, bytes));
    Ok(body.transpose().map_err(conversion)?.flatten())
}

/// A body that cannot be read is a refusal that says where it lies; all else is the database's failure.
fn failed(doing: &'static str, segment: u32) -> impl Fn(rusqlite::Error) -> Error {
    move |error| match &error {
        rusqlite::Error::FromSqlConversionFailure(_, _, source) if source.is::<packing::Fault>() => {
            Error::Refused(format!("segment {segment}: {source}"))
        }
        _ => database(doing)(error),
    }
}

pub(super) fn conversion(fault: packing::Fault) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, Box::new(fault))
}
