//! Character sets by the names of MSH-18 (HL7 table 0211), and their common aliases.
//!
//! ISO-8859-1, -9 and -11 are the true ISO tables, not the Windows pages that the web uses under these
//! names. A byte without a character reads as U+FFFD; a character without a byte is an error, never a
//! question mark.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::fault::{Fault, FaultKind};

/// A character set that a message can be in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ascii,
    Utf8,
    Latin1,
    Latin5,
    Thai,
    /// Single bytes, ASCII below 128.
    Single(&'static str, &'static Encoding),
    /// Several bytes a character, among them bytes that look like separators: read through UTF-8.
    Multi(&'static str, &'static Encoding),
}

#[allow(non_upper_case_globals, reason = "read like the variants of an enum")]
impl Charset {
    /// 7 bits.
    pub const Ascii: Charset = Charset(Kind::Ascii);
    /// UTF-8.
    pub const Utf8: Charset = Charset(Kind::Utf8);
    /// ISO-8859-1.
    pub const Latin1: Charset = Charset(Kind::Latin1);
    /// Windows-1252: what senders that declare nothing and are not UTF-8 mostly mean.
    pub const Windows1252: Charset = Charset(Kind::Single("windows-1252", encoding_rs::WINDOWS_1252));
}

/// Bytes as a person reads them: a message in its own character set, anything else as UTF-8. What has no
/// character becomes U+FFFD.
pub fn text_of(bytes: &[u8]) -> String {
    match super::Message::parse(bytes.to_vec()) {
        Ok(message) => message.charset().decode(bytes).into_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

impl Charset {
    /// By a name of MSH-18, case and punctuation aside. UTF-16 and UTF-32 are refused: their bytes cannot
    /// carry the separators and framing of HL7.
    pub fn by_name(name: &str) -> Result<Charset, Fault> {
        let key = fold(name);
        let folded = key
            .strip_prefix("UNICODE")
            .filter(|rest| !rest.is_empty())
            .unwrap_or(&key);
        if folded.starts_with("UTF16") || folded.starts_with("UTF32") || folded.starts_with("UCS") {
            return Err(Fault::new(
                FaultKind::Charset,
                "UTF-16 and UTF-32 are not supported: each character there holds zero bytes that break segments and MLLP framing; have the sender use UNICODE UTF-8",
            ));
        }
        kind(folded).map(Charset).ok_or_else(|| {
            Fault::new(
                FaultKind::Charset,
                "the character set is not known; those of HL7 table 0211 are, such as ASCII, 8859/1 to 8859/15 or UNICODE UTF-8",
            )
        })
    }

    /// The name that MSH-18 has for it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Ascii => "ASCII",
            Kind::Utf8 => "UNICODE UTF-8",
            Kind::Latin1 => "8859/1",
            Kind::Latin5 => "8859/9",
            Kind::Thai => "8859/11",
            Kind::Single(name, _) | Kind::Multi(name, _) => name,
        }
    }

    /// Whether a byte below 128 always is the ASCII character of that number.
    pub fn keeps_ascii(self) -> bool {
        !matches!(self.0, Kind::Multi(..))
    }

    /// Text of the bytes; those without a character become U+FFFD. Borrows where it can.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self.0 {
            Kind::Ascii | Kind::Utf8 => utf8(bytes),
            Kind::Multi(_, encoding) => encoding.decode_without_bom_handling(bytes).0,
            _ if bytes.is_ascii() => utf8(bytes),
            Kind::Single(_, encoding) => encoding.decode_without_bom_handling(bytes).0,
            Kind::Latin1 => Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()),
            Kind::Latin5 => Cow::Owned(bytes.iter().map(|&b| latin5(b)).collect()),
            Kind::Thai => Cow::Owned(bytes.iter().map(|&b| thai(b)).collect()),
        }
    }

    /// Bytes of the text; `Err` is the first character that has none.
    pub fn encode(self, text: &str) -> Result<Cow<'_, [u8]>, char> {
        if self.0 == Kind::Utf8 || (text.is_ascii() && self.keeps_ascii()) {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        match self.0 {
            Kind::Single(_, e) | Kind::Multi(_, e) => {
                let (bytes, _, lossy) = e.encode(text);
                if !lossy {
                    return Ok(bytes);
                }
                Err(first_unmapped(text, |c| !e.encode(c.encode_utf8(&mut [0; 4])).2))
            }
            _ => text
                .chars()
                .map(|c| self.byte(c).ok_or(c))
                .collect::<Result<Vec<u8>, char>>()
                .map(Cow::Owned),
        }
    }

    fn byte(self, c: char) -> Option<u8> {
        if c.is_ascii() {
            return u8::try_from(c).ok();
        }
        match self.0 {
            Kind::Latin1 => u8::try_from(c).ok(),
            Kind::Latin5 => (0x80..=0xff).find(|&b| latin5(b) == c),
            Kind::Thai => (0x80..=0xff).find(|&b| thai(b) == c && c != char::REPLACEMENT_CHARACTER),
            _ => None,
        }
    }

    /// Offset of the first byte that cannot be in a message of this character set.
    pub(crate) fn first_invalid(self, bytes: &[u8]) -> Option<usize> {
        match self.0 {
            Kind::Ascii => bytes.iter().position(|b| !b.is_ascii()),
            Kind::Utf8 => std::str::from_utf8(bytes).err().map(|e| e.valid_up_to()),
            Kind::Multi(_, encoding) => {
                let bad = encoding
                    .decode_without_bom_handling_and_without_replacement(bytes)
                    .is_none();
                bad.then_some(0)
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn first_unmapped(text: &str, maps: impl Fn(char) -> bool) -> char {
    text.chars()
        .find(|&c| !maps(c))
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn latin5(b: u8) -> char {
    match b {
        0xd0 => '\u{11e}',
        0xdd => '\u{130}',
        0xde => '\u{15e}',
        0xf0 => '\u{11f}',
        0xfd => '\u{131}',
        0xfe => '\u{15f}',
        b => char::from(b),
    }
}

fn thai(b: u8) -> char {
    match b {
        0xa1..=0xda | 0xdf..=0xfb => {
            char::from_u32(0xe01 + u32::from(b - 0xa1)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        0xdb..=0xde | 0xfc..=0xff => char::REPLACEMENT_CHARACTER,
        b => char::from(b),
    }
}

fn fold(name: &str) -> String {
    let cut = name.chars().filter(char::is_ascii_alphanumeric).take(40);
    cut.map(|c| c.to_ascii_uppercase()).collect()
}

fn kind(folded: &str) -> Option<Kind> {
    use encoding_rs as e;
    let part = folded
        .strip_prefix("ISO8859")
        .or_else(|| folded.strip_prefix("ISOIEC8859"))
        .or_else(|| folded.strip_prefix("8859"));
    if let Some(part) = part {
        return iso_8859(part);
    }
    Some(match folded {
        "ASCII" | "USASCII" | "ANSIX341968" | "ISOIR6" | "ISO646" => Kind::Ascii,
        "UTF8" | "UNICODE" => Kind::Utf8,
        "LATIN1" | "ISOIR100" => Kind::Latin1,
        "WINDOWS1250" | "CP1250" => Kind::Single("windows-1250", e::WINDOWS_1250),
        "WINDOWS1251" | "CP1251" => Kind::Single("windows-1251", e::WINDOWS_1251),
        "WINDOWS1252" | "CP1252" | "ANSI" => Charset::Windows1252.0,
        "WINDOWS1253" | "CP1253" => Kind::Single("windows-1253", e::WINDOWS_1253),
        "WINDOWS1254" | "CP1254" => Kind::Single("windows-1254", e::WINDOWS_1254),
        "WINDOWS1255" | "CP1255" => Kind::Single("windows-1255", e::WINDOWS_1255),
        "WINDOWS1256" | "CP1256" => Kind::Single("windows-1256", e::WINDOWS_1256),
        "WINDOWS1257" | "CP1257" => Kind::Single("windows-1257", e::WINDOWS_1257),
        "KSX1001" | "EUCKR" => Kind::Multi("KS X 1001", e::EUC_KR),
        "GB180302000" | "GB18030" => Kind::Multi("GB 18030-2000", e::GB18030),
        "BIG5" => Kind::Multi("BIG-5", e::BIG5),
        "SHIFTJIS" | "SJIS" => Kind::Multi("SHIFT_JIS", e::SHIFT_JIS),
        "ISOIR14" | "ISOIR87" | "ISO2022JP" => Kind::Multi("ISO IR87", e::ISO_2022_JP),
        _ => return None,
    })
}

fn iso_8859(part: &str) -> Option<Kind> {
    use encoding_rs as e;
    Some(match part {
        "1" => Kind::Latin1,
        "2" => Kind::Single("8859/2", e::ISO_8859_2),
        "3" => Kind::Single("8859/3", e::ISO_8859_3),
        "4" => Kind::Single("8859/4", e::ISO_8859_4),
        "5" => Kind::Single("8859/5", e::ISO_8859_5),
        "6" => Kind::Single("8859/6", e::ISO_8859_6),
        "7" => Kind::Single("8859/7", e::ISO_8859_7),
        "8" => Kind::Single("8859/8", e::ISO_8859_8),
        "9" => Kind::Latin5,
        "10" => Kind::Single("8859/10", e::ISO_8859_10),
        "11" => Kind::Thai,
        "13" => Kind::Single("8859/13", e::ISO_8859_13),
        "14" => Kind::Single("8859/14", e::ISO_8859_14),
        "15" => Kind::Single("8859/15", e::ISO_8859_15),
        "16" => Kind::Single("8859/16", e::ISO_8859_16),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Charset {
        Charset::by_name(name).expect(name)
    }

    #[test]
    fn names_of_table_0211_and_their_aliases_are_known() {
        let cases = [
            ("ASCII", "ASCII"),
            ("", ""),
            ("UNICODE UTF-8", "UNICODE UTF-8"),
            ("utf-8", "UNICODE UTF-8"),
            ("UTF8", "UNICODE UTF-8"),
            ("UNICODE", "UNICODE UTF-8"),
            ("8859/1", "8859/1"),
            ("ISO-8859-1", "8859/1"),
            ("iso8859-15", "8859/15"),
            ("8859/12", ""),
            ("windows-1252", "windows-1252"),
            ("cp1252", "windows-1252"),
            ("GB 18030-2000", "GB 18030-2000"),
            ("BIG-5", "BIG-5"),
            ("EBCDIC", ""),
            ("UNICODE UTF-16", ""),
            ("UTF-16LE", ""),
            ("UTF-32", ""),
        ];
        for (name, expected) in cases {
            let found = Charset::by_name(name).map(Charset::name).unwrap_or_default();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn utf_16_is_refused_with_a_reason() {
        let fault = Charset::by_name("UNICODE UTF-16").expect_err("refused");
        assert!(fault.text.contains("UTF-8"), "{}", fault.text);
    }

    #[test]
    fn the_tables_are_the_true_iso_ones() {
        let cases: [(&str, u8, char); 9] = [
            ("8859/1", 0x80, '\u{80}'),
            ("8859/1", 0xe9, '\u{e9}'),
            ("8859/2", 0xb3, '\u{142}'),
            ("8859/5", 0xb6, '\u{416}'),
            ("8859/7", 0xe1, '\u{3b1}'),
            ("8859/9", 0xfe, '\u{15f}'),
            ("8859/9", 0x80, '\u{80}'),
            ("8859/11", 0xa1, '\u{e01}'),
            ("8859/15", 0xa4, '\u{20ac}'),
        ];
        for (name, byte, c) in cases {
            assert_eq!(named(name).decode(&[byte]), c.to_string(), "{name}");
            let text = c.to_string();
            assert_eq!(named(name).encode(&text).as_deref(), Ok(&[byte][..]), "{name}");
        }
        assert_eq!(Charset::Windows1252.decode(&[0x80]), "\u{20ac}");
    }

    #[test]
    fn every_byte_that_has_a_character_returns_to_itself() {
        let parts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16];
        for charset in parts
            .map(|n| named(&format!("8859/{n}")))
            .into_iter()
            .chain([Charset::Windows1252])
        {
            for b in 0..=255u8 {
                let text = charset.decode(&[b]).into_owned();
                if text == "\u{fffd}" {
                    continue;
                }
                assert_eq!(
                    charset.encode(&text).as_deref(),
                    Ok(&[b][..]),
                    "{charset:?} {b:#x}"
                );
            }
        }
    }

    #[test]
    fn a_character_without_a_place_is_named() {
        for name in ["ASCII", "8859/1", "8859/2", "8859/9", "8859/11", "windows-1252"] {
            assert_eq!(named(name).encode("ab\u{4e2d}"), Err('\u{4e2d}'), "{name}");
        }
        assert_eq!(Charset::Utf8.encode("\u{4e2d}").map(|b| b.len()), Ok(3));
    }
}
