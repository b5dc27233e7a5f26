//! One segment, wherever its bytes lie, and how places in it are found.

use std::ops::Range;

use memchr::memchr;

use super::path::{FieldPath, Name};
use super::separators::Separators;

/// A segment's bytes in `buf[start..end]`; `seps` are offsets in `buf`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) name: Name,
    pub(crate) buf: &'a [u8],
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) seps: &'a [u32],
}

impl<'a> View<'a> {
    /// The segment without its line break.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.buf[self.start..self.end]
    }

    /// The highest field number present.
    pub(crate) fn fields(&self) -> usize {
        self.seps.len() + usize::from(self.name.is_header())
    }

    /// The range of a whole field in `buf`.
    pub(crate) fn field(&self, number: usize) -> Option<Range<usize>> {
        let at = self.piece(number)?;
        if at == 0 {
            // MSH-1 is the first separator itself.
            let &sep = self.seps.first()?;
            return Some(sep as usize..sep as usize + 1);
        }
        let start = *self.seps.get(at - 1)? as usize + 1;
        Some(start..self.seps.get(at).map_or(self.end, |&s| s as usize))
    }

    /// Which piece between separators holds the field; 0 = the first separator (headers only).
    fn piece(&self, number: usize) -> Option<usize> {
        match (self.name.is_header(), number) {
            (_, 0) => None,
            (true, n) => Some(n - 1),
            (false, n) => Some(n),
        }
    }

    /// The bytes at a place, if it is there.
    pub(crate) fn get(&self, path: &FieldPath, separators: &Separators) -> Option<&'a [u8]> {
        let number = usize::from(path.field());
        let field = &self.buf[self.field(number)?];
        if self.name.is_header() && number <= 2 {
            let first = |n: Option<u16>| n.is_none_or(|n| n == 1);
            let whole = first(path.repetition()) && first(path.component()) && first(path.subcomponent());
            return whole.then_some(field);
        }
        let Some(component) = path.component() else {
            return match path.repetition() {
                Some(n) => nth(field, separators.repetition(), n),
                None => Some(field),
            };
        };
        let repetition = nth(field, separators.repetition(), path.repetition().unwrap_or(1))?;
        let component = nth(repetition, Some(separators.component()), component)?;
        match path.subcomponent() {
            Some(n) => nth(component, separators.subcomponent(), n),
            None => Some(component),
        }
    }
}

/// The `n`-th piece (from 1) of bytes split by a separator; without one there is a single piece.
fn nth(bytes: &[u8], separator: Option<u8>, n: u16) -> Option<&[u8]> {
    match find(bytes, separator, n) {
        Found::Piece(range) => Some(&bytes[range]),
        Found::Missing(_) => None,
    }
}

/// Where the `n`-th piece is, or how many pieces there are instead.
pub(crate) enum Found {
    Piece(Range<usize>),
    Missing(usize),
}

/// Finds the `n`-th piece (from 1) of bytes split by a separator.
pub(crate) fn find(bytes: &[u8], separator: Option<u8>, n: u16) -> Found {
    let n = usize::from(n.max(1));
    let mut start = 0;
    let mut at = 1;
    loop {
        let end = separator
            .and_then(|s| next(&bytes[start..], s))
            .map(|i| start + i);
        if at == n {
            return Found::Piece(start..end.unwrap_or(bytes.len()));
        }
        match end {
            Some(end) => start = end + 1,
            None => return Found::Missing(at),
        }
        at += 1;
    }
}

/// Most fields are shorter than it takes to start a vectorised search.
fn next(bytes: &[u8], separator: u8) -> Option<usize> {
    if bytes.len() <= 32 {
        return bytes.iter().position(|&b| b == separator);
    }
    memchr(separator, bytes)
}

/// How many pieces bytes split into.
pub(crate) fn count(bytes: &[u8], separator: Option<u8>) -> usize {
    1 + separator.map_or(0, |s| memchr::memchr_iter(s, bytes).count())
}
