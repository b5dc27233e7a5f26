//! One state of the model: the database, the nodes, and what is on its way between them.

use std::time::Duration;

use cluster::machine::{Candidate, Do, Machine};
use cluster::{Parameters, Role, Tick};
use model::Term;

use crate::database::{Database, Write};
use crate::guards::{Answer, Without, tell};

/// Time goes on in steps of this.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// In ticks: a renewal every one, a call one, the fence three, the lease four; what has to stop does within one.
pub(super) const P: Parameters = Parameters {
    renew: Duration::from_millis(10),
    attempt: Duration::from_millis(10),
    fence: Duration::from_millis(30),
    stop: Duration::from_millis(8),
    ttl: Duration::from_millis(40),
    watchdog: Duration::from_millis(1),
};
/// A lease is kept for whom it is handed to for two ticks.
const HOLD: Duration = Duration::from_millis(20);
pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];
const BEGIN: Tick = Tick(1_000_000_000_000);
/// A process that ended is back after so many ticks at the latest.
const RESTART: u8 = 2;

/// How much may go wrong. Each is used up at any instant, in any order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Budget {
    /// A process is stopped, or its whole machine frozen, for any time.
    pub(super) pauses: u8,
    /// A process ends.
    pub(super) crashes: u8,
    /// A node is cut from the database, or hears nothing of it, for any time.
    pub(super) cuts: u8,
    /// A call or its answer is late or lost.
    pub(super) slips: u8,
    /// A leader writes; what it wrote may arrive and end at any later time.
    pub(super) writes: u8,
    /// The database's clock is set forward or back.
    pub(super) jumps: u8,
    /// A standby of the database that stopped following at any time takes its place.
    pub(super) failovers: u8,
    /// Somebody asks for another leader, or a node is told to leave.
    pub(super) wishes: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) step: u8,
    pub(super) database: Database,
    /// What the database's standby has, once it follows no more.
    pub(super) behind: Option<Box<Database>>,
    pub(super) nodes: Vec<Node>,
    /// Calls that nobody waits for any more and that the database carries out some time.
    pub(super) late: Vec<(usize, Do)>,
    /// Writes that have been sent and have not arrived.
    pub(super) sent: Vec<Write>,
    pub(super) left: Budget,
    pub(super) written: u64,
    /// The step at which something went wrong last.
    pub(super) trouble: u8,
    /// A write was committed under a term that was not the newest.
    pub(super) stale: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) call: Option<Call>,
    pub(super) body: Body,
    pub(super) pace: Pace,
    pub(super) cut: Cut,
    /// It has done all there was to do at this step.
    pub(super) settled: bool,
    /// As the watchdog knows it: it stays when the node is fenced.
    pub(super) deadline: Option<Tick>,
}

/// What a node does beside the lease: listeners, lanes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Body {
    Idle,
    Serves(Term),
    Stops(Term),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Pace {
    Runs,
    /// The process does nothing; its machine still takes connections for it.
    Stopped,
    /// The whole machine does nothing.
    Frozen,
    /// There is no process since this step.
    Down(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Cut {
    No,
    /// Nothing gets through.
    Wholly,
    /// What it asks is carried out, and it does not hear of it.
    Answers,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Call {
    pub(super) what: Do,
    pub(super) sent: Tick,
    pub(super) fate: Fate,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Fate {
    /// It waits for a write that holds the shard's row.
    Waits,
    /// The answer is on its way.
    Answered(Box<Answer>),
    /// No answer will come.
    Lost,
}

pub(super) fn candidate(name: &str) -> Candidate {
    Candidate {
        node: name.to_owned(),
        fingerprint: "one".to_owned(),
        promotable: true,
        delay: Duration::ZERO,
    }
}

impl Node {
    fn new(name: &str) -> Node {
        Node {
            machine: Machine::new(candidate(name), P),
            call: None,
            body: Body::Idle,
            pace: Pace::Runs,
            cut: Cut::No,
            settled: false,
            deadline: None,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.pace == Pace::Runs
    }

    /// Whether partners find its listeners open, or work of its leadership is under way.
    pub(super) fn acts(&self) -> bool {
        self.body != Body::Idle && matches!(self.pace, Pace::Runs | Pace::Stopped)
    }

    /// What the machine says reaches the rest of the node.
    fn publish(&mut self, without: Without) {
        let role = self.machine.role();
        if !matches!(role, Role::Fenced(_)) {
            self.deadline = self.machine.deadline();
        }
        match (role, self.body) {
            (Role::Leader(term), Body::Idle) => self.body = Body::Serves(term),
            (Role::SteppingDown(_), Body::Serves(term)) => self.body = Body::Stops(term),
            (Role::SteppingDown(term), Body::Idle) => self.machine.stopped(term),
            _ => {}
        }
        if let (Role::SteppingDown(term), Without::StopBeforeRelease) = (self.machine.role(), without) {
            self.machine.stopped(term);
        }
    }

    /// The process is gone.
    pub(super) fn end(&mut self, name: &str, step: u8) {
        let cut = self.cut;
        *self = Node::new(name);
        self.cut = cut;
        self.pace = Pace::Down(step);
    }
}

impl State {
    /// All nodes have known the database for long; nobody holds the lease.
    pub(super) fn first(nodes: usize, left: Budget, without: Without) -> State {
        let database = Database::new(without);
        let early = Tick(BEGIN.0 - 10_000_000_000);
        let lease = database.row.look(early, P.ttl);
        let mut nodes: Vec<Node> = NAMES[..nodes].iter().map(|name| Node::new(name)).collect();
        for node in &mut nodes {
            let answer = Some(Answer::Lease(lease.clone()));
            tell(&mut node.machine, &Do::Look, answer, (early, early), &P, without);
        }
        State {
            step: 0,
            database,
            behind: None,
            nodes,
            late: Vec::new(),
            sent: Vec::new(),
            left,
            written: 0,
            trouble: 0,
            stale: false,
        }
    }

    pub(super) fn now(&self) -> Tick {
        BEGIN + TICK * self.step.into()
    }

    fn without(&self) -> Without {
        self.database.row.without
    }

    /// The database carries out a call of a node, unless it has to wait.
    pub(super) fn carry_out(&mut self, index: usize, what: &Do) -> Option<Answer> {
        let now = self.now();
        let mut answer = self
            .database
            .carry_out(now, (index, NAMES[index]), what, (P.ttl, HOLD));
        if let Some(Answer::Lease(lease)) = &mut answer {
            lease.left = Duration::ZERO; // decides nothing, and would make states differ
        }
        answer
    }

    /// A node hears what became of its call, or gives it up.
    pub(super) fn hear(&mut self, index: usize, call: &Call, answer: Option<Answer>) {
        let (now, without) = (self.now(), self.without());
        let node = &mut self.nodes[index];
        tell(
            &mut node.machine,
            &call.what,
            answer,
            (call.sent, now),
            &P,
            without,
        );
        node.publish(without);
        node.settled = false;
    }

    /// Asks a machine what is next; `None` when that is nothing now.
    pub(super) fn next(&mut self, index: usize) -> Option<Do> {
        let (now, without, step) = (self.now(), self.without(), self.step);
        let node = &mut self.nodes[index];
        let next = node.machine.next(now);
        node.publish(without);
        match next {
            Do::Wait(_) => {
                node.settled = true;
                None
            }
            Do::End => {
                node.settled = true;
                if node.body == Body::Idle {
                    node.end(NAMES[index], step);
                }
                None
            }
            what => Some(what),
        }
    }

    /// Whether time may go on: all that runs has done what falls due.
    pub(super) fn is_settled(&self) -> bool {
        self.nodes.iter().all(|node| match (&node.call, node.pace) {
            (_, pace) if pace != Pace::Runs => true,
            (None, _) => node.settled,
            (Some(call), _) => self.now() < call.sent + P.attempt,
        })
    }

    /// Time goes on; watchdogs and fencers look at it.
    pub(super) fn step(&mut self) {
        self.step += 1;
        let (now, step, without) = (self.now(), self.step, self.without());
        for (node, name) in self.nodes.iter_mut().zip(NAMES) {
            node.settled = false;
            match node.pace {
                Pace::Down(since) if step >= since + RESTART => node.pace = Pace::Runs,
                Pace::Runs => node.watch(name, now, step),
                Pace::Stopped if without != Without::Fencer => node.watch(name, now, step),
                _ => {}
            }
        }
    }

    /// All nodes are up and reach the database, and nothing went wrong for so many ticks.
    pub(super) fn quiet(&self) -> u8 {
        let well = |node: &Node| node.runs() && node.cut == Cut::No;
        if self.nodes.iter().all(well) {
            self.step.saturating_sub(self.trouble)
        } else {
            0
        }
    }
}

impl Node {
    /// The watchdog, and behind it the fencer: at the deadline nothing new begins, and a tick later, which is longer
    /// than the stop budget, there is no process.
    fn watch(&mut self, name: &str, now: Tick, step: u8) {
        let Some(deadline) = self.deadline else { return };
        if now >= deadline + TICK {
            self.end(name, step);
        } else if now >= deadline && self.runs() {
            self.machine.fenced();
        }
    }

    /// A process goes on after it was stopped: the first that runs is the watchdog.
    pub(super) fn wake(&mut self, name: &str, now: Tick, step: u8) {
        self.pace = Pace::Runs;
        self.settled = false;
        self.watch(name, now, step);
    }
}
