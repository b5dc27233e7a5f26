//! What the MSH segment says. [`peek`] reads nothing else of a message and allocates nothing: it is all
//! that a listener needs to answer and to route by type.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2};

use super::charset::Charset;
use super::fault::Fault;
use super::message::{Message, start_of_header};
use super::separators::Separators;
use super::view::{Found, find};

/// MSH-1 to MSH-25 is the longest header that HL7 defines.
const FIELDS: usize = 25;

/// The MSH segment of a message. Absent fields read as `""`.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    line: &'a [u8],
    separators: Separators,
    charset: Charset,
    /// Where field n (from MSH-2) begins, at n - 2; one more than the fields present, capped.
    starts: [u32; FIELDS],
    count: usize,
}

/// The header of a message that is not parsed.
pub type Peek<'a> = Header<'a>;

/// Reads the MSH of raw bytes, whatever follows it. Text is read as UTF-8.
pub fn peek(raw: &[u8]) -> Result<Peek<'_>, Fault> {
    let start = start_of_header(raw)?;
    let rest = &raw[start..];
    let line = &rest[..memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())];
    Ok(Header::new(line, Separators::of_header(line)?, Charset::Utf8))
}

impl Message {
    /// The MSH segment, as it stands now.
    pub fn header(&self) -> Header<'_> {
        Header::new(self.view(0).bytes(), self.separators, self.inner())
    }
}

impl<'a> Header<'a> {
    fn new(line: &'a [u8], separators: Separators, charset: Charset) -> Header<'a> {
        let mut starts = [0; FIELDS];
        let mut count = 0;
        for (slot, at) in starts.iter_mut().zip(memchr_iter(separators.field(), line)) {
            *slot = u32::try_from(at + 1).unwrap_or(u32::MAX);
            count += 1;
        }
        Header {
            line,
            separators,
            charset,
            starts,
            count,
        }
    }

    /// The delimiters.
    pub fn separators(&self) -> Separators {
        self.separators
    }

    /// The bytes of field MSH-`number` (2 to 25) as they stand; empty if absent.
    pub fn field(&self, number: usize) -> &'a [u8] {
        let at = match number {
            2.. if number - 2 < self.count => number - 2,
            _ => return b"",
        };
        let rest = &self.line[self.starts[at] as usize..];
        if at + 1 < self.count {
            let end = self.starts[at + 1] - 1 - self.starts[at];
            return &rest[..end as usize];
        }
        &rest[..memchr::memchr(self.separators.field(), rest).unwrap_or(rest.len())]
    }

    fn component(&self, number: usize, component: u16) -> &'a [u8] {
        let field = self.field(number);
        match find(field, Some(self.separators.component()), component) {
            Found::Piece(range) => &field[range],
            Found::Missing(_) => b"",
        }
    }

    fn text(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        self.charset.decode(bytes)
    }

    /// MSH-9.1, such as `ADT`.
    pub fn message_code(&self) -> &'a str {
        plain(self.component(9, 1))
    }

    /// MSH-9.2, such as `A01`.
    pub fn trigger(&self) -> &'a str {
        plain(self.component(9, 2))
    }

    /// MSH-9.3, such as `ADT_A01`.
    pub fn structure(&self) -> &'a str {
        plain(self.component(9, 3))
    }

    /// MSH-10, whole.
    pub fn control_id(&self) -> Cow<'a, str> {
        self.text(self.field(10))
    }

    /// MSH-11.1, such as `P`.
    pub fn processing_id(&self) -> &'a str {
        plain(self.component(11, 1))
    }

    /// MSH-12.1, such as `2.5.1`.
    pub fn version(&self) -> &'a str {
        plain(self.component(12, 1))
    }

    /// MSH-15: when a commit acknowledgement is wanted (`AL`, `NE`, `ER`, `SU`, or empty).
    pub fn accept_ack(&self) -> &'a str {
        plain(self.field(15))
    }

    /// MSH-16: when an application acknowledgement is wanted (`AL`, `NE`, `ER`, `SU`, or empty).
    pub fn application_ack(&self) -> &'a str {
        plain(self.field(16))
    }

    /// MSH-3, whole.
    pub fn sending_application(&self) -> Cow<'a, str> {
        self.text(self.field(3))
    }

    /// MSH-4, whole.
    pub fn sending_facility(&self) -> Cow<'a, str> {
        self.text(self.field(4))
    }

    /// MSH-5, whole.
    pub fn receiving_application(&self) -> Cow<'a, str> {
        self.text(self.field(5))
    }

    /// MSH-6, whole.
    pub fn receiving_facility(&self) -> Cow<'a, str> {
        self.text(self.field(6))
    }
}

fn plain(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl std::fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("type", &(self.message_code(), self.trigger()))
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str =
        "MSH|^~\\&|LAB|ACME|EHR^1|CLINIC|20260101||ADT^A01^ADT_A01|M-1|P^T|2.5.1^X|||AL|NE|||\rPID|1";

    #[test]
    fn the_header_reads_alike_peeked_and_parsed() {
        let message = Message::parse(FULL).expect("well formed");
        for h in [peek(FULL.as_bytes()).expect("well formed"), message.header()] {
            let ids = [
                h.message_code(),
                h.trigger(),
                h.structure(),
                h.processing_id(),
                h.version(),
                h.accept_ack(),
                h.application_ack(),
            ];
            assert_eq!(ids, ["ADT", "A01", "ADT_A01", "P", "2.5.1", "AL", "NE"]);
            assert_eq!(h.control_id(), "M-1");
            assert_eq!(h.sending_application(), "LAB");
            assert_eq!(h.sending_facility(), "ACME");
            assert_eq!(h.receiving_application(), "EHR^1");
            assert_eq!(h.receiving_facility(), "CLINIC");
            assert_eq!(h.field(2), b"^~\\&");
            assert_eq!(h.field(19), b"");
            assert_eq!(h.field(99), b"");
        }
    }

    #[test]
    fn short_and_odd_headers_read_as_far_as_they_go() {
        let cases = [
            ("MSH|^", "", "", ""),
            ("MSH|^~\\&", "", "", ""),
            ("\u{feff}\r\n MSH|^~\\&|A\nPID|1", "A", "", ""),
            ("MSH|^~\\&|A||||||ACK|77", "A", "ACK", "77"),
            ("MSH$%*!@$A$B$C$D$T$S$ADT%A01$77$P\r", "A", "ADT", "77"),
        ];
        for (raw, application, code, id) in cases {
            let h = peek(raw.as_bytes()).expect(raw);
            assert_eq!(h.sending_application(), application, "{raw}");
            assert_eq!(h.message_code(), code, "{raw}");
            assert_eq!(h.control_id(), id, "{raw}");
        }
    }

    #[test]
    fn a_header_longer_than_hl7_defines_is_read_to_its_twenty_fifth_field() {
        let raw = format!(
            "MSH|^~\\&|{}",
            (3..40).map(|n| n.to_string()).collect::<Vec<_>>().join("|")
        );
        let h = peek(raw.as_bytes()).expect("well formed");
        assert_eq!(h.field(25), b"25");
        assert_eq!(h.field(26), b"26");
        assert_eq!(h.field(27), b"");
    }
}
