//! Segments as tables: their names, making one ahead, the list of those that live.

use std::collections::HashMap;

use model::Timestamp;

use super::fault::{Driver, database};
use super::lease::of_lead;
use super::link::Link;
use super::migrate;
use super::sql;
use super::value::{Row, Value, values};
use crate::Error;
use crate::segments::catalog::{Catalog, Segment};
use crate::segments::retention::SegmentInfo;
use crate::server::Lead;
use crate::tally::KINDS;

const TABLES: &str = include_str!("../../migrations/sqlserver/segment.sql");

/// A statement's text for one segment: `{s}` becomes the beginning of its tables' names. There is one text
/// for each statement and segment, so that a server keeps one plan.
pub(super) fn text(template: &str, number: u32) -> String {
    template.replace("{s}", &prefix(number))
}

/// `holdfast.s000012_`: the beginning of the names of a segment's tables.
pub(super) fn prefix(number: u32) -> String {
    format!("holdfast.{}", bare_prefix(number))
}

fn bare_prefix(number: u32) -> String {
    format!("s{number:06}_")
}

/// The statements that make a segment's tables.
pub(super) fn making(prefix: &str) -> String {
    TABLES.replace("{s}", prefix)
}

/// The tables of a segment beside those of the rows: what messages are found by, and which were put back.
pub(super) const KEY: &str = "key";
pub(super) const PUT_BACK: &str = "put_back";

/// What the tables of a segment are called after its prefix.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain([KEY, PUT_BACK])
}

/// The names of a segment's tables.
pub(super) fn tables(number: u32) -> impl Iterator<Item = String> {
    kinds().map(move |kind| format!("{}{kind}", prefix(number)))
}

/// The segments that live and were written to, as of now, oldest first.
pub(super) fn catalog(link: &mut Link) -> Result<Catalog, Error> {
    let doing = database("reading the list of segments");
    let rows = link.rows(sql::CATALOG, &[]).map_err(&doing)?;
    let segments = rows
        .iter()
        .map(segment)
        .collect::<Result<_, _>>()
        .map_err(&doing)?;
    Ok(Catalog { segments })
}

fn segment(row: &Row) -> Result<Segment, Driver> {
    Ok(Segment {
        number: row.get(0)?,
        first: row.get(1)?,
        opened_at: row.get(2)?,
        sealed: row.get(3)?,
        drained: row.get(4)?,
        oldest_reference: row.get(5)?,
        bare: row.get(6)?,
    })
}

/// Something that changes whenever a row of the list does, or a segment is made anew.
pub(super) fn stamp(link: &mut Link) -> Result<String, Error> {
    let doing = database("reading the list of segments");
    let rows = link.rows(sql::STAMP, &[]).map_err(&doing)?;
    let mut stamp = String::new();
    for row in &rows {
        for column in 0..3 {
            let value: Option<i64> = row.get(column).map_err(&doing)?;
            stamp.push_str(&value.unwrap_or(0).to_string());
            stamp.push(' ');
        }
    }
    Ok(stamp)
}

/// The live segments, oldest first, with what their tables and indexes take.
pub(super) fn list(link: &mut Link) -> Result<Vec<SegmentInfo>, Error> {
    let doing = database("reading the list of segments");
    let rows = link.rows(sql::LIST, &[]).map_err(&doing)?;
    let sizes = sizes(link)?;
    let info = |row: &Row| {
        let number = row.get(0)?;
        Ok(SegmentInfo {
            number,
            opened_at: Timestamp(row.get(1)?),
            sealed: row.get(2)?,
            bare: row.get(3)?,
            bytes: of_segment(&sizes, number),
        })
    };
    rows.iter().map(info).collect::<Result<_, _>>().map_err(&doing)
}

/// Bytes of each table of the schema.
fn sizes(link: &mut Link) -> Result<HashMap<String, u64>, Error> {
    let doing = database("measuring the store");
    let sql = if link.stand_in {
        sql::BYTES_OF_STAND_IN
    } else {
        sql::BYTES
    };
    let rows = link.rows(sql, &[]).map_err(&doing)?;
    let size = |row: &Row| Ok((row.get(0)?, row.get::<Option<i64>>(1)?.unwrap_or(0) as u64));
    rows.iter().map(size).collect::<Result<_, _>>().map_err(&doing)
}

fn of_segment(sizes: &HashMap<String, u64>, number: u32) -> u64 {
    let prefix = bare_prefix(number);
    let own = sizes.iter().filter(|(name, _)| name.starts_with(&prefix));
    own.map(|(_, bytes)| bytes).sum()
}

/// Bytes that the tables of a segment take, with their indexes.
pub(super) fn bytes(link: &mut Link, of: u32) -> Result<u64, Error> {
    Ok(of_segment(&sizes(link)?, of))
}

/// Bytes of the whole schema.
pub(super) fn all_bytes(link: &mut Link) -> Result<u64, Error> {
    Ok(sizes(link)?.values().sum())
}

/// Tables of the schema whose names begin so.
pub(super) fn tables_like(link: &mut Link, begin: &str) -> Result<Vec<String>, Error> {
    let doing = database("looking for a segment's tables");
    // An underscore stands for any character unless it is in brackets.
    let pattern = format!("{}%", begin.replace('_', "[_]"));
    let rows = link.rows(sql::TABLES_LIKE, &values![pattern]).map_err(&doing)?;
    rows.iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()
        .map_err(&doing)
}

/// The kinds of a segment's tables that are there.
pub(super) fn kinds_there(link: &mut Link, number: u32) -> Result<Vec<String>, Error> {
    let prefix = bare_prefix(number);
    let names = tables_like(link, &prefix)?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
        .collect())
}

/// The segment that was made ahead, if one was.
fn spare(link: &mut Link) -> Result<Option<u32>, Error> {
    let doing = database("looking for the next segment");
    let row = link.maybe_row(sql::SPARE, &[]).map_err(&doing)?;
    row.map(|row| row.get(0)).transpose().map_err(&doing)
}

/// Makes the tables of the next segment, unless they are there; answers its number.
pub(super) fn make_ahead(link: &mut Link, now: Timestamp) -> Result<u32, Error> {
    if let Some(number) = spare(link)? {
        return Ok(number);
    }
    link.transaction(|link| {
        migrate::lock(link)?;
        make(link, now)
    })
}

/// The same inside a transaction that holds the lock.
fn make(link: &mut Link, now: Timestamp) -> Result<u32, Error> {
    if let Some(number) = spare(link)? {
        return Ok(number);
    }
    let doing = database("making a segment");
    let made = link
        .row(sql::MAKE, &values![now.0])
        .and_then(|row| row.get(0))
        .map_err(&doing)?;
    link.script(making(&prefix(made))).map_err(&doing)?;
    Ok(made)
}

/// Opens the segment that was made ahead, under the claim; false when the claim found no row, or it is open.
pub(super) fn open(
    link: &mut Link,
    lead: &Lead,
    number: u32,
    first: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let doing = database("opening the next segment");
    let mut values: Vec<Value<'_>> = of_lead(lead).into();
    values.extend(values![number as i32, first, now.0]);
    link.row(sql::OPEN_SEGMENT, &values)
        .and_then(|row| row.get(0))
        .map_err(&doing)
}

/// Sees to it that there is a segment to write to.
pub(super) fn open_first(link: &mut Link, now: Timestamp) -> Result<(), Error> {
    if !catalog(link)?.segments.is_empty() {
        return Ok(());
    }
    link.transaction(|link| {
        let doing = database("making the first segment");
        migrate::lock(link)?;
        if !catalog(link)?.segments.is_empty() {
            return Ok(());
        }
        let first = make(link, now)?;
        link.rows(sql::OPEN_FIRST, &values![first as i32, now.0])
            .map_err(&doing)
            .map(drop)
    })
}

/// Whether a row of a segment is there; of one that takes no more rows, which may lose some by rule, whether it is known.
pub(super) fn has(link: &mut Link, table: &str, row: i64, number: u32) -> Result<bool, Error> {
    let doing = database("looking for what was written last");
    let open = link
        .maybe_row(sql::TAKES_ROWS, &values![number as i32])
        .map_err(&doing)?;
    let Some(open) = open else { return Ok(false) };
    if !open.get(0).map_err(&doing)? {
        return Ok(true);
    }
    let sql = text(&sql::HAS_ROW.replace("{table}", table), number);
    let found = link.row(&sql, &values![row]).map_err(&doing)?;
    found.get(0).map_err(&doing)
}
