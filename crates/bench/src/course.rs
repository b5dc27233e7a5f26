//! Several senders one after another against one sink that stays: warm-up, load, spike, recovery. Each leg is
//! judged on its own, on one time line.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::clock::StopWatch;
use crate::reconcile::{Expect, Reconciliation, reconcile};
use crate::scenario::{Fault, Snapshot};
use crate::sender::{self, Record, Sender};
use crate::sink::{self, PortRecord, Sink};
use crate::stats::{self, Percentiles};

/// How long to go on listening for repeats once everything arrived.
const SETTLE: Duration = Duration::from_millis(300);

/// A sink at work, and the legs run so far.
#[derive(Debug)]
pub struct Course {
    sink: Sink,
    watch: StopWatch,
    fanout: u32,
    legs: Vec<Leg>,
}

/// One sender's part.
#[derive(Clone, Debug)]
pub struct Leg {
    /// What it is called.
    pub name: String,
    /// When it began, in microseconds of the course.
    pub began_us: u64,
    /// When its last answer had come.
    pub ended_us: u64,
    /// What it sent; times in it are those of the course.
    pub sent: Record,
}

/// Everything that was observed.
#[derive(Debug)]
pub struct Evidence {
    /// Leg by leg.
    pub legs: Vec<Leg>,
    /// What arrived, port by port.
    pub ports: Vec<PortRecord>,
    fanout: u32,
}

impl Course {
    /// Binds the sink. Each acknowledged message is to arrive at `fanout` of its ports.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub async fn start(sink: sink::Options, fanout: u32) -> io::Result<Course> {
        let watch = StopWatch::start();
        Ok(Course {
            sink: Sink::start_on(sink, watch.clone()).await?,
            watch,
            fanout,
            legs: Vec::new(),
        })
    }

    /// The sink's ports, in the order of the options.
    pub fn ports(&self) -> Vec<u16> {
        self.sink.ports()
    }

    /// Microseconds since the course began.
    pub fn now_us(&self) -> u64 {
        self.watch.micros()
    }

    /// When something arrived last, in microseconds of the course.
    pub fn last_arrival_us(&self) -> u64 {
        let quiet = u64::try_from(self.sink.quiet_for().as_micros()).unwrap_or(u64::MAX);
        self.now_us().saturating_sub(quiet)
    }

    /// Runs one sender to its end, calling `watch` about ten times a second.
    ///
    /// # Errors
    /// [`Fault::Sender`] when its options make no sense.
    pub async fn run(
        &mut self,
        name: &str,
        options: sender::Options,
        mut watch: impl FnMut(Snapshot),
    ) -> Result<&Leg, Fault> {
        let began_us = self.watch.micros();
        let mut sender = Sender::start(options)?;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                () = sender.ended() => break,
                _ = tick.tick() => watch(Snapshot { sender: sender.progress(), sink: self.sink.counts() }),
            }
        }
        let mut sent = sender.finish().await;
        let ended_us = began_us + sent.elapsed_us;
        for lane in &mut sent.lanes {
            lane.intended_us.iter_mut().for_each(|at| *at += began_us);
        }
        let place = self.legs.len();
        self.legs.push(Leg {
            name: name.to_owned(),
            began_us,
            ended_us,
            sent,
        });
        Ok(&self.legs[place])
    }

    /// Waits for the deliveries that all legs so far are owed, until nothing has come for `quiet`.
    pub async fn drain(&self, quiet: Duration, mut watch: impl FnMut(sink::Counts)) {
        let acknowledged: u64 = self.legs.iter().map(|leg| leg.sent.acknowledged()).sum();
        let owed = acknowledged * u64::from(self.fanout);
        let begun = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let counts = self.sink.counts();
            watch(counts);
            let idle = self.sink.quiet_for().min(begun.elapsed());
            let came = counts.accepted >= owed && self.sink.quiet_for() >= SETTLE;
            if came || idle >= quiet {
                return;
            }
        }
    }

    /// Closes the sink.
    pub async fn finish(self) -> Evidence {
        Evidence {
            legs: self.legs,
            ports: self.sink.stop().await,
            fanout: self.fanout,
        }
    }
}

/// What one second of a course looked like.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Second {
    /// Messages answered in it.
    pub acknowledged: u64,
    /// Deliveries in it, first ones and repeats.
    pub delivered: u64,
    /// Deliveries that are owed at its end.
    pub backlog: u64,
    /// Half of its answers took less, in milliseconds, from the intended send.
    pub answer_p50_ms: f64,
    /// 99 in 100 of its answers took less.
    pub answer_p99_ms: f64,
    /// Half of its deliveries had been sent so long before.
    pub delivery_p50_ms: f64,
    /// 99 in 100 of its deliveries had been sent less long before.
    pub delivery_p99_ms: f64,
}

impl Evidence {
    /// The judgement of one leg; its number counts from 0.
    pub fn judge(&self, leg: usize) -> Reconciliation {
        reconcile(&self.legs[leg].sent, &self.ports, &Expect::Ports(self.fanout))
    }

    /// When the last delivery of a leg came, in microseconds of the course.
    pub fn last_delivery_us(&self, leg: usize) -> Option<u64> {
        let run = self.legs[leg].sent.run;
        let accepted = self.ports.iter().flat_map(|port| port.accepted(run));
        accepted.map(|arrival| arrival.at_us).max()
    }

    /// The course, second by second.
    pub fn seconds(&self) -> Vec<Second> {
        let (answers, deliveries) = (self.answers(), self.deliveries());
        let length = answers.len().max(deliveries.len());
        let mut owed = 0_u64;
        (0..length)
            .map(|second| {
                let answers = answers.get(second).cloned().unwrap_or_default();
                let deliveries = deliveries.get(second).cloned().unwrap_or_default();
                owed += answers.len() as u64 * u64::from(self.fanout);
                // A delivery may come before its message's answer does, at the turn of a second.
                owed = owed.saturating_sub(deliveries.len() as u64);
                let (answer, delivery) = (spread(&answers), spread(&deliveries));
                Second {
                    acknowledged: answers.len() as u64,
                    delivered: deliveries.len() as u64,
                    backlog: owed,
                    answer_p50_ms: answer.p50_ms,
                    answer_p99_ms: answer.p99_ms,
                    delivery_p50_ms: delivery.p50_ms,
                    delivery_p99_ms: delivery.p99_ms,
                }
            })
            .collect()
    }

    /// Microseconds that answers took, by the second in which they came.
    fn answers(&self) -> Vec<Vec<u64>> {
        let mut seconds = Vec::new();
        for lane in self.legs.iter().flat_map(|leg| &leg.sent.lanes) {
            for (intended, took) in lane.intended_us.iter().zip(&lane.latency_us) {
                if *took != u32::MAX {
                    put(&mut seconds, intended + u64::from(*took), u64::from(*took));
                }
            }
        }
        seconds
    }

    /// Microseconds from the intended send to a delivery, by the second in which it came.
    fn deliveries(&self) -> Vec<Vec<u64>> {
        let mut seconds = Vec::new();
        for leg in &self.legs {
            let lanes = &leg.sent.lanes;
            for arrival in self.ports.iter().flat_map(|port| port.accepted(leg.sent.run)) {
                let lane = lanes.get(usize::from(arrival.id.lane));
                let intended = lane.and_then(|lane| lane.intended_us.get(arrival.id.sequence as usize));
                if let Some(intended) = intended {
                    put(
                        &mut seconds,
                        arrival.at_us,
                        arrival.at_us.saturating_sub(*intended),
                    );
                }
            }
        }
        seconds
    }
}

fn put(seconds: &mut Vec<Vec<u64>>, at_us: u64, value: u64) {
    let second = usize::try_from(at_us / 1_000_000)
        .unwrap_or(usize::MAX)
        .min(1_000_000);
    if seconds.len() <= second {
        seconds.resize(second + 1, Vec::new());
    }
    seconds[second].push(value);
}

fn spread(values: &[u64]) -> Percentiles {
    let mut histogram = stats::histogram();
    values
        .iter()
        .for_each(|value| stats::measure(&mut histogram, *value));
    Percentiles::of(&histogram)
}
