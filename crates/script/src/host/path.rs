//! Paths as code writes them: `"PID-3.1"`, `("OBX-5", 2)`. Parsed paths are kept per thread, since the
//! same few come with every message.

use std::borrow::Cow;
use std::cell::RefCell;
use std::str::FromStr;

use formats::hl7::{FieldPath, Path};
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value};

/// The longest path kept; longer ones are parsed each time.
const KEPT_BYTES: usize = 24;
const SLOTS: usize = 256;

#[derive(Clone, Copy)]
struct Slot {
    text: [u8; KEPT_BYTES],
    length: usize,
    path: Option<Path>,
}

thread_local! {
    static KEPT: RefCell<Vec<Slot>> =
        RefCell::new(vec![Slot { text: [0; KEPT_BYTES], length: 0, path: None }; SLOTS]);
}

/// Parses a path, or finds it among those parsed before.
pub(crate) fn parse(text: &str) -> anyhow::Result<Path> {
    let bytes = text.as_bytes();
    if bytes.len() > KEPT_BYTES {
        return parse_new(text);
    }
    KEPT.with_borrow_mut(|kept| {
        let slot = &mut kept[slot(bytes)];
        if let Some(path) = slot.path.filter(|_| slot.text.get(..slot.length) == Some(bytes)) {
            return Ok(path);
        }
        let path = parse_new(text)?;
        slot.text[..bytes.len()].copy_from_slice(bytes);
        slot.length = bytes.len();
        slot.path = Some(path);
        Ok(path)
    })
}

fn slot(bytes: &[u8]) -> usize {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The upper half is better mixed than the lower one.
    usize::try_from((hash >> 32) % SLOTS as u64).unwrap_or(0)
}

fn parse_new(text: &str) -> anyhow::Result<Path> {
    Path::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))
}

/// The path of a subscript: a text, or a text with an occurrence (and a repetition).
pub(crate) fn of(index: Value<'_>) -> anyhow::Result<Path> {
    if let Some(text) = index.unpack_str() {
        return parse(text);
    }
    let items = TupleRef::from_value(index);
    let items = items.as_ref().map(|tuple| tuple.content()).unwrap_or_default();
    let path = match items {
        [path, ..] => path.unpack_str().map(parse).transpose()?,
        [] => None,
    };
    let numbers: Option<Vec<i64>> = items
        .iter()
        .skip(1)
        .map(|item| i64::unpack_value(*item).ok().flatten())
        .collect();
    match (path, numbers.as_deref()) {
        (Some(path), Some([occurrence])) => Ok(path.with_occurrence(counted(*occurrence)?)),
        (Some(path), Some([occurrence, repetition])) => {
            let repetition = u16::try_from(counted(*repetition)?)?;
            Ok(path
                .with_occurrence(counted(*occurrence)?)
                .with_repetition(repetition))
        }
        _ => anyhow::bail!(
            "a message is read by path: `msg[\"PID-3.1\"]`, or `msg[\"OBX-5\", 2]` for the second OBX"
        ),
    }
}

fn counted(number: i64) -> anyhow::Result<u32> {
    match u32::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => anyhow::bail!("occurrences and repetitions count from 1"),
    }
}

/// The path within a segment: `"5"`, `"5.1"`, `5`, or with the segment's own name, `"OBX-5"`.
pub(crate) fn within(index: Value<'_>, segment: &str) -> anyhow::Result<FieldPath> {
    if let Ok(Some(number)) = i64::unpack_value(index) {
        return match u16::try_from(number) {
            Ok(number) if number > 0 => Ok(FieldPath::new(number)),
            _ => anyhow::bail!("fields count from 1"),
        };
    }
    let Some(text) = index.unpack_str() else {
        anyhow::bail!("a segment is read by field: `seg[\"5.1\"]` or `seg[5]`");
    };
    if text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return FieldPath::from_str(text).map_err(|error| anyhow::anyhow!("{error}"));
    }
    let path = parse(text)?;
    match path.within() {
        Some(_) if path.segment() != segment => anyhow::bail!("`{text}` is not in this {segment} segment"),
        Some(within) => Ok(*within),
        None => anyhow::bail!("name a field: `seg[\"{segment}-1\"]` or `seg[\"1\"]`"),
    }
}

/// The text of a value that is put into a message.
pub(crate) fn text_of<'v>(value: Value<'v>) -> anyhow::Result<Cow<'v, str>> {
    if let Some(text) = value.unpack_str() {
        return Ok(Cow::Borrowed(text));
    }
    if let Ok(Some(number)) = i64::unpack_value(value) {
        return Ok(Cow::Owned(number.to_string()));
    }
    if value.is_none() {
        anyhow::bail!("None cannot be put into a message: use `del msg[path]`, or \"\"");
    }
    anyhow::bail!(
        "a message takes text or whole numbers, not `{}`: convert with str(...)",
        value.get_type()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_found_again_is_the_same_path() {
        for text in ["PID-3.1", "OBX(2)-5(1).1.2", "MSH-9", "PID-3.1"] {
            assert_eq!(
                parse(text).map(|path| path.to_string()).ok().as_deref(),
                Some(text)
            );
        }
        assert!(parse("PID-0").is_err());
        assert!(parse("nonsense that is quite long and surely no path").is_err());
    }
}
