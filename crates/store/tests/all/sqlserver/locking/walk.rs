//! Every order in which the statements of the sessions can run.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use super::rows::{Key, Mode, Rows, Value};
use super::sessions::{End, Program, Rules, Session, Went};

/// The leader that there is in the beginning, and its new connection's session.
const OLD: Value = Value { epoch: 1, session: 1 };
const OLD_AGAIN: Value = Value { epoch: 1, session: 2 };
/// Who takes over.
const NEW: Value = Value { epoch: 2, session: 3 };
/// The message of the old leader, and of the new one.
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// Places in the list of sessions.
const WRITER: usize = 0;
const ANEW: usize = 1;
const OTHER: usize = 2;
const KEEPER: usize = 3;

/// What may never be.
pub(super) const STALE_WRITE: &str = "a write is committed under a term that is not the newest";
pub(super) const STALE_DROP: &str = "a segment is dropped under a term that is not the newest";
pub(super) const FALSELY_FENCED: &str = "a leader believes that another leads, and none does";
pub(super) const WRONGLY_ABSENT: &str = "a commit is said not to have happened, and happens";
pub(super) const SPLIT: &str = "half of a unit is committed";
pub(super) const DEADLOCK: &str = "sessions wait for each other";
pub(super) const NEVER: [&str; 6] = [
    STALE_WRITE,
    STALE_DROP,
    FALSELY_FENCED,
    WRONGLY_ABSENT,
    SPLIT,
    DEADLOCK,
];
/// What has to be possible, or the walk shows nothing.
const WRITTEN: &str = "a handoff is committed";
const FENCED: &str = "a handoff is fenced";
const RETIRED: &str = "a segment is dropped";
const FOUND: &str = "a commit without an answer is found";
const ABSENT: &str = "a commit without an answer is found absent and written";
const WAITED: &str = "a takeover waits for a handoff";
pub(super) const SOMETIMES: [&str; 6] = [WRITTEN, FENCED, RETIRED, FOUND, ABSENT, WAITED];

/// What is walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) rules: Rules,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    rows: Rows,
    sessions: Vec<Session>,
    /// How often a statement may still fail.
    failures: u8,
    /// Messages that somebody was told are not there and never will be.
    absent: BTreeSet<u8>,
    faults: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// A session's next statement.
    Run(usize),
    /// Its statement fails, or it has waited for long enough.
    Fail(usize),
    /// The writer's connection is lost; its batch stays with the server.
    Lose,
    /// The server notices that a connection is gone, and undoes what it did.
    Abort(usize),
    /// Another node takes over; a leader gives up; retention begins.
    Begin(usize, Program),
}

impl State {
    /// The next statement of a session, or the row it waits for.
    fn run(&self, me: usize, rules: &Rules) -> Result<State, (Key, Mode)> {
        let mut next = self.clone();
        let stale = |lead: Value| {
            let newest = self.rows.shard.epoch.max(self.rows.lease.epoch);
            lead.epoch < newest || self.rows.shard.session == 0
        };
        let known = next.rows.messages.clone();
        let adding = next.rows.added(me);
        let session = &mut next.sessions[me];
        if let Went::Waits(key, mode) = session.run(me, &mut next.rows, rules) {
            return Err((key, mode));
        }
        let session = &next.sessions[me];
        let lead = match session.program {
            Program::Handoff { lead, .. } | Program::Retire { lead } => Some(lead),
            _ => None,
        };
        let newly = next.rows.messages.difference(&known).count() > 0;
        if newly {
            if lead.is_some_and(stale) {
                next.faults.insert(STALE_WRITE);
            }
            if adding.iter().any(|number| next.absent.contains(number)) && me == WRITER {
                next.faults.insert(WRONGLY_ABSENT);
            }
        }
        if matches!(session.program, Program::Retire { .. })
            && session.end == Some(End::Committed)
            && lead.is_some_and(stale)
        {
            next.faults.insert(STALE_DROP);
        }
        if session.end == Some(End::Fenced) && next.rows.shard == self.rows.shard {
            let (program, shard) = (session.program, next.rows.shard);
            let led = matches!(program, Program::Handoff { lead, .. }
                if shard.epoch == lead.epoch && shard.session == lead.session);
            if led {
                next.faults.insert(FALSELY_FENCED);
            }
        }
        // The look's answer comes behind its commit.
        let answered = matches!(session.program, Program::Handoff { .. }) || session.end.is_some();
        if session.found == Some(false) && answered {
            next.absent.insert(FIRST);
        }
        for number in [FIRST, SECOND] {
            let halves = next.rows.messages.iter().filter(|(of, _)| *of == number).count();
            if halves == 1 {
                next.faults.insert(SPLIT);
            }
        }
        Ok(next)
    }

    /// Whether some sessions wait for each other in a circle.
    fn deadlocked(&self, rules: &Rules) -> bool {
        let waits: Vec<Vec<usize>> = (0..self.sessions.len())
            .map(|me| {
                if !self.sessions[me].busy() {
                    return Vec::new();
                }
                match self.run(me, rules) {
                    Err((key, mode)) => self.rows.holders(me, key, mode),
                    Ok(_) => Vec::new(),
                }
            })
            .collect();
        (0..waits.len()).any(|start| {
            let mut open = waits[start].clone();
            let mut been = BTreeSet::new();
            while let Some(at) = open.pop() {
                if at == start {
                    return true;
                }
                if been.insert(at) {
                    open.extend(&waits[at]);
                }
            }
            false
        })
    }
}

impl Model for Walk {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let handoff = Program::Handoff {
            number: FIRST,
            lead: OLD,
            tries: 1,
        };
        let sessions = [handoff, Program::Idle, Program::Idle, Program::Idle];
        vec![State {
            rows: Rows::new(OLD, self.rules.rcsi),
            sessions: sessions.into_iter().map(Session::of).collect(),
            failures: 1,
            absent: BTreeSet::new(),
            faults: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (me, session) in state.sessions.iter().enumerate() {
            if session.busy() {
                if state.run(me, &self.rules).is_ok() {
                    actions.push(Action::Run(me));
                }
                if state.failures > 0 {
                    actions.push(Action::Fail(me));
                }
                if !session.heard {
                    actions.push(Action::Abort(me));
                }
            }
        }
        let idle = |me: usize| state.sessions[me].program == Program::Idle;
        if state.sessions[WRITER].busy() && state.sessions[WRITER].heard && idle(ANEW) {
            actions.push(Action::Lose);
        }
        if idle(OTHER) {
            actions.push(Action::Begin(OTHER, Program::Takeover { by: NEW }));
        }
        let other = &state.sessions[OTHER];
        if matches!(other.program, Program::Takeover { .. }) && other.end == Some(End::Committed) {
            let handoff = Program::Handoff {
                number: SECOND,
                lead: NEW,
                tries: 0,
            };
            actions.push(Action::Begin(OTHER, handoff));
        }
        if idle(KEEPER) {
            actions.push(Action::Begin(KEEPER, Program::Retire { lead: OLD }));
            actions.push(Action::Begin(KEEPER, Program::Release { lead: OLD }));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Run(me) => return state.run(me, &self.rules).ok(),
            Action::Fail(me) => {
                next.failures -= 1;
                next.sessions[me].fail(me, &mut next.rows, &self.rules);
            }
            Action::Lose => {
                next.sessions[WRITER].heard = false;
                next.sessions[ANEW] = Session::of(Program::LookFor {
                    number: FIRST,
                    lead: OLD_AGAIN,
                });
            }
            Action::Abort(me) => {
                next.rows.end(me, false);
                next.sessions[me].end = Some(End::Failed);
            }
            Action::Begin(me, program) => next.sessions[me] = Session::of(program),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn never(name: &'static str, condition: fn(&Walk, &State) -> bool) -> Property<Walk> {
            Property::always(name, condition)
        }
        vec![
            never(STALE_WRITE, |_, state| !state.faults.contains(STALE_WRITE)),
            never(STALE_DROP, |_, state| !state.faults.contains(STALE_DROP)),
            never(FALSELY_FENCED, |_: &Walk, state: &State| {
                !state.faults.contains(FALSELY_FENCED)
            }),
            never(WRONGLY_ABSENT, |_: &Walk, state: &State| {
                !state.faults.contains(WRONGLY_ABSENT)
            }),
            never(SPLIT, |_: &Walk, state: &State| !state.faults.contains(SPLIT)),
            never(DEADLOCK, |walk: &Walk, state: &State| {
                !state.deadlocked(&walk.rules)
            }),
            Property::sometimes(WRITTEN, |_: &Walk, state: &State| {
                state.sessions[WRITER].end == Some(End::Committed)
            }),
            Property::sometimes(FENCED, |_: &Walk, state: &State| {
                state.sessions[WRITER].end == Some(End::Fenced)
            }),
            Property::sometimes(RETIRED, |_: &Walk, state: &State| {
                let keeper = &state.sessions[KEEPER];
                matches!(keeper.program, Program::Retire { .. }) && keeper.end == Some(End::Committed)
            }),
            Property::sometimes(FOUND, |_: &Walk, state: &State| {
                state.sessions[ANEW].found == Some(true)
            }),
            Property::sometimes(ABSENT, |_: &Walk, state: &State| {
                let anew = &state.sessions[ANEW];
                anew.found == Some(false) && anew.end == Some(End::Committed)
            }),
            Property::sometimes(WAITED, |walk: &Walk, state: &State| {
                let other = &state.sessions[OTHER];
                other.busy()
                    && state
                        .run(OTHER, &walk.rules)
                        .err()
                        .is_some_and(|(key, mode)| state.rows.holders(OTHER, key, mode).contains(&WRITER))
            }),
        ]
    }
}
