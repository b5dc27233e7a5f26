//! Sealing: a segment that takes no more rows gets the indexes that listings and searches use, and a profile of what
//! it holds.

use model::Timestamp;

use super::fault::database;
use super::link::Link;
use super::search;
use super::segment::prefix;
use super::sql;
use super::value::values;
use crate::Error;

/// Builds what is missing of the indexes and notes that the segment is sealed. May be repeated.
pub(super) fn seal(link: &mut Link, number: u32, now: Timestamp) -> Result<(), Error> {
    let doing = database("sealing a segment");
    search::fill_keys(link, number)?;
    add_indexes(link, &prefix(number))?;
    let (oldest, profile) = contents(link, &prefix(number))?;
    link.rows(sql::SEALED, &values![number as i32, now.0, oldest, profile])
        .map_err(&doing)
        .map(drop)
}

/// Builds what is missing of the indexes of the tables whose names begin so.
pub(super) fn add_indexes(link: &mut Link, prefix: &str) -> Result<(), Error> {
    let doing = database("sealing a segment");
    for (table, by, columns) in sql::INDEXES {
        let (table, name) = (format!("{prefix}{table}"), format!("{table}_by_{by}"));
        let there: bool = link
            .row(sql::INDEX_THERE, &values![table.as_str(), name.as_str()])
            .and_then(|row| row.get(0))
            .map_err(&doing)?;
        if !there {
            link.script(format!("CREATE INDEX {name} ON {table} ({columns})"))
                .map_err(&doing)?;
        }
    }
    Ok(())
}

/// The smallest number that any row of a segment refers to (`i64::MAX` when none refers to anything), and the
/// segment's profile as text. The segment's tables are told by the beginning of their names.
pub(super) fn contents(link: &mut Link, prefix: &str) -> Result<(i64, String), Error> {
    let oldest: Option<i64> = link
        .row(&sql::OLDEST_REFERENCE.replace("{s}", prefix), &[])
        .and_then(|row| row.get(0))
        .map_err(database("looking for what a segment refers to"))?;
    let profile = search::profile(link, prefix)?;
    let profile = serde_json::to_string(&profile).map_err(|source| Error::Database {
        doing: "noting what a segment holds",
        source: Box::new(source),
    })?;
    Ok((oldest.unwrap_or(i64::MAX), profile))
}

/// Notes that nothing in a segment was open.
pub(super) fn note_drained(link: &mut Link, number: u32, now: Timestamp) -> Result<(), Error> {
    link.rows(sql::DRAINED, &values![number as i32, now.0])
        .map_err(database("noting that a segment is drained"))
        .map(drop)
}
