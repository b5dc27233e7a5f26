//! Which send leaves next: the five orderings as one pure structure. Rows come in from the lane's
//! window; the lane's task asks for the next one, and says how it ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use model::graph::Ordering;
use model::{Body, MessageId, SendId, Timestamp};

use super::window::Row;
use crate::budget::Held;

/// A send that waits.
#[derive(Debug)]
pub(crate) struct SendRow {
    pub(crate) id: SendId,
    pub(crate) message: MessageId,
    pub(crate) priority: i32,
    pub(crate) partition: Option<Box<str>>,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    /// Its bytes, while they are held in memory.
    pub(crate) body: Option<Held<Body>>,
    /// When it became durable, unless it was read back from the store or tried before.
    pub(crate) since: Option<Instant>,
}

impl Row for SendRow {
    fn number(&self) -> i64 {
        self.id.raw()
    }
}

/// What to do now.
#[derive(Debug)]
pub(crate) enum Next {
    /// Deliver this one; it counts as in flight until `done` or `again`.
    Deliver(SendRow),
    /// Nothing may leave before this instant.
    WaitUntil(Timestamp),
    /// Nothing waits, or all that may be in flight is.
    Idle,
}

/// See the module's text.
pub(crate) struct Schedule {
    ordering: Ordering,
    concurrency: usize,
    in_flight: usize,
    /// Strict FIFO only: deliveries whose outcome is on its way to the store, and how many there may be, the one in
    /// flight included.
    unrecorded: usize,
    unrecorded_max: usize,
    /// All orderings but the partitioned one: what may leave, first in key order.
    ready: BTreeMap<(i64, i64), SendRow>,
    /// Sends whose retry time has not come; in a FIFO lane at most the head.
    delayed: BTreeMap<(Timestamp, i64), SendRow>,
    /// The partitioned ordering: per key, in order.
    keys: HashMap<Box<str>, Key>,
    /// Keys that may send now, in the order in which they became able to.
    turn: VecDeque<Box<str>>,
    held: HashSet<i64>,
}

#[derive(Default)]
struct Key {
    rows: VecDeque<SendRow>,
    busy: bool,
}

impl Schedule {
    pub(crate) fn new(ordering: Ordering, concurrency: u32, unrecorded: u32) -> Schedule {
        let number = |number: u32| usize::try_from(number.max(1)).unwrap_or(1);
        let (concurrency, unrecorded_max) = match ordering {
            Ordering::Fifo => (1, number(unrecorded)),
            _ => (number(concurrency), usize::MAX),
        };
        Schedule {
            ordering,
            concurrency,
            in_flight: 0,
            unrecorded: 0,
            unrecorded_max,
            ready: BTreeMap::new(),
            delayed: BTreeMap::new(),
            keys: HashMap::new(),
            turn: VecDeque::new(),
            held: HashSet::new(),
        }
    }

    /// Whether one more send may be in flight.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < self.concurrency && self.in_flight + self.unrecorded < self.unrecorded_max
    }

    /// Whether a send waits here for nothing but others of this lane.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.turn.is_empty()
    }

    /// Rows held here, in flight ones included.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Sends in flight now; one is until its outcome is durable.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight + self.unrecorded
    }

    /// Adds a row; one that is already here is dropped.
    pub(crate) fn push(&mut self, row: SendRow) {
        if !self.held.insert(row.id.raw()) {
            return;
        }
        match self.ordering {
            Ordering::Partitioned { .. } => self.push_key(row, false),
            _ => {
                self.ready.insert(self.rank(&row), row);
            }
        }
    }

    fn rank(&self, row: &SendRow) -> (i64, i64) {
        match self.ordering {
            Ordering::Priority => (-i64::from(row.priority), row.id.raw()),
            Ordering::Lifo => (0, -row.id.raw()),
            _ => (0, row.id.raw()),
        }
    }

    fn push_key(&mut self, row: SendRow, front: bool) {
        let name = row.partition.clone().unwrap_or_default();
        let key = self.keys.entry(name.clone()).or_default();
        let was_idle = key.rows.is_empty() && !key.busy;
        if front {
            key.rows.push_front(row);
        } else {
            key.rows.push_back(row);
        }
        if was_idle {
            self.turn.push_back(name);
        }
    }

    /// What to do now. Call again after each answer until it says wait or idle.
    pub(crate) fn next(&mut self, now: Timestamp) -> Next {
        self.wake_delayed(now);
        if !self.has_room() {
            return Next::Idle;
        }
        if let Some(row) = self.take_ready() {
            self.in_flight += 1;
            return Next::Deliver(row);
        }
        match self.delayed.first_key_value() {
            Some(((at, _), _)) => Next::WaitUntil(*at),
            None => Next::Idle,
        }
    }

    fn take_ready(&mut self) -> Option<SendRow> {
        if let Ordering::Partitioned { .. } = self.ordering {
            return self.take_key();
        }
        if self.ordering == Ordering::Fifo && !self.delayed.is_empty() {
            return None; // the head waits for its retry and blocks the lane
        }
        self.ready.pop_first().map(|(_, row)| row)
    }

    fn take_key(&mut self) -> Option<SendRow> {
        while let Some(name) = self.turn.pop_front() {
            let Some(key) = self.keys.get_mut(&name) else {
                continue;
            };
            if key.busy {
                continue; // its turn comes again when the send in flight ends
            }
            match key.rows.pop_front() {
                Some(row) => {
                    key.busy = true;
                    return Some(row);
                }
                None => drop(self.keys.remove(&name)),
            }
        }
        None
    }

    fn wake_delayed(&mut self, now: Timestamp) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let row = entry.remove();
            match self.ordering {
                Ordering::Partitioned { .. } => self.release_key_with(row),
                _ => {
                    self.ready.insert(self.rank(&row), row);
                }
            }
        }
    }

    fn release_key_with(&mut self, row: SendRow) {
        if let Some(key) = self.keys.get_mut(row.partition.as_deref().unwrap_or_default()) {
            key.busy = false;
            let name = row.partition.clone().unwrap_or_default();
            key.rows.push_front(row);
            self.turn.push_back(name);
        }
    }

    /// A send in flight was delivered, which is not durable yet. In a FIFO lane that allows for several of those
    /// the next one may leave; in all others its place stays taken.
    pub(crate) fn delivered(&mut self) {
        if self.ordering == Ordering::Fifo {
            self.in_flight = self.in_flight.saturating_sub(1);
            self.unrecorded += 1;
        }
    }

    /// That a send was [`delivered`](Schedule::delivered) is durable.
    pub(crate) fn recorded(&mut self, id: SendId, partition: Option<&str>) {
        if self.ordering == Ordering::Fifo {
            self.unrecorded = self.unrecorded.saturating_sub(1);
            self.held.remove(&id.raw());
        } else {
            self.done(id, partition);
        }
    }

    /// A send in flight ended for good, undelivered.
    pub(crate) fn done(&mut self, id: SendId, partition: Option<&str>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.held.remove(&id.raw());
        self.free_key(partition);
    }

    /// The send of a key that was in flight or waited for its retry is gone: the next one of it may go.
    fn free_key(&mut self, partition: Option<&str>) {
        let Ordering::Partitioned { .. } = self.ordering else {
            return;
        };
        let name = partition.unwrap_or_default();
        let Some(key) = self.keys.get_mut(name) else {
            return;
        };
        key.busy = false;
        if key.rows.is_empty() {
            self.keys.remove(name);
        } else {
            self.turn.push_back(name.into());
        }
    }

    /// A send in flight failed and is tried again at `at`; until then it blocks what its ordering says:
    /// the lane (fifo), its key (partitioned), nothing (the others).
    pub(crate) fn again(&mut self, row: SendRow, at: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.delayed.insert((at, row.id.raw()), row);
    }

    /// Ids of the next rows whose bytes are not in memory, at most `most`, the likely next ones first.
    pub(crate) fn without_body(&self, most: usize) -> Vec<SendId> {
        let keyed = self.keys.values().filter_map(|key| key.rows.front());
        self.ready
            .values()
            .take(most)
            .chain(keyed)
            .filter(|row| row.body.is_none())
            .map(|row| row.id)
            .take(most)
            .collect()
    }

    /// Gives bytes to a row that waits here.
    pub(crate) fn attach(&mut self, id: SendId, body: Held<Body>) {
        let waiting = self
            .ready
            .values_mut()
            .chain(self.keys.values_mut().filter_map(|key| key.rows.front_mut()));
        for row in waiting {
            if row.id == id {
                row.body = Some(body);
                return;
            }
        }
    }

    /// Takes a waiting row out (a person skips or purges it); `None` when it is in flight, not here, or of
    /// another message.
    pub(crate) fn remove(&mut self, id: SendId, message: MessageId) -> Option<SendRow> {
        let row = self.remove_waiting(|row| row.id == id && row.message == message)?;
        self.held.remove(&id.raw());
        Some(row)
    }

    fn remove_waiting(&mut self, is_it: impl Fn(&SendRow) -> bool) -> Option<SendRow> {
        if let Some(key) = self
            .delayed
            .iter()
            .find(|(_, row)| is_it(row))
            .map(|(key, _)| *key)
        {
            let row = self.delayed.remove(&key)?;
            self.free_key(row.partition.as_deref());
            return Some(row);
        }
        if let Some(key) = self.ready.iter().find(|(_, row)| is_it(row)).map(|(key, _)| *key) {
            return self.ready.remove(&key);
        }
        for key in self.keys.values_mut() {
            if let Some(at) = key.rows.iter().position(&is_it) {
                return key.rows.remove(at); // an emptied key leaves when its turn comes
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use model::RowId;

    use super::*;

    fn row(id: i64, priority: i32, partition: &str) -> SendRow {
        SendRow {
            id: SendId(RowId(id)),
            message: MessageId(RowId(id)),
            priority,
            partition: (!partition.is_empty()).then(|| partition.into()),
            attempts: 0,
            body: None,
            since: None,
        }
    }

    fn next_id(schedule: &mut Schedule, now: i64) -> Option<i64> {
        match schedule.next(Timestamp(now)) {
            Next::Deliver(row) => Some(row.id.raw()),
            _ => None,
        }
    }

    fn order(ordering: Ordering, rows: Vec<SendRow>) -> Vec<i64> {
        let mut schedule = Schedule::new(ordering, 1, 1);
        rows.into_iter().for_each(|row| schedule.push(row));
        let mut out = Vec::new();
        while let Next::Deliver(row) = schedule.next(Timestamp(0)) {
            out.push(row.id.raw());
            schedule.done(row.id, row.partition.as_deref());
        }
        out
    }

    #[test]
    fn each_ordering_sends_in_its_order() {
        let rows = || vec![row(1, 0, "a"), row(2, 5, "b"), row(3, 5, "a"), row(4, -1, "b")];
        for (ordering, expected) in [
            (Ordering::Fifo, [1, 2, 3, 4]),
            (Ordering::Unordered, [1, 2, 3, 4]),
            (Ordering::Priority, [2, 3, 1, 4]),
            (Ordering::Lifo, [4, 3, 2, 1]),
        ] {
            assert_eq!(order(ordering.clone(), rows()), expected, "{ordering:?}");
        }
    }

    #[test]
    fn the_head_of_a_fifo_lane_blocks_it_until_its_retry() {
        let mut schedule = Schedule::new(Ordering::Fifo, 8, 1);
        schedule.push(row(1, 0, ""));
        schedule.push(row(2, 0, ""));
        let Next::Deliver(head) = schedule.next(Timestamp(0)) else {
            panic!("head")
        };
        assert!(
            matches!(schedule.next(Timestamp(0)), Next::Idle),
            "one in flight only"
        );
        schedule.again(head, Timestamp(50));
        assert!(matches!(
            schedule.next(Timestamp(10)),
            Next::WaitUntil(Timestamp(50))
        ));
        assert_eq!(next_id(&mut schedule, 50), Some(1));
    }

    #[test]
    fn a_delivery_holds_a_fifo_lane_until_it_is_durable_unless_several_may_be_unrecorded() {
        for (unrecorded, leaving) in [(1, 1), (3, 3)] {
            let mut schedule = Schedule::new(Ordering::Fifo, 1, unrecorded);
            (1..=5).for_each(|id| schedule.push(row(id, 0, "")));
            let mut left = Vec::new();
            while let Some(id) = next_id(&mut schedule, 0) {
                assert_eq!(next_id(&mut schedule, 0), None, "one in flight only");
                schedule.delivered();
                left.push(id);
            }
            assert_eq!(left, (1..=leaving).collect::<Vec<_>>());
            assert_eq!(schedule.in_flight(), left.len());
            schedule.recorded(SendId(RowId(1)), None);
            assert_eq!(next_id(&mut schedule, 0), Some(leaving + 1), "in order, one more");
        }
    }

    #[test]
    fn a_failed_send_blocks_its_fifo_lane_however_many_may_be_unrecorded() {
        let mut schedule = Schedule::new(Ordering::Fifo, 1, 8);
        (1..=3).for_each(|id| schedule.push(row(id, 0, "")));
        assert_eq!(next_id(&mut schedule, 0), Some(1));
        schedule.delivered();
        let Next::Deliver(second) = schedule.next(Timestamp(0)) else {
            panic!("second")
        };
        schedule.again(second, Timestamp(50));
        schedule.recorded(SendId(RowId(1)), None);
        assert_eq!(next_id(&mut schedule, 10), None);
        assert_eq!(next_id(&mut schedule, 50), Some(2));
    }

    #[test]
    fn keys_run_in_parallel_and_each_keeps_its_order() {
        let mut schedule = Schedule::new(
            Ordering::Partitioned {
                path: "PID-3.1".into(),
            },
            8,
            1,
        );
        for (id, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            schedule.push(row(id, 0, key));
        }
        let Next::Deliver(first) = schedule.next(Timestamp(0)) else {
            panic!("first")
        };
        assert_eq!(first.id.raw(), 1);
        assert_eq!(next_id(&mut schedule, 0), Some(3));
        assert_eq!(next_id(&mut schedule, 0), Some(4));
        assert_eq!(next_id(&mut schedule, 0), None, "2 waits for 1");
        schedule.again(first, Timestamp(9));
        assert_eq!(next_id(&mut schedule, 5), None, "2 still waits for 1's retry");
        assert_eq!(next_id(&mut schedule, 9), Some(1));
        schedule.done(SendId(RowId(1)), Some("a"));
        assert_eq!(next_id(&mut schedule, 9), Some(2));
    }

    #[test]
    fn a_failed_send_of_an_unordered_lane_blocks_nothing() {
        let mut schedule = Schedule::new(Ordering::Unordered, 1, 1);
        schedule.push(row(1, 0, ""));
        schedule.push(row(2, 0, ""));
        let Next::Deliver(first) = schedule.next(Timestamp(0)) else {
            panic!("first")
        };
        schedule.again(first, Timestamp(100));
        assert_eq!(next_id(&mut schedule, 1), Some(2));
    }

    #[test]
    fn a_stuck_head_can_be_taken_out() {
        let mut schedule = Schedule::new(Ordering::Fifo, 1, 1);
        schedule.push(row(1, 0, ""));
        schedule.push(row(2, 0, ""));
        let Next::Deliver(head) = schedule.next(Timestamp(0)) else {
            panic!("head")
        };
        schedule.again(head, Timestamp(1000));
        assert!(schedule.remove(SendId(RowId(1)), MessageId(RowId(2))).is_none());
        assert!(schedule.remove(SendId(RowId(1)), MessageId(RowId(1))).is_some());
        assert_eq!(next_id(&mut schedule, 0), Some(2));
    }
}
