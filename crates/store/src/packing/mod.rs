//! How bodies lie in the database. Each body stands beside a number (`enc`) that says how to read its bytes:
//!
//! | number | the bytes are |
//! |---|---|
//! | 0 | the body itself |
//! | 1 | a zstd frame made with the dictionary `hl7-1.dict` |
//! | 2 | none of it: retention removed the body, and how long it was is left (8 bytes, little-endian) where it is told |
//!
//! A number is never given another meaning, and a dictionary is never changed: what was written with it stays
//! readable. A better dictionary gets the next number. Sealed bodies will get numbers of their own, here; until
//! then no other number is written, and one that is unknown is an error that says so.
//!
//! Bodies are packed by the thread that submits them, before they are queued: the one writer thread has only
//! bytes to copy, and packing uses as many cores as there are callers.

mod frame;

use model::{Body, RowId};

use crate::{Entry, Unit};

/// The body itself.
const PLAIN: i16 = 0;
/// A frame made with the first dictionary.
const FRAME_1: i16 = 1;
/// Nothing of the body. The statements that read and write rows without bodies name this number.
pub(crate) const REMOVED: i16 = 2;

/// Bytes at the beginning of a packed body that tell how long it is when unpacked.
pub(crate) const HEAD_BYTES: usize = frame::HEAD_BYTES;

/// Bodies shorter than this are left as they are: hardly anything is gained.
const LENGTH_MIN: usize = 64;
/// Bodies longer than this are left as they are, so that nothing packed may claim to be longer. No backend takes
/// a unit of this size.
const LENGTH_MAX: usize = 256 << 20;

/// Which body of which row, for the messages of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// As a message arrived.
    Message(i64),
    /// What a send carries.
    Send(i64),
    /// A partner's reply to a send.
    Reply(i64),
}

/// Makes the place of a body out of a row's number.
pub(crate) type PlaceOf = fn(i64) -> Place;

/// A body that cannot be read back. Says which one, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} cannot be read: {why}", self.place.words())]
pub(crate) struct Fault {
    place: Place,
    why: Why,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("it is packed in a way ({0}) that this version does not know; it was written by a newer one")]
    Unknown(i64),
    #[error("its bytes are damaged ({0}); restore the store from a backup")]
    Damaged(String),
    #[error("its bytes are damaged (it claims to be {0} bytes long); restore the store from a backup")]
    TooLong(u64),
}

impl Place {
    fn words(self) -> String {
        match self {
            Place::Message(id) => format!("the body of message {}", RowId(id)),
            Place::Send(id) => format!("the body of send {}", RowId(id)),
            Place::Reply(id) => format!("the reply to send {}", RowId(id)),
        }
    }
}

/// A unit whose bodies are as they will lie in the database.
#[derive(Debug)]
pub(crate) struct Packed {
    unit: Unit,
    /// One for each entry, or none at all when every body is plain.
    encodings: Vec<i16>,
}

impl Packed {
    /// Packs what gains by it; `compress` = whether to try at all.
    pub(crate) fn new(mut unit: Unit, compress: bool) -> Packed {
        let mut encodings = Vec::new();
        if compress {
            let count = unit.entries.len();
            for (index, entry) in unit.entries.iter_mut().enumerate() {
                let Some(body) = body_of(entry) else { continue };
                let Some(packed) = pack(body) else { continue };
                *body = packed;
                encodings.resize(count, PLAIN);
                encodings[index] = FRAME_1;
            }
        }
        Packed { unit, encodings }
    }

    /// The unit, its bodies packed.
    pub(crate) fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Its entries, each with the number that says how its body is packed.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Entry, i16)> {
        let encodings = self.encodings.iter().copied().chain(std::iter::repeat(PLAIN));
        self.unit.entries.iter().zip(encodings)
    }

    /// Rough size in bytes, as written.
    pub(crate) fn weight(&self) -> usize {
        self.unit.weight()
    }
}

/// No entry has more than one.
fn body_of(entry: &mut Entry) -> Option<&mut Body> {
    match entry {
        Entry::Message(new) => Some(&mut new.body),
        Entry::Send(new) => new.body.as_mut(),
        Entry::Outcome(new) => new.reply.as_mut(),
        _ => None,
    }
}

/// The packed form, unless it would not be shorter.
fn pack(body: &[u8]) -> Option<Body> {
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&body.len()) {
        return None;
    }
    frame::pack(body).map(Body::from)
}

/// The body that was packed into `bytes`, exactly; `enc` is the number beside it. `None`: retention removed it.
pub(crate) fn unpack(place: Place, enc: i64, bytes: Vec<u8>) -> Result<Option<Body>, Fault> {
    let body = if enc == i64::from(PLAIN) {
        Ok(Some(bytes))
    } else if enc == i64::from(FRAME_1) {
        frame::unpack(&bytes, LENGTH_MAX).map(Some)
    } else if enc == i64::from(REMOVED) {
        Ok(None)
    } else {
        Err(Why::Unknown(enc))
    };
    body.map(|body| body.map(Body::from))
        .map_err(|why| Fault { place, why })
}

/// What is left of a body of `size` bytes that retention removes; [`REMOVED`] stands beside it.
pub(crate) fn remnant(size: u64) -> Vec<u8> {
    size.to_le_bytes().to_vec()
}

/// How long the body is whose packed form has `length` bytes and begins with `head` ([`HEAD_BYTES`] of them, or
/// all there are).
pub(crate) fn size(place: Place, enc: i64, head: &[u8], length: u64) -> Result<u64, Fault> {
    let size = if enc == i64::from(PLAIN) {
        Ok(length)
    } else if enc == i64::from(FRAME_1) {
        frame::size(head, LENGTH_MAX)
    } else if enc == i64::from(REMOVED) {
        let left = head.try_into().map(u64::from_le_bytes);
        left.map_err(|_| Why::Damaged("its length is not there".to_owned()))
    } else {
        Err(Why::Unknown(enc))
    };
    size.map_err(|why| Fault { place, why })
}

#[cfg(test)]
mod tests;
