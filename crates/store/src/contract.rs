//! The store contract: what every backend promises, in prose first.
//!
//! **Units.** The engine hands over [`Unit`]s. All entries of one unit become durable together or not
//! at all. Many units of many lanes share one transaction (grouped commit): a transaction starts as
//! soon as the previous one returned. Only while transactions are full anyway does one wait a moment for more
//! ([`Begin::Soon`]), and what nobody waits for may ride with what somebody does ([`Begin::Later`]).
//!
//! **Order.** `submit` enqueues at the call, in call order, without waiting. Row numbers are assigned
//! by the store while it builds a transaction, so number order = commit order = submit order. A row of
//! a lane that was submitted later never becomes visible earlier, so a lane can be read in pages by
//! `after` without missing one.
//!
//! **Fence.** Every transaction first locks the shard row and compares the term on it under that lock.
//! A term that is not the row's gets [`CommitError::Fenced`] for every unit and nothing is written.
//!
//! **Durability.** A [`Receipt`] is returned only after the commit is durable (SQLite: WAL,
//! `synchronous=FULL`). An error says one of: retry, reject, outcome unknown.
//!
//! **Poison.** When one unit makes a transaction fail (a value the database refuses), the transaction is
//! repeated with a savepoint round each unit until the unit stands alone; it gets [`CommitError::Rejected`], all others
//! commit.
//!
//! **Append-only.** Stage rows are never updated and never deleted one by one; a newer row wins where
//! one supersedes another (dispositions). Segments are dropped whole.
//!
//! **Retention.** A segment goes whole once nothing in it has to stay; when little has to, it is made anew
//! with that little first. Bodies may have a shorter term than the messages that they belong to: then a segment is made
//! anew without them, and what is left of a message says so wherever a body is asked for. Nothing that is open ever goes,
//! nor its bodies, nor anything under a term that does not lead. The caller opens no closed message while a segment is being retired (no replay): the store judges a message
//! once and does not look again.

use async_trait::async_trait;
use futures::future::BoxFuture;
use model::lease::Term;
use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};

use crate::migration::Schema;
use crate::rows::{Receipt, Unit};
use crate::segments::retention::{Findings, RetentionRules, Retired, SegmentInfo};
use crate::views::{
    DeadLetter, DeadLetterFilter, Leader, MessageDetail, MessageFilter, OpenMessage, OpenRouted, OpenSend,
    Page, Summary,
};

/// When the transaction of a call's units begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Begin {
    /// As soon as the one before has ended: something stands still until it is durable.
    #[default]
    AtOnce,
    /// The same, unless transactions carry many units lately: then at least a millisecond lies between the beginnings
    /// of two, and more units share one flush of the disk.
    Soon,
    /// Nobody waits for it. While others' transactions begin every few milliseconds it rides with the next one of them, and
    /// waits for that at most 30 ms; otherwise the same as `Soon`.
    Later,
}

/// Why a unit was not committed. Retry loops match on this only.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Another term owns the shard. Stop, forget the memory, look at the lease. Never retry.
    #[error("this node no longer leads: its term was superseded")]
    Fenced,
    /// The store cannot write now (disk full, busy, I/O error before the commit). Nothing was written:
    /// the same unit may be submitted again.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// This unit's own content was refused. Nothing of it was written; it will never be accepted as it is.
    #[error("the store refused the entry: {0}")]
    Rejected(String),
    /// The commit may or may not have happened and a probe could not tell.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
}

/// Why a read or an administrative call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data cannot be opened as it is; says what to do.
    #[error("{0}")]
    Refused(String),
    /// A newer program changed the schema so that this one cannot work with it. Says what to do.
    #[error("{0}")]
    Outdated(String),
    /// Another process holds this store.
    #[error("{0}")]
    Busy(String),
    /// The database cannot be reached, or cannot be used for now: the same call may succeed later. Says what
    /// to do.
    #[error("{0}")]
    Away(String),
    /// The database failed.
    #[error("the database failed while {doing}")]
    Database {
        /// What this layer was doing.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What kind of thing a name names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NameKind {
    /// An inbound connection.
    Inbound,
    /// An outbound connection.
    Outbound,
    /// A handler.
    Handler,
}

/// What an operator wants a connection to be. Survives restarts and failovers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Desired {
    /// Runs.
    #[default]
    Running,
    /// An inbound closes its listener; an outbound keeps its rows and sends nothing.
    Held,
}

/// A staged queue with its messages. See the module's text for what every backend promises.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes leadership for `node`: epoch + 1, a fresh term id, all shard rows rewritten.
    async fn acquire(&self, node: &str) -> Result<Term, Error>;

    /// Writes under `term` from now on, which this node was given by the cluster's lease: numbers begin anew, and
    /// nothing that an older session left behind can be written any more. [`Error::Outdated`] when a newer program took
    /// the schema too far.
    async fn lead(&self, term: Term) -> Result<(), Error>;

    /// Gives leadership up if `term` still holds it.
    async fn release(&self, term: Term) -> Result<(), Error>;

    /// Reads the lease row; never guesses.
    async fn leader(&self) -> Result<Option<Leader>, Error>;

    /// Numbers for names, in the same order; new names are added durably.
    async fn name_ids(&self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error>;

    /// Every name ever numbered.
    async fn names(&self) -> Result<Vec<(NameId, NameKind, String)>, Error>;

    /// Enqueues units at once, in order, and resolves when their transaction(s) ended. Dropping the
    /// future does not undo anything.
    fn submit_by(
        &self,
        begin: Begin,
        term: Term,
        units: Vec<Unit>,
    ) -> BoxFuture<'static, Vec<Result<Receipt, CommitError>>>;

    /// [`submit_by`](Store::submit_by), to begin at once.
    fn submit(&self, term: Term, units: Vec<Unit>) -> BoxFuture<'static, Vec<Result<Receipt, CommitError>>> {
        self.submit_by(Begin::AtOnce, term, units)
    }

    /// Recovery: messages whose disposition is not final, in number order, `id > after`, at most `limit`.
    async fn open_messages(&self, after: MessageId, limit: usize) -> Result<Vec<OpenMessage>, Error>;

    /// A page of one ingress lane: open messages of `inbound` without a routed row, `after < id <= upto`.
    async fn open_ingress(
        &self,
        inbound: NameId,
        after: MessageId,
        upto: MessageId,
        limit: usize,
    ) -> Result<Vec<MessageId>, Error>;

    /// A page of one routed lane: open (message, handler) pairs not yet handled, by the number of the
    /// routed row, `after < row <= upto`.
    async fn open_routed(
        &self,
        handler: NameId,
        after: RowId,
        upto: RowId,
        limit: usize,
    ) -> Result<Vec<OpenRouted>, Error>;

    /// A page of one outbound lane: sends to `destination` without an outcome, `after < id <= upto`.
    async fn open_sends(
        &self,
        destination: NameId,
        after: SendId,
        upto: SendId,
        limit: usize,
    ) -> Result<Vec<OpenSend>, Error>;

    /// Raw bodies with what the pipeline needs to know of them, in the order asked; a message that is gone, or whose
    /// body is (retention), is `None`.
    async fn messages_for_work(&self, ids: &[MessageId]) -> Result<Vec<Option<WorkMessage>>, Error>;

    /// Bodies of sends (the raw body where the send left unchanged), in the order asked; `None` as above.
    async fn send_bodies(&self, ids: &[SendId]) -> Result<Vec<Option<Body>>, Error>;

    /// Messages by filter, newest first.
    async fn messages(&self, filter: &MessageFilter) -> Result<Page<Summary>, Error>;

    /// One message with every stage row and its event trail in time order.
    async fn message(&self, id: MessageId) -> Result<Option<MessageDetail>, Error>;

    /// Dead letters that nobody replayed or purged yet, oldest first.
    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Page<DeadLetter>, Error>;

    /// Whole-store counts per disposition and of open rows per stage; for reconciliation, not for a hot path.
    async fn census(&self) -> Result<Census, Error>;

    /// What operators want of each connection that is not simply running.
    async fn desired(&self) -> Result<Vec<(NameId, Desired)>, Error>;

    /// Records what an operator wants; `actor` is for the trail.
    async fn set_desired(
        &self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
    ) -> Result<(), Error>;

    /// Reads everything back and reports damage, one line each; empty = sound.
    async fn check_integrity(&self) -> Result<Vec<String>, Error>;

    /// The live segments, oldest first.
    async fn segments(&self) -> Result<Vec<SegmentInfo>, Error>;

    /// What `rules` say of a sealed segment, and changes nothing; `None` when it is not (or no longer) sealed and
    /// live. Reads every message's line of it: for the background.
    async fn examine_segment(&self, number: u32, rules: &RetentionRules) -> Result<Option<Findings>, Error>;

    /// Drops a sealed segment, or makes it anew with what has to stay, as `rules` say; `None` as for
    /// [`examine_segment`](Store::examine_segment). Refused
    /// when `term` does not lead at the moment of the change. Neither commits nor reads wait for it. Works in
    /// the background until it is done, whether or not the future is dropped.
    async fn retire_segment(
        &self,
        term: Term,
        number: u32,
        rules: &RetentionRules,
    ) -> Result<Option<Retired>, Error>;

    /// Has at hand what the start of a leadership reads: connections, statements, what the server keeps for each of them.
    /// For a standby, from time to time; it may do nothing.
    async fn rehearse(&self) -> Result<(), Error> {
        Ok(())
    }

    /// How far the schema is; another process may have taken it further.
    async fn schema(&self) -> Result<Schema, Error>;

    /// Bytes on disk.
    async fn size_bytes(&self) -> Result<u64, Error>;

    /// Commits what is queued, then closes. Nothing may be submitted afterwards.
    async fn close(&self) -> Result<(), Error>;
}

/// A message as a router or handler needs it.
#[derive(Clone, Debug)]
pub struct WorkMessage {
    /// Its number.
    pub id: MessageId,
    /// The inbound it came by.
    pub inbound: NameId,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its raw body.
    pub body: Body,
}

/// Counts over the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Census {
    /// All messages.
    pub messages: u64,
    /// Messages per current disposition; those in flight stand at RECEIVED until their router has run, then at ROUTED.
    pub dispositions: Vec<(Disposition, u64)>,
    /// All sends.
    pub sends: u64,
    /// Sends whose outcome is delivered.
    pub delivered: u64,
    /// Open rows per stage.
    pub open: Vec<(Stage, u64)>,
    /// Dead letters that nobody replayed or purged.
    pub dead_letters: u64,
}
