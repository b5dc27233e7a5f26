//! Reading everything back: that the tables are there and readable, and what must hold between our rows.

use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::PgArguments;

use super::fault::database;
use super::link::{Link, arguments, bind};
use super::segment::{self, prefix, tables, text};
use super::tables::body;
use crate::Error;
use crate::packing::{Place, PlaceOf};

/// Reads every row, every byte of a body that is not packed included: the server checks the pages as it reads them.
const READ: [&str; 10] = [
    "SELECT count(md5(body)) FROM {s}message WHERE enc = 0",
    "SELECT count(handlers::text) FROM {s}routed",
    "SELECT count(result) FROM {s}handled",
    "SELECT count(md5(body)) FROM {s}outbound WHERE enc = 0",
    "SELECT count(md5(reply)) FROM {s}outcome WHERE enc = 0",
    "SELECT count(disposition) FROM {s}disposition",
    "SELECT count(reason) FROM {s}dead_letter",
    "SELECT count(actor) FROM {s}resolved",
    "SELECT count(detail) FROM {s}event",
    "SELECT count(entry) FROM {s}key",
];

/// Rows whose number does not fit the segment they lie in.
const STRAYS: &str = "SELECT count(*) FROM (
    SELECT id FROM {s}message UNION ALL SELECT id FROM {s}routed UNION ALL SELECT id FROM {s}handled
    UNION ALL SELECT id FROM {s}outbound UNION ALL SELECT id FROM {s}outcome
    UNION ALL SELECT id FROM {s}disposition UNION ALL SELECT id FROM {s}dead_letter
    UNION ALL SELECT id FROM {s}resolved UNION ALL SELECT id FROM {s}event) AS rows
    WHERE id < $1 OR id >= $2";

/// Outcomes whose send should lie in the same segment and does not.
const ORPHANS: &str = "SELECT count(*) FROM {s}outcome AS o
    WHERE send >= $1 AND NOT EXISTS (SELECT FROM {s}outbound WHERE id = o.send AND message = o.message)";

/// The next packed bodies behind a row: its number in two columns ($1, $2), how it is packed, the bytes. As many as
/// fit into 4 MiB, at least one, at most 256.
const BODIES: [(PlaceOf, &str); 3] = [
    (
        Place::Message,
        "SELECT id, id, enc, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before FROM (
                SELECT id, enc, body FROM {s}message WHERE id > $1 AND id > $2 AND enc <> 0 ORDER BY id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY id",
    ),
    (
        Place::Send,
        "SELECT id, id, enc, body FROM (
            SELECT *, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before FROM (
                SELECT id, enc, body FROM {s}outbound WHERE id > $1 AND id > $2 AND enc <> 0 ORDER BY id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY id",
    ),
    (
        Place::Reply,
        "SELECT send, id, enc, reply FROM (
            SELECT *, sum(octet_length(reply)) OVER (ORDER BY send, id) - octet_length(reply) AS before FROM (
                SELECT send, id, enc, reply FROM {s}outcome WHERE (send, id) > ($1, $2) AND enc <> 0
                    ORDER BY send, id LIMIT 256
            ) AS next) AS sized WHERE before < 4194304 ORDER BY send, id",
    ),
];

/// Bodies that cannot be unpacked are named one by one up to here.
const BODIES_NAMED: usize = 20;

/// One line per fault found.
pub(super) fn check(link: &mut Link) -> Result<Vec<String>, Error> {
    let catalog = segment::catalog(link)?;
    let mut faults = Vec::new();
    for (index, segment) in catalog.segments.iter().enumerate() {
        let what = format!("segment {}", segment.number);
        if let Some(missing) = missing(link, segment.number)? {
            faults.push(format!("{what}: the table {missing} is missing"));
            continue;
        }
        for sql in READ {
            if let Err(error) = link.rows(text(sql, segment.number), PgArguments::default()) {
                if !link.is_whole() {
                    return Err(database("checking the store")(error));
                }
                faults.push(format!("{what}: {error}"));
            }
        }
        for (place, sql) in BODIES {
            if let Err(error) = unpack_all(link, segment.number, place, sql, &what, &mut faults) {
                if !link.is_whole() {
                    return Err(database("checking the store")(error));
                }
                faults.push(format!("{what}: {error}"));
            }
        }
        let end = catalog.end(index);
        let strays = count(link, segment.number, STRAYS, &[segment.first, end])?;
        if strays > 0 {
            faults.push(format!(
                "{what}: {strays} rows carry numbers that do not belong there"
            ));
        }
        let orphans = count(link, segment.number, ORPHANS, &[segment.first])?;
        if orphans > 0 {
            faults.push(format!("{what}: {orphans} outcomes belong to no send"));
        }
    }
    Ok(faults)
}

/// Unpacks every body of one table.
fn unpack_all(
    link: &mut Link,
    number: u32,
    place: fn(i64) -> Place,
    sql: &str,
    what: &str,
    faults: &mut Vec<String>,
) -> Result<(), Driver> {
    let (mut after, mut named) = ((0_i64, 0_i64), 0);
    loop {
        let rows = link.rows(text(sql, number), arguments!(after.0, after.1)?)?;
        for row in &rows {
            after = (row.try_get(0)?, row.try_get(1)?);
            match body(row, place(after.0), 2) {
                Ok(_) => {}
                Err(Driver::Decode(fault)) => {
                    faults.push(format!("{what}: {fault}"));
                    named += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if rows.is_empty() || named >= BODIES_NAMED {
            return Ok(());
        }
    }
}

fn missing(link: &mut Link, number: u32) -> Result<Option<String>, Error> {
    let doing = database("looking for a segment's tables");
    let names: Vec<String> = tables(number).collect();
    let row = link
        .maybe_row(
            "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL LIMIT 1",
            arguments!(names).map_err(&doing)?,
        )
        .map_err(&doing)?;
    let name: Option<String> = row.map(|row| row.try_get(0)).transpose().map_err(&doing)?;
    Ok(name.map(|name| name.trim_start_matches(&prefix(number)).to_owned()))
}

fn count(link: &mut Link, number: u32, sql: &str, values: &[i64]) -> Result<i64, Error> {
    let doing = database("checking the store");
    let bound = values
        .iter()
        .try_fold(PgArguments::default(), |bound, value| bind(bound, *value));
    bound
        .and_then(|bound| link.row(text(sql, number), bound))
        .and_then(|row| row.try_get(0))
        .map_err(&doing)
}
