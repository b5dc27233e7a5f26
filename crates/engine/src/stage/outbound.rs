//! The outbound lane of one destination: delivers in the lane's order, records each outcome, retries
//! what may be retried.
//!
//! A send is finished only when its outcome is durable; until then it counts as in flight, so a FIFO
//! lane has at most one delivery that the store does not know of, or as many as its declaration allows (`unrecorded`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use connectors::{DeliverError, Delivered, Delivery, FailureClass, Sink};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use model::graph::{OnError, Outbound};
use model::{Body, MessageId, SendId, Stage, Timestamp};
use store::rows::{Entry, EventKind, NewDeadLetter, NewEvent, NewMessage, NewOutcome, OutcomeResult, Unit};
use store::{Begin, NameKind};

use super::refill;
use crate::core::{Core, OutboundLane, Stopping};
use crate::counters::Figure;
use crate::finaliser::Happened;
use crate::lane::schedule::{Next, SendRow};
use crate::reads::text_of;
use crate::stages::Step;
use crate::{retry, trail};

/// How many bodies a lane fetches from the store in one go, for rows that came without: about as many as fit the
/// lane's share of memory. A lane that is behind would otherwise ask for every few messages, and never catch up.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    /// Bytes of a body, lately; 0 = not known.
    mean: AtomicUsize,
}

impl Fetch {
    /// Bytes fetched in one go, at least and at most.
    const BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=256 << 10;
    const ROWS_MAX: usize = 256;
    /// A body whose size nobody knows yet is taken for as large as this.
    const BODY: usize = 16 << 10;

    /// Rows to fetch, of a lane that is one of so many under a bound on the bytes of all.
    fn rows(&self, limit_bytes: usize, lanes: usize) -> usize {
        let share = limit_bytes / (2 * lanes.max(1));
        let bytes = share.clamp(*Fetch::BYTES.start(), *Fetch::BYTES.end());
        let mean = match self.mean.load(Ordering::Relaxed) {
            0 => Fetch::BODY,
            mean => mean,
        };
        (bytes / mean).clamp(1, Fetch::ROWS_MAX)
    }

    fn note(&self, rows: usize, bytes: usize) {
        if let Some(mean) = bytes.checked_div(rows) {
            self.mean.store(mean.max(1), Ordering::Relaxed);
        }
    }
}

/// Runs until the node stops. Sinks are kept from call to call, one per send in flight.
pub(crate) async fn run(
    core: Arc<Core>,
    lane: Arc<OutboundLane>,
    declared: Arc<Outbound>,
    first: Box<dyn Sink>,
) {
    let mut sinks = vec![first];
    let mut flights = FuturesUnordered::new();
    let mut records = FuturesUnordered::new();
    loop {
        if core.stopping.is_cancelled() && flights.is_empty() && records.is_empty() {
            break;
        }
        let pause = match fill(&core, &lane).await {
            Ok(()) => start_flights(&core, &lane, &declared, &mut sinks, &mut flights).await,
            Err(Stopping) => Duration::MAX,
        };
        tokio::select! {
            () = core.stopping.cancelled(), if !core.stopping.is_cancelled() => {}
            () = lane.lane.woken() => {}
            () = lane.control.changed.notified() => {}
            () = tokio::time::sleep(pause), if pause != Duration::MAX => {}
            Some((sink, landed)) = flights.next(), if !flights.is_empty() => {
                sinks.push(sink);
                match landed {
                    Landed::Ended(ended) => book(&core, &lane, ended),
                    Landed::Delivered(delivered) => {
                        let mut record = record(&core, &lane, &declared, delivered);
                        // Submitted now: outcomes become durable in the order of the deliveries.
                        match futures::poll!(&mut record) {
                            Poll::Ready(ended) => book(&core, &lane, ended),
                            Poll::Pending => records.push(record),
                        }
                    }
                }
            }
            Some(ended) = records.next(), if !records.is_empty() => book(&core, &lane, ended),
        }
    }
    for mut sink in sinks {
        sink.close().await;
    }
}

/// Moves rows from the window into the schedule and reads the next page if one is due.
async fn fill(core: &Arc<Core>, lane: &OutboundLane) -> Result<(), Stopping> {
    core.read("sends that wait", || {
        refill(&lane.lane, |page| async move {
            let (after, upto) = (SendId::from_raw(page.after), SendId::from_raw(page.upto));
            let rows = core.store.open_sends(lane.id, after, upto, page.limit).await?;
            Ok(rows.into_iter().map(SendRow::from).collect())
        })
    })
    .await?;
    let mut schedule = lane.schedule.lock();
    let room = SCHEDULED_MAX.saturating_sub(schedule.len());
    for row in lane.lane.with(|window| window.take(room)) {
        schedule.push(row);
    }
    Ok(())
}

/// Rows that a lane's schedule holds; the rest waits in its window.
const SCHEDULED_MAX: usize = 4096;

impl From<store::views::OpenSend> for SendRow {
    fn from(open: store::views::OpenSend) -> SendRow {
        SendRow {
            id: open.id,
            message: open.message,
            priority: open.priority,
            partition: open.partition,
            attempts: open.failed_attempts,
            body: None,
            since: None,
        }
    }
}

type Flight = Pin<Box<dyn Future<Output = (Box<dyn Sink>, Landed)> + Send>>;
type Record = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Starts as many deliveries as the schedule allows now; how long to sleep until it may allow more.
async fn start_flights(
    core: &Arc<Core>,
    lane: &Arc<OutboundLane>,
    declared: &Arc<Outbound>,
    sinks: &mut Vec<Box<dyn Sink>>,
    flights: &mut FuturesUnordered<Flight>,
) -> Duration {
    loop {
        let stands_still = lane.control.is_held() || lane.control.stopped.lock().is_some();
        if stands_still || core.stopping.is_cancelled() {
            return Duration::MAX;
        }
        let now = core.clock.now();
        let next = lane.schedule.lock().next(now);
        match next {
            Next::Idle => return Duration::MAX,
            Next::WaitUntil(at) => return at.since(now).max(Duration::from_millis(1)),
            Next::Deliver(row) => {
                let row = match with_body(core, lane, row).await {
                    Ok(row) => row,
                    Err(Stopping) => return Duration::MAX,
                };
                let sink = match sinks.pop() {
                    Some(sink) => sink,
                    None => continue, // cannot be: one sink per flight was made
                };
                if sinks.is_empty() && lane.schedule.lock().has_room() {
                    sinks.push(sink.another());
                }
                flights.push(Box::pin(fly(
                    Arc::clone(core),
                    Arc::clone(lane),
                    Arc::clone(declared),
                    sink,
                    row,
                )));
            }
        }
    }
}

/// Fetches the bytes of a row that came without, and of the next ones on the way.
async fn with_body(core: &Core, lane: &OutboundLane, mut row: SendRow) -> Result<SendRow, Stopping> {
    if row.body.is_some() {
        return Ok(row);
    }
    let mut ids = vec![row.id];
    let rows = lane.fetch.rows(core.budget.limit_bytes(), core.outbounds.len());
    ids.extend(lane.schedule.lock().without_body(rows));
    let bodies = core
        .read("bodies of sends", || core.store.send_bodies(&ids))
        .await?;
    let found = bodies.iter().flatten();
    lane.fetch
        .note(found.clone().count(), found.map(|body| body.len()).sum());
    for (id, body) in ids.into_iter().zip(bodies) {
        let Some(body) = body else { continue };
        let bytes = body.len();
        let held = core.budget.hold_now(body, bytes);
        if id == row.id {
            row.body = Some(held);
        } else {
            lane.schedule.lock().attach(id, held);
        }
    }
    Ok(row)
}

/// What became of a flight.
enum Landed {
    /// The partner took it; the store does not know yet.
    Delivered(Answered),
    Ended(Ended),
}

/// A delivery, before its outcome is durable.
struct Answered {
    row: SendRow,
    delivered: Delivered,
    at: Instant,
}

/// How a send ended, once that is durable.
enum Ended {
    Finished {
        row: SendRow,
        happened: Happened,
        derived: Option<(MessageId, NewMessage)>,
    },
    Again {
        row: SendRow,
        at: Timestamp,
        why: Why,
    },
    Halted {
        row: SendRow,
        why: Why,
    },
    /// The node stops; the row stays as it is in the store.
    Abandoned,
}

/// Why an attempt failed.
struct Why {
    /// For the log: the partner's own words may name a patient and stay out.
    log: String,
    /// For the trail and the screen: with the partner's words.
    full: String,
}

impl Why {
    fn of(row: &SendRow, error: &DeliverError, next: &str) -> Why {
        let answered = error
            .reply
            .as_ref()
            .and_then(|reply| trail::reply_line(&text_of(reply)))
            .unwrap_or_default();
        let with = |answered: &str| format!("attempt {}: {}{answered}{next}", row.attempts, error.text);
        Why {
            log: with(""),
            full: with(&answered),
        }
    }
}

/// One delivery, and the record of its failure if it fails.
async fn fly(
    core: Arc<Core>,
    lane: Arc<OutboundLane>,
    declared: Arc<Outbound>,
    mut sink: Box<dyn Sink>,
    mut row: SendRow,
) -> (Box<dyn Sink>, Landed) {
    let Some(body) = row.body.as_deref().cloned() else {
        let reason = "its bytes are no longer in the store".to_owned();
        let ended = die(&core, &lane, row, reason, None).await;
        return (sink, Landed::Ended(ended.unwrap_or(Ended::Abandoned)));
    };
    let delivery = Delivery {
        send: row.id,
        message: row.message,
        connection: Arc::clone(&lane.name),
        body,
        attempt: row.attempts + 1,
    };
    core.stages
        .waited(Step::SendWait, std::iter::once(row.since.take()));
    let started = Instant::now();
    let result = match std::panic::AssertUnwindSafe(sink.deliver(&delivery))
        .catch_unwind()
        .await
    {
        Ok(result) => result,
        Err(_) => {
            sink = sink.another();
            Err(DeliverError {
                class: FailureClass::Retry,
                text: "the connector crashed".to_owned(),
                reply: None,
            })
        }
    };
    lane.took.record(started.elapsed());
    row.attempts += 1;
    let ended = match result {
        Ok(delivered) => {
            let at = core.stages.took(Step::Send, started, 1);
            return (sink, Landed::Delivered(Answered { row, delivered, at }));
        }
        Err(error) => deliver_failed(&core, &lane, &declared, row, error).await,
    };
    (sink, Landed::Ended(ended.unwrap_or(Ended::Abandoned)))
}

/// The record of a delivery.
fn record(
    core: &Arc<Core>,
    lane: &Arc<OutboundLane>,
    declared: &Arc<Outbound>,
    answered: Answered,
) -> Record {
    let begin = {
        let behind = !lane.lane.with(|window| window.is_empty());
        let mut schedule = lane.schedule.lock();
        schedule.delivered();
        if schedule.has_room() || !(behind || schedule.has_ready()) {
            Begin::Later
        } else {
            Begin::AtOnce
        }
    };
    let (core, lane, declared) = (Arc::clone(core), Arc::clone(lane), Arc::clone(declared));
    Box::pin(async move {
        let at = answered.at;
        let ended = deliver_done(&core, &lane, &declared, answered, begin).await;
        core.stages.took(Step::OutcomeCommit, at, 1);
        ended.unwrap_or(Ended::Abandoned)
    })
}

async fn deliver_done(
    core: &Core,
    lane: &OutboundLane,
    declared: &Outbound,
    Answered { row, delivered, .. }: Answered,
    begin: Begin,
) -> Result<Ended, Stopping> {
    let feeds_back = declared
        .reply_to
        .as_deref()
        .and_then(|name| core.names.id(NameKind::Inbound, name));
    let derived = feeds_back
        .zip(delivered.reply.as_ref())
        .map(|(inbound, reply)| core.derived_message(inbound, row.message, reply.bytes().clone()));
    let mut entries = vec![Entry::Outcome(NewOutcome {
        send: row.id,
        message: row.message,
        result: OutcomeResult::Delivered,
        attempts: row.attempts,
        reply: delivered.reply,
    })];
    entries.extend(derived.clone().map(Entry::Message));
    let receipt = match core.write_by(begin, vec![Unit { entries }]).await?.pop() {
        Some(Ok(receipt)) => receipt,
        // The reply itself was refused: the delivery happened and is recorded without it.
        _ => {
            let entry = outcome(&row, OutcomeResult::Delivered, None);
            core.write(vec![Unit::one(entry)]).await?;
            return Ok(Ended::Finished {
                row,
                happened: Happened::Delivered,
                derived: None,
            });
        }
    };
    let derived = derived
        .zip(receipt.rows.get(1))
        .map(|(message, number)| (MessageId(*number), message));
    lane.counters.add(Figure::Delivered, 1);
    Ok(Ended::Finished {
        row,
        happened: Happened::Delivered,
        derived,
    })
}

fn outcome(row: &SendRow, result: OutcomeResult, reply: Option<Body>) -> Entry {
    Entry::Outcome(NewOutcome {
        send: row.id,
        message: row.message,
        result,
        attempts: row.attempts,
        reply,
    })
}

async fn deliver_failed(
    core: &Core,
    lane: &OutboundLane,
    declared: &Outbound,
    row: SendRow,
    error: DeliverError,
) -> Result<Ended, Stopping> {
    lane.counters.add(Figure::Failed, 1);
    match error.class {
        FailureClass::Retry if retry::may_retry(&declared.retry, row.attempts) => {
            let random = rand::random_range(0..1000);
            let wait = retry::wait(&declared.retry, row.attempts, random);
            let next = format!("; next in {:.1} s", wait.as_secs_f32());
            let why = Why::of(&row, &error, &next);
            note_attempt(core, &row, &why.full).await?;
            Ok(Ended::Again {
                at: core.clock.now().after(wait),
                why,
                row,
            })
        }
        FailureClass::Internal if declared.on_error == OnError::Stop => {
            let why = Why::of(&row, &error, "");
            note_attempt(core, &row, &why.full).await?;
            Ok(Ended::Halted { row, why })
        }
        FailureClass::Retry => {
            let reason = format!("gave up after {} attempts: {}", row.attempts, error.text);
            die(core, lane, row, reason, error.reply).await
        }
        FailureClass::Reject | FailureClass::Internal => die(core, lane, row, error.text, error.reply).await,
    }
}

/// A failed attempt, durable, so that a restart does not forget it.
async fn note_attempt(core: &Core, row: &SendRow, detail: &str) -> Result<(), Stopping> {
    let event = NewEvent {
        message: row.message,
        send: Some(row.id),
        kind: EventKind::AttemptFailed,
        detail: detail.into(),
        actor: None,
    };
    core.write(vec![Unit::one(Entry::Event(event))]).await.map(drop)
}

/// The send becomes a dead letter.
async fn die(
    core: &Core,
    lane: &OutboundLane,
    row: SendRow,
    reason: String,
    reply: Option<Body>,
) -> Result<Ended, Stopping> {
    let dead = Entry::DeadLetter(NewDeadLetter {
        message: row.message,
        stage: Stage::Outbound,
        at: lane.id,
        send: Some(row.id),
        reason: reason.as_str().into(),
    });
    core.write(vec![Unit {
        entries: vec![outcome(&row, OutcomeResult::Dead, reply), dead],
    }])
    .await?;
    tracing::warn!(connection = %lane.name, id = %row.message, reason, "a send became a dead letter");
    lane.counters.add(Figure::DeadLetters, 1);
    Ok(Ended::Finished {
        row,
        happened: Happened::SendFailed,
        derived: None,
    })
}

/// Books a send that ended.
fn book(core: &Core, lane: &OutboundLane, ended: Ended) {
    match ended {
        Ended::Finished {
            row,
            happened,
            derived,
        } => {
            {
                let (mut schedule, partition) = (lane.schedule.lock(), row.partition.as_deref());
                match happened {
                    Happened::Delivered => schedule.recorded(row.id, partition),
                    _ => schedule.done(row.id, partition),
                }
            }
            if lane.control.waiting.lock().take().is_some() && matches!(happened, Happened::Delivered) {
                tracing::info!(connection = %lane.name, "deliveries go on");
            }
            if let Some((id, message)) = derived {
                core.push_derived(id, message, Instant::now());
            }
            core.finaliser.note(row.message, happened);
        }
        Ended::Again { row, at, why } => {
            lane.schedule.lock().again(row, at);
            let before = lane.control.waiting.lock().replace(why.full);
            if before.is_none() {
                let why = why.log;
                tracing::warn!(connection = %lane.name, why, "a delivery failed and will be tried again");
            }
        }
        Ended::Halted { row, why } => {
            tracing::error!(connection = %lane.name, why = why.log, "this outbound stopped (on_error = \"stop\"): correct the cause, then release it");
            lane.schedule.lock().again(row, Timestamp(0));
            *lane.control.stopped.lock() = Some(why.full);
        }
        Ended::Abandoned => {}
    }
}

/// Takes a waiting send of a message out of its lane, for operators who skip it.
pub(crate) fn purge_waiting(lane: &OutboundLane, send: SendId, message: MessageId) -> Option<SendRow> {
    lane.schedule.lock().remove(send, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_behind_fetches_as_many_as_its_share_of_memory_takes() {
        let fetch = Fetch::default();
        assert_eq!(fetch.rows(64 << 20, 16), 16, "nobody knows how large they are");
        fetch.note(16, 16 << 10);
        assert_eq!(fetch.rows(64 << 20, 16), 256);
        assert_eq!(
            fetch.rows(64 << 20, 500),
            65,
            "five hundred lanes share the memory"
        );
        fetch.note(4, 40 << 20);
        assert_eq!(fetch.rows(64 << 20, 16), 1, "large ones come one at a time");
        fetch.note(0, 0);
        assert_eq!(fetch.rows(64 << 20, 16), 1);
    }
}
