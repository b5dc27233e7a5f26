//! A message: shared bytes, an index of offsets, and the segments that were edited.
//!
//! Reading never copies (except to decode a foreign character set). A clone shares bytes, index and edited
//! segments. An unedited message encodes to exactly the bytes that came in; of an edited one, every
//! untouched segment does, line break included.
//!
//! Character set: MSH-18 decides. A message that declares none is read as UTF-8 where its bytes are valid
//! UTF-8, else as Windows-1252 (which has every printable character of ISO-8859-1). A byte order mark means
//! UTF-8. Sets in which a separator's byte can be part of another character (GB 18030, Big5, ISO-2022-JP) are
//! read through UTF-8; there MSH-1 to MSH-18 themselves must be ASCII, or the inbound must force the set.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::charset::Charset;
use super::fault::{Fault, FaultKind};
use super::index::{Index, ParseOptions, scan};
use super::own::Own;
use super::path::{FieldPath, Name, Path, PathError};
use super::separators::Separators;
use super::view::{View, count};

/// A parsed HL7 v2 message.
#[derive(Clone)]
pub struct Message {
    pub(crate) raw: Bytes,
    /// UTF-8 of the message, when its own bytes cannot be searched for separators.
    pub(crate) transcoded: Option<Bytes>,
    pub(crate) index: Arc<Index>,
    pub(crate) separators: Separators,
    /// What the outside sees.
    pub(crate) charset: Charset,
    /// `None` = as received.
    pub(crate) edits: Option<Vec<Slot>>,
}

/// One segment of an edited message.
#[derive(Clone)]
pub(crate) enum Slot {
    /// The n-th of the index, untouched.
    Base(u32),
    /// Changed or added.
    Own(Arc<Own>),
}

impl Slot {
    /// Its number in the index, if it came from there.
    pub(crate) fn origin(&self) -> Option<u32> {
        match self {
            Slot::Base(base) => Some(*base),
            Slot::Own(own) => own.origin,
        }
    }
}

/// A segment's place and name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentRef {
    /// Its name.
    pub name: Name,
    /// Its position in the message, from 0 (the MSH).
    pub index: usize,
    /// Which of the segments of that name it is, from 1.
    pub occurrence: usize,
}

impl Message {
    /// Parses with the default limits.
    pub fn parse(raw: impl Into<Bytes>) -> Result<Message, Fault> {
        Message::parse_with(raw, &ParseOptions::default())
    }

    /// Parses with limits and character set of the caller's choice.
    pub fn parse_with(raw: impl Into<Bytes>, options: &ParseOptions) -> Result<Message, Fault> {
        let raw = raw.into();
        let start = start_of_header(&raw)?;
        let separators = Separators::of_header(&raw[start..]).map_err(|f| shift(f, start))?;
        let index = scan(&raw, start, separators.field(), options)?;
        let ascii = raw.is_ascii();
        let mut message = Message {
            raw,
            transcoded: None,
            index: Arc::new(index),
            separators,
            charset: Charset::Utf8,
            edits: None,
        };
        let charset = message.choose_charset(options, ascii)?;
        message.adopt(charset, ascii, options)?;
        Ok(message)
    }

    fn choose_charset(&self, options: &ParseOptions, ascii: bool) -> Result<Charset, Fault> {
        if let Some(forced) = options.forced_charset {
            return Ok(forced);
        }
        if self.raw.starts_with(BOM) {
            return Ok(Charset::Utf8);
        }
        let declared = self
            .view(0)
            .get(&FieldPath::new(18), &self.separators)
            .unwrap_or_default();
        match declared_charset(declared, &self.separators) {
            Some(Ok(charset)) => Ok(charset),
            // Nothing in it depends on the name.
            Some(Err(fault)) if ascii && fault.kind == FaultKind::Charset && !is_wide(declared) => {
                Ok(Charset::Ascii)
            }
            Some(Err(fault)) => Err(fault),
            None => Ok(options.default_charset.unwrap_or_else(|| self.guess(ascii))),
        }
    }

    fn guess(&self, ascii: bool) -> Charset {
        if ascii || std::str::from_utf8(&self.raw).is_ok() {
            return Charset::Utf8;
        }
        Charset::Windows1252
    }

    /// Checks the bytes against the character set, and reads them through UTF-8 where that is needed.
    fn adopt(&mut self, charset: Charset, ascii: bool, options: &ParseOptions) -> Result<(), Fault> {
        self.charset = charset;
        if charset.keeps_ascii() {
            let bad = if ascii { None } else { self.first_invalid(charset) };
            return bad.map_or(Ok(()), |at| Err(undecodable(charset, Some(at))));
        }
        if charset.first_invalid(&self.raw).is_some() {
            return Err(undecodable(charset, None));
        }
        if ascii && !self.raw.contains(&0x1b) {
            return Ok(());
        }
        let text = Bytes::from(charset.decode(&self.raw).into_owned());
        let start = start_of_header(&text)?;
        self.index = Arc::new(scan(&text, start, self.separators.field(), options)?);
        self.transcoded = Some(text);
        Ok(())
    }

    fn first_invalid(&self, charset: Charset) -> Option<usize> {
        let skip = if self.raw.starts_with(BOM) { BOM.len() } else { 0 };
        charset.first_invalid(&self.raw[skip..]).map(|at| at + skip)
    }

    /// The bytes as received.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Whether something was set, deleted, added or removed.
    pub fn is_edited(&self) -> bool {
        self.edits.is_some()
    }

    /// The delimiters, from MSH-1 and MSH-2.
    pub fn separators(&self) -> Separators {
        self.separators
    }

    /// The character set of the bytes that `encode` gives.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// The text at a path as it stands, escapes kept. `None` = absent, `Some("")` = present and empty,
    /// `Some("\"\"")` = the HL7 null. A path to a segment gives its text without line break.
    pub fn get(&self, path: &Path) -> Option<Cow<'_, str>> {
        let view = self.find(path)?;
        let bytes = match path.within() {
            Some(within) => view.get(within, &self.separators)?,
            None => view.bytes(),
        };
        Some(self.inner().decode(bytes))
    }

    /// Every text at a path, as [`Message::get`] gives one: of all segments of that name where the path does not
    /// say which, and of all repetitions where it does not say which.
    pub fn each(&self, path: &Path, mut visit: impl FnMut(Cow<'_, str>)) {
        let Some(within) = path.within() else { return };
        let of_name = (0..self.len()).filter(|&at| self.name_of(at) == path.name());
        let (skipped, taken) = match path.occurrence() {
            Some(nth) => (nth as usize - 1, 1),
            None => (0, usize::MAX),
        };
        for at in of_name.skip(skipped).take(taken) {
            let repetitions = match within.repetition() {
                Some(_) => 1,
                None => self.repetitions_at(at, within),
            };
            for number in 1..=repetitions {
                let place = match (repetitions, u16::try_from(number)) {
                    (1, _) | (_, Err(_)) => *within,
                    (_, Ok(number)) => within.with_repetition(number),
                };
                if let Some(text) = self.get_at(at, &place) {
                    visit(text);
                }
            }
        }
    }

    /// As [`Message::get`], with the path as text.
    pub fn get_str(&self, path: &str) -> Result<Option<Cow<'_, str>>, PathError> {
        Ok(self.get(&path.parse()?))
    }

    /// As [`Message::get`], inside the segment at a position (from 0).
    pub fn get_at(&self, segment: usize, path: &FieldPath) -> Option<Cow<'_, str>> {
        let view = (segment < self.len()).then(|| self.view(segment))?;
        Some(self.inner().decode(view.get(path, &self.separators)?))
    }

    /// The text of the segment at a position (from 0), without line break.
    pub fn segment_text(&self, segment: usize) -> Option<Cow<'_, str>> {
        let view = (segment < self.len()).then(|| self.view(segment))?;
        Some(self.inner().decode(view.bytes()))
    }

    /// The highest field number that the segment at a position (from 0) has; 0 = none, or no such segment.
    pub fn field_count(&self, segment: usize) -> usize {
        if segment < self.len() {
            self.view(segment).fields()
        } else {
            0
        }
    }

    /// How many segments there are, of one name or of all.
    pub fn segment_count(&self, name: Option<&str>) -> usize {
        match name {
            None => self.len(),
            Some(name) => (0..self.len())
                .filter(|&i| self.name_of(i).as_str() == name)
                .count(),
        }
    }

    /// All segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = SegmentRef> + '_ {
        let mut seen: Vec<(Name, usize)> = Vec::new();
        (0..self.len()).map(move |index| {
            let name = self.name_of(index);
            let occurrence = match seen.iter_mut().find(|(n, _)| *n == name) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    seen.push((name, 1));
                    1
                }
            };
            SegmentRef {
                name,
                index,
                occurrence,
            }
        })
    }

    /// The position (from 0) of the segment that a path addresses.
    pub fn position(&self, path: &Path) -> Option<usize> {
        let nth = path.occurrence().unwrap_or(1) as usize - 1;
        (0..self.len())
            .filter(|&i| self.name_of(i) == path.name())
            .nth(nth)
    }

    /// How many repetitions the field at a path has: 0 if it is absent, 1 if present, even if empty.
    pub fn repetitions(&self, path: &Path) -> usize {
        match (self.position(path), path.within()) {
            (Some(at), Some(within)) => self.repetitions_at(at, within),
            _ => 0,
        }
    }

    /// As [`Message::repetitions`], inside the segment at a position (from 0).
    pub fn repetitions_at(&self, segment: usize, path: &FieldPath) -> usize {
        if segment >= self.len() {
            return 0;
        }
        let view = self.view(segment);
        if view.name.is_header() && path.field() <= 2 {
            return usize::from(view.fields() >= usize::from(path.field()));
        }
        let field = view.get(&FieldPath::new(path.field()), &self.separators);
        field.map_or(0, |bytes| count(bytes, self.separators.repetition()))
    }

    pub(crate) fn text(&self) -> &Bytes {
        self.transcoded.as_ref().unwrap_or(&self.raw)
    }

    /// The character set that segments are held in.
    pub(crate) fn inner(&self) -> Charset {
        if self.charset.keeps_ascii() {
            self.charset
        } else {
            Charset::Utf8
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.edits.as_ref().map_or(self.index.segs.len(), Vec::len)
    }

    pub(crate) fn name_of(&self, position: usize) -> Name {
        match self.edits.as_ref().map(|slots| &slots[position]) {
            None => self.index.segs[position].name,
            Some(Slot::Base(i)) => self.index.segs[*i as usize].name,
            Some(Slot::Own(own)) => own.name,
        }
    }

    /// The segment at a position that exists.
    pub(crate) fn view(&self, position: usize) -> View<'_> {
        let base = match self.edits.as_ref().map(|slots| &slots[position]) {
            None => position,
            Some(Slot::Base(i)) => *i as usize,
            Some(Slot::Own(own)) => return own.view(),
        };
        let seg = self.index.segs[base];
        View {
            name: seg.name,
            buf: self.text(),
            start: seg.start as usize,
            end: seg.end as usize,
            seps: self.index.seps_of(base),
        }
    }

    fn find(&self, path: &Path) -> Option<View<'_>> {
        Some(self.view(self.position(path)?))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.raw.len())
            .field("segments", &self.len())
            .field("charset", &self.charset)
            .field("edited", &self.is_edited())
            .finish()
    }
}

pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where `MSH` begins, after a byte order mark and white space.
pub(crate) fn start_of_header(raw: &[u8]) -> Result<usize, Fault> {
    if raw.starts_with(b"MSH") {
        return Ok(0);
    }
    let skip = if raw.starts_with(BOM) { BOM.len() } else { 0 };
    let rest = &raw[skip..];
    let Some(blank) = rest.iter().position(|b| !b.is_ascii_whitespace()) else {
        return Err(Fault::new(FaultKind::Empty, "the message is empty"));
    };
    let start = skip + blank;
    match &raw[start..] {
        rest if rest.starts_with(b"MSH") => Ok(start),
        rest => Err(not_hl7(raw, rest).at(start)),
    }
}

#[cold]
fn not_hl7(raw: &[u8], rest: &[u8]) -> Fault {
    if raw.starts_with(b"\xff\xfe")
        || raw.starts_with(b"\xfe\xff")
        || rest.starts_with(b"M\0")
        || rest.starts_with(b"\0M")
    {
        return Fault::new(
            FaultKind::Charset,
            "this looks like UTF-16 or UTF-32, which HL7 framing cannot carry; have the sender use UTF-8",
        );
    }
    if rest.starts_with(b"FHS") || rest.starts_with(b"BHS") {
        return Fault::new(
            FaultKind::NotHl7,
            "this is a batch (FHS or BHS), not one message: split it first",
        );
    }
    Fault::new(
        FaultKind::NotHl7,
        "not an HL7 v2 message: it does not begin with an MSH segment",
    )
}

/// What MSH-18 says: `None` = nothing. The repetitions after the first are alternatives switched to by ISO
/// 2022 escapes, which matter only for the Japanese sets.
pub(crate) fn declared_charset(field: &[u8], separators: &Separators) -> Option<Result<Charset, Fault>> {
    match field {
        b"" => return None,
        b"UNICODE UTF-8" => return Some(Ok(Charset::Utf8)),
        b"ASCII" => return Some(Ok(Charset::Ascii)),
        b"8859/1" => return Some(Ok(Charset::Latin1)),
        _ => {}
    }
    let text = String::from_utf8_lossy(field);
    let names = || {
        let split = text.split(|c| separators.repetition().map(char::from) == Some(c));
        split.map(str::trim).filter(|n| !n.is_empty() && *n != "\"\"")
    };
    let first = names().next()?;
    let switched = names().find(|n| n.starts_with("ISO IR") && *n != "ISO IR6");
    Some(Charset::by_name(switched.unwrap_or(first)).map_err(|f| f.on("MSH-18")))
}

fn is_wide(declared: &[u8]) -> bool {
    memchr::memmem::find(declared, b"16").is_some() || memchr::memmem::find(declared, b"32").is_some()
}

#[cold]
fn undecodable(charset: Charset, offset: Option<usize>) -> Fault {
    let fault = Fault::new(
        FaultKind::Undecodable,
        format!("the bytes are not valid {}, which MSH-18 or the inbound declares; correct the declaration at the sender", charset.name()),
    )
    .on("MSH-18");
    Fault { offset, ..fault }
}

fn shift(fault: Fault, by: usize) -> Fault {
    let offset = fault.offset.map(|at| at + by);
    Fault { offset, ..fault }
}
