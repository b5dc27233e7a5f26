//! One lane of a sender, as a function of what happens to it: which message is due, what an answer
//! settles, what a broken connection brings back. No sockets and no clock.

use std::collections::VecDeque;

use super::record::{Fate, LaneRecord};
use super::{Pace, Until};

/// Microseconds since the run began.
pub(super) type Micros = u64;

/// A message that was written and not answered yet.
#[derive(Clone, Copy, Debug)]
struct Flight {
    sequence: u32,
    intended: Micros,
    sent: Micros,
}

/// What an answer settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    Accepted,
    Refused,
    /// It answers nothing that is open: late, repeated or foreign.
    Stray,
}

/// When first sends are due, and when they end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Microseconds between two first sends in open loop; `None` in closed loop.
    interval: Option<f64>,
    offset: f64,
    window: usize,
    count: u32,
    end: Micros,
}

impl Plan {
    /// The share of lane `lane` of `lanes`: an open loop staggers its lanes, a count is split evenly
    /// with the remainder on the first lanes.
    pub(super) fn share(pace: Pace, until: Until, lane: u16, lanes: u16) -> Plan {
        let (interval, offset, window) = match pace {
            Pace::Open { per_second } => {
                let between_all = 1_000_000.0 / per_second;
                (
                    Some(between_all * f64::from(lanes)),
                    between_all * f64::from(lane),
                    usize::MAX,
                )
            }
            Pace::Closed { window } => (None, 0.0, window as usize),
        };
        let (count, end) = match until {
            Until::Count(total) => {
                let share = total / u64::from(lanes) + u64::from(u64::from(lane) < total % u64::from(lanes));
                (u32::try_from(share).unwrap_or(u32::MAX), Micros::MAX)
            }
            Until::Elapsed(time) => (
                u32::MAX,
                Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX),
            ),
            Until::Stopped => (u32::MAX, Micros::MAX),
        };
        Plan {
            interval,
            offset,
            window,
            count: count.min(crate::control_id::SEQUENCE_MAX),
            end,
        }
    }

    /// When a first send is due by schedule; `None` in closed loop, where the window decides.
    fn due(&self, sequence: u32) -> Option<Micros> {
        self.interval
            .map(|interval| (self.offset + interval * f64::from(sequence)) as Micros)
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    plan: Plan,
    next: u32,
    stopped: bool,
    again: VecDeque<Flight>,
    open: VecDeque<Flight>,
    record: LaneRecord,
}

impl Lane {
    pub(super) fn new(plan: Plan, record: LaneRecord) -> Lane {
        Lane {
            plan,
            next: 0,
            stopped: false,
            again: VecDeque::new(),
            open: VecDeque::new(),
            record,
        }
    }

    /// The message to write now, if one is: what a broken connection left open comes before
    /// anything new.
    pub(super) fn take(&mut self, now: Micros) -> Option<u32> {
        if self.open.len() >= self.plan.window {
            return None;
        }
        if let Some(flight) = self.again.pop_front() {
            self.open.push_back(Flight { sent: now, ..flight });
            self.record.resent(flight.sequence);
            return Some(flight.sequence);
        }
        if !self.more_to_come(now) {
            return None;
        }
        let intended = self.plan.due(self.next).unwrap_or(now);
        if intended > now {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        self.open.push_back(Flight {
            sequence,
            intended,
            sent: now,
        });
        self.record.sent(sequence, intended);
        Some(sequence)
    }

    /// Settles the message that an answer names.
    pub(super) fn answered(&mut self, sequence: u32, accepts: bool, now: Micros) -> Settled {
        let Some(place) = self.open.iter().position(|flight| flight.sequence == sequence) else {
            self.record.stray_replies += 1;
            return Settled::Stray;
        };
        let Some(flight) = self.open.remove(place) else {
            return Settled::Stray;
        };
        let fate = if accepts { Fate::Accepted } else { Fate::Refused };
        self.record
            .answered(sequence, fate, flight.intended, flight.sent, now);
        if accepts {
            Settled::Accepted
        } else {
            Settled::Refused
        }
    }

    /// Counts a reply that names no message of this lane.
    pub(super) fn stray(&mut self) {
        self.record.stray_replies += 1;
    }

    /// The connection is gone: everything unanswered is to be sent again, oldest first.
    pub(super) fn disconnected(&mut self) {
        while let Some(flight) = self.open.pop_back() {
            self.again.push_front(flight);
        }
    }

    /// No first sends from here on; what is open is still waited for.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether everything was sent and answered.
    pub(super) fn finished(&self, now: Micros) -> bool {
        self.open.is_empty() && self.again.is_empty() && !self.more_to_come(now)
    }

    /// When the lane has something to do without hearing from its partner: the next send is due, the
    /// time is up, or the oldest message has waited `ack_timeout` for its answer.
    pub(super) fn wake_at(&self, now: Micros, ack_timeout: Micros) -> Option<Micros> {
        let due = self.plan.due(self.next).filter(|_| self.more_to_come(now));
        let end = Some(self.plan.end).filter(|&end| end != Micros::MAX && end > now);
        [due, end, self.overdue_at(ack_timeout)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the oldest open message has waited too long.
    pub(super) fn overdue_at(&self, ack_timeout: Micros) -> Option<Micros> {
        self.open
            .front()
            .map(|flight| flight.sent.saturating_add(ack_timeout))
    }

    pub(super) fn record_mut(&mut self) -> &mut LaneRecord {
        &mut self.record
    }

    pub(super) fn into_record(self) -> LaneRecord {
        self.record
    }

    fn more_to_come(&self, now: Micros) -> bool {
        let in_time = match self.plan.due(self.next) {
            Some(due) => due < self.plan.end,
            None => now < self.plan.end,
        };
        !self.stopped && self.next < self.plan.count && in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lane(pace: Pace, until: Until) -> Lane {
        Lane::new(Plan::share(pace, until, 0, 1), LaneRecord::new(0, 0))
    }

    fn drain(lane: &mut Lane, now: Micros) -> Vec<u32> {
        std::iter::from_fn(|| lane.take(now)).collect()
    }

    #[test]
    fn a_closed_loop_keeps_its_window_full() {
        let mut lane = lane(Pace::Closed { window: 2 }, Until::Count(4));
        assert_eq!(drain(&mut lane, 0), [0, 1]);
        assert_eq!(lane.answered(0, true, 5), Settled::Accepted);
        assert_eq!(drain(&mut lane, 5), [2]);
        for sequence in [1, 2] {
            lane.answered(sequence, true, 6);
        }
        assert_eq!(drain(&mut lane, 6), [3]);
        assert!(!lane.finished(6));
        assert_eq!(lane.answered(3, false, 7), Settled::Refused);
        assert!(lane.finished(7));
    }

    #[test]
    fn an_open_loop_sends_by_the_schedule_and_measures_from_it() {
        let mut lane = lane(
            Pace::Open { per_second: 1000.0 },
            Until::Elapsed(Duration::from_millis(3)),
        );
        assert_eq!(drain(&mut lane, 0), [0]);
        assert_eq!(lane.wake_at(0, 1_000_000), Some(1000));
        // The sender was held up until 2.5 ms: message 1 was intended for 1 ms, 2 for 2 ms.
        assert_eq!(drain(&mut lane, 2500), [1, 2]);
        assert_eq!(drain(&mut lane, 10_000), Vec::<u32>::new());
        lane.answered(1, true, 3000);
        let record = lane.into_record();
        assert_eq!(record.latency.max(), 2000);
        assert_eq!(record.round_trip.max(), 500);
    }

    #[test]
    fn a_broken_connection_brings_back_what_was_open_before_anything_new() {
        let mut lane = lane(Pace::Closed { window: 3 }, Until::Count(5));
        assert_eq!(drain(&mut lane, 0), [0, 1, 2]);
        lane.answered(1, true, 1);
        lane.disconnected();
        assert_eq!(lane.take(2), Some(0));
        lane.disconnected();
        assert_eq!(drain(&mut lane, 3), [0, 2, 3]);
        assert_eq!(lane.answered(1, true, 4), Settled::Stray);
        let record = lane.into_record();
        assert_eq!(record.wire_order, [0, 1, 2, 0, 0, 2, 3]);
        assert_eq!((record.resent, record.stray_replies), (3, 1));
    }

    #[test]
    fn a_stopped_lane_waits_only_for_its_answers() {
        let mut lane = lane(Pace::Closed { window: 1 }, Until::Stopped);
        lane.take(0);
        lane.stop();
        assert!(!lane.finished(1));
        lane.answered(0, true, 1);
        assert!(lane.finished(1));
    }

    #[test]
    fn a_count_is_shared_out_to_the_last_message() {
        for (total, lanes) in [(10, 3), (0, 2), (1, 4), (1_000_003, 7)] {
            let sum: u64 = (0..lanes)
                .map(|lane| Plan::share(Pace::Closed { window: 1 }, Until::Count(total), lane, lanes))
                .map(|plan| u64::from(plan.count))
                .sum();
            assert_eq!(sum, total);
        }
    }
}
