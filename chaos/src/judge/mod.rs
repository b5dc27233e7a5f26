//! The judge. It reads the records and the dump of the database, knows nothing else, and says what is not as it must be,
//! with the shortest story that shows it.
//!
//! | violation | what it says |
//! |---|---|
//! | lost | an acknowledged message is not in the database |
//! | undelivered | an acknowledged message did not reach a sink it is owed to |
//! | altered | what reached a sink is not, byte for byte, what had to |
//! | uncalled | something reached a sink that is not owed there, or that nobody sent |
//! | disorder | deliveries of a lane did not follow the order in which they were accepted |
//! | repeats | a lane repeated more than changes of leader, restarts and broken ways to the sink explain |
//! | two leaders | two running nodes had inbound ports bound at one instant |
//! | stale | a row of an older leadership was committed after the next one had begun |
//! | unfinished | a message has not exactly one disposition, or a send not exactly one outcome |
//! | leaderless | no node led two lease times after everything was mended |
//! | toothless | a fault left no trace |
//! | broken record | an actor's record cannot be what happened |

mod deliveries;
mod leaders;
mod story;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::clock::Moment;
use crate::dump::Dump;
use crate::record::{Event, Line};

/// What the judge is told of a run.
#[derive(Clone, Debug)]
pub struct History {
    /// All records, in the order of time.
    pub lines: Vec<Line>,
    /// What the database holds.
    pub dump: Dump,
    /// A lease time of the cluster's profile, in microseconds.
    pub lease: u64,
}

/// Kinds of violation; the module says what each means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the module's table says it")]
pub enum Kind {
    Lost,
    Undelivered,
    Altered,
    Uncalled,
    Disorder,
    Repeats,
    TwoLeaders,
    Stale,
    Unfinished,
    Leaderless,
    Toothless,
    BrokenRecord,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Lost => "lost",
            Kind::Undelivered => "undelivered",
            Kind::Altered => "altered",
            Kind::Uncalled => "uncalled",
            Kind::Disorder => "disorder",
            Kind::Repeats => "repeats",
            Kind::TwoLeaders => "two leaders",
            Kind::Stale => "stale",
            Kind::Unfinished => "unfinished",
            Kind::Leaderless => "leaderless",
            Kind::Toothless => "toothless",
            Kind::BrokenRecord => "broken record",
        })
    }
}

/// Something that is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Violation {
    /// What kind.
    pub kind: Kind,
    /// What was found.
    pub what: String,
    /// The message it is about, by control id.
    pub message: Option<String>,
    /// When, where it is about an instant.
    pub at: Option<Moment>,
}

impl Violation {
    fn new(kind: Kind, what: String) -> Violation {
        Violation {
            kind,
            what,
            message: None,
            at: None,
        }
    }

    fn of(mut self, message: &str) -> Violation {
        self.message = Some(message.to_owned());
        self
    }

    fn at(mut self, at: Moment) -> Violation {
        self.at = Some(at);
        self
    }
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// Messages written at least once.
    pub sent: u64,
    /// Messages answered AA.
    pub acknowledged: u64,
    /// Messages in the database; one that its sender repeated counts each time.
    pub stored: u64,
    /// Deliveries that acknowledged messages are owed.
    pub owed: u64,
    /// Deliveries, each counted once.
    pub delivered: u64,
    /// Deliveries beyond the first of a send.
    pub repeated: u64,
    /// Faults that bit.
    pub faults: u64,
    /// Changes of leader.
    pub changes: u64,
    /// Looks at the ports.
    pub looks: u64,
}

/// The judgement.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Judgement {
    /// What was counted.
    pub counts: Counts,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Checks that could not be made, and why.
    pub unchecked: Vec<String>,
}

impl Judgement {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How many of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.violations
            .iter()
            .filter(|violation| violation.kind == kind)
            .count()
    }
}

/// A fault, from its beginning to its end.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    number: u32,
    kind: String,
    target: String,
    from: Moment,
    to: Option<Moment>,
    bitten: Vec<String>,
}

fn faults(history: &History) -> Vec<Fault> {
    let mut found: BTreeMap<u32, Fault> = BTreeMap::new();
    for line in &history.lines {
        match &line.event {
            Event::Fault { number, kind, target } => {
                let fault = Fault {
                    number: *number,
                    kind: kind.clone(),
                    target: target.clone(),
                    from: line.at,
                    to: None,
                    bitten: Vec::new(),
                };
                found.insert(*number, fault);
            }
            Event::Bitten { number, evidence } => {
                if let Some(fault) = found.get_mut(number) {
                    fault.bitten.push(evidence.clone());
                }
            }
            Event::Mended { number, .. } => {
                if let Some(fault) = found.get_mut(number) {
                    fault.to = Some(line.at);
                }
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

/// Judges a run.
pub fn judge(history: &History) -> Judgement {
    let faults = faults(history);
    let mut judgement = Judgement::default();
    for fault in &faults {
        match fault.bitten.is_empty() {
            false => judgement.counts.faults += 1,
            true => judgement.violations.push(
                Violation::new(
                    Kind::Toothless,
                    format!(
                        "fault {} ({} of {}) left no trace",
                        fault.number, fault.kind, fault.target
                    ),
                )
                .at(fault.from),
            ),
        }
    }
    deliveries::check(history, &faults, &mut judgement);
    leaders::check(history, &faults, &mut judgement);
    judgement
}

/// The violation whose story is the shortest, told: the whole life of its message, with the faults and the changes of
/// leader around it.
pub fn counter_example(history: &History, judgement: &Judgement) -> Option<String> {
    let faults = faults(history);
    let stories = judgement
        .violations
        .iter()
        .map(|violation| story::tell(history, &faults, violation));
    stories.min_by_key(|story| story.lines().count())
}

#[cfg(test)]
mod tests;
