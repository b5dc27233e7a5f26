//! Sealing: a segment that takes no more rows gets the indexes that listings use, and statistics.

use model::Timestamp;
use sqlx_core::row::Row;
use sqlx_postgres::PgArguments;

use super::fault::database;
use super::link::{Link, arguments};
use super::segment::{prefix, tables, text};
use crate::Error;

/// (table, columns); the index is called after both.
const INDEXES: [(&str, &str); 5] = [
    ("message", "control_id, id"),
    ("message", "inbound, id"),
    ("message", "kind, id"),
    ("outbound", "destination, id"),
    ("dead_letter", "at_name, id"),
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
    for (table, columns) in INDEXES {
        let column = columns.split(',').next().unwrap_or_default();
        link.script(format!(
            "CREATE INDEX IF NOT EXISTS {name}_{table}_by_{column} ON {}{table} ({columns})",
            prefix(number)
        ))
        .map_err(&doing)?;
    }
    for table in tables(number) {
        link.script(format!("ANALYZE {table}")).map_err(&doing)?;
    }
    let oldest = oldest_reference(link, number)?;
    let values = arguments!(number as i32, now.0, oldest);
    link.rows(
        "UPDATE holdfast.segment SET sealed_at = $2, oldest_reference = $3 WHERE number = $1 AND sealed_at IS NULL",
        values.map_err(&doing)?,
    )
    .map_err(&doing)
    .map(drop)
}

/// The smallest number that any row of a segment refers to; `i64::MAX` when none refers to anything.
pub(super) fn oldest_reference(link: &mut Link, number: u32) -> Result<i64, Error> {
    let oldest: Option<i64> = link
        .row(text(OLDEST_REFERENCE, number), PgArguments::default())
        .and_then(|row| row.try_get(0))
        .map_err(database("looking for what a segment refers to"))?;
    Ok(oldest.unwrap_or(i64::MAX))
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
