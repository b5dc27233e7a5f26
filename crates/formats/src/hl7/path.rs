//! Where something stands in a message: `SEG[(occurrence)][-field[(repetition)][.component[.subcomponent]]]`.
//!
//! All numbers count from 1. A path without a repetition addresses the whole field as long as no component
//! is named (`PID-3` is all repetitions), and the first repetition once one is (`PID-3.1`).

use std::fmt;
use std::str::FromStr;

/// A three-character segment name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; 3]);

impl Name {
    pub(crate) const MSH: Name = Name(*b"MSH");

    /// The name that these bytes begin with; `None` unless three ASCII letters or digits, a letter first.
    pub(crate) fn of(bytes: &[u8]) -> Option<Name> {
        let &[a, b, c, ..] = bytes else { return None };
        let fits = a.is_ascii_alphabetic() && b.is_ascii_alphanumeric() && c.is_ascii_alphanumeric();
        fits.then_some(Name([a, b, c]))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether field 1 is the separator itself.
    pub(crate) fn is_header(self) -> bool {
        matches!(&self.0, b"MSH" | b"BHS" | b"FHS")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place inside one segment: `3`, `3(2)`, `3.1`, `3(2).1.4`. Numbers count from 1; 0 = not given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FieldPath {
    field: u16,
    repetition: u16,
    component: u16,
    subcomponent: u16,
}

impl FieldPath {
    /// The whole field of that number (counted from 1; 0 is taken as 1).
    pub fn new(field: u16) -> FieldPath {
        FieldPath {
            field: field.max(1),
            repetition: 0,
            component: 0,
            subcomponent: 0,
        }
    }

    /// The same place in repetition `n`.
    pub fn with_repetition(mut self, n: u16) -> FieldPath {
        self.repetition = n;
        self
    }

    /// Component `n` of the field.
    pub fn with_component(mut self, n: u16) -> FieldPath {
        self.component = n;
        self
    }

    /// Subcomponent `n` of the component (of the first one, if none was given).
    pub fn with_subcomponent(mut self, n: u16) -> FieldPath {
        self.component = self.component.max(1);
        self.subcomponent = n;
        self
    }

    /// The field's number.
    pub fn field(&self) -> u16 {
        self.field
    }

    /// The repetition's number, if given.
    pub fn repetition(&self) -> Option<u16> {
        given(self.repetition)
    }

    /// The component's number, if given.
    pub fn component(&self) -> Option<u16> {
        given(self.component)
    }

    /// The subcomponent's number, if given.
    pub fn subcomponent(&self) -> Option<u16> {
        given(self.subcomponent)
    }
}

fn given(n: u16) -> Option<u16> {
    Some(n).filter(|&n| n > 0)
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.field)?;
        if let Some(n) = self.repetition() {
            write!(f, "({n})")?;
        }
        if let Some(n) = self.component() {
            write!(f, ".{n}")?;
        }
        if let Some(n) = self.subcomponent() {
            write!(f, ".{n}")?;
        }
        Ok(())
    }
}

/// A place in a message. Small and `Copy`; parse it once when it is used often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    name: Name,
    occurrence: u32,
    within: Option<FieldPath>,
}

impl Path {
    /// The segment's name.
    pub fn segment(&self) -> &str {
        self.name.as_str()
    }

    /// Which of the segments of that name, counted from 1, if given. Not given means the first.
    pub fn occurrence(&self) -> Option<u32> {
        Some(self.occurrence).filter(|&n| n > 0)
    }

    /// The place inside the segment; `None` = the whole segment.
    pub fn within(&self) -> Option<&FieldPath> {
        self.within.as_ref()
    }

    /// The field's number, if one is given.
    pub fn field(&self) -> Option<u16> {
        self.within.map(|w| w.field)
    }

    /// The same place in the `n`-th segment of that name.
    pub fn with_occurrence(mut self, n: u32) -> Path {
        self.occurrence = n;
        self
    }

    /// The same place in the `n`-th repetition; a path to a whole segment stays as it is.
    pub fn with_repetition(mut self, n: u16) -> Path {
        self.within = self.within.map(|w| w.with_repetition(n));
        self
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    pub(crate) fn build(name: Name, occurrence: u32, within: Option<FieldPath>) -> Path {
        Path {
            name,
            occurrence,
            within,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(n) = self.occurrence() {
            write!(f, "({n})")?;
        }
        match self.within {
            Some(within) => write!(f, "-{within}"),
            None => Ok(()),
        }
    }
}

/// A path that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}{}", suggestion.as_ref().map(|s| format!(": write `{s}`")).unwrap_or_default())]
pub struct PathError {
    /// Byte offset in the path's text.
    pub position: usize,
    /// For a person.
    pub text: String,
    /// A path that would be accepted and is probably meant.
    pub suggestion: Option<String>,
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        let mut cursor = Cursor { text, at: 0 };
        path(&mut cursor).map_err(|(position, what)| explain(text, position, what))
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<FieldPath, PathError> {
        let mut cursor = Cursor { text, at: 0 };
        let parsed = field_path(&mut cursor).and_then(|p| cursor.end().map(|()| p));
        parsed.map_err(|(position, what)| PathError {
            position,
            text: format!(
                "{what} at character {} of the field path `{}`",
                position + 1,
                shown(text)
            ),
            suggestion: None,
        })
    }
}

type Refusal = (usize, &'static str);

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, b: u8) -> bool {
        let found = self.peek() == Some(b);
        self.at += usize::from(found);
        found
    }

    fn number(&mut self, max: u32) -> Result<u32, Refusal> {
        let start = self.at;
        let mut n: u32 = 0;
        while let Some(d @ b'0'..=b'9') = self.peek() {
            n = n.saturating_mul(10).saturating_add(u32::from(d - b'0'));
            self.at += 1;
        }
        match n {
            _ if self.at == start => Err((start, "a number is expected")),
            0 => Err((start, "numbers count from 1")),
            n if n > max => Err((start, "the number is too large")),
            n => Ok(n),
        }
    }

    fn small(&mut self) -> Result<u16, Refusal> {
        let n = self.number(u32::from(u16::MAX))?;
        Ok(u16::try_from(n).unwrap_or(u16::MAX))
    }

    fn bracketed(&mut self, max: u32) -> Result<u32, Refusal> {
        if !self.take(b'(') {
            return Ok(0);
        }
        let n = self.number(max)?;
        if self.take(b')') {
            return Ok(n);
        }
        Err((self.at, "a closing bracket is expected"))
    }

    fn end(&self) -> Result<(), Refusal> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err((self.at, "this character is not expected")),
        }
    }
}

fn path(cursor: &mut Cursor<'_>) -> Result<Path, Refusal> {
    let bytes = cursor.text.as_bytes();
    let name = Name::of(bytes).ok_or((0, "a segment name of three characters is expected"))?;
    if name.0.iter().any(u8::is_ascii_lowercase) {
        return Err((0, "segment names are written in capitals"));
    }
    cursor.at = 3;
    let occurrence = cursor.bracketed(u32::MAX - 1)?;
    let within = match cursor.peek() {
        None => None,
        Some(b'-') => {
            cursor.at += 1;
            Some(field_path(cursor)?)
        }
        Some(_) => return Err((cursor.at, "a hyphen before the field number is expected")),
    };
    cursor.end()?;
    Ok(Path {
        name,
        occurrence,
        within,
    })
}

fn field_path(cursor: &mut Cursor<'_>) -> Result<FieldPath, Refusal> {
    let field = cursor.small()?;
    let repetition = cursor.bracketed(u32::from(u16::MAX))?;
    let mut rest = [0u16; 2];
    for slot in &mut rest {
        if !cursor.take(b'.') {
            break;
        }
        *slot = cursor.small()?;
    }
    Ok(FieldPath {
        field,
        repetition: u16::try_from(repetition).unwrap_or(u16::MAX),
        component: rest[0],
        subcomponent: rest[1],
    })
}

#[cold]
fn explain(text: &str, position: usize, what: &str) -> PathError {
    let suggestion = repair(text).filter(|fixed| fixed.parse::<Path>().is_ok());
    let text = format!(
        "{what} at character {} of the path `{}`; the form is SEG(occurrence)-field(repetition).component.subcomponent, as in PID-3.1",
        position + 1,
        shown(text),
    );
    PathError {
        position,
        text,
        suggestion,
    }
}

/// The usual slips: lower case, `PID.3.1`, `PID-3-1`, `PID-3[1]`, `PID3`, blanks.
fn repair(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '[' => '(',
            ']' => ')',
            c => c,
        })
        .collect();
    if plain.len() > 40 || !plain.is_char_boundary(3) || plain.len() < 3 {
        return None;
    }
    let (name, rest) = plain.split_at(3);
    let (bracket, rest) = match rest.find(')').filter(|_| rest.starts_with('(')) {
        Some(close) => rest.split_at(close + 1),
        None => ("", rest),
    };
    let rest = rest
        .trim_start_matches(['.', '-', '_', ':', '/'])
        .replace(['-', '_', ':', '/'], ".");
    let hyphen = if rest.is_empty() { "" } else { "-" };
    let fixed = format!("{}{bracket}{hyphen}{rest}", name.to_ascii_uppercase());
    (fixed != text).then_some(fixed)
}

fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_it_was_read() {
        let cases = [
            "PID",
            "OBX(12)",
            "PID-3",
            "PID-3.1",
            "PID-3(2)",
            "PID-3(2).1",
            "OBX(2)-5(1).1.2",
            "ZXX-1",
            "PV1-44",
            "MSH-9.2",
            "OBX(10000)-5(65535).65535.1",
        ];
        for text in cases {
            let path: Path = text.parse().expect(text);
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn a_wrong_path_is_refused_with_its_place_and_a_repair() {
        let cases = [
            ("", 0, None),
            ("PI", 0, None),
            ("pid-3", 0, Some("PID-3")),
            ("PID.3.1", 3, Some("PID-3.1")),
            ("PID3", 3, Some("PID-3")),
            ("PID-3-1", 5, Some("PID-3.1")),
            ("PID-3[2].1", 5, Some("PID-3(2).1")),
            ("OBX[2]-5", 3, Some("OBX(2)-5")),
            ("PID-0", 4, None),
            ("PID-", 4, Some("PID")),
            ("PID-3.", 6, None),
            ("PID-3(2", 7, None),
            ("PID-99999", 4, None),
            ("PID-99999999999999999999", 4, None),
            ("PID-3.1.2.3", 9, None),
            ("PID-3 ", 5, Some("PID-3")),
            ("\u{fc}\u{fc}-3", 0, None),
        ];
        for (text, position, suggestion) in cases {
            let error = text.parse::<Path>().expect_err(text);
            assert_eq!(error.position, position, "{text}");
            assert_eq!(error.suggestion.as_deref(), suggestion, "{text}");
        }
    }

    #[test]
    fn a_field_path_stands_for_a_place_in_any_segment() {
        for text in ["5", "5.1", "5(3)", "5(3).1.2"] {
            assert_eq!(text.parse::<FieldPath>().expect(text).to_string(), text);
        }
        for text in ["", "0", "5.", "5.0", "OBX-5", "5.1.2.3"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }
}
