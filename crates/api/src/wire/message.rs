//! Messages, their trails and sends, dead letters. No bodies: those are asked for on their own.

use model::{Disposition, MessageId, RowId, SendId, Stage};
use serde::{Deserialize, Serialize};

use super::Time;

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// The cursor of the next page (`before` for messages, `after` for dead letters); null = the end.
    pub next: Option<RowId>,
}

impl<T> Page<T> {
    pub(crate) fn of<V: Into<T>>(page: engine::Page<V>) -> Page<T> {
        Page {
            items: page.items.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

/// A line of the message list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageLine {
    /// Its number.
    pub id: MessageId,
    /// The inbound it came by.
    pub inbound: String,
    /// When it was received.
    pub received_at: Time,
    /// MSH-10.
    pub control_id: Option<String>,
    /// `ADT^A01`.
    pub r#type: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// The message that caused it, if one did.
    pub parent: Option<MessageId>,
    /// Bytes as received.
    pub size: u64,
    /// Whether retention removed its bodies, and keeps the rest of it longer.
    #[serde(default)]
    pub body_removed: bool,
    /// Where it stands.
    pub status: Disposition,
}

/// One message with its event trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its line.
    #[serde(flatten)]
    pub line: MessageLine,
    /// Everything that happened to it, in order.
    pub trail: Vec<TrailEntry>,
    /// Its sends.
    pub sends: Vec<Send>,
    /// Why something of it waits; empty when nothing does.
    pub waiting: Vec<String>,
}

/// One line of an event trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrailEntry {
    /// When.
    pub at: Time,
    /// `received`, `routed`, `transformed`, `filtered`, `delivered`, ...
    pub what: String,
    /// For a person.
    pub detail: String,
    /// Who did it, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One send of a message to one outbound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Send {
    /// Its number.
    pub id: SendId,
    /// By which handler.
    pub handler: String,
    /// To which outbound.
    pub destination: String,
    /// `waiting`, `delivered`, `dead` or `purged`.
    pub state: String,
    /// Real attempts that were made, when it ended.
    pub attempts: Option<u32>,
    /// Whether its bytes differ from what was received.
    pub transformed: bool,
    /// The partner's reply, as text, unless retention removed it.
    pub reply: Option<String>,
}

/// A dead letter that nobody dealt with yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub id: RowId,
    /// Which message.
    pub message: MessageId,
    /// Where in its life.
    pub stage: Stage,
    /// Inbound, handler or outbound where it died.
    pub at: String,
    /// When.
    pub died_at: Time,
    /// Why.
    pub reason: String,
}

impl From<engine::MessageLine> for MessageLine {
    fn from(line: engine::MessageLine) -> Self {
        MessageLine {
            id: line.id,
            inbound: line.inbound,
            received_at: line.received_at.into(),
            control_id: line.control_id,
            r#type: line.r#type,
            source: line.source,
            parent: line.parent,
            size: line.size,
            body_removed: line.body_removed,
            status: line.status,
        }
    }
}

impl From<engine::MessageView> for Message {
    fn from(view: engine::MessageView) -> Self {
        Message {
            line: view.line.into(),
            trail: view.trail.into_iter().map(Into::into).collect(),
            sends: view.sends.into_iter().map(Into::into).collect(),
            waiting: view.waiting,
        }
    }
}

impl From<engine::TrailEntry> for TrailEntry {
    fn from(entry: engine::TrailEntry) -> Self {
        TrailEntry {
            at: entry.at.into(),
            what: entry.what,
            detail: entry.detail,
            by: entry.by,
        }
    }
}

impl From<engine::SendView> for Send {
    fn from(send: engine::SendView) -> Self {
        Send {
            id: send.id,
            handler: send.handler,
            destination: send.destination,
            state: send.state.to_owned(),
            attempts: send.attempts,
            transformed: send.transformed,
            reply: send.reply,
        }
    }
}

impl From<engine::DeadLetterView> for DeadLetter {
    fn from(dead: engine::DeadLetterView) -> Self {
        DeadLetter {
            id: dead.id,
            message: dead.message,
            stage: dead.stage,
            at: dead.at,
            died_at: dead.died_at.into(),
            reason: dead.reason,
        }
    }
}
