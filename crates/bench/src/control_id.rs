//! Control ids that say where a message came from: run, lane and sequence, within the 20 characters
//! that MSH-10 allows in every version.
//!
//! `R3FK-L02-00000123`, and `R3FK-L02-00000123.2` for the second message that a handler made of it.
//! A relay that rewrites control ids otherwise makes its messages unrecognisable to the judge.

use std::fmt;

use rand::Rng;
use serde::{Serialize, Serializer};

/// The highest sequence number that a control id can carry.
pub const SEQUENCE_MAX: u32 = 99_999_999;
/// The most lanes that a control id can tell apart.
pub const LANES_MAX: u16 = 1000;

const RUN_CHARACTERS: usize = 3;
const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Tells one run from another whose messages may still be in the engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RunId([u8; RUN_CHARACTERS]);

impl RunId {
    /// A run id by chance: 46,656 values.
    pub fn random() -> RunId {
        let mut rng = rand::rng();
        RunId(std::array::from_fn(|_| {
            ALPHABET[rng.random_range(0..ALPHABET.len())]
        }))
    }

    /// The run id of a number, for repeatable runs; numbers 46,656 apart share one.
    pub fn from_number(number: u64) -> RunId {
        let digit = |power: u32| ALPHABET[(number / 36_u64.pow(power) % 36) as usize];
        RunId([digit(2), digit(1), digit(0)])
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("R")?;
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("???"))
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One message of one lane of one run; `part` counts the messages that a handler made of it (0 = it
/// carries the id that was sent).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ControlId {
    /// The run.
    pub run: RunId,
    /// The lane, from 0.
    pub lane: u16,
    /// The message's place in its lane, from 0.
    pub sequence: u32,
    /// Which of several messages made of one; 0 for the message itself.
    pub part: u8,
}

impl ControlId {
    /// Appends the id's text: always 17 bytes for lanes below 100 and 18 above, plus the part if any.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.push(b'R');
        out.extend_from_slice(&self.run.0);
        out.extend_from_slice(b"-L");
        let lane_digits = if self.lane < 100 { 2 } else { 3 };
        push_digits(out, u32::from(self.lane), lane_digits);
        out.push(b'-');
        push_digits(out, self.sequence, 8);
        if self.part != 0 {
            out.push(b'.');
            out.extend_from_slice(self.part.to_string().as_bytes());
        }
    }

    /// Reads an id back; `None` when a text is not one of ours.
    pub fn parse(text: &[u8]) -> Option<ControlId> {
        let rest = text.strip_prefix(b"R")?;
        let (run, rest) = rest.split_first_chunk::<RUN_CHARACTERS>()?;
        if !run.iter().all(|c| ALPHABET.contains(c)) {
            return None;
        }
        let rest = rest.strip_prefix(b"-L")?;
        let dash = rest.iter().position(|&c| c == b'-')?;
        let lane = u16::try_from(number(&rest[..dash], 3)?).ok()?;
        let rest = &rest[dash + 1..];
        let end = rest
            .iter()
            .position(|&c| c == b'.' || c == b'-')
            .unwrap_or(rest.len());
        let sequence = number(&rest[..end], 8)?;
        let part = match rest.get(end + 1..) {
            None => 0,
            Some(part) => u8::try_from(number(part, 3)?).ok()?,
        };
        Some(ControlId {
            run: RunId(*run),
            lane,
            sequence,
            part,
        })
    }
}

impl fmt::Display for ControlId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(20);
        self.render(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn push_digits(out: &mut Vec<u8>, value: u32, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    let mut left = value;
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

fn number(digits: &[u8], longest: usize) -> Option<u32> {
    if digits.is_empty() || digits.len() > longest || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        digits
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0')),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_reads_as_run_lane_sequence() {
        let id = ControlId {
            run: RunId::from_number(4567),
            lane: 2,
            sequence: 123,
            part: 0,
        };
        assert_eq!(id.to_string(), "R3IV-L02-00000123");
        assert_eq!(ControlId { part: 2, ..id }.to_string(), "R3IV-L02-00000123.2");
    }

    #[test]
    fn foreign_ids_are_not_ours() {
        for text in [
            "",
            "R",
            "12345",
            "R3F",
            "R3FK-L02",
            "R3FK-L02-",
            "R3FK-L-1",
            "R3FK-L02-x",
            "r3fk-L02-00000001",
            "R3FK-L02-000000001",
            "R3FK-L9999-00000001",
            "R3FK-L02-00000001.",
            "R3FK-L02-00000001.999",
        ] {
            assert_eq!(ControlId::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_id_fits_msh_10_and_reads_back(
            run in any::<u64>(), lane in 0..LANES_MAX, sequence in 0..=SEQUENCE_MAX, part in 0..10_u8,
        ) {
            let id = ControlId { run: RunId::from_number(run), lane, sequence, part };
            let text = id.to_string();
            prop_assert!(text.len() <= 20);
            prop_assert_eq!(ControlId::parse(text.as_bytes()), Some(id));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = ControlId::parse(&bytes);
        }
    }
}
