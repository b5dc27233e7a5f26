//! How long partners hear nothing: one kind of fault, over and over, under steady load through the load balancer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::clean;
use crate::clock::{Moment, micros};
use crate::judge::{Judgement, Kind as Wrong};
use crate::nemesis;
use crate::nemesis::schedule::Kind;
use crate::record::{self, Event, Line, Recorder};
use crate::run::{self, say};
use crate::shell;
use crate::world::{self, Options, PATIENCE, World, lock, net};

/// What happens to the cluster.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Another node is asked to lead.
    Switchover,
    /// `kill -9` of the leader.
    Kill,
    /// SIGSTOP of the leader.
    Stop,
    /// The leader's cable is taken out.
    Partition,
    /// The database is restarted.
    DatabaseRestart,
    /// The load balancer that has the shared address is cut off.
    Vip,
    /// The HAProxy that has the shared address is killed.
    Haproxy,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// The longest time without an acknowledgement from the fault on, in milliseconds.
    pub gap_ms: f64,
    /// Changes of leader that came of it.
    pub changes: u64,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What happened.
    pub what: What,
    /// The cluster's profile.
    pub profile: String,
    /// Lanes under load.
    pub lanes: u16,
    /// Messages a second over all lanes.
    pub per_second: f64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and lost or not delivered.
    pub lost: usize,
    /// Deliveries out of order.
    pub inversions: usize,
    /// Rows of an older leadership, committed after the next had begun.
    pub stale: usize,
    /// Deliveries repeated.
    pub repeated: u64,
    /// The median of the gaps, in milliseconds.
    pub p50_ms: f64,
    /// Of 100 gaps, 99 are at most so long.
    pub p99_ms: f64,
    /// The longest gap.
    pub max_ms: f64,
    /// Round by round.
    pub rounds: Vec<Round>,
    /// Whether the judge found nothing.
    pub clean: bool,
}

/// How long a fault stays: long enough that it is over only when somebody else leads.
fn stays(what: What, lease: Duration) -> Duration {
    match what {
        What::Switchover | What::DatabaseRestart | What::Vip | What::Haproxy => Duration::ZERO,
        What::Kill | What::Stop | What::Partition => lease * 3 / 2,
    }
}

/// Measures, prints a table and JSON; whether the judge found nothing.
///
/// # Errors
/// The world could not be built, or a round did not come to its end.
pub fn run(what: What, count: u32, mut options: Options, keep: bool) -> Result<bool> {
    options.shared_address = matches!(what, What::Vip | What::Haproxy);
    let (lease, profile) = (options.lease(), options.profile.clone());
    let (lanes, per_second) = (options.lanes, options.per_second);
    let (outcome, rounds) = world::with(options, |world| {
        let recorder = Recorder::create(&world.names.folder().join("records/nemesis.jsonl"))?;
        let instants = play(world, &recorder, what, count, lease);
        let failure = instants.as_ref().err().map(|error| format!("{error:#}"));
        shell::check()?;
        let outcome = run::finish(world, micros(lease), failure)?;
        let lines = record::read(&outcome.folder.join("records"))?;
        Ok((outcome, gaps(&lines, &instants.unwrap_or_default())))
    })?;
    if let Some(failure) = &outcome.failure {
        run::report(&outcome)?;
        bail!("{failure}");
    }
    let report = report(what, (profile, lanes, per_second), rounds, &outcome.judgement);
    if !outcome.passed() {
        run::report(&outcome)?;
    }
    show(&report)?;
    if outcome.passed() && !keep {
        clean::remove_folder(&outcome.folder);
    }
    Ok(report.clean)
}

/// An instant at which something was done, and the changes of leader that came of it.
struct Done {
    at: Moment,
    changes: u64,
}

/// Load before a fault, and after it once all is whole: several times what the load balancer takes to look at each node.
const STEADY: Duration = Duration::from_millis(500);

fn play(
    world: &Arc<World>,
    recorder: &Recorder,
    what: What,
    count: u32,
    lease: Duration,
) -> Result<Vec<Done>> {
    let mut instants = Vec::new();
    world.offer()?;
    world.progress_by(50, PATIENCE)?;
    for round in 1..=count {
        world.wait_whole(PATIENCE)?;
        shell::pause(STEADY)?;
        let before = changes(world)?;
        let at = Moment::now();
        match what {
            What::Vip => move_address(world, recorder, round, true)?,
            What::Haproxy => move_address(world, recorder, round, false)?,
            What::Switchover => nemesis::once(world, recorder, round, Kind::Switchover, Duration::ZERO)?,
            What::Kill => nemesis::once(world, recorder, round, Kind::Kill, stays(what, lease))?,
            What::Stop => nemesis::once(world, recorder, round, Kind::Stop, stays(what, lease))?,
            What::Partition => nemesis::once(world, recorder, round, Kind::LinkDown, stays(what, lease))?,
            What::DatabaseRestart => {
                nemesis::once(world, recorder, round, Kind::DatabaseRestart, Duration::ZERO)?
            }
        }
        world.wait_whole(PATIENCE)?;
        world.progress_by(100, PATIENCE)?;
        shell::pause(STEADY)?;
        instants.push(Done {
            at,
            changes: changes(world)? - before,
        });
    }
    world.drain(recorder)?;
    Ok(instants)
}

fn changes(world: &World) -> Result<u64> {
    world
        .primary()
        .ask("SELECT count(*) FROM chaos.acquired")?
        .parse()
        .context("a count")
}

/// Takes the cable out of the load balancer that has the address, or kills its HAProxy, and waits until the other one
/// has it.
fn move_address(world: &World, recorder: &Recorder, number: u32, cable: bool) -> Result<()> {
    let balancers = || lock(&world.balancers);
    let from = balancers().iter().position(|one| one.has_address());
    let from = from.context("the shared address lies nowhere")?;
    let host = balancers()[from].host();
    recorder.note(Event::Fault {
        number,
        kind: if cable {
            "balancer link down"
        } else {
            "balancer kill"
        }
        .to_owned(),
        target: host.name(),
    });
    match cable {
        true => net::cable(world.names, host, false)?,
        false => balancers()[from].kill(),
    }
    shell::until("the address to move", Duration::from_secs(20), || {
        ensure!(
            balancers()[1 - from].has_address(),
            "the other load balancer does not have it"
        );
        ensure!(!balancers()[from].has_address(), "{} still has it", host.name());
        Ok(())
    })?;
    recorder.note(Event::Bitten {
        number,
        evidence: format!("the address left {}", host.name()),
    });
    match cable {
        true => net::cable(world.names, host, true)?,
        false => balancers()[from].restart()?,
    }
    recorder.note(Event::Mended {
        number,
        note: String::new(),
    });
    recorder.note(Event::Calm);
    // keepalived asks once a second, and wants two good answers.
    shell::pause(Duration::from_secs(4))
}

/// Of each instant the longest time without an acknowledgement that ended after it and before the next.
fn gaps(lines: &[Line], done: &[Done]) -> Vec<Round> {
    let mut heard: Vec<u64> = lines
        .iter()
        .filter_map(|line| match &line.event {
            Event::Sent { acknowledged, .. } => acknowledged.map(|at| at.mono),
            _ => None,
        })
        .collect();
    heard.sort_unstable();
    done.iter()
        .enumerate()
        .map(|(index, one)| {
            let until = done.get(index + 1).map_or(u64::MAX, |next| next.at.mono);
            // It belongs to the fault during which it ended: the last answer before a fault may be older than the fault.
            let pairs = heard
                .windows(2)
                .filter(|pair| pair[1] > one.at.mono && pair[1] <= until);
            Round {
                gap_ms: pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as f64 / 1000.0,
                changes: one.changes,
            }
        })
        .collect()
}

/// The smallest value that so many per cent of all are not above.
fn percentile(sorted: &[f64], per_cent: usize) -> f64 {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

fn report(what: What, site: (String, u16, f64), rounds: Vec<Round>, judgement: &Judgement) -> Report {
    let mut gaps: Vec<f64> = rounds.iter().map(|round| round.gap_ms).collect();
    gaps.sort_by(f64::total_cmp);
    let (profile, lanes, per_second) = site;
    Report {
        what,
        profile,
        lanes,
        per_second,
        acknowledged: judgement.counts.acknowledged,
        lost: judgement.count(Wrong::Lost) + judgement.count(Wrong::Undelivered),
        inversions: judgement.count(Wrong::Disorder),
        stale: judgement.count(Wrong::Stale),
        repeated: judgement.counts.repeated,
        p50_ms: percentile(&gaps, 50),
        p99_ms: percentile(&gaps, 99),
        max_ms: percentile(&gaps, 100),
        rounds,
        clean: judgement.is_clean(),
    }
}

fn show(report: &Report) -> Result<()> {
    say(
        "| what | count | gap p50 | gap p99 | gap max | changes of leader | acknowledged | lost | inversions | stale | repeated |",
    )?;
    say("|---|---|---|---|---|---|---|---|---|---|---|")?;
    let name = report
        .what
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    say(&format!(
        "| {name} | {} | {:.0} ms | {:.0} ms | {:.0} ms | {} | {} | {} | {} | {} | {} |",
        report.rounds.len(),
        report.p50_ms,
        report.p99_ms,
        report.max_ms,
        report.rounds.iter().map(|round| round.changes).sum::<u64>(),
        report.acknowledged,
        report.lost,
        report.inversions,
        report.stale,
        report.repeated
    ))?;
    say(&serde_json::to_string(report)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_longest_silence_after_its_fault() {
        let heard = |ms: u64| Line {
            at: Moment::default(),
            event: Event::Sent {
                lane: 0,
                id: String::new(),
                acknowledged: Some(Moment {
                    mono: ms * 1000,
                    real: 0,
                }),
                refused: false,
                owed: Vec::new(),
            },
        };
        let lines: Vec<Line> = [0, 10, 500, 510, 900, 910, 1000].into_iter().map(heard).collect();
        let at = |ms: u64| Done {
            at: Moment {
                mono: ms * 1000,
                real: 0,
            },
            changes: 0,
        };
        let gaps: Vec<f64> = gaps(&lines, &[at(20), at(505)])
            .into_iter()
            .map(|round| round.gap_ms)
            .collect();
        assert_eq!(gaps, [490.0, 390.0]);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(
            [50, 99, 100].map(|per_cent| percentile(&sorted, per_cent)),
            [25.0, 50.0, 50.0]
        );
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }
}
