//! Reads the dictionary's text files. The line format is described in the parent module.

use std::collections::HashMap;

use super::{Change, ComponentDef, DataTypeDef, FieldDef, Optionality, SegmentDef, TableDef, Version};

/// Lines that say something, with their 1-based number.
fn lines(text: &'static str) -> impl Iterator<Item = (usize, &'static str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// `[PID] Patient identification +2.3` gives name, title and first version.
fn heading(line: &'static str) -> Option<(&'static str, &'static str, Version)> {
    let (name, title) = line.strip_prefix('[')?.split_once("] ")?;
    match title.rsplit_once(" +") {
        Some((title, since)) => Some((name, title, Version::parse(since)?)),
        None => Some((name, title, Version::V2_1)),
    }
}

pub(super) fn segments(text: &'static str) -> Result<Vec<SegmentDef>, String> {
    let mut segments: Vec<SegmentDef> = Vec::new();
    for (at, line) in lines(text) {
        if let Some((name, title, since)) = heading(line) {
            segments.push(SegmentDef {
                name,
                title,
                since,
                fields: Vec::new(),
            });
            continue;
        }
        let segment = segments
            .last_mut()
            .ok_or_else(|| format!("line {at}: a field before any segment"))?;
        let field = field(line, segment.since).ok_or_else(|| format!("line {at}: not a field: {line}"))?;
        if usize::from(field.number) != segment.fields.len() + 1 {
            return Err(format!(
                "line {at}: {}-{} is out of order",
                segment.name, field.number
            ));
        }
        segment.fields.push(field);
    }
    Ok(segments)
}

/// Takes the next word off the front of `rest`.
fn word(rest: &mut &'static str) -> Option<&'static str> {
    let (word, after) = rest.split_once(' ')?;
    *rest = after.trim_start();
    Some(word)
}

fn field(line: &'static str, segment_since: Version) -> Option<FieldDef> {
    let mut rest = line;
    let number = word(&mut rest)?.parse().ok()?;
    let data_type = word(&mut rest)?;
    let (optionality, repeats) = optionality(word(&mut rest)?)?;
    let max_length = length(word(&mut rest)?)?;
    let (mut table, mut since, mut changes) = (None, segment_since, Vec::new());
    loop {
        let ahead = rest;
        let Some(next) = word(&mut rest) else { break };
        if let Some(number) = next.strip_prefix('#') {
            table = Some(number.parse().ok()?);
        } else if let Some(version) = next.strip_prefix('+') {
            since = Version::parse(version)?;
        } else if let Some(change) = change(next) {
            changes.push(change?);
        } else {
            rest = ahead;
            break;
        }
    }
    let title = rest;
    Some(FieldDef {
        number,
        title,
        data_type,
        optionality,
        repeats,
        max_length,
        table,
        since,
        changes,
    })
}

fn optionality(text: &str) -> Option<(Optionality, bool)> {
    let (letter, repeats) = match text.strip_suffix('*') {
        Some(letter) => (letter, true),
        None => (text, false),
    };
    let optionality = match letter {
        "R" => Optionality::Required,
        "O" => Optionality::Optional,
        "C" => Optionality::Conditional,
        "B" => Optionality::Backward,
        _ => return None,
    };
    Some((optionality, repeats))
}

fn length(text: &str) -> Option<Option<u32>> {
    let length: u32 = text.parse().ok()?;
    Some((length > 0).then_some(length))
}

/// `None`: not a change. `Some(None)`: looks like one and is wrong.
fn change(text: &'static str) -> Option<Option<(Version, Change)>> {
    let (from, to) = text.split_once(':').filter(|(from, _)| from.starts_with("2."))?;
    let change = if let Some((optionality, repeats)) = optionality(to) {
        Some(Change::Optionality(optionality, repeats))
    } else if let Some(length) = length(to) {
        Some(Change::Length(length))
    } else {
        to.chars()
            .all(|letter| letter.is_ascii_uppercase())
            .then_some(Change::Type(to))
    };
    Some(Version::parse(from).zip(change))
}

pub(super) fn types(text: &'static str) -> Result<Vec<DataTypeDef>, String> {
    let mut types: Vec<DataTypeDef> = Vec::new();
    for (at, line) in lines(text) {
        if let Some((name, title, _)) = heading(line) {
            types.push(DataTypeDef {
                name,
                title,
                components: Vec::new(),
            });
            continue;
        }
        let owner = types
            .last_mut()
            .ok_or_else(|| format!("line {at}: a component before any type"))?;
        let component = component(line).ok_or_else(|| format!("line {at}: not a component: {line}"))?;
        if usize::from(component.number) != owner.components.len() + 1 {
            return Err(format!(
                "line {at}: {}.{} is out of order",
                owner.name, component.number
            ));
        }
        owner.components.push(component);
    }
    resolve_primitives(&mut types);
    Ok(types)
}

/// Follows the first components of each component's type down to a primitive.
fn resolve_primitives(types: &mut [DataTypeDef]) {
    let first: HashMap<&str, &'static str> = types
        .iter()
        .filter_map(|known| Some((known.name, known.components.first()?.data_type)))
        .collect();
    for part in types.iter_mut().flat_map(|known| &mut known.components) {
        // Types nest three deep at most; the bound keeps a slip in the text from running in a circle.
        for _ in 0..4 {
            part.primitive = first.get(part.primitive).copied().unwrap_or(part.primitive);
        }
    }
}

fn component(line: &'static str) -> Option<ComponentDef> {
    let mut rest = line;
    let number = word(&mut rest)?.parse().ok()?;
    let data_type = word(&mut rest)?;
    let table = match rest.strip_prefix('#') {
        Some(_) => Some(word(&mut rest)?[1..].parse().ok()?),
        None => None,
    };
    Some(ComponentDef {
        number,
        title: rest,
        data_type,
        primitive: data_type,
        table,
    })
}

pub(super) fn tables(text: &'static str) -> Result<Vec<TableDef>, String> {
    lines(text)
        .map(|(at, line)| table(line).ok_or_else(|| format!("line {at}: not a table: {line}")))
        .collect()
}

fn table(line: &'static str) -> Option<TableDef> {
    let (mut head, title) = line.split_once(" : ")?;
    let number = word(&mut head)?.parse().ok()?;
    let fixed = match word(&mut head)? {
        "H" => true,
        "U" => false,
        _ => return None,
    };
    let values = head.split(' ').map(table_value).collect::<Option<_>>()?;
    Some(TableDef {
        number,
        title,
        fixed,
        values,
    })
}

/// `N+2.7` is N, known since 2.7.
fn table_value(text: &'static str) -> Option<(&'static str, Version)> {
    match text.split_once('+') {
        Some((value, since)) => Some((value, Version::parse(since)?)),
        None => Some((text, Version::V2_1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_breaks_the_format_is_refused() {
        for wrong in [
            "[PID] X\nST O 4 No number",
            "1 ST O 4 No segment",
            "[PID] X\n2 ST O 4 Out of order",
        ] {
            assert!(segments(wrong).is_err(), "{wrong}");
        }
        assert!(segments("[PID] X\n1 ST O 4 2.x:R Wrong version").is_err());
        assert!(tables("1 Q A B : Neither H nor U").is_err());
    }
}
