//! Segments as tables: their names, making one ahead, the list of those that live.

use model::Timestamp;
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgArguments, PgRow};

use super::fault::database;
use super::link::{Link, arguments};
use super::migrate::LOCK;
use crate::Error;
use crate::segments::catalog::{Catalog, Segment};
use crate::segments::retention::SegmentInfo;
use crate::server::Lead;
use crate::tally::KINDS;

const TABLES: &str = include_str!("../../migrations/postgres/segment.sql");

/// A statement's text for one segment: `{s}` becomes the beginning of its tables' names. There is one text
/// for each statement and segment, so that it is prepared once.
pub(super) fn text(template: &str, number: u32) -> AssertSqlSafe<String> {
    AssertSqlSafe(template.replace("{s}", &prefix(number)))
}

/// `holdfast.s000012_`: the beginning of the names of a segment's tables.
pub(super) fn prefix(number: u32) -> String {
    format!("holdfast.s{number:06}_")
}

/// The table of the search keys, filled at sealing.
pub(super) const KEY: &str = "key";

/// The names of a segment's tables: those of the rows, and that of the search keys.
pub(super) fn tables(number: u32) -> impl Iterator<Item = String> {
    KINDS
        .into_iter()
        .chain([KEY])
        .map(move |kind| format!("{}{kind}", prefix(number)))
}

const COLUMNS: &str =
    "SELECT number, first_row, opened_at, sealed_at IS NOT NULL, drained_at IS NOT NULL, oldest_reference,
         coalesce((profile::json ->> 'bare')::boolean, false)
     FROM holdfast.segment WHERE opened_at IS NOT NULL AND dropped_at IS NULL ORDER BY number";

/// The segments that live and were written to, as of now, oldest first.
pub(super) fn catalog(link: &mut Link) -> Result<Catalog, Error> {
    let doing = database("reading the list of segments");
    let rows = link.rows(COLUMNS, PgArguments::default()).map_err(&doing)?;
    let segments = rows
        .iter()
        .map(segment)
        .collect::<Result<_, _>>()
        .map_err(&doing)?;
    Ok(Catalog { segments })
}

/// Something that changes whenever a row of the list of segments does.
pub(super) fn stamp(link: &mut Link) -> Result<String, Error> {
    let sql = "SELECT coalesce(string_agg(xmin::text, ',' ORDER BY number), '') FROM holdfast.segment
        WHERE opened_at IS NOT NULL AND dropped_at IS NULL";
    link.row(sql, PgArguments::default())
        .and_then(|row| row.try_get(0))
        .map_err(database("reading the list of segments"))
}

fn segment(row: &PgRow) -> Result<Segment, Driver> {
    Ok(Segment {
        number: number(row, 0)?,
        first: row.try_get(1)?,
        opened_at: row.try_get(2)?,
        sealed: row.try_get(3)?,
        drained: row.try_get(4)?,
        oldest_reference: row.try_get(5)?,
        bare: row.try_get(6)?,
    })
}

/// A number that is never negative in our tables.
pub(super) fn number(row: &PgRow, column: usize) -> Result<u32, Driver> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|error| Driver::Decode(Box::new(error)))
}

/// The live segments, oldest first, with what their tables and indexes take.
pub(super) fn list(link: &mut Link) -> Result<Vec<SegmentInfo>, Error> {
    let doing = database("reading the list of segments");
    let rows = link
        .rows(
            "SELECT s.number, s.opened_at, s.sealed_at IS NOT NULL,
                 coalesce((SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c
                     JOIN pg_namespace AS n ON n.oid = c.relnamespace
                     WHERE n.nspname = 'holdfast' AND c.relkind = 'r'
                       AND c.relname = ANY (SELECT format('s%s_%s', lpad(s.number::text, 6, '0'), kind)
                                            FROM unnest($1::text[]) AS kind)), 0)::bigint,
                 coalesce((s.profile::json ->> 'bare')::boolean, false)
             FROM holdfast.segment AS s WHERE s.opened_at IS NOT NULL AND s.dropped_at IS NULL ORDER BY s.number",
            arguments!(KINDS.into_iter().chain([KEY]).map(str::to_owned).collect::<Vec<_>>()).map_err(&doing)?,
        )
        .map_err(&doing)?;
    let info = |row: &PgRow| {
        let bytes: i64 = row.try_get(3)?;
        Ok(SegmentInfo {
            number: number(row, 0)?,
            opened_at: Timestamp(row.try_get(1)?),
            sealed: row.try_get(2)?,
            bytes: bytes as u64,
            bare: row.try_get(4)?,
        })
    };
    rows.iter().map(info).collect::<Result<_, _>>().map_err(&doing)
}

/// Bytes that the tables of a segment take, with their indexes.
pub(super) fn bytes(link: &mut Link, of: u32) -> Result<u64, Error> {
    let doing = database("measuring a segment");
    let names: Vec<String> = tables(of).collect();
    let bytes: i64 = link
        .row(
            "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint FROM unnest($1::text[]) AS name",
            arguments!(names).map_err(&doing)?,
        )
        .and_then(|row| row.try_get(0))
        .map_err(&doing)?;
    Ok(bytes as u64)
}

/// Bytes of the whole schema.
pub(super) fn all_bytes(link: &mut Link) -> Result<u64, Error> {
    let doing = database("measuring the store");
    let bytes: i64 = link
        .row(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'holdfast' AND c.relkind = 'r'",
            PgArguments::default(),
        )
        .and_then(|row| row.try_get(0))
        .map_err(&doing)?;
    Ok(bytes as u64)
}

/// The segment that was made ahead, if one was.
fn spare(link: &mut Link) -> Result<Option<u32>, Error> {
    let doing = database("looking for the next segment");
    let row = link
        .maybe_row(
            "SELECT number FROM holdfast.segment WHERE opened_at IS NULL AND dropped_at IS NULL ORDER BY number LIMIT 1",
            PgArguments::default(),
        )
        .map_err(&doing)?;
    row.map(|row| number(&row, 0)).transpose().map_err(&doing)
}

/// Makes the tables of the next segment, unless they are there; answers its number.
pub(super) fn make_ahead(link: &mut Link, now: Timestamp) -> Result<u32, Error> {
    if let Some(number) = spare(link)? {
        return Ok(number);
    }
    link.transaction(|link| {
        link.script(LOCK).map_err(database("making a segment"))?;
        make(link, now)
    })
}

/// The same inside a transaction that holds the lock.
fn make(link: &mut Link, now: Timestamp) -> Result<u32, Error> {
    if let Some(number) = spare(link)? {
        return Ok(number);
    }
    let doing = database("making a segment");
    let row = link.row(
        "INSERT INTO holdfast.segment (number, made_at) SELECT coalesce(max(number), 0) + 1, $1 FROM holdfast.segment
         RETURNING number",
        arguments!(now.0).map_err(&doing)?,
    );
    let made = row.and_then(|row| number(&row, 0)).map_err(&doing)?;
    link.script(TABLES.replace("{s}", &prefix(made)))
        .map_err(&doing)?;
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
    let values = arguments!(
        lead.term.epoch.0 as i32,
        lead.term.id,
        lead.session,
        number as i32,
        first,
        now.0
    );
    let opened = link.rows(
        "WITH own AS (SELECT 1 FROM holdfast.shard
             WHERE shard = 0 AND epoch = $1 AND term = $2 AND session = $3 FOR UPDATE)
         UPDATE holdfast.segment SET first_row = $5, opened_at = $6
         WHERE number = $4 AND opened_at IS NULL AND EXISTS (SELECT FROM own) RETURNING 1",
        values.map_err(&doing)?,
    );
    Ok(!opened.map_err(&doing)?.is_empty())
}

/// Sees to it that there is a segment to write to.
pub(super) fn open_first(link: &mut Link, now: Timestamp) -> Result<(), Error> {
    if !catalog(link)?.segments.is_empty() {
        return Ok(());
    }
    link.transaction(|link| {
        let doing = database("making the first segment");
        link.script(LOCK).map_err(&doing)?;
        if !catalog(link)?.segments.is_empty() {
            return Ok(());
        }
        let first = make(link, now)?;
        // Numbers of an empty store start at 1; those of one that was emptied are higher.
        link.rows(
            "UPDATE holdfast.segment SET first_row = 1, opened_at = $2 WHERE number = $1",
            arguments!(first as i32, now.0).map_err(&doing)?,
        )
        .map_err(&doing)
        .map(drop)
    })
}

/// Whether a row of a segment is there; of one that takes no more rows, which may lose some by rule, whether it is known.
pub(super) fn has(link: &mut Link, table: &str, row: i64, number: u32) -> Result<bool, Error> {
    let doing = database("looking for what was written last");
    let open = link
        .maybe_row(
            "SELECT sealed_at IS NULL AND dropped_at IS NULL FROM holdfast.segment
             WHERE number = $1 AND opened_at IS NOT NULL",
            arguments!(number as i32).map_err(&doing)?,
        )
        .map_err(&doing)?;
    let Some(open) = open else { return Ok(false) };
    if !open.try_get(0).map_err(&doing)? {
        return Ok(true);
    }
    let sql = text(
        &format!("SELECT EXISTS (SELECT FROM {{s}}{table} WHERE id = $1)"),
        number,
    );
    let found = link.row(sql, arguments!(row).map_err(&doing)?);
    found.and_then(|row| row.try_get(0)).map_err(&doing)
}
