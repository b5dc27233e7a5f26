//! Searching: the messages of one segment that something is said of. A sealed segment has an index for each statement
//! (seal.rs); in an open one they walk the rows from the newest backwards.

use super::fault::Driver;
use super::link::Link;
use super::sql;
use super::text;
use super::value::Row;
use crate::segments::catalog::Segment;
use crate::segments::source::{Between, By};
use crate::server::value::{Value, values};
use crate::server::{Connection, segment};

/// Characters of a control id or a type that are sorted; the statement that fills the table names them too.
const SORTED: usize = 150;
const CONTROL_ID: char = '#';
const KIND: char = '@';

/// The beginning of a text, counted as the server does: in units of UTF-16, of which two may be one character.
fn beginning(text: &str) -> String {
    let mut units = 0;
    text.chars()
        .take_while(|each| {
            units += each.len_utf16();
            units <= SORTED
        })
        .collect()
}

/// What is looked for in the table of the keys.
fn list(entries: &[String], stand_in: bool) -> Value<'static> {
    let mut json = String::from("[");
    for entry in entries {
        if json.len() > 1 {
            json.push(',');
        }
        text::write(&mut json, entry, stand_in);
    }
    json.push(']');
    Value::from(json)
}

/// Messages that something is said of.
pub(super) fn messages_by(
    link: &mut Link,
    segment: &Segment,
    by: By<'_>,
    between: Between,
    limit: usize,
) -> Result<Vec<Row>, Driver> {
    let (sealed, stand_in) = (segment.sealed, link.stand_in);
    let of_segment = |template: &str| segment::text(template, segment.number);
    let entries = |entries: &[String]| list(entries, stand_in);
    let by_entries = || text::statement(sql::BY_ENTRIES, &["a.entry"], stand_in);
    let mut values = Vec::from(values![between.low, between.before, limit as i64]);
    let sql = match by {
        By::Time(since, until) => {
            values.extend(values![since.0, until.0]);
            sql::BY_TIME
        }
        By::Key(key, true) => {
            values.push(entries(&[key.entry().to_owned()]));
            return link.rows(&of_segment(&by_entries()), &values);
        }
        By::Key(key, false) => {
            values.extend(values![key.entry()]);
            sql::BY_KEY_OPEN
        }
        By::ControlId(id) if sealed => {
            values.push(entries(&[format!("{CONTROL_ID}{}", beginning(id))]));
            return link.rows(&of_segment(&by_entries()), &values);
        }
        By::ControlId(id) => {
            values.extend(values![id]);
            sql::BY_CONTROL_ID_OPEN
        }
        By::Kinds(kinds) => {
            let wanted: Vec<String> = kinds
                .iter()
                .map(|(inbound, kind)| format!("{KIND}{}|{}", inbound.0, beginning(kind)))
                .collect();
            values.push(entries(&wanted));
            return link.rows(&of_segment(&by_entries()), &values);
        }
        By::Scan(inbound, kind, since, until) => {
            values.extend(values![
                inbound.map_or(0, |inbound| inbound.0 as i32),
                kind.unwrap_or_default(),
                since.0,
                until.0
            ]);
            sql::BY_SCAN
        }
        By::Destination(name) => {
            values.extend(values![name.0 as i32]);
            sql::BY_DESTINATION
        }
        By::Disposition(disposition) => {
            values.extend(values![disposition.code() as i16]);
            sql::BY_DISPOSITION
        }
        By::Undisposed => sql::UNDISPOSED,
    };
    link.rows(&of_segment(sql), &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_the_server_cuts_it() {
        assert_eq!(beginning(&"ü".repeat(200)).chars().count(), 150);
        // Two units each: one that would be cut in half is left out.
        let odd = format!("a{}", "𝄞".repeat(200));
        assert_eq!(beginning(&odd).encode_utf16().count(), 149);
    }
}
