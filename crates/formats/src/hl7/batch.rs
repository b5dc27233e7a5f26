//! Files and batches: FHS and BHS envelopes, or messages one after the other, cut into messages.
//!
//! Zero-copy: each message is a slice of what was given, with its line breaks. Envelope segments are not
//! part of any message. Counts in BTS-1 and FTS-1 and the presence of trailers are checked; what does not
//! agree is reported beside the messages, because the messages are good all the same: the caller decides.
//! MLLP framing bytes that some senders leave in files are taken off.

use bytes::Bytes;
use memchr::{memchr2, memmem};

use super::fault::{Fault, FaultKind};
use super::message::BOM;
use super::path::Name;

/// What a file held.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The messages, in order. Each begins with MSH.
    pub messages: Vec<Bytes>,
    /// Batches begun by a BHS.
    pub batches: usize,
    /// Whether there was an FHS.
    pub file_header: bool,
    /// Where envelope and content disagree: a truncated or tampered file.
    pub mismatches: Vec<Mismatch>,
}

/// A disagreement of envelope and content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// BTS-1 or FTS-1 declares another number than there is.
    #[error("{trailer}-1 at byte {offset} declares {declared}, but {found} came")]
    Count {
        /// `BTS` (messages) or `FTS` (batches).
        trailer: &'static str,
        /// What it says.
        declared: u64,
        /// What there is.
        found: usize,
        /// Byte offset of the trailer.
        offset: usize,
    },
    /// A header without its trailer: the file is probably cut off.
    #[error("the trailer {trailer} is missing: the file is probably cut off")]
    NoTrailer {
        /// `BTS` or `FTS`.
        trailer: &'static str,
    },
    /// A trailer without its header.
    #[error("{trailer} at byte {offset} has no header before it")]
    NoHeader {
        /// `BTS` or `FTS`.
        trailer: &'static str,
        /// Byte offset of the trailer.
        offset: usize,
    },
}

/// Whether the bytes are more than one bare message: an envelope, or a second MSH.
pub fn is_batch(raw: &[u8]) -> bool {
    let start = content_start(raw);
    let rest = &raw[start..];
    if rest.starts_with(b"FHS") || rest.starts_with(b"BHS") {
        return true;
    }
    rest.starts_with(b"MSH")
        && memmem::find_iter(rest, b"MSH").any(|at| {
            let before = rest[..at].last();
            matches!(before, Some(b'\r' | b'\n' | 0x0b)) && rest.get(at + 3) == rest.get(3)
        })
}

/// Cuts a file into its messages. A single message gives itself. Lines outside any message that are no
/// envelope make a fault, because they would be lost.
pub fn split(bytes: impl Into<Bytes>) -> Result<Batch, Fault> {
    let bytes = bytes.into();
    let mut splitter = Splitter {
        bytes: &bytes,
        batch: Batch::default(),
        message: None,
        in_batch: None,
        in_file: None,
        envelope: false,
    };
    let mut at = content_start(&bytes);
    while at < bytes.len() {
        let end = memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |i| at + i);
        splitter.line(at, end)?;
        at = end + 1;
    }
    splitter.finish()
}

fn content_start(raw: &[u8]) -> usize {
    let skip = if raw.starts_with(BOM) { BOM.len() } else { 0 };
    let blank = raw[skip..]
        .iter()
        .position(|&b| !(b.is_ascii_whitespace() || b == 0x0b));
    blank.map_or(raw.len(), |i| skip + i)
}

struct Splitter<'a> {
    bytes: &'a Bytes,
    batch: Batch,
    /// Where the message in hand begins.
    message: Option<usize>,
    /// How many messages there were when the batch in hand began.
    in_batch: Option<usize>,
    /// The same, and how many batches, when the file in hand began.
    in_file: Option<(usize, usize)>,
    /// Behind an envelope segment: other segments than MSH belong to the envelope.
    envelope: bool,
}

impl Splitter<'_> {
    fn line(&mut self, at: usize, end: usize) -> Result<(), Fault> {
        let framing = self.bytes[at..end].iter().take_while(|&&b| b == 0x0b).count();
        let at = at + framing;
        let line = &self.bytes[at..end];
        match line.get(..3).filter(|_| names_end(line)) {
            Some(b"MSH") => {
                self.close(at);
                self.message = Some(at);
            }
            Some(b"FHS") => self.file_header(at),
            Some(b"BHS") => self.batch_header(at),
            Some(b"BTS") => self.batch_trailer(at, line),
            Some(b"FTS") => self.file_trailer(at, line),
            _ => return self.content(at, line),
        }
        Ok(())
    }

    fn content(&self, at: usize, line: &[u8]) -> Result<(), Fault> {
        let blank = line.iter().all(|&b| b <= b' ');
        let of_envelope = self.envelope && Name::of(line).is_some() && names_end(line);
        if self.message.is_some() || blank || of_envelope {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Batch,
            "a line outside any message: a file of HL7 v2 holds messages that begin with MSH, and FHS, BHS, BTS and FTS around them",
        )
        .at(at))
    }

    fn file_header(&mut self, at: usize) {
        self.close(at);
        self.end_file();
        self.batch.file_header = true;
        self.in_file = Some((self.batch.messages.len(), self.batch.batches));
        self.envelope = true;
    }

    fn batch_header(&mut self, at: usize) {
        self.close(at);
        self.end_batch();
        self.batch.batches += 1;
        self.in_batch = Some(self.batch.messages.len());
        self.envelope = true;
    }

    /// A batch that ends without its BTS.
    fn end_batch(&mut self) {
        if self.in_batch.take().is_some() {
            self.batch.mismatches.push(Mismatch::NoTrailer { trailer: "BTS" });
        }
    }

    /// A file that ends without its FTS.
    fn end_file(&mut self) {
        self.end_batch();
        if self.in_file.take().is_some() {
            self.batch.mismatches.push(Mismatch::NoTrailer { trailer: "FTS" });
        }
    }

    fn batch_trailer(&mut self, at: usize, line: &[u8]) {
        self.close(at);
        self.envelope = true;
        let before = self.in_batch.take();
        if before.is_none() {
            self.no_header("BTS", at);
        }
        let found = self.batch.messages.len() - before.unwrap_or(0);
        self.compare("BTS", line, found, at);
    }

    fn file_trailer(&mut self, at: usize, line: &[u8]) {
        self.close(at);
        self.end_batch();
        self.envelope = true;
        let before = self.in_file.take();
        if before.is_none() {
            self.no_header("FTS", at);
        }
        let (messages, batches) = before.unwrap_or_default();
        let (messages, batches) = (self.batch.messages.len() - messages, self.batch.batches - batches);
        // Without BHS the whole file is one batch, and some senders count its messages.
        let lenient = batches == 0 && declared(line).is_some_and(|n| n <= 1 || n == messages as u64);
        if !lenient {
            self.compare("FTS", line, batches, at);
        }
    }

    fn no_header(&mut self, trailer: &'static str, offset: usize) {
        self.batch.mismatches.push(Mismatch::NoHeader { trailer, offset });
    }

    fn compare(&mut self, trailer: &'static str, line: &[u8], found: usize, offset: usize) {
        let Some(declared) = declared(line) else { return };
        if declared != found as u64 {
            self.batch.mismatches.push(Mismatch::Count {
                trailer,
                declared,
                found,
                offset,
            });
        }
    }

    /// Ends the message in hand before `at`.
    fn close(&mut self, at: usize) {
        self.envelope = false;
        let Some(start) = self.message.take() else { return };
        let mut body = &self.bytes[start..at];
        while let [rest @ .., 0x0b] = body {
            body = rest;
        }
        if let Some(framed) =
            memchr::memrchr(0x1c, body).filter(|&i| body[i + 1..].iter().all(u8::is_ascii_whitespace))
        {
            body = &body[..framed];
        }
        self.batch.messages.push(self.bytes.slice_ref(body));
    }

    fn finish(mut self) -> Result<Batch, Fault> {
        self.close(self.bytes.len());
        self.end_file();
        Ok(self.batch)
    }
}

/// Whether a name of three characters ends where it should.
fn names_end(line: &[u8]) -> bool {
    line.get(3).is_none_or(|b| !b.is_ascii_alphanumeric())
}

/// The number in the first field of a trailer.
fn declared(line: &[u8]) -> Option<u64> {
    let &separator = line.get(3)?;
    let field = line[4..].split(|&b| b == separator).next()?;
    let digits: &[u8] = field.trim_ascii();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1: &str = "MSH|^~\\&|A\rPID|1\r";
    const M2: &str = "MSH|^~\\&|B\rPID|2\r";

    fn texts(batch: &Batch) -> Vec<&str> {
        batch
            .messages
            .iter()
            .map(|m| std::str::from_utf8(m).expect("text"))
            .collect()
    }

    #[test]
    fn every_arrangement_gives_the_messages_byte_for_byte() {
        let cases = [
            String::new() + M1 + M2,
            format!("{M1}\r\n\r\n{M2}"),
            format!("FHS|^~\\&|X\rBHS|^~\\&|Y\r{M1}{M2}BTS|2\rFTS|1\r"),
            format!("FHS|^~\\&|X\r{M1}{M2}FTS|2\r"),
            format!("\u{feff}\r\nBHS|^~\\&\rNTE|1||of the batch\r{M1}{M2}BTS|2||X"),
            format!("BHS|^~\\&\r{M1}BTS|1\rBHS|^~\\&\r{M2}BTS| 1 \r"),
            format!("BHS|^~\\&\r{M1}{M2}BTS\r"),
            format!("\u{b}{M1}\u{1c}\r\u{b}{M2}\u{1c}\r"),
        ];
        for file in cases {
            let batch = split(file.clone()).expect(&file);
            let trimmed: Vec<&str> = texts(&batch)
                .into_iter()
                .map(|m| m.trim_end_matches(['\r', '\n']))
                .collect();
            assert_eq!(trimmed, [M1.trim_end(), M2.trim_end()], "{file:?}");
            assert_eq!(batch.mismatches, [], "{file:?}");
            assert!(is_batch(file.as_bytes()), "{file:?}");
        }
    }

    #[test]
    fn one_bare_message_is_itself_and_no_batch() {
        let batch = split(M1).expect("a message");
        assert_eq!(texts(&batch), [M1]);
        for single in [M1, "\r\nMSH|^~\\&|A\rNTE|1||MSH|x\r", "PID|1", ""] {
            assert!(!is_batch(single.as_bytes()), "{single}");
        }
        assert!(split("").expect("nothing").messages.is_empty());
    }

    #[test]
    fn what_the_envelope_says_is_compared_with_what_came() {
        let count = |trailer, declared, found, offset| Mismatch::Count {
            trailer,
            declared,
            found,
            offset,
        };
        let (bts, fts) = (
            Mismatch::NoTrailer { trailer: "BTS" },
            Mismatch::NoTrailer { trailer: "FTS" },
        );
        let cases = [
            (format!("BHS|^\r{M1}BTS|2\r"), vec![count("BTS", 2, 1, 23)]),
            (
                format!("FHS|^\rBHS|^\r{M1}BTS|1\rFTS|3\r"),
                vec![count("FTS", 3, 1, 35)],
            ),
            (format!("FHS|^\rBHS|^\r{M1}"), vec![bts.clone(), fts.clone()]),
            (format!("FHS|^\r{M1}"), vec![fts]),
            (format!("BHS|^\r{M1}BHS|^\r{M2}BTS|1\r"), vec![bts]),
            (
                format!("{M1}BTS|1\r"),
                vec![Mismatch::NoHeader {
                    trailer: "BTS",
                    offset: 17,
                }],
            ),
        ];
        for (file, expected) in cases {
            assert_eq!(split(file.clone()).expect(&file).mismatches, expected, "{file:?}");
        }
    }

    #[test]
    fn lines_that_would_be_lost_are_refused_with_their_place() {
        for (file, offset) in [
            ("hello", 0),
            ("BHS|^\rgarbage here\r", 6),
            ("\n\nPID|1\rMSH|^~\\&|", 2),
        ] {
            assert_eq!(split(file).expect_err(file).offset, Some(offset), "{file}");
        }
    }
}
