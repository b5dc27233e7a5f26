//! What a client sends with a command. Unknown fields are refused: a misspelt one must not widen a command.

use std::fmt;

use model::{MessageId, Stage};
use serde::{Deserialize, Serialize};

/// Looks for messages: what the query of a listing says, and a search key, which stays out of addresses
/// because its value is a patient's. Empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchMessages {
    /// Came by this inbound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound: Option<String>,
    /// Was sent to this outbound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Stands here: `RECEIVED`, `ROUTED`, `UNROUTED`, `PROCESSED`, `FILTERED` or `ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// MSH-10, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_id: Option<String>,
    /// `ADT`, or `ADT^A01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Carries this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SearchKey>,
    /// Received at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Received before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only older than this message (the last page's `next`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Page size, 1 to 1,000; none = 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A search key as an inbound declares it, and the value to look for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchKey {
    /// `mrn`.
    pub name: String,
    /// Exactly; spaces around it do not count.
    pub value: String,
}

impl fmt::Debug for SearchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SearchKey({}=…)", self.name)
    }
}

/// Replays one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayMessage {
    /// From which stage.
    pub from: From,
    /// With `routed`: the handlers to run; none = those that its router named last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handlers: Vec<String>,
    /// With `outbound`: the only outbound to send to; none = all that it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// From which stage a message is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// Its router runs again, and all that follows.
    Ingress,
    /// Its handlers run again.
    Routed,
    /// What was sent is sent again.
    Outbound,
}

/// Replays dead letters, each from the stage where it died. Empty fields match everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayDeadLetters {
    /// At this stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// At this inbound, handler or outbound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Of this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// Only count. Without a default: `{}` must not replay everything.
    pub preview: bool,
}

/// Removes what is past its days, or only says what would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRetention {
    /// Change nothing. Without a default: `{}` must not remove anything.
    pub dry_run: bool,
}

/// A command without arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}
