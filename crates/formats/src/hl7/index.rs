//! Where segments and fields begin: one pass over the bytes, offsets only, nothing copied.

use memchr::memchr3_iter;

use super::fault::{Fault, FaultKind};
use super::path::Name;

/// How much is accepted, and how the bytes are to be read.
#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// Longest message, in bytes. Never more than 4 GiB - 1.
    pub max_bytes: usize,
    /// Most segments.
    pub max_segments: usize,
    /// Most fields over all segments: bounds the memory of the index (4 bytes each).
    pub max_fields: usize,
    /// The character set of messages that declare none in MSH-18. `None`: UTF-8 where the bytes are valid
    /// as such, else Windows-1252.
    pub default_charset: Option<super::charset::Charset>,
    /// Reads messages in this character set whatever MSH-18 says, for senders that declare a wrong one.
    pub forced_charset: Option<super::charset::Charset>,
}

impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions {
            max_bytes: 64 << 20,
            max_segments: 500_000,
            max_fields: 8_000_000,
            default_charset: None,
            forced_charset: None,
        }
    }
}

/// One segment: where it starts, where its content ends (before the line break), its first separator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seg {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) first_sep: u32,
    pub(crate) name: Name,
}

/// The offsets of one message.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) segs: Vec<Seg>,
    /// Offsets of all field separators, in order.
    pub(crate) seps: Vec<u32>,
}

impl Index {
    /// Offsets of the field separators of segment `i`.
    pub(crate) fn seps_of(&self, i: usize) -> &[u32] {
        let start = self.segs[i].first_sep as usize;
        let end = self
            .segs
            .get(i + 1)
            .map_or(self.seps.len(), |s| s.first_sep as usize);
        &self.seps[start..end]
    }
}

/// Finds segments and fields in `text`, whose MSH begins at `start`.
pub(crate) fn scan(text: &[u8], start: usize, separator: u8, options: &ParseOptions) -> Result<Index, Fault> {
    let limit = options.max_bytes.min(u32::MAX as usize - 1);
    if text.len() > limit {
        return Err(Fault::new(
            FaultKind::Limit,
            format!(
                "the message is {} bytes long, more than the {limit} that are allowed",
                text.len()
            ),
        ));
    }
    let mut builder = Builder {
        text,
        separator,
        options,
        segs: Vec::with_capacity((text.len() / 128).clamp(8, 4096)),
        seps: Vec::with_capacity((text.len() / 6).clamp(16, 1 << 16)),
        start,
        first_sep: 0,
    };
    // `scan` bounds the text to 32 bits above.
    for at in memchr3_iter(separator, b'\r', b'\n', &text[start..]) {
        let at = start + at;
        if text[at] == separator {
            if builder.seps.len() >= options.max_fields {
                return Err(builder.too_many().at(at));
            }
            builder.seps.push(at as u32);
        } else {
            builder.close(at)?;
        }
    }
    builder.close(text.len())?;
    Ok(Index {
        segs: builder.segs,
        seps: builder.seps,
    })
}

struct Builder<'a> {
    text: &'a [u8],
    separator: u8,
    options: &'a ParseOptions,
    segs: Vec<Seg>,
    seps: Vec<u32>,
    start: usize,
    first_sep: usize,
}

impl Builder<'_> {
    fn close(&mut self, end: usize) -> Result<(), Fault> {
        let start = std::mem::replace(&mut self.start, end + 1);
        let first_sep = std::mem::replace(&mut self.first_sep, self.seps.len());
        let line = &self.text[start.min(end)..end];
        if line.is_empty() {
            return Ok(());
        }
        let ends_name = line.len() == 3 || line.get(3) == Some(&self.separator);
        let Some(name) = Name::of(line).filter(|_| ends_name) else {
            return self.odd_line(line, start, first_sep);
        };
        if name == Name::MSH && !self.segs.is_empty() {
            return Err(Fault::new(
                FaultKind::Segment,
                "a second MSH segment: these are several messages in one; split them first",
            )
            .at(start));
        }
        if self.segs.len() >= self.options.max_segments {
            return Err(self.too_many().at(start));
        }
        self.segs.push(Seg {
            start: start as u32,
            end: end as u32,
            first_sep: first_sep as u32,
            name,
        });
        Ok(())
    }

    #[cold]
    fn too_many(&self) -> Fault {
        let (segments, fields) = (self.options.max_segments, self.options.max_fields);
        Fault::new(
            FaultKind::Limit,
            format!("the message has more than the {segments} segments or {fields} fields that are allowed"),
        )
    }

    /// Blank lines (and what old systems append: NUL, Ctrl-Z) count as line break; the rest is refused.
    #[cold]
    fn odd_line(&mut self, line: &[u8], start: usize, first_sep: usize) -> Result<(), Fault> {
        if line.iter().all(|&b| b <= b' ') && self.seps.len() == first_sep {
            return Ok(());
        }
        Err(Fault::new(
            FaultKind::Segment,
            format!(
                "line {} does not begin with a segment name and a field separator; a line break inside a field must be sent as \\X0D\\ or \\.br\\",
                self.segs.len() + 1
            ),
        )
        .at(start))
    }
}
