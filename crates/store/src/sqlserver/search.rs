//! Searching: the numbers of the messages of one segment that something is said of, and what is noted of a
//! segment when it is sealed. A sealed segment has an index for each statement (seal.rs); in an open one
//! they walk the rows from the newest backwards.

use model::NameId;

use super::fault::{Driver, database};
use super::link::Link;
use super::segment;
use super::sql;
use super::tables::Tables;
use super::text;
use super::value::{Row, Value, values};
use crate::Error;
use crate::packing;
use crate::segments::profile::{BLOCKS, Profile, Share};
use crate::segments::search::Profiles;
use crate::segments::source::{Between, By};

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

impl Tables<'_> {
    pub(super) fn messages_by(
        &mut self,
        index: usize,
        by: By<'_>,
        between: Between,
        limit: usize,
    ) -> Result<Vec<i64>, Error> {
        let (sealed, stand_in) = (self.is_sealed(index), self.on_a_stand_in());
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
                return self.rows(index, &by_entries(), &values, |row| row.get(0));
            }
            By::Key(key, false) => {
                values.extend(values![key.entry()]);
                sql::BY_KEY_OPEN
            }
            By::ControlId(id) if sealed => {
                values.push(entries(&[format!("{CONTROL_ID}{}", beginning(id))]));
                return self.rows(index, &by_entries(), &values, |row| row.get(0));
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
                return self.rows(index, &by_entries(), &values, |row| row.get(0));
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
        self.rows(index, sql, &values, |row| row.get(0))
    }
}

/// Writes the table of the keys anew: a sealing that was cut short may have left some of it.
pub(super) fn fill_keys(link: &mut Link, number: u32) -> Result<(), Error> {
    let doing = database("sorting a segment's search keys");
    link.transaction(|link| {
        link.script(segment::text(sql::EMPTY_KEYS, number))
            .map_err(&doing)?;
        link.script(segment::text(sql::FILL_KEYS, number))
            .map_err(&doing)
            .map(drop)
    })
}

/// Counts what the tables of a segment hold, by the beginning of their names.
pub(super) fn profile(link: &mut Link, prefix: &str) -> Result<Profile, Error> {
    counted(link, prefix).map_err(database("counting what a segment holds"))
}

fn counted(link: &mut Link, prefix: &str) -> Result<Profile, Driver> {
    const { assert!(packing::REMOVED == 2, "the statement names it") };
    let text = |template: &str| template.replace("{s}", prefix);
    let ends = link.row(&text(sql::ENDS), &[])?;
    let (first, last): (i64, i64) = (ends.get(0)?, ends.get(1)?);
    let width = (last - first) / BLOCKS + 1;
    let shares = link.rows(&text(sql::SHARES), &values![first, width])?;
    let destinations = link.rows(&text(sql::BY_DESTINATIONS), &[])?;
    let dispositions = link.rows(&text(sql::BY_DISPOSITIONS), &[])?;
    let bare = link.row(&text(sql::IS_BARE), &[])?;
    let shares: Result<_, Driver> = shares.iter().map(share).collect();
    let destinations: Result<_, Driver> = destinations
        .iter()
        .map(|row| Ok((NameId(row.get(0)?), row.get::<i64>(1)? as u64)))
        .collect();
    let dispositions: Result<_, Driver> = dispositions
        .iter()
        .map(|row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)? as u64)))
        .collect();
    Ok(Profile::new(shares?, destinations?, dispositions?, bare.get(0)?))
}

fn share(row: &Row) -> Result<Share, Driver> {
    Ok(Share {
        block: row.get(0)?,
        inbound: NameId(row.get(1)?),
        kind: row.get(2)?,
        count: row.get::<i64>(3)? as u64,
        first: row.get(4)?,
        oldest: row.get(5)?,
        newest: row.get(6)?,
    })
}

/// The profiles of the segments that live.
pub(super) fn profiles(link: &mut Link) -> Result<Profiles, Error> {
    let doing = database("reading what segments hold");
    let rows = link.rows(sql::PROFILES, &[]).map_err(&doing)?;
    let read = |row: &Row| -> Result<_, Driver> {
        let profile: String = row.get(1)?;
        let profile = serde_json::from_str(&profile).map_err(|error| Driver::Decode(Box::new(error)))?;
        Ok((row.get(0)?, profile))
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(&doing)
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
