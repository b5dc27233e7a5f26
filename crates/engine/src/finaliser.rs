//! The one place that decides a message's disposition: when nothing of it is in flight any more.
//!
//! Stages report each durable handoff here. A message leaves this table in the moment its disposition
//! is decided; the word is then written by a task of its own, in the next grouped commit. If the process
//! dies in between, recovery finds the message without a disposition and decides again from the rows.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Disposition, MessageId};
use tokio::sync::mpsc;

use crate::inflight::InFlight;

const SHARDS: usize = 16;

/// What is in flight of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// Steps before the sends: the router, or handlers not yet run.
    pub(crate) steps: u32,
    /// Sends without an outcome.
    pub(crate) sends: u32,
    /// Something of it reached a destination (or another inbound).
    pub(crate) reached: bool,
    /// Its router named no handler.
    pub(crate) unrouted: bool,
    /// Something of it failed for good, or a person gave it up.
    pub(crate) failed: bool,
}

impl Track {
    /// A message that waits for its router.
    pub(crate) const RECEIVED: Track = Track {
        steps: 1,
        sends: 0,
        reached: false,
        unrouted: false,
        failed: false,
    };

    fn verdict(&self) -> Option<Disposition> {
        if self.steps > 0 || self.sends > 0 {
            return None;
        }
        Some(match self {
            Track { failed: true, .. } => Disposition::Error,
            Track { unrouted: true, .. } => Disposition::Unrouted,
            Track { reached: true, .. } => Disposition::Processed,
            _ => Disposition::Filtered,
        })
    }
}

/// Something durable happened to a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happened {
    /// Its router named so many handlers.
    Routed(u32),
    /// One handler ended with so many sends to outbounds, and so many to inbounds.
    Handled { sends: u32, passed: u32 },
    /// Its router or one handler failed.
    StepFailed,
    /// One send was delivered.
    Delivered,
    /// One send became a dead letter or was purged.
    SendFailed,
}

/// See the module's text.
pub(crate) struct Finaliser {
    shards: Vec<parking_lot::Mutex<InFlight>>,
    count: AtomicUsize,
    decided: mpsc::UnboundedSender<(MessageId, Disposition)>,
}

impl Finaliser {
    /// A finaliser, and the stream of its decisions for the task that writes them.
    pub(crate) fn new() -> (Finaliser, mpsc::UnboundedReceiver<(MessageId, Disposition)>) {
        let (decided, decisions) = mpsc::unbounded_channel();
        let shards = (0..SHARDS).map(|_| parking_lot::Mutex::default()).collect();
        let count = AtomicUsize::new(0);
        let finaliser = Finaliser {
            shards,
            count,
            decided,
        };
        (finaliser, decisions)
    }

    fn shard(&self, id: MessageId) -> &parking_lot::Mutex<InFlight> {
        let index = usize::try_from(id.0.counter() % SHARDS as u64).unwrap_or(0);
        &self.shards[index]
    }

    /// A message is durable and waits for its router.
    pub(crate) fn received(&self, id: MessageId) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.shard(id).lock().insert(id, Track::RECEIVED);
    }

    /// A message is open again or found open at start; merges with what is already in flight of it.
    pub(crate) fn open(&self, id: MessageId, track: Track) {
        let mut shard = self.shard(id).lock();
        let known = shard.remove(id).unwrap_or_else(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            Track::default()
        });
        let merged = Track {
            steps: known.steps + track.steps,
            sends: known.sends + track.sends,
            reached: known.reached || track.reached,
            failed: known.failed || track.failed,
            unrouted: known.unrouted || track.unrouted,
        };
        self.put_back(&mut shard, id, merged);
    }

    /// A durable handoff.
    pub(crate) fn note(&self, id: MessageId, happened: Happened) {
        let mut shard = self.shard(id).lock();
        let Some(mut track) = shard.remove(id) else {
            tracing::error!(id = %id, ?happened, "a handoff was reported for a message that is not in flight");
            return;
        };
        match happened {
            Happened::Routed(handlers) => {
                track.steps = track.steps.saturating_sub(1) + handlers;
                track.unrouted |= handlers == 0;
            }
            Happened::Handled { sends, passed } => {
                track.steps = track.steps.saturating_sub(1);
                track.sends += sends;
                track.reached |= passed > 0;
            }
            Happened::StepFailed => {
                track.steps = track.steps.saturating_sub(1);
                track.failed = true;
            }
            Happened::Delivered => {
                track.sends = track.sends.saturating_sub(1);
                track.reached = true;
            }
            Happened::SendFailed => {
                track.sends = track.sends.saturating_sub(1);
                track.failed = true;
            }
        }
        self.put_back(&mut shard, id, track);
    }

    /// Keeps a track that is still in flight; decides the message otherwise.
    fn put_back(&self, shard: &mut InFlight, id: MessageId, track: Track) {
        let Some(verdict) = track.verdict() else {
            return shard.insert(id, track);
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        // The writer ends only with the node; then recovery decides again.
        let _ = self.decided.send((id, verdict));
    }

    /// Whether something of this message is in flight.
    pub(crate) fn is_open(&self, id: MessageId) -> bool {
        self.shard(id).lock().contains(id)
    }

    /// Messages in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use model::RowId;

    use super::*;

    fn verdict(steps: &[Happened]) -> Option<Disposition> {
        let (finaliser, mut decisions) = Finaliser::new();
        let id = MessageId(RowId(7));
        finaliser.received(id);
        steps.iter().for_each(|step| finaliser.note(id, *step));
        decisions.try_recv().ok().map(|(_, disposition)| disposition)
    }

    #[test]
    fn the_disposition_follows_from_what_happened() {
        use Happened::*;
        let one_send = Handled { sends: 1, passed: 0 };
        let filtered = Handled { sends: 0, passed: 0 };
        for (steps, expected) in [
            (vec![], None),
            (vec![Routed(0)], Some(Disposition::Unrouted)),
            (vec![StepFailed], Some(Disposition::Error)),
            (vec![Routed(1), filtered], Some(Disposition::Filtered)),
            (vec![Routed(1), one_send], None),
            (vec![Routed(1), one_send, Delivered], Some(Disposition::Processed)),
            (
                vec![Routed(2), filtered, one_send, Delivered],
                Some(Disposition::Processed),
            ),
            (vec![Routed(2), one_send, Delivered], None),
            (
                vec![Routed(2), one_send, Delivered, StepFailed],
                Some(Disposition::Error),
            ),
            (
                vec![Routed(1), Handled { sends: 2, passed: 0 }, SendFailed, Delivered],
                Some(Disposition::Error),
            ),
            (
                vec![Routed(1), Handled { sends: 0, passed: 1 }],
                Some(Disposition::Processed),
            ),
        ] {
            assert_eq!(verdict(&steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn a_message_is_decided_once_and_then_forgotten() {
        let (finaliser, mut decisions) = Finaliser::new();
        let id = MessageId(RowId(7));
        finaliser.received(id);
        finaliser.note(id, Happened::Routed(0));
        assert!(decisions.try_recv().is_ok());
        assert!(decisions.try_recv().is_err());
        assert!(!finaliser.is_open(id));
    }
}
