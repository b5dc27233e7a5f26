//! The routed lane of one handler: runs it on each message, in order, and hands its sends to the
//! outbound lanes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::{Body, MessageId, NameId, RowId, SendId, Stage};
use store::rows::{Entry, HandledResult, NewDeadLetter, NewHandled, NewMessage, NewSend, Unit};
use store::{Begin, Keys, NameKind};

use super::route::log_entries;
use super::{HandlerRow, Work, key, keys, refill, works};
use crate::core::{Core, HandlerLane, Stopping};
use crate::counters::Figure;
use crate::finaliser::Happened;
use crate::lane::schedule::SendRow;
use crate::stages::Step;

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>, handler: Arc<HandlerLane>) {
    while !core.stopping.is_cancelled() {
        match turn(&core, &handler).await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = core.stopping.cancelled() => break,
                () = handler.lane.woken() => {}
            },
            Err(Stopping) => break,
        }
    }
}

/// Deals with one batch; false when nothing waited.
async fn turn(core: &Arc<Core>, handler: &HandlerLane) -> Result<bool, Stopping> {
    let _turn = handler.turn.lock().await;
    core.read("messages that wait for a handler", || {
        refill(&handler.lane, |page| async move {
            let rows = core
                .store
                .open_routed(handler.id, RowId(page.after), RowId(page.upto), page.limit)
                .await?;
            Ok(rows
                .into_iter()
                .map(|row| HandlerRow {
                    row: row.row,
                    message: row.message,
                    work: None,
                    since: None,
                })
                .collect())
        })
    })
    .await?;
    let most = handler.pace.batch(core.spread);
    let rows = handler.lane.with(|window| window.take(most));
    if rows.is_empty() {
        return Ok(false);
    }
    core.stages
        .waited(Step::TransformWait, rows.iter().map(|row| row.since));
    let works = core
        .read("message bodies", || {
            works(core, rows.iter().map(|row| (row.message, row.work.as_deref())))
        })
        .await?;
    let begun = Instant::now();
    let work = rows.iter().map(|row| row.message).zip(works).collect();
    drop(rows);
    let answers = transform(core, handler, work).await;
    let begun = core.stages.took(Step::Transform, begun, answers.len());
    let units = answers.iter().map(|answer| answer.unit(handler.id)).collect();
    let receipts = core.write_by(Begin::Later, units).await?;
    let durable = core.stages.took(Step::TransformCommit, begun, answers.len());
    let mut outgoing = Outgoing::new(durable);
    for (answer, receipt) in answers.into_iter().zip(receipts) {
        match receipt {
            Ok(receipt) => committed(core, handler, answer, &receipt.rows, &mut outgoing),
            Err(reason) => refused(core, handler, answer.id, &reason).await?,
        }
    }
    outgoing.push(core);
    Ok(true)
}

/// Runs the handler on messages; the answers are in their order.
pub(super) async fn transform(
    core: &Arc<Core>,
    handler: &HandlerLane,
    work: Vec<(MessageId, Option<Work>)>,
) -> Vec<Answer> {
    let ids: Vec<MessageId> = work.iter().map(|(id, _)| *id).collect();
    let step = {
        let (core, name) = (Arc::clone(core), Arc::clone(&handler.name));
        move |(id, work)| handle(&core, &name, id, work)
    };
    core.run_each(&handler.pace, work, step)
        .await
        .into_iter()
        .zip(ids)
        .map(|(answer, id)| answer.unwrap_or_else(|reason| Answer::failed(id, reason)))
        .collect()
}

/// Sends of one commit, by destination.
pub(super) struct Outgoing {
    rows: HashMap<NameId, Vec<SendRow>>,
    durable: Instant,
}

impl Outgoing {
    pub(super) fn new(durable: Instant) -> Outgoing {
        Outgoing {
            rows: HashMap::new(),
            durable,
        }
    }

    /// Hands them to their lanes.
    pub(super) fn push(self, core: &Core) {
        for (destination, rows) in self.rows {
            core.push_sends(destination, rows);
        }
    }
}

/// What one run of the handler leads to.
pub(super) struct Answer {
    id: MessageId,
    log: Vec<String>,
    result: Result<Outputs, String>,
}

#[derive(Default)]
struct Outputs {
    sends: Vec<NewSend>,
    /// Sends to `passthrough` inbounds: new messages.
    passed: Vec<NewMessage>,
    /// The bytes that came in, for sends that leave unchanged.
    raw: Body,
}

impl Answer {
    fn failed(id: MessageId, reason: String) -> Answer {
        Answer {
            id,
            log: Vec::new(),
            result: Err(reason),
        }
    }

    fn unit(&self, handler: NameId) -> Unit {
        Unit {
            entries: self.entries(handler),
        }
    }

    /// First the sends, then the passed messages: `committed` counts on this order.
    pub(super) fn entries(&self, handler: NameId) -> Vec<Entry> {
        let handled = |result| {
            Entry::Handled(NewHandled {
                message: self.id,
                handler,
                result,
            })
        };
        let mut entries = Vec::new();
        match &self.result {
            Ok(outputs) => {
                entries.extend(outputs.sends.iter().cloned().map(Entry::Send));
                entries.extend(outputs.passed.iter().cloned().map(Entry::Message));
                if outputs.sends.is_empty() {
                    let filtered = outputs.passed.is_empty();
                    entries.push(handled(if filtered {
                        HandledResult::Filtered
                    } else {
                        HandledResult::PassedThrough
                    }));
                }
            }
            Err(reason) => {
                entries.push(handled(HandledResult::Failed));
                entries.push(Entry::DeadLetter(NewDeadLetter {
                    message: self.id,
                    stage: Stage::Routed,
                    at: handler,
                    send: None,
                    reason: reason.as_str().into(),
                }));
            }
        }
        entries.extend(log_entries(self.id, &self.log));
        entries
    }
}

fn handle(core: &Core, name: &str, id: MessageId, work: Option<Work>) -> Answer {
    let Some(mut work) = work else {
        return Answer::failed(id, "its bytes are no longer in the store".to_owned());
    };
    let incoming = match core.incoming(id, &mut work) {
        Ok(incoming) => incoming,
        Err(fault) => return Answer::failed(id, format!("it cannot be read as HL7: {fault}")),
    };
    match core.program.handle(name, &incoming) {
        Err(fault) => Answer::failed(id, format!("handler `{name}` failed: {fault}")),
        Ok(handled) => {
            let mut outputs = Outputs {
                raw: work.body.clone(),
                ..Outputs::default()
            };
            for send in handled.sends {
                if let Err(reason) = core.place(&mut outputs, name, id, &work, send) {
                    return Answer {
                        id,
                        log: handled.log,
                        result: Err(reason),
                    };
                }
            }
            Answer {
                id,
                log: handled.log,
                result: Ok(outputs),
            }
        }
    }
}

impl Core {
    fn place(
        &self,
        outputs: &mut Outputs,
        handler: &str,
        message: MessageId,
        work: &Work,
        send: script::Send,
    ) -> Result<(), String> {
        let unknown = || {
            format!(
                "handler `{handler}` sent to `{}`, which is no connection of this configuration",
                send.destination
            )
        };
        if let Some(destination) = self.names.id(NameKind::Outbound, &send.destination) {
            let lane = self.outbounds.get(&destination).ok_or_else(unknown)?;
            let partition = lane
                .partition
                .as_ref()
                .map(|path| partition_key(path, &send, work));
            let handler = self.names.id(NameKind::Handler, handler).ok_or_else(unknown)?;
            outputs.sends.push(NewSend {
                message,
                handler,
                destination,
                priority: send.priority,
                partition,
                body: send.body.map(Body),
            });
            return Ok(());
        }
        let inbound = self
            .names
            .id(NameKind::Inbound, &send.destination)
            .ok_or_else(unknown)?;
        let lane = self.inbounds.get(&inbound).ok_or_else(unknown)?;
        let body = send.body.unwrap_or_else(|| work.body.bytes().clone());
        outputs.passed.push(self.derived_message(lane.id, message, body));
        Ok(())
    }

    /// A message that another message caused (passthrough, loopback).
    pub(crate) fn derived_message(&self, inbound: NameId, parent: MessageId, body: Bytes) -> NewMessage {
        let peek = if self.is_hl7(&self.names.name(inbound)) {
            formats::hl7::peek(&body).ok()
        } else {
            None
        };
        let control_id = peek.as_ref().and_then(|peek| key(&peek.control_id()));
        let kind = peek
            .as_ref()
            .filter(|peek| !peek.message_code().is_empty())
            .and_then(|peek| key(&format!("{}^{}", peek.message_code(), peek.trigger())));
        let paths = self.inbounds.get(&inbound).map_or(&[][..], |lane| &lane.keys);
        let keys = match peek.filter(|_| !paths.is_empty()) {
            Some(_) => formats::hl7::Message::parse(body.clone())
                .map_or_else(|_| Keys::default(), |message| keys::of(&message, paths)),
            None => Keys::default(),
        };
        NewMessage {
            inbound,
            received_at: self.clock.now(),
            control_id,
            kind,
            source: Some("internal".into()),
            parent: Some(parent),
            keys,
            body: Body(body),
        }
    }

    /// Puts durable sends before their outbound.
    pub(crate) fn push_sends(&self, destination: NameId, rows: Vec<SendRow>) {
        match self.outbounds.get(&destination) {
            Some(outbound) => outbound.lane.push(rows),
            None => self.orphan(destination, rows.len() as u64),
        }
    }
}

fn partition_key(path: &formats::hl7::Path, send: &script::Send, work: &Work) -> Box<str> {
    let message = send.message.as_ref().or(work.parsed.as_ref());
    message
        .and_then(|message| message.get(path))
        .map_or_else(|| "".into(), |value| Box::from(&*value))
}

/// Books what is durable; `rows` are the numbers of the answer's entries.
pub(super) fn committed(
    core: &Core,
    handler: &HandlerLane,
    answer: Answer,
    rows: &[RowId],
    outgoing: &mut Outgoing,
) {
    let outputs = match answer.result {
        Ok(outputs) => outputs,
        Err(reason) => {
            tracing::warn!(handler = %handler.name, id = %answer.id, reason, "a message became a dead letter");
            handler.counters.add(Figure::DeadLetters, 1);
            core.finaliser.note(answer.id, Happened::StepFailed);
            return;
        }
    };
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let (sends, passed) = (count(outputs.sends.len()), count(outputs.passed.len()));
    if sends + passed == 0 {
        handler.counters.add(Figure::Filtered, 1);
    } else {
        handler.counters.add(Figure::Routed, 1);
    }
    let mut rows = rows.iter().copied();
    for (send, row) in outputs.sends.into_iter().zip(rows.by_ref()) {
        let body = send.body.unwrap_or_else(|| outputs.raw.clone());
        let bytes = body.len();
        let since = Some(outgoing.durable);
        outgoing.rows.entry(send.destination).or_default().push(SendRow {
            id: SendId(row),
            message: answer.id,
            priority: send.priority,
            partition: send.partition,
            attempts: 0,
            body: core.budget.hold(body, bytes),
            since,
        });
    }
    core.finaliser
        .note(answer.id, Happened::Handled { sends, passed });
    for (message, row) in outputs.passed.into_iter().zip(rows) {
        core.push_derived(MessageId(row), message, outgoing.durable);
    }
}

impl Core {
    /// Puts a durable derived message before its inbound's router.
    pub(crate) fn push_derived(&self, id: MessageId, message: NewMessage, durable: Instant) {
        let inbound = message.inbound;
        let row = self.ingress_row(id, message, durable);
        match self.inbounds.get(&inbound) {
            Some(inbound) => {
                inbound.counters.add(Figure::Received, 1);
                inbound.lane.push([row]);
            }
            None => self.orphan(inbound, 1),
        }
    }
}

async fn refused(core: &Core, handler: &HandlerLane, id: MessageId, reason: &str) -> Result<(), Stopping> {
    let answer = Answer::failed(id, format!("the store refused its handoff: {reason}"));
    let mut receipts = core.write(vec![answer.unit(handler.id)]).await?;
    if let Some(Ok(receipt)) = receipts.pop() {
        committed(
            core,
            handler,
            answer,
            &receipt.rows,
            &mut Outgoing::new(Instant::now()),
        );
    }
    Ok(())
}
