//! Opening a store: schema, first segment, the two threads.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use model::Clock;

use super::keeper::Keeper;
use super::link::{Link, Purpose};
use super::store::{ServerStore, Shared};
use super::writer::Writer;
use crate::Error;
use crate::desk::{Desk, Gathering};

/// What an embedder chose that means the same on every server.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) node: String,
    /// The servers, for a person.
    pub(crate) place: String,
    pub(crate) segment_bytes_max: u64,
    pub(crate) segment_rows_max: u64,
    pub(crate) segment_age_max: Duration,
    pub(crate) readers_max: usize,
    pub(crate) commit_patience: Duration,
    pub(crate) compress: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Opens the store at `target`, making its schema when the database has none. Blocks; `of` runs on a thread of its own,
/// so that this may be called from anywhere.
pub(crate) fn open<L: Link>(
    of: impl FnOnce() -> Result<(L::Target, Settings), Error> + Send + 'static,
) -> Result<ServerStore<L>, Error> {
    spawn("store-opening", move || {
        of().and_then(|(target, settings)| make(target, settings))
    })?
    .join()
    .map_err(|_| Error::Refused("opening the store failed".to_owned()))?
}

fn make<L: Link>(target: L::Target, settings: Settings) -> Result<ServerStore<L>, Error> {
    let now = settings.clock.now();
    let link = L::open(&target, &settings.node, Purpose::Write)?;
    // Making tables may wait for another process that does the same.
    let mut maker = L::open(&target, &settings.node, Purpose::Keep)?;
    maker.migrate(&settings.place, &settings.node, now)?;
    maker.open_first(now)?;
    maker.close();
    let shared = Arc::new(Shared::new(settings, target)?);
    // A server with too few connections left shows now, not at the first read.
    shared.readers.with(|_| Ok(()))?;
    let (keeper, tasks) = mpsc::channel();
    let keeping = Keeper::new(Arc::clone(&shared));
    let keeper_thread = spawn("store-keeper", move || keeping.run(&tasks))?;
    let writer = Writer::new(Arc::clone(&shared), link, keeper, keeper_thread);
    let (commands, queue) = mpsc::channel();
    let gathering = Gathering::default();
    let riding = gathering.riding();
    let writer_thread = spawn("store-writer", move || writer.run(&queue, gathering))?;
    let closed = Arc::clone(&shared.closed);
    let compress = shared.settings.compress;
    Ok(ServerStore::new(
        shared,
        Desk::new(commands, writer_thread, closed, riding, compress),
    ))
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| Error::Database {
            doing: "starting a thread of the store",
            source: Box::new(source),
        })
}
