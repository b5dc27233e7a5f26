//! The thread that drives the machine: one OS thread, one connection, nothing of the engine on it. A starved pool, a
//! slow function or a blocked runtime cannot keep it from renewing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use model::Term;
use store::Error;
use store::board::{Board, Renewal};

use crate::clock::Tick;
use crate::fencer::Fencer;
use crate::machine::{Do, HANDOFF, Machine, Role};
use crate::shared::Shared;

/// What the rest of the node tells this thread.
pub(crate) enum Order {
    /// Whether it could lead.
    Fit(Option<String>),
    /// Nothing of this leadership runs any more.
    Stopped(Term),
    /// The lease is to be given up, and the node stays.
    Resign,
    /// The process is to end.
    Leave,
}

/// Between two attempts to give the lease up.
const RELEASE_AGAIN: Duration = Duration::from_millis(50);

pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machine: Machine,
    pub(crate) board: Box<dyn Board>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) fencer: Option<Fencer>,
    /// Why the lease row cannot be reached, while that is so.
    pub(crate) trouble: Option<String>,
}

impl Driver {
    pub(crate) fn run(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.take(order);
            }
            if self.shared.is_fenced() {
                self.machine.fenced();
            }
            let now = Tick::now();
            let next = self.machine.next(now);
            self.publish();
            match next {
                Do::End => {
                    if let Role::Fenced(_) = self.machine.role() {
                        // This process has to end; the fencer stays, should it not.
                        std::mem::forget(self.fencer.take());
                    }
                    return;
                }
                Do::Wait(until) => match self.orders.recv_timeout(until.since(now)) {
                    Ok(order) => self.take(order),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => thread::sleep(until.since(now)),
                },
                other => self.carry_out(other),
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Fit(unfit) => self.machine.fit(unfit),
            Order::Stopped(term) => self.machine.stopped(term),
            Order::Resign => self.machine.resign(),
            Order::Leave => self.machine.leave(),
        }
    }

    fn carry_out(&mut self, what: Do) {
        let parameters = self.shared.parameters;
        let begun = Instant::now();
        // Before anything is sent: what the row says later cannot be older than this.
        let sent = Tick::now();
        match what {
            Do::Look => {
                let lease = self.board.look(parameters.ttl);
                let lease = self.note(lease, begun);
                self.machine.looked(sent, Tick::now(), lease);
            }
            Do::Acquire(mark) => {
                if self.shared.silence() >= parameters.fence {
                    // It could not keep what it took.
                    return self.machine.acquired(sent, Tick::now(), Some(None));
                }
                let (node, fingerprint) = self.machine.name();
                let term = self.board.acquire(&mark, &node, &fingerprint, parameters.ttl);
                let term = self.note(term, begun);
                if let Some(Some(term)) = term {
                    metrics::counter!("holdfast_cluster_acquired_total").increment(1);
                    tracing::info!(
                        epoch = term.epoch.0,
                        took_ms = begun.elapsed().as_millis(),
                        "the lease is ours"
                    );
                }
                self.machine.acquired(sent, Tick::now(), term);
            }
            Do::Renew(term) => {
                let silence = self.shared.silence();
                let renewal = if silence >= parameters.fence {
                    // A heart that beats in a dead body keeps everybody else from helping.
                    let text = format!("nothing moves in this node since {} ms", silence.as_millis());
                    self.note::<Renewal>(Err(Error::Busy(text)), begun)
                } else {
                    let renewal = self.board.renew(term, parameters.ttl);
                    metrics::histogram!("holdfast_cluster_renew_seconds").record(begun.elapsed());
                    self.note(renewal, begun)
                };
                self.machine.renewed(sent, Tick::now(), renewal);
            }
            Do::Release(term, to) => {
                let reason = if to.is_some() {
                    "handed over"
                } else {
                    "stopped in order"
                };
                let released = self.board.release(term, to.as_deref(), HANDOFF, reason);
                let done = self.note(released, begun).is_some();
                self.machine.released(Tick::now(), done);
                if !done {
                    thread::sleep(RELEASE_AGAIN);
                }
            }
            Do::Wait(_) | Do::End => {}
        }
    }

    /// Says trouble once when it begins and once when it ends.
    fn note<T>(&mut self, result: Result<T, Error>, begun: Instant) -> Option<T> {
        let mut seen = self.shared.seen.lock();
        match result {
            Ok(value) => {
                seen.at = Tick::now();
                seen.latency = begun.elapsed();
                seen.trouble = None;
                if self.trouble.take().is_some() {
                    tracing::info!("the lease row can be reached again");
                }
                Some(value)
            }
            Err(error) => {
                let text = words(&error);
                seen.trouble = Some(text.clone());
                if self.trouble.is_none() {
                    tracing::error!(reason = text, "the lease row cannot be reached");
                }
                self.trouble = Some(text);
                None
            }
        }
    }

    fn publish(&mut self) {
        let (role, deadline) = (self.machine.role(), self.machine.deadline());
        {
            let mut seen = self.shared.seen.lock();
            seen.lease = self.machine.lease().cloned();
            let held = deadline.is_some()
                || seen
                    .lease
                    .as_ref()
                    .is_some_and(|lease| !lease.released && !lease.expired);
            seen.leaderless = if held {
                None
            } else {
                seen.leaderless.or_else(|| Some(Tick::now()))
            };
            seen.against = self.machine.reason_against();
        }
        if let Some(fencer) = &mut self.fencer {
            let over = matches!(role, Role::Fenced(_));
            if !over {
                let parameters = self.shared.parameters;
                fencer.tell(deadline.map(|deadline| deadline + parameters.stop + parameters.watchdog));
            }
        }
        self.shared.publish(role, deadline);
    }
}

/// An error with its causes.
pub(crate) fn words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
