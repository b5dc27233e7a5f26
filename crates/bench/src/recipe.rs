//! Which made-up messages to use: kinds, version, size, seed.

use bytes::Bytes;
use formats::hl7::dictionary::Version;
use formats::hl7::generate::{Generator, Kind, TYPES};

/// What messages to make. The same recipe gives the same messages.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Kinds of message, taken in turn: `ADT^A01`, `ORU`, `all` for one of each, `mixed` for a draw as
    /// on a hospital's day.
    pub kinds: Vec<String>,
    /// The HL7 version, such as `2.5.1`.
    pub version: String,
    /// About how many bytes each message has; `None` for the size its content gives it.
    pub size: Option<usize>,
    /// What content is drawn from.
    pub seed: u64,
    /// The date in the messages, `YYYYMMDDHHMMSS`.
    pub date: String,
}

/// The version of messages unless another is asked for.
pub const VERSION: &str = "2.5.1";

/// A recipe that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No such kind of message.
    #[error("`{kind}` is no kind of message that can be made; kinds are `mixed`, `all`, {}, and these with an event, as in ADT^A08", TYPES.join(", "))]
    Kind {
        /// What was asked for.
        kind: String,
    },
    /// No kind at all.
    #[error("no kind of message is named")]
    NoKind,
    /// No such version.
    #[error("`{version}` is no version of HL7 v2; versions are {}", versions())]
    Version {
        /// What was asked for.
        version: String,
    },
    /// No date.
    #[error(transparent)]
    Date(#[from] formats::hl7::generate::BadDate),
}

fn versions() -> String {
    Version::ALL
        .iter()
        .map(|version| version.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Fixed(Kind),
    Drawn,
}

/// Messages without end.
#[derive(Debug)]
pub struct Messages {
    generator: Generator,
    choices: Vec<Choice>,
    next: usize,
}

impl Recipe {
    /// The messages, from the first.
    ///
    /// # Errors
    /// [`Fault`] names what cannot be made, and what can.
    pub fn messages(&self) -> Result<Messages, Fault> {
        let mut choices = Vec::new();
        for kind in &self.kinds {
            match kind.trim() {
                "mixed" => choices.push(Choice::Drawn),
                "all" => choices.extend(Kind::all().map(Choice::Fixed)),
                name => {
                    let kind = Kind::parse(name).ok_or_else(|| Fault::Kind {
                        kind: name.to_owned(),
                    })?;
                    choices.push(Choice::Fixed(kind));
                }
            }
        }
        if choices.is_empty() {
            return Err(Fault::NoKind);
        }
        let version = Version::parse(&self.version).ok_or_else(|| Fault::Version {
            version: self.version.clone(),
        })?;
        let mut generator = Generator::new(self.seed).version(version).date(&self.date)?;
        if let Some(bytes) = self.size {
            generator = generator.size(bytes);
        }
        Ok(Messages {
            generator,
            choices,
            next: 0,
        })
    }
}

impl Messages {
    /// How many kinds come in turn.
    pub fn kinds(&self) -> usize {
        self.choices.len()
    }
}

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let choice = self.choices[self.next % self.choices.len()];
        self.next += 1;
        Some(match choice {
            Choice::Fixed(kind) => self.generator.message(&kind),
            Choice::Drawn => self.generator.mixed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header_field;

    fn recipe(kinds: &[&str]) -> Recipe {
        Recipe {
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            version: VERSION.to_owned(),
            size: None,
            seed: 7,
            date: "20260102030405".to_owned(),
        }
    }

    fn kind_of(message: &Bytes) -> String {
        let field = header_field(message, 9).unwrap_or_default();
        let text = String::from_utf8_lossy(field).into_owned();
        text.splitn(3, '^').take(2).collect::<Vec<_>>().join("^")
    }

    #[test]
    fn kinds_come_in_turn() {
        let kinds: Vec<String> = recipe(&["ADT^A08", "ORU"])
            .messages()
            .unwrap()
            .take(4)
            .map(|m| kind_of(&m))
            .collect();
        assert_eq!(kinds, ["ADT^A08", "ORU^R01", "ADT^A08", "ORU^R01"]);
        let all = recipe(&["all"]).messages().unwrap();
        let count = all.kinds();
        let distinct: std::collections::HashSet<String> = all.take(count).map(|m| kind_of(&m)).collect();
        assert!(distinct.len() > 57, "only {} kinds", distinct.len());
    }

    #[test]
    fn the_same_recipe_gives_the_same_messages() {
        let take = || {
            recipe(&["mixed"])
                .messages()
                .unwrap()
                .take(50)
                .collect::<Vec<_>>()
        };
        assert_eq!(take(), take());
    }

    #[test]
    fn sizes_are_met_about() {
        for size in [1024, 10_000] {
            let sized = Recipe {
                size: Some(size),
                ..recipe(&["ADT^A01"])
            };
            for message in sized.messages().unwrap().take(20) {
                assert!(
                    message.len().abs_diff(size) < size / 5,
                    "{} bytes for {size}",
                    message.len()
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        let fault = |recipe: Recipe| recipe.messages().map(|_| ()).expect_err("refused");
        assert!(fault(recipe(&["ADT^Z99"])).to_string().contains("ADT^Z99"));
        assert!(matches!(fault(recipe(&[])), Fault::NoKind));
        assert!(
            fault(Recipe {
                version: "3.0".to_owned(),
                ..recipe(&["ADT"])
            })
            .to_string()
            .contains("2.5.1")
        );
        assert!(matches!(
            fault(Recipe {
                date: "soon".to_owned(),
                ..recipe(&["ADT"])
            }),
            Fault::Date(_)
        ));
    }
}
