//! Reading everything back: SQLite's own check of each file, and what must hold between our rows.

use super::fault::database;
use super::readers::CONTROL;
use super::store::Shared;
use crate::Error;
use crate::packing::{self, Place, PlaceOf};

/// Faults that one file's check names before it stops.
const CHECK: &str = "PRAGMA integrity_check(20)";

/// Rows whose number does not fit the file they lie in, or whose epoch is not that of their number.
const STRAYS: &str = "SELECT count(*) FROM (
    SELECT id, epoch FROM message UNION ALL SELECT id, epoch FROM routed UNION ALL SELECT id, epoch FROM handled
    UNION ALL SELECT id, epoch FROM outbound UNION ALL SELECT id, epoch FROM outcome
    UNION ALL SELECT id, epoch FROM disposition UNION ALL SELECT id, epoch FROM dead_letter
    UNION ALL SELECT id, epoch FROM resolved UNION ALL SELECT id, epoch FROM event)
    WHERE id < ?1 OR id >= ?2 OR epoch <> id >> 43";

/// Outcomes whose send should lie in the same file and does not.
const ORPHANS: &str = "SELECT count(*) FROM outcome AS o
    WHERE send >= ?1 AND NOT EXISTS (SELECT 1 FROM outbound WHERE id = o.send AND message = o.message)";

/// Every body that is packed, with the number of the row that names it.
const BODIES: [(PlaceOf, &str); 3] = [
    (Place::Message, "SELECT id, enc, body FROM message WHERE enc <> 0"),
    (Place::Send, "SELECT id, enc, body FROM outbound WHERE enc <> 0"),
    (
        Place::Reply,
        "SELECT send, enc, reply FROM outcome WHERE enc <> 0",
    ),
];

/// Bodies that cannot be unpacked are named one by one up to here.
const BODIES_NAMED: usize = 20;

/// Reads every file back; one line per fault found.
pub(super) fn check(shared: &Shared) -> Result<Vec<String>, Error> {
    let doing = database("checking the store");
    let mut faults = Vec::new();
    let control = shared.readers.take(CONTROL)?;
    let found: Vec<String> = rows(&control, CHECK, &[], |row| row.get(0)).map_err(&doing)?;
    faults.extend(
        found
            .into_iter()
            .filter(|line| line != "ok")
            .map(|line| format!("control file: {line}")),
    );
    let catalog = shared.catalog();
    for (index, segment) in catalog.segments.iter().enumerate() {
        let file = format!("segment {}", segment.number);
        let reader = match shared.readers.take(segment.number) {
            Ok(reader) => reader,
            Err(error) => {
                faults.push(format!("{file}: {error}"));
                continue;
            }
        };
        match check_segment(&reader, segment.first, catalog.end(index)) {
            Ok(found) => faults.extend(found.into_iter().map(|line| format!("{file}: {line}"))),
            Err(error) => faults.push(format!("{file}: {error}")),
        }
    }
    Ok(faults)
}

fn check_segment(connection: &rusqlite::Connection, first: i64, end: i64) -> rusqlite::Result<Vec<String>> {
    let mut faults: Vec<String> = rows(connection, CHECK, &[], |row| row.get(0))?;
    faults.retain(|line| line != "ok");
    let strays: i64 = connection.query_row(STRAYS, [first, end], |row| row.get(0))?;
    if strays > 0 {
        faults.push(format!("{strays} rows carry numbers that do not belong there"));
    }
    let orphans: i64 = connection.query_row(ORPHANS, [first], |row| row.get(0))?;
    if orphans > 0 {
        faults.push(format!("{orphans} outcomes belong to no send"));
    }
    unpack_all(connection, &mut faults)?;
    Ok(faults)
}

/// Unpacks every body.
fn unpack_all(connection: &rusqlite::Connection, faults: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut named = 0;
    for (place, sql) in BODIES {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(packed) = row.get(2)? else { continue };
            if let Err(fault) = packing::unpack(place(row.get(0)?), row.get(1)?, packed) {
                faults.push(fault.to_string());
                named += 1;
                if named == BODIES_NAMED {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn rows<T>(
    connection: &rusqlite::Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}
