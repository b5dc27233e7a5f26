//! Synthetic messages: seeded, no real data, no clock. The same seed and settings give the same bytes.
//!
//! People come from syllables, codes from a code system of our own (`L`), identifiers are `T000123`.
//! A patient number means the same person in every message of a seed. Every message passes the strict
//! validation of its own version.
//!
//! [`Generator`] makes messages that differ; [`Template`] keeps one and replaces only what has to be
//! unique, for load tools.

mod fill;
mod kinds;
mod program;
mod template;
mod words;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use kinds::{ADT_TRIGGERS, Kind, TYPES};
pub use template::Template;

use super::dictionary::Version;
use fill::Filler;

/// The date of messages when none is given.
const DATE: &str = "20250101120000";

/// Makes messages from a seed.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: SmallRng,
    seed: u64,
    settings: Settings,
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Settings {
    version: Version,
    size: Option<usize>,
    prefix: String,
    date: String,
    patients: u32,
}

/// A date of messages that is not `YYYYMMDDHHMMSS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message date is written YYYYMMDDHHMMSS, such as 20250101120000")]
pub struct BadDate;

/// A control ID prefix that could not stand in MSH-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control ID prefix is at most 10 letters, digits, '-', '_' or '.'")]
pub struct BadPrefix;

impl Generator {
    /// Version 2.5.1, natural sizes, control IDs `G00000001` and on, 100,000 patients.
    pub fn new(seed: u64) -> Generator {
        let settings = Settings {
            version: Version::V2_5_1,
            size: None,
            prefix: "G".to_owned(),
            date: DATE.to_owned(),
            patients: 100_000,
        };
        Generator {
            rng: SmallRng::seed_from_u64(seed),
            seed,
            settings,
            sequence: 0,
        }
    }

    /// The version of the messages. A kind that is younger is made in the first version that has it.
    pub fn version(mut self, version: Version) -> Generator {
        self.settings.version = version;
        self
    }

    /// About how many bytes a message shall have. It has at least what its kind requires (0.1 to 0.6 KB);
    /// the rest is filled with OBX, NTE or, where neither may stand, a ZPD segment.
    pub fn size(mut self, bytes: usize) -> Generator {
        self.settings.size = Some(bytes);
        self
    }

    /// What control IDs begin with; generators that run side by side need different ones.
    pub fn control_prefix(mut self, prefix: &str) -> Result<Generator, BadPrefix> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if prefix.len() > 10 || !prefix.chars().all(fits) {
            return Err(BadPrefix);
        }
        self.settings.prefix = prefix.to_owned();
        Ok(self)
    }

    /// The date and time that messages bear, `YYYYMMDDHHMMSS`.
    pub fn date(mut self, date: &str) -> Result<Generator, BadDate> {
        if !is_date(date) {
            return Err(BadDate);
        }
        self.settings.date = date.to_owned();
        Ok(self)
    }

    /// From how many patients (1 to 1,000,000) messages are made.
    pub fn patients(mut self, count: u32) -> Generator {
        self.settings.patients = count.clamp(1, 1_000_000);
        self
    }

    /// The next message of a kind, with the next control ID. Segments end with CR.
    pub fn message(&mut self, kind: &Kind) -> Bytes {
        let id = self.next_id();
        self.message_with_id(kind, &id)
    }

    /// The next message of a kind, with a control ID of the caller's choice (taken as it is).
    pub fn message_with_id(&mut self, kind: &Kind, control_id: &str) -> Bytes {
        Bytes::from(self.fill(*kind, control_id).out)
    }

    /// The next message of a mix like that of a hospital's day: mostly ADT and results.
    pub fn mixed(&mut self) -> Bytes {
        let kind = self.mixed_kind();
        self.message(&kind)
    }

    /// Draws a kind from that mix.
    pub fn mixed_kind(&mut self) -> Kind {
        let ticket = self.rng.random_range(0..MIX_TOTAL);
        let mut below = 0;
        let drawn = MIX.iter().find(|(_, share)| {
            below += share;
            ticket < below
        });
        let name = drawn.map_or("ADT^A01", |(name, _)| *name);
        Kind::parse(name).expect("a test reads every name of the mix")
    }

    /// A template from the next message of a kind.
    pub fn template(&mut self, kind: &Kind) -> Template {
        let filled = self.fill(*kind, "0");
        Template::new(filled.out, filled.marks)
    }

    fn next_id(&mut self) -> String {
        self.sequence += 1;
        format!("{}{:08}", self.settings.prefix, self.sequence)
    }

    fn fill(&mut self, kind: Kind, control_id: &str) -> Filler<'_> {
        let version = self.settings.version.max(kind.since());
        let mut filler = Filler::new(
            &mut self.rng,
            self.seed,
            &self.settings,
            kind,
            version,
            control_id,
        );
        filler.run(&program::programs(version)[kind.index()]);
        filler
    }
}

/// Shares of the mix, in parts of [`MIX_TOTAL`].
const MIX: [(&str, u32); 16] = [
    ("ADT^A01", 10),
    ("ADT^A02", 5),
    ("ADT^A03", 8),
    ("ADT^A04", 10),
    ("ADT^A08", 20),
    ("ADT^A31", 4),
    ("ADT^A40", 1),
    ("ORU^R01", 22),
    ("ORM^O01", 6),
    ("OML^O21", 2),
    ("SIU^S12", 5),
    ("MDM^T02", 2),
    ("DFT^P03", 2),
    ("VXU^V04", 1),
    ("RDE^O11", 1),
    ("BAR^P01", 1),
];
const MIX_TOTAL: u32 = 100;

/// Whether a text is a date and time to the second.
fn is_date(text: &str) -> bool {
    text.len() == 14 && crate::hl7::validate::is_date_time(text)
}

#[cfg(test)]
mod tests;
