//! Escape sequences: `\F\ \S\ \T\ \R\ \E\ \P\ \Xhh..\`. Whatever else stands between two escape characters
//! (`\H\`, `\.br\`, `\C..\`, own `\Z..\`) is formatting or a choice of character set, and is kept.
//!
//! `unescape(escape(x)) == x` for every text and every message that declares all its separators.

use std::borrow::Cow;

use super::separators::Separators;

/// What stands behind a level of addressing: which separators are structure, which are content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    Field,
    Repetition,
    Component,
    Subcomponent,
}

/// Text as a person means it: separators and hex sequences decoded, unknown sequences kept.
pub fn unescape<'a>(text: &'a str, separators: &Separators) -> Cow<'a, str> {
    let Some(esc) = separators.escape().map(char::from) else {
        return Cow::Borrowed(text);
    };
    if !text.contains(esc) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(esc) {
        let (before, after) = (&rest[..start], &rest[start + 1..]);
        out.push_str(before);
        let Some(end) = after.find(esc) else {
            rest = &rest[start..];
            break;
        };
        match decode(&after[..end], separators) {
            Some(decoded) => {
                out.push_str(&decoded);
                rest = &after[end + 1..];
            }
            None if is_sequence(&after[..end]) => {
                out.push_str(&rest[start..start + end + 2]);
                rest = &after[end + 1..];
            }
            // A lone escape character: the one that follows may begin a sequence.
            None => {
                out.push(esc);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Text that reads back as it is: separators, the escape character and bytes that would break segments or
/// framing are escaped. Without an escape character in MSH-2 nothing can be escaped: the text is unchanged.
pub fn escape<'a>(text: &'a str, separators: &Separators) -> Cow<'a, str> {
    let Some(esc) = separators.escape() else {
        return Cow::Borrowed(text);
    };
    rewrite(text, separators, esc, Level::Subcomponent, false)
}

/// Escapes what would act as structure at or above `level`, keeps sequences that are there already.
/// `None` = something needs escaping and the message has no escape character.
pub(crate) fn protect<'a>(text: &'a str, separators: &Separators, level: Level) -> Option<Cow<'a, str>> {
    match separators.escape() {
        Some(esc) => Some(rewrite(text, separators, esc, level, true)),
        None if text
            .bytes()
            .any(|b| letter(b, separators, level).is_some() || breaks(b)) =>
        {
            None
        }
        None => Some(Cow::Borrowed(text)),
    }
}

fn rewrite<'a>(text: &'a str, separators: &Separators, esc: u8, level: Level, keep: bool) -> Cow<'a, str> {
    let special = |b: u8| b == esc || breaks(b) || letter(b, separators, level).is_some();
    let Some(first) = text.bytes().position(special) else {
        return Cow::Borrowed(text);
    };
    let e = char::from(esc);
    let mut out = String::with_capacity(text.len() + 16);
    let (plain, mut rest) = text.split_at(first);
    out.push_str(plain);
    while let Some(&b) = rest.as_bytes().first() {
        if b == esc {
            let end = rest[1..]
                .find(e)
                .filter(|&end| keep && is_sequence(&rest[1..=end]));
            let taken = end.map_or(1, |end| end + 2);
            match end {
                Some(_) => out.push_str(&rest[..taken]),
                None => out.extend([e, 'E', e]),
            }
            rest = &rest[taken..];
            continue;
        }
        if let Some(letter) = letter(b, separators, level) {
            out.extend([e, letter, e]);
            rest = &rest[1..];
        } else if breaks(b) {
            out.push_str(&format!("{e}X{b:02X}{e}"));
            rest = &rest[1..];
        }
        let plain = rest.bytes().position(special).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
    }
    Cow::Owned(out)
}

/// Line breaks end segments; VT and FS frame messages on the wire.
fn breaks(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | 0x0b | 0x1c)
}

fn letter(b: u8, s: &Separators, level: Level) -> Option<char> {
    let hit = |sep: Option<u8>| sep == Some(b);
    match () {
        () if b == s.field() => Some('F'),
        () if level >= Level::Repetition && hit(s.repetition()) => Some('R'),
        () if level >= Level::Component && b == s.component() => Some('S'),
        () if level >= Level::Subcomponent && hit(s.subcomponent()) => Some('T'),
        () => None,
    }
}

fn decode(body: &str, s: &Separators) -> Option<Cow<'static, str>> {
    let one = |b: u8| Some(Cow::Owned(char::from(b).to_string()));
    match body {
        "F" => one(s.field()),
        "S" => one(s.component()),
        "R" => s.repetition().and_then(one),
        "T" => s.subcomponent().and_then(one),
        "E" => s.escape().and_then(one),
        "P" => s.truncation().and_then(one),
        _ => hex(body.strip_prefix('X')?).map(Cow::Owned),
    }
}

fn hex(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

/// Whether the text between two escape characters is a sequence that HL7 defines (or a site's own `Z`).
fn is_sequence(body: &str) -> bool {
    let mut chars = body.chars();
    let Some(first) = chars.next() else { return false };
    let rest = chars.as_str();
    let all_hex = rest.bytes().all(|b| b.is_ascii_hexdigit());
    match first {
        'F' | 'S' | 'T' | 'R' | 'E' | 'P' | 'H' | 'N' => rest.is_empty(),
        'X' => !rest.is_empty() && rest.len().is_multiple_of(2) && all_hex,
        'C' => rest.len() == 4 && all_hex,
        'M' => matches!(rest.len(), 4 | 6) && all_hex,
        'Z' => rest.len() <= 64 && rest.bytes().all(|b| b.is_ascii_alphanumeric()),
        '.' => is_format_command(rest),
        _ => false,
    }
}

fn is_format_command(rest: &str) -> bool {
    let number = match rest.get(..2) {
        Some("br" | "sp" | "fi" | "nf" | "in" | "ti" | "sk" | "ce") => &rest[2..],
        _ => return false,
    };
    let digits = number.trim_start().trim_start_matches(['+', '-']);
    digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sequences_are_decoded_and_others_kept() {
        let s = Separators::default();
        let cases = [
            ("plain", "plain"),
            (r"a\T\b", "a&b"),
            (r"\F\\S\\R\\E\", r"|^~\"),
            (r"\X0D\\X0A\", "\r\n"),
            (r"\XC3A9\", "\u{e9}"),
            (r"\X4\ \XE9\ \XZZ\", r"\X4\ \XE9\ \XZZ\"),
            (r"\H\bold\N\", r"\H\bold\N\"),
            (r"one\.br\two", r"one\.br\two"),
            (r"C:\dir", r"C:\dir"),
            (r"C:\dir\T\", r"C:\dir&"),
            (r"\", r"\"),
            (r"\\", r"\\"),
            (r"\P\", r"\P\"),
        ];
        for (text, expected) in cases {
            assert_eq!(unescape(text, &s), expected, "{text}");
        }
    }

    #[test]
    fn escaping_leaves_nothing_that_acts_as_structure() {
        let s = Separators::default();
        assert_eq!(escape("plain", &s), "plain");
        assert_eq!(escape("a|b^c~d\\e&f\r\n", &s), r"a\F\b\S\c\R\d\E\e\T\f\X0D\\X0A\");
        assert_eq!(escape(r"\T\", &s), r"\E\T\E\");
    }

    #[test]
    fn protection_keeps_sequences_and_the_structure_below_its_level() {
        let s = Separators::default();
        let cases = [
            (Level::Field, "a|b~c^d&e", r"a\F\b~c^d&e"),
            (Level::Repetition, "a|b~c^d&e", r"a\F\b\R\c^d&e"),
            (Level::Component, "a|b~c^d&e", r"a\F\b\R\c\S\d&e"),
            (Level::Subcomponent, "a|b~c^d&e", r"a\F\b\R\c\S\d\T\e"),
            (Level::Field, r"x\T\y\.br\z\X0D\", r"x\T\y\.br\z\X0D\"),
            (Level::Field, r"C:\dir", r"C:\E\dir"),
            (Level::Field, "two\rlines", r"two\X0D\lines"),
        ];
        for (level, text, expected) in cases {
            assert_eq!(protect(text, &s, level).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn without_an_escape_character_only_harmless_text_passes() {
        let s = Separators::of_header(b"MSH|^~|").expect("short");
        assert_eq!(
            protect("a&b\\c", &s, Level::Subcomponent).as_deref(),
            Some("a&b\\c")
        );
        assert_eq!(protect("a|b", &s, Level::Field), None);
        assert_eq!(protect("a\rb", &s, Level::Field), None);
    }
}
