//! Strict validation of a message: an option for listeners, never a condition for parsing.
//!
//! [`report`] holds a message against what its version says: the order of its segments, required
//! fields, repetitions, lengths, data types and table values. It never panics, ends in time
//! proportional to the message, and says what it did not check ([`Coverage`]): of what is unknown
//! here nothing is claimed. Texts name places and rules, never values.
//!
//! `docs/validation.md` says how far the data goes.

mod fields;
mod grammar;
mod values;
mod walk;

pub(crate) use values::is_date_time;

use crate::hl7::Message;
use crate::hl7::dictionary::Version;

/// What is checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds every message against this version, whatever its MSH-12 says.
    pub version: Option<Version>,
    /// Order and presence of segments.
    pub structure: bool,
    /// Required fields, and repetitions of fields that have none.
    pub required: bool,
    /// Lengths of fields.
    pub lengths: bool,
    /// Numbers, dates and times.
    pub types: bool,
    /// Table values.
    pub tables: Tables,
    /// Most violations reported.
    pub limit: usize,
}

/// Whose tables are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// None.
    None,
    /// Those whose values HL7 fixes.
    Fixed,
    /// Those, and the ones for which HL7 suggests values (sex, patient class).
    All,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            version: None,
            structure: true,
            required: true,
            lengths: true,
            types: true,
            tables: Tables::All,
            limit: 100,
        }
    }
}

/// One thing that is wrong. Never holds content of the message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Code of HL7 table 0357: 100 segment sequence, 101 required field, 102 data type, 103 table value,
    /// 104 too long, 200 message type, 201 event, 202 processing ID, 203 version.
    pub code: u16,
    /// Where: `PID-3.1`, `OBX(2)-5`, or a segment alone.
    pub path: String,
    /// What is wrong there and what is asked for.
    pub text: String,
}

impl Violation {
    /// Whether the whole message is of a kind that cannot be taken (an AR rather than an AE).
    pub fn rejects(&self) -> bool {
        self.code >= 200
    }
}

/// What the check could look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// The version it was held against; `None`: not one that is known here, so only the header was checked.
    pub version: Option<&'static str>,
    /// The structure it was held against; `None`: the message type is not known here or was not asked for.
    pub structure: Option<&'static str>,
    /// Segments whose fields are not known here (Z-segments among them), each name once.
    pub unknown_segments: Vec<String>,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// In the order of the message: header, structure, then fields.
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub coverage: Coverage,
}

/// The violations of a message.
pub fn check(message: &Message, options: &Options) -> Vec<Violation> {
    report(message, options).violations
}

/// The violations of a message, and what was looked at.
pub fn report(message: &Message, options: &Options) -> Report {
    let mut findings = Findings {
        list: Vec::new(),
        limit: options.limit,
    };
    let mut coverage = Coverage::default();
    let segments = fields::segments(message);
    let header = Header::of(&segments, message);
    if let Some(version) = version(&header, options, &mut findings) {
        coverage.version = Some(version.as_str());
        coverage.structure = structure(&segments, &header, version, options, &mut findings);
        fields::check(&segments, message, version, options, &mut findings, &mut coverage);
    }
    Report {
        violations: findings.list,
        coverage,
    }
}

/// Violations up to a limit.
struct Findings {
    list: Vec<Violation>,
    limit: usize,
}

impl Findings {
    fn add(&mut self, code: u16, path: impl Into<String>, text: impl Into<String>) {
        if !self.full() {
            self.list.push(Violation {
                code,
                path: path.into(),
                text: text.into(),
            });
        }
    }

    fn full(&self) -> bool {
        self.list.len() >= self.limit
    }
}

/// The parts of MSH that decide what is asked of the rest.
struct Header<'a> {
    code: &'a str,
    trigger: &'a str,
    structure: &'a str,
    version: &'a str,
}

impl<'a> Header<'a> {
    fn of(segments: &'a [fields::Segment<'_>], message: &Message) -> Header<'a> {
        let component = char::from(message.separators().component());
        let field = |number: usize| segments.first().and_then(|msh| msh.field(number)).unwrap_or("");
        let mut kind = field(9).split(component);
        let mut next = || kind.next().unwrap_or("");
        let (code, trigger, structure) = (next(), next(), next());
        Header {
            code,
            trigger,
            structure,
            version: field(12).split(component).next().unwrap_or(""),
        }
    }
}

/// The version to hold the message against, if it is one whose rules stand here (2.3 to 2.8.2).
fn version(header: &Header<'_>, options: &Options, findings: &mut Findings) -> Option<Version> {
    let version = match options.version {
        Some(pinned) => pinned,
        None if header.version.is_empty() => {
            findings.add(
                101,
                "MSH-12",
                "the version is missing; without it nothing else can be checked",
            );
            return None;
        }
        None => match Version::parse(header.version) {
            Some(version) => version,
            None => {
                findings.add(
                    203,
                    "MSH-12",
                    "this is no version of HL7 v2; 2.1 to 2.8.2 are known",
                );
                return None;
            }
        },
    };
    (version >= Version::V2_3).then_some(version)
}

fn structure(
    segments: &[fields::Segment<'_>],
    header: &Header<'_>,
    version: Version,
    options: &Options,
    findings: &mut Findings,
) -> Option<&'static str> {
    if !options.structure || header.code.is_empty() {
        return None;
    }
    if !(header.code.len() == 3 && header.code.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        findings.add(200, "MSH-9.1", "a message code is three letters or digits");
        return None;
    }
    let name = match grammar::event(header.code, header.trigger, header.structure) {
        grammar::Event::Structure(name) => name,
        grammar::Event::NotListed => return None,
        grammar::Event::Unknown if header.trigger.is_empty() => {
            findings.add(101, "MSH-9.2", "the trigger event is missing");
            return None;
        }
        grammar::Event::Unknown => {
            findings.add(
                201,
                "MSH-9.2",
                "this message code has no such trigger event; local ones begin with Z",
            );
            return None;
        }
    };
    let structure = grammar::structure(name, version)?;
    // Z-segments and continuations may stand anywhere.
    let known: Vec<_> = segments.iter().filter(|segment| !segment.is_free()).collect();
    let names: Vec<_> = known.iter().map(|segment| segment.name()).collect();
    for fault in walk::walk(structure, &names, options.limit) {
        match fault {
            walk::Fault::Unexpected { at } => {
                let text = format!("{} has no place here in {name} of version {version}", names[at]);
                findings.add(100, known[at].path(), text);
            }
            walk::Fault::Missing {
                name: missing,
                before,
            } => {
                let place = match before {
                    Some(at) => format!("before {}", known[at].path()),
                    None => "at the end".to_owned(),
                };
                let text = format!("{missing} is required {place} in {name} of version {version}");
                findings.add(100, missing, text);
            }
        }
    }
    Some(structure.name)
}

#[cfg(test)]
mod tests;
