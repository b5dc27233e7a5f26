//! Where the store is, and opening it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::Settings;
use engine::settings::{self, StoreSettings};
use store::board::Board;
use store::orders::Orders;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Args;
use crate::output::Advice;

/// Between two attempts to reach a database that is away.
const START_RETRY: Duration = Duration::from_secs(1);

/// Where the store is.
#[derive(Clone)]
pub(super) enum Place {
    /// In a folder of this node's own.
    Embedded(store::sqlite::Options),
    /// In a PostgreSQL server.
    Postgres(store::postgres::Options),
    /// In a SQL Server.
    SqlServer(store::sqlserver::Options),
}

/// What the nodes of a cluster use beside the store: the lease, twice, and the commands.
pub(super) struct Shared {
    pub(super) lease: Box<dyn Board>,
    pub(super) other: Box<dyn Board>,
    pub(super) orders: Box<dyn Orders>,
}

/// The password of the database server.
fn password(args: &Args, chosen: &StoreSettings) -> anyhow::Result<Option<String>> {
    settings::store_password(&args.config, chosen).map_err(|error| {
        let problem = format!(
            "the database's password cannot be read from {}",
            chosen.password_file.display()
        );
        let hint = "the setting store.password_file names a text file that this user may read";
        anyhow::Error::new(error).context(Advice::usage(problem, hint))
    })
}

/// The settings that mean the same on every server.
macro_rules! choose {
    ($options:ident, $args:expr, $settings:expr, $strict:expr) => {{
        let chosen = &$settings.store;
        $options.password = password($args, chosen)?;
        $options.node.clone_from(&$settings.node.id);
        $options.segment_bytes_max = chosen.segment_mb << 20;
        $options.compress = chosen.compresses();
        $options.plaintext = chosen.plaintext;
        $options.commit_patience = Duration::from_secs(chosen.commit_seconds);
        if chosen.durability == "strict" {
            $options.durability = $strict;
        }
    }};
}

impl Place {
    pub(super) fn of(args: &Args, settings: &Settings) -> anyhow::Result<Place> {
        let chosen = &settings.store;
        if chosen.backend == "postgres" {
            let mut options = store::postgres::Options::new(&chosen.url);
            choose!(options, args, settings, store::postgres::Durability::Strict);
            return Ok(Place::Postgres(options));
        }
        if chosen.backend == "sqlserver" {
            let mut options = store::sqlserver::Options::new(&chosen.url);
            choose!(options, args, settings, store::sqlserver::Durability::Strict);
            options.token_command.clone_from(&chosen.log_in_command);
            return Ok(Place::SqlServer(options));
        }
        // Relative to the config repository, unless the command line says otherwise.
        let directory = match &args.data {
            Some(data) => data.clone(),
            None => args.config.join(&chosen.directory),
        };
        let directory: PathBuf = std::path::absolute(&directory)?; // the node changes its folder later
        std::fs::create_dir_all(&directory).map_err(|error| {
            let problem = format!("the store's folder {} cannot be made", directory.display());
            let hint =
                "choose a folder that this user may write to, with --data or the setting store.directory";
            anyhow::Error::new(error).context(Advice::usage(problem, hint))
        })?;
        let mut options = store::sqlite::Options::new(directory);
        options.segment_bytes_max = chosen.segment_mb << 20;
        options.compress = chosen.compresses();
        Ok(Place::Embedded(options))
    }

    /// The lease and the commands, each on a connection of its own; `None` where nobody shares the store. No call takes longer
    /// than `attempt` (the lease) or `ttl` (the rest).
    pub(super) fn shared(&self, attempt: Duration, ttl: Duration) -> Result<Option<Shared>, store::Error> {
        Ok(Some(match self {
            Place::Embedded(_) => return Ok(None),
            Place::Postgres(options) => Shared {
                lease: Box::new(store::postgres::board(options, attempt)?),
                other: Box::new(store::postgres::board(options, ttl)?),
                orders: Box::new(store::postgres::board(options, ttl)?),
            },
            Place::SqlServer(options) => Shared {
                lease: Box::new(store::sqlserver::board(options, attempt)?),
                other: Box::new(store::sqlserver::board(options, ttl)?),
                orders: Box::new(store::sqlserver::board(options, ttl)?),
            },
        }))
    }

    /// Tries to open it, once.
    pub(super) async fn attempt(&self) -> Result<Arc<dyn store::Store>, store::Error> {
        let place = self.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<Arc<dyn store::Store>, store::Error> {
            Ok(match place {
                Place::Postgres(options) => Arc::new(store::postgres::open(options)?),
                Place::SqlServer(options) => Arc::new(store::sqlserver::open(options)?),
                Place::Embedded(options) => Arc::new(store::sqlite::open(options)?),
            })
        });
        opened.await.unwrap_or_else(|error| {
            Err(store::Error::Database {
                doing: "opening the store",
                source: Box::new(error),
            })
        })
    }

    /// Opens it; waits for a database that is away, and tells why.
    pub(super) async fn open(&self, why: &watch::Sender<String>) -> anyhow::Result<Arc<dyn store::Store>> {
        open(self, why).await
    }
}

/// Waits for as long as a database is away: after a power cut the node is often up before it. A signal ends the wait.
async fn open(place: &Place, why: &watch::Sender<String>) -> anyhow::Result<Arc<dyn store::Store>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = false;
    loop {
        let away = match place.attempt().await {
            Ok(store) => {
                if told {
                    tracing::info!("the database is there: the node starts");
                }
                return Ok(store);
            }
            Err(store::Error::Away(reason)) => reason,
            Err(error) => return Err(error.into()),
        };
        why.send_replace(format!("this node waits for its database: {away}"));
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
