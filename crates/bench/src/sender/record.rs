//! What a sender remembers: the evidence of one side.

use hdrhistogram::Histogram;

use crate::control_id::RunId;
use crate::stats::{self, Rates};

/// What became of a message on the sender's side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Written at least once, and never answered.
    Unanswered,
    /// Answered with AA or CA.
    Accepted,
    /// Answered with anything else.
    Refused,
}

/// Everything one lane sent.
#[derive(Clone, Debug)]
pub struct LaneRecord {
    /// The lane, from 0.
    pub lane: u16,
    /// Sequence numbers in the order they went onto the wire, with every repetition.
    pub wire_order: Vec<u32>,
    /// By sequence number: what became of it.
    pub fates: Vec<Fate>,
    /// By sequence number: when it should first have been sent, in microseconds of the run.
    pub intended_us: Vec<u64>,
    /// By sequence number: microseconds from the intended send to the first answer; `u32::MAX` without one.
    pub latency_us: Vec<u32>,
    /// By sequence number: a hash of its bytes, where the options asked for it.
    pub hashes: Vec<u64>,
    /// Times that a message was sent again after a lost connection.
    pub resent: u64,
    /// Connections lost and made again.
    pub reconnects: u64,
    /// Replies that answered nothing.
    pub stray_replies: u64,
    /// Microseconds from the intended send to the first answer.
    pub latency: Histogram<u64>,
    /// Microseconds from the actual (last) send to the first answer.
    pub round_trip: Histogram<u64>,
    /// Positive answers by second of the run.
    pub accepted_rate: Rates,
    /// Why the lane ended before its time, if it did.
    pub failure: Option<String>,
}

impl LaneRecord {
    pub(super) fn new(lane: u16, expected: usize) -> LaneRecord {
        let expected = expected.min(1 << 20);
        LaneRecord {
            lane,
            wire_order: Vec::with_capacity(expected),
            fates: Vec::with_capacity(expected),
            intended_us: Vec::with_capacity(expected),
            latency_us: Vec::with_capacity(expected),
            hashes: Vec::new(),
            resent: 0,
            reconnects: 0,
            stray_replies: 0,
            latency: stats::histogram(),
            round_trip: stats::histogram(),
            accepted_rate: Rates::default(),
            failure: None,
        }
    }

    pub(super) fn sent(&mut self, sequence: u32, intended: u64) {
        self.wire_order.push(sequence);
        self.fates.push(Fate::Unanswered);
        self.intended_us.push(intended);
        self.latency_us.push(u32::MAX);
    }

    pub(super) fn resent(&mut self, sequence: u32) {
        self.wire_order.push(sequence);
        self.resent += 1;
    }

    pub(super) fn answered(&mut self, sequence: u32, fate: Fate, intended: u64, sent: u64, now: u64) {
        if let Some(slot) = self.fates.get_mut(sequence as usize) {
            *slot = fate;
        }
        if let Some(slot) = self.latency_us.get_mut(sequence as usize) {
            *slot = u32::try_from(now.saturating_sub(intended)).unwrap_or(u32::MAX - 1);
        }
        stats::measure(&mut self.latency, now.saturating_sub(intended));
        stats::measure(&mut self.round_trip, now.saturating_sub(sent));
        if fate == Fate::Accepted {
            self.accepted_rate.count(now, 1);
        }
    }
}

/// Everything a sender sent.
#[derive(Clone, Debug)]
pub struct Record {
    /// The run that its control ids carry.
    pub run: RunId,
    /// Lane by lane.
    pub lanes: Vec<LaneRecord>,
    /// How long the run took, in microseconds, to the last answer.
    pub elapsed_us: u64,
    /// The longest time between two positive answers of the whole run, in microseconds: what an
    /// outage looked like from outside.
    pub longest_gap_us: u64,
}

impl Record {
    /// Messages sent at least once.
    pub fn sent(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.fates.len() as u64).sum()
    }

    /// Messages of one fate.
    pub fn count(&self, fate: Fate) -> u64 {
        let of_lane = |lane: &LaneRecord| lane.fates.iter().filter(|&&f| f == fate).count() as u64;
        self.lanes.iter().map(of_lane).sum()
    }

    /// Messages answered with AA or CA.
    pub fn acknowledged(&self) -> u64 {
        self.count(Fate::Accepted)
    }

    /// Times that a message was sent again.
    pub fn resent(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.resent).sum()
    }

    /// Connections lost and made again.
    pub fn reconnects(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.reconnects).sum()
    }

    /// Replies that answered nothing.
    pub fn stray_replies(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.stray_replies).sum()
    }

    /// Why lanes gave up, if any did.
    pub fn failures(&self) -> impl Iterator<Item = (u16, &str)> {
        self.lanes
            .iter()
            .filter_map(|lane| Some((lane.lane, lane.failure.as_deref()?)))
    }

    /// Microseconds from intended send to first answer, over all lanes.
    pub fn latency(&self) -> Histogram<u64> {
        stats::merged(self.lanes.iter().map(|lane| &lane.latency))
    }

    /// Microseconds from actual send to first answer, over all lanes.
    pub fn round_trip(&self) -> Histogram<u64> {
        stats::merged(self.lanes.iter().map(|lane| &lane.round_trip))
    }

    /// Positive answers by second of the run.
    pub fn accepted_rate(&self) -> Rates {
        let mut rates = Rates::default();
        self.lanes.iter().for_each(|lane| rates.add(&lane.accepted_rate));
        rates
    }
}
