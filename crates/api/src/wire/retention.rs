//! What retention did, or would do.

use serde::{Deserialize, Serialize};

use super::Time;

/// The answer to a run of retention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Dead letters given up, or to be given up.
    pub dead_letters: u64,
    /// The segments, oldest first.
    pub segments: Vec<Segment>,
}

/// A segment, and what retention says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Names it.
    pub number: u32,
    /// When it was begun.
    pub opened_at: Time,
    /// What it takes on disk; after a run, what it took before.
    pub bytes: u64,
    /// `stays`, `can be dropped`, `can shrink`, `dropped`, `shrunk` or `busy`.
    pub state: String,
    /// Why it stays, for a person.
    pub reason: String,
    /// Bytes that became free.
    pub freed: u64,
    /// Messages in it; 0 when it was not looked through.
    pub messages: u64,
    /// Those that may go, or went.
    pub expired: u64,
    /// Messages whose bodies may go, or went, while the rest of them stays.
    #[serde(default)]
    pub bodies_expired: u64,
    /// Those that are not delivered yet.
    pub open: u64,
}

impl From<engine::RetentionReport> for Retention {
    fn from(report: engine::RetentionReport) -> Self {
        let segments = report.segments.into_iter().map(|view| Segment {
            number: view.number,
            opened_at: view.opened_at.into(),
            bytes: view.bytes,
            state: view.state.to_owned(),
            reason: view.reason,
            freed: view.freed,
            messages: view.messages,
            expired: view.expired,
            bodies_expired: view.bodies_expired,
            open: view.open,
        });
        Retention {
            dry_run: report.dry_run,
            dead_letters: report.dead_letters,
            segments: segments.collect(),
        }
    }
}
