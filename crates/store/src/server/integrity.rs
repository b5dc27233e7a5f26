//! Reading everything back: that the tables are there and readable, and what must hold between our rows.

use super::link::DriverOf;
use super::segment::{Segments, text};
use super::tables::body;
use super::value::{Driver, Row, Value, database, values};
use crate::Error;
use crate::packing::{Place, PlaceOf};

/// What the statements for packed bodies read.
const PLACES: [PlaceOf; 3] = [Place::Message, Place::Send, Place::Reply];

/// Bodies that cannot be unpacked are named one by one up to here.
const BODIES_NAMED: usize = 20;

pub(crate) struct Sql {
    /// Read every row, every byte of a body that is not packed included: the server checks the pages as it reads them.
    pub(crate) read_all: &'static [&'static str],
    /// The next packed bodies behind a row: its number in two columns (the two values), how it is packed, the bytes. As
    /// many as fit into 4 MiB, at least one, at most 256. In the order: messages, sends, replies.
    pub(crate) packed_bodies: [&'static str; 3],
    /// First, end. How many rows have a number that does not fit the segment they lie in.
    pub(crate) strays: &'static str,
    /// First. How many outcomes have a send that should lie in the same segment and does not.
    pub(crate) orphans: &'static str,
}

pub(crate) trait Checking: Segments {
    const CHECKING: Sql;

    /// The kind of a table of a segment that is not there.
    fn missing(&mut self, number: u32) -> Result<Option<String>, Error>;

    /// Reads everything back; one line per fault found.
    fn check(&mut self) -> Result<Vec<String>, Error> {
        let catalog = self.catalog()?;
        let mut faults = Vec::new();
        for (index, segment) in catalog.segments.iter().enumerate() {
            let what = format!("segment {}", segment.number);
            if let Some(missing) = self.missing(segment.number)? {
                faults.push(format!("{what}: the table {missing} is missing"));
                continue;
            }
            for sql in Self::CHECKING.read_all {
                if let Err(error) = self.rows(&text(sql, segment.number), &[]) {
                    if !self.is_whole() {
                        return Err(database("checking the store")(error));
                    }
                    faults.push(format!("{what}: {error}"));
                }
            }
            for (place, sql) in PLACES.into_iter().zip(Self::CHECKING.packed_bodies) {
                let sql = text(sql, segment.number);
                if let Err(error) = unpack_all(self, place, &sql, &what, &mut faults) {
                    if !self.is_whole() {
                        return Err(database("checking the store")(error));
                    }
                    faults.push(format!("{what}: {error}"));
                }
            }
            let range = values![segment.first, catalog.end(index)];
            let strays = count(self, segment.number, Self::CHECKING.strays, &range)?;
            if strays > 0 {
                faults.push(format!(
                    "{what}: {strays} rows carry numbers that do not belong there"
                ));
            }
            let orphans = count(self, segment.number, Self::CHECKING.orphans, &range[..1])?;
            if orphans > 0 {
                faults.push(format!("{what}: {orphans} outcomes belong to no send"));
            }
        }
        Ok(faults)
    }
}

/// Unpacks every body of one table.
fn unpack_all<S: Segments>(
    link: &mut S,
    place: PlaceOf,
    sql: &str,
    what: &str,
    faults: &mut Vec<String>,
) -> Result<(), DriverOf<S>> {
    let (mut after, mut named) = ((0_i64, 0_i64), 0);
    loop {
        let rows = link.rows(sql, &values![after.0, after.1])?;
        for row in &rows {
            after = (row.get(0)?, row.get(1)?);
            if let Err(error) = body(row, place(after.0), 2) {
                let Some(fault) = error.why_unreadable() else {
                    return Err(error);
                };
                faults.push(format!("{what}: {fault}"));
                named += 1;
            }
        }
        if rows.is_empty() || named >= BODIES_NAMED {
            return Ok(());
        }
    }
}

fn count<S: Segments>(link: &mut S, number: u32, sql: &str, values: &[Value<'_>]) -> Result<i64, Error> {
    link.row(&text(sql, number), values)
        .and_then(|row| row.get(0))
        .map_err(database("checking the store"))
}
