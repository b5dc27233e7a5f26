//! Reads of the store in the words of the graph. On the leader they also say what its lanes know, such as why a send
//! waits; without lanes they say who knows it.

use std::collections::BTreeSet;

use model::graph::Graph;
use model::{MessageId, NameId};
use store::views::{DeadLetterFilter, MessageDetail, MessageFilter, Page, SendDetail, Summary};
use store::{NameKind, Store};

use crate::core::Core;
use crate::names::Names;
use crate::reads::{
    DeadLetterQuery, DeadLetterView, MessageLine, MessageQuery, MessageView, ReadError, SendView, text_of,
};
use crate::stage::key;

/// Who knows what is not in the store.
#[derive(Clone, Copy)]
pub(crate) enum Lanes<'a> {
    /// This process: its lanes run.
    Here(&'a Core),
    /// Another one; in a person's words.
    Elsewhere(&'a str),
}

/// See the module's text.
pub(crate) struct Reading<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) names: &'a Names,
    pub(crate) graph: &'a Graph,
    pub(crate) lanes: Lanes<'a>,
}

impl Core {
    /// Reads with what the lanes know.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading {
            store: self.store.as_ref(),
            names: &self.names,
            graph: &self.graph,
            lanes: Lanes::Here(self),
        }
    }
}

impl Reading<'_> {
    /// Names of all search keys that some inbound declares.
    pub(crate) fn search_keys(&self) -> Vec<String> {
        let inbounds = self.graph.inbounds.values();
        let names: BTreeSet<&String> = inbounds.flat_map(|inbound| inbound.keys.keys()).collect();
        names.into_iter().cloned().collect()
    }

    /// A page of messages, newest first.
    pub(crate) async fn messages(&self, query: &MessageQuery) -> Result<Page<MessageLine>, ReadError> {
        let inbound = match &query.inbound {
            Some(name) => Some(self.known(NameKind::Inbound, "inbound", name)?),
            None => None,
        };
        let destination = match &query.destination {
            Some(name) => Some(self.known(NameKind::Outbound, "outbound", name)?),
            None => None,
        };
        // Nothing is found by a name that nothing bears: that is not the same as no such message.
        if let Some(key) = &query.key
            && !self.search_keys().iter().any(|name| name == key.name())
        {
            return Err(ReadError::UnknownName {
                what: "search key",
                name: key.name().to_owned(),
            });
        }
        // As they were stored: see `key`.
        let stored = |text: &Option<String>| text.as_deref().and_then(key).map(String::from);
        let filter = MessageFilter {
            inbound,
            disposition: query.status,
            control_id: stored(&query.control_id),
            kind: stored(&query.kind),
            key: query.key.clone(),
            destination,
            since: query.since,
            until: query.until,
            before: query.before,
            limit: query.limit.clamp(1, 1000),
        };
        let page = self.store.messages(&filter).await?;
        Ok(Page {
            items: page.items.into_iter().map(|line| self.line(line)).collect(),
            next: page.next,
        })
    }

    /// One message with its event trail; `None` when there is no such message.
    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<MessageView>, ReadError> {
        let detail = self.store.message(id).await?;
        Ok(detail.map(|detail| self.message_view(detail)))
    }

    /// A page of dead letters that nobody dealt with yet, oldest first.
    pub(crate) async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<Page<DeadLetterView>, ReadError> {
        let page = self.store.dead_letters(&self.dead_letter_filter(query)?).await?;
        let items = page.items.into_iter().map(|dead| DeadLetterView {
            id: dead.row,
            message: dead.message,
            stage: dead.stage,
            at: self.names.name(dead.at_name).to_string(),
            died_at: dead.at,
            reason: dead.reason,
        });
        Ok(Page {
            items: items.collect(),
            next: page.next,
        })
    }

    pub(crate) fn dead_letter_filter(&self, query: &DeadLetterQuery) -> Result<DeadLetterFilter, ReadError> {
        let at_name = match &query.at {
            Some(name) => Some(
                [NameKind::Outbound, NameKind::Handler, NameKind::Inbound]
                    .into_iter()
                    .find_map(|kind| self.names.id(kind, name))
                    .ok_or_else(|| ReadError::UnknownName {
                        what: "connection or handler",
                        name: name.clone(),
                    })?,
            ),
            None => None,
        };
        Ok(DeadLetterFilter {
            stage: query.stage,
            at_name,
            message: query.message,
            since: None,
            until: None,
            after: query.after,
            limit: query.limit.clamp(1, 10_000),
        })
    }

    fn known(&self, kind: NameKind, what: &'static str, name: &str) -> Result<NameId, ReadError> {
        self.names.id(kind, name).ok_or_else(|| ReadError::UnknownName {
            what,
            name: name.to_owned(),
        })
    }

    fn name(&self, id: NameId) -> String {
        self.names.name(id).to_string()
    }

    fn line(&self, summary: Summary) -> MessageLine {
        MessageLine {
            id: summary.id,
            inbound: self.name(summary.inbound),
            received_at: summary.received_at,
            control_id: summary.control_id,
            r#type: summary.kind,
            source: summary.source,
            parent: summary.parent,
            size: summary.size,
            body_removed: summary.body_removed,
            status: summary.disposition,
        }
    }

    fn message_view(&self, detail: MessageDetail) -> MessageView {
        let trail = self.trail(&detail);
        let sends: Vec<SendView> = detail
            .sends
            .iter()
            .map(|send| self.send_view(&detail, send))
            .collect();
        let waiting = self.waiting_reasons(&detail);
        MessageView {
            trail,
            sends,
            waiting,
            body: detail.body,
            line: self.line(detail.summary),
        }
    }

    fn send_view(&self, detail: &MessageDetail, send: &SendDetail) -> SendView {
        let outcome = send.outcome.as_ref();
        SendView {
            id: send.id,
            handler: self.name(send.handler),
            destination: self.name(send.destination),
            state: outcome.map_or("waiting", |(_, result, _, _)| result.as_str()),
            attempts: outcome.map(|(_, _, attempts, _)| *attempts),
            transformed: send.changed,
            reply: outcome.and_then(|(_, _, _, reply)| reply.as_ref()).map(text_of),
            body: detail.body_of(send).cloned(),
        }
    }

    /// Why something of the message waits.
    fn waiting_reasons(&self, detail: &MessageDetail) -> Vec<String> {
        if detail.summary.disposition.is_final() {
            return Vec::new();
        }
        let open = detail.sends.iter().filter(|send| send.outcome.is_none());
        let mut reasons: Vec<String> = open.map(|send| self.why_waits(send)).collect();
        if detail.routed.is_empty() {
            reasons.push(format!(
                "waits for the router of {}",
                self.name(detail.summary.inbound)
            ));
        }
        reasons.dedup();
        reasons
    }

    fn why_waits(&self, send: &SendDetail) -> String {
        let name = self.name(send.destination);
        let core = match self.lanes {
            Lanes::Here(core) => core,
            Lanes::Elsewhere(who) => return format!("{name}: why is not in the store; {who}"),
        };
        let Some(lane) = core.outbounds.get(&send.destination) else {
            return format!("{name} is not in the configuration any more: the send is held");
        };
        if lane.control.is_held() {
            return format!("{name} is held by an operator");
        }
        if let Some(fault) = &*lane.control.stopped.lock() {
            return format!("{name} stopped: {fault}");
        }
        match &*lane.control.waiting.lock() {
            Some(why) => format!("{name}: {why}"),
            None => format!("{name}: its turn has not come"),
        }
    }
}
