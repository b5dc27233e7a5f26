//! What a database server has to do for the shared parts: one connection ([`Connection`]), and what is asked over it
//! ([`Link`]). Each theme of what is asked is a trait beside its shared logic: the server's statements and whatever it
//! has to do in a way of its own.

use std::time::Duration;

use super::batch::Batch;
use super::board::Cluster;
use super::control::Control;
use super::integrity::Checking;
use super::lead::Lead;
use super::lease::Lease;
use super::migrate::Migrations;
use super::retention::Retention;
use super::seal::Sealing;
use super::segment::Segments;
use super::tables::Reading;
use super::value::{Driver, Row, Value, database};
use crate::Error;

/// What a session is for; decides its settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Write,
    Keep,
    Read,
    /// The lease; no call takes longer than this.
    Lead(Duration),
}

impl Purpose {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Purpose::Write => "writer",
            Purpose::Keep => "keeper",
            Purpose::Read => "reader",
            Purpose::Lead(_) => "lease",
        }
    }
}

/// `holdfast-writer 3 node-1`; `-` where no term is held.
pub(crate) fn session_name(purpose: Purpose, epoch: Option<u32>, node: &str) -> String {
    let epoch = epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
    let name = format!("holdfast-{} {epoch} {node}", purpose.word());
    name.chars().take(63).collect() // the shortest limit of any server
}

/// What an error of a write means. A text is for a person and says what to do.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// The values of some unit were refused; nothing was written.
    Values(String),
    /// The database said no; nothing was written.
    Denied(String),
    /// The database undid it to settle a conflict; nothing was written, and the same may be tried at once.
    Again(String),
    /// The connection broke before the answer came.
    Lost(String),
}

/// What a look for a commit's rows found.
pub(crate) struct Probe {
    /// The shard's row now bears the new session.
    pub(crate) ours: bool,
    /// The row that was looked for is there.
    pub(crate) written: bool,
}

/// What a connection's driver says went wrong.
pub(crate) type DriverOf<C> = <<C as Connection>::Row as Row>::Driver;

/// A connection to the database, owned by one thread at a time. A call sends, waits and reads to the end on the
/// caller's thread; one that takes too long costs the connection.
pub(crate) trait Connection: Sized + Send + 'static {
    /// Where and how to connect.
    type Target: Clone + Send + Sync + 'static;
    /// A row of an answer.
    type Row: Row;

    /// Connects to a server that can be written to, sets the session up and, for a writing one, checks that a commit
    /// will be durable.
    fn open(target: &Self::Target, node: &str, purpose: Purpose) -> Result<Self, Error>;
    /// Says good-bye to the server.
    fn close(self);
    /// Whether it can still be used.
    fn is_whole(&self) -> bool;
    /// Whether the server still answers; asked only of a connection that lay idle for a while, since a network may have
    /// forgotten it without a word.
    fn still_answers(&mut self) -> bool;
    /// Whether a writing connection that lay idle would be taken if it were made now: it leads to a server that can be
    /// written to, no older one than was seen before, where a commit is durable. Spares a leader that takes over the
    /// making of a new one.
    fn is_as_good_as_new(&mut self, target: &Self::Target) -> bool;
    /// The server's session, to be ended when it hangs.
    fn backend(&self) -> i32;
    /// Work of which no step takes long: a network that swallows everything is noticed soon.
    fn hasten<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T;
    /// Ends the session of a connection of ours that was lost, should the server still have it.
    fn end_session(&mut self, backend: i32);
    /// Cancels what a session has under way.
    fn cancel(&mut self, backend: i32, patience: Duration);

    /// Whether a read may be tried again on another connection: this one is gone, or a segment was dropped
    /// between looking at the list and looking into it.
    fn is_worth_another_try(error: &Error) -> bool;
    /// Whether somebody else held a lock for too long.
    fn is_lock_timeout(error: &Error) -> bool;
    /// What an error of a write means.
    fn trouble(error: DriverOf<Self>) -> Trouble;

    /// All rows of a statement, read to the end: the server has finished (and committed) when this returns.
    fn rows(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Self::Row>, DriverOf<Self>>;
    /// Statements without values or answers.
    fn script(&mut self, sql: impl Into<String>) -> Result<(), DriverOf<Self>>;
    /// Runs `work` in a transaction; whatever fails in it undoes all of it. One inside another is part of that one.
    fn transaction<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error>;

    /// The first row of a statement.
    fn maybe_row(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Option<Self::Row>, DriverOf<Self>> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// The first row of a statement that always has one.
    fn row(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Self::Row, DriverOf<Self>> {
        self.maybe_row(sql, values)?.ok_or_else(DriverOf::<Self>::no_row)
    }

    /// What `read` makes of each row of a statement.
    fn read<T>(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Self::Row) -> Result<T, DriverOf<Self>>,
    ) -> Result<Vec<T>, Error> {
        let rows = self.rows(sql, values);
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(database(doing))
    }

    /// What `read` makes of the first row of a statement.
    fn read_first<T>(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Self::Row) -> Result<T, DriverOf<Self>>,
    ) -> Result<Option<T>, Error> {
        let row = self.maybe_row(sql, values);
        row.and_then(|row| row.as_ref().map(read).transpose())
            .map_err(database(doing))
    }

    /// A statement whose answer does not matter.
    fn run(&mut self, doing: &'static str, sql: &str, values: &[Value<'_>]) -> Result<(), Error> {
        self.rows(sql, values).map(drop).map_err(database(doing))
    }

    /// Whether a statement did what it says: its first row holds a number other than 0.
    fn did(&mut self, doing: &'static str, sql: &str, values: &[Value<'_>]) -> Result<bool, Error> {
        let number = self.read_first(doing, sql, values, |row| row.get::<i32>(0))?;
        Ok(number.is_some_and(|number| number != 0))
    }
}

/// Appending the rows of grouped commits, and looking for those of one whose answer was lost.
pub(crate) trait Append: Connection {
    /// The statements' texts for the segment that is written to.
    type Texts: Send + 'static;

    /// For a segment.
    fn texts(number: u32) -> Self::Texts;
    /// Appends a batch under the claim, in one round trip; false when the claim found no row.
    fn append(
        &mut self,
        batch: &Batch<'_>,
        lead: &Lead,
        texts: &mut Self::Texts,
        patience: Duration,
    ) -> Result<bool, Trouble>;
    /// [`claim`](Lease::claim), and a look for a row of the open segment: its table, number and the segment's.
    fn take_and_probe(&mut self, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error>;
}

/// All that the shared parts ask of a server.
pub(crate) trait Link:
    Append + Lease + Cluster + Control + Segments + Sealing + Reading + Checking + Retention + Migrations
{
}

impl<L> Link for L where
    L: Append + Lease + Cluster + Control + Segments + Sealing + Reading + Checking + Retention + Migrations
{
}
