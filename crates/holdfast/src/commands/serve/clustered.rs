//! One of several nodes: a standby until the lease makes it the leader, and a standby again when it gave the lease up.
//! A node that lost the lease against its will ends; whoever started it starts it again, with an empty memory.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cluster::board::Member;
use cluster::{Cluster, Parameters, Role};
use engine::orders::Orders;
use engine::{Leadership, Node, Observer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Serving;
use super::store::Place;
use crate::cli::FENCED;

/// Between the end of a leadership against its will and the end of the process.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(super) async fn run(serving: Serving) -> anyhow::Result<ExitCode> {
    // Makes the tables, and waits for a database that is away.
    let mut store = Some(serving.place.open().await?);
    let (cluster, orders) = join(&serving).await?;
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
    seat.observe(
        store
            .as_ref()
            .map(|store| Observer::new(Arc::clone(store), &project)),
    );
    let api = tokio::spawn(api::serve(listener, Arc::clone(&seat), metrics, stop.clone()));
    tokio::spawn(pulse(Arc::clone(&cluster)));
    let mut roles = cluster.role();
    let mut ends = Signals::new()?;
    let mut node: Option<Arc<Node>> = None;
    cluster.fit(None);
    let failure = loop {
        let role = roles.borrow_and_update().clone();
        match role {
            Role::Leader(term) if node.is_none() => {
                let opened = match store.take() {
                    Some(store) => store,
                    None => place.open().await?,
                };
                let begun = std::time::Instant::now();
                let promoted = tokio::select! {
                    promoted = Node::lead(settings.clone(), project.clone(), opened, Leadership::Given(term)) => promoted,
                    // In the branch itself: what is dropped for it could wait for the database.
                    never = end_when_fenced(roles.clone()) => never,
                    () = async { ends.any().await; cluster.leave(); std::future::pending().await } => continue,
                };
                match promoted {
                    Ok(leading) => {
                        let took_ms = begun.elapsed().as_millis();
                        tracing::info!(epoch = term.epoch.0, took_ms, "this node leads, and receives");
                        seat.take(Arc::clone(&leading));
                        node = Some(leading);
                    }
                    Err(error) => {
                        break Some(anyhow::Error::new(error).context("this node could not begin to lead"));
                    }
                }
                continue;
            }
            Role::SteppingDown(_) => {
                if let Some(leading) = node.take() {
                    cluster.fit(Some("it stopped leading a moment ago".to_owned()));
                    tokio::select! {
                        _ = leading.make_room() => {}
                        never = end_when_fenced(roles.clone()) => never,
                    }
                    seat.vacate();
                }
                cluster.stopped();
            }
            Role::Standby if store.is_none() => {
                let opened = place.open().await?; // with nothing of the last leadership in memory
                seat.observe(Some(Observer::new(Arc::clone(&opened), &project)));
                store = Some(opened);
                cluster.fit(None);
            }
            Role::Fenced(_) => {
                if let Some(leading) = node.take() {
                    leading.fence();
                }
                tracing::error!("this node lost the lease and ends; started again it is a standby");
                end_fenced().await;
            }
            Role::Left => break None,
            Role::Leader(_) | Role::Standby => {}
        }
        tokio::select! {
            changed = roles.changed() => changed.context("the lease's thread ended")?,
            () = ends.any() => {
                tracing::info!("stopping: another node takes over");
                cluster.leave();
            }
            reason = failed(node.as_ref()) => {
                // It must not write any more; the lease is left to run out, since nobody knows what is under way.
                if let Some(leading) = node.take() {
                    leading.fence();
                }
                tracing::error!(reason, "this node stops leading and ends; started again it is a standby");
                end_fenced().await;
            }
        }
    };
    let leaving = Arc::clone(&cluster);
    cluster.leave();
    cluster.stopped();
    tokio::task::spawn_blocking(move || leaving.join()).await?;
    stop.cancel();
    let _ = api.await;
    if let Some(store) = store {
        let _ = store.close().await; // it holds nothing
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
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
    let Place::Server(options) = &serving.place else {
        anyhow::bail!("a cluster needs a database server (store.backend)");
    };
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
    let options = options.clone();
    let joined = tokio::task::spawn_blocking(move || -> Result<_, cluster::StartError> {
        let lease = store::postgres::board(&options, parameters.attempt)?;
        let other = store::postgres::board(&options, parameters.ttl)?;
        let orders = store::postgres::board(&options, parameters.ttl)?;
        let options = cluster::Options {
            parameters,
            member,
            fencer: Some(fencer),
        };
        let cluster = Cluster::start(options, Box::new(lease), Box::new(other))?;
        Ok((cluster, Box::new(orders) as Box<dyn Orders>))
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
