//! The graph: connections, routers and handlers wired by name, as a configuration declares them.
//! Plain values; who made them (Starlark, TOML) and who runs them (the engine) stand elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::connector::Call;
use crate::problem::Span;

/// The longest that anything is kept, in days: a hundred years.
pub const RETENTION_DAYS_MAX: u32 = 36_500;

/// An endpoint that receives.
#[derive(Clone, Debug, Serialize)]
pub struct Inbound {
    /// `IB_PARTNER_TYPE`.
    pub name: String,
    /// The connector behind it.
    pub connector: Call,
    /// The router that sees every message.
    pub router: String,
    /// What content it expects.
    pub format: Format,
    /// Validate structure, required fields, lengths, types and tables; refuse what fails.
    pub strict: bool,
    /// When the sender hears.
    pub ack: AckMode,
    /// Order of its routing: only `fifo`, with or without a partition, makes sense for an inbound.
    pub ordering: Ordering,
    /// Days that its messages are kept; `None` = as the settings say.
    pub retention_days: Option<u32>,
    /// Days that its messages are kept without their bodies, when that is longer; `None` = as the settings say.
    pub metadata_days: Option<u32>,
    /// Days that dead letters of its messages wait for a person; `None` = as the settings say.
    pub dead_letter_days: Option<u32>,
    /// What its messages can be found by: names and the HL7 paths of the values. None for raw content.
    pub keys: BTreeMap<String, String>,
    /// Where it was declared.
    #[serde(skip)]
    pub span: Span,
}

/// Search keys that one inbound may declare.
pub const KEYS_MAX: usize = 8;

/// What is wrong with the name of a search key, if anything is.
pub fn key_name_fault(name: &str) -> Option<&'static str> {
    let fits = name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '_');
    (!fits).then_some("it is 1 to 32 of the characters a-z, 0-9 and _, and begins with a letter")
}

/// An endpoint that sends.
#[derive(Clone, Debug, Serialize)]
pub struct Outbound {
    /// `OB_PARTNER_TYPE`.
    pub name: String,
    /// The connector behind it.
    pub connector: Call,
    /// The order in which its sends leave.
    pub ordering: Ordering,
    /// How many sends may be in flight (partitions of a keyed order, or sends of an unordered one).
    pub concurrency: u32,
    /// Of a strict FIFO lane: deliveries that the store may not know of yet, the one in flight included. So many may be
    /// repeated after a crash.
    pub unrecorded: u32,
    /// What happens after a failed attempt.
    pub retry: Retry,
    /// What an internal error (not the partner's) does to the lane.
    pub on_error: OnError,
    /// A `loopback()` inbound that receives the partner's replies as messages.
    pub reply_to: Option<String>,
    /// Where it was declared.
    #[serde(skip)]
    pub span: Span,
}

/// What content an inbound expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// HL7 v2: parsed at the door.
    #[default]
    Hl7,
    /// Anything else: the bytes are passed on as they are.
    Raw,
}

/// When an inbound answers its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// At the durable commit (the default).
    #[default]
    OnCommit,
    /// Never.
    None,
}

/// The order of a lane.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Strict order; the head blocks its lane.
    #[default]
    Fifo,
    /// Order per key, keys in parallel. The key is the value at this path of the message.
    Partitioned {
        /// An HL7 path, such as `PID-3.1`.
        path: String,
    },
    /// As many in flight as `concurrency`; no order.
    Unordered,
    /// Highest priority of the send first; order within one priority.
    Priority,
    /// Newest first.
    Lifo,
}

/// Retry policy of an outbound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Retry {
    /// Failed attempts before the send becomes a dead letter; `None` = for ever.
    pub max_attempts: Option<u32>,
    /// Wait after the first failure.
    pub backoff: Duration,
    /// The wait never grows past this.
    pub backoff_max: Duration,
    /// Factor from one wait to the next, in thousandths (2000 = doubling).
    pub factor_permille: u32,
    /// Random part of each wait, in thousandths of it (200 = up to 20 % more or less).
    pub jitter_permille: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            max_attempts: None,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            factor_permille: 2000,
            jitter_permille: 200,
        }
    }
}

/// What an internal error does to an outbound lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Dead-letter the send and go on.
    #[default]
    Continue,
    /// Stop the lane with an alert; the send stays at its head.
    Stop,
}

/// A router or handler function.
#[derive(Clone, Debug, Serialize)]
pub struct Function {
    /// The name it is wired by.
    pub name: String,
    /// Where it was declared.
    #[serde(skip)]
    pub span: Span,
    /// Names that its code mentions as literal texts and that are connections or handlers: the edges
    /// that can be seen without running it.
    pub mentions: Vec<String>,
}

/// Everything that a configuration declares.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Graph {
    /// By name.
    pub inbounds: BTreeMap<String, Inbound>,
    /// By name.
    pub outbounds: BTreeMap<String, Outbound>,
    /// By name.
    pub routers: BTreeMap<String, Function>,
    /// By name.
    pub handlers: BTreeMap<String, Function>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_key_is_a_short_word() {
        assert_eq!(["mrn", "order_2"].map(key_name_fault), [None, None]);
        for name in ["", "MRN", "2nd", "a=b", "a b", "ü", &"a".repeat(33)] {
            assert!(key_name_fault(name).is_some(), "{name}");
        }
    }
}
