//! What the API answers for: this process, which runs a node while it leads, and waits beside the others of its
//! cluster while it does not. Then reads are answered from the store, and commands go to the leader through it.

use std::sync::Arc;

use cluster::Cluster;
use engine::orders::Orders;
use engine::{Conflict, Node, Observer};
use parking_lot::RwLock;

use crate::error::Error;
use crate::orders::Courier;
use crate::reader::Reader;

/// What is known of this process whether or not it leads.
#[derive(Clone, Debug)]
pub struct About {
    /// Its id.
    pub node: String,
    /// The environment.
    pub environment: String,
    /// What that is for.
    pub posture: model::Posture,
    /// SHA-256 over the configuration.
    pub fingerprint: String,
    /// When the process began to serve.
    pub started_at: model::Timestamp,
}

/// See the module's text.
pub struct Seat {
    pub(crate) about: About,
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// To the leader, where there is a cluster.
    pub(crate) courier: Option<Courier>,
    node: RwLock<Option<Arc<Node>>>,
    observer: RwLock<Option<Arc<Observer>>>,
    conflicts: RwLock<Vec<Conflict>>,
}

impl Seat {
    /// One node alone.
    pub fn alone(about: About, node: Arc<Node>) -> Arc<Seat> {
        Arc::new(Seat {
            about,
            cluster: None,
            courier: None,
            node: RwLock::new(Some(node)),
            observer: RwLock::default(),
            conflicts: RwLock::default(),
        })
    }

    /// One of several; nothing runs yet. Commands go to the leader by `orders`.
    pub fn of_cluster(about: About, cluster: Arc<Cluster>, orders: Box<dyn Orders>) -> Arc<Seat> {
        Arc::new(Seat {
            about,
            cluster: Some(cluster),
            courier: Some(Courier::new(orders)),
            node: RwLock::default(),
            observer: RwLock::default(),
            conflicts: RwLock::default(),
        })
    }

    /// While it does not lead, reads are answered by `observer`; `None`: its store is not open.
    pub fn observe(&self, observer: Option<Observer>) {
        *self.observer.write() = observer.map(Arc::new);
    }

    /// What answers reads while this process does not lead.
    pub fn observer(&self) -> Option<Arc<Observer>> {
        self.observer.read().clone()
    }

    /// Inbounds that would not receive if this process led.
    pub fn foresee(&self, conflicts: Vec<Conflict>) {
        *self.conflicts.write() = conflicts;
    }

    /// The same, while it does not lead.
    pub(crate) fn foreseen(&self) -> Vec<Conflict> {
        match self.occupant() {
            Some(_) => Vec::new(), // its connections say what is so
            None => self.conflicts.read().clone(),
        }
    }

    /// This process leads with `node` from now on.
    pub fn take(&self, node: Arc<Node>) {
        *self.node.write() = Some(node);
    }

    /// It leads no longer.
    pub fn vacate(&self) {
        *self.node.write() = None;
    }

    /// The node, if one runs here.
    pub fn occupant(&self) -> Option<Arc<Node>> {
        self.node.read().clone()
    }

    /// The node, or who else to ask.
    pub(crate) fn node(&self) -> Result<Arc<Node>, Error> {
        self.occupant().ok_or_else(|| {
            Error::unavailable(format!(
                "`{}` is a standby: {}",
                self.about.node,
                self.elsewhere()
            ))
            .hint("ask the leader: `holdfast cluster nodes` shows where it answers")
        })
    }

    /// What reads are answered from: the node that runs here, or the store alone.
    pub(crate) fn reader(&self) -> Result<Reader, Error> {
        if let Some(node) = self.occupant() {
            return Ok(Reader::Leader(node));
        }
        match self.observer.read().clone() {
            Some(observer) => Ok(Reader::Standby(observer, self.elsewhere())),
            None => Err(
                Error::unavailable("this node is starting, and its store is not open yet")
                    .hint("ask again in a moment, or ask another node"),
            ),
        }
    }

    /// Who leads instead of this node, as far as it knows.
    pub(crate) fn elsewhere(&self) -> String {
        let owner = self.cluster.as_ref().map(|cluster| cluster.standing().owner);
        match owner.filter(|owner| !owner.is_empty() && *owner != self.about.node) {
            Some(owner) => format!("`{owner}` leads"),
            None => "nobody is known to lead".to_owned(),
        }
    }

    /// The cluster, where there is one.
    pub(crate) fn cluster(&self) -> Result<Arc<Cluster>, Error> {
        self.cluster.clone().ok_or_else(|| {
            Error::not_found("this node runs alone")
                .hint("several nodes need cluster.enabled, and a database server")
        })
    }

    /// Whether this process leads at this very moment and takes messages. Answered from memory.
    pub(crate) fn leads(&self) -> bool {
        let by_the_clock = self.cluster.as_ref().is_none_or(|cluster| cluster.leads());
        by_the_clock && self.occupant().is_some_and(|node| node.is_serving())
    }
}
