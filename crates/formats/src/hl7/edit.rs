//! Changing a message: a touched segment gets bytes of its own, the others stay as they were.
//!
//! Values are encoded when they are set, so that a character without a place in the message's character
//! set is an error at the line that set it. Setting MSH-18 converts the whole message.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::charset::Charset;
use super::escape::{Level, protect};
use super::fault::{Fault, FaultKind};
use super::message::{BOM, Message, Slot, declared_charset};
use super::own::{Own, separators_in};
use super::path::{FieldPath, Name, Path};

impl Message {
    /// Sets the text at a path. Missing fields, repetitions, components and subcomponents up to it are
    /// created; a missing segment is an error. Separators at or above the addressed level are escaped,
    /// those below are structure; escape sequences in the value stay; CR, LF, VT and FS become `\X0D\`,
    /// `\X0A\`, `\X0B\`, `\X1C\`. Setting MSH-18 converts the message to that character set.
    pub fn set(&mut self, path: &Path, value: &str) -> Result<(), Fault> {
        let Some(within) = path.within() else {
            return Err(fixed(
                "name a field to set, or use remove_segment and add_segment for whole segments",
            )
            .on(path));
        };
        let Some(position) = self.position(path) else {
            return Err(Fault::new(
                FaultKind::NoSegment,
                format!("the message has no {path}: its segment is missing; add it with add_segment first"),
            )
            .on(path));
        };
        self.set_at(position, within, value)
    }

    /// As [`Message::set`], inside the segment at a position (from 0).
    pub fn set_at(&mut self, segment: usize, path: &FieldPath, value: &str) -> Result<(), Fault> {
        self.check(segment, Some(path))?;
        let full = Path::build(self.name_of(segment), 0, Some(*path));
        let bytes = self.value_bytes(value, level(path)).map_err(|f| f.on(full))?;
        let separators = self.separators;
        self.change(segment, path, |own| own.put(path, &separators, &bytes))
            .map_err(|f| f.or_on(full))
    }

    /// Empties a field, component or subcomponent; removes a repetition or a whole segment. `false` = it
    /// was not there. MSH, MSH-1 and MSH-2 are refused.
    pub fn delete(&mut self, path: &Path) -> Result<bool, Fault> {
        let Some(position) = self.position(path) else {
            return Ok(false);
        };
        match path.within() {
            Some(within) => self.delete_at(position, within),
            None => self.remove_segment(position).map(|()| true),
        }
    }

    /// As [`Message::delete`], inside the segment at a position (from 0).
    pub fn delete_at(&mut self, segment: usize, path: &FieldPath) -> Result<bool, Fault> {
        self.check(segment, Some(path))?;
        if self.view(segment).get(path, &self.separators).is_none() {
            return Ok(false);
        }
        let separators = self.separators;
        self.change(segment, path, |own| own.clear(path, &separators))?;
        Ok(true)
    }

    /// Adds a segment, given as text with this message's separators (`NTE|1||seen`), at a position (from 1;
    /// `None` = the end). Returns its position.
    pub fn add_segment(&mut self, text: &str, position: Option<usize>) -> Result<usize, Fault> {
        let position = position.unwrap_or(self.len());
        if position == 0 || position > self.len() {
            return Err(Fault::new(
                FaultKind::NoSegment,
                format!(
                    "a segment can be added at positions 1 to {}; {position} is not among them",
                    self.len()
                ),
            ));
        }
        let own = self.new_segment(text.trim_end_matches(['\r', '\n']))?;
        self.slots().insert(position, Slot::Own(Arc::new(own)));
        Ok(position)
    }

    /// Removes the segment at a position (from 0). The MSH at 0 cannot be removed.
    pub fn remove_segment(&mut self, index: usize) -> Result<(), Fault> {
        self.check(index, None)?;
        if index == 0 {
            return Err(fixed("the MSH segment cannot be removed").on("MSH"));
        }
        self.slots().remove(index);
        Ok(())
    }

    /// The bytes of the message: exactly those received, if nothing was edited. Otherwise in the message's
    /// character set, untouched segments byte for byte, added ones with the first segment's line break.
    pub fn encode(&self) -> Result<Bytes, Fault> {
        let Some(slots) = &self.edits else {
            return Ok(self.raw.clone());
        };
        let text = self.join(slots);
        if self.charset.keeps_ascii() {
            return Ok(text.into());
        }
        let text = String::from_utf8_lossy(&text);
        match self.charset.encode(&text) {
            Ok(bytes) => Ok(Bytes::from(bytes.into_owned())),
            Err(c) => Err(unencodable(c, self.charset).on(self.holder_of(c))),
        }
    }

    /// The name of the segment that holds a character (sets read through UTF-8 only).
    fn holder_of(&self, c: char) -> Name {
        let text = |i: usize| self.inner().decode(self.view(i).bytes());
        let holder = (0..self.len()).find(|&i| text(i).contains(c));
        self.name_of(holder.unwrap_or(0))
    }

    fn join(&self, slots: &[Slot]) -> Vec<u8> {
        let text = self.text();
        let segs = &self.index.segs;
        let line_break = self.tail(0).filter(|b| !b.is_empty());
        let line_break = line_break.map_or(&b"\r"[..], first_break);
        let prefix = &text[..segs[0].start as usize];
        let mut out = Vec::with_capacity(text.len() + 256);
        out.extend_from_slice(match self.charset {
            Charset::Utf8 => prefix,
            _ => prefix.strip_prefix(BOM).unwrap_or(prefix),
        });
        for (i, slot) in slots.iter().enumerate() {
            let origin = match slot {
                Slot::Base(base) => {
                    let seg = segs[*base as usize];
                    out.extend_from_slice(&text[seg.start as usize..seg.end as usize]);
                    Some(*base)
                }
                Slot::Own(own) => {
                    out.extend_from_slice(&own.text);
                    own.origin
                }
            };
            let tail = origin.and_then(|base| self.tail(base as usize));
            match tail {
                Some(tail) if !tail.is_empty() => {
                    out.extend_from_slice(tail);
                    // What filled up the end of the message (zero bytes, blanks) is no line to go on with.
                    let follows = slots.get(i + 1).and_then(Slot::origin);
                    let open = i + 1 < slots.len() && !tail.ends_with(b"\r") && !tail.ends_with(b"\n");
                    if open && follows != origin.map(|base| base + 1) {
                        out.extend_from_slice(line_break);
                    }
                }
                Some(_) if i + 1 == slots.len() => {}
                _ => out.extend_from_slice(line_break),
            }
        }
        out
    }

    /// What stands between a segment of the index and the next one.
    fn tail(&self, base: usize) -> Option<&[u8]> {
        let text = self.text();
        let seg = self.index.segs.get(base)?;
        let next = self
            .index
            .segs
            .get(base + 1)
            .map_or(text.len(), |s| s.start as usize);
        Some(&text[seg.end as usize..next])
    }

    fn check(&self, segment: usize, path: Option<&FieldPath>) -> Result<(), Fault> {
        if segment >= self.len() {
            return Err(Fault::new(
                FaultKind::NoSegment,
                format!(
                    "there is no segment at position {segment}: the message has {} (0 is the MSH)",
                    self.len()
                ),
            ));
        }
        let name = self.name_of(segment);
        match path {
            Some(path) if name.is_header() && path.field() <= 2 => Err(fixed(
                "MSH-1 and MSH-2 hold the separators of the whole message and cannot be changed",
            )
            .on(Path::build(name, 0, Some(*path)))),
            _ => Ok(()),
        }
    }

    fn value_bytes<'v>(&self, value: &'v str, level: Level) -> Result<Cow<'v, [u8]>, Fault> {
        let Some(text) = protect(value, &self.separators, level) else {
            return Err(Fault::new(
                FaultKind::NoSeparator,
                "the value holds a separator or line break, and MSH-2 names no escape character to hide it with",
            ));
        };
        let refuse = |c| unencodable(c, self.charset);
        if self.charset != self.inner() {
            self.charset.encode(&text).map_err(refuse)?;
        }
        match text {
            Cow::Borrowed(text) => self.inner().encode(text).map_err(refuse),
            Cow::Owned(text) => self
                .inner()
                .encode(&text)
                .map_err(refuse)
                .map(|b| Cow::Owned(b.into_owned())),
        }
    }

    fn new_segment(&self, text: &str) -> Result<Own, Fault> {
        let separator = self.separators.field();
        let bytes = text.as_bytes();
        let name = Name::of(bytes).filter(|_| bytes.len() == 3 || bytes.get(3) == Some(&separator));
        let Some(name) = name.filter(|n| !n.is_header()) else {
            return Err(Fault::new(
                FaultKind::Segment,
                format!(
                    "a segment to add begins with its name and this message's field separator, as in NTE{}1, and is no header",
                    char::from(separator)
                ),
            ));
        };
        if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0x0b | 0x1c)) {
            return Err(Fault::new(
                FaultKind::Segment,
                "a segment to add holds a line break or framing byte: add one segment at a time, and write line breaks as \\X0D\\",
            )
            .on(name));
        }
        let refuse = |c| unencodable(c, self.charset).on(name);
        if self.charset != self.inner() {
            self.charset.encode(text).map_err(refuse)?;
        }
        let text = self.inner().encode(text).map_err(refuse)?.into_owned();
        let seps = separators_in(&text, separator);
        Ok(Own {
            name,
            text,
            seps,
            origin: None,
        })
    }

    /// Changes the segment at a position. `f` leaves it as it was when it fails.
    fn change(
        &mut self,
        position: usize,
        path: &FieldPath,
        f: impl FnOnce(&mut Own) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let converts = path.field() == 18 && self.name_of(position) == Name::MSH;
        let before = if converts { self.edits.clone() } else { None };
        if let Some(Slot::Own(own)) = self.edits.as_mut().map(|slots| &mut slots[position]) {
            f(Arc::make_mut(own))?;
        } else {
            let mut own = self.own(position);
            f(&mut own)?;
            self.place(position, own);
        }
        if converts && let Err(fault) = self.follow_msh_18() {
            self.edits = before;
            return Err(fault);
        }
        Ok(())
    }

    /// A copy of the segment at a position, with bytes of its own.
    fn own(&self, position: usize) -> Own {
        let origin = match self.edits.as_ref().map(|slots| &slots[position]) {
            Some(Slot::Own(own)) => return Own::clone(own),
            Some(Slot::Base(i)) => Some(*i),
            None => u32::try_from(position).ok(),
        };
        let view = self.view(position);
        let mut text = Vec::with_capacity(view.end - view.start + 48);
        text.extend_from_slice(view.bytes());
        Own {
            name: view.name,
            text,
            seps: view.seps.iter().map(|s| s - view.start as u32).collect(),
            origin,
        }
    }

    fn place(&mut self, position: usize, own: Own) {
        self.slots()[position] = Slot::Own(Arc::new(own));
    }

    fn slots(&mut self) -> &mut Vec<Slot> {
        let untouched = self.index.segs.len() as u32;
        self.edits
            .get_or_insert_with(|| (0..untouched).map(Slot::Base).collect())
    }

    /// Converts the message to the character set that MSH-18 now names.
    fn follow_msh_18(&mut self) -> Result<(), Fault> {
        let declared = self
            .view(0)
            .get(&FieldPath::new(18), &self.separators)
            .unwrap_or_default();
        let new = match declared_charset(declared, &self.separators) {
            Some(charset) => charset?,
            None => return Ok(()),
        };
        let (old_inner, mut converted) = (self.inner(), self.clone());
        converted.charset = new;
        for position in 0..self.len() {
            if self.view(position).bytes().is_ascii() {
                continue;
            }
            let mut own = self.own(position);
            let text = old_inner.decode(&own.text).into_owned();
            let refuse = |c| unencodable(c, new).on(own.name);
            new.encode(&text).map_err(refuse)?;
            let bytes = converted.inner().encode(&text).map_err(refuse)?.into_owned();
            own.seps = separators_in(&bytes, self.separators.field());
            own.text = bytes;
            converted.place(position, own);
        }
        *self = converted;
        Ok(())
    }
}

fn level(path: &FieldPath) -> Level {
    match (path.subcomponent(), path.component(), path.repetition()) {
        (Some(_), _, _) => Level::Subcomponent,
        (None, Some(_), _) => Level::Component,
        (None, None, Some(_)) => Level::Repetition,
        (None, None, None) => Level::Field,
    }
}

fn fixed(text: &str) -> Fault {
    Fault::new(FaultKind::Fixed, text)
}

fn unencodable(c: char, charset: Charset) -> Fault {
    Fault::new(
        FaultKind::Unencodable,
        format!(
            "the text holds U+{:04X}, which has no place in the message's character set {}; set MSH-18 to UNICODE UTF-8 first, or replace the character",
            u32::from(c),
            charset.name()
        ),
    )
}

/// The first line break of a run of them: CR, LF or CRLF.
fn first_break(tail: &[u8]) -> &[u8] {
    let length = if tail.starts_with(b"\r\n") { 2 } else { 1 };
    &tail[..length]
}
