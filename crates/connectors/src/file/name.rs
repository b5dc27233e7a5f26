//! The name of a written file: a pattern whose placeholders are filled with cleaned values, so that no
//! content can leave the directory. Pure.

use std::fmt::Write;

/// Longest cleaned value of one placeholder, in bytes.
const VALUE_MAX: usize = 64;
/// Longest name, in bytes; leaves room for the temporary name within the usual 255.
const NAME_MAX: usize = 220;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Send,
    Message,
    ControlId,
    Connection,
}

/// What the placeholders stand for.
pub(crate) struct Values<'a> {
    pub(crate) send: &'a str,
    pub(crate) message: &'a str,
    pub(crate) control_id: &'a str,
    pub(crate) connection: &'a str,
}

impl Pattern {
    /// Reads a pattern. It must hold `{send}`: without it two sends could share a name, and the later
    /// would overwrite the earlier.
    pub(crate) fn parse(text: &str) -> Result<Pattern, String> {
        if text.contains(['/', '\\', '\0']) || text.chars().any(char::is_control) {
            return Err("a file name has no separators and no control characters".to_owned());
        }
        if text.starts_with('.') {
            return Err("a name that starts with a dot is kept for files being written".to_owned());
        }
        if text.len() > NAME_MAX {
            return Err(format!("longer than {NAME_MAX} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or("a `{` has no `}`")? + open;
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            parts.push(part(&rest[open + 1..close])?);
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        if !parts.contains(&Part::Send) {
            return Err("without {send} one file would overwrite another".to_owned());
        }
        Ok(Pattern(parts))
    }

    /// The name for one send: the same at every attempt.
    pub(crate) fn fill(&self, values: &Values<'_>) -> String {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => name.push_str(text),
                Part::Send => clean(&mut name, values.send),
                Part::Message => clean(&mut name, values.message),
                Part::ControlId => clean(&mut name, values.control_id),
                Part::Connection => clean(&mut name, values.connection),
            }
        }
        name
    }
}

fn part(name: &str) -> Result<Part, String> {
    match name {
        "send" => Ok(Part::Send),
        "message" => Ok(Part::Message),
        "control_id" => Ok(Part::ControlId),
        "connection" => Ok(Part::Connection),
        _ => Err(format!(
            "unknown placeholder {{{name}}}; there are {{send}} {{message}} {{control_id}} {{connection}}"
        )),
    }
}

/// Letters, digits, `-` and `_` stay, a dot only inside; everything else becomes `_`. Empty becomes `_`.
fn clean(name: &mut String, value: &str) {
    let start = name.len();
    for byte in value.bytes().take(VALUE_MAX) {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && name.len() > start);
        name.push(if plain { char::from(byte) } else { '_' });
    }
    if value.is_empty() {
        let _ = name.write_char('_');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pattern: &str, control_id: &str) -> String {
        let values = Values {
            send: "3-1042",
            message: "3-7",
            control_id,
            connection: "OB_X",
        };
        Pattern::parse(pattern).unwrap().fill(&values)
    }

    #[test]
    fn placeholders_are_filled_with_cleaned_values() {
        for (pattern, control_id, name) in [
            ("{send}.hl7", "", "3-1042.hl7"),
            ("{connection}-{message}-{send}", "", "OB_X-3-7-3-1042"),
            (
                "{control_id}_{send}.hl7",
                "../../etc/passwd",
                "_._.._etc_passwd_3-1042.hl7",
            ),
            ("{control_id}{send}", "..", "_.3-1042"),
            ("{control_id}-{send}", "", "_-3-1042"),
            ("{control_id}-{send}", "a\0b\nc\u{e9}", "a_b_c__-3-1042"),
        ] {
            assert_eq!(filled(pattern, control_id), name, "{pattern}");
        }
    }

    #[test]
    fn no_control_id_can_leave_the_directory_or_grow_without_bound() {
        for control_id in ["/", "..", "../x", "\\..\\x", ".hidden", &"x".repeat(10_000)] {
            let name = filled("{control_id}{send}", control_id);
            assert!(
                !name.contains(['/', '\\']) && !name.starts_with('.') && name.len() < 255,
                "{name}"
            );
        }
    }

    #[test]
    fn a_pattern_that_could_overwrite_or_escape_is_refused() {
        for (pattern, says) in [
            ("{control_id}.hl7", "overwrite"),
            ("out.hl7", "overwrite"),
            ("../{send}", "separators"),
            ("a/{send}", "separators"),
            (".{send}", "dot"),
            ("{send}{who}", "unknown placeholder"),
            ("{send", "no `}`"),
        ] {
            let fault = Pattern::parse(pattern).unwrap_err();
            assert!(fault.contains(says), "{pattern}: {fault}");
        }
    }
}
