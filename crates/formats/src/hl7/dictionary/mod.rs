//! What HL7 v2 calls things: segments, fields, data types and tables, by version.
//!
//! The facts stand in the text files beside this one, written for this project from the public
//! standard, and are parsed once. They describe v2.5.1 and note where v2.1 to v2.8.2 differ.
//! `docs/validation.md` says how far they go. Nothing here reads messages.
//!
//! ## The line format
//! ```text
//! [PID] Patient identification              a segment; +2.3 after the name: since that version
//! 3 CX R* 250 #203 +2.3 2.7:B Title         number, data type, optionality (* repeats), length
//!                                           (0: none stated), table, since, changes, title
//! ```
//! A change `2.7:X` holds from 2.7 on: a number is a length, two or more capitals a data type,
//! one capital (with or without `*`) an optionality. A data type `*` is decided by another field.
//! Two rules are not spelled out on each line: CE is CWE and TS is DTM from 2.6 on.

mod parse;
mod version;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use version::Version;

/// How strongly a version asks for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Optionality {
    /// Must be there.
    #[serde(rename = "R")]
    Required,
    /// May be there.
    #[serde(rename = "O")]
    Optional,
    /// Depends on other fields.
    #[serde(rename = "C")]
    Conditional,
    /// Kept for older partners.
    #[serde(rename = "B")]
    Backward,
}

/// A segment: its name, what it is about, and its fields.
#[derive(Debug)]
pub struct SegmentDef {
    /// Three letters, `PID`.
    pub name: &'static str,
    /// A short English title.
    pub title: &'static str,
    /// First version that has it.
    pub since: Version,
    /// Fields in order; the field with number `n` is at `n - 1`.
    pub fields: Vec<FieldDef>,
}

impl SegmentDef {
    /// Field by its 1-based number.
    pub fn field(&self, number: usize) -> Option<&FieldDef> {
        self.fields.get(number.checked_sub(1)?)
    }
}

/// A field. The plain members are those of v2.5.1; [`FieldDef::at`] gives another version's.
#[derive(Debug)]
pub struct FieldDef {
    /// 1-based position in its segment.
    pub number: u16,
    /// A short English title.
    pub title: &'static str,
    /// Data type name; `*` when another field decides it (OBX-5).
    pub data_type: &'static str,
    /// How strongly the field is asked for.
    pub optionality: Optionality,
    /// Whether it may hold more than one repetition.
    pub repeats: bool,
    /// Longest repetition in characters; `None`: no limit stated.
    pub max_length: Option<u32>,
    /// HL7 table number of its values.
    pub table: Option<u16>,
    /// First version that has it.
    pub since: Version,
    changes: Vec<(Version, Change)>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Type(&'static str),
    Optionality(Optionality, bool),
    Length(Option<u32>),
}

/// A field's rules in one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRules {
    /// Data type name; `*` when another field decides it.
    pub data_type: &'static str,
    /// How strongly the field is asked for.
    pub optionality: Optionality,
    /// Whether it may repeat.
    pub repeats: bool,
    /// Longest repetition in characters, where the version states one.
    pub max_length: Option<u32>,
}

impl FieldDef {
    /// Whether `version` has this field.
    pub fn exists_in(&self, version: Version) -> bool {
        self.since <= version
    }

    /// The rules of `version`.
    pub fn at(&self, version: Version) -> FieldRules {
        let mut rules = FieldRules {
            data_type: type_in(self.data_type, version),
            optionality: self.optionality,
            repeats: self.repeats,
            max_length: self.max_length,
        };
        for (_, change) in self.changes.iter().filter(|(from, _)| *from <= version) {
            match *change {
                Change::Type(data_type) => rules.data_type = data_type,
                Change::Optionality(optionality, repeats) => {
                    rules.optionality = optionality;
                    rules.repeats = repeats;
                }
                Change::Length(length) => rules.max_length = length,
            }
        }
        // From 2.7 on most lengths are only what a receiver should at least keep, no limit for the sender.
        let fixed_by_type = matches!(self.data_type, "SI" | "ID" | "DT");
        if version >= Version::V2_7 && !fixed_by_type && !self.states_length_since_2_7() {
            rules.max_length = None;
        }
        rules
    }

    fn states_length_since_2_7(&self) -> bool {
        self.changes
            .iter()
            .any(|(from, change)| *from >= Version::V2_7 && matches!(change, Change::Length(_)))
    }
}

/// The name a data type goes by in `version`: CE became CWE and TS became DTM in 2.6.
pub fn type_in(name: &'static str, version: Version) -> &'static str {
    match name {
        "CE" if version >= Version::V2_6 => "CWE",
        "TS" if version >= Version::V2_6 => "DTM",
        "DTM" if version < Version::V2_6 => "TS",
        other => other,
    }
}

/// A data type and its components; a primitive has none.
#[derive(Debug)]
pub struct DataTypeDef {
    /// `CX`.
    pub name: &'static str,
    /// A short English title.
    pub title: &'static str,
    /// Components in order.
    pub components: Vec<ComponentDef>,
}

/// One component of a data type.
#[derive(Debug)]
pub struct ComponentDef {
    /// 1-based position.
    pub number: u16,
    /// A short English title.
    pub title: &'static str,
    /// Its own data type.
    pub data_type: &'static str,
    /// The primitive that it, or its first subcomponent, is.
    pub primitive: &'static str,
    /// HL7 table number of its values.
    pub table: Option<u16>,
}

/// A table whose values can be checked.
#[derive(Debug)]
pub struct TableDef {
    /// HL7 table number.
    pub number: u16,
    /// A short English title.
    pub title: &'static str,
    /// True: HL7 fixes the values. False: HL7 suggests them and sites may add their own.
    pub fixed: bool,
    values: Vec<(&'static str, Version)>,
}

impl TableDef {
    /// Whether `value` stands in the table in `version`.
    pub fn holds(&self, value: &str, version: Version) -> bool {
        self.values
            .iter()
            .any(|(known, since)| *known == value && *since <= version)
    }

    /// All values of any version, in order.
    pub fn values(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.values.iter().map(|(value, _)| *value)
    }
}

struct Dictionary {
    segments: HashMap<&'static str, SegmentDef>,
    types: HashMap<&'static str, DataTypeDef>,
    tables: HashMap<u16, TableDef>,
}

const SEGMENT_FILES: [&str; 8] = [
    include_str!("control.txt"),
    include_str!("patient.txt"),
    include_str!("finance.txt"),
    include_str!("orders.txt"),
    include_str!("pharmacy.txt"),
    include_str!("scheduling.txt"),
    include_str!("master.txt"),
    include_str!("query.txt"),
];

fn dictionary() -> &'static Dictionary {
    static DICTIONARY: OnceLock<Dictionary> = OnceLock::new();
    DICTIONARY.get_or_init(|| {
        let read = || -> Result<Dictionary, String> {
            let mut segments = HashMap::new();
            for file in SEGMENT_FILES {
                segments.extend(
                    parse::segments(file)?
                        .into_iter()
                        .map(|segment| (segment.name, segment)),
                );
            }
            let types = parse::types(include_str!("types.txt"))?;
            let tables = parse::tables(include_str!("tables.txt"))?;
            Ok(Dictionary {
                segments,
                types: types
                    .into_iter()
                    .map(|data_type| (data_type.name, data_type))
                    .collect(),
                tables: tables.into_iter().map(|table| (table.number, table)).collect(),
            })
        };
        read().expect("the embedded text is fixed at build time and a test parses it")
    })
}

/// The segment called `name` (`PID`).
pub fn segment(name: &str) -> Option<&'static SegmentDef> {
    dictionary().segments.get(name)
}

/// All segments, by name.
pub fn segments() -> Vec<&'static SegmentDef> {
    let mut all: Vec<_> = dictionary().segments.values().collect();
    all.sort_by_key(|segment| segment.name);
    all
}

/// The data type called `name` (`CX`).
pub fn data_type(name: &str) -> Option<&'static DataTypeDef> {
    dictionary().types.get(name)
}

/// The table with this number, if its values are known here.
pub fn table(number: u16) -> Option<&'static TableDef> {
    dictionary().tables.get(&number)
}

/// The version called `text` (`2.5.1`), if it is one of v2.1 to v2.8.2.
pub fn version(text: &str) -> Option<Version> {
    Version::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_a_screen_needs_is_there() {
        let wanted = "MSH MSA ERR EVN PID PD1 NK1 PV1 PV2 DB1 OBX AL1 DG1 DRG PR1 GT1 IN1 IN2 ACC UB1 UB2 ORC \
                      OBR NTE RXO RXR RXC RXE RXD RXA RXG TQ1 TQ2 SPM SCH AIS AIG AIL AIP RGS TXA FT1 MRG ROL \
                      CTD QRD QRF QPD RCP QAK DSP DSC STF PRA ORG MFI MFE BHS BTS FHS FTS SFT UAC IAM CTI BLG \
                      ODS";
        let missing: Vec<_> = wanted
            .split_whitespace()
            .filter(|name| segment(name).is_none())
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn every_data_type_a_field_or_component_names_is_described() {
        let fields = segments().into_iter().flat_map(|segment| {
            segment
                .fields
                .iter()
                .map(move |field| (format!("{}-{}", segment.name, field.number), field.data_type))
        });
        let components = dictionary().types.values().flat_map(|data_type| {
            data_type
                .components
                .iter()
                .map(move |part| (format!("{}.{}", data_type.name, part.number), part.data_type))
        });
        let unknown: Vec<_> = fields
            .chain(components)
            .filter(|(_, name)| *name != "*" && data_type(name).is_none())
            .collect();
        assert_eq!(unknown, vec![]);
    }

    #[test]
    fn a_field_follows_its_version() {
        let rules = |path: &str, version: Version| {
            let (name, number) = path.split_once('-').unwrap();
            segment(name)
                .unwrap()
                .field(number.parse().unwrap())
                .unwrap()
                .at(version)
        };
        assert_eq!(rules("PID-7", Version::V2_5_1).data_type, "TS");
        assert_eq!(rules("PID-7", Version::V2_6).data_type, "DTM");
        assert_eq!(rules("PID-10", Version::V2_8).data_type, "CWE");
        assert_eq!(rules("MSH-10", Version::V2_5_1).max_length, Some(20));
        assert_eq!(rules("MSH-10", Version::V2_8).max_length, Some(199));
        assert_eq!(rules("MSH-7", Version::V2_3_1).optionality, Optionality::Optional);
        assert_eq!(rules("MSH-7", Version::V2_4).optionality, Optionality::Required);
        assert_eq!(rules("EVN-1", Version::V2_2).optionality, Optionality::Required);
        assert_eq!(rules("EVN-1", Version::V2_5_1).optionality, Optionality::Backward);
        assert_eq!(rules("PID-3", Version::V2_7).max_length, None);
    }

    #[test]
    fn a_table_value_may_be_younger_than_its_table() {
        let processing = table(103).unwrap();
        assert!(processing.holds("P", Version::V2_3));
        assert!(!processing.holds("N", Version::V2_6));
        assert!(processing.holds("N", Version::V2_7));
    }

    #[test]
    fn components_have_names() {
        let title = |name: &str, number: usize| data_type(name).unwrap().components[number - 1].title;
        assert_eq!(title("CX", 4), "Assigning authority");
        assert_eq!(title("XPN", 2), "Given name");
        assert_eq!(title("MSG", 2), "Trigger event");
    }
}
