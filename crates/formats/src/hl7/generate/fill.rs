//! Writes one message: follows the steps, fills the slots, pads to the wanted size.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Settings;
use super::kinds::Kind;
use super::program::{COUNTERS, NOTES, OBSERVATIONS, Often, Piece, Slot, Step};
use super::words;
use crate::hl7::dictionary::Version;

/// Which replaceable thing stands where, for templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Control,
    Date,
    Mrn,
}

pub(super) struct Filler<'a> {
    pub(super) out: Vec<u8>,
    pub(super) marks: Vec<(Mark, Range<usize>)>,
    rng: &'a mut SmallRng,
    seed: u64,
    settings: &'a Settings,
    kind: Kind,
    version: Version,
    control_id: String,
    patient: u32,
    /// Draws what belongs to the patient, the same in every message.
    person: SmallRng,
    order: u32,
    sets: [u32; COUNTERS],
}

/// A segment that is left out at times comes in so many of ten messages.
const AT_TIMES: u32 = 5;
/// About what one more segment adds, in bytes.
const SEGMENT: usize = 120;

impl<'a> Filler<'a> {
    pub(super) fn new(
        rng: &'a mut SmallRng,
        seed: u64,
        settings: &'a Settings,
        kind: Kind,
        version: Version,
        control_id: &str,
    ) -> Filler<'a> {
        let mut filler = Filler {
            out: Vec::with_capacity(settings.size.unwrap_or(1024) + 256),
            marks: Vec::new(),
            person: SmallRng::seed_from_u64(0),
            patient: 0,
            order: 0,
            sets: [0; COUNTERS],
            control_id: control_id.to_owned(),
            rng,
            seed,
            settings,
            kind,
            version,
        };
        filler.draw_patient();
        filler.draw_order();
        filler
    }

    pub(super) fn run(&mut self, steps: &[Step]) {
        let mut padding = None;
        let mut patients = 0;
        for step in steps {
            match step.often {
                Often::PadNotes | Often::PadObservations => {
                    padding = Some((self.out.len(), step.often));
                    continue;
                }
                Often::Once => {}
                Often::AtTimes if !self.wants_more() => continue,
                Often::AtTimes | Often::OneToFour => {}
            }
            let times = if step.often == Often::OneToFour {
                self.rng.random_range(1..=4)
            } else {
                1
            };
            for round in 0..times {
                if round > 0 && !self.fits_more() {
                    break;
                }
                let is_patient = matches!(step.pieces.first(), Some(Piece::Text("PID|")));
                // The second patient of a swap or a link is someone else.
                if is_patient && patients > 0 {
                    self.draw_patient();
                }
                patients += u32::from(is_patient);
                self.segment(step);
            }
        }
        self.pad(padding);
    }

    fn fits_more(&self) -> bool {
        self.settings
            .size
            .is_none_or(|size| self.out.len() + SEGMENT < size)
    }

    fn wants_more(&mut self) -> bool {
        self.rng.random_range(0..10) < AT_TIMES && self.fits_more()
    }

    fn segment(&mut self, step: &Step) {
        self.sets[step.counter] += 1;
        for piece in &step.pieces {
            match piece {
                Piece::Text(text) => self.text(text),
                Piece::Slot(slot) => self.slot(*slot, step.counter),
            }
        }
        self.out.push(b'\r');
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn draw_patient(&mut self) {
        self.patient = self.rng.random_range(0..self.settings.patients);
        self.person = SmallRng::seed_from_u64(
            self.seed ^ (u64::from(self.patient) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        );
    }

    fn draw_order(&mut self) {
        self.order = self.rng.random_range(0..10_000_000);
    }

    fn marked(&mut self, mark: Mark, write: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        write(self);
        self.marks.push((mark, start..self.out.len()));
    }

    fn slot(&mut self, slot: Slot, counter: usize) {
        match slot {
            Slot::Control => self.marked(Mark::Control, |filler| {
                filler.out.extend_from_slice(filler.control_id.as_bytes());
            }),
            Slot::Date => self.marked(Mark::Date, |filler| filler.text(&filler.settings.date)),
            Slot::Mrn => self.marked(Mark::Mrn, |filler| filler.mrn(filler.patient)),
            Slot::Type => self.message_type(),
            Slot::Trigger => self.text(self.kind.trigger()),
            Slot::Version => self.text(self.version.as_str()),
            Slot::Set => digits(&mut self.out, self.sets[counter], 1),
            Slot::OrderNew => {
                self.draw_order();
                self.order();
            }
            Slot::Order => self.order(),
            Slot::MrnOld => {
                // Never the number that survives.
                let old = 1_000_000 + self.rng.random_range(0..1_000_000);
                self.mrn(old);
            }
            Slot::Name | Slot::Birth | Slot::Sex | Slot::Address | Slot::Phone | Slot::Account => {
                self.of_person(slot);
            }
            _ => self.drawn(slot),
        }
    }

    fn message_type(&mut self) {
        self.text(self.kind.code());
        self.out.push(b'^');
        self.text(self.kind.trigger());
        // MSH-9 has a third component from 2.3.1 on.
        if self.version >= Version::V2_3_1 {
            self.out.push(b'^');
            self.text(self.kind.structure());
        }
    }

    fn mrn(&mut self, number: u32) {
        self.out.push(b'T');
        digits(&mut self.out, number, 6);
    }

    fn order(&mut self) {
        self.out.push(b'O');
        digits(&mut self.out, self.order, 7);
    }

    /// What belongs to the patient. Each piece has its own generator, so that leaving one out moves no other.
    fn of_person(&mut self, slot: Slot) {
        let mut rng = self.person.clone();
        let out = &mut self.out;
        match slot {
            Slot::Name => person_name(out, &mut rng),
            Slot::Sex => out.extend_from_slice(if rng.random::<u64>() & 1 == 0 { b"F" } else { b"M" }),
            Slot::Birth => birth(out, &mut rng),
            Slot::Address => {
                digits(out, rng.random_range(1..200), 1);
                out.push(b' ');
                capitalised(out, &mut rng, 2);
                out.extend_from_slice(b" Street^^");
                capitalised(out, &mut rng, 2);
                out.extend_from_slice(b"ville^ZZ^");
                digits(out, rng.random_range(0..100_000), 5);
            }
            Slot::Phone => {
                out.extend_from_slice(b"(555)555-");
                digits(out, rng.random_range(0..10_000), 4);
            }
            _ => {
                out.push(b'A');
                digits(out, self.patient, 7);
            }
        }
    }

    fn drawn(&mut self, slot: Slot) {
        let rng = &mut *self.rng;
        let out = &mut self.out;
        match slot {
            Slot::Doctor => {
                let number = rng.random_range(0..500);
                let mut doctor = SmallRng::seed_from_u64(number);
                digits(out, 1000 + doctor.random_range(0..9000), 4);
                out.push(b'^');
                person_name(out, &mut doctor);
            }
            Slot::Relative => person_name(out, rng),
            Slot::Word => capitalised(out, rng, 2),
            Slot::Bed => {
                out.push(b'W');
                digits(out, rng.random_range(1..20), 1);
                out.push(b'^');
                digits(out, rng.random_range(100..400), 3);
                out.push(b'^');
                out.push(b'A' + rng.random_range(0..4));
            }
            Slot::Time => {
                out.extend_from_slice(&self.settings.date.as_bytes()[..8]);
                digits(out, rng.random_range(0..24), 2);
                digits(out, rng.random_range(0..60), 2);
            }
            Slot::Number => digits(out, rng.random_range(0..1_000_000), 6),
            Slot::Dose => digits(out, rng.random_range(1..20) * 50, 1),
            Slot::Amount => tenths(out, rng.random_range(100..50_000)),
            Slot::Result => result(out, rng),
            Slot::Note => {
                let words = rng.random_range(6..16);
                note(out, rng, words);
            }
            Slot::Class => pick(out, rng, &words::CLASSES),
            Slot::Panel => pick(out, rng, &words::PANELS),
            Slot::Diagnosis => pick(out, rng, &words::DIAGNOSES),
            Slot::Procedure => pick(out, rng, &words::PROCEDURES),
            Slot::Allergen => pick(out, rng, &words::ALLERGENS),
            Slot::Severity => pick(out, rng, &words::SEVERITIES),
            Slot::Drug => pick(out, rng, &words::DRUGS),
            Slot::Vaccine => pick(out, rng, &words::VACCINES),
            Slot::Plan => pick(out, rng, &words::PLANS),
            Slot::Visit => pick(out, rng, &words::VISITS),
            // The others belong to the message or the patient and are written by `slot`.
            _ => {}
        }
    }

    /// Fills up to the wanted size at the place the recipe names, or with a Z-segment at the end.
    fn pad(&mut self, place: Option<(usize, Often)>) {
        let missing = self
            .settings
            .size
            .map_or(0, |size| size.saturating_sub(self.out.len()));
        let (at, often) = place.unwrap_or((self.out.len(), Often::Once));
        let counter = if often == Often::PadNotes {
            NOTES
        } else {
            OBSERVATIONS
        };
        // Few long segments rather than more than a set ID can count.
        let longest = (missing / 200).clamp(160, 30_000);
        let mut padding = Vec::with_capacity(missing);
        loop {
            let set = self.sets[counter] + 1;
            let (head, tail) = match often {
                Often::PadNotes => (format!("NTE|{set}|L|"), "\r"),
                Often::PadObservations => (format!("OBX|{set}|TX|NOTE^Note^L||"), "||||||F\r"),
                _ => ("ZPD|".to_owned(), "\r"),
            };
            let room = missing
                .saturating_sub(padding.len() + head.len() + tail.len())
                .min(longest);
            if room < 8 {
                break;
            }
            self.sets[counter] = set;
            padding.extend_from_slice(head.as_bytes());
            prose(&mut padding, self.rng, room);
            padding.extend_from_slice(tail.as_bytes());
        }
        for (_, range) in self.marks.iter_mut().filter(|(_, range)| range.start >= at) {
            *range = range.start + padding.len()..range.end + padding.len();
        }
        self.out.splice(at..at, padding);
    }
}

fn pick(out: &mut Vec<u8>, rng: &mut SmallRng, from: &[&str]) {
    out.extend_from_slice(from[rng.random_range(0..from.len())].as_bytes());
}

/// A number with leading zeros up to `width`.
fn digits(out: &mut Vec<u8>, number: u32, width: usize) {
    let mut text = [b'0'; 10];
    let mut at = text.len();
    let mut rest = number;
    while rest > 0 {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let start = at.min(text.len() - width.clamp(1, text.len()));
    out.extend_from_slice(&text[start..]);
}

/// A number given in tenths.
fn tenths(out: &mut Vec<u8>, number: u32) {
    digits(out, number / 10, 1);
    out.push(b'.');
    digits(out, number % 10, 1);
}

fn capitalised(out: &mut Vec<u8>, rng: &mut SmallRng, syllables: usize) {
    let start = out.len();
    for _ in 0..syllables {
        pick(out, rng, &words::SYLLABLES);
    }
    out[start].make_ascii_uppercase();
}

/// `Family^Given^M`
fn person_name(out: &mut Vec<u8>, rng: &mut SmallRng) {
    capitalised(out, rng, 2);
    pick(out, rng, &words::ENDINGS);
    out.push(b'^');
    let syllables = rng.random_range(2..=3);
    capitalised(out, rng, syllables);
    out.push(b'^');
    out.push(b'A' + rng.random_range(0..26));
}

fn birth(out: &mut Vec<u8>, rng: &mut SmallRng) {
    digits(out, rng.random_range(1930..2020), 4);
    digits(out, rng.random_range(1..=12), 2);
    digits(out, rng.random_range(1..=28), 2);
}

/// OBX-3 to OBX-8: test, value, unit, range and flag that belong together.
fn result(out: &mut Vec<u8>, rng: &mut SmallRng) {
    let (test, unit, range, low, high) = words::RESULTS[rng.random_range(0..words::RESULTS.len())];
    let value = rng.random_range(low..high);
    out.extend_from_slice(test.as_bytes());
    out.extend_from_slice(b"||");
    tenths(out, value);
    for text in [unit, range] {
        out.push(b'|');
        out.extend_from_slice(text.as_bytes());
    }
    let (lowest, highest) = bounds(range);
    let flag = if value < lowest {
        "|L"
    } else if value > highest {
        "|H"
    } else {
        "|N"
    };
    out.extend_from_slice(flag.as_bytes());
}

/// `3.5-5.1` in tenths.
fn bounds(range: &str) -> (u32, u32) {
    let tenths = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        whole.parse().unwrap_or(0) * 10 + part.parse().unwrap_or(0)
    };
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    (tenths(low), tenths(high))
}

fn note(out: &mut Vec<u8>, rng: &mut SmallRng, count: usize) {
    for at in 0..count {
        if at > 0 {
            out.push(b' ');
        }
        pick(out, rng, &words::WORDS);
    }
}

/// Words of exactly so many bytes in all.
fn prose(out: &mut Vec<u8>, rng: &mut SmallRng, length: usize) {
    let end = out.len() + length;
    while out.len() < end {
        pick(out, rng, &words::WORDS);
        out.push(b' ');
    }
    out.truncate(end);
    // A trailing blank would be lost on partners that trim.
    if let Some(last) = out.last_mut().filter(|last| **last == b' ') {
        *last = b'.';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_at_their_width() {
        let cases = [
            (0, 1, "0"),
            (0, 6, "000000"),
            (123, 6, "000123"),
            (123, 1, "123"),
            (4_294_967_295, 2, "4294967295"),
        ];
        for (number, width, expected) in cases {
            let mut out = Vec::new();
            digits(&mut out, number, width);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_range_reads_in_tenths() {
        assert_eq!(bounds("3.5-5.1"), (35, 51));
        assert_eq!(bounds("135-145"), (1350, 1450));
    }
}
