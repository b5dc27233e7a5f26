//! What operators do to messages and connections. Everything is durable before it takes effect, and leaves
//! its trace, with the actor, in the event trail.

use std::sync::atomic::Ordering;

use model::{Disposition, MessageId, NameId, RowId, SendId, Stage};
use serde::Serialize;
use store::rows::{
    Entry, EventKind, NewDeadLetter, NewDisposition, NewEvent, NewOutcome, NewResolved, NewRouted, NewSend,
    OutcomeResult, Resolution, Unit,
};
use store::views::{DeadLetter, MessageDetail};
use store::{Desired, NameKind};

use crate::finaliser::{Happened, Track};
use crate::lane::schedule::SendRow;
use crate::node::Node;
use crate::reads::{DeadLetterQuery, ReadError};
use crate::stage::IngressRow;
use crate::stage::outbound::purge_waiting;

/// A command that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is nothing of that id or name.
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense now; says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// It could not be read or written.
    #[error("the store failed")]
    Store(#[from] ReadError),
    /// The node stops.
    #[error("this node is stopping: send the command again when it runs")]
    Stopping,
}

impl From<store::Error> for CommandError {
    fn from(error: store::Error) -> Self {
        CommandError::Store(error.into())
    }
}

/// What to replay.
#[derive(Clone, Debug)]
pub enum Replay {
    /// Run its router again, and all that follows.
    FromIngress,
    /// Run these handlers again; empty = those that its router named last.
    FromRouted(Vec<String>),
    /// Send again what was sent, to all its outbounds or to the named one.
    FromOutbound(Option<String>),
}

/// What a replay did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// How many rows were put back.
    pub rows: u64,
    /// Whether it was only counted.
    pub preview: bool,
    /// Those that could not be replayed, with the reason.
    pub skipped: Vec<String>,
}

/// The detail of the event that precedes sends which a replay copied.
pub(crate) const TO_DESTINATION: &str = "to its destination";

impl Node {
    /// Replays one message from a stage.
    pub async fn replay(&self, id: MessageId, from: &Replay, actor: &str) -> Result<Replayed, CommandError> {
        let _not_retired = self.core.retiring.read().await;
        let detail = self.detail_to_replay(id).await?;
        let rows = match from {
            Replay::FromIngress => self.replay_ingress(&detail, Vec::new(), actor).await?,
            Replay::FromRouted(names) => {
                let handlers = self.handlers_to_replay(&detail, names)?;
                self.replay_routed(&detail, handlers, Vec::new(), actor).await?
            }
            Replay::FromOutbound(to) => {
                let sends = self.sends_to_replay(&detail, to.as_deref())?;
                self.replay_sends(&detail, sends, Vec::new(), actor).await?
            }
        };
        Ok(Replayed {
            rows,
            ..Replayed::default()
        })
    }

    /// Replays dead letters by filter, each from the stage where it died. With `preview` only counts.
    pub async fn replay_dead_letters(
        &self,
        query: &DeadLetterQuery,
        preview: bool,
        actor: &str,
    ) -> Result<Replayed, CommandError> {
        let mut filter = self.core.reading().dead_letter_filter(query)?;
        let mut done = Replayed {
            preview,
            ..Replayed::default()
        };
        loop {
            let page = self.core.store.dead_letters(&filter).await?;
            for dead in page.items {
                if preview {
                    done.rows += 1;
                    continue;
                }
                match self.replay_dead_letter(&dead, actor).await {
                    Ok(rows) => done.rows += rows,
                    Err(error @ (CommandError::Stopping | CommandError::Store(_))) => return Err(error),
                    Err(error) => done.skipped.push(format!("{}: {error}", dead.row)),
                }
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(done),
            }
        }
    }

    async fn replay_dead_letter(&self, dead: &DeadLetter, actor: &str) -> Result<u64, CommandError> {
        let _not_retired = self.core.retiring.read().await;
        let detail = self.detail_to_replay(dead.message).await?;
        let resolved = Entry::Resolved(NewResolved {
            dead_letter: dead.row,
            how: Resolution::Replayed,
            actor: actor.into(),
        });
        match dead.stage {
            Stage::Ingress => self.replay_ingress(&detail, vec![resolved], actor).await,
            Stage::Routed => {
                self.replay_routed(&detail, vec![dead.at_name], vec![resolved], actor)
                    .await
            }
            Stage::Outbound => {
                let send = dead
                    .send
                    .and_then(|send| detail.sends.iter().find(|known| known.id == send));
                let send =
                    send.ok_or_else(|| CommandError::NotFound(format!("the send of {} is gone", dead.row)))?;
                let again = self.send_again(&detail, send, send.destination)?;
                self.replay_sends(&detail, vec![again], vec![resolved], actor)
                    .await
            }
        }
    }

    async fn detail_to_replay(&self, id: MessageId) -> Result<MessageDetail, CommandError> {
        let detail = self.core.store.message(id).await?;
        let detail = detail.ok_or_else(|| CommandError::NotFound(format!("there is no message {id}")))?;
        match detail.body {
            Some(_) => Ok(detail),
            None => Err(bodies_removed(id)),
        }
    }

    async fn replay_ingress(
        &self,
        detail: &MessageDetail,
        extra: Vec<Entry>,
        actor: &str,
    ) -> Result<u64, CommandError> {
        let id = detail.summary.id;
        let lane = self.core.inbounds.get(&detail.summary.inbound).ok_or_else(|| {
            let name = self.core.names.name(detail.summary.inbound);
            CommandError::Refused(format!(
                "{name} is not in the configuration: bring it back, then replay"
            ))
        })?;
        if self.core.finaliser.is_open(id) {
            return Err(CommandError::Refused(format!(
                "message {id} is still in flight: wait until it ended"
            )));
        }
        let failed = self.stays_failed(detail, &extra);
        let mut entries = vec![
            event(id, None, EventKind::Replayed, "from its router", actor),
            Entry::Disposition(NewDisposition {
                message: id,
                disposition: Disposition::Received,
            }),
        ];
        entries.extend(extra);
        self.write(entries).await?;
        self.core.finaliser.open(
            id,
            Track {
                failed,
                ..Track::RECEIVED
            },
        );
        lane.lane.inject(IngressRow {
            id,
            work: None,
            since: None,
        });
        Ok(1)
    }

    fn handlers_to_replay(
        &self,
        detail: &MessageDetail,
        names: &[String],
    ) -> Result<Vec<NameId>, CommandError> {
        if names.is_empty() {
            let last = detail
                .routed
                .last()
                .map(|(_, _, handlers)| handlers.clone())
                .unwrap_or_default();
            if last.is_empty() {
                let text = "its router named no handler: replay it from ingress, or name handlers";
                return Err(CommandError::Refused(text.to_owned()));
            }
            return Ok(last);
        }
        names
            .iter()
            .map(|name| {
                let id = self.core.names.id(NameKind::Handler, name);
                id.filter(|id| self.core.handlers.contains_key(id))
                    .ok_or_else(|| CommandError::NotFound(format!("there is no handler named `{name}`")))
            })
            .collect()
    }

    async fn replay_routed(
        &self,
        detail: &MessageDetail,
        handlers: Vec<NameId>,
        extra: Vec<Entry>,
        actor: &str,
    ) -> Result<u64, CommandError> {
        let id = detail.summary.id;
        let failed = self.stays_failed(detail, &extra);
        if self.core.finaliser.is_open(id) {
            return Err(CommandError::Refused(format!(
                "message {id} is still in flight: wait until it ended"
            )));
        }
        let mut entries = vec![
            Entry::Routed(NewRouted {
                message: id,
                handlers: handlers.clone(),
            }),
            event(id, None, EventKind::Replayed, "from its handlers", actor),
            Entry::Disposition(NewDisposition {
                message: id,
                disposition: Disposition::Routed,
            }),
        ];
        entries.extend(extra);
        let rows = self.write(entries).await?;
        let steps = u32::try_from(handlers.len()).unwrap_or(u32::MAX);
        self.core.finaliser.open(
            id,
            Track {
                steps,
                failed,
                ..Track::default()
            },
        );
        let row = rows.first().copied().unwrap_or_default();
        for handler in &handlers {
            self.core.push_handler(*handler, row, id, None, None);
        }
        Ok(u64::from(steps))
    }

    fn sends_to_replay(
        &self,
        detail: &MessageDetail,
        to: Option<&str>,
    ) -> Result<Vec<NewSend>, CommandError> {
        // What the handlers sent last, without the copies that earlier replays made of it.
        let last_row = detail.routed.last().map_or(RowId::ZERO, |(row, _, _)| *row);
        let is_copy = |event: &&store::views::Event| {
            event.kind == EventKind::Replayed && event.detail == TO_DESTINATION && event.row > last_row
        };
        let copies_from = detail
            .events
            .iter()
            .find(is_copy)
            .map_or(RowId::MAX, |event| event.row);
        let current = detail
            .sends
            .iter()
            .filter(|send| (last_row..copies_from).contains(&send.id.0));
        let sends: Vec<NewSend> = match to {
            None => current
                .map(|send| self.send_again(detail, send, send.destination))
                .collect::<Result<_, _>>()?,
            Some(name) => {
                let destination = self.core.names.id(NameKind::Outbound, name);
                let destination = destination
                    .filter(|id| self.core.outbounds.contains_key(id))
                    .ok_or_else(|| CommandError::NotFound(format!("there is no outbound named `{name}`")))?;
                let own: Vec<_> = current
                    .clone()
                    .filter(|send| send.destination == destination)
                    .collect();
                let chosen = if own.is_empty() {
                    current.take(1).collect()
                } else {
                    own
                };
                chosen
                    .into_iter()
                    .map(|send| self.send_again(detail, send, destination))
                    .collect::<Result<_, _>>()?
            }
        };
        if sends.is_empty() {
            let text = "nothing of it was ever sent: replay it from routed or from ingress";
            return Err(CommandError::Refused(text.to_owned()));
        }
        Ok(sends)
    }

    fn send_again(
        &self,
        detail: &MessageDetail,
        send: &store::views::SendDetail,
        destination: NameId,
    ) -> Result<NewSend, CommandError> {
        let id = detail.summary.id;
        let body = detail.body_of(send).ok_or_else(|| bodies_removed(id))?;
        let partition = self
            .core
            .outbounds
            .get(&destination)
            .and_then(|lane| lane.partition.as_ref())
            .map(|path| {
                let message = formats::hl7::Message::parse(body.bytes().clone()).ok();
                message
                    .and_then(|message| message.get(path).map(|value| Box::from(&*value)))
                    .unwrap_or_default()
            });
        Ok(NewSend {
            message: id,
            handler: send.handler,
            destination,
            priority: 0,
            partition,
            body: send.changed.then(|| body.clone()),
        })
    }

    async fn replay_sends(
        &self,
        detail: &MessageDetail,
        sends: Vec<NewSend>,
        extra: Vec<Entry>,
        actor: &str,
    ) -> Result<u64, CommandError> {
        let id = detail.summary.id;
        let failed = self.stays_failed(detail, &extra);
        // The event first: rows of this message with higher numbers are copies.
        let mut entries = vec![event(id, None, EventKind::Replayed, TO_DESTINATION, actor)];
        entries.extend(sends.iter().cloned().map(Entry::Send));
        entries.push(Entry::Disposition(NewDisposition {
            message: id,
            disposition: Disposition::Routed,
        }));
        entries.extend(extra);
        let rows = self.write(entries).await?;
        let count = u32::try_from(sends.len()).unwrap_or(u32::MAX);
        self.core.finaliser.open(
            id,
            Track {
                sends: count,
                failed,
                ..Track::default()
            },
        );
        for (send, row) in sends.into_iter().zip(rows.into_iter().skip(1)) {
            let row = SendRow {
                id: SendId(row),
                message: id,
                priority: send.priority,
                partition: send.partition,
                attempts: 0,
                body: None,
                since: None,
            };
            self.core.push_sends(send.destination, vec![row]);
        }
        Ok(u64::from(count))
    }

    /// Whether the message keeps a dead letter that this command does not resolve.
    fn stays_failed(&self, detail: &MessageDetail, resolving: &[Entry]) -> bool {
        detail
            .dead_letters
            .iter()
            .filter(|dead| dead.resolved_at.is_none())
            .any(|dead| {
                !resolving.iter().any(
                    |entry| matches!(entry, Entry::Resolved(resolved) if resolved.dead_letter == dead.row),
                )
            })
    }

    /// Takes a waiting send out of its lane (a stuck head): it becomes a dead letter, so that it can be
    /// replayed later, and the lane goes on.
    pub async fn skip(&self, send: SendId, message: MessageId, actor: &str) -> Result<(), CommandError> {
        let lane = self
            .core
            .outbounds
            .values()
            .find_map(|lane| Some((lane, purge_waiting(lane, send, message)?)));
        let Some((lane, row)) = lane else {
            if self.skip_orphan(send, message, actor).await? {
                return Ok(());
            }
            return Err(CommandError::Refused(format!(
                "send {send} does not wait in a lane now: it is in flight, ended, or unknown"
            )));
        };
        let dead = NewDeadLetter {
            message,
            stage: Stage::Outbound,
            at: lane.id,
            send: Some(send),
            reason: format!("skipped by {actor}").into(),
        };
        let outcome = NewOutcome {
            send,
            message,
            result: OutcomeResult::Dead,
            attempts: row.attempts,
            reply: None,
        };
        let trace = event(message, Some(send), EventKind::Purged, "skipped", actor);
        self.write(vec![Entry::Outcome(outcome), Entry::DeadLetter(dead), trace])
            .await?;
        *lane.control.waiting.lock() = None;
        self.core.finaliser.note(message, Happened::SendFailed);
        lane.lane.nudge();
        Ok(())
    }

    /// Holds a connection (an inbound closes its listener, an outbound keeps its rows) or releases it.
    /// Survives restarts.
    pub async fn set_held(&self, name: &str, held: bool, actor: &str) -> Result<(), CommandError> {
        let inbound = self
            .core
            .names
            .id(NameKind::Inbound, name)
            .and_then(|id| self.core.inbounds.get(&id));
        let outbound = self
            .core
            .names
            .id(NameKind::Outbound, name)
            .and_then(|id| self.core.outbounds.get(&id));
        let id = inbound.map(|lane| lane.id).or(outbound.map(|lane| lane.id));
        let id =
            id.ok_or_else(|| CommandError::NotFound(format!("there is no connection named `{name}`")))?;
        let desired = if held { Desired::Held } else { Desired::Running };
        self.core
            .store
            .set_desired(self.core.term, id, desired, actor)
            .await?;
        tracing::info!(connection = name, held, actor, "an operator changed a connection");
        if let Some(lane) = inbound {
            lane.control.held.store(held, Ordering::Relaxed);
            lane.control.changed.notify_one();
            if held {
                lane.source_stop.lock().cancel();
            }
        }
        if let Some(lane) = outbound {
            lane.control.held.store(held, Ordering::Relaxed);
            if !held {
                *lane.control.stopped.lock() = None;
            }
            lane.control.changed.notify_one();
            lane.lane.nudge();
        }
        Ok(())
    }

    pub(crate) async fn write(&self, entries: Vec<Entry>) -> Result<Vec<RowId>, CommandError> {
        let mut results = self
            .core
            .write(vec![Unit { entries }])
            .await
            .map_err(|_| CommandError::Stopping)?;
        match results.pop() {
            Some(Ok(receipt)) => Ok(receipt.rows),
            Some(Err(reason)) => Err(CommandError::Refused(reason)),
            None => Err(CommandError::Stopping),
        }
    }
}

fn bodies_removed(id: MessageId) -> CommandError {
    CommandError::Refused(format!(
        "retention removed the bodies of message {id} and keeps only the rest of it: it cannot be replayed; ask its \
         sender to send it again"
    ))
}

pub(crate) fn event(
    message: MessageId,
    send: Option<SendId>,
    kind: EventKind,
    detail: &str,
    actor: &str,
) -> Entry {
    Entry::Event(NewEvent {
        message,
        send,
        kind,
        detail: detail.into(),
        actor: Some(actor.into()),
    })
}
