//! What one call sees: the segments as they were when it began, and the look-ups that all reads share.
//! The newest segment wins where rows supersede one another, as the newest row does within a segment.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use model::{Disposition, NameId};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use super::catalog::Catalog;
use super::fault::database;
use super::readers::{Reader, Readers};
use crate::Error;

/// Connections that one call holds at a time.
const OPEN_MAX: usize = 48;

pub(super) struct View {
    pub(super) catalog: Arc<Catalog>,
    readers: Readers,
    open: HashMap<usize, Rc<Reader>>,
}

impl View {
    pub(super) fn new(catalog: Arc<Catalog>, readers: Readers) -> View {
        View {
            catalog,
            readers,
            open: HashMap::new(),
        }
    }

    /// A connection to the segment at `index`.
    pub(super) fn connection(&mut self, index: usize) -> Result<Rc<Reader>, Error> {
        if let Some(reader) = self.open.get(&index) {
            return Ok(Rc::clone(reader));
        }
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        let reader = Rc::new(self.readers.take(self.catalog.segments[index].number)?);
        self.open.insert(index, Rc::clone(&reader));
        Ok(reader)
    }

    /// All rows of a query on one segment.
    pub(super) fn rows<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        rows(&*self.connection(index)?, sql, values, read).map_err(database("reading a segment"))
    }

    /// The first row of a query on one segment.
    pub(super) fn row<T>(
        &mut self,
        index: usize,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let connection = self.connection(index)?;
        let found = connection
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(values, read).optional());
        found.map_err(database("reading a segment"))
    }

    /// The newest answer of a query by one row's number, looking from the newest segment back.
    pub(super) fn newest<T>(
        &mut self,
        belongs_to: i64,
        sql: &str,
        values: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        for index in self.catalog.reach(belongs_to).into_iter().rev() {
            if let Some(found) = self.row(index, sql, values, &mut read)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All rows of a query by one row's number, oldest segment first.
    pub(super) fn all<T>(
        &mut self,
        belongs_to: i64,
        sql: &str,
        values: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        for index in self.catalog.reach(belongs_to) {
            found.extend(self.rows(index, sql, values, &mut read)?);
        }
        Ok(found)
    }

    /// The newest disposition of a message and its row number.
    pub(super) fn disposition(&mut self, message: i64) -> Result<Option<(i64, Disposition)>, Error> {
        self.newest(
            message,
            "SELECT id, disposition FROM disposition WHERE message = ?1 ORDER BY id DESC LIMIT 1",
            &[&message],
            |row| Ok((row.get(0)?, disposition(row, 1)?)),
        )
    }

    /// The number of a message's newest routed row.
    pub(super) fn newest_routed(&mut self, message: i64) -> Result<Option<i64>, Error> {
        self.newest(
            message,
            "SELECT id FROM routed WHERE message = ?1 ORDER BY id DESC LIMIT 1",
            &[&message],
            |row| row.get(0),
        )
    }

    /// Where a message stands, for people: its newest disposition, or, while it is in flight, whether its
    /// router has run.
    pub(super) fn stands(&mut self, message: i64) -> Result<Disposition, Error> {
        match self.disposition(message)? {
            Some((_, disposition)) if disposition.is_final() => Ok(disposition),
            _ if self.awaits_routing(message)? => Ok(Disposition::Received),
            _ => Ok(Disposition::Routed),
        }
    }

    /// Whether a message waits for its router: never routed, or put back to the start since.
    pub(super) fn awaits_routing(&mut self, message: i64) -> Result<bool, Error> {
        let routed = self.newest_routed(message)?;
        Ok(match self.disposition(message)? {
            None => routed.is_none(),
            Some((row, Disposition::Received)) => routed.is_none_or(|routed| routed < row),
            Some(_) => false,
        })
    }
}

/// All rows of a query.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}

/// A disposition column.
pub(super) fn disposition(row: &Row<'_>, column: usize) -> rusqlite::Result<Disposition> {
    let code = row.get(column)?;
    Disposition::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// A name column.
pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<NameId> {
    row.get(column).map(NameId)
}

/// The handlers of a routed row.
pub(super) fn handlers(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<NameId>> {
    let packed = row.get_ref(column)?.as_blob()?;
    let number = |four: &[u8]| {
        NameId(
            four.iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
        )
    };
    Ok(packed.chunks_exact(4).map(number).collect())
}
