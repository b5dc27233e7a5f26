//! Turns the text of segments and recipes into steps, once per version.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::kinds::Kind;
use crate::hl7::dictionary::Version;

macro_rules! slots {
    ($($variant:ident $text:literal),* $(,)?) => {
        /// A place in a segment that differs from message to message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Slot { $($variant,)* }

        impl Slot {
            fn parse(text: &str) -> Option<Slot> {
                match text {
                    $($text => Some(Slot::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

slots! {
    Account "account", Address "address", Allergen "allergen", Amount "amount", Bed "bed", Birth "birth",
    Class "class", Control "control", Date "date", Diagnosis "diagnosis", Doctor "doctor", Dose "dose",
    Drug "drug", Mrn "mrn", MrnOld "mrn.old", Name "name", Note "note", Number "number", Order "order",
    OrderNew "order.new", Panel "panel", Phone "phone", Plan "plan", Procedure "procedure", Relative "relative",
    Result "result", Set "set", Severity "severity", Sex "sex", Time "time", Trigger "trigger", Type "type",
    Vaccine "vaccine", Version "version", Visit "visit", Word "word",
}

/// A piece of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    Text(&'static str),
    Slot(Slot),
}

/// One step of making a message.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Its pieces, or none for a place where padding goes.
    pub(super) pieces: Vec<Piece>,
    pub(super) often: Often,
    /// Which counter its set ID takes.
    pub(super) counter: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Often {
    Once,
    AtTimes,
    OneToFour,
    /// No segment: observations may be added here.
    PadObservations,
    /// No segment: notes may be added here.
    PadNotes,
}

/// How many segments of different names one recipe has at most.
pub(super) const COUNTERS: usize = 32;

/// The steps of a kind in a version.
pub(super) type Program = Vec<Step>;

/// All kinds' steps in a version, by [`Kind::index`].
pub(super) fn programs(version: Version) -> &'static [Program] {
    static ALL: OnceLock<HashMap<Version, Vec<Program>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let segments = segments(include_str!("segments.txt")).expect("embedded text, read by a test");
        Version::ALL
            .iter()
            .map(|version| {
                let programs = Kind::all().map(|kind| {
                    program(kind, *version, &segments)
                        .expect("embedded text, compiled for every kind by a test")
                });
                (*version, programs.collect())
            })
            .collect()
    });
    all.get(&version).map_or(&[], Vec::as_slice)
}

type Segments = HashMap<&'static str, Vec<Piece>>;

fn segments(text: &'static str) -> Result<Segments, String> {
    let mut all = HashMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, body) = line
            .split_once(" = ")
            .ok_or_else(|| format!("no segment: {line}"))?;
        all.insert(
            name,
            pieces(body).ok_or_else(|| format!("an unknown slot: {line}"))?,
        );
    }
    Ok(all)
}

fn pieces(body: &'static str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('{') {
        let (slot, after) = after.split_once('}')?;
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Slot(Slot::parse(slot)?));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

fn program(kind: Kind, version: Version, segments: &Segments) -> Result<Program, String> {
    let mut names: Vec<&str> = vec!["OBX", "NTE"];
    let mut steps = Vec::new();
    for word in std::iter::once("MSH").chain(kind.recipe().split(' ')) {
        if let Some(pad) = word.strip_prefix('>') {
            let (often, counter) = if pad == "NTE" {
                (Often::PadNotes, NOTES)
            } else {
                (Often::PadObservations, OBSERVATIONS)
            };
            steps.push(Step {
                pieces: Vec::new(),
                often,
                counter,
            });
            continue;
        }
        let (word, since) = word.split_once('+').unwrap_or((word, "2.1"));
        if Version::parse(since).is_none_or(|since| since > version) {
            continue;
        }
        let (name, often) = match word.strip_suffix(['?', '*']) {
            Some(name) if word.ends_with('?') => (name, Often::AtTimes),
            Some(name) => (name, Often::OneToFour),
            None => (word, Often::Once),
        };
        let pieces = segments
            .get(name)
            .ok_or_else(|| format!("{kind}: no segment {name}"))?
            .clone();
        let short = name.split('.').next().unwrap_or(name);
        let counter = names.iter().position(|known| *known == short).unwrap_or_else(|| {
            names.push(short);
            names.len() - 1
        });
        if counter >= COUNTERS {
            return Err(format!("{kind}: more than {COUNTERS} different segments"));
        }
        steps.push(Step {
            pieces,
            often,
            counter,
        });
    }
    Ok(steps)
}

/// The counter of OBX.
pub(super) const OBSERVATIONS: usize = 0;
/// The counter of NTE.
pub(super) const NOTES: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_steps_in_every_version() {
        for version in Version::ALL {
            assert_eq!(programs(*version).len(), Kind::all().count());
        }
    }

    #[test]
    fn an_unknown_slot_is_refused() {
        assert!(segments("PID = PID|{nothing}").is_err());
        assert!(segments("PID = PID|{mrn").is_err());
    }
}
