//! Who answers a read: the node that leads in this process, or an observer of the store that others lead.

use std::sync::Arc;

use engine::{
    DeadLetterQuery, DeadLetterView, MessageLine, MessageQuery, MessageView, Node, Observer, Page, ReadError,
};
use model::MessageId;

use crate::error::{Error, did_you_mean};
use crate::wire::{Connection, Connections};

pub(crate) enum Reader {
    /// With what its lanes know.
    Leader(Arc<Node>),
    /// From the store alone; in a person's words, who leads instead.
    Standby(Arc<Observer>, String),
}

impl Reader {
    pub(crate) async fn connections(&self) -> Result<Connections, ReadError> {
        match self {
            Reader::Leader(node) => Ok(Connections {
                items: node.connections().into_iter().map(Into::into).collect(),
                note: None,
            }),
            Reader::Standby(observer, elsewhere) => Ok(Connections {
                items: observer
                    .connections()
                    .await?
                    .into_iter()
                    .map(Connection::from)
                    .collect(),
                note: Some(format!(
                    "this node is a standby and {elsewhere}: states, queues and counts are known to the leader only"
                )),
            }),
        }
    }

    pub(crate) async fn messages(&self, query: &MessageQuery) -> Result<Page<MessageLine>, ReadError> {
        match self {
            Reader::Leader(node) => node.messages(query).await,
            Reader::Standby(observer, _) => observer.messages(query).await,
        }
    }

    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<MessageView>, ReadError> {
        match self {
            Reader::Leader(node) => node.message(id).await,
            Reader::Standby(observer, elsewhere) => observer.message(id, elsewhere).await,
        }
    }

    pub(crate) async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Page<DeadLetterView>, ReadError> {
        match self {
            Reader::Leader(node) => node.dead_letters(query).await,
            Reader::Standby(observer, _) => observer.dead_letters(query).await,
        }
    }

    pub(crate) async fn census(&self) -> Result<engine::Census, ReadError> {
        match self {
            Reader::Leader(node) => node.census().await,
            Reader::Standby(observer, _) => observer.census().await,
        }
    }

    pub(crate) fn search_keys(&self) -> Vec<String> {
        match self {
            Reader::Leader(node) => node.search_keys(),
            Reader::Standby(observer, _) => observer.search_keys(),
        }
    }

    /// Adds the nearest name in the configuration to an error about a name.
    pub(crate) fn name_hint(&self, error: Error, name: Option<&str>) -> Error {
        let Some(name) = name else { return error };
        let known = match self {
            Reader::Leader(node) => node.connections().into_iter().map(|view| view.name).collect(),
            Reader::Standby(observer, _) => observer.connection_names(),
        };
        error.maybe_hint(did_you_mean(name, known.iter().map(String::as_str)))
    }
}
