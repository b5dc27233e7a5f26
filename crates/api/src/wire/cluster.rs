//! The cluster: the lease row, the nodes, the leaderships of the past.

use model::Epoch;
use serde::{Deserialize, Serialize};

use super::Time;

/// The answer to `GET /cluster/nodes`: read from the lease row and the list of nodes at this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nodes {
    /// Who leads.
    pub lease: Lease,
    /// All nodes that were heard of, by id.
    pub nodes: Vec<Node>,
    /// The newest leaderships, newest first.
    pub leaderships: Vec<Leadership>,
    /// The store's schema; absent when this node could not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
}

/// How far the store's schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its version.
    pub version: i64,
    /// Nodes that know the schema at least so far work with it.
    pub works_from: i64,
}

impl From<engine::Schema> for Schema {
    fn from(schema: engine::Schema) -> Self {
        Schema {
            version: schema.version,
            works_from: schema.works_from,
        }
    }
}

/// The lease row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it, or held it last.
    pub owner: Option<String>,
    /// Its number.
    pub epoch: Epoch,
    /// Whether it is held: not given up, and not run out by the database's clock.
    pub held: bool,
    /// Milliseconds until it runs out, by the database's clock.
    pub expires_in_ms: u64,
    /// The node that it is being handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff_to: Option<String>,
    /// The configuration that is led with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Another configuration that may lead next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Whether the lease row names it, and the lease is held.
    pub leads: bool,
    /// What it said it was: `primary`, `standby`, `stepping down`, `fenced` or `left`.
    pub role: String,
    /// Whether it was heard of within the lease's time.
    pub alive: bool,
    /// Milliseconds since it was heard of.
    pub seen_ms_ago: u64,
    /// Whether it could take over at once (or leads).
    pub ready: bool,
    /// Why not; or what is amiss although it could.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it may lead at all.
    pub promotable: bool,
    /// Milliseconds that it waits longer than others.
    pub takeover_delay_ms: u64,
    /// Its configuration.
    pub config_fingerprint: String,
    /// Whether that is the one that is led with.
    pub config_agrees: bool,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Where its API answers.
    pub api: String,
    /// The release.
    pub version: String,
    /// So far it knows the store's schema.
    pub schema: i64,
    /// Seconds that its process has run.
    pub up_seconds: u64,
}

/// One leadership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leadership {
    /// Its number.
    pub epoch: Epoch,
    /// Who led.
    pub node: String,
    /// When it began, by the database's clock.
    pub acquired_at: Time,
    /// Milliseconds from the last sign of the leader before.
    pub gap_ms: Option<u64>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// Why it ended.
    pub reason: Option<String>,
}

/// A wish for another leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchOver {
    /// Which node; without it, whichever is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A switchover has been asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchingOver {
    /// Who leads until then.
    pub from: String,
    /// Who takes over.
    pub to: String,
    /// The leadership that ends.
    pub epoch: Epoch,
}

/// A configuration that may lead next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// A node that runs it.
    pub node: String,
}

/// It may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The configuration.
    pub config_fingerprint: String,
}
