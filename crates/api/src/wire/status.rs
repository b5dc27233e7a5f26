//! The node as a whole: probes, cluster status, counts; and what a command or an error answers.

use std::collections::BTreeMap;

use model::{Epoch, SendId};
use serde::{Deserialize, Serialize};

use super::Time;

/// The process lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// The release.
    pub version: String,
}

/// Whether listeners are bound and lanes run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether they do.
    pub ready: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Inbounds that do not receive although nobody holds them, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_receiving: BTreeMap<String, String>,
}

/// Who leads, as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// This node.
    pub node: String,
    /// `primary`, `standby`, `stepping down` or `fenced`.
    pub role: String,
    /// Whether there is more than one node.
    pub clustered: bool,
    /// Its leadership's number.
    pub epoch: Epoch,
    /// Its leadership's random id.
    pub term: String,
    /// What the lease row says: the owner.
    pub lease_owner: Option<String>,
    /// Whether the lease row names this node's term.
    pub lease_held: bool,
    /// SHA-256 over the configuration.
    pub config_fingerprint: String,
    /// The environment.
    pub environment: String,
    /// What it is for: `development`, `staging` or `production`.
    pub posture: model::Posture,
    /// Messages in flight.
    pub in_flight: usize,
    /// Rows whose connection or function left the configuration, by name.
    pub held_orphans: BTreeMap<String, u64>,
    /// Bytes on disk that the store took when last measured.
    pub store_bytes: u64,
    /// Bytes above which an alert stands, when there is a limit.
    pub store_limit_bytes: Option<u64>,
    /// Whether that alert stands.
    pub store_alert: bool,
    /// When this node started.
    pub started_at: Time,
    /// The release.
    pub version: String,
    /// In a cluster, while this node leads: milliseconds that it may lead without another renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_margin_ms: Option<u64>,
    /// In a cluster: how long the last round trip to the lease row took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_renew_ms: Option<u64>,
    /// In a cluster: whether this node leads, or could take over at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub could_lead: Option<bool>,
    /// In a cluster: why it could not, or why the lease row cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In a cluster: the store's schema, and how far this node knows it; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<super::Schema>,
    /// In a cluster: so far this node knows the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_known: Option<i64>,
    /// In a cluster: the newest leaderships, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaderships: Vec<super::Leadership>,
}

impl Cluster {
    /// What is known of a process that runs no node.
    pub(crate) fn of_standby(about: &crate::About) -> Cluster {
        Cluster {
            node: about.node.clone(),
            role: "standby".to_owned(),
            clustered: true,
            epoch: Epoch(0),
            term: String::new(),
            lease_owner: None,
            lease_held: false,
            config_fingerprint: about.fingerprint.clone(),
            environment: about.environment.clone(),
            posture: about.posture,
            in_flight: 0,
            held_orphans: BTreeMap::new(),
            store_bytes: 0,
            store_limit_bytes: None,
            store_alert: false,
            started_at: about.started_at.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_margin_ms: None,
            lease_renew_ms: None,
            could_lead: None,
            reason: None,
            schema: None,
            schema_known: None,
            leaderships: Vec::new(),
        }
    }
}

/// Counts over the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// All messages.
    pub messages: u64,
    /// Messages per status; statuses without a message are left out.
    pub dispositions: BTreeMap<String, u64>,
    /// All sends.
    pub sends: u64,
    /// Sends whose outcome is delivered.
    pub delivered: u64,
    /// Open rows per stage.
    pub open: BTreeMap<String, u64>,
    /// Dead letters that nobody dealt with yet.
    pub dead_letters: u64,
}

/// What a replay did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many rows were put back.
    pub rows: u64,
    /// Whether they were only counted.
    pub preview: bool,
    /// Those that could not be replayed, with the reason.
    pub skipped: Vec<String>,
}

/// The answer to a skip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Which send.
    pub skipped: SendId,
}

/// What went wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub error: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<engine::ClusterStatus> for Cluster {
    fn from(status: engine::ClusterStatus) -> Self {
        Cluster {
            node: status.node,
            role: status.role.to_owned(),
            clustered: status.clustered,
            epoch: status.epoch,
            term: status.term,
            lease_owner: status.lease_owner,
            lease_held: status.lease_held,
            config_fingerprint: status.config_fingerprint,
            environment: status.environment,
            posture: status.posture,
            in_flight: status.in_flight,
            held_orphans: status.held_orphans,
            store_bytes: status.store.bytes,
            store_limit_bytes: status.store.limit,
            store_alert: status.store.alert,
            started_at: status.started_at.into(),
            version: status.version.to_owned(),
            lease_margin_ms: None,
            lease_renew_ms: None,
            could_lead: None,
            reason: None,
            schema: None,
            schema_known: None,
            leaderships: Vec::new(),
        }
    }
}

impl From<engine::Replayed> for Replayed {
    fn from(replayed: engine::Replayed) -> Self {
        Replayed {
            rows: replayed.rows,
            preview: replayed.preview,
            skipped: replayed.skipped,
        }
    }
}
