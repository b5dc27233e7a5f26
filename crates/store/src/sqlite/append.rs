//! Turning entries into rows: one prepared statement per table, numbers from one counter.

use model::{Epoch, MessageId, RowId, Timestamp};
use rusqlite::{CachedStatement, Connection, params};

use crate::Entry;
use crate::packing::Packed;
use crate::rows::{
    NewDeadLetter, NewDisposition, NewEvent, NewHandled, NewMessage, NewOutcome, NewResolved, NewRouted,
    NewSend,
};
use crate::tally::{KINDS, Tally};

/// Why one unit could not be appended.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The unit contradicts itself.
    Unit(&'static str),
    /// The database said no.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Refusal::Database(error)
    }
}

/// A statement that is prepared when its table is first written in a transaction.
struct Insert<'c> {
    sql: &'static str,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Insert<'c> {
    fn new(sql: &'static str) -> Self {
        Insert { sql, statement: None }
    }

    fn with(&mut self, connection: &'c Connection) -> rusqlite::Result<&mut CachedStatement<'c>> {
        if self.statement.is_none() {
            self.statement = Some(connection.prepare_cached(self.sql)?);
        }
        Ok(self.statement.as_mut().expect("it was put there just now"))
    }
}

/// See [`Appender::mark`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    next: u64,
    first: Option<(usize, RowId)>,
    tally: Tally,
}

/// Appends units to one segment, inside one transaction.
pub(super) struct Appender<'c> {
    connection: &'c Connection,
    epoch: Epoch,
    at: Timestamp,
    next: u64,
    /// The first message of the unit that is being written.
    own_message: Option<MessageId>,
    first: Option<(usize, RowId)>,
    tally: Tally,
    inserts: [Insert<'c>; KINDS.len()],
}

impl<'c> Appender<'c> {
    /// Numbers start at `next`.
    pub(super) fn new(connection: &'c Connection, epoch: Epoch, at: Timestamp, next: u64) -> Self {
        let inserts = SQL.map(Insert::new);
        Appender {
            connection,
            epoch,
            at,
            next,
            own_message: None,
            first: None,
            tally: Tally::default(),
            inserts,
        }
    }

    /// The number that the next row will carry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The table (as an index of [`KINDS`]) and number of the first row that was appended.
    pub(super) fn first(&self) -> Option<(usize, RowId)> {
        self.first
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Where the appender stands, to come back to when a unit is refused.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            next: self.next,
            first: self.first,
            tally: self.tally,
        }
    }

    /// Forgets what was appended since `mark`; its rows are the caller's to roll back.
    pub(super) fn go_back(&mut self, mark: Mark) {
        Mark {
            next: self.next,
            first: self.first,
            tally: self.tally,
        } = mark;
    }

    /// What was appended so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Appends all entries of a unit; answers a number for each that carries one.
    pub(super) fn unit(&mut self, unit: &Packed) -> Result<Vec<RowId>, Refusal> {
        self.own_message = None;
        unit.entries()
            .map(|(entry, enc)| self.entry(entry, enc))
            .collect()
    }

    fn entry(&mut self, entry: &Entry, enc: i16) -> Result<RowId, Refusal> {
        if self.next >> model::ids::COUNTER_BITS != 0 {
            return Err(Refusal::Unit(
                "this leadership has used up its numbers: restart the node",
            ));
        }
        let row = RowId::pack(self.epoch, self.next);
        self.next += 1;
        let (kind, numbered) = match entry {
            Entry::Message(new) => (self.message(row, new, enc)?, true),
            Entry::Routed(new) => (self.routed(row, new)?, true),
            Entry::Handled(new) => (self.handled(row, new)?, false),
            Entry::Send(new) => (self.send(row, new, enc)?, true),
            Entry::Outcome(new) => (self.outcome(row, new, enc)?, false),
            Entry::Disposition(new) => (self.disposition(row, new)?, false),
            Entry::DeadLetter(new) => (self.dead_letter(row, new)?, true),
            Entry::Resolved(new) => (self.resolved(row, new)?, false),
            Entry::Event(new) => (self.event(row, new)?, true),
        };
        self.tally.0[kind] += 1;
        self.first.get_or_insert((kind, row));
        Ok(if numbered { row } else { RowId::ZERO })
    }

    /// Zero stands for the unit's own message.
    fn whose(&self, message: MessageId) -> Result<i64, Refusal> {
        match (message.raw(), self.own_message) {
            (0, Some(own)) => Ok(own.raw()),
            (0, None) => Err(Refusal::Unit(
                "an entry refers to its unit's message, but the unit has none before it",
            )),
            (raw, _) => Ok(raw),
        }
    }

    fn message(&mut self, row: RowId, new: &NewMessage, enc: i16) -> Result<usize, Refusal> {
        self.inserts[0].with(self.connection)?.execute(params![
            row.0,
            self.epoch.0,
            new.inbound.0,
            new.received_at.0,
            self.at.0,
            new.control_id,
            new.kind,
            new.source,
            new.parent.map(MessageId::raw),
            new.keys.as_text(),
            enc,
            &new.body[..],
        ])?;
        self.own_message.get_or_insert(MessageId(row));
        Ok(0)
    }

    fn routed(&mut self, row: RowId, new: &NewRouted) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        let handlers: Vec<u8> = new
            .handlers
            .iter()
            .flat_map(|handler| handler.0.to_le_bytes())
            .collect();
        self.inserts[1].with(self.connection)?.execute(params![
            row.0,
            self.epoch.0,
            message,
            self.at.0,
            handlers
        ])?;
        Ok(1)
    }

    fn handled(&mut self, row: RowId, new: &NewHandled) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[2].with(self.connection)?.execute(params![
            message,
            new.handler.0,
            row.0,
            self.epoch.0,
            self.at.0,
            new.result.code()
        ])?;
        Ok(2)
    }

    fn send(&mut self, row: RowId, new: &NewSend, enc: i16) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[3].with(self.connection)?.execute(params![
            row.0,
            self.epoch.0,
            message,
            new.handler.0,
            new.destination.0,
            new.priority,
            new.partition,
            self.at.0,
            enc,
            new.body.as_deref(),
        ])?;
        Ok(3)
    }

    fn outcome(&mut self, row: RowId, new: &NewOutcome, enc: i16) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[4].with(self.connection)?.execute(params![
            new.send.raw(),
            row.0,
            self.epoch.0,
            message,
            new.result.code(),
            new.attempts,
            self.at.0,
            enc,
            new.reply.as_deref(),
        ])?;
        Ok(4)
    }

    fn disposition(&mut self, row: RowId, new: &NewDisposition) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[5].with(self.connection)?.execute(params![
            message,
            row.0,
            self.epoch.0,
            new.disposition.code(),
            self.at.0
        ])?;
        Ok(5)
    }

    fn dead_letter(&mut self, row: RowId, new: &NewDeadLetter) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[6].with(self.connection)?.execute(params![
            row.0,
            self.epoch.0,
            message,
            new.stage.code(),
            new.at.0,
            new.send.map(model::SendId::raw),
            self.at.0,
            new.reason,
        ])?;
        Ok(6)
    }

    fn resolved(&mut self, row: RowId, new: &NewResolved) -> Result<usize, Refusal> {
        self.inserts[7].with(self.connection)?.execute(params![
            new.dead_letter.0,
            row.0,
            self.epoch.0,
            new.how.code(),
            new.actor,
            self.at.0
        ])?;
        Ok(7)
    }

    fn event(&mut self, row: RowId, new: &NewEvent) -> Result<usize, Refusal> {
        let message = self.whose(new.message)?;
        self.inserts[8].with(self.connection)?.execute(params![
            row.0,
            self.epoch.0,
            message,
            new.send.map(model::SendId::raw),
            new.kind.code(),
            self.at.0,
            new.detail,
            new.actor,
        ])?;
        Ok(8)
    }
}

/// In the order of [`KINDS`].
const SQL: [&str; KINDS.len()] = [
    "INSERT INTO message (id, epoch, inbound, received_at, at, control_id, kind, source, parent, keys, enc, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    "INSERT INTO routed (id, epoch, message, at, handlers) VALUES (?1, ?2, ?3, ?4, ?5)",
    "INSERT INTO handled (message, handler, id, epoch, at, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    "INSERT INTO outbound (id, epoch, message, handler, destination, priority, partition_key, at, enc, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    "INSERT INTO outcome (send, id, epoch, message, result, attempts, at, enc, reply)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    "INSERT INTO disposition (message, id, epoch, disposition, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    "INSERT INTO dead_letter (id, epoch, message, stage, at_name, send, at, reason)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    "INSERT INTO resolved (dead_letter, id, epoch, how, actor, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    "INSERT INTO event (id, epoch, message, send, kind, at, detail, actor)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
];
