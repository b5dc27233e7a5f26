//! Where segments and fields begin: offsets only, nothing copied.

use memchr::memchr2_iter;

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
    let too_many = || {
        let (segments, fields) = (options.max_segments, options.max_fields);
        Fault::new(
            FaultKind::Limit,
            format!("the message has more than the {segments} segments or {fields} fields that are allowed"),
        )
    };
    let Some(seps) = occurrences(text, separator, options.max_fields) else {
        return Err(too_many());
    };
    let mut segs = Vec::with_capacity((text.len() / 128).clamp(8, 4096));
    let (mut from, mut first_sep) = (start, 0);
    let ends = memchr2_iter(b'\r', b'\n', &text[start..]).map(|at| start + at);
    for end in ends.chain([text.len()]) {
        let here = seps[first_sep..]
            .iter()
            .take_while(|&&s| (s as usize) < end)
            .count();
        let line = &text[from..end];
        match segment_name(line, separator) {
            Some(name) if name == Name::MSH && !segs.is_empty() => return Err(second_header(from)),
            Some(_) if segs.len() == options.max_segments => return Err(too_many().at(from)),
            // The text is bounded to 32 bits above.
            Some(name) => segs.push(Seg {
                start: from as u32,
                end: end as u32,
                first_sep: first_sep as u32,
                name,
            }),
            // Blank lines, and what old systems append (NUL, Ctrl-Z), count as line break.
            None if line.iter().all(|&b| b <= b' ') => {}
            None => return Err(no_segment(segs.len() + 1, from)),
        }
        from = end + 1;
        first_sep += here;
    }
    Ok(Index { segs, seps })
}

/// The segment's name, if the line begins with one and a separator or nothing follows it.
fn segment_name(line: &[u8], separator: u8) -> Option<Name> {
    let ends = line.len() == 3 || line.get(3) == Some(&separator);
    Name::of(line).filter(|_| ends)
}

#[cold]
fn second_header(offset: usize) -> Fault {
    Fault::new(
        FaultKind::Segment,
        "a second MSH segment: these are several messages in one; split them first",
    )
    .at(offset)
}

#[cold]
fn no_segment(line: usize, offset: usize) -> Fault {
    Fault::new(
        FaultKind::Segment,
        format!(
            "line {line} does not begin with a segment name and a field separator; a line break inside a field must be sent as \\X0D\\ or \\.br\\"
        ),
    )
    .at(offset)
}

/// Offsets of all bytes equal to `needle`, which is ASCII; `None` if there are more than `max`.
///
/// Fields are a few bytes long, so a search that starts anew at each of them spends its time on starting.
/// This one turns 64 bytes at a time into a mask of hits and walks its bits: five times as fast on HL7.
fn occurrences(text: &[u8], needle: u8, max: usize) -> Option<Vec<u32>> {
    let mut found = Vec::with_capacity((text.len() / 4).clamp(16, 1 << 16));
    let mut blocks = text.chunks_exact(64);
    let mut base = 0u32;
    let mut hits = [0u32; 64];
    for block in &mut blocks {
        let mut mask = hit_mask(block, needle);
        let count = mask.count_ones() as usize;
        for hit in &mut hits[..count] {
            *hit = base + mask.trailing_zeros();
            mask &= mask.wrapping_sub(1);
        }
        if found.len() + count > max {
            return None;
        }
        found.extend_from_slice(&hits[..count]);
        base += 64;
    }
    let rest = blocks.remainder().iter().zip(base..);
    found.extend(rest.filter(|&(&b, _)| b == needle).map(|(_, at)| at));
    (found.len() <= max).then_some(found)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
/// Gathers the lowest bit of each of eight bytes into the highest byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Bit n is set where byte n of the 64 equals the needle.
fn hit_mask(block: &[u8], needle: u8) -> u64 {
    let pattern = ONES * u64::from(needle);
    let (words, _) = block.as_chunks::<8>();
    words.iter().enumerate().fold(0, |mask, (i, word)| {
        let differs = u64::from_le_bytes(*word) ^ pattern;
        let zeros = !(((differs & LOW_BITS) + LOW_BITS) | differs) >> 7 & ONES;
        mask | (zeros.wrapping_mul(GATHER) >> 56) << (8 * i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_found_whatever_stands_beside_it() {
        for needle in [b'|', b'!', b'~', 0x7f] {
            for length in [0, 1, 7, 8, 63, 64, 65, 200] {
                for seed in 0..40u32 {
                    let near = [
                        needle,
                        needle ^ 1,
                        needle ^ 0x80,
                        needle.wrapping_sub(1),
                        needle.wrapping_add(1),
                        0,
                        0xff,
                        0x80,
                    ];
                    let byte = |i: u32| {
                        near[(i.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 11) as usize % 8]
                    };
                    let text: Vec<u8> = (0..length).map(byte).collect();
                    let expected: Vec<u32> = (0..length).filter(|&i| text[i as usize] == needle).collect();
                    assert_eq!(occurrences(&text, needle, 200), Some(expected), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn too_many_occurrences_are_not_collected() {
        for (length, max) in [(10, 9), (64, 63), (200, 199), (200, 5)] {
            assert_eq!(occurrences(&vec![b'|'; length], b'|', max), None);
            assert!(occurrences(&vec![b'|'; max], b'|', max).is_some());
        }
    }
}
