//! The judge: what was sent and acknowledged against what arrived.
//!
//! It knows only what was observed on the wire on either side. The obligation starts at the
//! acknowledgement: a message the sender holds an AA for must arrive wherever it is expected; one
//! without may arrive or not; one that was refused must not.

mod order;

use std::collections::HashSet;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::sender::{Fate, LaneRecord, Record};
use crate::sink::{Answer, Arrival, PortRecord};
use crate::stats::{self, Percentiles};
use order::{Follower, Places};

/// Control ids named for each kind of fault, at most.
const EXAMPLES_MAX: usize = 10;

/// A message, as expectations see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its lane, from 0.
    pub lane: u16,
    /// Its place in the lane, from 0.
    pub sequence: u32,
}

/// Where acknowledged messages are to arrive.
pub enum Expect<'a> {
    /// At this many ports, whichever.
    Ports(u32),
    /// At exactly these: how many messages arrive at the port with this index for this message.
    Exactly(&'a dyn Fn(Sent, usize) -> u32),
}

/// Sums over lanes and ports.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Messages written at least once.
    pub sent: u64,
    /// Of these, answered AA or CA.
    pub acknowledged: u64,
    /// Of these, answered otherwise.
    pub refused: u64,
    /// Of these, never answered.
    pub unanswered: u64,
    /// Times the sender wrote a message again.
    pub resent: u64,
    /// Deliveries that acknowledged messages must lead to.
    pub expected: u64,
    /// Deliveries that partners accepted, each counted once.
    pub delivered: u64,
    /// Copies that partners accepted beyond the first.
    pub repeated: u64,
    /// Of these, more than the sender's own repetitions can explain.
    pub repeated_unexplained: u64,
    /// Attempts that a partner refused or left unanswered.
    pub failed_attempts: u64,
    /// Expected deliveries that a partner rejected for good (AR, CR).
    pub rejected: u64,
    /// First deliveries that came after newer ones of their lane.
    pub inversions: u64,
    /// Repeated deliveries that came after newer ones of their lane.
    pub late_repeats: u64,
    /// Expected deliveries that never came.
    pub missing: u64,
    /// Deliveries that nothing sent explains: unknown, refused, or to a place not expected.
    pub unexpected: u64,
    /// Arrivals that carry no control id of ours: another sender's, or rewritten on the way.
    pub foreign: u64,
    /// Deliveries whose bytes are not those that were sent (only where both sides kept hashes).
    pub altered: u64,
}

/// One port's part.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PortTotals {
    /// The port's number.
    pub port: u16,
    /// Deliveries accepted, each counted once.
    pub delivered: u64,
    /// Copies beyond the first.
    pub repeated: u64,
    /// Attempts refused or unanswered.
    pub failed_attempts: u64,
    /// First and repeated deliveries out of order.
    pub out_of_order: u64,
    /// Deliveries that nothing explains.
    pub unexpected: u64,
}

/// One lane's part.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LaneTotals {
    /// The lane, from 0.
    pub lane: u16,
    /// Messages written at least once.
    pub sent: u64,
    /// Messages answered AA or CA.
    pub acknowledged: u64,
    /// Deliveries accepted, each counted once.
    pub delivered: u64,
    /// Copies beyond the first.
    pub repeated: u64,
    /// First deliveries out of order.
    pub inversions: u64,
    /// Expected deliveries that never came.
    pub missing: u64,
}

/// Control ids to look up, a few of each kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Examples {
    /// Acknowledged and not delivered.
    pub missing: Vec<String>,
    /// Delivered out of order.
    pub out_of_order: Vec<String>,
    /// Delivered without explanation.
    pub unexpected: Vec<String>,
    /// Delivered with other bytes.
    pub altered: Vec<String>,
}

/// The judgement.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Reconciliation {
    /// Sums.
    pub totals: Totals,
    /// Port by port.
    pub ports: Vec<PortTotals>,
    /// Lane by lane.
    pub lanes: Vec<LaneTotals>,
    /// A few control ids of each fault.
    pub examples: Examples,
    /// From the intended send to the first accepted delivery; meaningful where sender and sink ran
    /// in one scenario.
    pub delivery: Percentiles,
}

impl Reconciliation {
    /// Whether nothing acknowledged is missing and nothing came that should not have.
    pub fn is_complete(&self) -> bool {
        let totals = &self.totals;
        totals.missing == 0 && totals.unexpected == 0 && totals.altered == 0
    }

    /// Whether every lane arrived in order, repeats included.
    pub fn is_in_order(&self) -> bool {
        self.totals.inversions == 0 && self.totals.late_repeats == 0
    }

    /// The table people read: what is counted, and how many.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let totals = &self.totals;
        vec![
            ("sent", totals.sent),
            ("acknowledged", totals.acknowledged),
            ("refused", totals.refused),
            ("unanswered", totals.unanswered),
            ("resent by the sender", totals.resent),
            ("deliveries expected", totals.expected),
            ("delivered (first)", totals.delivered),
            ("delivered (repeated)", totals.repeated),
            ("repeats unexplained by the sender", totals.repeated_unexplained),
            ("attempts refused or unanswered", totals.failed_attempts),
            ("rejected by a partner", totals.rejected),
            ("inversions", totals.inversions),
            ("late repeats", totals.late_repeats),
            ("altered", totals.altered),
            ("unexpected", totals.unexpected),
            ("of other senders", totals.foreign),
            ("missing", totals.missing),
        ]
    }
}

/// What one port saw of one message.
#[derive(Clone, Copy, Default)]
struct Tally {
    accepted: u32,
    rejected: bool,
    parts: u32,
}

struct LaneView<'a> {
    record: &'a LaneRecord,
    places: Places,
}

/// Compares both sides. Arrivals of other runs are left out; those of other senders are counted and
/// not judged.
pub fn reconcile(sent: &Record, ports: &[PortRecord], expect: &Expect<'_>) -> Reconciliation {
    let lanes: Vec<LaneView<'_>> = sent
        .lanes
        .iter()
        .map(|record| LaneView {
            record,
            places: Places::of(&record.wire_order),
        })
        .collect();
    let mut judge = Judge {
        run: sent.run,
        result: Reconciliation {
            ports: ports
                .iter()
                .map(|port| PortTotals {
                    port: port.port,
                    ..PortTotals::default()
                })
                .collect(),
            lanes: sent.lanes.iter().map(lane_totals).collect(),
            ..Reconciliation::default()
        },
        latency: stats::histogram(),
        lanes,
        tallies: Vec::new(),
    };
    judge.tallies = ports
        .iter()
        .enumerate()
        .map(|(index, port)| judge.follow(index, port))
        .collect();
    judge.settle(expect);
    judge.sum_up(sent)
}

fn lane_totals(record: &LaneRecord) -> LaneTotals {
    LaneTotals {
        lane: record.lane,
        sent: record.fates.len() as u64,
        acknowledged: record
            .fates
            .iter()
            .filter(|&&fate| fate == Fate::Accepted)
            .count() as u64,
        ..LaneTotals::default()
    }
}

struct Judge<'a> {
    run: crate::control_id::RunId,
    lanes: Vec<LaneView<'a>>,
    /// By port, by lane (as in `lanes`), by sequence.
    tallies: Vec<Vec<Vec<Tally>>>,
    latency: Histogram<u64>,
    result: Reconciliation,
}

impl Judge<'_> {
    /// Walks through one port's arrivals in their order.
    fn follow(&mut self, index: usize, port: &PortRecord) -> Vec<Vec<Tally>> {
        let mut tallies: Vec<Vec<Tally>> = self
            .lanes
            .iter()
            .map(|lane| vec![Tally::default(); lane.record.fates.len()])
            .collect();
        let mut followers = vec![Follower::default(); self.lanes.len()];
        let mut parts = HashSet::new();
        let run = self.run;
        for arrival in port.arrivals.iter().filter(|arrival| arrival.id.run == run) {
            let lane = usize::from(arrival.id.lane);
            let known = tallies
                .get_mut(lane)
                .and_then(|lane| lane.get_mut(arrival.id.sequence as usize));
            let Some(tally) = known else {
                self.never_sent(index, arrival);
                continue;
            };
            let first = tally.accepted == 0;
            match arrival.answer {
                Answer::Accepted => {
                    tally.accepted += 1;
                    tally.parts += u32::from(parts.insert(arrival.id));
                    if first {
                        self.time(lane, arrival);
                    }
                    self.compare(lane, arrival);
                }
                Answer::Rejected => tally.rejected = true,
                Answer::NotNow | Answer::None => {}
            }
            if arrival.answer != Answer::Accepted {
                self.result.ports[index].failed_attempts += 1;
            }
            if !followers[lane].keeps_order(&self.lanes[lane].places, arrival.id.sequence) {
                self.out_of_order(index, lane, first, arrival);
            }
        }
        self.result.totals.foreign += port.foreign.values().sum::<u64>();
        tallies
    }

    fn time(&mut self, lane: usize, arrival: &Arrival) {
        if let Some(&intended) = self.lanes[lane]
            .record
            .intended_us
            .get(arrival.id.sequence as usize)
        {
            stats::measure(&mut self.latency, arrival.at_us.saturating_sub(intended));
        }
    }

    fn compare(&mut self, lane: usize, arrival: &Arrival) {
        let sent = self.lanes[lane].record.hashes.get(arrival.id.sequence as usize);
        if let (Some(sent), Some(arrived)) = (sent, &arrival.hash)
            && sent != arrived
        {
            self.result.totals.altered += 1;
            note(&mut self.result.examples.altered, || arrival.id.to_string());
        }
    }

    fn out_of_order(&mut self, port: usize, lane: usize, first: bool, arrival: &Arrival) {
        self.result.ports[port].out_of_order += 1;
        if first {
            self.result.totals.inversions += 1;
            self.result.lanes[lane].inversions += 1;
        } else {
            self.result.totals.late_repeats += 1;
        }
        note(&mut self.result.examples.out_of_order, || arrival.id.to_string());
    }

    fn never_sent(&mut self, port: usize, arrival: &Arrival) {
        self.result.ports[port].unexpected += 1;
        note(&mut self.result.examples.unexpected, || arrival.id.to_string());
    }

    /// Compares every message's deliveries with what its fate demands.
    fn settle(&mut self, expect: &Expect<'_>) {
        for lane in 0..self.lanes.len() {
            for sequence in 0..self.lanes[lane].record.fates.len() {
                match expect {
                    Expect::Ports(count) => self.settle_any(lane, sequence, *count),
                    Expect::Exactly(wanted) => self.settle_exactly(lane, sequence, *wanted),
                }
            }
        }
    }

    /// Each port that took the message at all counts once.
    fn settle_any(&mut self, lane: usize, sequence: usize, wanted: u32) {
        let fate = self.lanes[lane].record.fates[sequence];
        let (mut delivered, mut rejected) = (0, 0);
        for port in 0..self.tallies.len() {
            let tally = self.tallies[port][lane][sequence];
            let once = tally.parts.max(u32::from(tally.accepted > 0));
            let allowed = if fate == Fate::Refused || delivered >= wanted {
                0
            } else {
                once
            };
            self.count(port, lane, sequence, tally, once, allowed);
            delivered += u32::from(tally.accepted > 0);
            rejected += u32::from(tally.accepted == 0 && tally.rejected);
        }
        if fate == Fate::Accepted {
            self.owe(lane, sequence, wanted, delivered, rejected);
        }
    }

    /// Each port owes what the closure says.
    fn settle_exactly(&mut self, lane: usize, sequence: usize, wanted: &dyn Fn(Sent, usize) -> u32) {
        let record = self.lanes[lane].record;
        let fate = record.fates[sequence];
        let sent = Sent {
            lane: record.lane,
            sequence: sequence as u32,
        };
        for port in 0..self.tallies.len() {
            let wanted = wanted(sent, port);
            let tally = self.tallies[port][lane][sequence];
            let once = tally.parts.max(tally.accepted.min(wanted.max(1)));
            let allowed = if fate == Fate::Refused { 0 } else { wanted };
            self.count(port, lane, sequence, tally, once, allowed);
            if fate == Fate::Accepted {
                let rejected = if tally.rejected {
                    wanted.saturating_sub(once)
                } else {
                    0
                };
                self.owe(lane, sequence, wanted, once, rejected);
            }
        }
    }

    /// Books one port's deliveries of one message: `once` are first ones, of which `allowed` may be.
    fn count(&mut self, port: usize, lane: usize, sequence: usize, tally: Tally, once: u32, allowed: u32) {
        if tally.accepted == 0 {
            return;
        }
        let repeated = tally.accepted - once;
        let own = self.lanes[lane]
            .places
            .copies(sequence as u32)
            .saturating_sub(1)
            .saturating_mul(once);
        let unexpected = once.saturating_sub(allowed);
        self.result.totals.repeated_unexplained += u64::from(repeated.saturating_sub(own));
        self.result.ports[port].delivered += u64::from(once);
        self.result.ports[port].repeated += u64::from(repeated);
        self.result.lanes[lane].delivered += u64::from(once);
        self.result.lanes[lane].repeated += u64::from(repeated);
        if unexpected > 0 {
            self.result.ports[port].unexpected += u64::from(unexpected);
            let id = self.id(lane, sequence);
            note(&mut self.result.examples.unexpected, || id);
        }
    }

    /// Books what an acknowledged message still owes.
    fn owe(&mut self, lane: usize, sequence: usize, wanted: u32, delivered: u32, rejected: u32) {
        let short = wanted.saturating_sub(delivered);
        let rejected = rejected.min(short);
        let missing = short - rejected;
        self.result.totals.expected += u64::from(wanted);
        self.result.totals.rejected += u64::from(rejected);
        if missing > 0 {
            self.result.lanes[lane].missing += u64::from(missing);
            let id = self.id(lane, sequence);
            note(&mut self.result.examples.missing, || id);
        }
    }

    fn id(&self, lane: usize, sequence: usize) -> String {
        let lane = self.lanes[lane].record.lane;
        crate::control_id::ControlId {
            run: self.run,
            lane,
            sequence: sequence as u32,
            part: 0,
        }
        .to_string()
    }

    fn sum_up(self, sent: &Record) -> Reconciliation {
        let mut result = self.result;
        let totals = &mut result.totals;
        totals.sent = sent.sent();
        totals.acknowledged = sent.count(Fate::Accepted);
        totals.refused = sent.count(Fate::Refused);
        totals.unanswered = sent.count(Fate::Unanswered);
        totals.resent = sent.resent();
        totals.delivered = result.ports.iter().map(|port| port.delivered).sum();
        totals.repeated = result.ports.iter().map(|port| port.repeated).sum();
        totals.failed_attempts = result.ports.iter().map(|port| port.failed_attempts).sum();
        totals.unexpected = result.ports.iter().map(|port| port.unexpected).sum();
        totals.missing = result.lanes.iter().map(|lane| lane.missing).sum();
        result.delivery = Percentiles::of(&self.latency);
        result
    }
}

fn note(examples: &mut Vec<String>, id: impl FnOnce() -> String) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(id());
    }
}
