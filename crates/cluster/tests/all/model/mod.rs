//! Two and three nodes over the database, walked through every order in which things can happen within some lease times.
//! The machine is the one that runs in production; only its times are short. What goes wrong is bounded by a budget
//! for each kind, and may go wrong at any instant; whatever was sent may arrive at any later time.

mod state;
mod walk;

use stateright::{Checker, HasDiscoveries, Model};

use crate::guards::{Without, say};
use state::{Budget, P};
use walk::Walk;

/// What a walk found.
struct Found {
    /// A property that does not hold, with the actions that lead to it.
    broken: Option<String>,
    states: usize,
    /// Whether the leader ever changed.
    changes: bool,
    seconds: f32,
}

impl Walk {
    fn walk(self) -> Found {
        let begun = std::time::Instant::now();
        let checker = self
            .checker()
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let broken = [walk::TWO_ACT, walk::STALE, walk::NOBODY]
            .into_iter()
            .find_map(|name| Some((name, checker.discovery(name)?)));
        let found = Found {
            broken: broken.map(|(name, path)| format!("{name}: {:?}", path.into_actions())),
            states: checker.unique_state_count(),
            changes: checker.discovery(walk::CHANGES).is_some(),
            seconds: begun.elapsed().as_secs_f32(),
        };
        say(&format!(
            "{} nodes, {:?}, {:?}: {} states, {:.1} s, {}",
            self.nodes,
            self.left,
            self.without,
            found.states,
            found.seconds,
            found.broken.as_deref().unwrap_or("nothing broken")
        ));
        found
    }
}

const NOTHING: Budget = Budget {
    pauses: 0,
    crashes: 0,
    cuts: 0,
    slips: 0,
    writes: 0,
    jumps: 0,
    failovers: 0,
    wishes: 0,
};

/// For each guard what has to go wrong for its absence to show.
const MISSED: [(Without, usize, Budget); 12] = [
    (
        Without::Latch,
        2,
        Budget {
            writes: 1,
            crashes: 1,
            ..NOTHING
        },
    ),
    (
        Without::OwnSessions,
        2,
        Budget {
            writes: 1,
            crashes: 1,
            ..NOTHING
        },
    ),
    (
        Without::Baseline,
        2,
        Budget {
            pauses: 1,
            slips: 1,
            ..NOTHING
        },
    ),
    (
        Without::GuardedRelease,
        2,
        Budget {
            wishes: 1,
            slips: 1,
            ..NOTHING
        },
    ),
    (
        Without::GuardedRenewal,
        2,
        Budget {
            failovers: 1,
            ..NOTHING
        },
    ),
    (
        Without::EqualTerms,
        2,
        Budget {
            writes: 1,
            failovers: 1,
            ..NOTHING
        },
    ),
    (Without::StopBeforeRelease, 2, Budget { wishes: 1, ..NOTHING }),
    (Without::Observation, 2, Budget { jumps: 1, ..NOTHING }),
    (Without::SeenMark, 2, NOTHING),
    (
        Without::Timeline,
        2,
        Budget {
            failovers: 1,
            ..NOTHING
        },
    ),
    (
        Without::SameTimeline,
        2,
        Budget {
            pauses: 1,
            failovers: 1,
            ..NOTHING
        },
    ),
    (Without::Fencer, 2, Budget { pauses: 1, ..NOTHING }),
];

#[test]
fn without_one_of_its_guards_two_nodes_act_or_an_old_one_writes() {
    let listed: Vec<Without> = MISSED.iter().map(|(without, ..)| *without).collect();
    assert_eq!(listed, Without::EACH);
    let mut survived = Vec::new();
    for (without, nodes, left) in MISSED {
        let walk = Walk {
            nodes,
            left,
            trouble: 6,
            steps: 12,
            without,
        };
        let broken = walk.walk().broken;
        if !broken.is_some_and(|broken| broken.starts_with("I1:") || broken.starts_with("I2:")) {
            survived.push(without);
        }
    }
    assert!(
        survived.is_empty(),
        "nobody would notice that these are missing: {survived:?}"
    );
}

/// One of each kind.
const KINDS: [Budget; 8] = [
    Budget { pauses: 1, ..NOTHING },
    Budget {
        crashes: 1,
        ..NOTHING
    },
    Budget { cuts: 1, ..NOTHING },
    Budget { slips: 1, ..NOTHING },
    Budget { writes: 1, ..NOTHING },
    Budget { jumps: 1, ..NOTHING },
    Budget {
        failovers: 1,
        ..NOTHING
    },
    Budget { wishes: 1, ..NOTHING },
];

impl std::ops::Add for Budget {
    type Output = Budget;

    fn add(self, other: Budget) -> Budget {
        Budget {
            pauses: self.pauses + other.pauses,
            crashes: self.crashes + other.crashes,
            cuts: self.cuts + other.cuts,
            slips: self.slips + other.slips,
            writes: self.writes + other.writes,
            jumps: self.jumps + other.jumps,
            failovers: self.failovers + other.failovers,
            wishes: self.wishes + other.wishes,
        }
    }
}

#[test]
fn the_times_of_the_model_are_as_safe_as_they_are_short() {
    assert_eq!(P.fault(), None);
}

/// How far it is walked: of each row the nodes, the steps in which things may go wrong, and how many kinds at a time.
/// A takeover takes four steps, and two lease times eight more.
const SHORT: [(usize, u8, usize); 3] = [(2, 5, 1), (2, 1, 2), (3, 1, 1)];
/// `HOLDFAST_MODEL=all`.
const ALL: [(usize, u8, usize); 3] = [(2, 8, 1), (2, 3, 2), (3, 3, 1)];

/// Every choice of so many kinds, each as often as one likes.
fn choices(of: usize, from: usize) -> Vec<Budget> {
    if of == 0 {
        return vec![NOTHING];
    }
    let mut all = Vec::new();
    for (place, kind) in KINDS.iter().enumerate().skip(from) {
        all.extend(choices(of - 1, place).into_iter().map(|rest| *kind + rest));
    }
    all
}

#[test]
fn in_no_order_of_events_do_two_nodes_act_or_an_old_one_write_or_nobody_lead() {
    let walks: &[_] = match std::env::var_os("HOLDFAST_MODEL") {
        Some(_) => &ALL,
        None => &SHORT,
    };
    let (mut states, mut seconds) = (0, 0.0);
    for (nodes, trouble, kinds) in walks {
        for left in choices(*kinds, 0) {
            let walk = Walk {
                nodes: *nodes,
                left,
                trouble: *trouble,
                steps: trouble + 10,
                without: Without::Nothing,
            };
            let found = walk.walk();
            assert_eq!(found.broken, None, "{left:?}");
            states += found.states;
            seconds += found.seconds;
            let ends = left.pauses + left.crashes + left.cuts + left.wishes;
            assert!(ends == 0 || found.changes, "{left:?}: the leader never changed");
        }
    }
    say(&format!("{states} states in {seconds:.0} s"));
    assert!(states > 1_000_000, "{states} states only");
}
