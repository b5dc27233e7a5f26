//! What all stages of one running graph share, and the one way in which they write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::Status;
use futures::FutureExt;
use model::graph::Graph;
use model::lease::Term;
use model::{Clock, NameId};
use parking_lot::Mutex;
use script::Program;
use store::{Begin, CommitError, Receipt, Store, Unit};
use tokio_util::sync::CancellationToken;

use crate::balance::Balance;
use crate::budget::Budget;
use crate::counters::Counters;
use crate::finaliser::Finaliser;
use crate::lane::Lane;
use crate::lane::schedule::{Schedule, SendRow};
use crate::names::Names;
use crate::retention::Watch;
use crate::stage::keys::KeyPath;
use crate::stage::outbound::Fetch;
use crate::stage::pace::Pace;
use crate::stage::{HandlerRow, IngressRow};
use crate::stages::Stages;

/// How long to wait before a write is tried again while the store cannot write.
const STORE_RETRY: Duration = Duration::from_millis(250);
/// How long a refused write says something about the next one.
const INTERRUPTION_KNOWN: Duration = Duration::from_secs(10);

/// Everything that the stages of one running graph share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) term: Term,
    pub(crate) names: Names,
    pub(crate) graph: Graph,
    pub(crate) program: Arc<dyn Program>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) finaliser: Finaliser,
    pub(crate) budget: Arc<Budget>,
    /// Holds intake back while delivery cannot follow it.
    pub(crate) balance: Balance,
    pub(crate) stages: Stages,
    pub(crate) inbounds: HashMap<NameId, Arc<InboundLane>>,
    pub(crate) handlers: HashMap<NameId, Arc<HandlerLane>>,
    pub(crate) outbounds: HashMap<NameId, Arc<OutboundLane>>,
    /// Rows whose inbound, handler or outbound left the configuration: held, counted, shown.
    pub(crate) orphans: Mutex<HashMap<NameId, u64>>,
    /// Held while a person gives one of them up.
    pub(crate) orphan_skips: tokio::sync::Mutex<()>,
    /// Read by whoever opens a closed message again, written by retention while it judges a segment.
    pub(crate) retiring: tokio::sync::RwLock<()>,
    /// The store's size.
    pub(crate) watch: Watch,
    /// Threads that run user code at once.
    pub(crate) workers: Arc<tokio::sync::Semaphore>,
    /// Threads that one lane may use of them at a time: the cores.
    pub(crate) spread: usize,
    /// Listeners close and no new work is taken from partners.
    pub(crate) closing: CancellationToken,
    /// Lanes stop after what they have in hand.
    pub(crate) stopping: CancellationToken,
    /// Why the store cannot write, for as long as it cannot.
    pub(crate) storing: Storing,
    /// Lanes that wait because the store cannot be read.
    pub(crate) waiting_readers: std::sync::atomic::AtomicUsize,
    /// Set when the node must not write any more: superseded, or the outcome of a commit is unknown.
    pub(crate) fatal: Mutex<Option<String>>,
}

/// Whether the store could write lately.
#[derive(Default)]
pub(crate) struct Storing {
    interrupted: std::sync::atomic::AtomicBool,
    refusal: Mutex<Option<(Instant, String)>>,
}

impl Storing {
    /// What became of a write.
    pub(crate) fn note(&self, answers: &[Result<Receipt, CommitError>]) {
        use std::sync::atomic::Ordering::Relaxed;
        let fenced = answers
            .iter()
            .filter(|answer| matches!(answer, Err(CommitError::Fenced)));
        let fenced = fenced.count() as u64;
        if fenced > 0 {
            metrics::counter!("holdfast_fenced_writes_total").increment(fenced);
        }
        match answers.last() {
            Some(Err(CommitError::Unavailable(reason))) => {
                *self.refusal.lock() = Some((Instant::now(), reason.clone()));
                self.interrupted.store(true, Relaxed);
            }
            Some(Ok(_)) if self.interrupted.load(Relaxed) => {
                self.interrupted.store(false, Relaxed);
                *self.refusal.lock() = None;
            }
            _ => {}
        }
    }

    /// Why it cannot, if it was tried lately. Without any attempt nobody knows, and nobody may be kept from
    /// making one.
    pub(crate) fn interruption(&self) -> Option<String> {
        let refusal = self.refusal.lock();
        let (at, reason) = refusal.as_ref()?;
        (at.elapsed() < INTERRUPTION_KNOWN).then(|| reason.clone())
    }
}

/// The receiving side of one inbound.
pub(crate) struct InboundLane {
    pub(crate) id: NameId,
    pub(crate) name: Arc<str>,
    pub(crate) router: Arc<str>,
    /// What its messages can be found by; none when it is raw.
    pub(crate) keys: Vec<KeyPath>,
    pub(crate) lane: Lane<IngressRow>,
    pub(crate) pace: Pace,
    pub(crate) counters: Counters,
    pub(crate) status: Arc<Status>,
    pub(crate) control: Control,
    pub(crate) address: Mutex<Option<String>>,
    /// Cancelled to stop the source alone (a hold), replaced when it starts again.
    pub(crate) source_stop: Mutex<CancellationToken>,
}

/// One handler's lane.
pub(crate) struct HandlerLane {
    pub(crate) id: NameId,
    pub(crate) name: Arc<str>,
    pub(crate) lane: Lane<HandlerRow>,
    /// Held from taking rows until what came of them is handed on: whoever has it is next in the lane's order.
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) pace: Pace,
    pub(crate) counters: Counters,
}

/// The sending side of one outbound.
pub(crate) struct OutboundLane {
    pub(crate) id: NameId,
    pub(crate) name: Arc<str>,
    pub(crate) lane: Lane<SendRow>,
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) fetch: Fetch,
    pub(crate) counters: Counters,
    /// How long the partner takes.
    pub(crate) took: metrics::Histogram,
    pub(crate) control: Control,
    /// The HL7 path of its partition key, if it has one.
    pub(crate) partition: Option<formats::hl7::Path>,
}

/// Whether a connection runs, and if not, why; and what its head waits for.
#[derive(Default)]
pub(crate) struct Control {
    pub(crate) held: std::sync::atomic::AtomicBool,
    /// Why it stands still although nobody holds it.
    pub(crate) stopped: Mutex<Option<String>>,
    /// Why its head waits.
    pub(crate) waiting: Mutex<Option<String>>,
    pub(crate) changed: tokio::sync::Notify,
}

impl Control {
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The node stops; the caller ends without writing anything more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopping;

impl Core {
    /// Writes units until each is durable or refused for its own content; waits while the store cannot
    /// write. Order among the units is kept: those of one call share one transaction, so a store that
    /// cannot write takes none of them, and all are submitted again together.
    pub(crate) async fn write(&self, units: Vec<Unit>) -> Result<Vec<Result<Receipt, String>>, Stopping> {
        self.write_by(Begin::AtOnce, units).await
    }

    /// [`write`](Core::write), saying how soon it has to be durable.
    pub(crate) async fn write_by(
        &self,
        begin: Begin,
        units: Vec<Unit>,
    ) -> Result<Vec<Result<Receipt, String>>, Stopping> {
        let mut results: Vec<Option<Result<Receipt, String>>> = vec![None; units.len()];
        let mut open: Vec<usize> = (0..units.len()).collect();
        while !open.is_empty() {
            let batch = open.iter().map(|index| units[*index].clone()).collect();
            let answers = self.store.submit_by(begin, self.term, batch).await;
            self.storing.note(&answers);
            let mut again = Vec::new();
            for (index, answer) in open.into_iter().zip(answers) {
                match answer {
                    Ok(receipt) => results[index] = Some(Ok(receipt)),
                    Err(CommitError::Rejected(reason)) => results[index] = Some(Err(reason)),
                    Err(CommitError::Unavailable(reason)) => {
                        // The store said so once for everybody.
                        tracing::debug!(reason, "a write waits and is tried again");
                        again.push(index);
                    }
                    Err(error @ (CommitError::Fenced | CommitError::Unknown(_))) => {
                        self.fail(&error.to_string());
                        return Err(Stopping);
                    }
                }
            }
            open = again;
            if !open.is_empty() {
                self.pause(STORE_RETRY).await?;
            }
        }
        Ok(results
            .into_iter()
            .map(|result| result.expect("every unit was answered"))
            .collect())
    }

    /// Waits, unless the node stops first.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Stopping> {
        tokio::select! {
            () = self.stopping.cancelled() => Err(Stopping),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    /// Stops the node: it may not write any more.
    pub(crate) fn fail(&self, reason: &str) {
        let mut fatal = self.fatal.lock();
        if fatal.is_none() {
            tracing::error!(
                reason,
                "this node stops: start it again and it recovers from the store"
            );
            *fatal = Some(reason.to_owned());
        }
        self.closing.cancel();
        self.stopping.cancel();
    }

    /// Runs user code on a thread of its own, as many at once as the settings allow; a panic in it is an
    /// error of that call.
    pub(crate) async fn run_code<R: Send + 'static>(
        &self,
        code: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, String> {
        let permit = Arc::clone(&self.workers)
            .acquire_owned()
            .await
            .map_err(|error| error.to_string())?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            code()
        });
        task.map(|result| result.map_err(|error| format!("the worker thread failed: {error}")))
            .await
    }

    /// Counts rows that no connection or function of this configuration will take.
    pub(crate) fn orphan(&self, name: NameId, rows: u64) {
        if rows > 0 {
            *self.orphans.lock().entry(name).or_default() += rows;
        }
    }
}
