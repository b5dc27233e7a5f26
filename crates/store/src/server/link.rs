//! What a database server has to do for the shared parts: one connection, and what is asked over it.

use std::time::Duration;

use model::{NameId, Term, Timestamp};

use super::batch::Batch;
use super::lead::Lead;
use crate::migration::Schema;
use crate::segments::catalog::Catalog;
use crate::segments::retention::{Remainder, SegmentInfo};
use crate::segments::revision::Revision;
use crate::segments::source::Source;
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

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

/// A connection to the database, owned by one thread at a time. A call sends, waits and reads to the end on the
/// caller's thread; one that takes too long costs the connection.
pub(crate) trait Link: Sized + Send + 'static {
    /// Where and how to connect.
    type Target: Clone + Send + Sync + 'static;
    /// The statements' texts for the segment that is written to.
    type Texts: Send + 'static;
    /// A connection with the segments as they were when a call began.
    type Tables<'l>: Source;

    /// Connects to a server that can be written to, sets the session up and, for a writing one, checks that a commit
    /// will be durable.
    fn open(target: &Self::Target, node: &str, purpose: Purpose) -> Result<Self, Error>;
    /// Says good-bye to the server.
    fn close(self);
    /// Whether it can still be used.
    fn is_whole(&self) -> bool;
    /// Whether the server still answers; asked only of a connection that lay idle for a while.
    fn still_answers(&mut self) -> bool;
    /// Whether a writing connection that lay idle would be taken if it were made now: it leads to a server that can be
    /// written to, no older one than was seen before, where a commit is durable.
    fn is_as_good_as_new(&mut self, target: &Self::Target) -> bool;
    /// The server's session, to be ended when it hangs.
    fn backend(&self) -> i32;
    /// Shows others under which term the session writes. A courtesy: the fence is the row.
    fn show_term(&mut self, epoch: u32, node: &str);
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

    /// Takes leadership for one node alone.
    fn acquire(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error>;
    /// Gives `term` up, if it leads.
    fn release(&mut self, term: Term) -> Result<(), Error>;
    /// Makes `lead`'s session the only one of the term that may write; false when another term leads. Waits for the
    /// session before.
    fn claim(&mut self, lead: &Lead) -> Result<bool, Trouble>;
    /// Whether the shard's row still bears this lead, waiting for whoever has it locked.
    fn holds(&mut self, lead: &Lead) -> Result<bool, Trouble>;
    /// [`claim`](Link::claim), and a look for a row of the open segment: its table, number and the segment's.
    fn take_and_probe(&mut self, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error>;
    /// Whether the database has a row of a segment: its table, number and the segment's. Of a segment that takes no more
    /// rows only whether it knows the segment: such a one may lose rows by rule.
    fn has(&mut self, table: &str, row: i64, number: u32) -> Result<bool, Error>;
    /// Whether a term leads, as of now.
    fn leads(&mut self, term: Term) -> Result<bool, Error>;

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
    /// Opens the segment that was made ahead, under the claim; false when the claim found no row, or it is open.
    fn open_segment(&mut self, lead: &Lead, number: u32, first: i64, now: Timestamp) -> Result<bool, Error>;

    /// Makes or completes the schema.
    fn migrate(&mut self, place: &str, node: &str, now: Timestamp) -> Result<(), Error>;
    /// Whether this program works with the schema as it is now.
    fn check_schema(&mut self, place: &str) -> Result<(), Error>;
    /// How far the schema is.
    fn schema(&mut self) -> Result<Schema, Error>;

    /// Sees to it that there is a segment to write to.
    fn open_first(&mut self, now: Timestamp) -> Result<(), Error>;
    /// The segments that live and were written to, as of now, oldest first.
    fn catalog(&mut self) -> Result<Catalog, Error>;
    /// Something that changes whenever a row of the list of segments does.
    fn stamp(&mut self) -> Result<String, Error>;
    /// To read segments by.
    fn tables(&mut self, catalog: Catalog) -> Self::Tables<'_>;
    /// The live segments, oldest first, with what their tables and indexes take.
    fn list(&mut self) -> Result<Vec<SegmentInfo>, Error>;
    /// Bytes that the tables of a segment take, with their indexes.
    fn bytes(&mut self, of: u32) -> Result<u64, Error>;
    /// Bytes of the whole schema.
    fn all_bytes(&mut self) -> Result<u64, Error>;
    /// Makes the tables of the next segment, unless they are there; answers its number.
    fn make_ahead(&mut self, now: Timestamp) -> Result<u32, Error>;
    /// Builds the indexes of a full segment and notes what it holds. May be repeated.
    fn seal(&mut self, number: u32, now: Timestamp) -> Result<(), Error>;
    /// Notes that nothing in a segment was open.
    fn note_drained(&mut self, number: u32, now: Timestamp) -> Result<(), Error>;
    /// Drops a segment's tables once nobody reads them, and proves the term when all is done.
    fn drop_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        now: Timestamp,
    ) -> Result<(), Error>;
    /// Puts new tables, with what has to stay, in the place of a segment's, and proves the term when all is done.
    fn shrink_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        remainder: &Remainder,
    ) -> Result<(), Error>;

    /// The lease row.
    fn leader(&mut self) -> Result<Option<Leader>, Error>;
    /// Every name.
    fn names(&mut self) -> Result<Vec<(NameId, NameKind, String)>, Error>;
    /// Numbers for names, new ones added.
    fn name_ids(&mut self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error>;
    /// Connections that shall not simply run.
    fn desired(&mut self) -> Result<Vec<(NameId, Desired)>, Error>;
    /// Appends what an operator wants, if `term` leads.
    fn set_desired(
        &mut self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), Error>;
    /// Reads everything back; one line per fault found.
    fn check(&mut self) -> Result<Vec<String>, Error>;
}
