//! Tells a violation as the life of its message, with the faults and the changes of leader around it.

use std::fmt::Write;

use super::{Fault, History, Violation};
use crate::clock::Moment;
use crate::dump::Row;
use crate::record::Event;

/// How far around the message's own instants to look.
const AROUND: u64 = 1_000_000;

/// One line of the story.
struct Entry {
    /// Microseconds since 1970.
    at: u64,
    who: String,
    what: String,
}

pub(super) fn tell(history: &History, faults: &[Fault], violation: &Violation) -> String {
    let mut own = Vec::new();
    if let Some(id) = &violation.message {
        life(history, id, &mut own);
    }
    let instants = own
        .iter()
        .map(|entry| entry.at)
        .chain(violation.at.map(|at| at.real));
    let (from, to) = instants.fold((u64::MAX, 0), |(from, to), at| (from.min(at), to.max(at)));
    let near = |at: Moment| at.real + AROUND >= from && at.real <= to.saturating_add(AROUND);
    for line in history.lines.iter().filter(|line| near(line.at)) {
        around(line.at, &line.event, &mut own);
    }
    // A fault that began long before may still be what did it.
    for fault in faults
        .iter()
        .filter(|fault| fault.from.real + AROUND < from && fault.to.is_none_or(near))
    {
        own.push(Entry {
            at: fault.from.real,
            who: "nemesis".to_owned(),
            what: format!(
                "fault {}: {} of {}, {}",
                fault.number,
                fault.kind,
                fault.target,
                fault.bitten.join("; ")
            ),
        });
    }
    own.sort_by_key(|entry| entry.at);
    let mut text = format!("{}: {}\n", violation.kind, violation.what);
    let start = own.first().map_or(0, |entry| entry.at);
    for entry in own {
        let at = (entry.at - start) as f64 / 1000.0;
        let _ = writeln!(text, "  {at:>10.1} ms  {:<14} {}", entry.who, entry.what);
    }
    text
}

/// What became of one message.
fn life(history: &History, id: &str, own: &mut Vec<Entry>) {
    for line in &history.lines {
        match &line.event {
            Event::Sent {
                lane,
                id: of,
                acknowledged,
                refused,
                ..
            } if of == id => {
                let who = format!("sender {lane}");
                own.push(Entry {
                    at: line.at.real,
                    who: who.clone(),
                    what: format!("{id} is due"),
                });
                match acknowledged {
                    Some(at) => own.push(Entry {
                        at: at.real,
                        who,
                        what: "hears AA".to_owned(),
                    }),
                    None if *refused => own
                        .last_mut()
                        .into_iter()
                        .for_each(|entry| entry.what += ", and is refused"),
                    None => own
                        .last_mut()
                        .into_iter()
                        .for_each(|entry| entry.what += ", and is never answered"),
                }
            }
            Event::Arrived {
                sink, id: of, peer, ..
            } if of == id => own.push(Entry {
                at: line.at.real,
                who: sink.clone(),
                what: format!("gets {id} from {peer}"),
            }),
            _ => {}
        }
    }
    let rows = history.dump.rows.iter();
    let messages: Vec<i64> = rows
        .clone()
        .filter(|row| row.table == "message" && row.text == id)
        .map(|row| row.id)
        .collect();
    for row in rows.filter(|row| messages.contains(&row.message)) {
        own.push(Entry {
            at: u64::try_from(row.at).unwrap_or(0),
            who: "database".to_owned(),
            what: said(row),
        });
    }
}

fn said(row: &Row) -> String {
    let number = format!("epoch {} number {}", row.epoch(), row.id & ((1 << 43) - 1));
    match row.table.as_str() {
        "outcome" => format!("commits an outcome ({}) of send {}: {number}", row.code, row.text),
        "disposition" => format!("commits disposition {}: {number}", row.code),
        table => format!("commits a {table} {}: {number}", row.text),
    }
}

/// What happened to the cluster.
fn around(at: Moment, event: &Event, own: &mut Vec<Entry>) {
    let (who, what) = match event {
        Event::Leads { node, leads } => (
            node.clone(),
            if *leads { "leads" } else { "leads no more" }.to_owned(),
        ),
        Event::Started { node, pid } => (node.clone(), format!("is started as process {pid}")),
        Event::Ended { node, pid, how } => (node.clone(), format!("process {pid} has ended: {how}")),
        Event::Bound { first, .. } => ("ports".to_owned(), format!("bound by {}", first.join(", "))),
        Event::Fault { number, kind, target } => (
            "nemesis".to_owned(),
            format!("fault {number} begins: {kind} of {target}"),
        ),
        Event::Bitten { number, evidence } => (
            "nemesis".to_owned(),
            format!("fault {number} has bitten: {evidence}"),
        ),
        Event::Mended { number, note } => ("nemesis".to_owned(), format!("fault {number} is mended {note}")),
        Event::Calm => ("nemesis".to_owned(), "no fault is open".to_owned()),
        Event::Drained => ("run".to_owned(), "everything accepted has its end".to_owned()),
        Event::Quiet => ("run".to_owned(), "no more messages are offered".to_owned()),
        Event::Sent { .. } | Event::Arrived { .. } | Event::LaneFailed { .. } => return,
    };
    // Looks at the ports that saw the same as the one before say nothing.
    if who == "ports"
        && own
            .iter()
            .rev()
            .find(|entry| entry.who == "ports")
            .is_some_and(|entry| entry.what == what)
    {
        return;
    }
    own.push(Entry {
        at: at.real,
        who,
        what,
    });
}
