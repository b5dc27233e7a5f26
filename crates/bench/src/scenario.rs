//! A whole run: sinks, a sender, the wait until the backlog is delivered, and the judgement.

use std::time::Duration;

use serde::Serialize;

use crate::clock::StopWatch;
use crate::reconcile::{Expect, Reconciliation, reconcile};
use crate::sender::{self, Progress, Record, Sender};
use crate::sink::{self, Counts, PortRecord, Sink};
use crate::stats::{self, Percentiles, Rates};

/// What to run.
#[derive(Debug)]
pub struct Scenario {
    /// The sender.
    pub sender: sender::Options,
    /// The partners on the far side; without them nothing is reconciled.
    pub sink: Option<sink::Options>,
    /// How long nothing may arrive, with deliveries outstanding, before they count as missing.
    pub quiet: Duration,
    /// How long to go on listening for repeats once everything has arrived.
    pub settle: Duration,
}

/// A scenario cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The sender's options.
    #[error(transparent)]
    Sender(#[from] sender::Fault),
    /// The sink's listeners.
    #[error(transparent)]
    Sink(#[from] std::io::Error),
}

/// A scenario at work.
#[derive(Debug)]
pub struct Running {
    /// The sender, until it has finished.
    pub sender: Sender,
    /// The sink, if there is one.
    pub sink: Option<Sink>,
    quiet: Duration,
    settle: Duration,
}

/// Both sides' evidence.
#[derive(Debug)]
pub struct Evidence {
    /// What was sent.
    pub sent: Record,
    /// What arrived, port by port; empty without a sink.
    pub ports: Vec<PortRecord>,
    /// Whether there was a sink.
    pub has_sink: bool,
}

/// How far a scenario has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// The sender.
    pub sender: Progress,
    /// The sink.
    pub sink: Counts,
}

impl Scenario {
    /// Binds the sinks, then starts the sender.
    ///
    /// # Errors
    /// [`Fault`] when a listener cannot be bound or the sender's options make no sense.
    pub async fn start(self) -> Result<Running, Fault> {
        let watch = StopWatch::start();
        let sink = match self.sink {
            Some(options) => Some(Sink::start_on(options, watch.clone()).await?),
            None => None,
        };
        let sender = Sender::start_on(self.sender, watch)?;
        Ok(Running {
            sender,
            sink,
            quiet: self.quiet,
            settle: self.settle,
        })
    }
}

impl Running {
    /// How far it has come.
    pub fn snapshot(&self) -> Snapshot {
        let sink = self.sink.as_ref().map(Sink::counts).unwrap_or_default();
        Snapshot {
            sender: self.sender.progress(),
            sink,
        }
    }

    /// Waits for the sender, then for the deliveries it is owed, calling `watch` about ten times a
    /// second.
    pub async fn finish(self, expect: &Expect<'_>, mut watch: impl FnMut(Snapshot)) -> Evidence {
        let Running {
            mut sender,
            sink,
            quiet,
            settle,
        } = self;
        let counts = || sink.as_ref().map(Sink::counts).unwrap_or_default();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = sender.ended() => break,
                _ = tick.tick() => watch(Snapshot { sender: sender.progress(), sink: counts() }),
            }
        }
        let last = sender.progress();
        let sent = sender.finish().await;
        let Some(sink) = sink else {
            return Evidence {
                sent,
                ports: Vec::new(),
                has_sink: false,
            };
        };
        let mut looked_at = None;
        loop {
            tick.tick().await;
            let counts = sink.counts();
            watch(Snapshot {
                sender: last,
                sink: counts,
            });
            // Judging costs time; look only when something has changed.
            let settled = sink.quiet_for() >= settle;
            if settled && looked_at != Some(counts) {
                looked_at = Some(counts);
                if reconcile(&sent, &sink.received(), expect).totals.missing == 0 {
                    break;
                }
            }
            if sink.quiet_for() >= quiet {
                break;
            }
        }
        Evidence {
            sent,
            ports: sink.stop().await,
            has_sink: true,
        }
    }
}

/// Figures of a run, for machines.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// The run that control ids carry.
    pub run: String,
    /// Messages sent at least once.
    pub sent: u64,
    /// Messages answered with AA or CA.
    pub acknowledged: u64,
    /// Messages answered with anything else.
    pub refused: u64,
    /// Messages never answered.
    pub unanswered: u64,
    /// Times a message was sent again.
    pub resent: u64,
    /// Connections lost and made again.
    pub reconnects: u64,
    /// Replies that answered nothing.
    pub stray_replies: u64,
    /// From the start to the last positive answer, in seconds.
    pub elapsed_s: f64,
    /// Positive answers per second.
    pub acknowledged_per_second: f64,
    /// From the start to the last delivery that the sink accepted, in seconds; where there was one.
    pub delivered_in_s: Option<f64>,
    /// Acknowledged messages per second of `delivered_in_s`: the rate of the whole way through.
    pub end_to_end_per_second: Option<f64>,
    /// From the intended send to the answer.
    pub latency: Percentiles,
    /// From the actual send to the answer.
    pub round_trip: Percentiles,
    /// The longest time between two positive answers, in milliseconds.
    pub longest_gap_ms: f64,
    /// Positive answers, second by second.
    pub acknowledged_by_second: Rates,
    /// Why lanes gave up.
    pub failures: Vec<String>,
    /// Both sides compared, where there was a sink.
    pub reconciliation: Option<Reconciliation>,
}

impl Evidence {
    fn last_delivery_us(&self) -> Option<u64> {
        let accepted = self.ports.iter().flat_map(|port| port.accepted(self.sent.run));
        accepted.map(|arrival| arrival.at_us).max()
    }

    /// The figures, and the judgement where there was a sink.
    pub fn report(&self, expect: &Expect<'_>) -> Report {
        let sent = &self.sent;
        let delivered_us = self.last_delivery_us();
        Report {
            run: sent.run.to_string(),
            sent: sent.sent(),
            acknowledged: sent.acknowledged(),
            refused: sent.count(sender::Fate::Refused),
            unanswered: sent.count(sender::Fate::Unanswered),
            resent: sent.resent(),
            reconnects: sent.reconnects(),
            stray_replies: sent.stray_replies(),
            elapsed_s: sent.elapsed_us as f64 / 1_000_000.0,
            acknowledged_per_second: stats::per_second(sent.acknowledged(), sent.elapsed_us),
            delivered_in_s: delivered_us.map(|us| us as f64 / 1_000_000.0),
            end_to_end_per_second: delivered_us.map(|us| stats::per_second(sent.acknowledged(), us)),
            latency: Percentiles::of(&sent.latency()),
            round_trip: Percentiles::of(&sent.round_trip()),
            longest_gap_ms: sent.longest_gap_us as f64 / 1000.0,
            acknowledged_by_second: sent.accepted_rate(),
            failures: sent
                .failures()
                .map(|(lane, reason)| format!("lane {lane}: {reason}"))
                .collect(),
            reconciliation: self.has_sink.then(|| reconcile(sent, &self.ports, expect)),
        }
    }
}
