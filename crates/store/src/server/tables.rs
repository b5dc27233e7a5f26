//! The questions that reading asks of one segment, on that segment's tables: one round trip each, however many rows are
//! asked for.

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};

use super::link::{Connection, DriverOf};
use super::segment::text;
use super::value::{Driver, Row, Value, database, values};
use crate::packing::{self, HEAD_BYTES, Place};
use crate::rows::{EventKind, HandledResult, OutcomeResult};
use crate::segments::catalog::{Catalog, Segment};
use crate::segments::search::Profiles;
use crate::segments::source::{
    Arrival, Between, By, Candidates, Carried, Ended, Handled, Owner, Routed, Sent, Source, Standing,
};
use crate::views::{DeadLetter, DeadLetterFilter, Event, OpenSend, Summary};
use crate::{Error, WorkMessage};

/// The statements of [`Source`], each under its question's name; `{s}` stands for the beginning of the names of a
/// segment's tables. Unless said otherwise the values are the question's, and the columns what the answer is made of, in
/// its order.
pub(crate) struct Sql {
    pub(crate) message_ids: &'static str,
    pub(crate) arrivals: &'static str,
    /// The last two columns are how the body is packed, and the body.
    pub(crate) works: &'static str,
    /// As `lines`, with all of the body.
    pub(crate) line: &'static str,
    pub(crate) unended: &'static str,
    pub(crate) reopened: &'static str,
    pub(crate) dispositions_between: &'static str,
    pub(crate) standings: &'static str,
    pub(crate) story: &'static str,
    pub(crate) put_back: &'static str,
    pub(crate) newest_routed: &'static str,
    pub(crate) routed: &'static str,
    pub(crate) handled: &'static str,
    pub(crate) sends: &'static str,
    pub(crate) answers: &'static str,
    pub(crate) outcomes: &'static str,
    pub(crate) reply: &'static str,
    /// Pairs of message and send, and the kind of event.
    pub(crate) failed_attempts: &'static str,
    /// Send, message, how the body is packed, the body, whether there is one.
    pub(crate) send_bodies: &'static str,
    pub(crate) letters: &'static str,
    pub(crate) resolved: &'static str,
    pub(crate) events: &'static str,
    /// After, up to, a name or 0, at most.
    pub(crate) unrouted: &'static str,
    /// The same. One handler's lane is sifted where the rows are; what later segments say is looked up after.
    pub(crate) routed_of: &'static str,
    /// As `unrouted`.
    pub(crate) send_candidates: &'static str,
    /// Segments' numbers and profiles.
    pub(crate) profiles: &'static str,
    /// The stored length of a body, how it is packed and its first 18 bytes are the last three columns.
    pub(crate) lines: &'static str,
    pub(crate) count_sends: &'static str,
    pub(crate) with_bodies: &'static str,
    pub(crate) foreign_messages: &'static str,
    pub(crate) foreign_delivered: &'static str,
    pub(crate) foreign_letters: &'static str,
    pub(crate) existing_messages: &'static str,
    pub(crate) existing_sends: &'static str,
    pub(crate) existing_letters: &'static str,
}

/// Reading segments. What takes other values on each server answers rows, with the columns of the statement it stands
/// beside in [`Sql`], or one number.
pub(crate) trait Reading: Connection {
    const TABLES: Sql;

    /// [`Source::routed_candidates`] of all handlers.
    fn routed_of_all(&mut self, number: u32, of: Candidates) -> Result<Vec<Self::Row>, DriverOf<Self>>;
    /// [`Source::list_letters`].
    fn list_letters(
        &mut self,
        number: u32,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Self::Row>, DriverOf<Self>>;
    /// [`Source::count_delivered`].
    fn count_delivered(&mut self, number: u32, lowest: i64) -> Result<Vec<Self::Row>, DriverOf<Self>>;
    /// [`Source::candidates`].
    fn messages_by(
        &mut self,
        segment: &Segment,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<Self::Row>, DriverOf<Self>>;

    /// To read segments by.
    fn tables(&mut self, catalog: Catalog) -> Tables<'_, Self> {
        Tables { link: self, catalog }
    }
}

/// A connection, and the segments as they were when a call began.
pub(crate) struct Tables<'l, L> {
    link: &'l mut L,
    catalog: Catalog,
}

impl<L: Reading> Tables<'_, L> {
    /// What `read` makes of each row that is found in the segment at `index`.
    fn found<T>(
        &mut self,
        index: usize,
        find: impl FnOnce(&mut L, &Segment) -> Result<Vec<L::Row>, DriverOf<L>>,
        read: impl Fn(&L::Row) -> Result<T, DriverOf<L>>,
    ) -> Result<Vec<T>, Error> {
        let segment = &self.catalog.segments[index];
        let rows = find(self.link, segment);
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|error| failed(error, segment.number))
    }

    /// All rows of a statement on the segment at `index`.
    fn rows<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&L::Row) -> Result<T, DriverOf<L>>,
    ) -> Result<Vec<T>, Error> {
        let find = |link: &mut L, segment: &Segment| link.rows(&text(sql, segment.number), values);
        self.found(index, find, read)
    }

    /// The same for a list of numbers; no round trip when it is empty.
    fn of<T>(
        &mut self,
        index: usize,
        numbers: &[i64],
        sql: &str,
        read: impl Fn(&L::Row) -> Result<T, DriverOf<L>>,
    ) -> Result<Vec<T>, Error> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        self.rows(index, sql, &values![numbers], read)
    }
}

/// The number of a statement that counts.
fn counted(counts: &[i64]) -> u64 {
    counts.first().copied().unwrap_or(0) as u64
}

impl<L: Reading> Source for Tables<'_, L> {
    fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn message_ids(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let values = values![after, upto, limit as i64];
        self.rows(index, L::TABLES.message_ids, &values, |row| row.get(0))
    }

    fn arrivals(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Arrival>, Error> {
        self.of(index, messages, L::TABLES.arrivals, |row| {
            Ok(Arrival {
                id: row.get(0)?,
                inbound: row.get(1)?,
                received_at: row.get(2)?,
            })
        })
    }

    fn works(&mut self, index: usize, messages: &[i64]) -> Result<Vec<WorkMessage>, Error> {
        let works = self.of(index, messages, L::TABLES.works, |row| {
            Ok(Some(WorkMessage {
                id: MessageId::from_raw(row.get(0)?),
                inbound: row.get(1)?,
                received_at: row.get(2)?,
                body: match body(row, Place::Message(row.get(0)?), 3)? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            }))
        })?;
        Ok(works.into_iter().flatten().collect())
    }

    fn line(&mut self, index: usize, message: i64) -> Result<Option<(Summary, Option<Body>)>, Error> {
        let lines = self.rows(index, L::TABLES.line, &values![message], |row| {
            let body = body(row, Place::Message(message), 8)?;
            Ok((summary(row)?, body))
        })?;
        Ok(lines.into_iter().next())
    }

    fn unended(&mut self, index: usize, after: i64, upto: i64, limit: usize) -> Result<Vec<i64>, Error> {
        let values = values![after, upto, limit as i64];
        self.rows(index, L::TABLES.unended, &values, |row| row.get(0))
    }

    fn reopened(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(index, L::TABLES.reopened, &values![after, upto], |row| row.get(0))
    }

    fn dispositions_between(
        &mut self,
        index: usize,
        low: i64,
        high: i64,
    ) -> Result<Vec<(i64, Disposition)>, Error> {
        let sql = L::TABLES.dispositions_between;
        self.rows(index, sql, &values![low, high], |row| {
            Ok((row.get(0)?, disposition(row, 1)?))
        })
    }

    fn standings(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Standing>, Error> {
        self.of(index, messages, L::TABLES.standings, |row| {
            Ok(Standing {
                message: row.get(0)?,
                row: row.get(1)?,
                disposition: disposition(row, 2)?,
            })
        })
    }

    fn story(&mut self, index: usize, message: i64) -> Result<Vec<(Timestamp, Disposition)>, Error> {
        self.rows(index, L::TABLES.story, &values![message], |row| {
            Ok((row.get(0)?, disposition(row, 1)?))
        })
    }

    fn put_back(&mut self, index: usize, after: i64, upto: i64) -> Result<Vec<i64>, Error> {
        self.rows(index, L::TABLES.put_back, &values![after, upto], |row| row.get(0))
    }

    fn newest_routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, i64)>, Error> {
        self.of(index, messages, L::TABLES.newest_routed, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn routed(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Routed>, Error> {
        self.of(index, messages, L::TABLES.routed, routed)
    }

    fn handled(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Handled>, Error> {
        self.of(index, messages, L::TABLES.handled, |row| {
            Ok(Handled {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: row.get(2)?,
                at: row.get(3)?,
                result: HandledResult::from_code(code(row, 4)?),
            })
        })
    }

    fn sends(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Sent>, Error> {
        self.of(index, messages, L::TABLES.sends, |row| {
            Ok(Sent {
                id: row.get(0)?,
                message: row.get(1)?,
                handler: row.get(2)?,
                destination: row.get(3)?,
                priority: row.get(4)?,
                partition: row.text(5)?.map(Into::into),
                at: row.get(6)?,
            })
        })
    }

    fn answers(&mut self, index: usize, messages: &[i64]) -> Result<Vec<(i64, NameId, i64)>, Error> {
        self.of(index, messages, L::TABLES.answers, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }

    fn outcomes(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Ended>, Error> {
        let ended = self.of(index, sends, L::TABLES.outcomes, |row| {
            Ok(match OutcomeResult::from_code(code(row, 2)?) {
                // A result that only a newer program knows ends nothing here.
                None => None,
                Some(result) => Some(Ended {
                    send: row.get(0)?,
                    at: row.get(1)?,
                    result,
                    attempts: row.get(3)?,
                }),
            })
        })?;
        Ok(ended.into_iter().flatten().collect())
    }

    fn reply(&mut self, index: usize, send: i64) -> Result<Option<Body>, Error> {
        let replies = self.rows(index, L::TABLES.reply, &values![send], |row| {
            body(row, Place::Reply(send), 0)
        })?;
        Ok(replies.into_iter().next().flatten())
    }

    fn failed_attempts(&mut self, index: usize, sends: &[(i64, i64)]) -> Result<Vec<(i64, u32)>, Error> {
        if sends.is_empty() {
            return Ok(Vec::new());
        }
        let values = values![sends, EventKind::AttemptFailed.code() as i16];
        self.rows(index, L::TABLES.failed_attempts, &values, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn send_bodies(&mut self, index: usize, sends: &[i64]) -> Result<Vec<Carried>, Error> {
        self.of(index, sends, L::TABLES.send_bodies, |row| {
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
        self.of(index, messages, L::TABLES.letters, dead_letter)
    }

    fn resolved(&mut self, index: usize, letters: &[i64]) -> Result<Vec<(i64, Timestamp)>, Error> {
        self.of(index, letters, L::TABLES.resolved, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    fn events(&mut self, index: usize, message: MessageId) -> Result<Vec<Event>, Error> {
        let events = self.rows(index, L::TABLES.events, &values![message.raw()], |row| {
            Ok(match EventKind::from_code(code(row, 3)?) {
                // A kind that only a newer program knows is not shown.
                None => None,
                Some(kind) => Some(Event {
                    row: RowId(row.get(0)?),
                    at: row.get(1)?,
                    send: row.big(2)?.map(SendId::from_raw),
                    kind,
                    detail: row.get(4)?,
                    actor: row.get(5)?,
                }),
            })
        })?;
        Ok(events.into_iter().flatten().collect())
    }

    fn unrouted(&mut self, index: usize, of: Candidates) -> Result<Vec<i64>, Error> {
        self.rows(index, L::TABLES.unrouted, &of_lane(of), |row| row.get(0))
    }

    fn routed_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<Routed>, Error> {
        match of.name {
            Some(_) => self.rows(index, L::TABLES.routed_of, &of_lane(of), routed),
            None => self.found(
                index,
                |link, segment| link.routed_of_all(segment.number, of),
                routed,
            ),
        }
    }

    fn send_candidates(&mut self, index: usize, of: Candidates) -> Result<Vec<OpenSend>, Error> {
        self.rows(index, L::TABLES.send_candidates, &of_lane(of), |row| {
            Ok(OpenSend {
                id: SendId::from_raw(row.get(0)?),
                message: MessageId::from_raw(row.get(1)?),
                priority: row.get(2)?,
                partition: row.text(3)?.map(Into::into),
                failed_attempts: 0,
            })
        })
    }

    fn profiles(&mut self) -> Result<Profiles, Error> {
        let read = |row: &L::Row| {
            let profile = serde_json::from_str(row.text(1)?.unwrap_or_default());
            let profile = profile.map_err(|error| DriverOf::<L>::unreadable(Box::new(error)))?;
            Ok((row.get(0)?, profile))
        };
        let profiles = self
            .link
            .read("reading what segments hold", L::TABLES.profiles, &[], read)?;
        Ok(profiles.into_iter().collect())
    }

    fn candidates(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        let find = |link: &mut L, segment: &Segment| link.messages_by(segment, by, between, limit);
        self.found(index, find, |row| row.get(0))
    }

    fn lines(&mut self, index: usize, messages: &[i64]) -> Result<Vec<Summary>, Error> {
        const { assert!(HEAD_BYTES == 18, "the statements name it") };
        self.of(index, messages, L::TABLES.lines, summary)
    }

    fn list_letters(
        &mut self,
        index: usize,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let find = |link: &mut L, segment: &Segment| link.list_letters(segment.number, filter, after, limit);
        self.found(index, find, dead_letter)
    }

    fn count_sends(&mut self, index: usize) -> Result<u64, Error> {
        let counts: Vec<i64> = self.rows(index, L::TABLES.count_sends, &[], |row| row.get(0))?;
        Ok(counted(&counts))
    }

    fn count_delivered(&mut self, index: usize, lowest: i64) -> Result<u64, Error> {
        let find = |link: &mut L, segment: &Segment| link.count_delivered(segment.number, lowest);
        let counts: Vec<i64> = self.found(index, find, |row| row.get(0))?;
        Ok(counted(&counts))
    }

    fn with_bodies(&mut self, index: usize) -> Result<Vec<i64>, Error> {
        const { assert!(packing::REMOVED == 2, "the statements name it") };
        self.rows(index, L::TABLES.with_bodies, &[], |row| row.get(0))
    }

    fn foreign(&mut self, index: usize, owner: Owner, below: i64) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => L::TABLES.foreign_messages,
            Owner::Delivered => L::TABLES.foreign_delivered,
            Owner::Letter => L::TABLES.foreign_letters,
        };
        self.rows(index, sql, &values![below], |row| row.get(0))
    }

    fn existing(&mut self, index: usize, owner: Owner, numbers: &[i64]) -> Result<Vec<i64>, Error> {
        let sql = match owner {
            Owner::Message => L::TABLES.existing_messages,
            Owner::Delivered => L::TABLES.existing_sends,
            Owner::Letter => L::TABLES.existing_letters,
        };
        self.of(index, numbers, sql, |row| row.get(0))
    }
}

/// The values by which a lane's candidates are asked for.
fn of_lane(of: Candidates) -> [Value<'static>; 4] {
    let name = of.name.map_or(0, |name| name.0 as i32);
    values![of.after, of.upto, name, of.limit as i64]
}

/// A code of the program's, as the program keeps it.
fn code<R: Row>(row: &R, column: usize) -> Result<i64, R::Driver> {
    row.get::<i16>(column).map(i64::from)
}

fn disposition<R: Row>(row: &R, column: usize) -> Result<Disposition, R::Driver> {
    let code = code(row, column)?;
    Disposition::from_code(code).ok_or_else(|| unknown("disposition", code))
}

fn unknown<D: Driver>(what: &str, code: i64) -> D {
    D::unreadable(format!("{code} is no {what} that this program knows").into())
}

/// The bytes in the column behind `enc`, unpacked; `None` where none are.
pub(super) fn body<R: Row>(row: &R, place: Place, enc: usize) -> Result<Option<Body>, R::Driver> {
    let packed: Option<Vec<u8>> = row.get(enc + 1)?;
    let code = code(row, enc)?;
    let body = packed.map(|bytes| packing::unpack(place, code, bytes));
    let body = body
        .transpose()
        .map_err(|fault| R::Driver::unreadable(Box::new(fault)))?;
    Ok(body.flatten())
}

/// A body that cannot be read is a refusal that says where it lies; all else is the database's failure.
fn failed<D: Driver>(error: D, segment: u32) -> Error {
    match error.why_unreadable() {
        Some(cause) if cause.is::<packing::Fault>() => Error::Refused(format!("segment {segment}: {cause}")),
        _ => database("reading a segment")(error),
    }
}

fn routed<R: Row>(row: &R) -> Result<Routed, R::Driver> {
    Ok(Routed {
        id: row.get(0)?,
        message: row.get(1)?,
        at: row.get(2)?,
        handlers: row.names(3)?,
    })
}

/// The size of a body before it was packed, from its stored length, its `enc` and its first bytes, which stand in three
/// columns from `length` on.
fn size<R: Row>(row: &R, place: Place, length: usize) -> Result<u64, R::Driver> {
    let head = row.bytes(length + 2)?.unwrap_or_default();
    let head = &head[..head.len().min(HEAD_BYTES)];
    let stored = u64::from(row.get::<u32>(length)?);
    packing::size(place, code(row, length + 1)?, head, stored)
        .map_err(|fault| R::Driver::unreadable(Box::new(fault)))
}

/// A line of a listing.
fn summary<R: Row>(row: &R) -> Result<Summary, R::Driver> {
    let id = row.get(0)?;
    Ok(Summary {
        id: MessageId::from_raw(id),
        inbound: row.get(1)?,
        received_at: row.get(2)?,
        control_id: row.get(3)?,
        kind: row.get(4)?,
        source: row.get(5)?,
        parent: row.big(6)?.map(MessageId::from_raw),
        size: size(row, Place::Message(id), 7)?,
        body_removed: row.get::<i16>(8)? == packing::REMOVED,
        disposition: Disposition::Received,
    })
}

/// A dead letter that is not known to be resolved.
fn dead_letter<R: Row>(row: &R) -> Result<DeadLetter, R::Driver> {
    let stage = code(row, 2)?;
    Ok(DeadLetter {
        row: RowId(row.get(0)?),
        message: MessageId::from_raw(row.get(1)?),
        stage: Stage::from_code(stage).ok_or_else(|| unknown("stage", stage))?,
        at_name: row.get(3)?,
        send: row.big(4)?.map(SendId::from_raw),
        at: row.get(5)?,
        reason: row.get(6)?,
        resolved_at: None,
    })
}
