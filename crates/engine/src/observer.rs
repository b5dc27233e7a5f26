//! A node that does not lead: what it can say of messages and connections from the store alone. It reads through a few
//! connections that stay open, writes nothing, and needs no leadership. What only the leader's memory knows it leaves
//! out, and says who has it.

use std::collections::HashSet;
use std::sync::Arc;

use model::graph::Graph;
use model::{MessageId, NameId};
use store::views::Page;
use store::{Census, Desired, NameKind, Schema, Store};

use crate::names::Names;
use crate::project::Project;
use crate::reading::{Lanes, Reading};
use crate::reads::{DeadLetterQuery, DeadLetterView, MessageLine, MessageQuery, MessageView, ReadError};

/// A connection or handler as the configuration and the store know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its name.
    pub name: String,
    /// `inbound`, `outbound` or `handler`.
    pub role: &'static str,
    /// The connector behind it; empty for a handler.
    pub connector: String,
    /// Whether an operator holds it.
    pub held: bool,
}

/// See the module's text.
pub struct Observer {
    store: Arc<dyn Store>,
    graph: Graph,
}

impl Observer {
    /// Reads `store`, which may be led by anybody.
    pub fn new(store: Arc<dyn Store>, project: &Project) -> Observer {
        Observer {
            store,
            graph: project.graph.clone(),
        }
    }

    /// Names that the leader added since are known at once: the dictionary is read with each question.
    async fn names(&self) -> Result<Names, ReadError> {
        Ok(Names::read(self.store.as_ref()).await?)
    }

    fn reading<'a>(&'a self, names: &'a Names, elsewhere: &'a str) -> Reading<'a> {
        Reading {
            store: self.store.as_ref(),
            names,
            graph: &self.graph,
            lanes: Lanes::Elsewhere(elsewhere),
        }
    }

    /// Names of all search keys that some inbound declares.
    pub fn search_keys(&self) -> Vec<String> {
        self.reading(&Names::default(), "").search_keys()
    }

    /// Names of all connections and handlers of the configuration.
    pub fn connection_names(&self) -> Vec<String> {
        let graph = &self.graph;
        let names = graph
            .inbounds
            .keys()
            .chain(graph.handlers.keys())
            .chain(graph.outbounds.keys());
        names.cloned().collect()
    }

    /// All connections and handlers of the configuration: inbounds, handlers, outbounds, by name within each.
    pub async fn connections(&self) -> Result<Vec<Outline>, ReadError> {
        let names = self.names().await?;
        let desired = self.store.desired().await?;
        let held: HashSet<NameId> = desired
            .into_iter()
            .filter_map(|(id, desired)| (desired == Desired::Held).then_some(id))
            .collect();
        let outline = |kind, role, name: &String, connector: &str| Outline {
            name: name.clone(),
            role,
            connector: connector.to_owned(),
            held: names.id(kind, name).is_some_and(|id| held.contains(&id)),
        };
        let graph = &self.graph;
        let inbounds = graph
            .inbounds
            .iter()
            .map(|(name, inbound)| outline(NameKind::Inbound, "inbound", name, &inbound.connector.connector));
        let handlers = graph
            .handlers
            .keys()
            .map(|name| outline(NameKind::Handler, "handler", name, ""));
        let outbounds = graph.outbounds.iter().map(|(name, outbound)| {
            outline(
                NameKind::Outbound,
                "outbound",
                name,
                &outbound.connector.connector,
            )
        });
        let mut all: Vec<Outline> = inbounds.chain(handlers).chain(outbounds).collect();
        let rank = |role| {
            ["inbound", "handler", "outbound"]
                .iter()
                .position(|known| *known == role)
        };
        all.sort_by(|a, b| (rank(a.role), &a.name).cmp(&(rank(b.role), &b.name)));
        Ok(all)
    }

    /// A page of messages, newest first.
    pub async fn messages(&self, query: &MessageQuery) -> Result<Page<MessageLine>, ReadError> {
        self.reading(&self.names().await?, "").messages(query).await
    }

    /// One message with its event trail; `None` when there is no such message. `elsewhere` says, for a person, who
    /// knows why something of it waits.
    pub async fn message(&self, id: MessageId, elsewhere: &str) -> Result<Option<MessageView>, ReadError> {
        self.reading(&self.names().await?, elsewhere).message(id).await
    }

    /// A page of dead letters that nobody dealt with yet, oldest first.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetterView>, ReadError> {
        self.reading(&self.names().await?, "").dead_letters(query).await
    }

    /// Reads what a leadership begins with, so that it is quick should this node have to begin one.
    pub async fn rehearse(&self) -> Result<(), ReadError> {
        Ok(self.store.rehearse().await?)
    }

    /// How far the store's schema is, and how far this program knows it.
    pub async fn schema(&self) -> Result<Schema, ReadError> {
        Ok(self.store.schema().await?)
    }

    /// Counts over the whole store; reads everything, so not for a dashboard's refresh.
    pub async fn census(&self) -> Result<Census, ReadError> {
        Ok(self.store.census().await?)
    }
}
