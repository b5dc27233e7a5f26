//! Judges a run by its history, and shares nothing with the code under test. The names are those of ARCHITECTURE.md.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cluster::Tick;
use model::Term;

use super::history::{Event, Row, What};

/// What was promised.
pub(super) struct Promised {
    /// Listeners close so long after a deadline.
    pub(super) stop: Duration,
    /// A leader is there so long after the last fault.
    pub(super) leader: Duration,
    /// And all is delivered so long after the last message.
    pub(super) drained: Duration,
}

/// What did not hold, in words, with the invariant first.
pub(super) fn judge(history: &[Event], promised: &Promised) -> Vec<String> {
    let mut judge = Judge::default();
    for event in history {
        judge.hear(event, promised);
    }
    judge.end(promised);
    judge.faults
}

#[derive(Default)]
struct Node {
    bound: Option<Term>,
    frozen: bool,
    deadline: Option<Tick>,
}

/// One change of the database.
enum Change {
    Acquired(Term),
    Committed(Term, Vec<Row>),
}

#[derive(Default)]
struct Judge {
    faults: Vec<String>,
    nodes: HashMap<usize, Node>,
    changes: Vec<Change>,
    terms: HashSet<Term>,
    /// What was sent, by message.
    sent: HashMap<u64, u64>,
    acknowledged: HashMap<u64, Term>,
    /// Messages of which a database that took over has forgotten something.
    forgotten: HashSet<u64>,
    /// Whether a database that took over had forgotten anything.
    rewound: bool,
    received: HashMap<usize, Vec<u64>>,
    /// The order in which messages were accepted.
    order: HashMap<u64, usize>,
    leaderships: usize,
    /// What a lane repeated, by the number of the leadership.
    repeated: HashMap<(usize, usize), usize>,
    calm: Option<Tick>,
    /// Whether it was looked for a leader after that.
    looked: bool,
    quiet: Option<Tick>,
    last_delivery: Option<Tick>,
}

impl Judge {
    fn fault(&mut self, at: Tick, text: &str) {
        self.faults.push(format!("{text}, at {} ms", at.0 / 1_000_000));
    }

    fn newest(&self) -> Option<Term> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::Acquired(term) => Some(*term),
            Change::Committed(..) => None,
        })
    }

    fn hear(&mut self, event: &Event, promised: &Promised) {
        let at = event.at;
        if matches!(event.what, What::Unbound { .. } | What::Gone { .. }) {
            self.look_at_the_listeners(at, promised);
        }
        if !self.looked && self.calm.is_some_and(|calm| at > calm + promised.leader) {
            self.looked = true;
            if self.nodes.values().all(|node| node.bound.is_none()) {
                self.fault(at, "I14: nobody leads");
            }
        }
        match &event.what {
            What::Sent { message, body, .. } => {
                self.sent.insert(*message, *body);
            }
            What::Acknowledged { message, term } => self.acknowledged(at, *message, *term),
            What::Received { lane, message } => self.received(at, *lane, *message),
            What::Bound { node, term } => self.nodes.entry(*node).or_default().bound = Some(*term),
            What::Unbound { node } => self.nodes.entry(*node).or_default().bound = None,
            What::Gone { node } => {
                self.nodes.insert(*node, Node::default());
            }
            What::Deadline { node, until } => self.nodes.entry(*node).or_default().deadline = Some(*until),
            What::Frozen { node } => self.nodes.entry(*node).or_default().frozen = true,
            What::Resumed { node } => self.nodes.entry(*node).or_default().frozen = false,
            What::Acquired { term } => self.acquired(at, *term),
            What::Committed { term, rows } => self.committed(at, *term, rows),
            What::FailedOver { kept } => self.failed_over(*kept),
            What::Calm => self.calm = Some(at),
            What::Quiet => self.quiet = Some(at),
        }
        self.look_at_the_listeners(at, promised);
    }

    /// I1: one node at most has open listeners and is there to answer. I13: none has them for longer than the stop
    /// budget after its deadline.
    fn look_at_the_listeners(&mut self, at: Tick, promised: &Promised) {
        let open: Vec<usize> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.bound.is_some() && !node.frozen)
            .map(|(index, _)| *index)
            .collect();
        if open.len() > 1 {
            self.fault(at, &format!("I1: the nodes {open:?} listen"));
        }
        let late = open.iter().find(|index| {
            let deadline = self.nodes[*index].deadline;
            deadline.is_none_or(|deadline| at > deadline + promised.stop)
        });
        if let Some(late) = late.copied() {
            self.fault(at, &format!("I13: node {late} listens after its deadline"));
        }
    }

    /// I3: a term comes once, and epochs grow.
    fn acquired(&mut self, at: Tick, term: Term) {
        self.leaderships += 1;
        if !self.terms.insert(term) {
            self.fault(at, &format!("I3: {term:?} came before"));
        }
        if self.newest().is_some_and(|newest| newest.epoch >= term.epoch) {
            self.fault(at, &format!("I3: epoch {} does not follow", term.epoch.0));
        }
        self.changes.push(Change::Acquired(term));
    }

    /// I2: only the newest term writes. I5: what is stored was sent.
    fn committed(&mut self, at: Tick, term: Term, rows: &[Row]) {
        if self.newest() != Some(term) {
            self.fault(at, &format!("I2: epoch {} still wrote", term.epoch.0));
        }
        for row in rows {
            if let Row::Accepted { message, body, .. } = row
                && self.sent.get(message) != Some(body)
            {
                self.fault(at, &format!("I5: message {message} was not sent so"));
            }
            if let Row::Accepted { message, .. } = row {
                self.order.insert(*message, self.order.len());
            }
            if let Row::Delivered { lane, message } = row {
                // What was forgotten is done again by the next leader, whenever that comes.
                if !self.forgotten.contains(message) {
                    self.last_delivery = Some(at);
                }
                let received = self.received.get(lane);
                if !received.is_some_and(|received| received.contains(message)) {
                    self.fault(at, &format!("I7: message {message} was not received"));
                }
            }
        }
        self.changes.push(Change::Committed(term, rows.to_vec()));
    }

    fn failed_over(&mut self, kept: usize) {
        let lost = self.changes.split_off(kept.min(self.changes.len()));
        for change in lost {
            self.rewound = true;
            if let Change::Committed(_, rows) = change {
                self.forgotten.extend(rows.iter().map(message_of));
            }
        }
    }

    /// I10: an acknowledgement follows a commit of the same term. I4: what is acknowledged is in the store.
    fn acknowledged(&mut self, at: Tick, message: u64, term: Term) {
        self.acknowledged.insert(message, term);
        let by = self.changes.iter().find_map(|change| match change {
            Change::Committed(term, rows) if accepts(rows, message) => Some(*term),
            _ => None,
        });
        match by {
            Some(by) if by == term => {}
            None if self.forgotten.contains(&message) => {}
            Some(_) => self.fault(at, &format!("I10: another term stored message {message}")),
            None => self.fault(at, &format!("I4: message {message} is not in the store")),
        }
    }

    /// I9: a lane's messages come in order, and one that comes again comes before anything newer. I8: a change of leader
    /// repeats one of a lane at most.
    fn received(&mut self, at: Tick, lane: usize, message: u64) {
        let received = self.received.entry(lane).or_default();
        let again = received.contains(&message);
        let before = received.last().copied();
        received.push(message);
        if self.rewound {
            return; // what it had forgotten is done again
        }
        let place = |of: u64| self.order.get(&of).copied();
        if before.is_some_and(|before| place(before) > place(message)) {
            self.fault(at, &format!("I9: message {message} came after {before:?}"));
        }
        if again {
            let times = self.repeated.entry((lane, self.leaderships)).or_default();
            *times += 1;
            if *times > 1 {
                self.fault(
                    at,
                    &format!("I8: lane {lane} repeated message {message}, not the first in one leadership"),
                );
            }
        }
    }

    fn end(&mut self, promised: &Promised) {
        let mut accepted: HashMap<u64, usize> = HashMap::new();
        let mut delivered: HashMap<u64, usize> = HashMap::new();
        for change in &self.changes {
            let Change::Committed(_, rows) = change else {
                continue;
            };
            for row in rows {
                match row {
                    Row::Accepted { message, .. } => *accepted.entry(*message).or_default() += 1,
                    Row::Delivered { message, .. } => *delivered.entry(*message).or_default() += 1,
                    Row::Handed { .. } => {}
                }
            }
        }
        let mut faults = Vec::new();
        if !self.looked {
            faults.push("I14: nothing happened any more".to_owned());
        }
        for message in self.acknowledged.keys() {
            if !accepted.contains_key(message) && !self.forgotten.contains(message) {
                faults.push(format!("I4: message {message} is lost"));
            }
        }
        for (message, times) in &accepted {
            if *times != 1 {
                faults.push(format!("I11: message {message} is stored {times} times"));
            }
            if delivered.get(message) != Some(&1) && !self.forgotten.contains(message) {
                faults.push(format!("I6: message {message} has not exactly one end"));
            }
        }
        if self
            .quiet
            .is_some_and(|quiet| self.last_delivery.is_some_and(|at| at > quiet + promised.drained))
        {
            faults.push("I14: what was left did not drain".to_owned());
        }
        faults.sort(); // maps have no order, and a run is to say the same again
        self.faults.extend(faults);
    }
}

fn message_of(row: &Row) -> u64 {
    match row {
        Row::Accepted { message, .. } | Row::Handed { message, .. } | Row::Delivered { message, .. } => {
            *message
        }
    }
}

fn accepts(rows: &[Row], of: u64) -> bool {
    let accepts = |row: &Row| matches!(row, Row::Accepted { message, .. } if *message == of);
    rows.iter().any(accepts)
}
