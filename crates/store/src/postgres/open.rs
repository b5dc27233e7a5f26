//! Opening a store: schema, first segment, the two threads.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use super::keeper::Keeper;
use super::link::{Link, Purpose};
use super::migrate;
use super::options::Options;
use super::segment;
use super::store::{PostgresStore, Shared};
use super::writer::Writer;
use crate::Error;
use crate::desk::{Desk, Gathering};

/// Opens the store in the database at `options.url`, making its schema when the database has none.
///
/// Blocks: call it before serving, or on a blocking thread. Many may have it open; the one that acquired
/// leadership last writes. [`Error::Refused`], with what to do, when the database cannot be reached, may lose
/// what it committed, or holds a schema that this program does not know.
pub fn open(options: Options) -> Result<PostgresStore, Error> {
    // On a thread of its own, so that it may be called from anywhere.
    spawn("store-opening", move || make(options))?
        .join()
        .map_err(|_| Error::Refused("opening the store failed".to_owned()))?
}

fn make(options: Options) -> Result<PostgresStore, Error> {
    let target = options.target()?;
    if target.unverified {
        tracing::warn!(
            place = target.name(),
            "the database's certificate and host name are not checked: whoever sits between could read and change \
             messages; use sslmode=verify-full"
        );
    }
    let now = options.clock.now();
    let link = Link::open(&target, &options.node, Purpose::Write)?;
    // Making tables may wait for another process that does the same.
    let mut maker = Link::open(&target, &options.node, Purpose::Keep)?;
    migrate::run(&mut maker, &target.name(), &options.node, now)?;
    segment::open_first(&mut maker, now)?;
    maker.close();
    let shared = Arc::new(Shared::new(options, target));
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
    let compress = shared.options.compress;
    Ok(PostgresStore::new(
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
