//! Connections for reading: a few, each lent to one call at a time. A call that finds all of them lent
//! waits. One that lay idle for some seconds is asked first whether it still answers; one that was lost
//! meanwhile costs its reader a second try; one that nobody asked for in ten minutes is closed.
//!
//! bb8 keeps them. To a call that waits for a connection which cannot be made it says nothing but "timed out",
//! half a minute later; so the reason goes to the call by its own way, as soon as it is known.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::link::{Link, Purpose};
use crate::Error;

/// How long a call waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// One that nobody needs is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);

pub(crate) struct Readers<L: Link> {
    pool: bb8::Pool<Manager<L>>,
    waiting: Waiting,
    generation: Arc<AtomicU64>,
    /// Where the pool's own work is done; taken when this is dropped.
    runtime: Option<Runtime>,
}

impl<L: Link> Readers<L> {
    /// None is made yet.
    pub(crate) fn new(target: L::Target, node: String, max: usize) -> Result<Readers<L>, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-readers")
            .enable_time()
            .build()
            .map_err(|source| Error::Database {
                doing: "starting the threads of the connections for reading",
                source: Box::new(source),
            })?;
        let generation = Arc::new(AtomicU64::new(0));
        let manager = Manager {
            target,
            node,
            generation: Arc::clone(&generation),
        };
        let waiting = Waiting::default();
        let entered = runtime.enter();
        let pool = bb8::Pool::builder()
            .max_size(u32::try_from(max.max(1)).unwrap_or(u32::MAX))
            .connection_timeout(PATIENCE)
            .idle_timeout(IDLE)
            .max_lifetime(None)
            .retry_connection(false)
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .error_sink(Box::new(waiting.clone()))
            .build_unchecked(manager);
        drop(entered);
        Ok(Readers {
            pool,
            waiting,
            generation,
            runtime: Some(runtime),
        })
    }

    /// Lends a connection to `read`. Blocks.
    pub(crate) fn with<T>(&self, read: impl Fn(&mut L) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..2 {
            match self.lend(&read)? {
                Err(error) if L::is_worth_another_try(&error) => {}
                answer => return answer,
            }
        }
        // The connections that lay idle were lost with the first: a fresh one tells.
        self.clear();
        self.lend(&read)?
    }

    /// What `read` says; an error of its own where there is no connection.
    fn lend<T>(&self, read: impl Fn(&mut L) -> Result<T, Error>) -> Result<Result<T, Error>, Error> {
        let runtime = self.runtime.as_ref().ok_or_else(closed)?;
        let mut lent = runtime.block_on(self.take())?;
        let answer = read(lent.link.as_mut().ok_or_else(closed)?);
        // Where this one is lost, another may be made for a call that waits.
        let _entered = runtime.enter();
        drop(lent);
        Ok(answer)
    }

    async fn take(&self) -> Result<bb8::PooledConnection<'_, Manager<L>>, Error> {
        let refused = self.waiting.wait();
        tokio::select! {
            lent = self.pool.get() => lent.map_err(|_| self.timed_out()),
            Ok(error) = refused => Err(error),
        }
    }

    fn timed_out(&self) -> Error {
        let state = self.pool.state();
        if state.connections >= self.pool.config().max_size {
            Error::Busy(
                "all connections for reading are in use: ask again, or ask for less at a time".to_owned(),
            )
        } else {
            Error::Away(format!(
                "no connection for reading came about in {} s: ask again once the database answers",
                PATIENCE.as_secs()
            ))
        }
    }

    /// Idle connections are used no more.
    pub(crate) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

fn closed() -> Error {
    Error::Refused("the store is closed".to_owned())
}

impl<L: Link> Drop for Readers<L> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, so a store may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}

/// Makes connections for the pool and says what is left of them.
struct Manager<L: Link> {
    target: L::Target,
    node: String,
    /// Connections of an older one are used no more.
    generation: Arc<AtomicU64>,
}

impl<L: Link> Manager<L> {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// A connection that is the pool's. Says good-bye to the server wherever it is dropped.
struct Held<L: Link> {
    /// Taken while the server is asked something, and when it is dropped.
    link: Option<L>,
    generation: u64,
    closing: Handle,
}

impl<L: Link> Drop for Held<L> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            drop(self.closing.spawn_blocking(move || link.close()));
        }
    }
}

/// Why the pool has no connection to give.
#[derive(Debug)]
enum Fault {
    /// One that lay idle does not answer, or is of an older generation; another is taken or made.
    Gone,
    /// One could not be made.
    NotMade(Error),
}

impl<L: Link> bb8::ManageConnection for Manager<L> {
    type Connection = Held<L>;
    type Error = Fault;

    async fn connect(&self) -> Result<Held<L>, Fault> {
        let (target, node, generation) = (self.target.clone(), self.node.clone(), self.generation());
        let made = spawn_blocking(move || L::open(&target, &node, Purpose::Read)).await;
        let link = made
            .unwrap_or_else(|ended| {
                Err(Error::Database {
                    doing: "connecting for reading",
                    source: Box::new(ended),
                })
            })
            .map_err(Fault::NotMade)?;
        Ok(Held {
            link: Some(link),
            generation,
            closing: Handle::current(),
        })
    }

    async fn is_valid(&self, held: &mut Held<L>) -> Result<(), Fault> {
        if held.generation != self.generation() {
            return Err(Fault::Gone);
        }
        let mut link = held.link.take().ok_or(Fault::Gone)?;
        let asked = spawn_blocking(move || link.still_answers().then_some(link)).await;
        held.link = asked.unwrap_or(None);
        if held.link.is_none() {
            // Those that lay beside it are no better.
            self.generation.fetch_add(1, Ordering::AcqRel);
            return Err(Fault::Gone);
        }
        Ok(())
    }

    fn has_broken(&self, held: &mut Held<L>) -> bool {
        !held.link.as_ref().is_some_and(L::is_whole)
    }
}

/// The calls that wait for a connection, the longest first. Each that cannot be made is told to one of them.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<VecDeque<oneshot::Sender<Error>>>>);

impl Waiting {
    fn wait(&self) -> oneshot::Receiver<Error> {
        let (teller, told) = oneshot::channel();
        let mut calls = self.0.lock();
        calls.retain(|call| !call.is_closed());
        calls.push_back(teller);
        told
    }
}

impl bb8::ErrorSink<Fault> for Waiting {
    fn sink(&self, fault: Fault) {
        let Fault::NotMade(mut error) = fault else { return };
        let mut calls = self.0.lock();
        while let Some(call) = calls.pop_front() {
            match call.send(error) {
                Ok(()) => return,
                Err(unheard) => error = unheard,
            }
        }
        tracing::debug!(%error, "a connection for reading that nobody waits for any more was not made");
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<Fault>> {
        Box::new(self.clone())
    }
}
