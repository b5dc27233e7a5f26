//! The ingress lane of one inbound: runs its router on each message, in order.

use std::sync::Arc;
use std::time::Instant;

use model::graph::Format;
use model::{MessageId, NameId, RowId, Stage};
use store::rows::{Entry, EventKind, NewDeadLetter, NewEvent, NewRouted, Unit};
use store::{Begin, NameKind};

use super::{HandlerRow, IngressRow, Work, refill, through, works};
use crate::core::{Core, InboundLane, Stopping};
use crate::counters::Figure;
use crate::finaliser::Happened;
use crate::stages::Step;

/// Runs until the node stops.
pub(crate) async fn run(core: Arc<Core>, inbound: Arc<InboundLane>) {
    while !core.stopping.is_cancelled() {
        match turn(&core, &inbound).await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = core.stopping.cancelled() => break,
                () = inbound.lane.woken() => {}
            },
            Err(Stopping) => break,
        }
    }
}

/// Deals with one batch; false when nothing waited.
async fn turn(core: &Arc<Core>, inbound: &InboundLane) -> Result<bool, Stopping> {
    core.read("messages that wait for their router", || {
        refill(&inbound.lane, |page| async move {
            let (after, upto) = (MessageId::from_raw(page.after), MessageId::from_raw(page.upto));
            let ids = core
                .store
                .open_ingress(inbound.id, after, upto, page.limit)
                .await?;
            Ok(ids
                .into_iter()
                .map(|id| IngressRow {
                    id,
                    work: None,
                    since: None,
                })
                .collect())
        })
    })
    .await?;
    let most = inbound.pace.batch(core.spread);
    let rows = inbound.lane.with(|window| window.take(most));
    if rows.is_empty() {
        return Ok(false);
    }
    core.stages
        .waited(Step::RouteWait, rows.iter().map(|row| row.since));
    let works = core
        .read("message bodies", || {
            works(core, rows.iter().map(|row| (row.id, row.work.as_deref())))
        })
        .await?;
    let begun = Instant::now();
    let step = {
        let (core, router) = (Arc::clone(core), Arc::clone(&inbound.router));
        move |(id, work)| route(&core, &router, id, work)
    };
    let work = rows.iter().map(|row| row.id).zip(works).collect();
    let answers: Vec<Answer> = core
        .run_each(&inbound.pace, work, step)
        .await
        .into_iter()
        .zip(&rows)
        .map(|(answer, row)| answer.unwrap_or_else(|reason| Answer::failed(row.id, None, reason)))
        .collect();
    drop(rows);
    let begun = core.stages.took(Step::Route, begun, answers.len());
    match through::claim(core, &answers) {
        Some(claims) => through::finish(core, inbound, answers, claims, begun).await?,
        None => hand_over(core, inbound, answers).await?,
    }
    Ok(true)
}

/// Writes what the router decided and puts the messages before their handlers.
pub(super) async fn hand_over(
    core: &Core,
    inbound: &InboundLane,
    answers: Vec<Answer>,
) -> Result<(), Stopping> {
    let begun = Instant::now();
    let units = answers.iter().map(|answer| answer.unit(inbound.id)).collect();
    let receipts = core.write_by(Begin::Later, units).await?;
    let durable = core.stages.took(Step::RouteCommit, begun, answers.len());
    for (answer, receipt) in answers.into_iter().zip(receipts) {
        match receipt {
            Ok(receipt) => committed(
                core,
                inbound,
                answer,
                receipt.rows.first().copied().unwrap_or_default(),
                durable,
            ),
            Err(reason) => refused(core, inbound, answer.id, &reason).await?,
        }
    }
    Ok(())
}

/// What the router decided for one message.
pub(super) struct Answer {
    pub(super) id: MessageId,
    pub(super) work: Option<Work>,
    log: Vec<String>,
    result: Result<Vec<NameId>, String>,
}

impl Answer {
    fn failed(id: MessageId, work: Option<Work>, reason: String) -> Answer {
        Answer {
            id,
            work,
            log: Vec::new(),
            result: Err(reason),
        }
    }

    /// The handlers that it named.
    pub(super) fn handlers(&self) -> &[NameId] {
        self.result.as_deref().unwrap_or_default()
    }

    fn unit(&self, inbound: NameId) -> Unit {
        Unit {
            entries: self.entries(inbound),
        }
    }

    /// The row of the decision, then what the router logged.
    pub(super) fn entries(&self, inbound: NameId) -> Vec<Entry> {
        let first = match &self.result {
            Ok(handlers) => Entry::Routed(NewRouted {
                message: self.id,
                handlers: handlers.clone(),
            }),
            Err(reason) => Entry::DeadLetter(NewDeadLetter {
                message: self.id,
                stage: Stage::Ingress,
                at: inbound,
                send: None,
                reason: reason.as_str().into(),
            }),
        };
        std::iter::once(first)
            .chain(log_entries(self.id, &self.log))
            .collect()
    }
}

/// Lines that a function logged, as entries of the message's event trail.
pub(crate) fn log_entries(message: MessageId, lines: &[String]) -> impl Iterator<Item = Entry> + '_ {
    lines.iter().map(move |line| {
        let detail = line.as_str().into();
        Entry::Event(NewEvent {
            message,
            send: None,
            kind: EventKind::Log,
            detail,
            actor: None,
        })
    })
}

fn route(core: &Core, router: &str, id: MessageId, work: Option<Work>) -> Answer {
    let Some(mut work) = work else {
        return Answer::failed(id, None, "its bytes are no longer in the store".to_owned());
    };
    let incoming = match core.incoming(id, &mut work) {
        Ok(incoming) => incoming,
        Err(fault) => return Answer::failed(id, Some(work), format!("it cannot be read as HL7: {fault}")),
    };
    match core.program.route(router, &incoming) {
        Err(fault) => Answer::failed(id, Some(work), format!("router `{router}` failed: {fault}")),
        Ok(routed) => {
            let ids = routed.handlers.iter().map(|name| {
                core.names
                    .id(NameKind::Handler, name)
                    .ok_or_else(|| format!("router `{router}` named `{name}`, which is no handler"))
            });
            let result = ids.collect::<Result<Vec<_>, _>>();
            Answer {
                id,
                work: Some(work),
                log: routed.log,
                result,
            }
        }
    }
}

/// Counts what is durable of a decision.
pub(super) fn booked(core: &Core, inbound: &InboundLane, answer: &Answer) {
    match &answer.result {
        Err(reason) => {
            tracing::warn!(connection = %inbound.name, id = %answer.id, reason, "a message became a dead letter");
            inbound.counters.add(Figure::DeadLetters, 1);
            core.finaliser.note(answer.id, Happened::StepFailed);
        }
        Ok(handlers) => {
            let figure = if handlers.is_empty() {
                Figure::Unrouted
            } else {
                Figure::Routed
            };
            inbound.counters.add(figure, 1);
            core.finaliser.note(
                answer.id,
                Happened::Routed(u32::try_from(handlers.len()).unwrap_or(u32::MAX)),
            );
        }
    }
}

fn committed(core: &Core, inbound: &InboundLane, answer: Answer, row: RowId, durable: Instant) {
    booked(core, inbound, &answer);
    for handler in answer.handlers() {
        core.push_handler(*handler, row, answer.id, answer.work.clone(), Some(durable));
    }
}

async fn refused(core: &Core, inbound: &InboundLane, id: MessageId, reason: &str) -> Result<(), Stopping> {
    let answer = Answer::failed(id, None, format!("the store refused its handoff: {reason}"));
    core.write(vec![answer.unit(inbound.id)]).await?;
    committed(core, inbound, answer, RowId::ZERO, Instant::now());
    Ok(())
}

impl Core {
    /// Puts a routed message before one handler.
    pub(crate) fn push_handler(
        &self,
        handler: NameId,
        row: RowId,
        message: MessageId,
        work: Option<Work>,
        since: Option<Instant>,
    ) {
        match self.handlers.get(&handler) {
            Some(lane) => {
                let work = work.and_then(|work| {
                    let bytes = work.body.len();
                    self.budget.hold(work, bytes)
                });
                lane.lane.push([HandlerRow {
                    row,
                    message,
                    work,
                    since,
                }]);
            }
            None => self.orphan(handler, 1),
        }
    }

    /// Whether an inbound's messages are HL7.
    pub(crate) fn is_hl7(&self, inbound: &str) -> bool {
        self.graph
            .inbounds
            .get(inbound)
            .is_none_or(|inbound| inbound.format == Format::Hl7)
    }
}
