//! One node: takes the lease, recovers what is open, runs the graph, stops in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::{Sink, Source, SourceContext, Status};
use futures::FutureExt;
use model::graph::{AckMode, Ordering};
use model::problem::Problem;
use model::{MessageId, NameId, SystemClock, Timestamp};
use parking_lot::Mutex;
use store::{Desired, NameKind, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::core::{Control, Core, HandlerLane, InboundLane, OutboundLane};
use crate::counters::Counters;
use crate::finaliser::{Finaliser, Track};
use crate::lane::Lane;
use crate::lane::schedule::Schedule;
use crate::names::Names;
use crate::project::Project;
use crate::settings::Settings;
use crate::stage;
use crate::stage::intake::Door;

/// A running node.
pub struct Node {
    pub(crate) core: Arc<Core>,
    pub(crate) settings: Settings,
    pub(crate) project: Project,
    pub(crate) started_at: Timestamp,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    verdicts: Mutex<Option<JoinHandle<()>>>,
    ready: std::sync::atomic::AtomicBool,
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

/// One page of recovery.
const RECOVERY_PAGE: usize = 5000;

impl Node {
    /// Takes the lease, recovers, starts every lane and listener.
    pub async fn start(
        settings: Settings,
        project: Project,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Node>, StartError> {
        let term = store.acquire(&settings.node.id).await?;
        let graph = &project.graph;
        let wanted: Vec<(NameKind, String)> = (graph.inbounds.keys().map(|name| (NameKind::Inbound, name)))
            .chain(graph.outbounds.keys().map(|name| (NameKind::Outbound, name)))
            .chain(graph.handlers.keys().map(|name| (NameKind::Handler, name)))
            .map(|(kind, name)| (kind, name.clone()))
            .collect();
        let names = Names::load(store.as_ref(), &wanted).await?;
        let (finaliser, decisions) = Finaliser::new();
        let rows = settings.engine.lane_rows;
        let code_threads = match settings.engine.code_threads {
            0 => 4 * std::thread::available_parallelism().map_or(2, usize::from),
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
            orphans: Mutex::default(),
            workers: Arc::new(tokio::sync::Semaphore::new(code_threads)),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
            fatal: Mutex::default(),
        });
        let sinks = make_sinks(&core)?;
        let sources = make_sources(&core)?;
        apply_desired(&core).await?;
        let verdicts = tokio::spawn(stage::verdicts::run(Arc::clone(&core), decisions));
        let recovered = recover(&core).await?;
        tracing::info!(epoch = term.epoch.0, open_messages = recovered, "this node leads");
        let node = Arc::new(Node {
            started_at: core.clock.now(),
            core,
            settings,
            project,
            tasks: Mutex::default(),
            verdicts: Mutex::new(Some(verdicts)),
            ready: std::sync::atomic::AtomicBool::new(false),
        });
        node.spawn_lanes(sinks);
        node.spawn_sources(sources).await;
        node.ready.store(true, std::sync::atomic::Ordering::Release);
        Ok(node)
    }

    /// Whether listeners are bound and lanes run.
    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Acquire) && !self.core.closing.is_cancelled()
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
            let Some(declared) = self.core.graph.outbounds.get(&*lane.name).cloned() else {
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
                        *lane.schedule.lock() =
                            Schedule::new(declared.ordering.clone(), declared.concurrency);
                    }
                    let sink = sink.another();
                    stage::outbound::run(Arc::clone(&core), Arc::clone(&lane), declared.clone(), sink).boxed()
                },
            ));
        }
    }

    async fn spawn_sources(&self, sources: HashMap<NameId, Box<dyn Source>>) {
        for (id, mut source) in sources {
            let Some(lane) = self.core.inbounds.get(&id) else {
                continue;
            };
            // The first bind happens here, so that a taken port shows in the first lines of the log and
            // `ready` means bound.
            let bound = !lane.control.is_held() && bind(lane, source.as_mut()).await;
            let task = run_source(Arc::clone(&self.core), Arc::clone(lane), source, bound);
            self.tasks.lock().push(tokio::spawn(task));
        }
    }

    /// Closes listeners, lets what is in flight end within the bound, then stops every lane.
    pub async fn stop(&self) -> StopReport {
        let started = Instant::now();
        self.ready.store(false, std::sync::atomic::Ordering::Release);
        self.core.closing.cancel();
        let bound = self.settings.drain();
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
            join_all(vec![writer], Duration::from_millis(200)).await;
        }
        if let Err(error) = self.core.store.release(self.core.term).await {
            tracing::warn!(error = stage::anyhow_chain(&error), "the lease was not released");
        }
        if let Err(error) = self.core.store.close().await {
            tracing::warn!(
                error = stage::anyhow_chain(&error),
                "the store was not closed cleanly"
            );
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(left_open, took_ms, "this node stopped");
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
        }
    }
}

/// Runs a lane's task and starts it again, from the store, when it panics. One lane's crash harms no other.
fn supervise(
    core: Arc<Core>,
    name: Arc<str>,
    what: &'static str,
    run: impl Fn(bool) -> futures::future::BoxFuture<'static, ()> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut again = false;
        loop {
            let task = tokio::spawn(run(again));
            match task.await {
                Ok(()) => break,
                Err(error) => {
                    metrics::counter!("holdfast_lane_restarts_total", "name" => name.to_string())
                        .increment(1);
                    tracing::error!(name = %name, %error, "the {what} failed and starts again from the store");
                }
            }
            again = true;
            if core.pause(Duration::from_secs(1)).await.is_err() {
                break;
            }
        }
    })
}

async fn bind(lane: &InboundLane, source: &mut dyn Source) -> bool {
    match source.bind().await {
        Ok(()) => {
            *lane.address.lock() = source.local_address();
            *lane.control.stopped.lock() = None;
            tracing::info!(connection = %lane.name, address = source.local_address(), "receiving");
            true
        }
        Err(error) => {
            let error = stage::anyhow_chain(&error);
            tracing::error!(connection = %lane.name, error, "this inbound does not receive; it will be tried again");
            *lane.control.stopped.lock() = Some(error);
            false
        }
    }
}

/// Runs a source for the life of the node: starts it again with a growing pause when it fails, stops and
/// starts it when an operator holds and releases it.
async fn run_source(core: Arc<Core>, lane: Arc<InboundLane>, mut source: Box<dyn Source>, mut bound: bool) {
    let acknowledge = core
        .graph
        .inbounds
        .get(&*lane.name)
        .is_none_or(|inbound| inbound.ack == AckMode::OnCommit);
    let mut pause = Duration::from_secs(1);
    while !core.closing.is_cancelled() {
        if lane.control.is_held() {
            tokio::select! {
                () = core.closing.cancelled() => break,
                () = lane.control.changed.notified() => continue,
            }
        }
        if bound || bind(&lane, source.as_mut()).await {
            let stop = core.closing.child_token();
            *lane.source_stop.lock() = stop.clone();
            let context = SourceContext {
                name: Arc::clone(&lane.name),
                intake: Arc::new(Door {
                    core: Arc::clone(&core),
                    lane: Arc::clone(&lane),
                }),
                acknowledge,
                stop,
                status: Arc::clone(&lane.status),
            };
            let started = Instant::now();
            let ended = std::panic::AssertUnwindSafe(source.run(context))
                .catch_unwind()
                .await;
            *lane.address.lock() = None;
            let fault = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(stage::anyhow_chain(&error)),
                Err(_) => Some("the connector panicked".to_owned()),
            };
            if started.elapsed() > Duration::from_secs(60) {
                pause = Duration::from_secs(1);
            }
            if let Some(fault) = fault {
                tracing::error!(connection = %lane.name, fault, "this inbound failed and starts again");
                *lane.control.stopped.lock() = Some(fault);
            }
        }
        bound = false;
        if lane.control.is_held() {
            continue;
        }
        tokio::select! {
            () = core.closing.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

fn inbound_lanes(project: &Project, names: &Names, rows: usize) -> HashMap<NameId, Arc<InboundLane>> {
    let lanes = project.graph.inbounds.values().filter_map(|inbound| {
        let id = names.id(NameKind::Inbound, &inbound.name)?;
        let lane = InboundLane {
            id,
            name: inbound.name.as_str().into(),
            router: inbound.router.as_str().into(),
            lane: Lane::new(rows),
            counters: Counters::new(&inbound.name),
            status: Arc::new(Status::default()),
            control: Control::default(),
            address: Mutex::default(),
            source_stop: Mutex::new(CancellationToken::new()),
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

fn handler_lanes(project: &Project, names: &Names, rows: usize) -> HashMap<NameId, Arc<HandlerLane>> {
    let lanes = project.graph.handlers.keys().filter_map(|name| {
        let id = names.id(NameKind::Handler, name)?;
        let lane = HandlerLane {
            id,
            name: name.as_str().into(),
            lane: Lane::new(rows),
            counters: Counters::new(name),
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

fn outbound_lanes(project: &Project, names: &Names, rows: usize) -> HashMap<NameId, Arc<OutboundLane>> {
    let lanes = project.graph.outbounds.values().filter_map(|outbound| {
        let id = names.id(NameKind::Outbound, &outbound.name)?;
        let partition = match &outbound.ordering {
            Ordering::Partitioned { path } => path.parse().ok(),
            _ => None,
        };
        let lane = OutboundLane {
            id,
            name: outbound.name.as_str().into(),
            lane: Lane::new(rows),
            schedule: Mutex::new(Schedule::new(outbound.ordering.clone(), outbound.concurrency)),
            counters: Counters::new(&outbound.name),
            control: Control::default(),
            partition,
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

fn make_sinks(core: &Core) -> Result<HashMap<NameId, Box<dyn Sink>>, StartError> {
    let mut sinks = HashMap::new();
    let mut problems = Vec::new();
    for (id, lane) in &core.outbounds {
        let Some(declared) = core.graph.outbounds.get(&*lane.name) else {
            continue;
        };
        let Some(connector) = connectors::registry::find(&declared.connector.connector) else {
            continue;
        };
        match connector.sink(&declared.connector) {
            Ok(sink) => drop(sinks.insert(*id, sink)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(sinks)
    } else {
        Err(StartError::Config(problems))
    }
}

fn make_sources(core: &Core) -> Result<HashMap<NameId, Box<dyn Source>>, StartError> {
    let mut sources = HashMap::new();
    let mut problems = Vec::new();
    for (id, lane) in &core.inbounds {
        let Some(declared) = core.graph.inbounds.get(&*lane.name) else {
            continue;
        };
        let Some(connector) = connectors::registry::find(&declared.connector.connector) else {
            continue;
        };
        match connector.source(&declared.connector) {
            Ok(source) => drop(sources.insert(*id, source)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(StartError::Config(problems))
    }
}

async fn apply_desired(core: &Core) -> Result<(), store::Error> {
    for (id, desired) in core.store.desired().await? {
        let held = desired == Desired::Held;
        let control = (core.inbounds.get(&id).map(|lane| &lane.control))
            .or_else(|| core.outbounds.get(&id).map(|lane| &lane.control));
        if let Some(control) = control {
            control.held.store(held, std::sync::atomic::Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Open rows of one lane, found at start.
#[derive(Default, Clone, Copy)]
struct Behind {
    upto: i64,
    count: u64,
}

impl Behind {
    fn note(&mut self, number: i64) {
        self.upto = self.upto.max(number);
        self.count += 1;
    }
}

/// Finds what is open in the store, tells the finaliser, and lets each lane read its rows page by page.
/// Returns how many messages are open.
async fn recover(core: &Core) -> Result<u64, store::Error> {
    let (mut inbounds, mut handlers, mut outbounds) =
        <(HashMap<_, Behind>, HashMap<_, Behind>, HashMap<_, Behind>)>::default();
    let mut after = MessageId::default();
    let mut total = 0;
    loop {
        let page = core.store.open_messages(after, RECOVERY_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        total += page.len() as u64;
        for open in page {
            let mut track = Track {
                failed: open.dead,
                ..Track::default()
            };
            match &open.routed {
                None => {
                    track.steps = 1;
                    inbounds.entry(open.inbound).or_default().note(open.id.raw());
                }
                Some((row, named)) => {
                    track.unrouted = named.is_empty();
                    for handler in named.iter().filter(|handler| open.is_unhandled(**handler, *row)) {
                        track.steps += 1;
                        handlers.entry(*handler).or_default().note(row.0);
                    }
                }
            }
            for (_, result) in &open.handled {
                track.reached |= *result == store::rows::HandledResult::PassedThrough;
            }
            for send in &open.sends {
                match send.outcome {
                    None => {
                        track.sends += 1;
                        outbounds.entry(send.destination).or_default().note(send.id.raw());
                    }
                    Some(store::rows::OutcomeResult::Delivered) => track.reached = true,
                    Some(_) => {}
                }
            }
            core.finaliser.open(open.id, track);
        }
    }
    for (id, behind) in inbounds {
        match core.inbounds.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, behind) in handlers {
        match core.handlers.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, behind) in outbounds {
        match core.outbounds.get(&id) {
            Some(lane) => lane
                .lane
                .with(|window| window.start_behind(behind.upto, behind.count)),
            None => core.orphan(id, behind.count),
        }
    }
    for (id, rows) in core.orphans.lock().iter() {
        let name = core.names.name(*id);
        tracing::warn!(name = %name, rows, "rows wait for a connection or function that left the configuration; they are held");
    }
    Ok(total)
}
