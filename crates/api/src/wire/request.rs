//! What a client sends with a command. Unknown fields are refused: a misspelt one must not widen a command.

use model::{MessageId, Stage};
use serde::{Deserialize, Serialize};

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
