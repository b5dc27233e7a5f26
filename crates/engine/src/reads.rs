//! What screens ask of a node: connections, messages, dead letters, cluster status; names instead of
//! numbers, ready to serialise.

use std::collections::BTreeMap;

use model::{Body, Disposition, Epoch, MessageId, RowId, SendId, Stage, Timestamp};
use serde::Serialize;
use store::views::Page;
use store::{Census, Key};

use crate::counters::Counts;
use crate::node::Node;

/// One connection or handler, live.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// Its name.
    pub name: String,
    /// `inbound`, `outbound` or `handler`.
    pub role: &'static str,
    /// The connector behind it; empty for a handler.
    pub connector: String,
    /// `running`, `held`, `stopped` (a fault) or `waiting` (its head waits for a retry).
    pub state: &'static str,
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

/// A line of the message list.
#[derive(Clone, Debug, Serialize)]
pub struct MessageLine {
    /// Its number.
    pub id: MessageId,
    /// The inbound it came by.
    pub inbound: String,
    /// When it was received, microseconds since 1970 UTC.
    pub received_at: Timestamp,
    /// MSH-10.
    pub control_id: Option<String>,
    /// `ADT^A01`.
    pub r#type: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// What caused it.
    pub parent: Option<MessageId>,
    /// Bytes as received.
    pub size: u64,
    /// Whether retention removed its bodies, and keeps the rest of it longer.
    pub body_removed: bool,
    /// Where it stands.
    pub status: Disposition,
}

/// One message with its event trail.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// Its line.
    #[serde(flatten)]
    pub line: MessageLine,
    /// Everything that happened to it, in order.
    pub trail: Vec<TrailEntry>,
    /// Its sends.
    pub sends: Vec<SendView>,
    /// Why something of it waits, if it does.
    pub waiting: Vec<String>,
    /// Its bytes as received, unless retention removed them; not serialised: bodies are asked for on their own.
    #[serde(skip)]
    pub body: Option<Body>,
}

/// One line of an event trail.
#[derive(Clone, Debug, Serialize)]
pub struct TrailEntry {
    /// When, microseconds since 1970 UTC.
    pub at: Timestamp,
    /// `received`, `routed`, `transformed`, `filtered`, `delivered`, ...
    pub what: String,
    /// For a person.
    pub detail: String,
    /// Who did it, if a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One send.
#[derive(Clone, Debug, Serialize)]
pub struct SendView {
    /// Its number.
    pub id: SendId,
    /// By which handler.
    pub handler: String,
    /// To which outbound.
    pub destination: String,
    /// `waiting`, `delivered`, `dead` or `purged`.
    pub state: &'static str,
    /// Real attempts that were made, when it ended.
    pub attempts: Option<u32>,
    /// Whether its bytes differ from what was received.
    pub transformed: bool,
    /// The partner's reply, as text, unless retention removed it.
    pub reply: Option<String>,
    /// The bytes that it carries, unless retention removed them; not serialised.
    #[serde(skip)]
    pub body: Option<Body>,
}

/// A dead letter.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetterView {
    /// Its number.
    pub id: RowId,
    /// Which message.
    pub message: MessageId,
    /// Where in its life.
    pub stage: Stage,
    /// Inbound, handler or outbound where it died.
    pub at: String,
    /// When, microseconds since 1970 UTC.
    pub died_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Who leads, as one node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStatus {
    /// This node.
    pub node: String,
    /// `primary`: a node that runs on an embedded store leads, or does not run.
    pub role: &'static str,
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
    /// What it is for.
    pub posture: model::Posture,
    /// Messages in flight.
    pub in_flight: usize,
    /// Rows whose connection or function left the configuration, by name.
    pub held_orphans: BTreeMap<String, u64>,
    /// What the store takes, and may take.
    pub store: crate::StoreSize,
    /// When this node started, microseconds since 1970 UTC.
    pub started_at: Timestamp,
    /// The release.
    pub version: &'static str,
}

/// Which messages to list, by name. Empty fields match everything.
#[derive(Clone, Debug, Default)]
pub struct MessageQuery {
    /// Came by this inbound.
    pub inbound: Option<String>,
    /// Stands here.
    pub status: Option<Disposition>,
    /// MSH-10, exactly.
    pub control_id: Option<String>,
    /// `ADT^A01` or `ADT`.
    pub kind: Option<String>,
    /// Carries this search key, as its inbound declares it.
    pub key: Option<Key>,
    /// Was sent to this outbound, whatever became of it.
    pub destination: Option<String>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Only older than this one.
    pub before: Option<RowId>,
    /// Page size.
    pub limit: usize,
}

/// Which dead letters, by name. Empty fields match everything.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {
    /// At this stage.
    pub stage: Option<Stage>,
    /// At this inbound, handler or outbound.
    pub at: Option<String>,
    /// Of this message.
    pub message: Option<MessageId>,
    /// Only newer than this one.
    pub after: Option<RowId>,
    /// Page size.
    pub limit: usize,
}

/// A read that could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A name that nobody ever used.
    #[error("there is no {what} named `{name}`")]
    UnknownName {
        /// What was looked for.
        what: &'static str,
        /// Under this name.
        name: String,
    },
    /// The store failed.
    #[error("the store could not be read")]
    Store(#[from] store::Error),
}

impl Node {
    /// All connections and handlers, live.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let mut views: Vec<ConnectionView> = self
            .inbound_views()
            .chain(self.handler_views())
            .chain(self.outbound_views())
            .chain(self.orphan_views())
            .collect();
        let rank = |role| {
            ["inbound", "handler", "outbound"]
                .iter()
                .position(|known| *known == role)
        };
        views.sort_by(|a, b| (rank(a.role), &a.name).cmp(&(rank(b.role), &b.name)));
        views
    }

    /// Inbounds that do not receive although nobody holds them, each with the reason. One taken port does not
    /// make the node unready: that would take every other feed down with it.
    pub fn not_receiving(&self) -> BTreeMap<String, String> {
        let lanes = self.core.inbounds.values().filter(|lane| !lane.control.is_held());
        lanes
            .filter_map(|lane| Some((lane.name.to_string(), lane.control.stopped.lock().clone()?)))
            .collect()
    }

    fn inbound_views(&self) -> impl Iterator<Item = ConnectionView> + '_ {
        self.core.inbounds.values().map(|lane| {
            let connector = self
                .core
                .graph
                .inbounds
                .get(&*lane.name)
                .map(|inbound| inbound.connector.connector.clone());
            let fault = lane.control.stopped.lock().clone();
            let state = state_of(lane.control.is_held(), fault.is_some(), false);
            ConnectionView {
                name: lane.name.to_string(),
                role: "inbound",
                connector: connector.unwrap_or_default(),
                state,
                reason: fault,
                address: lane.address.lock().clone(),
                peers: lane.status.peers.load(std::sync::atomic::Ordering::Relaxed),
                queued: lane.lane.depth(),
                in_flight: 0,
                counts: lane.counters.snapshot(),
            }
        })
    }

    fn handler_views(&self) -> impl Iterator<Item = ConnectionView> + '_ {
        self.core.handlers.values().map(|lane| ConnectionView {
            name: lane.name.to_string(),
            role: "handler",
            connector: String::new(),
            state: "running",
            reason: None,
            address: None,
            peers: 0,
            queued: lane.lane.depth(),
            in_flight: 0,
            counts: lane.counters.snapshot(),
        })
    }

    fn outbound_views(&self) -> impl Iterator<Item = ConnectionView> + '_ {
        self.core.outbounds.values().map(|lane| {
            let connector = self
                .core
                .graph
                .outbounds
                .get(&*lane.name)
                .map(|outbound| outbound.connector.connector.clone());
            let fault = lane.control.stopped.lock().clone();
            let waiting = lane.control.waiting.lock().clone();
            let state = state_of(lane.control.is_held(), fault.is_some(), waiting.is_some());
            let (scheduled, in_flight) = {
                let schedule = lane.schedule.lock();
                (schedule.len() as u64, schedule.in_flight() as u64)
            };
            ConnectionView {
                name: lane.name.to_string(),
                role: "outbound",
                connector: connector.unwrap_or_default(),
                state,
                reason: fault.or(waiting),
                address: None,
                peers: 0,
                queued: lane.lane.depth() + scheduled.saturating_sub(in_flight),
                in_flight,
                counts: lane.counters.snapshot(),
            }
        })
    }

    /// Names of all search keys that some inbound declares.
    pub fn search_keys(&self) -> Vec<String> {
        self.core.reading().search_keys()
    }

    /// A page of messages, newest first.
    pub async fn messages(&self, query: &MessageQuery) -> Result<Page<MessageLine>, ReadError> {
        self.core.reading().messages(query).await
    }

    /// One message with its event trail; `None` when there is no such message.
    pub async fn message(&self, id: MessageId) -> Result<Option<MessageView>, ReadError> {
        self.core.reading().message(id).await
    }

    /// A page of dead letters that nobody dealt with yet, oldest first.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetterView>, ReadError> {
        self.core.reading().dead_letters(query).await
    }

    /// Counts over the whole store; reads everything, so not for a dashboard's refresh.
    pub async fn census(&self) -> Result<Census, ReadError> {
        Ok(self.core.store.census().await?)
    }

    /// Who leads, as the lease row says.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ReadError> {
        let leader = self.core.store.leader().await?;
        let orphans = self.core.orphans.lock().clone();
        Ok(ClusterStatus {
            node: self.settings.node.id.clone(),
            role: "primary",
            clustered: false,
            epoch: self.core.term.epoch,
            term: self.core.term.id.to_string(),
            lease_held: leader
                .as_ref()
                .is_some_and(|leader| leader.term == self.core.term.id && !leader.released),
            lease_owner: leader.map(|leader| leader.node),
            config_fingerprint: self.project.fingerprint.clone(),
            environment: self.project.environment.clone(),
            posture: self.project.posture,
            in_flight: self.core.finaliser.in_flight(),
            held_orphans: orphans
                .into_iter()
                .map(|(id, rows)| (self.core.names.name(id).to_string(), rows))
                .collect(),
            store: self.store_size(),
            started_at: self.started_at,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// Messages without a final status now.
    pub fn in_flight(&self) -> usize {
        self.core.finaliser.in_flight()
    }

    /// Bytes of message bodies held in memory now.
    pub fn held_bytes(&self) -> i64 {
        self.core.budget.held_bytes()
    }
}

fn state_of(held: bool, stopped: bool, waiting: bool) -> &'static str {
    match (held, stopped, waiting) {
        (true, _, _) => "held",
        (_, true, _) => "stopped",
        (_, _, true) => "waiting",
        _ => "running",
    }
}

pub(crate) fn text_of(body: &Body) -> String {
    String::from_utf8_lossy(body).replace('\r', "\n")
}
