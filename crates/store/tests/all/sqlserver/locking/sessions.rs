//! What the sessions of the store do to the rows, statement by statement. Each program is what the backend sends: a
//! batch that opens a transaction, claims, writes and commits; a takeover; retention that proves its term; the search
//! for a commit whose answer did not come.

use super::rows::{Hints, Key, Met, Mode, Rows, Value};

/// What keeps the store right, each of which can be taken away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Rules {
    /// READ_COMMITTED_SNAPSHOT of the database.
    pub(super) rcsi: bool,
    /// How a handoff reads the shard's row.
    pub(super) claim: Hints,
    /// How the row is read that decides, once the claim found none.
    pub(super) decide: Hints,
    /// How retention reads the lease row before it commits.
    pub(super) fence: Hints,
    /// How a message is looked for.
    pub(super) probe: Hints,
    /// A claim that found no row asks again, waiting, before it believes that another leads.
    pub(super) decides: bool,
    /// Who looks for a commit without an answer takes the shard's row first.
    pub(super) takes: bool,
    /// A claim compares the session too, so that what an older connection left behind claims nothing.
    pub(super) compares_sessions: bool,
    /// `SET XACT_ABORT ON`.
    pub(super) xact_abort: bool,
    /// Who gives leadership up changes the lease row before the shard's, as who takes it does.
    pub(super) one_order: bool,
}

/// A session's work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Program {
    /// Nothing yet.
    Idle,
    /// A handoff of this message, under this leadership.
    Handoff { number: u8, lead: Value, tries: u8 },
    /// After a lost connection: takes the shard for this session, looks for the message, writes it if it is absent.
    LookFor { number: u8, lead: Value },
    /// Another node takes leadership.
    Takeover { by: Value },
    /// The leader gives leadership up.
    Release { lead: Value },
    /// Retention drops a segment under this leadership.
    Retire { lead: Value },
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum End {
    Committed,
    /// Another leads: nothing was written.
    Fenced,
    /// An error, and nothing was written.
    Failed,
}

/// One session of the server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Session {
    pub(super) program: Program,
    /// The statement that is next.
    pub(super) step: u8,
    pub(super) end: Option<End>,
    /// Whether anybody hears its answer.
    pub(super) heard: bool,
    /// What was found of the message that was looked for.
    pub(super) found: Option<bool>,
}

/// What one statement came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Went {
    On,
    /// It waits for a lock on this row.
    Waits(Key, Mode),
}

impl Session {
    pub(super) fn of(program: Program) -> Session {
        Session {
            program,
            step: 0,
            end: None,
            heard: true,
            found: None,
        }
    }

    pub(super) fn busy(&self) -> bool {
        self.end.is_none() && self.program != Program::Idle
    }

    fn finish(&mut self, end: End) -> Went {
        self.end = Some(end);
        Went::On
    }

    fn go(&mut self, step: u8) -> Went {
        self.step = step;
        Went::On
    }

    /// The next statement. Nothing changes where it waits.
    pub(super) fn run(&mut self, me: usize, rows: &mut Rows, rules: &Rules) -> Went {
        match self.program {
            Program::Idle => Went::On,
            Program::Handoff { number, lead, tries } => self.handoff(me, rows, rules, (number, lead, tries)),
            Program::LookFor { number, lead } => self.look_for(me, rows, rules, (number, lead)),
            Program::Takeover { by } => self.take_over(me, rows, by),
            Program::Release { lead } => self.release(me, rows, rules, lead),
            Program::Retire { lead } => self.retire(me, rows, rules, lead),
        }
    }

    fn handoff(
        &mut self,
        me: usize,
        rows: &mut Rows,
        rules: &Rules,
        (number, lead, tries): (u8, Value, u8),
    ) -> Went {
        let ours = |value: Value| {
            value.epoch == lead.epoch && (!rules.compares_sessions || value.session == lead.session)
        };
        match self.step {
            0 => match rows.read(me, Key::Shard, rules.claim) {
                Met::Row(value) if ours(value) => self.go(1),
                Met::Row(_) | Met::Skipped => {
                    rows.end(me, false);
                    if rules.decides {
                        self.go(4)
                    } else {
                        self.finish(End::Fenced)
                    }
                }
                Met::Waits(mode) => Went::Waits(Key::Shard, mode),
            },
            half @ (1 | 2) => {
                rows.add(me, number, half);
                self.go(half + 1)
            }
            3 => {
                rows.end(me, true);
                self.finish(End::Committed)
            }
            // A statement of its own: its lock ends with it.
            _ => match rows.read(me, Key::Shard, rules.decide) {
                Met::Waits(mode) => Went::Waits(Key::Shard, mode),
                met => {
                    rows.end(me, false);
                    match met {
                        Met::Row(value) if ours(value) && tries > 0 => {
                            self.program = Program::Handoff {
                                number,
                                lead,
                                tries: tries - 1,
                            };
                            self.go(0)
                        }
                        Met::Row(value) if ours(value) => self.finish(End::Failed),
                        _ => self.finish(End::Fenced),
                    }
                }
            },
        }
    }

    fn look_for(&mut self, me: usize, rows: &mut Rows, rules: &Rules, (number, lead): (u8, Value)) -> Went {
        match self.step {
            0 if !rules.takes => self.go(1),
            0 => match rows.begin_change(me, Key::Shard) {
                Met::Row(was) if was.epoch == lead.epoch && was.session != 0 => {
                    rows.set_shard(me, lead);
                    self.go(1)
                }
                Met::Row(_) => {
                    rows.end(me, false);
                    // Another leads: it is only looked for.
                    self.program = Program::LookFor {
                        number,
                        lead: Value { session: 0, ..lead },
                    };
                    self.go(1)
                }
                _ => Went::Waits(Key::Shard, Mode::X),
            },
            1 => match rows.read(me, Key::Message(number), rules.probe) {
                Met::Row(halves) => {
                    self.found = Some(halves.epoch == 2);
                    self.go(2)
                }
                _ => Went::Waits(Key::Message(number), Mode::S),
            },
            _ => {
                rows.end(me, true);
                match (self.found, lead.session) {
                    (Some(true), _) => self.finish(End::Committed),
                    (_, 0) => self.finish(End::Fenced),
                    _ => {
                        self.program = Program::Handoff {
                            number,
                            lead,
                            tries: 1,
                        };
                        self.go(0)
                    }
                }
            }
        }
    }

    fn take_over(&mut self, me: usize, rows: &mut Rows, by: Value) -> Went {
        let key = if self.step == 0 { Key::Lease } else { Key::Shard };
        match self.step {
            0 | 1 => match rows.begin_change(me, key) {
                Met::Row(_) if self.step == 0 => {
                    rows.set_lease(me, by);
                    self.go(1)
                }
                Met::Row(_) => {
                    rows.set_shard(me, by);
                    self.go(2)
                }
                _ => Went::Waits(key, Mode::X),
            },
            _ => {
                rows.end(me, true);
                self.finish(End::Committed)
            }
        }
    }

    fn release(&mut self, me: usize, rows: &mut Rows, rules: &Rules, lead: Value) -> Went {
        let given_up = Value { session: 0, ..lead };
        let order = if rules.one_order {
            [Key::Lease, Key::Shard]
        } else {
            [Key::Shard, Key::Lease]
        };
        let Some(key) = order.get(usize::from(self.step)).copied() else {
            rows.end(me, true);
            return self.finish(End::Committed);
        };
        match rows.begin_change(me, key) {
            Met::Row(was) if was.epoch == lead.epoch => {
                match key {
                    Key::Lease => rows.set_lease(me, given_up),
                    _ => rows.set_shard(me, given_up),
                }
                self.go(self.step + 1)
            }
            Met::Row(_) => {
                rows.end(me, false);
                self.finish(End::Fenced)
            }
            _ => Went::Waits(key, Mode::X),
        }
    }

    fn retire(&mut self, me: usize, rows: &mut Rows, rules: &Rules, lead: Value) -> Went {
        match self.step {
            0 => match rows.read(me, Key::Lease, rules.fence) {
                Met::Row(value) if value.epoch == lead.epoch && value.session != 0 => self.go(1),
                Met::Waits(mode) => Went::Waits(Key::Lease, mode),
                _ => {
                    rows.end(me, false);
                    self.finish(End::Fenced)
                }
            },
            _ => {
                rows.end(me, true);
                self.finish(End::Committed)
            }
        }
    }

    /// The wait for a lock ends with error 1222, or a statement with any other one: with XACT_ABORT the transaction is
    /// undone, without it the batch goes on behind the statement.
    pub(super) fn fail(&mut self, me: usize, rows: &mut Rows, rules: &Rules) {
        if rules.xact_abort {
            rows.end(me, false);
            self.end = Some(End::Failed);
        } else {
            self.step += 1;
        }
    }
}
