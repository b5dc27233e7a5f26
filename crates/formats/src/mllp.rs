//! MLLP framing: VT, body, FS, CR.
//!
//! Pure: bytes in, items out; incomplete is not an error. Each byte is looked at once, however the stream
//! is cut. Buffered bytes are bounded by the longest frame and what the caller reads at a time. Nothing is
//! dropped in silence: bytes between frames, a frame without trailer and one that is too long are items of
//! their own. (Line breaks between frames are harmless and frequent; they are skipped.)
//!
//! A trailer without its CR is accepted where the next frame begins or the stream ends right after FS.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use tokio_util::codec::{Decoder, Encoder};

/// Begins a frame.
pub const VT: u8 = 0x0b;
/// Ends a body.
pub const FS: u8 = 0x1c;
/// Ends a frame.
pub const CR: u8 = 0x0d;

/// How much of a frame that is too long is handed over, in bytes.
pub const HEAD_MAX: usize = 64 << 10;

/// What came off the wire.
#[derive(Clone, PartialEq, Eq)]
pub enum Item {
    /// A body, without framing. Shares the read buffer: a caller that keeps it for long copies it.
    Frame(Bytes),
    /// Bytes between frames, dropped.
    Junk {
        /// How many.
        bytes: usize,
    },
    /// A frame that had no trailer when the next one began or the stream ended.
    Unterminated(Bytes),
    /// A frame longer than allowed. The codec yields nothing after it: close the connection.
    Oversized {
        /// Its first bytes, 64 KiB at most.
        head: Bytes,
    },
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, bytes) = match self {
            Item::Frame(body) => ("Frame", body.len()),
            Item::Junk { bytes } => ("Junk", *bytes),
            Item::Unterminated(part) => ("Unterminated", part.len()),
            Item::Oversized { head } => ("Oversized", head.len()),
        };
        write!(f, "{name}({bytes} bytes)")
    }
}

/// Frames and unframes.
#[derive(Clone, Debug)]
pub struct Codec {
    max_frame: usize,
    state: State,
    /// Junk since the last item.
    junk: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    /// Behind VT; the first `scanned` bytes hold no end.
    Inside {
        scanned: usize,
    },
    /// Behind an oversized frame.
    Closed,
}

impl Codec {
    /// A codec for bodies of at most `max_frame` bytes.
    pub fn new(max_frame: usize) -> Codec {
        Codec {
            max_frame,
            state: State::Between,
            junk: 0,
        }
    }

    /// Whether a frame has begun and not ended: a read time-out counts from here.
    pub fn in_frame(&self) -> bool {
        matches!(self.state, State::Inside { .. })
    }

    /// Drops what precedes a frame; junk, once it is over, is reported.
    fn between(&mut self, src: &mut BytesMut) -> Option<Item> {
        let start = memchr(VT, src);
        let skipped = start.unwrap_or(src.len());
        self.junk += src[..skipped]
            .iter()
            .filter(|&&b| !matches!(b, b'\r' | b'\n'))
            .count();
        src.advance(skipped);
        start?;
        src.advance(1);
        self.state = State::Inside { scanned: 0 };
        self.take_junk()
    }

    fn take_junk(&mut self) -> Option<Item> {
        let bytes = std::mem::take(&mut self.junk);
        (bytes > 0).then_some(Item::Junk { bytes })
    }

    fn inside(&mut self, src: &mut BytesMut, mut at: usize) -> Option<Item> {
        while let Some(i) = memchr2(VT, FS, &src[at..]) {
            at += i;
            if at > self.max_frame {
                return Some(self.oversized(src));
            }
            let ends = match (src[at], src.get(at + 1)) {
                (VT, _) => Some((false, 1)),
                (_, Some(&CR)) => Some((true, 2)),
                (_, Some(&VT)) => Some((true, 1)),
                (_, Some(_)) => None,
                (_, None) => {
                    self.state = State::Inside { scanned: at };
                    return None;
                }
            };
            if let Some((complete, trailer)) = ends {
                return Some(self.cut(src, at, complete, trailer));
            }
            at += 1;
        }
        if src.len() > self.max_frame {
            return Some(self.oversized(src));
        }
        self.state = State::Inside { scanned: src.len() };
        None
    }

    fn cut(&mut self, src: &mut BytesMut, at: usize, complete: bool, trailer: usize) -> Item {
        let body = src.split_to(at).freeze();
        src.advance(trailer);
        if complete {
            self.state = State::Between;
            return Item::Frame(body);
        }
        self.state = State::Inside { scanned: 0 };
        Item::Unterminated(body)
    }

    fn oversized(&mut self, src: &mut BytesMut) -> Item {
        self.state = State::Closed;
        let head = Bytes::copy_from_slice(&src[..src.len().min(HEAD_MAX)]);
        src.clear();
        Item::Oversized { head }
    }
}

impl Decoder for Codec {
    type Item = Item;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Item>> {
        if self.state == State::Between
            && let Some(junk) = self.between(src)
        {
            return Ok(Some(junk));
        }
        Ok(match self.state {
            State::Inside { scanned } => self.inside(src, scanned),
            State::Between => None,
            State::Closed => {
                src.clear();
                None
            }
        })
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> io::Result<Option<Item>> {
        if let Some(item) = self.decode(src)? {
            return Ok(Some(item));
        }
        if !self.in_frame() {
            return Ok(self.take_junk());
        }
        self.state = State::Between;
        let mut body = src.split().freeze();
        if body.last() == Some(&FS) {
            body.truncate(body.len() - 1);
            return Ok(Some(Item::Frame(body)));
        }
        Ok(Some(Item::Unterminated(body)))
    }
}

impl Encoder<Bytes> for Codec {
    type Error = io::Error;

    fn encode(&mut self, body: Bytes, dst: &mut BytesMut) -> io::Result<()> {
        if breaks_framing(&body) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the body holds a framing byte (VT or FS) and cannot be sent by MLLP",
            ));
        }
        write(&body, dst);
        Ok(())
    }
}

/// Whether a body holds VT or FS, at which the receiver would cut it.
pub fn breaks_framing(body: &[u8]) -> bool {
    memchr2(VT, FS, body).is_some()
}

/// Writes a frame into a buffer. The body is not checked: see [`breaks_framing`].
pub fn write(body: &[u8], dst: &mut BytesMut) {
    dst.reserve(body.len() + 3);
    dst.put_u8(VT);
    dst.put_slice(body);
    dst.put_slice(&[FS, CR]);
}

/// A frame around a body. The body is not checked: see [`breaks_framing`].
pub fn frame(body: &[u8]) -> Bytes {
    let mut dst = BytesMut::with_capacity(body.len() + 3);
    write(body, &mut dst);
    dst.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(chunks: &[&[u8]], max_frame: usize) -> Vec<Item> {
        let mut codec = Codec::new(max_frame);
        let (mut buffer, mut items) = (BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.put_slice(chunk);
            while let Some(item) = codec.decode(&mut buffer).expect("never fails") {
                items.push(item);
            }
        }
        while let Some(item) = codec.decode_eof(&mut buffer).expect("never fails") {
            items.push(item);
        }
        items
    }

    fn body(text: &'static str) -> Item {
        Item::Frame(Bytes::from_static(text.as_bytes()))
    }

    fn part(text: &'static str) -> Item {
        Item::Unterminated(Bytes::from_static(text.as_bytes()))
    }

    fn cases() -> Vec<(&'static [u8], Vec<Item>)> {
        vec![
            (b"", vec![]),
            (b"\x0bA\x1c\r", vec![body("A")]),
            (b"\x0b\x1c\r", vec![body("")]),
            (b"\x0bA\x1c\r\x0bB\x1c\r", vec![body("A"), body("B")]),
            (b"\x0bA\x1c\r\r\n\x0bB\x1c\r", vec![body("A"), body("B")]),
            (b"xyz\x0bA\x1c\r", vec![Item::Junk { bytes: 3 }, body("A")]),
            (b"\x0bA\x1c\rxy", vec![body("A"), Item::Junk { bytes: 2 }]),
            (b"\x0bA\x1c\x0bB\x1c\r", vec![body("A"), body("B")]),
            (b"\x0bA\x1c", vec![body("A")]),
            (b"\x0bA\x1cB\x1c\r", vec![body("A\x1cB")]),
            (b"\x0bA\x0bB\x1c\r", vec![part("A"), body("B")]),
            (b"\x0bA\r\x0bB", vec![part("A\r"), part("B")]),
            (b"\x0b", vec![part("")]),
            (b"MSH|no frame at all", vec![Item::Junk { bytes: 19 }]),
        ]
    }

    #[test]
    fn every_stream_yields_its_items() {
        for (stream, expected) in cases() {
            assert_eq!(all(&[stream], 100), expected, "{stream:?}");
        }
    }

    #[test]
    fn where_the_stream_is_cut_makes_no_difference() {
        for (stream, expected) in cases() {
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(all(&bytes, 100), expected, "{stream:?} by the byte");
            for cut in 0..stream.len() {
                let (a, b) = stream.split_at(cut);
                assert_eq!(all(&[a, b], 100), expected, "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream() {
        let head = |text: &'static str| Item::Oversized {
            head: Bytes::from_static(text.as_bytes()),
        };
        assert_eq!(all(&[b"\x0b12345\x1c\r"], 5), [body("12345")]);
        assert_eq!(all(&[b"\x0b123456"], 5), [head("123456")]);
        assert_eq!(
            all(&[b"\x0bA\x1c\r\x0b12345", b"6", b"7\x1c\r\x0bB\x1c\r"], 5),
            [body("A"), head("123456")]
        );
        let long = vec![b'x'; HEAD_MAX + 10];
        assert_eq!(
            all(&[b"\x0b", &long], 10),
            [Item::Oversized {
                head: Bytes::from(vec![b'x'; HEAD_MAX])
            }]
        );
    }

    #[test]
    fn a_long_frame_that_dribbles_in_is_looked_at_once() {
        let mut codec = Codec::new(1 << 20);
        let mut buffer = BytesMut::with_capacity(1 << 20);
        buffer.put_u8(VT);
        for _ in 0..300_000 {
            buffer.put_u8(b'x');
            assert_eq!(codec.decode(&mut buffer).expect("never fails"), None);
            assert_eq!(
                codec.state,
                State::Inside {
                    scanned: buffer.len()
                }
            );
        }
    }

    #[test]
    fn a_body_with_framing_bytes_is_not_sent() {
        let mut codec = Codec::new(100);
        let mut dst = BytesMut::new();
        codec
            .encode(Bytes::from_static(b"MSH|"), &mut dst)
            .expect("clean");
        assert_eq!(&dst[..], b"\x0bMSH|\x1c\r");
        assert_eq!(frame(b"MSH|"), &dst[..]);
        for body in [&b"a\x0bb"[..], b"a\x1cb", b"\x1c\r"] {
            assert!(codec.encode(Bytes::from_static(body), &mut dst).is_err());
        }
        assert_eq!(dst.len(), 7, "a refused body leaves nothing behind");
    }
}
