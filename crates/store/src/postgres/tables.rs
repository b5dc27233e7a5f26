//! The questions that reading asks of one segment, as SQL on that segment's tables: one round trip each,
//! however many rows are asked for.

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};
use sqlx_core::encode::Encode;
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_core::types::Type;
use sqlx_postgres::{PgArguments, PgRow, Postgres};

use super::fault::database;
use super::link::{Link, arguments, bind};
use super::search;
use super::segment::{number, text};
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
        values: Result<PgArguments, Driver>,
        read: impl Fn(&PgRow) -> Result<T, Driver>,
    ) -> Result<Vec<T>, Error> {
        let number = self.catalog.segments[index].number;
        let rows = values.and_then(|values| self.link.rows(text(sql, number), values));
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|error| failed(error, number))
    }

    /// The same for a list of numbers; no round trip when it is empty.
    fn of<T>(
        &mut self,
        index: usize,
        numbers: &[i64],
        sql: &str,
        read: impl Fn(&PgRow) -> Result<T, Driver>,
    ) -> Result<Vec<T>, Error> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(index, sql, arguments!(numbers), read)
    }

    fn count(&mut self, index: usize, sql: &str, values: Result<PgArguments, Driver>) -> Result<u64, Error> {
        let counts: Vec<i64> = self.rows(index, sql, values, |row| row.try_get(0))?;
        Ok(counts.first().copied().unwrap_or(0) as u64)
    }
}

impl Source for Tables<'_> {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn message_ids(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT id FROM {s}message WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3",
            arguments!(after, upto, limit as i64),
            |row| row.try_get(0),
        )
    }

    fn arrivals(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Arrival>, Error> {
        let sql = "SELECT id, inbound, received_at FROM {s}message WHERE id = ANY ($1) ORDER BY id";
        self.of(index, messages, sql, |row| {
            Ok(Arrival {
                id: row.try_get(0)?,
                inbound: name(row, 1)?,
                received_at: time(row, 2)?,
            })
        })
    }

    fn works(&mut self, index: usize, messages: &[i64]) -> Result<Vec<WorkMessage>, Error> {
        let sql = "SELECT id, inbound, received_at, enc, body FROM {s}message WHERE id = ANY ($1)";
        let works = self.of(index, messages, sql, |row| {
            Ok(Some(WorkMessage {
                id: MessageId::from_raw(row.try_get(0)?),
                inbound: name(row, 1)?,
                received_at: time(row, 2)?,
                body: match body(row, Place::Message(row.try_get(0)?), 3)? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            }))
        })?;
        Ok(works.into_iter().flatten().collect())
    }

    fn line(&mut self, index: usize, message: i64) -> Result<Option<(Summary, Option<Body>)>, Error> {
        let sql =
            "SELECT id, inbound, received_at, control_id, kind, source, parent, octet_length(body), enc, body
                   FROM {s}message WHERE id = $1";
        let lines = self.rows(index, sql, arguments!(message), |row| {
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
        self.rows(
            index,
            "SELECT message, disposition FROM {s}disposition WHERE message >= $1 AND message <= $2 ORDER BY message, id",
            arguments!(low, high),
            |row| Ok((row.try_get(0)?, disposition(row, 1)?)),
        )
    }

    fn standings(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Standing>, Error> {
        let sql = "SELECT DISTINCT ON (message) message, id, disposition FROM {s}disposition
                   WHERE message = ANY ($1) ORDER BY message, id DESC";
        self.of(index, messages, sql, |row| {
            Ok(Standing {
                message: row.try_get(0)?,
                row: row.try_get(1)?,
                disposition: disposition(row, 2)?,
            })
        })
    }

    fn story(&mut self, index: usize, message: i64) -> Result<Vec<(Timestamp, Disposition)>, Error> {
        let sql = "SELECT at, disposition FROM {s}disposition WHERE message = $1 ORDER BY id";
        self.rows(index, sql, arguments!(message), |row| {
            Ok((time(row, 0)?, disposition(row, 1)?))
        })
    }

    fn put_back(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT DISTINCT message FROM {s}disposition
             WHERE disposition = 0 AND message > $1 AND message <= $2 ORDER BY message",
            arguments!(after, upto),
            |row| row.try_get(0),
        )
    }

    fn newest_routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
        let sql = "SELECT message, max(id) FROM {s}routed WHERE message = ANY ($1) GROUP BY message";
        self.of(index, messages, sql, |row| Ok((row.try_get(0)?, row.try_get(1)?)))
    }

    fn routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Routed>, Error> {
        let sql = "SELECT id, message, at, handlers FROM {s}routed WHERE message = ANY ($1) ORDER BY id";
        self.of(index, messages, sql, routed)
    }

    fn handled(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Handled>, Error> {
        let sql =
            "SELECT id, message, handler, at, result FROM {s}handled WHERE message = ANY ($1) ORDER BY id";
        self.of(index, messages, sql, |row| {
            Ok(Handled {
                id: row.try_get(0)?,
                message: row.try_get(1)?,
                handler: name(row, 2)?,
                at: time(row, 3)?,
                result: HandledResult::from_code(code(row, 4)?),
            })
        })
    }

    fn sends(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Sent>, Error> {
        let sql = "SELECT id, message, handler, destination, priority, partition_key, at
                   FROM {s}outbound WHERE message = ANY ($1) ORDER BY id";
        self.of(index, messages, sql, |row| {
            Ok(Sent {
                id: row.try_get(0)?,
                message: row.try_get(1)?,
                handler: name(row, 2)?,
                destination: name(row, 3)?,
                priority: row.try_get(4)?,
                partition: row.try_get::<Option<String>, _>(5)?.map(Into::into),
                at: time(row, 6)?,
            })
        })
    }

    fn answers(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, NameId, i64)>, Error> {
        let sql = "SELECT message, handler, id FROM {s}handled WHERE message = ANY ($1)
                   UNION ALL SELECT message, handler, id FROM {s}outbound WHERE message = ANY ($1)";
        self.of(index, messages, sql, |row| {
            Ok((row.try_get(0)?, name(row, 1)?, row.try_get(2)?))
        })
    }

    fn outcomes(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Ended>, Error> {
        let sql = "SELECT DISTINCT ON (send) send, at, result, attempts FROM {s}outcome
                   WHERE send = ANY ($1) ORDER BY send, id DESC";
        let ended = self.of(index, sends, sql, |row| {
            Ok(match OutcomeResult::from_code(code(row, 2)?) {
                // A result that only a newer program knows ends nothing here.
                None => None,
                Some(result) => Some(Ended {
                    send: row.try_get(0)?,
                    at: time(row, 1)?,
                    result,
                    attempts: number(row, 3)?,
                }),
            })
        })?;
        Ok(ended.into_iter().flatten().collect())
    }

    fn reply(&mut self, index: usize, send: i64) -> Result<Option<Body>, Error> {
        let sql = "SELECT enc, reply FROM {s}outcome WHERE send = $1 ORDER BY id DESC LIMIT 1";
        let replies = self.rows(index, sql, arguments!(send), |row| {
            body(row, Place::Reply(send), 0)
        })?;
        Ok(replies.into_iter().next().flatten())
    }

    fn failed_attempts(&mut self, index: usize, sends: &[(i64, i64)]) -> Result<Vec<(i64, u32)>, Error> {
        let (messages, sends): (Vec<i64>, Vec<i64>) = sends.iter().copied().unzip();
        if sends.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(
            index,
            "SELECT send, count(*)::integer FROM {s}event
             WHERE message = ANY ($1) AND send = ANY ($2) AND kind = $3 GROUP BY send",
            arguments!(messages, sends, EventKind::AttemptFailed.code() as i16),
            |row| Ok((row.try_get(0)?, number(row, 1)?)),
        )
    }

    fn send_bodies(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Carried>, Error> {
        let sql = "SELECT id, message, enc, body, body IS NOT NULL FROM {s}outbound WHERE id = ANY ($1)";
        self.of(index, sends, sql, |row| {
            let send = row.try_get(0)?;
            Ok(Carried {
                send,
                message: row.try_get(1)?,
                changed: row.try_get(4)?,
                body: body(row, Place::Send(send), 2)?,
            })
        })
    }

    fn letters(&mut self, index: usize, messages: &[i64]) -> Result<Vec<DeadLetter>, Error> {
        let sql = "SELECT id, message, stage, at_name, send, at, reason
                   FROM {s}dead_letter WHERE message = ANY ($1) ORDER BY id";
        self.of(index, messages, sql, dead_letter)
    }

    fn resolved(&mut self, index: usize, letters: &[i64]) -> Result<Vec<(i64, Timestamp)>, Error> {
        let sql = "SELECT DISTINCT ON (dead_letter) dead_letter, at FROM {s}resolved
                   WHERE dead_letter = ANY ($1) ORDER BY dead_letter, id DESC";
        self.of(index, letters, sql, |row| Ok((row.try_get(0)?, time(row, 1)?)))
    }

    fn events(&mut self, index: usize, message: MessageId) -> Result<Vec<Event>, Error> {
        let sql = "SELECT id, at, send, kind, detail, actor FROM {s}event WHERE message = $1 ORDER BY id";
        let events = self.rows(index, sql, arguments!(message.raw()), |row| {
            Ok(match EventKind::from_code(code(row, 3)?) {
                // A kind that only a newer program knows is not shown.
                None => None,
                Some(kind) => Some(Event {
                    row: RowId(row.try_get(0)?),
                    at: time(row, 1)?,
                    send: row.try_get::<Option<i64>, _>(2)?.map(SendId::from_raw),
                    kind,
                    detail: row.try_get(4)?,
                    actor: row.try_get(5)?,
                }),
            })
        })?;
        Ok(events.into_iter().flatten().collect())
    }

    fn unrouted(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error> {
        self.rows(
            index,
            "SELECT id FROM {s}message AS m
             WHERE id > $1 AND id <= $2 AND ($3 = 0 OR inbound = $3)
               AND NOT EXISTS (SELECT FROM {s}routed WHERE message = m.id)
               AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = m.id AND disposition > 0)
             ORDER BY id LIMIT $4",
            arguments!(of.after, of.upto, name_or_zero(of), of.limit as i64),
            |row| row.try_get(0),
        )
    }

    fn routed_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<Routed>, Error> {
        // One handler's lane is sifted where the rows are; what later segments say is looked up after.
        let sql = match of.name {
            Some(_) => {
                "SELECT id, message, at, handlers FROM {s}routed AS r
                 WHERE id > $1 AND id <= $2 AND $3 = ANY (handlers)
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = r.message AND id > r.id AND disposition > 1)
                   AND NOT EXISTS (SELECT FROM {s}handled WHERE message = r.message AND handler = $3 AND id > r.id)
                   AND NOT EXISTS (SELECT FROM {s}outbound WHERE message = r.message AND handler = $3 AND id > r.id)
                 ORDER BY id LIMIT $4"
            }
            None => {
                "SELECT id, message, at, handlers FROM {s}routed AS r
                 WHERE id > $1 AND id <= $2 AND cardinality(handlers) > $3
                   AND NOT EXISTS (SELECT FROM {s}disposition WHERE message = r.message AND id > r.id AND disposition > 1)
                 ORDER BY id LIMIT $4"
            }
        };
        let values = arguments!(of.after, of.upto, name_or_zero(of), of.limit as i64);
        self.rows(index, sql, values, routed)
    }

    fn send_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<OpenSend>, Error> {
        self.rows(
            index,
            "SELECT id, message, priority, partition_key FROM {s}outbound AS o
             WHERE id > $1 AND id <= $2 AND ($3 = 0 OR destination = $3)
               AND NOT EXISTS (SELECT FROM {s}outcome WHERE send = o.id)
             ORDER BY id LIMIT $4",
            arguments!(of.after, of.upto, name_or_zero(of), of.limit as i64),
            |row| {
                Ok(OpenSend {
                    id: SendId::from_raw(row.try_get(0)?),
                    message: MessageId::from_raw(row.try_get(1)?),
                    priority: row.try_get(2)?,
                    partition: row.try_get::<Option<String>, _>(3)?.map(Into::into),
                    failed_attempts: 0,
                })
            },
        )
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
        const { assert!(HEAD_BYTES == 18, "the statement below names it") };
        let sql =
            "SELECT id, inbound, received_at, control_id, kind, source, parent, octet_length(body), enc,
                       substring(body FOR 18)
                   FROM {s}message WHERE id = ANY ($1)";
        self.of(index, messages, sql, summary)
    }

    fn list_letters(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut query = Where::new(
            "SELECT id, message, stage, at_name, send, at, reason FROM {s}dead_letter WHERE id > ?",
            after,
        );
        query.and(" AND stage = ?", filter.stage.map(|stage| stage.code() as i16));
        query.and(" AND at_name = ?", filter.at_name.map(|name| name.0 as i32));
        query.and(" AND message = ?", filter.message.map(MessageId::raw));
        query.and(" AND at >= ?", filter.since.map(|since| since.0));
        query.and(" AND at < ?", filter.until.map(|until| until.0));
        query.and(" ORDER BY id LIMIT ?", Some(limit as i64));
        self.rows(index, &query.sql, query.values, dead_letter)
    }

    fn count_sends(&mut self, index: usize) -> Result<u64, Error> {
        self.count(index, "SELECT count(*) FROM {s}outbound", arguments!())
    }

    fn count_delivered(&mut self, index: usize, lowest: i64) -> Result<u64, Error> {
        self.count(
            index,
            "SELECT count(DISTINCT send) FROM {s}outcome WHERE result = $1 AND send >= $2",
            arguments!(OutcomeResult::Delivered.code() as i16, lowest),
        )
    }

    fn with_bodies(&mut self, index: usize) -> Result<Vec<i64>, Error> {
        const { assert!(packing::REMOVED == 2, "the statement below names it") };
        let sql = "SELECT id FROM {s}message WHERE enc <> 2
                   UNION SELECT message FROM {s}outbound WHERE body IS NOT NULL AND enc <> 2 OR partition_key IS NOT NULL
                   UNION SELECT message FROM {s}outcome WHERE reply IS NOT NULL AND enc <> 2 ORDER BY 1";
        self.rows(index, sql, arguments!(), |row| row.try_get(0))
    }

    fn foreign(&mut self, index: usize, owner: Owner, below: i64) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => {
                "SELECT message FROM {s}routed WHERE message < $1 UNION SELECT message FROM {s}handled WHERE message < $1
                 UNION SELECT message FROM {s}outbound WHERE message < $1 UNION SELECT message FROM {s}outcome WHERE message < $1
                 UNION SELECT message FROM {s}disposition WHERE message < $1 UNION SELECT message FROM {s}dead_letter WHERE message < $1
                 UNION SELECT message FROM {s}event WHERE message < $1 ORDER BY 1"
            }
            Owner::Delivered => {
                "SELECT DISTINCT send FROM {s}outcome WHERE send < $1 AND result = 1 ORDER BY send"
            }
            Owner::Letter => {
                "SELECT DISTINCT dead_letter FROM {s}resolved WHERE dead_letter < $1 ORDER BY dead_letter"
            }
        };
        self.rows(index, sql, arguments!(below), |row| row.try_get(0))
    }

    fn existing(&mut self, index: usize, owner: Owner, numbers: &[i64]) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => "SELECT id FROM {s}message WHERE id = ANY ($1)",
            Owner::Delivered => "SELECT id FROM {s}outbound WHERE id = ANY ($1)",
            Owner::Letter => "SELECT id FROM {s}dead_letter WHERE id = ANY ($1)",
        };
        self.of(index, numbers, sql, |row| row.try_get(0))
    }
}

/// A `WHERE` that grows with the fields of a filter that are set: one constant text for each combination.
struct Where {
    sql: String,
    values: Result<PgArguments, Driver>,
    count: usize,
}

impl Where {
    fn new(sql: &str, value: i64) -> Where {
        let mut query = Where {
            sql: String::new(),
            values: Ok(PgArguments::default()),
            count: 0,
        };
        query.and(sql, Some(value));
        query
    }

    fn and<'q, T>(&mut self, condition: &str, value: Option<T>)
    where
        T: Encode<'q, Postgres> + Type<Postgres>,
    {
        let Some(value) = value else { return };
        self.count += 1;
        self.sql
            .push_str(&condition.replace('?', &format!("${}", self.count)));
        let values = std::mem::replace(&mut self.values, Ok(PgArguments::default()));
        self.values = values.and_then(|values| bind(values, value));
    }
}

fn name_or_zero(of: Candidates) -> i32 {
    of.name.map_or(0, |name| name.0 as i32)
}

fn name(row: &PgRow, column: usize) -> Result<NameId, Driver> {
    number(row, column).map(NameId)
}

fn time(row: &PgRow, column: usize) -> Result<Timestamp, Driver> {
    row.try_get(column).map(Timestamp)
}

/// A code of the program's, as the program keeps it.
fn code(row: &PgRow, column: usize) -> Result<i64, Driver> {
    row.try_get::<i16, _>(column).map(i64::from)
}

fn disposition(row: &PgRow, column: usize) -> Result<Disposition, Driver> {
    let code = code(row, column)?;
    Disposition::from_code(code).ok_or_else(|| unknown("disposition", code))
}

fn unknown(what: &str, code: i64) -> Driver {
    Driver::Decode(format!("{code} is no {what} that this program knows").into())
}

/// The bytes in the column behind `enc`, unpacked; `None` where none are.
pub(super) fn body(row: &PgRow, place: Place, enc: usize) -> Result<Option<Body>, Driver> {
    let packed: Option<Vec<u8>> = row.try_get(enc + 1)?;
    let code = code(row, enc)?;
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

fn routed(row: &PgRow) -> Result<Routed, Driver> {
    let handlers: Vec<i32> = row.try_get(3)?;
    Ok(Routed {
        id: row.try_get(0)?,
        message: row.try_get(1)?,
        at: time(row, 2)?,
        handlers: handlers
            .into_iter()
            .map(|handler| NameId(handler as u32))
            .collect(),
    })
}

/// A line of a listing, from the columns that [`Tables::lines`] selects: the body's stored length, its
/// `enc` and its first [`HEAD_BYTES`] are the last three.
fn summary(row: &PgRow) -> Result<Summary, Driver> {
    let id = row.try_get(0)?;
    let head: &[u8] = row.try_get(9)?;
    let length = u64::from(number(row, 7)?);
    let size = packing::size(Place::Message(id), code(row, 8)?, head, length)
        .map_err(|fault| Driver::Decode(Box::new(fault)))?;
    Ok(Summary {
        id: MessageId::from_raw(id),
        inbound: name(row, 1)?,
        received_at: time(row, 2)?,
        control_id: row.try_get(3)?,
        kind: row.try_get(4)?,
        source: row.try_get(5)?,
        parent: row.try_get::<Option<i64>, _>(6)?.map(MessageId::from_raw),
        size,
        body_removed: row.try_get::<i16, _>(8)? == packing::REMOVED,
        disposition: Disposition::Received,
    })
}

/// A dead letter that is not known to be resolved.
fn dead_letter(row: &PgRow) -> Result<DeadLetter, Driver> {
    let stage = code(row, 2)?;
    Ok(DeadLetter {
        row: RowId(row.try_get(0)?),
        message: MessageId::from_raw(row.try_get(1)?),
        stage: Stage::from_code(stage).ok_or_else(|| unknown("stage", stage))?,
        at_name: name(row, 3)?,
        send: row.try_get::<Option<i64>, _>(4)?.map(SendId::from_raw),
        at: time(row, 5)?,
        reason: row.try_get(6)?,
        resolved_at: None,
    })
}
