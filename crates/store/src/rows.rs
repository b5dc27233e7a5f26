//! What the engine writes: entries, grouped in atomic units, and the receipt for one.

use model::{Body, Committed, Disposition, MessageId, NameId, RowId, SendId, Stage, Timestamp};

use crate::keys::Keys;

/// Entries that become durable together or not at all.
///
/// An entry whose message is [`MessageId`] zero means the first `Entry::Message` of the same unit: the
/// store puts its number in (a message refused at the door is written with its event and its
/// disposition in one unit, before its number is known).
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// In the order in which they are numbered.
    pub entries: Vec<Entry>,
}

impl Unit {
    /// A unit of one entry.
    pub fn one(entry: Entry) -> Unit {
        Unit { entries: vec![entry] }
    }

    /// Rough size in bytes, for the bound on what is in flight.
    pub fn weight(&self) -> usize {
        self.entries.iter().map(Entry::weight).sum()
    }
}

/// One row to append.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A message arrives (the ingress row). Numbered.
    Message(NewMessage),
    /// A message was routed. Numbered (the number orders the routed lanes).
    Routed(NewRouted),
    /// A handler ran and produced no send of its own to an outbound: filtered, failed, or sent only
    /// to inbounds. Not numbered. (Where it did send, the sends themselves are the record.)
    Handled(NewHandled),
    /// A handler's send. Numbered (the number orders the outbound lane).
    Send(NewSend),
    /// A send ended. Not numbered.
    Outcome(NewOutcome),
    /// The finaliser's word on a message; the newest wins. Not numbered.
    Disposition(NewDisposition),
    /// A dead letter. Numbered.
    DeadLetter(NewDeadLetter),
    /// A dead letter was replayed, purged or skipped by a person. Not numbered.
    Resolved(NewResolved),
    /// Something for the event trail that no stage row tells. Numbered.
    Event(NewEvent),
}

impl Entry {
    fn weight(&self) -> usize {
        let body = match self {
            Entry::Message(message) => message.body.len() + message.keys.bytes(),
            Entry::Send(send) => send.body.as_ref().map_or(0, |body| body.len()),
            Entry::Outcome(outcome) => outcome.reply.as_ref().map_or(0, |body| body.len()),
            _ => 0,
        };
        body + 64
    }
}

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The inbound it came by.
    pub inbound: NameId,
    /// When the engine had all its bytes.
    pub received_at: Timestamp,
    /// MSH-10, when there is one.
    pub control_id: Option<Box<str>>,
    /// `ADT^A01`, when there is one.
    pub kind: Option<Box<str>>,
    /// Where it came from: a socket address, a file name.
    pub source: Option<Box<str>>,
    /// The message that caused it (passthrough, loopback), if one did.
    pub parent: Option<MessageId>,
    /// What it can be found by beside the above.
    pub keys: Keys,
    /// The bytes as received.
    pub body: Body,
}

/// The router's answer.
#[derive(Clone, Debug)]
pub struct NewRouted {
    /// Which message.
    pub message: MessageId,
    /// The handlers it goes to; empty = unrouted.
    pub handlers: Vec<NameId>,
}

/// A handler's end without a send to an outbound.
#[derive(Clone, Debug)]
pub struct NewHandled {
    /// Which message.
    pub message: MessageId,
    /// Which handler.
    pub handler: NameId,
    /// How it ended.
    pub result: HandledResult,
}

/// How a handler ended without a send to an outbound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandledResult {
    /// It returned nothing: counted and shown as filtered.
    Filtered,
    /// It failed; a dead letter stands beside it.
    Failed,
    /// All its sends went to inbounds (passthrough).
    PassedThrough,
}

impl HandledResult {
    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        match self {
            HandledResult::Filtered => 1,
            HandledResult::Failed => 2,
            HandledResult::PassedThrough => 3,
        }
    }

    /// The inverse of [`HandledResult::code`].
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Filtered, Self::Failed, Self::PassedThrough]
            .into_iter()
            .find(|result| result.code() == code)
    }
}

/// One send.
#[derive(Clone, Debug)]
pub struct NewSend {
    /// Of which message.
    pub message: MessageId,
    /// By which handler (a replay to another outbound keeps the original's).
    pub handler: NameId,
    /// To which outbound.
    pub destination: NameId,
    /// Higher leaves first in a priority lane; 0 otherwise.
    pub priority: i32,
    /// The partition key, in a partitioned lane.
    pub partition: Option<Box<str>>,
    /// The transformed bytes; `None` = the raw body unchanged, which is not stored twice.
    pub body: Option<Body>,
}

/// How a send ended.
#[derive(Clone, Debug)]
pub struct NewOutcome {
    /// Which send.
    pub send: SendId,
    /// Of which message.
    pub message: MessageId,
    /// How it ended.
    pub result: OutcomeResult,
    /// Real attempts made, this one included.
    pub attempts: u32,
    /// The partner's reply.
    pub reply: Option<Body>,
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutcomeResult {
    /// The partner has it.
    Delivered,
    /// It will not be tried again; a dead letter stands beside it.
    Dead,
    /// A person purged or skipped it.
    Purged,
}

impl OutcomeResult {
    /// The word used on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeResult::Delivered => "delivered",
            OutcomeResult::Dead => "dead",
            OutcomeResult::Purged => "purged",
        }
    }

    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        match self {
            OutcomeResult::Delivered => 1,
            OutcomeResult::Dead => 2,
            OutcomeResult::Purged => 3,
        }
    }

    /// The inverse of [`OutcomeResult::code`].
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Delivered, Self::Dead, Self::Purged]
            .into_iter()
            .find(|result| result.code() == code)
    }
}

/// The finaliser's word.
#[derive(Clone, Debug)]
pub struct NewDisposition {
    /// Which message.
    pub message: MessageId,
    /// Where it stands; a replay writes `Routed` or `Received` again.
    pub disposition: Disposition,
}

/// A row that will not be tried again until a person replays it.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// Which message.
    pub message: MessageId,
    /// At which stage it died.
    pub stage: Stage,
    /// The inbound (ingress), handler (routed) or outbound (outbound) where it died.
    pub at: NameId,
    /// The send, at the outbound stage.
    pub send: Option<SendId>,
    /// Why, for a person. Never a body.
    pub reason: Box<str>,
}

/// A dead letter was dealt with.
#[derive(Clone, Debug)]
pub struct NewResolved {
    /// Which dead letter.
    pub dead_letter: RowId,
    /// What was done.
    pub how: Resolution,
    /// By whom.
    pub actor: Box<str>,
}

/// What a person did with a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Put back into its stage.
    Replayed,
    /// Given up.
    Purged,
}

impl Resolution {
    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        match self {
            Resolution::Replayed => 1,
            Resolution::Purged => 2,
        }
    }
}

/// An entry of the event trail that no stage row tells.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Of which message.
    pub message: MessageId,
    /// Of which send, if of one.
    pub send: Option<SendId>,
    /// What happened.
    pub kind: EventKind,
    /// For a person. Never a body; a partner's reply text (MSA-3, ERR) is allowed.
    pub detail: Box<str>,
    /// Who did it, if a person did.
    pub actor: Option<Box<str>>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A send was attempted and failed; it will be tried again. Recovery counts these as attempts.
    AttemptFailed,
    /// Refused at the door (strict validation, not HL7, too large).
    Rejected,
    /// Replayed by a person.
    Replayed,
    /// Skipped or purged by a person.
    Purged,
    /// Edited and sent again by a person: names the new message.
    Edited,
    /// A function wrote a line with `log(...)`.
    Log,
}

impl EventKind {
    const ALL: [EventKind; 6] = [
        Self::AttemptFailed,
        Self::Rejected,
        Self::Replayed,
        Self::Purged,
        Self::Edited,
        Self::Log,
    ];

    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        self as i64 + 1
    }

    /// The inverse of [`EventKind::code`].
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The word used on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptFailed => "attempt failed",
            Self::Rejected => "rejected",
            Self::Replayed => "replayed",
            Self::Purged => "purged",
            Self::Edited => "edited",
            Self::Log => "log",
        }
    }
}

/// Proof that a unit is durable.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// When its transaction was written.
    pub at: Timestamp,
    /// One number per entry, in order; [`RowId::ZERO`] for entries that carry none.
    pub rows: Vec<RowId>,
}

impl Receipt {
    /// The proof for the message entry at `index`: what an acknowledgement is built from. `None` when that
    /// entry carries no number.
    pub fn committed(&self, index: usize) -> Option<Committed> {
        let row = *self.rows.get(index)?;
        (row != RowId::ZERO).then(|| Committed::attest(MessageId(row), self.at))
    }
}
