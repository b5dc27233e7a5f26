//! What the store answers: recovery rows, pages, details.

use model::{Body, Disposition, Epoch, MessageId, NameId, RowId, SendId, Stage, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::keys::Key;
use crate::rows::{EventKind, HandledResult, OutcomeResult};

/// The lease row.
#[derive(Clone, Debug, Serialize)]
pub struct Leader {
    /// Which leadership.
    pub epoch: Epoch,
    /// Its term id.
    pub term: Uuid,
    /// Who.
    pub node: String,
    /// Since when.
    pub acquired_at: Timestamp,
    /// Whether it was given up.
    pub released: bool,
}

/// A message that is not disposed of, with what is already known of it.
#[derive(Clone, Debug)]
pub struct OpenMessage {
    /// Its number.
    pub id: MessageId,
    /// The inbound it came by.
    pub inbound: NameId,
    /// When it was received.
    pub received_at: Timestamp,
    /// The newest routed row: its number and its handlers; `None` = not routed.
    pub routed: Option<(RowId, Vec<NameId>)>,
    /// Handlers that ended, after the newest routed row, without a send to an outbound.
    pub handled: Vec<(NameId, HandledResult)>,
    /// All its sends.
    pub sends: Vec<KnownSend>,
    /// Whether any dead letter of it is unresolved.
    pub dead: bool,
}

impl OpenMessage {
    /// Whether `handler` still has to run for the routed row `row`.
    pub fn is_unhandled(&self, handler: NameId, row: RowId) -> bool {
        let ended = self.handled.iter().any(|(ended, _)| *ended == handler);
        let sent = self
            .sends
            .iter()
            .any(|send| send.handler == handler && send.id.0 > row);
        !ended && !sent
    }
}

/// A send of an open message.
#[derive(Clone, Debug)]
pub struct KnownSend {
    /// Its number.
    pub id: SendId,
    /// By which handler.
    pub handler: NameId,
    /// To which outbound.
    pub destination: NameId,
    /// Its priority.
    pub priority: i32,
    /// Its partition key.
    pub partition: Option<Box<str>>,
    /// Failed attempts on record.
    pub failed_attempts: u32,
    /// Its outcome; `None` = to be delivered.
    pub outcome: Option<OutcomeResult>,
}

/// A (message, handler) pair to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRouted {
    /// The number of the routed row.
    pub row: RowId,
    /// Which message.
    pub message: MessageId,
}

/// A send to be delivered.
#[derive(Clone, Debug)]
pub struct OpenSend {
    /// Its number.
    pub id: SendId,
    /// Of which message.
    pub message: MessageId,
    /// Its priority.
    pub priority: i32,
    /// Its partition key.
    pub partition: Option<Box<str>>,
    /// Failed attempts on record.
    pub failed_attempts: u32,
}

/// A page of a listing.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass this as the filter's cursor for the next page; `None` = the end.
    pub next: Option<RowId>,
}

/// Which messages to list. Empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Came by this inbound.
    pub inbound: Option<NameId>,
    /// Stands here.
    pub disposition: Option<Disposition>,
    /// MSH-10, exactly.
    pub control_id: Option<String>,
    /// `ADT^A01`, or a prefix such as `ADT`.
    pub kind: Option<String>,
    /// Carries this search key.
    pub key: Option<Key>,
    /// Was sent to this outbound, whatever became of it.
    pub destination: Option<NameId>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only older than this row (the last page's `next`).
    pub before: Option<RowId>,
    /// Page size, 1 to 1,000.
    pub limit: usize,
}

/// A line of a listing. Names are numbers; the engine turns them back into names.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its number.
    pub id: MessageId,
    /// The inbound it came by.
    pub inbound: NameId,
    /// When it was received.
    pub received_at: Timestamp,
    /// MSH-10.
    pub control_id: Option<String>,
    /// `ADT^A01`.
    pub kind: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// What caused it.
    pub parent: Option<MessageId>,
    /// Bytes as received.
    pub size: u64,
    /// Whether retention removed its body, and keeps the rest of it longer.
    pub body_removed: bool,
    /// Where it stands.
    pub disposition: Disposition,
}

/// One message, whole.
#[derive(Clone, Debug)]
pub struct MessageDetail {
    /// Its line.
    pub summary: Summary,
    /// The bytes as received; `None` = retention removed them.
    pub body: Option<Body>,
    /// Its routed rows, oldest first (a replay adds one).
    pub routed: Vec<(RowId, Timestamp, Vec<NameId>)>,
    /// Handlers that ended without a send to an outbound.
    pub handled: Vec<(NameId, Timestamp, HandledResult)>,
    /// Its sends, oldest first.
    pub sends: Vec<SendDetail>,
    /// Its dead letters, resolved ones too.
    pub dead_letters: Vec<DeadLetter>,
    /// Events that no stage row tells, oldest first.
    pub events: Vec<Event>,
    /// Each disposition it had, oldest first.
    pub dispositions: Vec<(Timestamp, Disposition)>,
}

impl MessageDetail {
    /// The bytes that a send of it carries; `None` = retention removed them.
    pub fn body_of<'a>(&'a self, send: &'a SendDetail) -> Option<&'a Body> {
        match send.changed {
            true => send.body.as_ref(),
            false => self.body.as_ref(),
        }
    }
}

/// One send, whole.
#[derive(Clone, Debug)]
pub struct SendDetail {
    /// Its number.
    pub id: SendId,
    /// By which handler.
    pub handler: NameId,
    /// To which outbound.
    pub destination: NameId,
    /// When its handoff was written.
    pub at: Timestamp,
    /// Whether it carries other bytes than its message.
    pub changed: bool,
    /// Those; `None` = it carries the raw body unchanged, or retention removed them.
    pub body: Option<Body>,
    /// How it ended: when, how, after how many attempts, with what reply (`None` also where retention removed it).
    pub outcome: Option<(Timestamp, OutcomeResult, u32, Option<Body>)>,
}

/// One event of a trail.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number.
    pub row: RowId,
    /// When.
    pub at: Timestamp,
    /// Of which send.
    pub send: Option<SendId>,
    /// What.
    pub kind: EventKind,
    /// For a person.
    pub detail: String,
    /// By whom.
    pub actor: Option<String>,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number.
    pub row: RowId,
    /// Which message.
    pub message: MessageId,
    /// Where in its life.
    pub stage: Stage,
    /// Inbound, handler or outbound where it died.
    pub at_name: NameId,
    /// The send, at the outbound stage.
    pub send: Option<SendId>,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was replayed or purged, if it was.
    pub resolved_at: Option<Timestamp>,
}

/// Which dead letters to list. Empty fields match everything.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// At this stage.
    pub stage: Option<Stage>,
    /// At this inbound, handler or outbound.
    pub at_name: Option<NameId>,
    /// Of this message.
    pub message: Option<MessageId>,
    /// Died at or after.
    pub since: Option<Timestamp>,
    /// Died before.
    pub until: Option<Timestamp>,
    /// Only newer than this row (the last page's `next`).
    pub after: Option<RowId>,
    /// Page size, 1 to 10,000.
    pub limit: usize,
}
