//! What can go wrong between the command line and a node, each with what to do.

use std::time::Duration;

use crate::wire::Fault;

/// A call that was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("{0}")]
    Address(String),
    /// Nobody answers there.
    #[error("no node answers at {at}")]
    Unreachable {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It answers too slowly.
    #[error("the node at {at} did not answer within {} s", .after.as_secs())]
    TimedOut {
        /// Where.
        at: String,
        /// After how long.
        after: Duration,
    },
    /// The connection broke, or something else than a node answers there.
    #[error("the answer of {at} broke off or is not HTTP")]
    Broken {
        /// Where.
        at: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node refused.
    #[error("{}", .fault.error)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        fault: Fault,
    },
    /// The answer is not what this release of the client knows.
    #[error("the answer of {at} cannot be read")]
    Unreadable {
        /// Where.
        at: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Address(_) => "write it like http://127.0.0.1:8765".to_owned(),
            Error::Unreachable { .. } => {
                "is `holdfast serve` running? If it listens elsewhere, say where with --api".to_owned()
            }
            Error::TimedOut { .. } => {
                "a command that has begun goes on: look at the message's trail before you repeat it"
                    .to_owned()
            }
            Error::Broken { .. } => {
                "is it a Holdfast node that listens there? Say where it is with --api".to_owned()
            }
            Error::Refused { fault, .. } => return fault.hint.clone(),
            Error::Unreadable { .. } => "use a client of the same release as the node".to_owned(),
        })
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
