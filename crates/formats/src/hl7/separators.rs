//! The delimiters of one message, read from its MSH segment and never assumed.
//!
//! MSH-2 may be short: what it leaves out does not exist in that message, so `&` is an ordinary
//! character in a message that begins with `MSH|^~\|`.

use super::fault::{Fault, FaultKind};

/// The delimiters of one message. All are ASCII, none is a letter, a digit or a line break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Separators {
    field: u8,
    component: u8,
    rest: [u8; 4],
}

const REPETITION: usize = 0;
const ESCAPE: usize = 1;
const SUBCOMPONENT: usize = 2;
const TRUNCATION: usize = 3;

impl Default for Separators {
    /// `|^~\&`, what nearly everybody uses.
    fn default() -> Self {
        Separators {
            field: b'|',
            component: b'^',
            rest: [b'~', b'\\', b'&', 0],
        }
    }
}

impl Separators {
    /// Reads them from a header line that begins with a three-letter name (`MSH`, `BHS`, `FHS`).
    pub fn of_header(line: &[u8]) -> Result<Separators, Fault> {
        let &field = line
            .get(3)
            .ok_or_else(|| refuse("the header ends before its field separator (MSH-1)", 3))?;
        check(field, 3)?;
        let encoding = line.get(4..).unwrap_or_default();
        let end = encoding
            .iter()
            .position(|&b| b == field || b == b'\r' || b == b'\n')
            .unwrap_or(encoding.len());
        Self::from_parts(field, encoding.get(..end).unwrap_or_default())
    }

    /// From MSH-1 and MSH-2: one to five encoding characters.
    pub fn from_parts(field: u8, encoding: &[u8]) -> Result<Separators, Fault> {
        if encoding.is_empty() {
            return Err(refuse(
                "MSH-2 is empty: it must name at least the component separator, usually ^~\\&",
                4,
            ));
        }
        if encoding.len() > 5 {
            return Err(refuse(
                "MSH-2 is longer than five characters: it holds the encoding characters only, usually ^~\\&",
                9,
            ));
        }
        let mut all = [0u8; 6];
        all[0] = field;
        for (i, &b) in encoding.iter().enumerate() {
            check(b, 4 + i)?;
            if all[..=i].contains(&b) {
                return Err(refuse(
                    "MSH-1 and MSH-2 name the same character twice: every separator must be its own",
                    4 + i,
                ));
            }
            all[i + 1] = b;
        }
        Ok(Separators {
            field,
            component: all[1],
            rest: [all[2], all[3], all[4], all[5]],
        })
    }

    /// MSH-1, usually `|`.
    pub fn field(&self) -> u8 {
        self.field
    }

    /// First of MSH-2, usually `^`.
    pub fn component(&self) -> u8 {
        self.component
    }

    /// Second of MSH-2, usually `~`.
    pub fn repetition(&self) -> Option<u8> {
        self.optional(REPETITION)
    }

    /// Third of MSH-2, usually `\`.
    pub fn escape(&self) -> Option<u8> {
        self.optional(ESCAPE)
    }

    /// Fourth of MSH-2, usually `&`.
    pub fn subcomponent(&self) -> Option<u8> {
        self.optional(SUBCOMPONENT)
    }

    /// Fifth of MSH-2, since v2.7, usually `#`.
    pub fn truncation(&self) -> Option<u8> {
        self.optional(TRUNCATION)
    }

    fn optional(&self, which: usize) -> Option<u8> {
        Some(self.rest[which]).filter(|&b| b != 0)
    }

    /// MSH-2 as it stands, usually `^~\&`.
    pub fn encoding_characters(&self) -> String {
        std::iter::once(self.component)
            .chain(self.rest.into_iter().take_while(|&b| b != 0))
            .map(char::from)
            .collect()
    }
}

fn check(b: u8, offset: usize) -> Result<(), Fault> {
    if b.is_ascii() && !b.is_ascii_alphanumeric() && !b.is_ascii_control() && b != b' ' {
        return Ok(());
    }
    Err(refuse(
        "a separator in MSH-1 or MSH-2 is a letter, a digit, a blank, a control character or not ASCII: the usual ones are |^~\\&",
        offset,
    ))
}

fn refuse(text: &str, offset: usize) -> Fault {
    let path = if offset <= 3 { "MSH-1" } else { "MSH-2" };
    Fault::new(FaultKind::Separators, text).at(offset).on(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_msh_2_leaves_out_does_not_exist() {
        let cases: [(&str, [Option<u8>; 4]); 6] = [
            ("MSH|^~\\&|", [Some(b'~'), Some(b'\\'), Some(b'&'), None]),
            ("MSH|^~\\&#|A", [Some(b'~'), Some(b'\\'), Some(b'&'), Some(b'#')]),
            ("MSH|^~\\|A", [Some(b'~'), Some(b'\\'), None, None]),
            ("MSH|^~", [Some(b'~'), None, None, None]),
            ("MSH|^", [None; 4]),
            ("MSH$%*!@$A\rPID", [Some(b'*'), Some(b'!'), Some(b'@'), None]),
        ];
        for (line, expected) in cases {
            let s = Separators::of_header(line.as_bytes()).expect(line);
            let found = [s.repetition(), s.escape(), s.subcomponent(), s.truncation()];
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn unusable_separators_are_refused_with_their_place() {
        let cases = [
            ("MSH", 3),
            ("MSH|", 4),
            ("MSH||A", 4),
            ("MSHA^~\\&A", 3),
            ("MSH\r^~\\&", 3),
            ("MSH|^^\\&|", 5),
            ("MSH|^~\\|", 99),
            ("MSH|^~\\&#!|", 9),
            ("MSH|^a|", 5),
            ("MSH|\u{fc}|", 4),
        ];
        for (line, offset) in cases {
            match Separators::of_header(line.as_bytes()) {
                Ok(_) => assert_eq!(offset, 99, "{line}"),
                Err(f) => assert_eq!(f.offset, Some(offset), "{line}"),
            }
        }
    }
}
