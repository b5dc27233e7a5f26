//! Connections and handlers, live.

use serde::{Deserialize, Serialize};

/// All connections and handlers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Inbounds, then handlers, then outbounds; by name within each.
    pub items: Vec<Connection>,
    /// On a standby: what is missing, and who knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
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
    /// `running`, `held`, `stopped` (a fault) or `waiting` (its head waits for a retry). On a standby `held` or
    /// `unknown`: only what operators want is in the store.
    pub state: String,
    /// Why it stands still or waits.
    pub reason: Option<String>,
    /// The address it is bound to.
    pub address: Option<String>,
    /// Partners connected now (inbounds); `None` on a standby, as all that follows.
    pub peers: Option<i64>,
    /// Rows that wait.
    pub queued: Option<u64>,
    /// Sends in flight (outbounds).
    pub in_flight: Option<u64>,
    /// Since the leader's process started.
    pub counts: Option<Counts>,
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
            peers: Some(view.peers),
            queued: Some(view.queued),
            in_flight: Some(view.in_flight),
            counts: Some(view.counts.into()),
        }
    }
}

impl From<engine::Outline> for Connection {
    fn from(outline: engine::Outline) -> Self {
        Connection {
            name: outline.name,
            role: outline.role.to_owned(),
            connector: outline.connector,
            state: if outline.held { "held" } else { "unknown" }.to_owned(),
            ..Connection::default()
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
