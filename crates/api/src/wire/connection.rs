//! Connections and handlers, live.

use serde::{Deserialize, Serialize};

/// All connections and handlers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Inbounds, then handlers, then outbounds; by name within each.
    pub items: Vec<Connection>,
}

/// One connection or handler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// `inbound`, `outbound` or `handler`.
    pub role: String,
    /// The connector behind it; empty for a handler.
    pub connector: String,
    /// `running`, `held`, `stopped` (a fault) or `waiting` (its head waits for a retry).
    pub state: String,
    /// Why it stands still or waits.
    pub reason: Option<String>,
    /// The address it is bound to.
    pub address: Option<String>,
    /// Partners connected now (inbounds).
    pub peers: i64,
    /// Rows that wait.
    pub queued: u64,
    /// Sends in flight (outbounds).
    pub in_flight: u64,
    /// Since the process started.
    pub counts: Counts,
}

/// Counts since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages accepted.
    pub received: u64,
    /// Messages refused at the door.
    pub rejected: u64,
    /// Messages routed to a handler.
    pub routed: u64,
    /// Messages whose router named no handler.
    pub unrouted: u64,
    /// Messages that a handler filtered.
    pub filtered: u64,
    /// Sends delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Rows that became dead letters.
    pub dead_letters: u64,
}

/// The answer to a hold or a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which connection.
    pub name: String,
    /// Whether it is held now.
    pub held: bool,
}

impl From<engine::ConnectionView> for Connection {
    fn from(view: engine::ConnectionView) -> Self {
        Connection {
            name: view.name,
            role: view.role.to_owned(),
            connector: view.connector,
            state: view.state.to_owned(),
            reason: view.reason,
            address: view.address,
            peers: view.peers,
            queued: view.queued,
            in_flight: view.in_flight,
            counts: view.counts.into(),
        }
    }
}

impl From<engine::Counts> for Counts {
    fn from(counts: engine::Counts) -> Self {
        Counts {
            received: counts.received,
            rejected: counts.rejected,
            routed: counts.routed,
            unrouted: counts.unrouted,
            filtered: counts.filtered,
            delivered: counts.delivered,
            failed_attempts: counts.failed_attempts,
            dead_letters: counts.dead_letters,
        }
    }
}
