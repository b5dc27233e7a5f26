//! Sealing: a segment that takes no more rows gets the indexes that listings and searches use, statistics,
//! and a profile of what it holds.

use model::Timestamp;
use sqlx_core::row::Row;
use sqlx_postgres::PgArguments;

use super::fault::database;
use super::link::{Link, arguments};
use super::search;
use super::segment::{prefix, tables, text};
use crate::Error;

/// (table, what the index is called by, columns).
const INDEXES: [(&str, &str, &str); 7] = [
    ("message", "control_id", "control_id, id"),
    ("message", "inbound", "inbound, coalesce(kind, ''), id"),
    ("outbound", "destination", "destination, id"),
    ("outbound", "destination_message", "destination, message"),
    ("disposition", "disposition", "disposition, message"),
    ("dead_letter", "at_name", "at_name, id"),
    ("key", "entry", "entry, message"),
];

/// The smallest number that any row refers to. What resolves a dead letter reaches back to it; an outcome is
/// looked for by its send only.
const OLDEST_REFERENCE: &str = "SELECT least(
    (SELECT min(message) FROM {s}routed), (SELECT min(message) FROM {s}handled),
    (SELECT min(message) FROM {s}outbound), (SELECT min(send) FROM {s}outcome),
    (SELECT min(message) FROM {s}disposition), (SELECT min(message) FROM {s}dead_letter),
    (SELECT min(message) FROM {s}event), (SELECT min(dead_letter) FROM {s}resolved))";

/// Builds what is missing of the indexes and notes that the segment is sealed. May be repeated.
pub(super) fn seal(link: &mut Link, number: u32, now: Timestamp) -> Result<(), Error> {
    let doing = database("sealing a segment");
    let name = format!("s{number:06}");
    search::fill_keys(link, number)?;
    for (table, by, columns) in INDEXES {
        link.script(format!(
            "CREATE INDEX IF NOT EXISTS {name}_{table}_by_{by} ON {}{table} ({columns})",
            prefix(number)
        ))
        .map_err(&doing)?;
    }
    for table in tables(number) {
        link.script(format!("ANALYZE {table}")).map_err(&doing)?;
    }
    let (oldest, profile) = contents(link, number)?;
    let values = arguments!(number as i32, now.0, oldest, profile);
    link.rows(
        "UPDATE holdfast.segment SET sealed_at = $2, oldest_reference = $3, profile = $4
         WHERE number = $1 AND sealed_at IS NULL",
        values.map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}

/// Notes anew what a sealed segment holds.
pub(super) fn note_contents(link: &mut Link, number: u32) -> Result<(), Error> {
    let doing = database("noting what a segment holds");
    let (oldest, profile) = contents(link, number)?;
    link.rows(
        "UPDATE holdfast.segment SET oldest_reference = $2, profile = $3 WHERE number = $1",
        arguments!(number as i32, oldest, profile).map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}

/// The smallest number that any row of a segment refers to (`i64::MAX` when none refers to anything), and the
/// segment's profile as text.
fn contents(link: &mut Link, number: u32) -> Result<(i64, String), Error> {
    let oldest: Option<i64> = link
        .row(text(OLDEST_REFERENCE, number), PgArguments::default())
        .and_then(|row| row.try_get(0))
        .map_err(database("looking for what a segment refers to"))?;
    let profile = search::profile(link, number)?;
    let profile = serde_json::to_string(&profile).map_err(|source| Error::Database {
        doing: "noting what a segment holds",
        source: Box::new(source),
    })?;
    Ok((oldest.unwrap_or(i64::MAX), profile))
}

/// Notes that nothing in a segment was open.
pub(super) fn note_drained(link: &mut Link, number: u32, now: Timestamp) -> Result<(), Error> {
    let doing = database("noting that a segment is drained");
    link.rows(
        "UPDATE holdfast.segment SET drained_at = $2 WHERE number = $1 AND drained_at IS NULL",
        arguments!(number as i32, now.0).map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}
