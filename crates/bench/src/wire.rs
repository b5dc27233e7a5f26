//! The little of MLLP and HL7 that a load generator reads by itself: where frames begin and end, and
//! which message a reply answers.
//!
//! Kept apart from the engine's own framing on purpose: were both built on one codec, a fault in it
//! would cancel out and the judge would see nothing.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const RETURN: u8 = 0x0D;

/// A peer sent a frame longer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("a frame is longer than {limit} bytes")]
pub struct TooLong {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Cuts a stream of bytes into MLLP bodies.
#[derive(Debug)]
pub struct Frames {
    scanned: usize,
    limit: usize,
}

impl Frames {
    /// Frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Frames {
        Frames { scanned: 0, limit }
    }

    /// The next complete body at the front of `buffer`; bytes outside frames are skipped. `None`
    /// asks for more bytes.
    ///
    /// # Errors
    /// [`TooLong`] once a frame has passed the limit; the connection is of no more use.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, TooLong> {
        if self.scanned == 0 {
            let junk = memchr(START, buffer).unwrap_or(buffer.len());
            buffer.advance(junk);
        }
        let mut from = self.scanned.max(1);
        while let Some(offset) = buffer.get(from..).and_then(|rest| memchr(END, rest)) {
            let end = from + offset;
            match buffer.get(end + 1) {
                None => {
                    self.scanned = end;
                    return self.check(end).map(|()| None);
                }
                Some(&RETURN) => {
                    self.scanned = 0;
                    self.check(end)?;
                    let mut frame = buffer.split_to(end + 2);
                    frame.advance(1);
                    frame.truncate(end - 1);
                    return Ok(Some(frame.freeze()));
                }
                Some(_) => from = end + 1,
            }
        }
        self.scanned = buffer.len();
        self.check(buffer.len()).map(|()| None)
    }

    fn check(&self, length: usize) -> Result<(), TooLong> {
        if length > self.limit {
            Err(TooLong { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// Appends `body` as one MLLP frame.
pub fn push_frame(out: &mut Vec<u8>, body: &[u8]) {
    out.push(START);
    out.extend_from_slice(body);
    push_frame_end(out);
}

/// Appends the start of a frame, for a body written in pieces.
pub fn push_frame_start(out: &mut Vec<u8>) {
    out.push(START);
}

/// Appends the end of a frame.
pub fn push_frame_end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[END, RETURN]);
}

/// One field of the MSH segment by its HL7 number (MSH-1 is the separator itself), as it stands.
pub fn header_field(body: &[u8], number: usize) -> Option<&[u8]> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let separator = *body.strip_prefix(b"MSH")?.first()?;
    let line = body.split(|&byte| byte == b'\r' || byte == b'\n').next()?;
    // Splitting at MSH-1 leaves the name at 0 and MSH-2 at 1.
    line.split(|&byte| byte == separator).nth(number.checked_sub(1)?)
}

/// What a reply says: MSA-1 and MSA-2, as they stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// MSA-1, such as `AA`.
    pub code: &'a [u8],
    /// MSA-2: the control id of the message that is answered.
    pub control_id: &'a [u8],
    /// MSA-3, empty when absent.
    pub text: &'a [u8],
}

impl Reply<'_> {
    /// Whether the partner took the message (AA or CA).
    pub fn accepts(&self) -> bool {
        matches!(self.code, b"AA" | b"CA")
    }
}

/// Reads a reply; `None` when the bytes are not an HL7 acknowledgement.
pub fn reply(body: &[u8]) -> Option<Reply<'_>> {
    let separator = *body.strip_prefix(b"MSH")?.first()?;
    let start = memmem::find_iter(body, b"MSA").find(|&at| {
        at > 0 && matches!(body[at - 1], b'\r' | b'\n') && body.get(at + 3) == Some(&separator)
    })?;
    let line = body[start..]
        .split(|&byte| byte == b'\r' || byte == b'\n')
        .next()?;
    let mut fields = line.split(|&byte| byte == separator).skip(1);
    Some(Reply {
        code: fields.next()?,
        control_id: fields.next()?,
        text: fields.next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], chunk: usize) -> Vec<Bytes> {
        let (mut frames, mut buffer, mut bodies) = (Frames::new(1 << 20), BytesMut::new(), Vec::new());
        for piece in stream.chunks(chunk) {
            buffer.extend_from_slice(piece);
            while let Some(body) = frames.next(&mut buffer).unwrap() {
                bodies.push(body);
            }
        }
        bodies
    }

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let stream = b"junk\x0Bone\x1C\r\n\x0Btwo\x1Cx\x1C\r\x0B\x1C\r\x0Bunfinished";
        for chunk in 1..stream.len() {
            assert_eq!(cut(stream, chunk), ["one", "two\x1Cx", ""], "chunks of {chunk}");
        }
    }

    #[test]
    fn a_frame_past_the_limit_is_refused_before_its_end_is_seen() {
        let mut buffer = BytesMut::from(&b"\x0Btoo long for this"[..]);
        assert!(Frames::new(8).next(&mut buffer).is_err());
    }

    #[test]
    fn header_fields_count_as_in_hl7() {
        let body = b"MSH|^~\\&|APP|FAC|||20240101||ADT^A01|ID7|P|2.5\rPID|1";
        for (number, value) in [(2, "^~\\&"), (3, "APP"), (9, "ADT^A01"), (10, "ID7"), (12, "2.5")] {
            assert_eq!(header_field(body, number), Some(value.as_bytes()), "MSH-{number}");
        }
        assert_eq!(header_field(body, 13), None);
        assert_eq!(header_field(b"PID|1", 3), None);
    }

    #[test]
    fn a_reply_names_the_message_it_answers() {
        let read = reply(b"MSH|^~\\&|A|B|MSA|X\rMSA|AE|ID7|no bed\r").unwrap();
        assert_eq!(
            (read.code, read.control_id, read.text),
            (&b"AE"[..], &b"ID7"[..], &b"no bed"[..])
        );
        assert!(!read.accepts());
        for not_a_reply in [
            "",
            "MSH|^~\\&",
            "MSH|^~\\&|\rMSA|AA",
            "HTTP/1.1 400 Bad Request",
            "MSA|AA|1",
        ] {
            assert_eq!(reply(not_a_reply.as_bytes()), None, "{not_a_reply}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), chunk in 1..9_usize) {
            let _ = reply(&bytes);
            let _ = header_field(&bytes, 10);
            cut(&bytes, chunk);
        }
    }
}
