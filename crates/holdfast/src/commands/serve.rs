//! `holdfast serve`: runs a node until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::settings::{self, Overrides};
use engine::{Node, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::{Advice, Output};
use crate::problems;

/// Run this node: take the lease, recover, receive, route, transform, deliver.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The config repository (the folder that holds `config/`, `environments/`, `holdfast.toml`).
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) config: PathBuf,
    /// Which environment this is: reads `environments/<NAME>.toml`. There is no default on purpose.
    #[arg(long, value_name = "NAME", env = "HOLDFAST_ENV")]
    pub(crate) env: String,
    /// Folder of the embedded store (setting `store.directory`, which is relative to the config repository).
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of the HTTP API (setting `api.bind`).
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) api: Option<String>,
    /// What to log: `error`, `warn`, `info`, `debug`, or a filter (setting `log.level`).
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

impl Args {
    fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::new();
        if let Some(data) = &self.data {
            overrides.insert("store.directory".to_owned(), data.display().to_string().into());
        }
        if let Some(api) = &self.api {
            overrides.insert("api.bind".to_owned(), api.clone().into());
        }
        if let Some(log) = &self.log {
            overrides.insert("log.level".to_owned(), log.clone().into());
        }
        overrides
    }
}

/// Between two attempts to reach a database that is away.
const START_RETRY: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let (settings, _) = match settings::load(&args.config, &args.overrides()) {
        Ok(loaded) => loaded,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    crate::telemetry::install(&settings.log.level, &settings.log.format)?;
    let project = match engine::project::load(&args.config, &args.env) {
        Ok(project) => project,
        Err(found) => return Ok(problems::refuse(out, &found)),
    };
    for warning in &project.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        environment = %project.environment,
        posture = %project.posture,
        fingerprint = %project.fingerprint,
        "configuration loaded"
    );
    // Before the store is touched: a node that cannot be asked how it is must not lead.
    let listener = TcpListener::bind(&settings.api.bind).await.with_context(|| {
        format!(
            "the API cannot listen on {}: another program (or another node) uses it? Choose another with --api",
            settings.api.bind
        )
    })?;
    let metrics = api::telemetry::install();
    let store = open_store(&args, &settings).await?;
    // Paths in a configuration are relative to its repository.
    std::env::set_current_dir(&args.config).with_context(|| {
        format!(
            "the config repository {} cannot be entered",
            args.config.display()
        )
    })?;
    let drain = settings.drain();
    let node = match Node::start(settings, project, store).await {
        Ok(node) => node,
        Err(engine::StartError::Config(found)) => return Ok(problems::refuse(out, &found)),
        Err(error) => return Err(error.into()),
    };
    tracing::info!(address = %listener.local_addr()?, "the API answers");
    let stop = CancellationToken::new();
    let api = tokio::spawn(api::serve(listener, Arc::clone(&node), metrics, stop.clone()));
    let failure = wait_for_end(&node).await?;
    tracing::info!(
        bound_seconds = drain.as_secs(),
        "stopping: listeners close, messages in flight end"
    );
    let report = tokio::select! {
        report = node.stop() => report,
        () = second_signal() => anyhow::bail!("stopped at once by a second signal; what was acknowledged is in the store"),
    };
    stop.cancel();
    let _ = api.await;
    if report.left_open > 0 {
        tracing::warn!(
            left_open = report.left_open,
            "messages are left in flight; the next start goes on with them"
        );
    }
    match failure {
        Some(reason) => anyhow::bail!("{reason}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn open_store(args: &Args, settings: &Settings) -> anyhow::Result<Arc<dyn store::Store>> {
    let chosen = &settings.store;
    if chosen.backend == "postgres" {
        let mut options = store::postgres::Options::new(&chosen.url);
        options.password = settings::store_password(&args.config, chosen).map_err(|error| {
            let problem = format!(
                "the database's password cannot be read from {}",
                chosen.password_file.display()
            );
            let hint = "the setting store.password_file names a text file that this user may read";
            anyhow::Error::new(error).context(Advice::usage(problem, hint))
        })?;
        options.node.clone_from(&settings.node.id);
        options.segment_bytes_max = chosen.segment_mb << 20;
        options.compress = chosen.compresses();
        options.plaintext = chosen.plaintext;
        options.commit_patience = Duration::from_secs(chosen.commit_seconds);
        if chosen.durability == "strict" {
            options.durability = store::postgres::Durability::Strict;
        }
        return open_postgres(options).await;
    }
    // Relative to the config repository, unless the command line says otherwise.
    let directory = match &args.data {
        Some(data) => data.clone(),
        None => args.config.join(&chosen.directory),
    };
    let directory = std::path::absolute(&directory)?; // the node changes its folder later
    std::fs::create_dir_all(&directory).map_err(|error| {
        let problem = format!("the store's folder {} cannot be made", directory.display());
        let hint = "choose a folder that this user may write to, with --data or the setting store.directory";
        anyhow::Error::new(error).context(Advice::usage(problem, hint))
    })?;
    let mut options = store::sqlite::Options::new(directory);
    options.segment_bytes_max = chosen.segment_mb << 20;
    options.compress = chosen.compresses();
    let store = tokio::task::spawn_blocking(move || store::sqlite::open(options)).await??;
    Ok(Arc::new(store))
}

/// Opens the store in a database, waiting for as long as that is away: after a power cut the node is often up
/// before its database. A signal ends the wait.
async fn open_postgres(options: store::postgres::Options) -> anyhow::Result<Arc<dyn store::Store>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = false;
    loop {
        let options = options.clone();
        let away = match tokio::task::spawn_blocking(move || store::postgres::open(options)).await? {
            Ok(store) => {
                if told {
                    tracing::info!("the database is there: the node starts");
                }
                return Ok(Arc::new(store));
            }
            Err(store::Error::Away(reason)) => reason,
            Err(error) => return Err(error.into()),
        };
        if !std::mem::replace(&mut told, true) {
            tracing::error!(
                reason = away,
                "the node cannot start yet: it waits for its database"
            );
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(START_RETRY) => continue,
        }
        anyhow::bail!("stopped while it waited for its database: {away}");
    }
}

/// Waits for a signal (`None`) or for the node's own failure (its reason).
async fn wait_for_end(node: &Node) -> anyhow::Result<Option<String>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = node.failed() => Some(reason),
    })
}

async fn second_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
