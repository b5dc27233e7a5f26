//! `holdfast serve`: runs a node until it is told to stop, alone or as one of a cluster.

mod alone;
mod clustered;
mod outlook;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use engine::Settings;
use engine::settings::{self, Overrides};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::output::Output;
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
    let place = store::Place::of(&args, &settings)?;
    let serving = Serving {
        settings,
        project,
        place,
        listener,
        metrics,
        config: args.config,
    };
    if serving.settings.cluster.enabled {
        clustered::run(serving).await
    } else {
        alone::run(serving, out).await
    }
}

/// What the API says before anything else is known.
const STARTING: &str = "this node is starting: its store is not open yet";

/// Everything that a node needs, loaded and checked.
struct Serving {
    settings: Settings,
    project: engine::project::Project,
    place: store::Place,
    /// The API's.
    listener: TcpListener,
    metrics: api::telemetry::Metrics,
    config: PathBuf,
}

impl Serving {
    /// Paths in a configuration are relative to its repository.
    fn enter_repository(&self) -> anyhow::Result<()> {
        std::env::set_current_dir(&self.config).with_context(|| {
            format!(
                "the config repository {} cannot be entered",
                self.config.display()
            )
        })
    }

    /// Does `work`, from which a node comes that can be asked; until then the API says `why` there is none.
    async fn meanwhile<T>(
        &self,
        why: watch::Receiver<String>,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            never = api::wait(&self.listener, why) => match never? {},
        }
    }

    fn about(&self) -> api::About {
        api::About {
            node: self.settings.node.id.clone(),
            environment: self.project.environment.clone(),
            posture: self.project.posture,
            fingerprint: self.project.fingerprint.clone(),
            started_at: model::Clock::now(&model::SystemClock),
        }
    }
}
