//! A simulated node: the production state machine, driven as its thread drives it, and beside it a small engine with
//! listeners, one writer and a lane for each partner.

use std::collections::VecDeque;
use std::time::Duration;

use cluster::machine::{Candidate, Do, Machine};
use cluster::{Role, Tick};
use model::Term;

use super::history::{Row, What};
use super::world::{Happens, NODES, Note, Outcome, P, World, body_of};
use crate::database::Write;
use crate::guards::{Answer, Without, tell};

/// A write whose answer does not come within this has an outcome that nobody knows.
const COMMIT: Duration = Duration::from_millis(1_000);
/// A process that was fenced, and is not in the way of anybody yet, ends within this.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    Runs,
    /// The process does nothing; its machine still takes connections for it.
    Stopped,
    /// The whole machine does nothing.
    Frozen,
    /// There is no process.
    Down,
}

pub(super) struct Node {
    pub(super) machine: Machine,
    /// Which process of this node it is.
    pub(super) boot: u64,
    pub(super) pace: Pace,
    /// What it will hear when it goes on.
    pub(super) held: Vec<Note>,
    pub(super) cut: bool,
    /// As the watchdog knows it.
    pub(super) deadline: Option<Tick>,
    call: Option<(u64, Do, Tick)>,
    /// The last time that the lease's thread was told to go on.
    drive: u64,
    body: Option<Body>,
    ends: bool,
}

/// What runs while a node leads.
struct Body {
    term: Term,
    session: u64,
    bound: bool,
    stops: bool,
    lanes: Vec<Lane>,
    /// What waits for the writer.
    pending: Vec<Row>,
    /// What the writer has under way, and whether its outcome is being looked for.
    writing: Option<(u64, Vec<Row>)>,
    claims: bool,
}

#[derive(Default)]
struct Lane {
    /// Accepted, and whether it is on its way to be handed over.
    accepted: VecDeque<(u64, bool)>,
    /// Handed over.
    ready: VecDeque<u64>,
    /// The head of `ready` is with its destination, or what became of it is being written.
    busy: bool,
}

impl Node {
    pub(super) fn new(index: usize) -> Node {
        let candidate = Candidate {
            node: NODES[index].to_owned(),
            fingerprint: "one".to_owned(),
            promotable: true,
            delay: Duration::ZERO,
        };
        Node {
            machine: Machine::new(candidate, P),
            boot: 0,
            pace: Pace::Down,
            held: Vec::new(),
            cut: false,
            deadline: None,
            call: None,
            drive: 0,
            body: None,
            ends: false,
        }
    }

    /// Whether a partner gets a connection.
    pub(super) fn listens(&self) -> bool {
        let answers = matches!(self.pace, Pace::Runs | Pace::Stopped);
        answers && self.body.as_ref().is_some_and(|body| body.bound)
    }

    /// The gate before everything that a leader begins.
    fn leads(&self, now: Tick) -> bool {
        let role = matches!(self.machine.role(), Role::Leader(_));
        role && !self.ends && self.deadline.is_some_and(|deadline| now < deadline)
    }
}

impl World {
    /// A process is told something.
    pub(super) fn take(&mut self, index: usize, note: Note) {
        match note {
            Note::Drive(number) if self.nodes[index].drive == number => self.drive(index),
            Note::Drive(_) => {}
            Note::Call(id, answer) => self.call_returns(index, id, answer),
            Note::Watchdog => {
                let node = &mut self.nodes[index];
                if node.deadline.is_some_and(|deadline| self.now >= deadline) {
                    node.machine.fenced();
                    self.publish(index);
                }
            }
            Note::Closed => self.closed(index),
            Note::Ends => self.end(index),
            Note::Written(id, outcome) => self.written(index, id, outcome),
            Note::Claimed(session, outcome) => self.claimed(index, session, outcome),
            Note::Frame { lane, message } => self.frame(index, lane, message),
            Note::Taken { lane, message } => {
                if let Some(body) = &mut self.nodes[index].body {
                    body.pending.push(Row::Delivered { lane, message });
                    self.work(index);
                }
            }
        }
    }

    // The lease's thread.

    pub(super) fn drive_soon(&mut self, index: usize) {
        self.drive_after(index, Duration::ZERO);
    }

    fn drive_after(&mut self, index: usize, time: Duration) {
        let number = self.number();
        self.nodes[index].drive = number;
        self.note(index, time, Note::Drive(number));
    }

    fn drive(&mut self, index: usize) {
        if self.nodes[index].call.is_some() {
            return;
        }
        let next = self.nodes[index].machine.next(self.now);
        self.publish(index);
        match next {
            Do::Wait(until) => {
                let time = until.since(self.now).max(Duration::from_millis(1));
                self.drive_after(index, time);
            }
            Do::End if self.nodes[index].machine.role() == Role::Left => self.end(index),
            Do::End => {}
            what => self.ask(index, what),
        }
    }

    /// Mostly quick, sometimes as slow as it may be, sometimes carried out long after nobody waits any more. In trouble an
    /// answer can come too late; once all is calm it comes in time.
    fn ask(&mut self, index: usize, what: Do) {
        let in_trouble = !self.calm;
        let way = match self.dice.one_in(5) {
            true if in_trouble => P.attempt,
            true => P.attempt / 3,
            false => P.attempt / 50,
        };
        let (mut there, back) = (self.dice.upto(way), self.dice.upto(way));
        if in_trouble && self.dice.one_in(40) {
            there = self.late(P.ttl * 2);
        }
        let lost = in_trouble && self.dice.one_in(30);
        let heard = !(in_trouble && self.dice.one_in(25));
        // Acquiring waits for others.
        let patience = P.attempt * if matches!(what, Do::Acquire(_)) { 3 } else { 1 };
        let id = self.number();
        self.nodes[index].call = Some((id, what.clone(), self.now));
        let boot = self.nodes[index].boot;
        if !lost {
            let call = Happens::Call {
                node: index,
                boot,
                id,
                what,
                waited: Duration::ZERO,
                back: heard.then_some(back),
            };
            self.after(there, call);
        }
        self.note(index, patience, Note::Call(id, None));
    }

    fn call_returns(&mut self, index: usize, id: u64, answer: Option<Answer>) {
        let node = &mut self.nodes[index];
        if node.call.as_ref().is_none_or(|(of, ..)| *of != id) {
            return;
        }
        let Some((_, what, sent)) = node.call.take() else {
            return;
        };
        tell(
            &mut node.machine,
            &what,
            answer,
            (sent, self.now),
            &P,
            self.without,
        );
        self.drive(index);
    }

    /// What the machine says reaches the rest of the node.
    fn publish(&mut self, index: usize) {
        let role = self.nodes[index].machine.role();
        if let Role::Fenced(_) = role {
            return self.fenced(index);
        }
        let deadline = self.nodes[index].machine.deadline();
        if deadline != self.nodes[index].deadline {
            self.nodes[index].deadline = deadline;
            if let Some(until) = deadline {
                self.record(What::Deadline { node: index, until });
                self.note(index, until.since(self.now), Note::Watchdog);
                let boot = self.nodes[index].boot;
                self.at(until + P.stop + P.watchdog, Happens::Fencer { node: index, boot });
            }
        }
        match (role, &self.nodes[index].body) {
            (Role::Leader(term), None) => self.promote(index, term),
            (Role::SteppingDown(term), None) => self.nodes[index].machine.stopped(term),
            (Role::SteppingDown(term), Some(_)) => {
                if self.without == Without::StopBeforeRelease {
                    self.nodes[index].machine.stopped(term);
                }
                if let Some(body) = &mut self.nodes[index].body
                    && !std::mem::replace(&mut body.stops, true)
                {
                    let time = self.dice.upto(P.stop);
                    self.note(index, time, Note::Closed);
                }
            }
            _ => {}
        }
    }

    /// It may not lead any more: the process ends, within its stop budget.
    fn fenced(&mut self, index: usize) {
        if std::mem::replace(&mut self.nodes[index].ends, true) {
            return;
        }
        let late = self.nodes[index]
            .deadline
            .is_none_or(|deadline| self.now >= deadline);
        let time = self.dice.upto(if late { P.stop } else { LAST_WORDS });
        self.note(index, time, Note::Ends);
    }

    // The engine.

    fn promote(&mut self, index: usize, term: Term) {
        self.nodes[index].body = Some(Body {
            term,
            session: 0,
            bound: false,
            stops: false,
            lanes: Vec::new(),
            pending: Vec::new(),
            writing: None,
            claims: false,
        });
        self.claim(index);
    }

    /// Takes the shard's row for a new session, and reads what it has to know.
    fn claim(&mut self, index: usize) {
        let session = self.number();
        let node = &mut self.nodes[index];
        let boot = node.boot;
        let Some(body) = &mut node.body else { return };
        body.session = session;
        body.claims = true;
        let claim = Happens::Claim {
            node: index,
            boot,
            term: body.term,
            session,
            doubt: body.writing.as_ref().map(|(id, _)| *id),
            waited: Duration::ZERO,
            heard: self.calm || !self.dice.one_in(20),
        };
        let time = self.dice.ms(1, 5);
        self.after(time, claim);
        self.note(index, COMMIT, Note::Claimed(session, Outcome::Unknown));
    }

    fn claimed(&mut self, index: usize, session: u64, outcome: Outcome) {
        let leads = self.nodes[index].leads(self.now);
        let Some(body) = &mut self.nodes[index].body else {
            return;
        };
        if body.session != session || !body.claims {
            return;
        }
        body.claims = false;
        match outcome {
            Outcome::Unknown => self.claim(index),
            Outcome::Fenced => self.fenced(index),
            Outcome::Found { open, is_there } => {
                if let Some((id, rows)) = body.writing.take() {
                    if is_there {
                        body.writing = Some((id, rows));
                        return self.written(index, id, Outcome::Done);
                    }
                    // Written by nobody, and never will be: it is written anew.
                    let later = std::mem::replace(&mut body.pending, rows);
                    body.pending.extend(later);
                } else if !body.bound && leads {
                    body.lanes = open.into_iter().map(Lane::of).collect();
                    body.bound = true;
                    let term = body.term;
                    self.record(What::Bound { node: index, term });
                }
                self.work(index);
            }
            Outcome::Done => {}
        }
    }

    fn frame(&mut self, index: usize, lane: usize, message: u64) {
        let node = &mut self.nodes[index];
        let leads = node.leads(self.now);
        if let Some(body) = node.body.as_mut().filter(|body| body.bound && leads) {
            let body_of_it = body_of(message);
            body.pending.push(Row::Accepted {
                lane,
                message,
                body: body_of_it,
            });
            self.work(index);
        }
    }

    /// Begins whatever can be begun.
    fn work(&mut self, index: usize) {
        let now = self.now;
        if !self.nodes[index].leads(now) {
            return self.rest(index);
        }
        let node = &mut self.nodes[index];
        let Some(body) = &mut node.body else { return };
        let mut deliver = Vec::new();
        for (number, lane) in body.lanes.iter_mut().enumerate() {
            for (message, on_its_way) in &mut lane.accepted {
                if !std::mem::replace(on_its_way, true) {
                    body.pending.push(Row::Handed {
                        lane: number,
                        message: *message,
                    });
                }
            }
            if let Some(head) = lane.ready.front()
                && !std::mem::replace(&mut lane.busy, true)
            {
                deliver.push((number, *head));
            }
        }
        for (lane, message) in deliver {
            let (there, back) = (self.dice.ms(1, 20), self.dice.ms(1, 20));
            self.after(there, Happens::Receive { lane, message });
            self.note(index, there + back, Note::Taken { lane, message });
        }
        self.write(index);
    }

    fn write(&mut self, index: usize) {
        let id = self.number();
        let boot = self.nodes[index].boot;
        let Some(body) = &mut self.nodes[index].body else {
            return;
        };
        if body.writing.is_some() || body.claims || body.pending.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut body.pending);
        body.writing = Some((id, rows.clone()));
        let write = Write {
            id,
            node: index,
            term: body.term,
            session: body.session,
        };
        let in_trouble = !self.calm;
        let late = in_trouble && self.dice.one_in(100);
        let lost = self.nodes[index].cut || in_trouble && self.dice.one_in(100);
        let heard = !(in_trouble && self.dice.one_in(60));
        let time = if late {
            self.late(P.ttl * 2)
        } else {
            self.dice.upto(Duration::from_millis(5))
        };
        if !lost {
            self.after(
                time,
                Happens::Write {
                    boot,
                    write,
                    rows,
                    heard,
                },
            );
        }
        self.note(index, COMMIT, Note::Written(id, Outcome::Unknown));
    }

    fn written(&mut self, index: usize, id: u64, outcome: Outcome) {
        let Some(body) = &mut self.nodes[index].body else {
            return;
        };
        if body.writing.as_ref().is_none_or(|(of, _)| *of != id) {
            return;
        }
        let term = body.term;
        match outcome {
            // While the outcome is looked for, an answer of the old connection says nothing.
            _ if body.claims => return,
            Outcome::Fenced => return self.fenced(index),
            Outcome::Unknown => return self.claim(index),
            Outcome::Done | Outcome::Found { .. } => {}
        }
        let rows = body.writing.take().map(|(_, rows)| rows).unwrap_or_default();
        let mut accepted = Vec::new();
        for row in rows {
            match row {
                Row::Accepted { lane, message, .. } => {
                    body.lanes[lane].accepted.push_back((message, false));
                    accepted.push((lane, message));
                }
                Row::Handed { lane, message } => {
                    let lane = &mut body.lanes[lane];
                    lane.accepted.retain(|(one, _)| *one != message);
                    lane.ready.push_back(message);
                }
                Row::Delivered { lane, message } => {
                    let lane = &mut body.lanes[lane];
                    lane.busy = false;
                    lane.ready.retain(|one| *one != message);
                }
            }
        }
        for (lane, message) in accepted {
            self.acknowledge(lane, message, term);
        }
        self.work(index);
    }

    /// All listeners are closed.
    fn closed(&mut self, index: usize) {
        if let Some(body) = &mut self.nodes[index].body {
            body.stops = true;
            if std::mem::replace(&mut body.bound, false) {
                self.record(What::Unbound { node: index });
            }
            self.rest(index);
        }
    }

    /// Ends a leadership that is to end, once its listeners are closed and nothing is under way.
    fn rest(&mut self, index: usize) {
        let Some(body) = &self.nodes[index].body else {
            return;
        };
        if body.stops && !body.bound && body.writing.is_none() {
            let term = body.term;
            self.nodes[index].body = None;
            self.nodes[index].machine.stopped(term);
            self.drive_soon(index);
        }
    }
}

impl Lane {
    /// As the database has it: what was handed over comes before what was not.
    fn of(open: Vec<(u64, bool)>) -> Lane {
        let mut lane = Lane::default();
        for (message, handed) in open {
            if handed {
                lane.ready.push_back(message);
            } else {
                lane.accepted.push_back((message, false));
            }
        }
        lane
    }
}
