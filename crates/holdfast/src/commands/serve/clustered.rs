//! One of several nodes: a standby until the lease makes it the leader, and a standby again when it gave the lease up.
//! A node that lost the lease against its will ends; whoever started it starts it again, with an empty memory.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::board::Member;
use cluster::{Cluster, Parameters, Role};
use engine::orders::Orders;
use engine::{Leadership, Node, Observer, Project, Settings};
use model::Term;
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::Place;
use super::{Serving, outlook};
use crate::cli::FENCED;

/// Between the end of a leadership against its will and the end of the process.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(super) async fn run(serving: Serving) -> anyhow::Result<ExitCode> {
    // Makes the tables, and waits for a database that is away. A program that is too old for the store joins all the
    // same, so that the other nodes show it and why.
    let (tell, why) = watch::channel(super::STARTING.to_owned());
    let joined = serving.meanwhile(why, async {
        let (store, outdated) = match serving.place.open(&tell).await {
            Ok(store) => (Some(store), None),
            Err(error) => match error.downcast::<store::Error>() {
                Ok(store::Error::Outdated(text)) => {
                    tracing::error!(reason = text, "this node cannot lead");
                    (None, Some(text))
                }
                Ok(error) => return Err(error.into()),
                Err(error) => return Err(error),
            },
        };
        let (cluster, orders) = join(&serving).await?;
        Ok((store, outdated, cluster, orders))
    });
    let (store, outdated, cluster, orders) = joined.await?;
    serving.enter_repository()?;
    let about = serving.about();
    let Serving {
        settings,
        project,
        place,
        listener,
        metrics,
        ..
    } = serving;
    tracing::info!(address = %listener.local_addr()?, "the API answers; this node is a standby");
    let stop = CancellationToken::new();
    let seat = api::Seat::of_cluster(about, Arc::clone(&cluster), orders);
    let api = tokio::spawn(api::serve(listener, Arc::clone(&seat), metrics, stop.clone()));
    tokio::spawn(pulse(Arc::clone(&cluster)));
    let mut life = Life {
        unfit: outlook::watch(Arc::clone(&seat), Arc::clone(&cluster), project.clone()),
        settings,
        project,
        place,
        cluster: Arc::clone(&cluster),
        seat,
        store: None,
        node: None,
        trouble: outdated,
        failures: 0,
        again_at: Instant::now(),
    };
    if let Some(store) = store {
        life.watch_with(store);
    }
    life.say_fitness();
    let failure = life.run().await?;
    cluster.leave();
    // After a failure: nothing of the leadership that did not begin is under way.
    if let Role::Leader(term) | Role::SteppingDown(term) = *cluster.role().borrow() {
        cluster.stopped(term);
    }
    tokio::task::spawn_blocking(move || cluster.join()).await?;
    stop.cancel();
    let _ = api.await;
    if let Some(store) = life.store {
        let _ = store.close().await; // it holds nothing
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// After so many failures in a row to open the store or to begin to lead the process ends: whoever started it starts it
/// again, and sees that it does not come up.
const FAILURES_MAX: u32 = 6;
/// The pause after the first failure; each next one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A store that was opened for a leadership that did not begin is given so long to close.
const CLOSING: Duration = Duration::from_secs(5);

/// A node from its start as a standby to its end.
struct Life {
    settings: Settings,
    project: Project,
    place: Place,
    cluster: Arc<Cluster>,
    seat: Arc<api::Seat>,
    /// Open, with nothing of any leadership in memory; a leader's is its node's.
    store: Option<Arc<dyn Store>>,
    node: Option<Arc<Node>>,
    /// Why this node must not lead, as the outlook has it.
    unfit: watch::Receiver<Option<String>>,
    /// Why it could not open its store or begin to lead.
    trouble: Option<String>,
    failures: u32,
    again_at: Instant,
}

impl Life {
    /// Until the node left the cluster, or for a failure that stays.
    async fn run(&mut self) -> anyhow::Result<Option<anyhow::Error>> {
        let mut roles = self.cluster.role();
        let mut ends = Signals::new()?;
        let mut resigned = None;
        loop {
            let role = roles.borrow_and_update().clone();
            match role {
                Role::Leader(term) if self.node.is_none() && resigned != Some(term) => {
                    let cluster = Arc::clone(&self.cluster);
                    let promoted = tokio::select! {
                        promoted = self.promote(term) => promoted,
                        // In the branch itself: what is dropped for it could wait for the database.
                        never = end_when_fenced(roles.clone()) => never,
                        () = async { ends.any().await; cluster.leave(); std::future::pending().await } => continue,
                    };
                    if let Err(error) = promoted {
                        if let Some(error) = self.failed("this node could not begin to lead", error) {
                            return Ok(Some(error));
                        }
                        self.cluster.resign();
                        resigned = Some(term);
                    }
                }
                Role::SteppingDown(term) => {
                    if let Some(leading) = self.node.take() {
                        self.trouble = Some("it stopped leading a moment ago".to_owned());
                        self.say_fitness();
                        tokio::select! {
                            _ = leading.make_room() => {}
                            never = end_when_fenced(roles.clone()) => never,
                        }
                        self.seat.vacate();
                    }
                    self.cluster.stopped(term);
                }
                Role::Standby if self.store.is_none() && Instant::now() >= self.again_at => {
                    let opened = tokio::select! {
                        opened = self.place.attempt() => opened,
                        () = ends.any() => {
                            self.cluster.leave();
                            continue;
                        }
                    };
                    match opened {
                        Ok(store) => self.watch_with(store),
                        Err(error) => {
                            if let Some(error) = self.failed("the store could not be opened", error.into()) {
                                return Ok(Some(error));
                            }
                        }
                    }
                    self.say_fitness();
                }
                Role::Standby if self.trouble.is_some() && self.store.is_some() => {
                    if Instant::now() >= self.again_at {
                        self.trouble = None;
                    }
                    self.say_fitness();
                }
                Role::Standby => self.say_fitness(),
                Role::Fenced(_) => {
                    if let Some(leading) = self.node.take() {
                        leading.fence();
                    }
                    tracing::error!("this node lost the lease and ends; started again it is a standby");
                    end_fenced().await;
                }
                Role::Left => return Ok(None),
                Role::Leader(_) => {}
            }
            let waits = self.trouble.is_some() || self.store.is_none();
            tokio::select! {
                changed = roles.changed() => changed.context("the lease's thread ended")?,
                Ok(()) = self.unfit.changed() => {}
                () = tokio::time::sleep_until(self.again_at.into()), if waits && role == Role::Standby => {}
                () = ends.any() => {
                    tracing::info!("stopping: another node takes over");
                    self.cluster.leave();
                }
                reason = failed(self.node.as_ref()) => {
                    // It must not write any more; the lease is left to run out, since nobody knows what is under way.
                    if let Some(leading) = self.node.take() {
                        leading.fence();
                    }
                    tracing::error!(reason, "this node stops leading and ends; started again it is a standby");
                    end_fenced().await;
                }
            }
        }
    }

    /// Begins to lead. What it opened for that is closed again when it fails.
    async fn promote(&mut self, term: Term) -> anyhow::Result<()> {
        let opened = match self.store.take() {
            Some(store) => store,
            None => self.place.attempt().await?,
        };
        let begun = Instant::now();
        let (settings, project) = (self.settings.clone(), self.project.clone());
        match Node::lead(settings, project, Arc::clone(&opened), Leadership::Given(term)).await {
            Ok(leading) => {
                let took_ms = begun.elapsed().as_millis();
                tracing::info!(epoch = term.epoch.0, took_ms, "this node leads, and receives");
                self.seat.take(Arc::clone(&leading));
                self.node = Some(leading);
                self.failures = 0;
                self.trouble = None;
                Ok(())
            }
            Err(error) => {
                // Before the lease is given up: nothing of this leadership may be under way then.
                let _ = tokio::time::timeout(CLOSING, opened.close()).await;
                self.seat.observe(None);
                Err(error.into())
            }
        }
    }

    /// With nothing of the last leadership in memory.
    fn watch_with(&mut self, store: Arc<dyn Store>) {
        self.seat
            .observe(Some(Observer::new(Arc::clone(&store), &self.project)));
        let fresh = Arc::clone(&store);
        // A courtesy to the next promotion; what fails here fails there, and says why.
        tokio::spawn(async move { fresh.rehearse().await.ok() });
        self.store = Some(store);
        if self.failures == 0 {
            self.trouble = None;
        }
    }

    /// Tells the cluster whether this node could lead.
    fn say_fitness(&mut self) {
        let unfit = self.unfit.borrow_and_update().clone();
        let closed = || {
            self.store
                .is_none()
                .then(|| "its store is not open yet".to_owned())
        };
        self.cluster.fit(self.trouble.clone().or(unfit).or_else(closed));
    }

    /// Notes a failure after which this node tries again, a while later and as a standby; the error itself when it has
    /// tried often enough. A database that is away, and one that is too new for this program, are waited for.
    fn failed(&mut self, what: &'static str, error: anyhow::Error) -> Option<anyhow::Error> {
        let patient = error.chain().any(|cause| {
            matches!(
                cause.downcast_ref::<store::Error>(),
                Some(store::Error::Away(_) | store::Error::Outdated(_))
            )
        });
        if !patient {
            self.failures += 1;
            if self.failures >= FAILURES_MAX {
                return Some(error.context(format!("{what}, {FAILURES_MAX} times in a row")));
            }
        }
        let pause = (PAUSE * 2_u32.saturating_pow(self.failures.saturating_sub(1))).min(PAUSE_MAX);
        let reason = format!("{what}: {error:#}");
        if self.trouble.as_ref() != Some(&reason) {
            tracing::error!(
                reason,
                again_ms = pause.as_millis(),
                "this node stays a standby, and tries again"
            );
        }
        self.trouble = Some(reason);
        self.again_at = Instant::now() + pause;
        self.say_fitness();
        None
    }
}

/// Ends the process without waiting for anything: what still waits, waits for a database that does not answer. The
/// watchdog does the same, should this not be reached in time.
async fn end_fenced() -> ! {
    tokio::time::sleep(LAST_WORDS).await; // sockets close on their own tasks
    std::process::exit(FENCED.into())
}

/// Ends the process once the node must not lead any more.
async fn end_when_fenced(roles: watch::Receiver<Role>) -> ! {
    fenced(roles).await;
    tracing::error!("this node lost the lease and ends; started again it is a standby");
    end_fenced().await
}

/// Joins the cluster as a standby; also the way by which commands reach the leader.
async fn join(serving: &Serving) -> anyhow::Result<(Arc<Cluster>, Box<dyn Orders>)> {
    let settings = &serving.settings;
    if matches!(serving.place, Place::Embedded(_)) {
        anyhow::bail!("a cluster needs a database server (store.backend)");
    }
    let parameters = Parameters::named(&settings.cluster.profile)
        .with_context(|| format!("cluster.profile `{}` is not known", settings.cluster.profile))?;
    if let Some(fault) = parameters.fault() {
        anyhow::bail!("the cluster's times are not safe: {fault}");
    }
    let member = Member {
        id: settings.node.id.clone(),
        boot: Uuid::new_v4(),
        host: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        pid: std::process::id(),
        api: serving.listener.local_addr()?.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: serving.project.fingerprint.clone(),
        environment: serving.project.environment.clone(),
        promotable: settings.cluster.promotable,
        delay: Duration::from_millis(settings.cluster.takeover_delay_ms),
        role: "standby".to_owned(),
        ready: false,
        detail: String::new(),
    };
    let fencer = std::env::current_exe().context("this program's own file cannot be found")?;
    let place = serving.place.clone();
    let joined = tokio::task::spawn_blocking(move || -> Result<_, cluster::StartError> {
        let shared = place.shared(parameters.attempt, parameters.ttl)?;
        let shared = shared.expect("an embedded store was refused above");
        let options = cluster::Options {
            parameters,
            member,
            fencer: Some(fencer),
        };
        let cluster = Cluster::start(options, shared.lease, shared.other)?;
        Ok((cluster, shared.orders))
    });
    Ok(joined.await??)
}

/// Shows that this runtime is at work: without that no lease is renewed.
async fn pulse(cluster: Arc<Cluster>) {
    loop {
        cluster.pulse();
        tokio::time::sleep(cluster.pulse_every()).await;
    }
}

/// Resolves once the node must not lead any more.
async fn fenced(mut roles: watch::Receiver<Role>) {
    while !matches!(*roles.borrow_and_update(), Role::Fenced(_)) {
        if roles.changed().await.is_err() {
            return;
        }
    }
}

/// Resolves when the node had to stop by itself.
async fn failed(node: Option<&Arc<Node>>) -> String {
    match node {
        Some(node) => node.failed().await,
        None => std::future::pending().await,
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
