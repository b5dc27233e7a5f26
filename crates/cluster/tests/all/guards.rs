//! The guards that keep two nodes from acting at once. Each can be taken away, in the surroundings of the machine and
//! never in it: the machine under test is the one that ships. The model and the simulation have to miss every one.

use cluster::board::Lease;
use cluster::machine::{Do, Machine};
use cluster::{Parameters, Tick};
use model::Term;
use store::board::Renewal;

/// What is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Without {
    Nothing,
    /// A write holds the shard's row from its check to its commit, and who acquires waits for it or ends it.
    Latch,
    /// That holds for what an earlier process or connection of the same node left behind, too.
    OwnSessions,
    /// The deadline counts from before the renewal was sent, not from its answer.
    Baseline,
    /// Only the term that holds the lease gives it up.
    GuardedRelease,
    /// Only the term that holds the lease renews it.
    GuardedRenewal,
    /// Terms are compared for equality; epochs that are not older do not suffice.
    EqualTerms,
    /// A leader that makes room gives the lease up after all of it has stopped.
    StopBeforeRelease,
    /// The row has to stand still for a whole lease time by the watcher's own clock.
    Observation,
    /// The lease is taken only as it was seen.
    SeenMark,
    /// A database that begins a new timeline is not believed for a whole lease time.
    Timeline,
    /// The lease is taken only on the timeline on which it was seen.
    SameTimeline,
    /// A process that was stopped is ended from outside once its deadline has passed.
    Fencer,
}

impl Without {
    pub(crate) const EACH: [Without; 12] = [
        Without::Latch,
        Without::OwnSessions,
        Without::Baseline,
        Without::GuardedRelease,
        Without::GuardedRenewal,
        Without::EqualTerms,
        Without::StopBeforeRelease,
        Without::Observation,
        Without::SeenMark,
        Without::Timeline,
        Without::SameTimeline,
        Without::Fencer,
    ];
}

/// What the database said to a call.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Answer {
    Lease(Lease),
    Term(Option<Term>),
    Renewal(Renewal),
    Done,
}

/// Tells a machine at `at` what became of a call that was sent at `sent`; `None` when it does not know.
pub(crate) fn tell(
    machine: &mut Machine,
    call: &Do,
    answer: Option<Answer>,
    (sent, at): (Tick, Tick),
    parameters: &Parameters,
    without: Without,
) {
    let baseline = if without == Without::Baseline { at } else { sent };
    match (call, answer) {
        (Do::Look, Some(Answer::Lease(mut lease))) => {
            if without == Without::Timeline {
                lease.mark.timeline = 0;
            }
            let asked = match without {
                Without::Observation => at + parameters.ttl * 10,
                _ => sent,
            };
            machine.looked(asked, at, Some(lease));
        }
        (Do::Look, _) => machine.looked(sent, at, None),
        (Do::Acquire(_), Some(Answer::Term(term))) => machine.acquired(baseline, at, Some(term)),
        (Do::Acquire(_), _) => machine.acquired(sent, at, None),
        (Do::Renew(_), Some(Answer::Renewal(renewal))) => machine.renewed(baseline, at, Some(renewal)),
        (Do::Renew(_), _) => machine.renewed(sent, at, None),
        (_, answer) => machine.released(at, answer.is_some()),
    }
}

/// For who runs the tests with `--nocapture`.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
