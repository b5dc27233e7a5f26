//! Two nodes and the row, walked through every order in which things can happen within a short time: each call may be
//! carried out early, late, after everybody stopped waiting for it, or never; each answer may come, come late or be lost;
//! a node may do nothing for as long as it likes; the database's clock may jump once. The machine is the one that runs
//! in production; only its times are short, so that all states can be walked.

use std::time::Duration;

use cluster::board::Lease;
use cluster::machine::{Candidate, Do, HANDOFF, Machine};
use cluster::{Parameters, Role, Tick};
use model::Term;
use stateright::{Checker, Model, Property};
use store::board::Renewal;

use super::row::{Fault, Row};

/// Time goes on in steps of this.
const STEP: Duration = Duration::from_millis(10);
const P: Parameters = Parameters {
    renew: Duration::from_millis(20),
    attempt: Duration::from_millis(10),
    fence: Duration::from_millis(50),
    stop: Duration::from_millis(1),
    ttl: Duration::from_millis(60),
    watchdog: Duration::from_millis(1),
};
const NAMES: [&str; 2] = ["a", "b"];
const BEGIN: Tick = Tick(1_000_000_000_000);

/// What a node does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    BaselineAfter,
    NoObservation,
}

/// What is walked.
#[derive(Clone, Copy, Debug)]
struct Walk {
    wrong: Wrong,
    /// Steps of time.
    steps: u32,
    /// Whether the database's clock may jump.
    jumps: bool,
    /// Whether a call may be carried out after nobody waits for it any more.
    late: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    step: u32,
    row: Row,
    nodes: [Node; 2],
    /// A call that nobody waits for any more.
    late: Option<(usize, Do)>,
    jumped: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Node {
    machine: Machine,
    call: Option<Call>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Call {
    what: Do,
    sent: Tick,
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Answer {
    Lease(Lease),
    Term(Option<Term>),
    Renewal(Renewal),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// Time goes on.
    Step,
    /// A node does what is next.
    Run(usize),
    /// The database carries out its call.
    CarryOut(usize),
    /// It hears the answer.
    Hear(usize),
    /// It waits no longer; the call is lost.
    GiveUp(usize),
    /// It waits no longer; the call is carried out some time.
    Abandon(usize),
    /// That time has come.
    Late,
    /// The database's clock is set forward.
    Jump,
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        node: name.to_owned(),
        fingerprint: "one".to_owned(),
        promotable: true,
        delay: Duration::ZERO,
    }
}

impl State {
    fn now(&self) -> Tick {
        BEGIN + STEP * self.step
    }

    fn may_act(&self, index: usize) -> bool {
        let machine = &self.nodes[index].machine;
        let leads = matches!(machine.role(), Role::Leader(_) | Role::SteppingDown(_));
        leads && machine.deadline().is_some_and(|deadline| deadline > self.now())
    }

    fn carry_out(&mut self, index: usize, what: &Do) -> Answer {
        let now = self.now();
        match what {
            // How much time is left decides nothing, and would make states differ.
            Do::Look => Answer::Lease(Lease {
                left: Duration::ZERO,
                ..self.row.look(now, P.ttl)
            }),
            Do::Acquire(mark) => Answer::Term(self.row.acquire(now, mark, NAMES[index], P.ttl)),
            Do::Renew(term) => Answer::Renewal(self.row.renew(now, *term, P.ttl)),
            Do::Release(term, to) => {
                self.row.release(now, *term, to.as_deref(), HANDOFF);
                Answer::Done
            }
            Do::Wait(_) | Do::End => Answer::Done,
        }
    }

    fn hear(&mut self, index: usize, call: Call, answer: Option<Answer>, wrong: Wrong) {
        let now = self.now();
        let machine = &mut self.nodes[index].machine;
        let sent = if wrong == Wrong::BaselineAfter {
            now
        } else {
            call.sent
        };
        match (call.what, answer) {
            (Do::Look, Some(Answer::Lease(lease))) => {
                let asked = if wrong == Wrong::NoObservation {
                    now + P.ttl * 10
                } else {
                    call.sent
                };
                machine.looked(asked, now, Some(lease));
            }
            (Do::Look, _) => machine.looked(call.sent, now, None),
            (Do::Acquire(_), Some(Answer::Term(term))) => machine.acquired(sent, now, Some(term)),
            (Do::Acquire(_), _) => machine.acquired(call.sent, now, None),
            (Do::Renew(_), Some(Answer::Renewal(renewal))) => machine.renewed(sent, now, Some(renewal)),
            (Do::Renew(_), _) => machine.renewed(call.sent, now, None),
            (_, answer) => machine.released(now, answer.is_some()),
        }
    }
}

impl Model for Walk {
    type State = State;
    type Action = Action;

    /// `a` has just taken the lease; `b` has watched for a while.
    fn init_states(&self) -> Vec<State> {
        let mut row = Row::new(Fault::None);
        let early = Tick(BEGIN.0 - 10_000_000_000);
        let mut nodes = NAMES.map(|name| Node {
            machine: Machine::new(candidate(name), P),
            call: None,
        });
        for node in &mut nodes {
            node.machine.looked(early, early, Some(row.look(early, P.ttl)));
        }
        let seen = row.look(BEGIN, P.ttl).mark;
        let term = row.acquire(BEGIN, &seen, "a", P.ttl);
        nodes[0].machine.acquired(BEGIN, BEGIN, Some(term));
        let lease = Lease {
            left: Duration::ZERO,
            ..row.look(BEGIN, P.ttl)
        };
        nodes[1].machine.looked(BEGIN, BEGIN, Some(lease));
        vec![State {
            step: 0,
            row,
            nodes,
            late: None,
            jumped: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.step < self.steps {
            actions.push(Action::Step);
        }
        if self.jumps && !state.jumped {
            actions.push(Action::Jump);
        }
        if state.late.is_some() {
            actions.push(Action::Late);
        }
        for (index, node) in state.nodes.iter().enumerate() {
            match &node.call {
                None => actions.push(Action::Run(index)),
                Some(call) => {
                    let waited = state.now() >= call.sent + P.attempt;
                    actions.push(match call.answer {
                        None => Action::CarryOut(index),
                        Some(_) => Action::Hear(index),
                    });
                    if waited {
                        actions.push(Action::GiveUp(index));
                    }
                    if self.late && waited && call.answer.is_none() && state.late.is_none() {
                        actions.push(Action::Abandon(index));
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step => state.step += 1,
            Action::Jump => {
                state.jumped = true;
                state.row.clock_error = 1_000_000_000;
            }
            Action::Late => {
                let (index, what) = state.late.take()?;
                state.carry_out(index, &what);
            }
            Action::Run(index) => {
                let sent = state.now();
                match state.nodes[index].machine.next(sent) {
                    Do::Wait(_) | Do::End => {}
                    what => {
                        state.nodes[index].call = Some(Call {
                            what,
                            sent,
                            answer: None,
                        });
                    }
                }
            }
            Action::CarryOut(index) => {
                let mut call = state.nodes[index].call.take()?;
                call.answer = Some(state.carry_out(index, &call.what));
                state.nodes[index].call = Some(call);
            }
            Action::Hear(index) => {
                let mut call = state.nodes[index].call.take()?;
                let answer = call.answer.take();
                state.hear(index, call, answer, self.wrong);
            }
            Action::GiveUp(index) => {
                let call = state.nodes[index].call.take()?;
                state.hear(index, call, None, self.wrong);
            }
            Action::Abandon(index) => {
                let call = state.nodes[index].call.take()?;
                state.late = Some((index, call.what.clone()));
                state.hear(index, call, None, self.wrong);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("one leader at most", |_, state| {
                !(state.may_act(0) && state.may_act(1))
            }),
            // A walk in which nothing happens shows nothing.
            Property::<Self>::sometimes("the other takes over", |_, state| state.may_act(1)),
            Property::<Self>::sometimes("the leader stops by itself", |_, state| {
                matches!(state.nodes[0].machine.role(), Role::Fenced(_))
            }),
        ]
    }
}

impl Walk {
    /// Nothing is wrong; long enough for a takeover.
    const RIGHT: Walk = Walk {
        wrong: Wrong::Nothing,
        steps: 9,
        jumps: false,
        late: false,
    };

    /// The actions that lead to two leaders, how many states there are, and whether the other ever takes over.
    fn walk(self) -> (Option<String>, usize, bool) {
        let checker = self.checker().threads(2).spawn_bfs().join();
        let broken = checker.discovery("one leader at most");
        let broken = broken.map(|path| format!("{:?}", path.into_actions()));
        let taken_over = checker.discovery("the other takes over").is_some();
        (broken, checker.unique_state_count(), taken_over)
    }
}

#[test]
fn the_times_of_the_model_are_as_safe_as_they_are_short() {
    assert_eq!(P.fault(), None);
}

/// `HOLDFAST_MODEL=all` walks both kinds of trouble together: some millions of states, a minute or two.
#[test]
fn in_no_order_of_events_do_two_nodes_lead() {
    let kinds = match std::env::var_os("HOLDFAST_MODEL") {
        Some(_) => vec![(true, true)],
        None => vec![(true, false), (false, true)],
    };
    for (jumps, late) in kinds {
        let (broken, states, taken_over) = Walk {
            jumps,
            late,
            ..Walk::RIGHT
        }
        .walk();
        assert_eq!(broken, None);
        assert!(taken_over, "{states} states, and the other never took over");
        assert!(states > 10_000, "{states} states only");
    }
}

#[test]
fn without_one_of_its_guards_two_nodes_lead_in_some_order() {
    for wrong in [Wrong::NoObservation, Wrong::BaselineAfter] {
        let (broken, states, _) = Walk {
            wrong,
            jumps: true,
            ..Walk::RIGHT
        }
        .walk();
        assert!(broken.is_some(), "{states} states and nobody noticed {wrong:?}");
    }
}
