//! The door of one inbound: peeks, validates where asked, stores durably, and only then lets the
//! connector answer.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use connectors::{Accepted, Fault, Intake, Received, Refused, Verdict};
use formats::hl7;
use model::graph::Format;
use model::{Body, Disposition, MessageId, RowId};
use store::rows::{Entry, EventKind, NewDisposition, NewEvent, NewMessage, Receipt, Unit};
use store::{Begin, Keys};
use tokio::sync::oneshot;

use super::keys::{self, KeyPath};
use super::{IngressRow, Work, compact, key};
use crate::core::{Core, InboundLane};
use crate::counters::Figure;
use crate::stages::Step;

/// Messages of one inbound that may wait for their router before its listener has to wait.
const UNROUTED_MAX: u64 = 20_000;

/// Of HL7 table 0357: the segments are not those of a message.
const NOT_A_MESSAGE: u16 = 100;

/// A longer message is examined on a worker thread, so that no listener waits for it.
const EXAMINED_HERE_MAX: usize = 64 << 10;

/// See the module's text.
pub(crate) struct Door {
    pub(crate) core: Arc<Core>,
    pub(crate) lane: Arc<InboundLane>,
}

struct Prepared {
    verdict: Verdict,
    message: NewMessage,
    reason: Option<Box<str>>,
}

#[async_trait]
impl Intake for Door {
    async fn accept(&self, messages: Vec<Received>) -> Vec<Result<Accepted, Refused>> {
        let (begun, count) = (Instant::now(), messages.len());
        if let Err(refused) = self.wait_for_room(count).await {
            return vec![Err(refused); count];
        }
        let strict = self.declaration().is_some_and(|inbound| inbound.strict);
        let long = |message: &Received| message.body.len() > EXAMINED_HERE_MAX;
        let prepared: Vec<Prepared> = if strict || messages.iter().any(long) {
            let door = Door {
                core: Arc::clone(&self.core),
                lane: Arc::clone(&self.lane),
            };
            let work = move || {
                messages
                    .into_iter()
                    .map(|message| door.prepare(message, strict))
                    .collect()
            };
            match self.core.run_code(work).await {
                Ok(prepared) => prepared,
                Err(reason) => return vec![Err(Refused(reason)); count],
            }
        } else {
            messages
                .into_iter()
                .map(|message| self.prepare(message, false))
                .collect()
        };
        self.core.stages.took(Step::Receive, begun, count);
        self.store(prepared).await
    }

    async fn reject(&self, fragment: Received, reason: &str) -> Result<Accepted, Refused> {
        self.wait_for_room(1).await?;
        let mut prepared = self.prepare(fragment, false);
        let fault = Fault {
            code: NOT_A_MESSAGE,
            location: None,
            text: reason.to_owned(),
        };
        prepared.reason = Some(reason.into());
        prepared.verdict = Verdict::Reject(fault);
        let mut stored = self.store(vec![prepared]).await;
        stored
            .pop()
            .unwrap_or_else(|| Err(Refused("the store gave no answer".to_owned())))
    }
}

/// Where in the ingress lane the messages of one call belong. Once lost without being filled, nothing enters there.
struct Place {
    lane: Arc<InboundLane>,
    number: Option<u64>,
}

impl Place {
    fn of(lane: Arc<InboundLane>, number: u64) -> Place {
        let number = Some(number);
        Place { lane, number }
    }

    fn enter(mut self, rows: Vec<IngressRow>) {
        if let Some(number) = self.number.take() {
            self.lane.lane.enter(number, rows);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.lane.lane.enter(number, Vec::new());
        }
    }
}

impl Door {
    fn declaration(&self) -> Option<&model::graph::Inbound> {
        self.core.graph.inbounds.get(&*self.lane.name)
    }

    /// Back-pressure: waits while too many messages of this inbound wait for their router, or deliveries cannot follow.
    async fn wait_for_room(&self, messages: usize) -> Result<(), Refused> {
        let stopping = || Refused("this node is stopping".to_owned());
        while self.lane.lane.depth() >= UNROUTED_MAX {
            metrics::counter!("holdfast_intake_waits_total", "name" => self.lane.name.to_string())
                .increment(1);
            tokio::select! {
                () = self.core.stopping.cancelled() => return Err(stopping()),
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
        }
        tokio::select! {
            () = self.core.stopping.cancelled() => {}
            () = self.core.balance.admit(self.core.finaliser.in_flight(), messages) => {}
        }
        if self.core.stopping.is_cancelled() {
            Err(stopping())
        } else {
            Ok(())
        }
    }

    fn prepare(&self, received: Received, strict: bool) -> Prepared {
        let body = compact(&received.body);
        let format = self.declaration().map_or(Format::Hl7, |inbound| inbound.format);
        let examined = match format {
            Format::Raw => Examined::default(),
            Format::Hl7 => examine(&body, strict, &self.lane.keys),
        };
        let Examined {
            verdict,
            control_id,
            kind,
            keys,
        } = examined;
        let reason = match &verdict {
            Verdict::Accept => None,
            Verdict::Error(fault) | Verdict::Reject(fault) => Some(describe(fault)),
        };
        let message = NewMessage {
            inbound: self.lane.id,
            received_at: self.core.clock.now(),
            control_id,
            kind,
            source: received.source,
            parent: received.parent,
            keys,
            body,
        };
        Prepared {
            verdict,
            message,
            reason,
        }
    }

    /// Commits, and hands on what was accepted. The part after the commit runs in a task of its own: a
    /// connector that gives up waiting cannot lose a durable message.
    async fn store(&self, prepared: Vec<Prepared>) -> Vec<Result<Accepted, Refused>> {
        let count = prepared.len();
        let units = prepared.iter().map(Prepared::unit).collect();
        let begun = Instant::now();
        let (core, lane) = (&self.core, &self.lane);
        let (place, committed) = lane
            .lane
            .submit(|| core.store.submit_by(Begin::Soon, core.term, units));
        let place = Place::of(Arc::clone(lane), place);
        let (answer, answered) = oneshot::channel();
        let door = Door {
            core: Arc::clone(core),
            lane: Arc::clone(lane),
        };
        tokio::spawn(async move {
            let results = committed.await;
            let durable = door.core.stages.took(Step::AcceptCommit, begun, count);
            door.core.storing.note(&results);
            let _ = answer.send(door.committed(prepared, results, durable, place));
        });
        answered
            .await
            .unwrap_or_else(|_| vec![Err(Refused("the commit task failed".to_owned())); count])
    }

    fn committed(
        &self,
        prepared: Vec<Prepared>,
        results: Vec<Result<Receipt, store::CommitError>>,
        durable: Instant,
        place: Place,
    ) -> Vec<Result<Accepted, Refused>> {
        let mut rows = Vec::with_capacity(prepared.len());
        let answers = prepared
            .into_iter()
            .zip(results)
            .map(|(prepared, result)| {
                let receipt = result.map_err(|error| self.refused(&error))?;
                let committed = receipt
                    .committed(0)
                    .ok_or_else(|| Refused("the store gave no receipt".to_owned()))?;
                match prepared.verdict {
                    Verdict::Accept => {
                        rows.push(self.core.ingress_row(committed.id(), prepared.message, durable));
                    }
                    _ => self.lane.counters.add(Figure::Rejected, 1),
                }
                Ok(Accepted {
                    receipt: committed,
                    verdict: prepared.verdict,
                })
            })
            .collect();
        self.lane.counters.add(Figure::Received, rows.len() as u64);
        place.enter(rows);
        answers
    }

    fn refused(&self, error: &store::CommitError) -> Refused {
        match error {
            store::CommitError::Fenced | store::CommitError::Unknown(_) => self.core.fail(&error.to_string()),
            _ => {}
        }
        match error {
            // The store said so once for everybody.
            store::CommitError::Unavailable(_) => {
                tracing::debug!(connection = %self.lane.name, %error, "messages were not stored and not answered");
            }
            _ => {
                tracing::warn!(connection = %self.lane.name, %error, "messages were not stored and not answered");
            }
        }
        Refused(error.to_string())
    }
}

impl Core {
    /// A durable message as a row of its ingress lane; the finaliser knows of it from here on.
    pub(crate) fn ingress_row(&self, id: MessageId, message: NewMessage, durable: Instant) -> IngressRow {
        self.finaliser.received(id);
        let bytes = message.body.len();
        let work = Work {
            inbound: message.inbound,
            received_at: message.received_at,
            body: message.body,
            parsed: None,
        };
        IngressRow {
            id,
            work: self.budget.hold(work, bytes),
            since: Some(durable),
        }
    }
}

impl Prepared {
    fn unit(&self) -> Unit {
        let mut entries = vec![Entry::Message(self.message.clone())];
        if let Some(reason) = &self.reason {
            // The entries below name the message of the same unit by a number of zero.
            let message = MessageId(RowId::ZERO);
            let kind = EventKind::Rejected;
            entries.push(Entry::Event(NewEvent {
                message,
                send: None,
                kind,
                detail: reason.clone(),
                actor: None,
            }));
            entries.push(Entry::Disposition(NewDisposition {
                message,
                disposition: Disposition::Error,
            }));
        }
        Unit { entries }
    }
}

/// What an HL7 inbound makes of some bytes: the verdict, MSH-10, the message type, the search keys.
struct Examined {
    verdict: Verdict,
    control_id: Option<Box<str>>,
    kind: Option<Box<str>>,
    keys: Keys,
}

impl Default for Examined {
    fn default() -> Self {
        Examined {
            verdict: Verdict::Accept,
            control_id: None,
            kind: None,
            keys: Keys::default(),
        }
    }
}

fn examine(body: &Body, strict: bool, paths: &[KeyPath]) -> Examined {
    let mut examined = Examined::default();
    let peek = match hl7::peek(body) {
        Ok(peek) => peek,
        Err(fault) => {
            examined.verdict = unreadable(fault);
            return examined;
        }
    };
    examined.control_id = key(&peek.control_id());
    examined.kind = kind_of(&peek).and_then(|kind| key(&kind));
    match hl7::Message::parse(body.bytes().clone()) {
        Err(fault) => examined.verdict = unreadable(fault),
        Ok(message) => {
            examined.keys = keys::of(&message, paths);
            if strict {
                examined.verdict = first_violation(&message);
            }
        }
    }
    examined
}

/// No function could read it: the sender hears so at once.
fn unreadable(fault: hl7::Fault) -> Verdict {
    Verdict::Reject(Fault {
        code: fault.ack_code(),
        location: fault.path,
        text: fault.text,
    })
}

fn kind_of(peek: &hl7::Peek<'_>) -> Option<String> {
    match (peek.message_code(), peek.trigger()) {
        ("", _) => None,
        (code, "") => Some(code.to_owned()),
        (code, trigger) => Some(format!("{code}^{trigger}")),
    }
}

fn first_violation(message: &hl7::Message) -> Verdict {
    let violations = hl7::validate::check(message, &hl7::validate::Options::default());
    // What makes the whole message unacceptable comes before what is wrong in one of its fields.
    let worst = violations.iter().find(|violation| violation.rejects());
    let Some(first) = worst.or_else(|| violations.first()) else {
        return Verdict::Accept;
    };
    let more = match violations.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let fault = Fault {
        code: first.code,
        location: Some(first.path.clone()),
        text: format!("{}{more}", first.text),
    };
    if first.rejects() {
        Verdict::Reject(fault)
    } else {
        Verdict::Error(fault)
    }
}

fn describe(fault: &Fault) -> Box<str> {
    match &fault.location {
        Some(location) => format!("{} at {location} (code {})", fault.text, fault.code).into(),
        None => format!("{} (code {})", fault.text, fault.code).into(),
    }
}
