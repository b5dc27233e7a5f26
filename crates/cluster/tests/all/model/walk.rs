//! How one state of the model leads to others: in every order that can be.

use stateright::{Model, Property};

use super::state::{Body, Budget, Call, Cut, Fate, NAMES, P, Pace, State};
use crate::database::{Begun, Write};
use crate::guards::Without;
use cluster::Role;

/// The database's clock is set forward or back by this, in nanoseconds: one lease time, and one and a half.
const JUMPS: [i64; 4] = [40_000_000, -40_000_000, 60_000_000, -60_000_000];

/// What is walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) nodes: usize,
    pub(super) left: Budget,
    /// Steps in which things may go wrong.
    pub(super) trouble: u8,
    /// Steps in all.
    pub(super) steps: u8,
    pub(super) without: Without,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Time goes on.
    Step,
    /// A node does what is next; its call is carried out and heard at once.
    Run(usize),
    /// Its call never arrives.
    RunLost(usize),
    /// Its call is carried out, and it never hears of it.
    RunUnheard(usize),
    /// It hears the answer as late as it may.
    RunSlow(usize),
    /// It gives up, and the call is carried out some time.
    RunLate(usize),
    /// A call that had to wait is carried out.
    Goes(usize),
    /// The sessions that it waits for are ended.
    EndSessions(usize),
    /// It hears the answer.
    Hear(usize),
    /// It waits no longer.
    GiveUp(usize),
    /// The database carries out a call that nobody waits for.
    Late(usize),
    /// All of a leadership has stopped.
    Stopped(usize),
    /// A leader sends a write.
    Write(usize),
    /// A write arrives.
    Arrive(usize),
    /// A write becomes durable.
    Commit(u64),
    Stop(usize),
    Freeze(usize),
    Resume(usize),
    Crash(usize),
    Restart(usize),
    Cut(usize, Cut),
    Heal(usize),
    Jump(i64),
    /// The database's standby follows no more.
    Lag,
    /// It takes the place of its primary.
    FailOver,
    /// Somebody asks the leader to make room for this node.
    Ask(usize),
    /// A node is told to leave.
    Leave(usize),
}

/// Takes one of a budget; `None` when it is used up.
fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

impl Walk {
    fn troubles(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        if state.step >= self.trouble {
            return;
        }
        for (index, node) in state.nodes.iter().enumerate() {
            let mut may = |count: u8, action: Action| {
                if count > 0 {
                    actions.push(action);
                }
            };
            if let Pace::Down(_) = node.pace {
                continue;
            }
            if node.runs() {
                may(left.pauses, Action::Stop(index));
                may(left.pauses, Action::Freeze(index));
                may(left.wishes, Action::Leave(index));
            }
            may(left.crashes, Action::Crash(index));
            if node.cut == Cut::No {
                may(left.cuts, Action::Cut(index, Cut::Wholly));
                may(left.cuts, Action::Cut(index, Cut::Answers));
            }
            may(left.wishes, Action::Ask(index));
        }
        if left.jumps > 0 {
            actions.extend(JUMPS.map(Action::Jump));
        }
        if left.failovers > 0 && state.behind.is_none() {
            actions.push(Action::Lag);
        }
    }

    fn of_a_node(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[index];
        match node.pace {
            Pace::Runs => {}
            Pace::Down(_) => return actions.push(Action::Restart(index)),
            Pace::Stopped | Pace::Frozen => return actions.push(Action::Resume(index)),
        }
        if let Body::Stops(_) = node.body {
            actions.push(Action::Stopped(index));
        }
        if state.left.writes > 0
            && let (Body::Serves(_), Some(deadline)) = (node.body, node.machine.deadline())
            && matches!(node.machine.role(), Role::Leader(_))
            && state.now() < deadline
        {
            actions.push(Action::Write(index));
        }
        let now = state.now();
        match &node.call {
            None if !node.settled => {
                actions.push(Action::Run(index));
                if state.left.slips > 0 && state.step < self.trouble && node.cut == Cut::No {
                    actions.extend([
                        Action::RunLost(index),
                        Action::RunUnheard(index),
                        Action::RunSlow(index),
                        Action::RunLate(index),
                    ]);
                }
            }
            None => {}
            Some(call) => {
                let waited = now >= call.sent + P.attempt;
                match call.fate {
                    // The call itself ends the sessions that keep it waiting, before its time is over.
                    Fate::Waits => actions.extend([Action::Goes(index), Action::EndSessions(index)]),
                    Fate::Answered(_) if waited => {
                        actions.extend([Action::Hear(index), Action::GiveUp(index)]);
                    }
                    Fate::Lost if waited => actions.push(Action::GiveUp(index)),
                    Fate::Answered(_) | Fate::Lost => {}
                }
            }
        }
    }

    /// A node does what is next, and its call ends like this.
    fn run(state: &mut State, index: usize, action: Action) -> Option<()> {
        let sent = state.now();
        let Some(what) = state.next(index) else {
            // Nothing is sent that could be late or lost.
            return matches!(action, Action::Run(_)).then_some(());
        };
        let cut = state.nodes[index].cut;
        if !matches!(action, Action::Run(_)) {
            spend(&mut state.left.slips)?;
            state.trouble = state.step;
        }
        let arrives = cut != Cut::Wholly && !matches!(action, Action::RunLost(_) | Action::RunLate(_));
        let answer = if arrives {
            state.carry_out(index, &what)
        } else {
            None
        };
        if action == Action::RunLate(index) {
            state.late.push((index, what.clone()));
        }
        let fate = match (answer, action) {
            (Some(answer), Action::Run(_)) if cut == Cut::No => {
                let call = Call {
                    what,
                    sent,
                    fate: Fate::Lost,
                };
                state.hear(index, &call, Some(answer));
                return Some(());
            }
            (Some(answer), Action::RunSlow(_)) => Fate::Answered(Box::new(answer)),
            (None, Action::Run(_)) if arrives => Fate::Waits,
            _ => Fate::Lost,
        };
        state.nodes[index].call = Some(Call { what, sent, fate });
        Some(())
    }

    /// A call that had to wait for a write.
    fn go(state: &mut State, index: usize) -> Option<()> {
        let call = state.nodes[index].call.take()?;
        let answer = state.carry_out(index, &call.what)?;
        if state.nodes[index].cut == Cut::No {
            state.hear(index, &call, Some(answer));
        } else {
            let fate = Fate::Lost;
            state.nodes[index].call = Some(Call { fate, ..call });
        }
        Some(())
    }

    fn write(state: &mut State, index: usize) -> Option<()> {
        let Body::Serves(term) = state.nodes[index].body else {
            return None;
        };
        spend(&mut state.left.writes)?;
        state.written += 1;
        state.sent.push(Write {
            id: state.written,
            node: index,
            term,
            session: 0,
        });
        Some(())
    }

    fn trouble(state: &mut State, action: Action) -> Option<()> {
        state.trouble = state.step;
        let (now, step) = (state.now(), state.step);
        match action {
            Action::Stop(index) => {
                spend(&mut state.left.pauses)?;
                state.nodes[index].pace = Pace::Stopped;
            }
            Action::Freeze(index) => {
                spend(&mut state.left.pauses)?;
                state.nodes[index].pace = Pace::Frozen;
            }
            Action::Resume(index) => state.nodes[index].wake(NAMES[index], now, step),
            Action::Crash(index) => {
                spend(&mut state.left.crashes)?;
                state.nodes[index].end(NAMES[index], step);
            }
            Action::Restart(index) => state.nodes[index].pace = Pace::Runs,
            Action::Cut(index, cut) => {
                spend(&mut state.left.cuts)?;
                state.nodes[index].cut = cut;
            }
            Action::Heal(index) => state.nodes[index].cut = Cut::No,
            Action::Jump(by) => {
                spend(&mut state.left.jumps)?;
                state.database.row.clock_error = by;
            }
            Action::Lag => {
                spend(&mut state.left.failovers)?;
                state.behind = Some(Box::new(state.database.clone()));
            }
            Action::FailOver => {
                let behind = state.behind.take()?;
                state.database.rewind(&behind);
            }
            Action::Ask(index) => {
                spend(&mut state.left.wishes)?;
                let clock = state
                    .now()
                    .0
                    .saturating_add_signed(state.database.row.clock_error);
                state.database.row.asked = Some((NAMES[index].to_owned(), clock));
            }
            Action::Leave(index) => {
                spend(&mut state.left.wishes)?;
                state.nodes[index].machine.leave();
                state.nodes[index].settled = false;
            }
            _ => return None,
        }
        Some(())
    }
}

impl Model for Walk {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.nodes, self.left, self.without)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.step < self.steps && state.is_settled() {
            actions.push(Action::Step);
        }
        self.troubles(state, actions);
        if state.behind.is_some() {
            actions.push(Action::FailOver);
        }
        for (index, node) in state.nodes.iter().enumerate() {
            self.of_a_node(state, index, actions);
            if node.cut != Cut::No {
                actions.push(Action::Heal(index));
            }
        }
        actions.extend((0..state.late.len()).map(Action::Late));
        actions.extend((0..state.sent.len()).map(Action::Arrive));
        let open = state.database.open().iter();
        actions.extend(open.map(|write| Action::Commit(write.id)));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        let state = &mut next;
        match action {
            Action::Step => state.step(),
            Action::Run(index)
            | Action::RunLost(index)
            | Action::RunUnheard(index)
            | Action::RunSlow(index)
            | Action::RunLate(index) => Walk::run(state, index, action)?,
            Action::Goes(index) => Walk::go(state, index)?,
            Action::EndSessions(index) => {
                state.database.end_sessions(index);
                Walk::go(state, index)?;
            }
            Action::Hear(index) => {
                let call = state.nodes[index].call.take()?;
                let Fate::Answered(answer) = call.fate.clone() else {
                    return None;
                };
                state.hear(index, &call, Some(*answer));
            }
            Action::GiveUp(index) => {
                let call = state.nodes[index].call.take()?;
                state.hear(index, &call, None);
            }
            Action::Late(place) => {
                let (index, what) = state.late.remove(place);
                state.carry_out(index, &what)?;
                state.trouble = state.step;
            }
            Action::Stopped(index) => {
                let node = &mut state.nodes[index];
                let Body::Stops(term) = node.body else { return None };
                node.body = Body::Idle;
                node.machine.stopped(term);
                node.settled = false;
                state.trouble = state.step; // however long it took
            }
            Action::Write(index) => Walk::write(state, index)?,
            Action::Arrive(place) => {
                let write = state.sent.remove(place);
                if state.database.begin(write) == Begun::Waits {
                    return None;
                }
            }
            Action::Commit(id) => {
                let write = state.database.commit(id)?;
                state.stale |= write.term != state.database.row.newest();
            }
            other => Walk::trouble(state, other)?,
        }
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(TWO_ACT, |_, state| {
                state.nodes.iter().filter(|node| node.acts()).count() <= 1
            }),
            Property::<Self>::always(STALE, |_, state| !state.stale),
            Property::<Self>::always(NOBODY, |_, state| {
                let calm = u128::from(state.quiet()) * super::state::TICK.as_millis();
                calm <= PATIENCE || state.nodes.iter().any(|node| node.acts())
            }),
            // A walk in which nothing happens shows nothing.
            Property::<Self>::sometimes(CHANGES, |_, state| state.nodes[1].acts()),
        ]
    }
}

pub(super) const TWO_ACT: &str = "I1: one node acts at most";
pub(super) const STALE: &str = "I2: no write under a term that is not the newest";
pub(super) const NOBODY: &str = "I14: a leader two lease times after the last fault";
pub(super) const CHANGES: &str = "the leader changes";
/// In milliseconds; what is allowed beyond two lease times is a tick for the call.
const PATIENCE: u128 = 2 * P.ttl.as_millis() + 10;
