//! One node: takes the lease, recovers what is open, runs the graph, stops in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::{Sink, Source};
use futures::FutureExt;
use model::problem::Problem;
use model::{NameId, SystemClock, Timestamp};
use parking_lot::Mutex;
use store::{NameKind, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::balance::Balance;
use crate::budget::Budget;
use crate::core::Core;
use crate::finaliser::Finaliser;
use crate::names::Names;
use crate::project::Project;
use crate::recovery::{apply_desired, recover};
use crate::settings::Settings;
use crate::stage;
use crate::supervision::{bind, run_source, supervise};
use crate::wiring::{handler_lanes, inbound_lanes, make_sinks, make_sources, outbound_lanes, schedule_of};

/// Where the right to write comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// One node alone: it takes the lease when it starts and gives it up when it stops.
    Own,
    /// The cluster gave it, and takes it back.
    Given(model::Term),
}

/// A running node.
pub struct Node {
    pub(crate) core: Arc<Core>,
    pub(crate) settings: Settings,
    pub(crate) project: Project,
    pub(crate) started_at: Timestamp,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    verdicts: Mutex<Option<JoinHandle<()>>>,
    ready: std::sync::atomic::AtomicBool,
    leadership: Leadership,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error("the store could not be used")]
    Store(#[from] store::Error),
    /// The configuration: connectors that cannot be made.
    #[error("the configuration has {} problem(s)", .0.len())]
    Config(Vec<Problem>),
}

/// How a graceful stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StopReport {
    /// Messages still in flight when the bound was reached; they are safe in the store.
    pub left_open: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Node {
    /// One node alone: takes the lease, recovers, starts every lane and listener.
    pub async fn start(
        settings: Settings,
        project: Project,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Node>, StartError> {
        Node::lead(settings, project, store, Leadership::Own).await
    }

    /// Recovers, then starts every lane and listener.
    pub async fn lead(
        settings: Settings,
        project: Project,
        store: Arc<dyn Store>,
        leadership: Leadership,
    ) -> Result<Arc<Node>, StartError> {
        let begun = Instant::now();
        let term = match leadership {
            Leadership::Own => store.acquire(&settings.node.id).await?,
            Leadership::Given(term) => {
                store.lead(term).await?;
                term
            }
        };
        let store_ms = begun.elapsed().as_millis();
        let graph = &project.graph;
        let wanted: Vec<(NameKind, String)> = (graph.inbounds.keys().map(|name| (NameKind::Inbound, name)))
            .chain(graph.outbounds.keys().map(|name| (NameKind::Outbound, name)))
            .chain(graph.handlers.keys().map(|name| (NameKind::Handler, name)))
            .map(|(kind, name)| (kind, name.clone()))
            .collect();
        let names = Names::load(store.as_ref(), &wanted).await?;
        let (finaliser, decisions) = Finaliser::new();
        let rows = settings.engine.lane_rows;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let code_threads = match settings.engine.code_threads {
            0 => 4 * cores,
            threads => threads,
        };
        let core = Arc::new(Core {
            inbounds: inbound_lanes(&project, &names, rows),
            handlers: handler_lanes(&project, &names, rows),
            outbounds: outbound_lanes(&project, &names, rows),
            store,
            term,
            names,
            graph: graph.clone(),
            program: Arc::clone(&project.program),
            clock: Arc::new(SystemClock),
            finaliser,
            budget: Budget::new(settings.engine.memory_mb << 20),
            balance: Balance::default(),
            stages: crate::stages::Stages::default(),
            orphans: Mutex::default(),
            orphan_skips: tokio::sync::Mutex::default(),
            retiring: tokio::sync::RwLock::default(),
            watch: crate::retention::Watch::default(),
            workers: Arc::new(tokio::sync::Semaphore::new(code_threads)),
            spread: cores.min(code_threads),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
            storing: crate::core::Storing::default(),
            waiting_readers: std::sync::atomic::AtomicUsize::new(0),
            fatal: Mutex::default(),
        });
        let sinks = make_sinks(&core)?;
        let sources = make_sources(&core)?;
        apply_desired(&core).await?;
        let verdicts = tokio::spawn(stage::verdicts::run(Arc::clone(&core), decisions));
        let prepared_ms = begun.elapsed().as_millis();
        let recovered = recover(&core).await.inspect_err(|_| verdicts.abort())?;
        let recovered_ms = begun.elapsed().as_millis();
        // How far it was when, from the moment at which the lease was known to be ours.
        tracing::info!(
            epoch = term.epoch.0,
            open_messages = recovered,
            store_ms,
            prepared_ms,
            recovered_ms,
            "this node leads"
        );
        let node = Arc::new(Node {
            started_at: core.clock.now(),
            core,
            settings,
            project,
            tasks: Mutex::default(),
            verdicts: Mutex::new(Some(verdicts)),
            ready: std::sync::atomic::AtomicBool::new(false),
            leadership,
        });
        node.spawn_lanes(sinks);
        node.spawn_sources(sources).await;
        node.spawn_retention();
        node.spawn_balance();
        node.ready.store(true, std::sync::atomic::Ordering::Release);
        Ok(node)
    }

    /// Whether this node leads, its lanes run, its listeners are bound, as far as their ports can be had, and
    /// its store can write, as far as that was tried lately.
    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Acquire)
            && !self.core.closing.is_cancelled()
            && self.core.storing.interruption().is_none()
    }

    /// Whether its lanes run and its listeners are bound, as far as their ports can be had; the store may be in
    /// trouble.
    pub fn is_serving(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Acquire) && !self.core.closing.is_cancelled()
    }

    /// Stops everything at once, without waiting: nothing of this leadership may go on.
    pub fn fence(&self) {
        self.ready.store(false, std::sync::atomic::Ordering::Release);
        self.core.closing.cancel();
        self.core.stopping.cancel();
    }

    /// Why the store cannot write, if a write was refused lately.
    pub fn store_interruption(&self) -> Option<String> {
        self.core.storing.interruption()
    }

    /// Resolves when the node had to stop by itself, with the reason.
    pub async fn failed(&self) -> String {
        self.core.stopping.cancelled().await;
        let reason = self.core.fatal.lock().clone();
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await, // a graceful stop, which its caller knows of
        }
    }

    /// How long each step of a message's way took, since the node started.
    pub fn stage_times(&self) -> Vec<crate::StageTimes> {
        self.core.stages.snapshot()
    }

    fn spawn_lanes(&self, mut sinks: HashMap<NameId, Box<dyn Sink>>) {
        let mut tasks = self.tasks.lock();
        for lane in self.core.inbounds.values() {
            let (core, lane) = (Arc::clone(&self.core), Arc::clone(lane));
            tasks.push(supervise(
                Arc::clone(&self.core),
                Arc::clone(&lane.name),
                "router lane",
                move |again| {
                    if again {
                        lane.lane.with(|window| window.restart());
                    }
                    stage::route::run(Arc::clone(&core), Arc::clone(&lane)).boxed()
                },
            ));
        }
        for lane in self.core.handlers.values() {
            let (core, lane) = (Arc::clone(&self.core), Arc::clone(lane));
            tasks.push(supervise(
                Arc::clone(&self.core),
                Arc::clone(&lane.name),
                "handler lane",
                move |again| {
                    if again {
                        lane.lane.with(|window| window.restart());
                    }
                    stage::handle::run(Arc::clone(&core), Arc::clone(&lane)).boxed()
                },
            ));
        }
        for lane in self.core.outbounds.values() {
            let Some(sink) = sinks.remove(&lane.id) else {
                continue;
            };
            let Some(declared) = self.core.graph.outbounds.get(&*lane.name).cloned().map(Arc::new) else {
                continue;
            };
            let (core, lane) = (Arc::clone(&self.core), Arc::clone(lane));
            tasks.push(supervise(
                Arc::clone(&self.core),
                Arc::clone(&lane.name),
                "outbound lane",
                move |again| {
                    if again {
                        lane.lane.with(|window| window.restart());
                        *lane.schedule.lock() = schedule_of(&declared);
                    }
                    let sink = sink.another();
                    stage::outbound::run(Arc::clone(&core), Arc::clone(&lane), Arc::clone(&declared), sink)
                        .boxed()
                },
            ));
        }
    }

    fn spawn_retention(&self) {
        let (core, settings) = (Arc::clone(&self.core), self.settings.retention.clone());
        let task = supervise(Arc::clone(&self.core), "store".into(), "retention", move |_| {
            crate::retention::run(Arc::clone(&core), settings.clone()).boxed()
        });
        self.tasks.lock().push(task);
    }

    fn spawn_balance(&self) {
        let core = Arc::clone(&self.core);
        let task = supervise(Arc::clone(&self.core), "engine".into(), "balance", move |_| {
            crate::balance::run(Arc::clone(&core)).boxed()
        });
        self.tasks.lock().push(task);
    }

    async fn spawn_sources(&self, sources: HashMap<NameId, Box<dyn Source>>) {
        for (id, mut source) in sources {
            let Some(lane) = self.core.inbounds.get(&id) else {
                continue;
            };
            // The first bind happens here, so that a taken port shows in the first lines of the log, and that
            // `ready` comes after all ports that can be had.
            let bound = !lane.control.is_held() && bind(lane, source.as_mut()).await;
            let task = run_source(Arc::clone(&self.core), Arc::clone(lane), source, bound);
            self.tasks.lock().push(tokio::spawn(task));
        }
    }

    /// Closes listeners, lets what is in flight end within the bound of the settings, then stops every lane.
    pub async fn stop(&self) -> StopReport {
        self.stop_within(self.settings.drain(), Duration::from_millis(200))
            .await
    }

    /// Closes listeners, ends what is in hand, and leaves the rest to the next leader.
    pub async fn make_room(&self) -> StopReport {
        self.stop_within(Duration::ZERO, Duration::ZERO).await
    }

    /// `bound` is for messages in flight, `decisions` for the words on those that ended a moment ago.
    async fn stop_within(&self, bound: Duration, decisions: Duration) -> StopReport {
        let started = Instant::now();
        self.ready.store(false, std::sync::atomic::Ordering::Release);
        self.core.closing.cancel();
        while self.core.finaliser.in_flight() > 0
            && started.elapsed() < bound
            && !self.core.stopping.is_cancelled()
        {
            if !self.something_moves() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left_open = self.core.finaliser.in_flight();
        self.core.stopping.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let grace = bound
            .saturating_sub(started.elapsed())
            .max(Duration::from_secs(1));
        join_all(tasks, grace).await;
        let writer = self.verdicts.lock().take();
        if let Some(writer) = writer {
            // Decisions not yet written are decided again at the next start.
            join_all(vec![writer], decisions).await;
        }
        let lanes_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.leadership == Leadership::Own
            && let Err(error) = self.core.store.release(self.core.term).await
        {
            tracing::warn!(error = stage::anyhow_chain(&error), "the lease was not released");
        }
        if let Err(error) = self.core.store.close().await {
            tracing::warn!(
                error = stage::anyhow_chain(&error),
                "the store was not closed cleanly"
            );
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(left_open, lanes_ms, took_ms, "this node stopped");
        StopReport { left_open, took_ms }
    }

    /// Whether waiting longer can help: some lane has work and is not held, stopped or waiting for a retry.
    fn something_moves(&self) -> bool {
        let waits = self.core.inbounds.values().any(|lane| lane.lane.depth() > 0)
            || self.core.handlers.values().any(|lane| lane.lane.depth() > 0);
        let sends = self.core.outbounds.values().any(|lane| {
            let stands = lane.control.is_held()
                || lane.control.stopped.lock().is_some()
                || lane.control.waiting.lock().is_some();
            !stands && (lane.lane.depth() > 0 || lane.schedule.lock().len() > 0)
        });
        let stuck: usize = self
            .core
            .outbounds
            .values()
            .map(|lane| lane.schedule.lock().len() + usize::try_from(lane.lane.depth()).unwrap_or(usize::MAX))
            .sum();
        waits || sends || stuck == 0
    }
}

async fn join_all(tasks: Vec<JoinHandle<()>>, bound: Duration) {
    let deadline = tokio::time::Instant::now() + bound;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
            // Until it has let go of what it held, it may still be at work.
            let _ = task.await;
        }
    }
}
