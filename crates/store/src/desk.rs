//! The desk: where calls are queued for a backend's one writer thread, and what they ask of it.
//!
//! The queue is entered at the call, so call order is row order; a caller that stops waiting changes
//! nothing. What the writer does with a command is the backend's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use model::{NameId, Term};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::packing::Packed;
use crate::{CommitError, Desired, Error, NameKind, Receipt, Unit};

/// What the calls ask of the writer.
pub(crate) enum Command {
    Submit(Job),
    Acquire(String, Reply<Term>),
    Lead(Term, Reply<()>),
    Release(Term, Reply<()>),
    Names(Vec<(NameKind, String)>, Reply<Vec<NameId>>),
    SetDesired(Term, NameId, Desired, String, Reply<()>),
    Close(Reply<()>),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// The units of one call.
pub(crate) struct Job {
    pub(crate) term: Term,
    pub(crate) units: Vec<Packed>,
    pub(crate) reply: oneshot::Sender<Answers>,
}

pub(crate) type Answers = Vec<Result<Receipt, CommitError>>;

/// A transaction takes no further call once it holds this much.
const BATCH_UNITS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The callers' side of the queue. Dropping it waits until the writer has ended.
pub(crate) struct Desk {
    commands: Option<Sender<Command>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Set once the writer has ended in order: nothing that it did not answer was written.
    closed: Arc<AtomicBool>,
    /// Whether bodies are compressed.
    compress: bool,
}

impl Desk {
    pub(crate) fn new(
        commands: Sender<Command>,
        writer: JoinHandle<()>,
        closed: Arc<AtomicBool>,
        compress: bool,
    ) -> Desk {
        Desk {
            commands: Some(commands),
            writer: Mutex::new(Some(writer)),
            closed,
            compress,
        }
    }

    /// Queues a command and waits for its answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let closed = || Error::Refused("the store is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        let sender = self.commands.as_ref().ok_or_else(closed)?;
        sender.send(command(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Queues units at once; the future only waits for the answers.
    pub(crate) fn submit(&self, term: Term, units: Vec<Unit>) -> BoxFuture<'static, Answers> {
        let count = units.len();
        // On the caller's thread: the writer's is the one that everybody waits for.
        let units = units
            .into_iter()
            .map(|unit| Packed::new(unit, self.compress))
            .collect();
        let (reply, answer) = oneshot::channel();
        // The queue is entered here, not when the future is first polled: call order is row order.
        let job = Command::Submit(Job { term, units, reply });
        let queued = self
            .commands
            .as_ref()
            .is_some_and(|commands| commands.send(job).is_ok());
        let closed = Arc::clone(&self.closed);
        Box::pin(async move {
            match answer.await {
                Ok(answers) => answers,
                // Only a crash of the writer leaves doubt.
                Err(_) if queued && !closed.load(Ordering::Acquire) => {
                    vec![Err(CommitError::Unknown("the store's writer ended".to_owned())); count]
                }
                Err(_) => vec![Err(CommitError::Unavailable("the store is closed".to_owned())); count],
            }
        })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(writer) = self.writer.lock().take() {
            // What is queued is committed, and the store is free for another handle afterwards.
            let _ = writer.join();
        }
    }
}

/// What is queued behind `first`, up to the bounds of one transaction, and the command that ended it.
pub(crate) fn gather(first: Job, commands: &Receiver<Command>) -> (Vec<Job>, Option<Command>) {
    let size = |job: &Job| {
        (
            job.units.len(),
            job.units.iter().map(Packed::weight).sum::<usize>(),
        )
    };
    let (mut units, mut bytes) = size(&first);
    let mut jobs = vec![first];
    while units < BATCH_UNITS_MAX && bytes < BATCH_BYTES_MAX {
        match commands.try_recv() {
            Ok(Command::Submit(job)) => {
                let (more_units, more_bytes) = size(&job);
                units += more_units;
                bytes += more_bytes;
                jobs.push(job);
            }
            Ok(other) => return (jobs, Some(other)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    (jobs, None)
}
