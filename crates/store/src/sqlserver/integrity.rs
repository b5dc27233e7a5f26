//! Reading everything back: that the tables are there and readable, and what must hold between our rows.

use super::fault::{Driver, database};
use super::link::Link;
use super::segment::{self, text};
use super::sql;
use super::tables::body;
use super::value::{Value, values};
use crate::Error;
use crate::packing::{Place, PlaceOf};

/// What the statements for packed bodies read.
const PLACES: [PlaceOf; 3] = [Place::Message, Place::Send, Place::Reply];

/// Bodies that cannot be unpacked are named one by one up to here.
const BODIES_NAMED: usize = 20;

/// One line per fault found.
pub(super) fn check(link: &mut Link) -> Result<Vec<String>, Error> {
    let catalog = segment::catalog(link)?;
    let mut faults = Vec::new();
    for (index, segment) in catalog.segments.iter().enumerate() {
        let what = format!("segment {}", segment.number);
        let there = segment::kinds_there(link, segment.number)?;
        let missing = segment::kinds().find(|kind| !there.iter().any(|name| name == kind));
        if let Some(missing) = missing {
            faults.push(format!("{what}: the table {missing} is missing"));
            continue;
        }
        for sql in sql::READ_ALL {
            if let Err(error) = link.rows(&text(sql, segment.number), &[]) {
                if !link.is_whole() {
                    return Err(database("checking the store")(error));
                }
                faults.push(format!("{what}: {error}"));
            }
        }
        for (place, sql) in PLACES.into_iter().zip(sql::PACKED_BODIES) {
            if let Err(error) = unpack_all(link, segment.number, place, sql, &what, &mut faults) {
                if !link.is_whole() {
                    return Err(database("checking the store")(error));
                }
                faults.push(format!("{what}: {error}"));
            }
        }
        let end = catalog.end(index);
        let strays = count(link, segment.number, sql::STRAYS, &values![segment.first, end])?;
        if strays > 0 {
            faults.push(format!(
                "{what}: {strays} rows carry numbers that do not belong there"
            ));
        }
        let orphans = count(link, segment.number, sql::ORPHANS, &values![segment.first])?;
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
        let rows = link.rows(&text(sql, number), &values![after.0, after.1])?;
        for row in &rows {
            after = (row.get(0)?, row.get(1)?);
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

fn count(link: &mut Link, number: u32, sql: &str, values: &[Value<'_>]) -> Result<i64, Error> {
    link.row(&text(sql, number), values)
        .and_then(|row| row.get(0))
        .map_err(database("checking the store"))
}
