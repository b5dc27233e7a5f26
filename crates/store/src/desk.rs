//! The desk: where calls are queued for a backend's one writer thread, and what they ask of it.
//!
//! The queue is entered at the call, so call order is row order; a caller that stops waiting changes
//! nothing. What the writer does with a command is the backend's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use model::{NameId, Term};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::packing::Packed;
use crate::{Begin, CommitError, Desired, Error, NameKind, Receipt, Unit};

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
    pub(crate) begin: Begin,
    pub(crate) term: Term,
    pub(crate) units: Vec<Packed>,
    pub(crate) reply: oneshot::Sender<Answers>,
}

pub(crate) type Answers = Vec<Result<Receipt, CommitError>>;

/// A transaction takes no further call once it holds this much.
const BATCH_UNITS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// At least this lies between the beginnings of two transactions that nobody stands still for...
const GATHER: Duration = Duration::from_millis(1);
/// ... while they carry at least as many units as this: with fewer there is little to gain by waiting.
const GATHER_UNITS: usize = 8;

/// Calls that nobody waits for ride with the next one that somebody does, while such calls make a transaction at least this
/// often (mean of the last few)...
const RIDE_INTERVAL: Duration = Duration::from_millis(10);
/// ... and until so many such intervals have passed since the last one.
const RIDE_INTERVALS: u32 = 3;

/// The callers' side of the queue. Dropping it waits until the writer has ended.
pub(crate) struct Desk {
    commands: Option<Sender<Command>>,
    /// Woken when it waits for more and something cannot.
    thread: Thread,
    riding: Riding,
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
        riding: Riding,
        compress: bool,
    ) -> Desk {
        Desk {
            commands: Some(commands),
            thread: writer.thread().clone(),
            riding,
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
        self.thread.unpark();
        answer.await.map_err(|_| closed())?
    }

    /// Queues units at once; the future only waits for the answers.
    pub(crate) fn submit(&self, begin: Begin, term: Term, units: Vec<Unit>) -> BoxFuture<'static, Answers> {
        let count = units.len();
        // On the caller's thread: the writer's is the one that everybody waits for.
        let units = units
            .into_iter()
            .map(|unit| Packed::new(unit, self.compress))
            .collect();
        let (reply, answer) = oneshot::channel();
        // The queue is entered here, not when the future is first polled: call order is row order.
        let job = Command::Submit(Job {
            begin,
            term,
            units,
            reply,
        });
        let queued = self
            .commands
            .as_ref()
            .is_some_and(|commands| commands.send(job).is_ok());
        let wakes = match begin {
            Begin::AtOnce => true,
            Begin::Soon => self.riding.0.load(Ordering::SeqCst),
            Begin::Later => false,
        };
        if wakes {
            self.thread.unpark();
        }
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

/// Whether the writer waits with calls that nobody waits for: set by the writer, looked at by callers.
#[derive(Clone, Default)]
pub(crate) struct Riding(Arc<AtomicBool>);

/// How the writer gathers calls into transactions.
#[derive(Default)]
pub(crate) struct Gathering {
    /// When the last transaction began, and how many units it carried.
    begun: Option<Instant>,
    units: usize,
    awaited: Awaited,
    riding: Riding,
}

/// How often transactions begin that somebody waits for.
#[derive(Default)]
struct Awaited {
    last: Option<Instant>,
    /// Mean of the last few.
    interval: Option<Duration>,
}

impl Awaited {
    /// Weight of the newest interval is one in so many.
    const MEAN_OF: u32 = 8;
    /// A longer pause counts as this: afterwards a few transactions show what is usual now.
    const PAUSE_MAX: Duration = Duration::from_millis(100);

    fn note(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let latest = now.saturating_duration_since(last).min(Awaited::PAUSE_MAX);
            let before = self.interval.unwrap_or(Awaited::PAUSE_MAX);
            self.interval = Some((before * (Awaited::MEAN_OF - 1) + latest) / Awaited::MEAN_OF);
        }
    }

    /// Until when it is worth to wait for the next one; `None`: it is not.
    fn until(&self) -> Option<Instant> {
        let interval = self.interval.filter(|interval| *interval <= RIDE_INTERVAL)?;
        Some(self.last? + interval * RIDE_INTERVALS)
    }
}

/// The calls of one transaction, and what they add up to.
#[derive(Default)]
struct Gathered {
    jobs: Vec<Job>,
    units: usize,
    bytes: usize,
    /// Somebody stands still until it is durable.
    pressing: bool,
    /// Somebody waits for it.
    awaited: bool,
    /// Another command came, which these calls go before.
    end: Option<Command>,
}

impl Gathered {
    fn add(&mut self, job: Job) {
        self.units += job.units.len();
        self.bytes += job.units.iter().map(Packed::weight).sum::<usize>();
        self.pressing |= job.begin == Begin::AtOnce;
        self.awaited |= job.begin != Begin::Later;
        self.jobs.push(job);
    }

    /// Takes what is queued; false when nothing more may join.
    fn take(&mut self, commands: &Receiver<Command>) -> bool {
        while self.units < BATCH_UNITS_MAX && self.bytes < BATCH_BYTES_MAX {
            match commands.try_recv() {
                Ok(Command::Submit(job)) => self.add(job),
                Ok(other) => {
                    self.end = Some(other);
                    return false;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        false
    }
}

impl Gathering {
    /// What the desk has to know of it.
    pub(crate) fn riding(&self) -> Riding {
        self.riding.clone()
    }

    /// What goes into one transaction with `first`, within its bounds, and the command that ended it. Called on the
    /// writer's thread.
    pub(crate) fn gather(&mut self, first: Job, commands: &Receiver<Command>) -> (Vec<Job>, Option<Command>) {
        let mut gathered = Gathered::default();
        gathered.add(first);
        let full = self.begun.filter(|_| self.units >= GATHER_UNITS);
        let fuller = full.map(|begun| begun + GATHER);
        let ride = fuller.or_else(|| self.awaited.until());
        while gathered.take(commands) && !gathered.pressing {
            let not_before = if gathered.awaited { fuller } else { ride };
            let left = not_before.map(|at| at.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                break;
            };
            let rides = fuller.is_none() && !gathered.awaited;
            if rides && !self.riding.0.swap(true, Ordering::SeqCst) {
                continue; // what came before callers knew is taken first
            }
            // Calls that can wait leave it asleep; one that cannot wakes it.
            std::thread::park_timeout(left);
        }
        self.riding.0.store(false, Ordering::SeqCst);
        let now = Instant::now();
        if gathered.awaited {
            self.awaited.note(now);
        }
        (self.begun, self.units) = (Some(now), gathered.units);
        (gathered.jobs, gathered.end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn term() -> Term {
        Term {
            epoch: model::Epoch(1),
            id: uuid::Uuid::nil(),
        }
    }

    fn job(begin: Begin, units: usize) -> Command {
        Command::Submit(Job {
            begin,
            term: term(),
            units: (0..units)
                .map(|_| Packed::new(Unit { entries: Vec::new() }, false))
                .collect(),
            reply: oneshot::channel().0,
        })
    }

    /// Calls in the transaction of `first`, and whether another command ended it; the last one, of `before` units, is said
    /// to have begun so much later than now.
    fn gathered(before: usize, later: Duration, first: Command, queued: Vec<Command>) -> (usize, bool) {
        let (sender, commands) = mpsc::channel();
        queued
            .into_iter()
            .for_each(|command| sender.send(command).expect("the receiver lives"));
        let Command::Submit(first) = first else {
            panic!("a submission")
        };
        let mut gathering = Gathering {
            begun: Some(Instant::now() + later),
            units: before,
            ..Gathering::default()
        };
        let (jobs, end) = gathering.gather(first, &commands);
        (jobs.len(), end.is_some())
    }

    #[test]
    fn only_after_a_full_transaction_and_when_nobody_stands_still_is_more_waited_for() {
        let begun = Instant::now();
        let soon = || job(Begin::Soon, 1);
        assert_eq!(
            gathered(GATHER_UNITS, Duration::ZERO, soon(), vec![soon()]),
            (2, false)
        );
        assert!(begun.elapsed() >= GATHER, "it was waited");
        for (before, first, queued) in [
            (GATHER_UNITS - 1, soon(), vec![]),
            (GATHER_UNITS, job(Begin::AtOnce, 1), vec![]),
            (GATHER_UNITS, soon(), vec![job(Begin::AtOnce, 1)]),
            (GATHER_UNITS, job(Begin::Soon, BATCH_UNITS_MAX), vec![]),
        ] {
            // Would wait for an hour.
            gathered(before, Duration::from_secs(3600), first, queued);
        }
    }

    #[test]
    fn another_command_ends_a_transaction() {
        let close = Command::Close(oneshot::channel().0);
        let queued = vec![close, job(Begin::Soon, 1)];
        let hour = Duration::from_secs(3600);
        assert_eq!(
            gathered(GATHER_UNITS, hour, job(Begin::Soon, 1), queued),
            (1, true)
        );
    }

    #[test]
    fn what_cannot_wait_wakes_the_writer() {
        let (sender, commands) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut gathering = Gathering {
                begun: Some(Instant::now() + Duration::from_secs(3600)),
                units: GATHER_UNITS,
                ..Gathering::default()
            };
            let Ok(Command::Submit(first)) = commands.recv() else {
                panic!("a submission")
            };
            say.send(0).expect("the test listens");
            let count = gathering.gather(first, &commands).0.len();
            say.send(count).expect("the test listens");
        });
        let desk = Desk::new(sender, writer, Arc::default(), Riding::default(), false);
        drop(desk.submit(Begin::Soon, term(), Vec::new()));
        assert_eq!(said.recv(), Ok(0));
        drop(desk.submit(Begin::AtOnce, term(), Vec::new()));
        assert_eq!(said.recv(), Ok(2));
    }

    /// A writer to which transactions that somebody waits for come so often, the last one so much later than now, and the desk
    /// before it; it says how many calls each of its transactions carries.
    fn used_to(interval: Duration, later: Duration) -> (Desk, Receiver<usize>) {
        let (sender, commands) = mpsc::channel();
        let (say, said) = mpsc::channel();
        let mut gathering = Gathering::default();
        let riding = gathering.riding();
        gathering.awaited = Awaited {
            last: Some(Instant::now() + later),
            interval: Some(interval),
        };
        let writer = std::thread::spawn(move || {
            while let Ok(Command::Submit(first)) = commands.recv() {
                let count = gathering.gather(first, &commands).0.len();
                say.send(count).expect("the test listens");
            }
        });
        (Desk::new(sender, writer, Arc::default(), riding, false), said)
    }

    #[test]
    fn what_nobody_waits_for_rides_with_what_somebody_does() {
        let (desk, said) = used_to(RIDE_INTERVAL, Duration::from_secs(3600));
        drop(desk.submit(Begin::Later, term(), Vec::new()));
        while !desk.riding.0.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        drop(desk.submit(Begin::Later, term(), Vec::new()));
        drop(desk.submit(Begin::Soon, term(), Vec::new()));
        assert_eq!(said.recv(), Ok(3), "after an hour otherwise");
    }

    #[test]
    fn what_nobody_waits_for_goes_alone_in_the_end() {
        let (desk, said) = used_to(RIDE_INTERVAL, Duration::ZERO);
        let begun = Instant::now();
        drop(desk.submit(Begin::Later, term(), Vec::new()));
        assert_eq!(said.recv(), Ok(1));
        assert!(begun.elapsed() >= RIDE_INTERVAL, "it waited for company");
        let (desk, said) = used_to(RIDE_INTERVAL * 2, Duration::from_secs(3600));
        drop(desk.submit(Begin::Later, term(), Vec::new()));
        assert_eq!(said.recv(), Ok(1), "others come too seldom");
    }

    #[test]
    fn a_pause_is_noticed() {
        let mut awaited = Awaited::default();
        let mut now = Instant::now();
        assert_eq!(awaited.until(), None, "nobody knows yet");
        let mut come = |awaited: &mut Awaited, interval, times| {
            for _ in 0..times {
                now += interval;
                awaited.note(now);
            }
            now
        };
        let last = come(&mut awaited, Duration::from_millis(3), 50);
        let patience = awaited.until().expect("they come often") - last;
        assert!(
            patience > Duration::from_millis(8) && patience < Duration::from_millis(11),
            "three intervals of 3 ms: {patience:?}"
        );
        come(&mut awaited, Duration::from_secs(60), 3);
        assert_eq!(awaited.until(), None);
    }
}
