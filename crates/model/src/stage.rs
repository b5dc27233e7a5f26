//! The three persisted stages of the queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where in its life a queue row stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Received and durable; waits for its router.
    Ingress,
    /// Routed; waits for a handler.
    Routed,
    /// Transformed; waits for delivery to one destination.
    Outbound,
}

impl Stage {
    /// All stages, in the order of a message's life.
    pub const ALL: [Stage; 3] = [Stage::Ingress, Stage::Routed, Stage::Outbound];

    /// The word used on screen, in metrics and in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Ingress => "ingress",
            Stage::Routed => "routed",
            Stage::Outbound => "outbound",
        }
    }

    /// The number that the store keeps.
    pub fn code(self) -> i64 {
        match self {
            Stage::Ingress => 1,
            Stage::Routed => 2,
            Stage::Outbound => 3,
        }
    }

    /// The inverse of [`Stage::code`].
    pub fn from_code(code: i64) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.code() == code)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
