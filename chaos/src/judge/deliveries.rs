//! Is everything that was acknowledged in the database and at every sink it is owed to, unchanged, in order, and not too
//! often? Has every message its one end?

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Fault, History, Judgement, Kind, Violation};
use crate::clock::Moment;
use crate::dump::Row;
use crate::record::{Event, Owed};

/// How long after its end a fault of the network may still make a node repeat what it could not know was answered.
const AFTERMATH: u64 = 10_000_000;

struct Sent<'a> {
    due: Moment,
    acknowledged: Option<Moment>,
    refused: bool,
    owed: &'a [Owed],
}

struct Arrival<'a> {
    at: Moment,
    id: &'a str,
    body: &'a str,
    peer: &'a str,
}

pub(super) fn check(history: &History, faults: &[Fault], judgement: &mut Judgement) {
    let mut sent: HashMap<&str, Sent<'_>> = HashMap::new();
    let mut arrivals: BTreeMap<&str, Vec<Arrival<'_>>> = BTreeMap::new();
    for line in &history.lines {
        match &line.event {
            Event::Sent {
                id,
                acknowledged,
                refused,
                owed,
                ..
            } => {
                let one = Sent {
                    due: line.at,
                    acknowledged: *acknowledged,
                    refused: *refused,
                    owed,
                };
                judgement.counts.sent += 1;
                judgement.counts.acknowledged += u64::from(one.acknowledged.is_some());
                sent.insert(id, one);
            }
            Event::Arrived { sink, id, body, peer } => arrivals.entry(sink).or_default().push(Arrival {
                at: line.at,
                id,
                body,
                peer,
            }),
            Event::LaneFailed { lane, why } => judgement.violations.push(
                Violation::new(
                    Kind::BrokenRecord,
                    format!("lane {lane} of the sender gave up: {why}"),
                )
                .at(line.at),
            ),
            _ => {}
        }
    }
    if sent.is_empty() {
        let none = "no message was offered: there is nothing to judge";
        judgement
            .violations
            .push(Violation::new(Kind::BrokenRecord, none.to_owned()));
    }
    let stored = stored(history, &sent, judgement);
    let reached = arrivals
        .iter()
        .map(|(sink, all)| (*sink, all.iter().map(|one| one.id).collect::<HashSet<_>>()));
    let reached: HashMap<&str, HashSet<&str>> = reached.collect();
    for (id, message) in &sent {
        if message.refused {
            let what = format!("{id} was answered, and not with AA");
            judgement
                .violations
                .push(Violation::new(Kind::Undelivered, what).of(id));
        }
        for owed in message.owed.iter().filter(|_| message.acknowledged.is_some()) {
            judgement.counts.owed += 1;
            if !stored.contains(id) {
                continue; // lost, which says more
            }
            let there = reached
                .get(owed.sink.as_str())
                .is_some_and(|all| all.contains(id));
            if !there {
                let what = format!("{id} was acknowledged and never reached {}", owed.sink);
                judgement
                    .violations
                    .push(Violation::new(Kind::Undelivered, what).of(id));
            }
        }
    }
    let queues = queues(history);
    for (sink, came) in &arrivals {
        bytes(sink, came, &sent, judgement);
        follow(sink, came, queues.get(*sink), &sent, judgement);
        overtaken(sink, came, &sent, judgement);
        let repeats = repeats(came, queues.get(*sink));
        let allowed = allowed(history, faults, came);
        judgement.counts.repeated += repeats.len() as u64;
        if let Some(last) = repeats.last()
            && repeats.len() > allowed
        {
            let what = format!(
                "{sink} got {} sends more than once, and changes of leader, restarts and broken ways explain {allowed}",
                repeats.len()
            );
            let found = Violation::new(Kind::Repeats, what);
            judgement.violations.push(found.of(last.id).at(last.at));
        }
    }
    ends(history, judgement);
}

/// The control ids that are in the database.
fn stored<'a>(
    history: &'a History,
    sent: &HashMap<&str, Sent<'_>>,
    judgement: &mut Judgement,
) -> HashSet<&'a str> {
    let rows = history.dump.rows.iter().filter(|row| row.table == "message");
    let known: HashSet<&str> = rows
        .map(|row| {
            judgement.counts.stored += 1;
            row.text.as_str()
        })
        .collect();
    for (id, message) in sent {
        if message.acknowledged.is_some() && !known.contains(id) {
            let what = format!("{id} was acknowledged and is not in the database");
            judgement.violations.push(Violation::new(Kind::Lost, what).of(id));
        }
    }
    for id in known.iter().filter(|id| !sent.contains_key(*id)) {
        let what = format!("`{id}` is in the database and nobody sent it");
        judgement
            .violations
            .push(Violation::new(Kind::Uncalled, what).of(id));
    }
    known
}

/// Of each sink its sends in the order in which their messages were accepted, as control ids.
fn queues(history: &History) -> HashMap<&str, Vec<&str>> {
    let ids: HashMap<i64, &str> = of(history, "message")
        .map(|row| (row.id, row.text.as_str()))
        .collect();
    let mut sends: Vec<&Row> = of(history, "outbound").collect();
    sends.sort_by_key(|row| (row.message, row.id));
    let mut queues: HashMap<&str, Vec<&str>> = HashMap::new();
    for send in sends {
        let id = ids.get(&send.message).copied().unwrap_or_default();
        queues.entry(&send.text).or_default().push(id);
    }
    queues
}

fn of<'a>(history: &'a History, table: &'a str) -> impl Iterator<Item = &'a Row> {
    history.dump.rows.iter().filter(move |row| row.table == table)
}

fn bytes(sink: &str, came: &[Arrival<'_>], sent: &HashMap<&str, Sent<'_>>, judgement: &mut Judgement) {
    for arrival in came {
        let owed = sent
            .get(arrival.id)
            .and_then(|message| message.owed.iter().find(|owed| owed.sink == sink));
        let (kind, what) = match owed {
            None => (
                Kind::Uncalled,
                format!("{} reached {sink}, and is not owed there", arrival.id),
            ),
            Some(owed) if owed.body != arrival.body => (
                Kind::Altered,
                format!(
                    "{} reached {sink} with other bytes: {}, not {}",
                    arrival.id, arrival.body, owed.body
                ),
            ),
            Some(_) => continue,
        };
        judgement
            .violations
            .push(Violation::new(kind, what).of(arrival.id).at(arrival.at));
    }
}

/// Who sent a message: its control id without the number.
fn sender(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(sender, _)| sender)
}

/// Walks through a sink's arrivals beside its sends, each sender for itself: each arrival is the next send, or the last
/// one once more.
fn follow(
    sink: &str,
    came: &[Arrival<'_>],
    queue: Option<&Vec<&str>>,
    sent: &HashMap<&str, Sent<'_>>,
    judgement: &mut Judgement,
) {
    let mut queues: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    for id in queue.into_iter().flatten() {
        queues.entry(sender(id)).or_default().1.push(id);
    }
    // What nobody sent is told elsewhere.
    for arrival in came.iter().filter(|arrival| sent.contains_key(arrival.id)) {
        let (next, queue) = queues.entry(sender(arrival.id)).or_default();
        if queue.get(*next) == Some(&arrival.id) {
            *next += 1;
            judgement.counts.delivered += 1;
        } else if *next == 0 || queue[*next - 1] != arrival.id {
            let expected = queue.get(*next).copied().unwrap_or("nothing");
            let what = format!("{sink} got {} where {expected} was next", arrival.id);
            let found = Violation::new(Kind::Disorder, what);
            judgement.violations.push(found.of(arrival.id).at(arrival.at));
            // From here on as the sink sees it, so that one fault is not told a thousand times.
            if let Some(place) = queue[*next..].iter().position(|id| *id == arrival.id) {
                *next += place + 1;
            }
        }
    }
}

/// Between senders there is an order where one message was acknowledged before the other was due: what came later must
/// not arrive first, and not before a repeat either.
fn overtaken(sink: &str, came: &[Arrival<'_>], sent: &HashMap<&str, Sent<'_>>, judgement: &mut Judgement) {
    let mut latest: Option<(&str, Moment)> = None;
    for arrival in came {
        let Some(message) = sent.get(arrival.id) else {
            continue;
        };
        if let (Some((before, due)), Some(acknowledged)) = (latest, message.acknowledged)
            && acknowledged < due
            && sender(before) != sender(arrival.id)
        {
            let what = format!(
                "{sink} got {} after {before}, which was not even due when it was acknowledged",
                arrival.id
            );
            let found = Violation::new(Kind::Disorder, what);
            judgement.violations.push(found.of(arrival.id).at(arrival.at));
        }
        if latest.is_none_or(|(_, due)| due < message.due) {
            latest = Some((arrival.id, message.due));
        }
    }
}

/// Arrivals beyond those that the sends of a message explain.
fn repeats<'a, 'b>(came: &'b [Arrival<'a>], queue: Option<&Vec<&str>>) -> Vec<&'b Arrival<'a>> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for id in queue.into_iter().flatten() {
        *left.entry(id).or_default() += 1;
    }
    let beyond = |arrival: &&Arrival<'_>| match left.get_mut(arrival.id) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    came.iter().filter(beyond).collect()
}

/// How many repeats a lane may have: one for each change of leader, one for each node that ended under way, and one
/// for each connection that was made anew while a fault lay on the way to the sinks.
fn allowed(history: &History, faults: &[Fault], came: &[Arrival<'_>]) -> usize {
    let changes = history.dump.acquired.len().saturating_sub(1);
    let ended = history
        .lines
        .iter()
        .filter(|line| matches!(line.event, Event::Ended { .. }))
        .count();
    let mut peers = HashSet::new();
    let disturbed = |at: Moment| {
        faults
            .iter()
            .filter(|fault| super::leaders::cuts_partners(&fault.kind))
            .any(|fault| {
                let to = fault.to.map_or(u64::MAX, |to| to.mono + AFTERMATH);
                (fault.from.mono..=to).contains(&at.mono)
            })
    };
    let fresh = came.iter().filter(|arrival| peers.insert(arrival.peer));
    let anew = fresh.filter(|arrival| disturbed(arrival.at)).count();
    changes + ended + anew
}

/// One disposition a message, one outcome a send.
fn ends(history: &History, judgement: &mut Judgement) {
    let mut dispositions: HashMap<i64, usize> = HashMap::new();
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for row in &history.dump.rows {
        match row.table.as_str() {
            "disposition" => *dispositions.entry(row.message).or_default() += 1,
            "outcome" => *outcomes.entry(&row.text).or_default() += 1,
            _ => {}
        }
    }
    for row in of(history, "message") {
        let count = dispositions.get(&row.id).copied().unwrap_or_default();
        if count != 1 {
            let what = format!("{} (row {}) has {count} dispositions", row.text, row.id);
            judgement
                .violations
                .push(Violation::new(Kind::Unfinished, what).of(&row.text));
        }
    }
    let ids: HashMap<i64, &str> = of(history, "message")
        .map(|row| (row.id, row.text.as_str()))
        .collect();
    for row in of(history, "outbound") {
        let count = outcomes
            .get(row.id.to_string().as_str())
            .copied()
            .unwrap_or_default();
        if count != 1 {
            let id = ids.get(&row.message).copied().unwrap_or_default();
            let what = format!(
                "the send of {id} to {} (row {}) has {count} outcomes",
                row.text, row.id
            );
            judgement
                .violations
                .push(Violation::new(Kind::Unfinished, what).of(id));
        }
    }
    for row in of(history, "dead_letter") {
        let id = ids.get(&row.message).copied().unwrap_or_default();
        let what = format!("{id} became a dead letter: {}", row.text);
        judgement
            .violations
            .push(Violation::new(Kind::Undelivered, what).of(id));
    }
}
