//! Holds the fields of each segment against the dictionary.

use std::borrow::Cow;
use std::fmt;

use super::{Coverage, Findings, Options, Tables, values};
use crate::hl7::dictionary::{self, FieldDef, FieldRules, Optionality, Version};
use crate::hl7::{Message, Separators};

/// A segment as text, cut into fields.
pub(super) struct Segment<'a> {
    text: Cow<'a, str>,
    /// Where each field lies in `text`; the one with number `n` at `n - 1`.
    fields: Vec<(usize, usize)>,
    /// Which of its name it is, from 1.
    occurrence: usize,
}

impl Segment<'_> {
    pub(super) fn name(&self) -> &str {
        self.text.get(..3).unwrap_or("")
    }

    /// `OBX(2)`; the first of its name without a number.
    pub(super) fn path(&self) -> String {
        if self.occurrence > 1 {
            format!("{}({})", self.name(), self.occurrence)
        } else {
            self.name().to_owned()
        }
    }

    /// The text of a field, all repetitions. `None`: the segment ends before it.
    pub(super) fn field(&self, number: usize) -> Option<&str> {
        let (start, end) = *self.fields.get(number.checked_sub(1)?)?;
        self.text.get(start..end)
    }

    /// Z-segments belong to no structure; an addendum may follow any segment.
    pub(super) fn is_free(&self) -> bool {
        self.name().starts_with('Z') || self.name() == "ADD"
    }

    fn is_header(&self) -> bool {
        matches!(self.name(), "MSH" | "FHS" | "BHS")
    }
}

pub(super) fn segments(message: &Message) -> Vec<Segment<'_>> {
    let separator = char::from(message.separators().field());
    message
        .segments()
        .filter_map(|place| {
            let text = message.segment_text(place.index)?;
            let fields = cut(&text, separator);
            Some(Segment {
                text,
                fields,
                occurrence: place.occurrence,
            })
        })
        .collect()
}

/// Field ranges. In a header segment the first separator is itself field 1.
fn cut(text: &str, separator: char) -> Vec<(usize, usize)> {
    let mut fields = Vec::new();
    let Some(rest) = text.get(3..).filter(|rest| rest.starts_with(separator)) else {
        return fields;
    };
    if matches!(&text[..3], "MSH" | "FHS" | "BHS") {
        fields.push((3, 3 + separator.len_utf8()));
    }
    let mut start = 3 + separator.len_utf8();
    for part in rest[separator.len_utf8()..].split(separator) {
        fields.push((start, start + part.len()));
        start += part.len() + separator.len_utf8();
    }
    fields
}

pub(super) fn check(
    segments: &[Segment<'_>],
    message: &Message,
    version: Version,
    options: &Options,
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    for segment in segments {
        if findings.full() {
            return;
        }
        let Some(definition) = dictionary::segment(segment.name()).filter(|known| known.since <= version)
        else {
            if !coverage
                .unknown_segments
                .iter()
                .any(|name| name == segment.name())
            {
                coverage.unknown_segments.push(segment.name().to_owned());
            }
            continue;
        };
        let mut checker = Checker {
            segment,
            separators: message.separators(),
            version,
            options,
            findings: &mut *findings,
        };
        for field in definition.fields.iter().filter(|field| field.exists_in(version)) {
            checker.field(field);
        }
    }
}

/// Where in a field.
#[derive(Clone, Copy, Default)]
struct Place {
    repetition: Option<usize>,
    component: Option<u16>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(repetition) = self.repetition {
            write!(f, "({repetition})")?;
        }
        self.component
            .map_or(Ok(()), |component| write!(f, ".{component}"))
    }
}

struct Checker<'a> {
    segment: &'a Segment<'a>,
    separators: Separators,
    version: Version,
    options: &'a Options,
    findings: &'a mut Findings,
}

/// Explicitly deleted: present, and of every type.
const NULL: &str = "\"\"";

impl Checker<'_> {
    fn field(&mut self, field: &FieldDef) {
        let rules = field.at(self.version);
        let value = self.segment.field(usize::from(field.number)).unwrap_or("");
        if value.is_empty() {
            let missing = rules.optionality == Optionality::Required || self.is_needed(field.number);
            if missing && self.options.required {
                self.add(
                    101,
                    field.number,
                    Place::default(),
                    &format!("{} is required", field.title),
                );
            }
            return;
        }
        // The delimiters are no values.
        if value == NULL || self.segment.is_header() && field.number <= 2 {
            return;
        }
        let separator = self
            .separators
            .repetition()
            .map(char::from)
            .filter(|_| rules.data_type != "FT");
        let repetitions = separator.map_or(1, |separator| value.matches(separator).count() + 1);
        let may_repeat =
            rules.repeats || rules.optionality == Optionality::Backward || rules.data_type == "*";
        if repetitions > 1 && !may_repeat && self.options.required {
            self.add(
                102,
                field.number,
                Place::default(),
                &format!("{} does not repeat", field.title),
            );
        }
        let pieces: Box<dyn Iterator<Item = &str>> = match separator {
            Some(separator) => Box::new(value.split(separator)),
            None => Box::new(std::iter::once(value)),
        };
        for (at, piece) in pieces.enumerate() {
            if self.findings.full() {
                return;
            }
            let place = Place {
                repetition: (repetitions > 1).then_some(at + 1),
                component: None,
            };
            self.repetition(field, &rules, piece, place);
        }
    }

    /// Conditions between fields of one segment that all versions share.
    fn is_needed(&self, number: u16) -> bool {
        let has = |number: usize| self.segment.field(number).is_some_and(|value| !value.is_empty());
        match (self.segment.name(), number) {
            ("OBX", 2) => has(5),
            ("MFE", 5) => has(4) && self.version >= Version::V2_5,
            _ => false,
        }
    }

    fn repetition(&mut self, field: &FieldDef, rules: &FieldRules, value: &str, place: Place) {
        if value.is_empty() || value == NULL {
            return;
        }
        if let Some(longest) = rules.max_length.filter(|_| self.options.lengths)
            && value.chars().count() > longest as usize
        {
            self.add(
                104,
                field.number,
                place,
                &format!("{} is longer than {longest} characters", field.title),
            );
        }
        let data_type = if rules.data_type == "*" {
            self.decided_type(field.number)
        } else {
            rules.data_type
        };
        let Some(definition) = dictionary::data_type(data_type) else {
            return;
        };
        if definition.components.is_empty() {
            self.primitive(field, data_type, value, place, field.title);
            self.table(field, field.table, value, place);
            return;
        }
        let component = char::from(self.separators.component());
        // A coded element takes codes of other systems too, unless HL7 fixes the table.
        let coded = matches!(data_type, "CE" | "CWE" | "CNE" | "CF");
        if !coded
            || field
                .table
                .and_then(dictionary::table)
                .is_some_and(|table| table.fixed)
        {
            self.table(
                field,
                field.table,
                value.split(component).next().unwrap_or(""),
                place,
            );
        }
        for (part, text) in definition.components.iter().zip(value.split(component)) {
            let inside = Place {
                component: Some(part.number),
                ..place
            };
            let text = self.first_subcomponent(text);
            self.primitive(field, part.primitive, text, inside, part.title);
            self.table(field, part.table, text, inside);
        }
    }

    /// The type of OBX-5 stands in OBX-2. Other fields of open type are not checked.
    fn decided_type(&self, number: u16) -> &'static str {
        let named = match (self.segment.name(), number) {
            ("OBX", 5) => self.segment.field(2).unwrap_or(""),
            _ => "",
        };
        dictionary::data_type(named).map_or("ST", |known| known.name)
    }

    fn first_subcomponent<'v>(&self, text: &'v str) -> &'v str {
        match self.separators.subcomponent() {
            Some(separator) => text.split(char::from(separator)).next().unwrap_or(""),
            None => text,
        }
    }

    fn primitive(&mut self, field: &FieldDef, data_type: &str, value: &str, place: Place, title: &str) {
        if value.is_empty() || value == NULL || !self.options.types {
            return;
        }
        if let Some(wanted) = values::fault(data_type, value, self.version) {
            self.add(102, field.number, place, &format!("{title} has to be {wanted}"));
        }
    }

    fn table(&mut self, field: &FieldDef, number: Option<u16>, value: &str, place: Place) {
        if value.is_empty() || value == NULL {
            return;
        }
        let Some(table) = number.and_then(dictionary::table) else {
            return;
        };
        let checked = match self.options.tables {
            Tables::None => false,
            Tables::Fixed => table.fixed,
            Tables::All => true,
        };
        // From 2.7 on codes may be components of a coded element.
        let component = char::from(self.separators.component());
        let value = if self.version >= Version::V2_7 {
            value.split(component).next().unwrap_or("")
        } else {
            value
        };
        if checked && !table.holds(value, self.version) {
            let code = match number {
                Some(103) => 202,
                _ => 103,
            };
            let text = format!("the value is not in table {:04} ({})", table.number, table.title);
            self.add(code, field.number, place, &text);
        }
    }

    fn add(&mut self, code: u16, number: u16, place: Place, text: &str) {
        self.findings
            .add(code, format!("{}-{number}{place}", self.segment.path()), text);
    }
}
