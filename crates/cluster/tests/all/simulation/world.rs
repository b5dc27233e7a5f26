//! The simulated world: time, the database, the network between, the partners. What happens next is in one queue, and
//! chance comes from one seed: a seed gives the same run again.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::machine::{Do, HANDOFF};
use cluster::{Parameters, Tick};
use model::Term;

use super::faults;
use super::history::{Event, Row, What};
use super::node::{Node, Pace};
use crate::database::{Begun, Database, Write};
use crate::guards::{Answer, Without};

pub(super) const P: Parameters = Parameters::DEFAULT;
pub(super) const NODES: [&str; 3] = ["a", "b", "c"];
pub(super) const LANES: usize = 3;
/// What waits for the shard's row in the database looks again so often.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// And ends the sessions that hold it after so long.
const PATIENCE: Duration = Duration::from_millis(300);
/// A partner that hears nothing for so long sends again, as another message.
const REPEAT: Duration = Duration::from_millis(1_500);

/// splitmix64
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or(0)
    }

    pub(super) fn upto(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next() % (nanos + 1))
    }

    /// Some milliseconds.
    pub(super) fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from) + self.upto(Duration::from_millis(to - from))
    }
}

/// What a node's process is told. One that is stopped hears it when it goes on, one that is gone never.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// The lease's thread goes on, if nothing woke it since.
    Drive(u64),
    /// A call to the lease row came back, or was waited for long enough.
    Call(u64, Option<Answer>),
    /// The deadline may have passed.
    Watchdog,
    /// All of the leadership has stopped.
    Closed,
    /// The process ends.
    Ends,
    /// What became of a write.
    Written(u64, Outcome),
    /// What became of taking the shard's row for a new session.
    Claimed(u64, Outcome),
    /// A frame of a partner.
    Frame { lane: usize, message: u64 },
    /// A destination took a message.
    Taken { lane: usize, message: u64 },
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    /// The lanes as the database has them, or whether the write in doubt is there.
    Found {
        open: Vec<Vec<(u64, bool)>>,
        is_there: bool,
    },
    Fenced,
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) enum Happens {
    Note {
        node: usize,
        boot: u64,
        note: Note,
    },
    /// A call to the lease row arrives.
    Call {
        node: usize,
        boot: u64,
        id: u64,
        what: Do,
        waited: Duration,
        back: Option<Duration>,
    },
    Write {
        boot: u64,
        write: Write,
        rows: Vec<Row>,
        heard: bool,
    },
    Commit {
        boot: u64,
        id: u64,
        rows: Vec<Row>,
        heard: bool,
    },
    Claim {
        node: usize,
        boot: u64,
        term: Term,
        session: u64,
        doubt: Option<u64>,
        waited: Duration,
        heard: bool,
    },
    /// A destination receives a message.
    Receive {
        lane: usize,
        message: u64,
    },
    /// A partner sends its next message, or the same again.
    Send(usize),
    /// A partner waits no longer for this one.
    Repeat(usize, u64),
    /// The fencer looks.
    Fencer {
        node: usize,
        boot: u64,
    },
    Start {
        node: usize,
    },
    Resume {
        node: usize,
        boot: u64,
    },
    Heal {
        node: usize,
    },
    Trouble,
    FailOver,
    Calm,
    Quiet,
}

/// A change of the database, as its log has it.
#[derive(Clone)]
enum Change {
    Acquired,
    Committed(u64, Vec<Row>),
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) now: Tick,
    queue: BTreeMap<(Tick, u64), Happens>,
    number: u64,
    pub(super) database: Database,
    log: Vec<Change>,
    /// What an asynchronous standby has, once it follows no more.
    pub(super) behind: Option<(Database, usize)>,
    /// Whether commits wait for the standby.
    pub(super) synchronous: bool,
    pub(super) nodes: Vec<Node>,
    /// The message that each partner waits for.
    waits: [Option<u64>; LANES],
    pub(super) calm: bool,
    calm_at: Tick,
    quiet: bool,
    pub(super) history: Vec<Event>,
    pub(super) without: Without,
}

impl World {
    pub(super) fn new(seed: u64, without: Without) -> World {
        let mut world = World {
            dice: Dice(seed),
            now: Tick(1_000_000_000_000),
            queue: BTreeMap::new(),
            number: 0,
            database: Database::new(without),
            log: Vec::new(),
            behind: None,
            synchronous: seed.is_multiple_of(2),
            nodes: (0..NODES.len()).map(Node::new).collect(),
            waits: [None; LANES],
            calm: false,
            calm_at: Tick(1_000_000_000_000) + faults::CALM,
            quiet: false,
            history: Vec::new(),
            without,
        };
        for node in 0..NODES.len() {
            world.after(Duration::from_millis(10), Happens::Start { node });
        }
        for lane in 0..LANES {
            world.after(Duration::from_millis(100), Happens::Send(lane));
        }
        world.after(P.ttl, Happens::Trouble);
        world.after(faults::CALM, Happens::Calm);
        world.after(faults::QUIET, Happens::Quiet);
        world
    }

    pub(super) fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(super) fn at(&mut self, at: Tick, what: Happens) {
        let number = self.number();
        self.queue.insert((at.max(self.now), number), what);
    }

    pub(super) fn after(&mut self, time: Duration, what: Happens) {
        self.at(self.now + time, what);
    }

    /// So long, and not beyond the calm: what is late then is trouble as well.
    pub(super) fn late(&mut self, longest: Duration) -> Duration {
        let time = self.dice.upto(longest);
        time.min(self.calm_at.since(self.now))
    }

    /// Tells the process that runs on a node now, so much later.
    pub(super) fn note(&mut self, node: usize, time: Duration, note: Note) {
        let boot = self.nodes[node].boot;
        self.after(time, Happens::Note { node, boot, note });
    }

    fn answer(&mut self, node: usize, boot: u64, time: Duration, note: Note) {
        if !self.nodes[node].cut {
            self.after(time, Happens::Note { node, boot, note });
        }
    }

    pub(super) fn record(&mut self, what: What) {
        self.history.push(Event { at: self.now, what });
    }

    /// Runs until nothing is left to judge.
    pub(super) fn run(mut self) -> Vec<Event> {
        let end = self.now + faults::END;
        while let Some(((at, _), what)) = self.queue.pop_first()
            && at < end
        {
            self.now = at;
            self.happen(what);
        }
        self.history
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Note { node, boot, note } => self.hear(node, boot, note),
            Happens::Call { .. } => self.call_arrives(what),
            Happens::Write {
                boot,
                write,
                rows,
                heard,
            } => self.write_arrives(boot, write, rows, heard),
            Happens::Commit {
                boot,
                id,
                rows,
                heard,
            } => self.commit(boot, id, rows, heard),
            Happens::Claim { .. } => self.claim_arrives(what),
            Happens::Receive { lane, message } => self.record(What::Received { lane, message }),
            Happens::Send(lane) => self.send(lane),
            Happens::Repeat(lane, message) => {
                if self.waits[lane] == Some(message) {
                    self.waits[lane] = None;
                    self.send(lane);
                }
            }
            Happens::Fencer { node, boot } => self.fencer(node, boot),
            Happens::Start { node } => self.start(node),
            Happens::Resume { node, boot } => {
                if self.nodes[node].boot == boot {
                    self.resume(node);
                }
            }
            Happens::Heal { node } => self.nodes[node].cut = false,
            Happens::Trouble => self.trouble(),
            Happens::FailOver => self.fail_over(),
            Happens::Calm => self.becomes_calm(),
            Happens::Quiet => {
                self.quiet = true;
                self.record(What::Quiet);
            }
        }
    }

    fn hear(&mut self, node: usize, boot: u64, note: Note) {
        let to = &mut self.nodes[node];
        if to.boot != boot || to.pace == Pace::Down {
            return;
        }
        if to.pace == Pace::Runs {
            self.take(node, note);
        } else {
            to.held.push(note);
        }
    }

    // The database.

    fn call_arrives(&mut self, call: Happens) {
        let Happens::Call {
            node,
            boot,
            id,
            what,
            waited,
            back,
        } = call
        else {
            return;
        };
        if waited == Duration::ZERO && self.nodes[node].cut {
            return;
        }
        if waited >= PATIENCE {
            self.database.end_sessions(node);
        }
        let answer = self
            .database
            .carry_out(self.now, (node, NODES[node]), &what, (P.ttl, HANDOFF));
        let Some(answer) = answer else {
            let waited = waited + LOOK_AGAIN;
            let call = Happens::Call {
                node,
                boot,
                id,
                what,
                waited,
                back,
            };
            return self.after(LOOK_AGAIN, call);
        };
        if let Answer::Term(Some(term)) = answer {
            self.log.push(Change::Acquired);
            self.record(What::Acquired { term });
        }
        if let Some(back) = back {
            self.answer(node, boot, back, Note::Call(id, Some(answer)));
        }
    }

    fn write_arrives(&mut self, boot: u64, write: Write, rows: Vec<Row>, heard: bool) {
        let (node, id) = (write.node, write.id);
        match self.database.begin(write.clone()) {
            Begun::Refused => {
                let time = self.dice.ms(1, 5);
                self.answer(node, boot, time, Note::Written(id, Outcome::Fenced));
            }
            Begun::Waits => self.after(
                LOOK_AGAIN,
                Happens::Write {
                    boot,
                    write,
                    rows,
                    heard,
                },
            ),
            Begun::Yes => {
                // Now and then a disk, or a standby, makes it wait for long.
                let hangs = !self.calm && self.dice.one_in(150);
                let time = if hangs {
                    self.late(P.ttl * 2)
                } else {
                    self.dice.upto(Duration::from_millis(5))
                };
                self.after(
                    time,
                    Happens::Commit {
                        boot,
                        id,
                        rows,
                        heard,
                    },
                );
            }
        }
    }

    fn commit(&mut self, boot: u64, id: u64, rows: Vec<Row>, heard: bool) {
        let Some(write) = self.database.commit(id) else {
            return; // it was ended
        };
        self.log.push(Change::Committed(id, rows.clone()));
        self.record(What::Committed {
            term: write.term,
            rows,
        });
        if heard {
            let time = self.dice.ms(1, 5);
            self.answer(write.node, boot, time, Note::Written(id, Outcome::Done));
        }
    }

    fn claim_arrives(&mut self, claim: Happens) {
        let Happens::Claim {
            node,
            boot,
            term,
            session,
            doubt,
            waited,
            heard,
        } = claim
        else {
            return;
        };
        if waited == Duration::ZERO && self.nodes[node].cut {
            return;
        }
        if waited >= PATIENCE {
            self.database.end_sessions(node);
        }
        let Some(claimed) = self.database.claim(node, term, session) else {
            let waited = waited + LOOK_AGAIN;
            let claim = Happens::Claim {
                node,
                boot,
                term,
                session,
                doubt,
                waited,
                heard,
            };
            return self.after(LOOK_AGAIN, claim);
        };
        let outcome = if claimed {
            self.found(doubt)
        } else {
            Outcome::Fenced
        };
        if heard {
            let time = self.dice.ms(1, 10);
            self.answer(node, boot, time, Note::Claimed(session, outcome));
        }
    }

    /// What the database has that is not at its end, by lane and in the order of accepting, and whether it was handed
    /// over; and whether the write in doubt is there.
    fn found(&self, doubt: Option<u64>) -> Outcome {
        let mut open: Vec<Vec<(u64, bool)>> = vec![Vec::new(); LANES];
        let mut is_there = false;
        for change in &self.log {
            let Change::Committed(id, rows) = change else {
                continue;
            };
            is_there |= Some(*id) == doubt;
            for row in rows {
                match row {
                    Row::Accepted { lane, message, .. } => open[*lane].push((*message, false)),
                    Row::Handed { lane, message } => {
                        for (one, handed) in &mut open[*lane] {
                            *handed |= one == message;
                        }
                    }
                    Row::Delivered { lane, message } => open[*lane].retain(|(one, _)| one != message),
                }
            }
        }
        Outcome::Found { open, is_there }
    }

    pub(super) fn snapshot(&mut self) {
        self.behind = Some((self.database.clone(), self.log.len()));
    }

    fn fail_over(&mut self) {
        let (database, kept) = match self.behind.take() {
            Some(behind) if !self.synchronous => behind,
            _ => (self.database.clone(), self.log.len()),
        };
        self.database.rewind(&database);
        self.log.truncate(kept);
        // What was on its way to the lost server reaches nobody: its connections are not the new one's.
        self.queue
            .retain(|_, what| !matches!(what, Happens::Write { .. }));
        self.record(What::FailedOver { kept });
    }

    // Partners.

    fn send(&mut self, lane: usize) {
        if self.quiet || self.waits[lane].is_some() {
            return;
        }
        let listening: Vec<usize> = (0..NODES.len())
            .filter(|node| self.nodes[*node].listens())
            .collect();
        if listening.is_empty() {
            return self.after(Duration::from_millis(50), Happens::Send(lane));
        }
        let node = listening[self.dice.below(listening.len())];
        let message = self.number();
        self.waits[lane] = Some(message);
        self.record(What::Sent {
            lane,
            message,
            body: body_of(message),
        });
        let time = self.dice.ms(1, 10);
        self.note(node, time, Note::Frame { lane, message });
        self.after(REPEAT, Happens::Repeat(lane, message));
    }

    /// An acknowledgement goes out.
    pub(super) fn acknowledge(&mut self, lane: usize, message: u64, term: Term) {
        self.record(What::Acknowledged { message, term });
        if self.waits[lane] == Some(message) {
            self.waits[lane] = None;
            let time = self.dice.ms(50, 400);
            self.after(time, Happens::Send(lane));
        }
    }
}

/// What a message says.
pub(super) fn body_of(message: u64) -> u64 {
    message.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
