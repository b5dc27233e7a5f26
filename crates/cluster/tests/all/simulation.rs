//! Three nodes and the row, with everything that can go wrong between them: calls that arrive late or not at all, answers
//! that are lost, nodes that stand still, a database clock that jumps, a database that another server goes on with. The
//! judge looks at one thing only: whether two nodes may lead at the same instant. A seed gives the same run again.

use std::time::Duration;

use cluster::machine::{Candidate, Do, HANDOFF, Machine};
use cluster::{Parameters, Role, Tick};

use super::row::{Fault, Row};

const P: Parameters = Parameters::DEFAULT;
const NODES: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 3_000;

/// What a node does wrong, to see whether the judge would notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    /// The deadline counts from the answer.
    BaselineAfter,
    /// The row is taken as soon as the database says that it ran out.
    NoObservation,
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    fn upto(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next() % (nanos + 1))
    }
}

/// A call on its way.
struct Call {
    what: Do,
    sent: Tick,
    /// When the database carries it out, if ever.
    arrives: Option<Tick>,
    answer: Option<Answer>,
    /// The answer does not come back, or too late.
    lost: bool,
    /// When the node goes on.
    returns: Tick,
}

enum Answer {
    Lease(cluster::board::Lease),
    Term(Option<model::Term>),
    Renewal(store::board::Renewal),
    Done,
}

struct Node {
    machine: Machine,
    call: Option<Call>,
    wakes: Tick,
    /// When it will have stopped, while it steps down.
    stops: Option<Tick>,
}

struct World {
    dice: Dice,
    now: Tick,
    row: Row,
    old_row: Row,
    nodes: Vec<Node>,
    /// Calls that nobody waits for any more, and that the database will carry out all the same.
    late: Vec<(Tick, usize, Do)>,
    wrong: Wrong,
    /// Leaderships that began.
    changes: u32,
}

impl World {
    fn new(seed: u64, fault: Fault, wrong: Wrong) -> World {
        let now = Tick(1_000_000_000_000);
        let node = |name: &&str| Node {
            machine: Machine::new(
                Candidate {
                    node: (*name).to_owned(),
                    fingerprint: "one".to_owned(),
                    promotable: true,
                    delay: Duration::ZERO,
                },
                P,
            ),
            call: None,
            wakes: now,
            stops: None,
        };
        let row = Row::new(fault);
        World {
            dice: Dice(seed),
            now,
            old_row: row.clone(),
            row,
            nodes: NODES.iter().map(node).collect(),
            late: Vec::new(),
            wrong,
            changes: 0,
        }
    }

    /// Two nodes that may act as the leader at this instant, if there are any. One that has stopped and only gives the
    /// lease up does not.
    fn two_leaders(&self) -> Option<String> {
        let leading: Vec<usize> = (0..self.nodes.len())
            .filter(|index| {
                let Node { machine, stops, .. } = &self.nodes[*index];
                let leads = match machine.role() {
                    Role::Leader(_) => true,
                    Role::SteppingDown(_) => stops.is_none_or(|stops| self.now < stops),
                    _ => false,
                };
                leads && machine.deadline().is_some_and(|deadline| deadline > self.now)
            })
            .collect();
        (leading.len() > 1).then(|| format!("at {} ms {leading:?} lead", self.now.0 / 1_000_000))
    }

    /// Something happens to the surroundings.
    fn trouble(&mut self) {
        let index = usize::try_from(self.dice.next() % 3).unwrap_or(0);
        match self.dice.next() % 8 {
            // A node stands still: stopped, swapped out, its machine suspended.
            0 | 1 => {
                let pause = self.dice.upto(P.ttl * 3);
                let node = &mut self.nodes[index];
                node.wakes = node.wakes.max(self.now) + pause;
                if let Some(call) = &mut node.call {
                    call.returns = call.returns.max(node.wakes);
                }
            }
            2 => {
                let jump = i64::try_from(self.dice.upto(P.ttl * 2).as_nanos()).unwrap_or(0);
                self.row.clock_error = if self.dice.one_in(2) { jump } else { -jump };
            }
            // Another server goes on, without what was written last.
            3 if self.dice.one_in(4) => {
                let old = self.old_row.clone();
                self.row.rewind(&old);
            }
            4 => self.old_row = self.row.clone(),
            5 => {
                let clock = self.now.0.saturating_add_signed(self.row.clock_error);
                self.row.asked = Some((NODES[index].to_owned(), clock));
            }
            // A process ends and another one begins in its place.
            6 if self.dice.one_in(3) => {
                let (node, fingerprint) = self.nodes[index].machine.name();
                self.nodes[index] = Node {
                    machine: Machine::new(
                        Candidate {
                            node,
                            fingerprint,
                            promotable: true,
                            delay: Duration::ZERO,
                        },
                        P,
                    ),
                    call: None,
                    wakes: self.now + self.dice.upto(P.ttl),
                    stops: None,
                };
            }
            _ => {}
        }
    }

    fn send(&mut self, index: usize, what: Do) {
        // Mostly quick, sometimes as slow as it may be, sometimes carried out long after nobody waits any more.
        let slow = self.dice.one_in(5);
        let way = |dice: &mut Dice| dice.upto(if slow { P.attempt } else { P.attempt / 50 });
        let mut there = way(&mut self.dice);
        if self.dice.one_in(40) {
            there += self.dice.upto(P.ttl * 2);
        }
        let back = way(&mut self.dice);
        let lost = self.dice.one_in(20);
        let never = self.dice.one_in(30);
        let unheard = lost || never || there + back > P.attempt;
        let node = &mut self.nodes[index];
        let sent = self.now;
        // A node that is stopped while it waits goes on later, whatever came meanwhile.
        let returns = sent + if unheard { P.attempt } else { there + back };
        node.call = Some(Call {
            what,
            sent,
            arrives: (!never).then_some(sent + there),
            answer: None,
            lost: unheard,
            returns: returns.max(node.wakes),
        });
    }

    /// The database carries out what a node asked.
    fn carry_out(&mut self, index: usize, what: &Do) -> Answer {
        let (now, row) = (self.now, &mut self.row);
        match what {
            Do::Look => Answer::Lease(row.look(now, P.ttl)),
            Do::Acquire(mark) => Answer::Term(row.acquire(now, mark, NODES[index], P.ttl)),
            Do::Renew(term) => Answer::Renewal(row.renew(now, *term, P.ttl)),
            Do::Release(term, to) => {
                row.release(now, *term, to.as_deref(), HANDOFF);
                Answer::Done
            }
            Do::Wait(_) | Do::End => Answer::Done,
        }
    }

    fn arrive(&mut self, index: usize) {
        let Some(mut call) = self.nodes[index].call.take() else {
            return;
        };
        call.arrives = None;
        call.answer = Some(self.carry_out(index, &call.what));
        self.nodes[index].call = Some(call);
    }

    /// A node goes on.
    fn wake(&mut self, index: usize) {
        let now = self.now;
        if let Some(call) = self.nodes[index].call.take() {
            self.hear(index, call);
            return;
        }
        let node = &mut self.nodes[index];
        if matches!(node.machine.role(), Role::SteppingDown(_)) {
            let stops = *node.stops.get_or_insert(now + self.dice.upto(P.stop));
            if now >= stops {
                node.machine.stopped();
            }
        } else {
            node.stops = None;
        }
        match node.machine.next(now) {
            Do::Wait(until) => {
                let until = node.stops.map_or(until, |stops| until.min(stops));
                node.wakes = until.max(now + Duration::from_millis(1));
            }
            // The process ends, and is started again as a standby.
            Do::End => {
                let (name, fingerprint) = node.machine.name();
                let candidate = Candidate {
                    node: name,
                    fingerprint,
                    promotable: true,
                    delay: Duration::ZERO,
                };
                node.machine = Machine::new(candidate, P);
                node.stops = None;
                node.wakes = now + Duration::from_millis(500);
            }
            what => self.send(index, what),
        }
    }

    /// What a call that came back, or was given up, tells the node.
    fn hear(&mut self, index: usize, call: Call) {
        let now = self.now;
        let wrong = self.wrong;
        let node = &mut self.nodes[index];
        let mut sent = call.sent;
        if let Some(arrives) = call.arrives {
            self.late.push((arrives, index, call.what.clone()));
        }
        // An answer may have been lost on its way back.
        let heard = call.answer.filter(|_| !call.lost);
        let machine = &mut node.machine;
        match (&call.what, heard) {
            (Do::Look, Some(Answer::Lease(lease))) => {
                if wrong == Wrong::NoObservation {
                    sent = sent + P.ttl * 10;
                }
                machine.looked(sent, now, Some(lease));
            }
            (Do::Look, _) => machine.looked(sent, now, None),
            (Do::Acquire(_), Some(Answer::Term(term))) => {
                self.changes += u32::from(term.is_some());
                machine.acquired(
                    if wrong == Wrong::BaselineAfter { now } else { sent },
                    now,
                    Some(term),
                );
            }
            (Do::Acquire(_), _) => machine.acquired(sent, now, None),
            (Do::Renew(_), Some(Answer::Renewal(renewal))) => {
                machine.renewed(
                    if wrong == Wrong::BaselineAfter { now } else { sent },
                    now,
                    Some(renewal),
                );
            }
            (Do::Renew(_), _) => machine.renewed(sent, now, None),
            (_, answer) => machine.released(now, answer.is_some()),
        }
        node.wakes = now;
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) {
        let mut next = (Tick(u64::MAX), 0, false);
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(arrives) = node.call.as_ref().and_then(|call| call.arrives)
                && arrives < next.0
            {
                next = (arrives, index, true);
            }
            let goes_on = node.call.as_ref().map_or(node.wakes, |call| call.returns);
            if goes_on < next.0 {
                next = (goes_on, index, false);
            }
        }
        let late = self
            .late
            .iter()
            .enumerate()
            .min_by_key(|(_, (arrives, ..))| *arrives);
        if let Some((place, (arrives, ..))) = late
            && *arrives < next.0
        {
            self.now = self.now.max(*arrives);
            let (_, index, what) = self.late.swap_remove(place);
            self.carry_out(index, &what);
            return;
        }
        let (at, index, at_the_database) = next;
        self.now = self.now.max(at);
        if at_the_database {
            self.arrive(index);
        } else {
            self.wake(index);
        }
        if self.dice.one_in(60) {
            self.trouble();
        }
    }
}

/// Runs a seed: the first instant with two leaders, and how often the leader changed.
fn run(seed: u64, fault: Fault, wrong: Wrong) -> (Option<String>, u32) {
    let mut world = World::new(seed, fault, wrong);
    for _ in 0..STEPS {
        world.step();
        if let Some(found) = world.two_leaders() {
            return (Some(found), world.changes);
        }
    }
    (None, world.changes)
}

fn seeds() -> u64 {
    let given = std::env::var("HOLDFAST_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or(300)
}

#[test]
fn whatever_goes_wrong_no_two_nodes_lead_at_once() {
    let mut changes = 0;
    for seed in 0..seeds() {
        let (found, changed) = run(seed, Fault::None, Wrong::Nothing);
        assert_eq!(found, None, "seed {seed}");
        changes += changed;
    }
    // A run in which nothing bites shows nothing.
    assert!(
        u64::from(changes) > 5 * seeds(),
        "the leader changed {changes} times only"
    );
}

#[test]
fn each_guard_that_is_taken_away_is_missed() {
    for (fault, wrong) in [
        (Fault::TakesUnseen, Wrong::Nothing),
        (Fault::ReleasesUnasked, Wrong::Nothing),
        (Fault::RenewsUnasked, Wrong::Nothing),
        (Fault::None, Wrong::BaselineAfter),
        (Fault::None, Wrong::NoObservation),
    ] {
        let found = (0..2_000).find_map(|seed| run(seed, fault, wrong).0);
        assert!(found.is_some(), "nobody would notice {fault:?} {wrong:?}");
    }
}
