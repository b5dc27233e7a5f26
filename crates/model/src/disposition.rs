//! Where a message ended, or stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The state of a whole message. The first two are on the way; the others are ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Disposition {
    /// Durable, not yet routed.
    Received,
    /// Routed; something of it is still in flight (also after a replay).
    Routed,
    /// Its router named no handler.
    Unrouted,
    /// At least one send was delivered and nothing of it failed.
    Processed,
    /// Every handler returned no send.
    Filtered,
    /// Something of it failed for good: a dead letter exists or it was refused at the door.
    Error,
}

impl Disposition {
    /// All of them, in order.
    pub const ALL: [Disposition; 6] = [
        Disposition::Received,
        Disposition::Routed,
        Disposition::Unrouted,
        Disposition::Processed,
        Disposition::Filtered,
        Disposition::Error,
    ];

    /// The word used on screen, in metrics and in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Received => "RECEIVED",
            Disposition::Routed => "ROUTED",
            Disposition::Unrouted => "UNROUTED",
            Disposition::Processed => "PROCESSED",
            Disposition::Filtered => "FILTERED",
            Disposition::Error => "ERROR",
        }
    }

    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The inverse of [`Disposition::code`].
    pub fn from_code(code: i64) -> Option<Disposition> {
        Disposition::ALL
            .into_iter()
            .find(|disposition| disposition.code() == code)
    }

    /// Whether nothing of the message is in flight any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Disposition::Received | Disposition::Routed)
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no disposition.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a disposition: use RECEIVED, ROUTED, UNROUTED, PROCESSED, FILTERED or ERROR")]
pub struct UnknownDisposition(String);

impl FromStr for Disposition {
    type Err = UnknownDisposition;
    fn from_str(text: &str) -> Result<Self, UnknownDisposition> {
        Disposition::ALL
            .into_iter()
            .find(|disposition| disposition.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownDisposition(text.to_owned()))
    }
}
