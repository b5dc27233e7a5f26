//! What actors write down: one JSON line an event, one file an actor, in the folder of the run.
//!
//! The judge knows nothing else of a run but these files and the dump of the database, so that it can be asked again
//! later, and elsewhere.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Moment;

/// One line of a record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When it happened.
    pub at: Moment,
    /// What happened.
    pub event: Event,
}

/// A delivery that an acknowledged message is owed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owed {
    /// The sink's name.
    pub sink: String,
    /// The digest of the bytes that must arrive there.
    pub body: String,
}

/// What can happen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A message as its sender's lane remembers it; `at` is when it should first have been sent.
    Sent {
        /// The sender's lane.
        lane: u16,
        /// Its MSH-10.
        id: String,
        /// When it was answered AA, if it was.
        acknowledged: Option<Moment>,
        /// Whether it was answered otherwise.
        refused: bool,
        /// What it must lead to once acknowledged.
        owed: Vec<Owed>,
    },
    /// A lane of the sender ended before its time.
    LaneFailed {
        /// The sender's lane.
        lane: u16,
        /// Why.
        why: String,
    },
    /// A sink took a message and was about to answer AA.
    Arrived {
        /// The sink's name.
        sink: String,
        /// MSH-10.
        id: String,
        /// The digest of its bytes.
        body: String,
        /// The connection that brought it: the other side's address.
        peer: String,
    },
    /// Which nodes had inbound ports bound while this was read; `at` is the beginning.
    Bound {
        /// Names of the nodes, as read one after the other.
        first: Vec<String>,
        /// The same, read again: who stands in both had them bound in between.
        again: Vec<String>,
    },
    /// What `/ready/leader` of a node says has changed.
    Leads {
        /// The node.
        node: String,
        /// Whether it said 200.
        leads: bool,
    },
    /// A node's process was started.
    Started {
        /// The node.
        node: String,
        /// The process.
        pid: u32,
    },
    /// A node's process was seen to have ended.
    Ended {
        /// The node.
        node: String,
        /// The process.
        pid: u32,
        /// Its exit status.
        how: String,
    },
    /// A fault begins.
    Fault {
        /// Its number in the run.
        number: u32,
        /// What kind.
        kind: String,
        /// Whom it hits.
        target: String,
    },
    /// A fault left a trace.
    Bitten {
        /// The fault's number.
        number: u32,
        /// The evidence.
        evidence: String,
    },
    /// A fault is over and mended.
    Mended {
        /// The fault's number.
        number: u32,
        /// What there is to say.
        note: String,
    },
    /// No fault is open from here on.
    Calm,
    /// Everything that was accepted has its end, by the database.
    Drained,
    /// No more messages are offered from here on.
    Quiet,
}

/// An actor's file. Lines are on the disk's way at once: what was recorded outlives the actor.
#[derive(Debug)]
pub struct Recorder(Mutex<BufWriter<File>>);

impl Recorder {
    /// A new record.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> Result<Recorder> {
        let file = File::create(path).with_context(|| format!("making the record {}", path.display()))?;
        Ok(Recorder(Mutex::new(BufWriter::new(file))))
    }

    /// Writes what happens now.
    pub fn note(&self, event: Event) {
        self.note_at(Moment::now(), event);
    }

    /// Writes what happened at an instant.
    pub fn note_at(&self, at: Moment, event: Event) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(&Line { at, event }).expect("an event has no map with odd keys");
        // A record that cannot be written is found by the judge: what it lacks is a violation.
        let _ = writeln!(file, "{line}").and_then(|()| file.flush());
    }
}

/// All records of a folder (`*.jsonl`), in the order of time.
///
/// # Errors
/// A file cannot be read, or a line of it is no event.
pub fn read(folder: &Path) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        for (number, text) in BufReader::new(File::open(&path)?).lines().enumerate() {
            let line = serde_json::from_str(&text?)
                .with_context(|| format!("{}:{}: no event", path.display(), number + 1))?;
            lines.push(line);
        }
    }
    lines.sort_by_key(|line: &Line| line.at.mono);
    Ok(lines)
}

/// The digest that stands for bytes in records: the first 16 hex digits of SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
