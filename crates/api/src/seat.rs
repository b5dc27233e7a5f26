//! What the API answers for: this process, which runs a node while it leads, and waits beside the others of its
//! cluster while it does not.

use std::sync::Arc;

use cluster::Cluster;
use engine::Node;
use parking_lot::RwLock;

use crate::error::Error;

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
    node: RwLock<Option<Arc<Node>>>,
}

impl Seat {
    /// One node alone.
    pub fn alone(about: About, node: Arc<Node>) -> Arc<Seat> {
        Arc::new(Seat {
            about,
            cluster: None,
            node: RwLock::new(Some(node)),
        })
    }

    /// One of several; nothing runs yet.
    pub fn of_cluster(about: About, cluster: Arc<Cluster>) -> Arc<Seat> {
        Arc::new(Seat {
            about,
            cluster: Some(cluster),
            node: RwLock::default(),
        })
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
    pub(crate) fn occupant(&self) -> Option<Arc<Node>> {
        self.node.read().clone()
    }

    /// The node, or who else to ask.
    pub(crate) fn node(&self) -> Result<Arc<Node>, Error> {
        self.occupant().ok_or_else(|| {
            let owner = self.cluster.as_ref().map(|cluster| cluster.standing().owner);
            let text = match owner.filter(|owner| !owner.is_empty() && *owner != self.about.node) {
                Some(owner) => format!("`{}` is a standby: `{owner}` leads", self.about.node),
                None => format!("`{}` is a standby, and nobody is known to lead", self.about.node),
            };
            Error::unavailable(text).hint("ask the leader: `holdfast cluster nodes` shows where it answers")
        })
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
