//! Where the store is, and opening it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::{Settings, settings};
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
    /// In a database server.
    Server(store::postgres::Options),
}

impl Place {
    pub(super) fn of(args: &Args, settings: &Settings) -> anyhow::Result<Place> {
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
            return Ok(Place::Server(options));
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

    /// Tries to open it, once.
    pub(super) async fn attempt(&self) -> Result<Arc<dyn store::Store>, store::Error> {
        let place = self.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<Arc<dyn store::Store>, store::Error> {
            Ok(match place {
                Place::Server(options) => Arc::new(store::postgres::open(options)?),
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
