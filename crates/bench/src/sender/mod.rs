//! The partner that sends: lanes of one MLLP connection each, at a fixed rate or as fast as answers come.
//!
//! It behaves as careful senders do: a message without an answer is sent again, unchanged, when the
//! connection was lost or the answer took too long; a message with an answer never is. Latency in
//! open loop counts from the moment a message *should* have been sent, so a partner that stalls
//! cannot hide its stall by slowing the sender down.

mod connection;
mod lane;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use connection::hash;
pub use record::{Fate, LaneRecord, Record};

use crate::clock::StopWatch;
use crate::control_id::{LANES_MAX, RunId, SEQUENCE_MAX};
use crate::payload::Pool;

/// What decides when the next message goes out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// A fixed rate over all lanes together, whatever the answers do.
    Open {
        /// Messages per second.
        per_second: f64,
    },
    /// As fast as answers come.
    Closed {
        /// Unanswered messages that each lane keeps on the wire.
        window: u32,
    },
}

/// When the sender stops by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// After this many messages over all lanes.
    Count(u64),
    /// After this much time.
    Elapsed(Duration),
    /// Only when told to.
    Stopped,
}

/// What to send, where and how fast.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` of each receiver; lane *n* goes to number *n* modulo their count.
    pub to: Vec<String>,
    /// How many lanes, each one connection.
    pub lanes: u16,
    /// When the next message goes out.
    pub pace: Pace,
    /// When to stop.
    pub until: Until,
    /// The messages.
    pub payload: Pool,
    /// The run that control ids carry.
    pub run: RunId,
    /// How long to wait for an answer before the connection is given up and made again.
    pub ack_timeout: Duration,
    /// How long a receiver may be out of reach before its lane ends with a failure.
    pub give_up_after: Duration,
    /// The longest pause before a lane connects again; the first is 10 ms, and each is twice the one before.
    pub back_off_max: Duration,
    /// Whether to remember a hash of every message, to compare with what arrives.
    pub hash_bodies: bool,
}

impl Options {
    /// One lane to one receiver, one message at a time, until stopped.
    pub fn new(to: impl Into<String>, payload: Pool) -> Options {
        Options {
            to: vec![to.into()],
            lanes: 1,
            pace: Pace::Closed { window: 1 },
            until: Until::Stopped,
            payload,
            run: RunId::random(),
            ack_timeout: Duration::from_secs(30),
            give_up_after: Duration::from_secs(60),
            back_off_max: Duration::from_millis(500),
            hash_bodies: false,
        }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.to.is_empty() {
            return Err(Fault::NoReceiver);
        }
        if self.lanes == 0 || self.lanes > LANES_MAX {
            return Err(Fault::Lanes(self.lanes));
        }
        match self.pace {
            Pace::Open { per_second } if !(per_second.is_finite() && per_second > 0.0) => {
                return Err(Fault::Rate);
            }
            Pace::Closed { window: 0 } => return Err(Fault::Window),
            Pace::Open { .. } | Pace::Closed { .. } => {}
        }
        match self.until {
            Until::Count(count) if count > u64::from(self.lanes) * u64::from(SEQUENCE_MAX) => {
                Err(Fault::Count)
            }
            _ => Ok(()),
        }
    }
}

/// Options that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No address.
    #[error("there is no address to send to")]
    NoReceiver,
    /// Too few or too many lanes.
    #[error("{0} lanes: give a number from 1 to {LANES_MAX}")]
    Lanes(u16),
    /// A rate that is no rate.
    #[error("the rate must be a number above 0")]
    Rate,
    /// A window that never sends.
    #[error("the window must be at least 1 message")]
    Window,
    /// More messages than control ids.
    #[error("control ids count at most {SEQUENCE_MAX} messages for each lane; add lanes or send fewer")]
    Count,
}

/// How far a sender has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Progress {
    /// Messages sent at least once.
    pub sent: u64,
    /// Messages answered with AA or CA.
    pub acknowledged: u64,
    /// Messages answered with anything else.
    pub refused: u64,
    /// Times that a message was sent again.
    pub resent: u64,
    /// Lanes with a connection at present.
    pub connected: u64,
    /// Time since the start, in microseconds.
    pub elapsed_us: u64,
}

/// Counters that all lanes share.
#[derive(Debug)]
struct Shared {
    watch: StopWatch,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    resent: AtomicU64,
    connected: AtomicU64,
    last_answer_us: AtomicU64,
    longest_gap_us: AtomicU64,
    stop: CancellationToken,
}

impl Shared {
    /// Notes that positive answers came in now.
    fn heard(&self, now: u64) {
        let before = self.last_answer_us.swap(now, Ordering::Relaxed);
        if before != 0 {
            self.longest_gap_us
                .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        }
    }
}

/// A sender at work. Dropping it ends its lanes at once.
#[derive(Debug)]
pub struct Sender {
    run: RunId,
    shared: Arc<Shared>,
    lanes: JoinSet<LaneRecord>,
    ended: Vec<LaneRecord>,
}

impl Sender {
    /// Starts the lanes; they connect by themselves, and wait for receivers that are not there yet.
    ///
    /// # Errors
    /// [`Fault`] when the options contradict themselves.
    pub fn start(options: Options) -> Result<Sender, Fault> {
        Sender::start_on(options, StopWatch::start())
    }

    pub(crate) fn start_on(options: Options, watch: StopWatch) -> Result<Sender, Fault> {
        options.check()?;
        let shared = Arc::new(Shared {
            watch,
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            last_answer_us: AtomicU64::new(0),
            longest_gap_us: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        let options = Arc::new(options);
        let mut lanes = JoinSet::new();
        for lane in 0..options.lanes {
            lanes.spawn(connection::run(lane, Arc::clone(&options), Arc::clone(&shared)));
        }
        Ok(Sender {
            run: options.run,
            shared,
            lanes,
            ended: Vec::new(),
        })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            sent: read(&self.shared.sent),
            acknowledged: read(&self.shared.acknowledged),
            refused: read(&self.shared.refused),
            resent: read(&self.shared.resent),
            connected: read(&self.shared.connected),
            elapsed_us: self.shared.watch.micros(),
        }
    }

    /// A handle that counts from elsewhere.
    pub fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.shared))
    }

    /// Sends nothing new from here on; [`Sender::finish`] then waits for the open answers only.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// A handle that stops the sender from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shared.stop.clone())
    }

    /// Waits until every lane has ended. Cancelling the wait loses nothing.
    pub async fn ended(&mut self) {
        while let Some(ended) = self.lanes.join_next().await {
            // A lane neither panics nor is cancelled while this handle lives.
            self.ended.extend(ended.ok());
        }
    }

    /// Waits until every lane has ended, and hands over what they remember.
    pub async fn finish(mut self) -> Record {
        self.ended().await;
        let mut lanes = self.ended;
        lanes.sort_by_key(|lane| lane.lane);
        Record {
            run: self.run,
            lanes,
            elapsed_us: self.shared.last_answer_us.load(Ordering::Relaxed),
            longest_gap_us: self.shared.longest_gap_us.load(Ordering::Relaxed),
        }
    }
}

/// Counts for those whose handle of the sender is elsewhere.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Shared>);

impl Counter {
    /// Messages answered with AA or CA so far.
    pub fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }
}

/// Stops a sender whose handle is elsewhere.
#[derive(Clone, Debug)]
pub struct Stopper(CancellationToken);

impl Stopper {
    /// As [`Sender::stop`].
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }
}
