//! Did two nodes ever act at once, did an old leadership ever write after the next had begun, and did somebody lead again
//! in time once everything was mended?

use super::{Fault, History, Judgement, Kind, Violation};
use crate::clock::Moment;
use crate::record::Event;

/// How long after it runs again a process that was frozen may need to be ended.
const THAW: u64 = 200_000;
/// How coarsely a watcher looks: between its looks, and the time that an answer may take.
const LOOK: u64 = 250_000;

/// Whether a fault of this kind can break a node's connections to partners.
pub(super) fn cuts_partners(kind: &str) -> bool {
    matches!(
        kind,
        "link down" | "drop in" | "drop out" | "delay" | "loss" | "freeze" | "throttle"
    )
}

pub(super) fn check(history: &History, faults: &[Fault], judgement: &mut Judgement) {
    judgement.counts.changes = history.dump.acquired.len().saturating_sub(1) as u64;
    bound(history, faults, judgement);
    stale(history, faults, judgement);
    calm(history, judgement);
}

/// Whether nothing of a node runs at an instant: it has ports, as a machine without power has cables.
fn frozen(faults: &[Fault], node: &str, at: Moment) -> bool {
    faults.iter().any(|fault| {
        let over = fault.to.map_or(u64::MAX, |to| to.mono + THAW);
        fault.kind == "freeze" && fault.target == node && (fault.from.mono..=over).contains(&at.mono)
    })
}

fn bound(history: &History, faults: &[Fault], judgement: &mut Judgement) {
    let mut told = false;
    for line in &history.lines {
        let Event::Bound { first, again } = &line.event else {
            continue;
        };
        judgement.counts.looks += 1;
        // Both were read twice, one after the other: who stands in both readings had its ports bound in between, when
        // the other one was read.
        let both = |name: &&String| again.contains(*name) && !frozen(faults, name, line.at);
        let sure: Vec<&String> = first.iter().filter(both).collect();
        let awake = |name: &&String| !frozen(faults, name, line.at);
        let between = first
            .iter()
            .find(|name| sure.iter().any(|one| one < name) && awake(name));
        let other = between.or_else(|| {
            let within = |name: &&String| sure.iter().any(|one| one > name) && awake(name);
            again.iter().find(within)
        });
        if let Some(other) = other
            && !told
        {
            told = true;
            let what = format!("{} and {other} had inbound ports bound at once", sure[0]);
            judgement
                .violations
                .push(Violation::new(Kind::TwoLeaders, what).at(line.at));
        }
    }
    if judgement.counts.looks == 0 {
        let what = "nobody looked at the ports".to_owned();
        judgement
            .violations
            .push(Violation::new(Kind::BrokenRecord, what));
    }
}

fn stale(history: &History, faults: &[Fault], judgement: &mut Judgement) {
    if faults.iter().any(|fault| fault.kind == "database clock") {
        let why =
            "stale commits: the database's clock jumped, so its instants say nothing of the order of commits";
        judgement.unchecked.push(why.to_owned());
        return;
    }
    let acquired = &history.dump.acquired;
    if acquired.is_empty() {
        let what = "the database knows of no leadership".to_owned();
        judgement
            .violations
            .push(Violation::new(Kind::BrokenRecord, what));
    }
    for pair in acquired.windows(2) {
        if pair[0].epoch >= pair[1].epoch || pair[0].at > pair[1].at {
            let what = format!("epoch {} began after epoch {}", pair[0].epoch, pair[1].epoch);
            judgement.violations.push(Violation::new(Kind::Stale, what));
        }
    }
    for row in &history.dump.rows {
        let newer = acquired
            .iter()
            .find(|acquired| acquired.epoch > row.epoch() && acquired.at < row.at);
        if let Some(newer) = newer {
            let id = history
                .dump
                .rows
                .iter()
                .find(|one| one.table == "message" && one.id == row.message);
            let what = format!(
                "a {} of epoch {} was committed {} ms after epoch {} had begun",
                row.table,
                row.epoch(),
                (row.at - newer.at) / 1000,
                newer.epoch
            );
            let found = Violation::new(Kind::Stale, what);
            judgement.violations.push(match id {
                Some(message) => found.of(&message.text),
                None => found,
            });
        }
    }
}

/// After each time that all faults were mended, somebody leads within two lease times.
fn calm(history: &History, judgement: &mut Judgement) {
    let mut leading: Vec<&str> = Vec::new();
    let mut waiting: Option<Moment> = None;
    let end = history.lines.last().map_or(0, |line| line.at.mono);
    for line in &history.lines {
        if let Some(since) = waiting
            && line.at.mono > since.mono + 2 * history.lease + LOOK
        {
            leaderless(since, history.lease, judgement);
            waiting = None;
        }
        match &line.event {
            Event::Leads { node, leads: true } => {
                leading.push(node);
                waiting = None;
            }
            Event::Leads { node, leads: false } => leading.retain(|one| one != node),
            Event::Calm if leading.is_empty() => waiting = Some(line.at),
            // The next fault began: what follows is its affair.
            Event::Fault { .. } => waiting = None,
            _ => {}
        }
    }
    if let Some(since) = waiting
        && end > since.mono + 2 * history.lease + LOOK
    {
        leaderless(since, history.lease, judgement);
    }
}

fn leaderless(since: Moment, lease: u64, judgement: &mut Judgement) {
    let what = format!("nobody led {} ms after everything was mended", 2 * lease / 1000);
    judgement
        .violations
        .push(Violation::new(Kind::Leaderless, what).at(since));
}
