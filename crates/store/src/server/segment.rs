//! Segments as tables: their names, making one ahead, the list of those that live.

use model::Timestamp;

use super::lead::Lead;
use super::lease::of_lead;
use super::link::Connection;
use super::value::{Row, Value, database, values};
use crate::Error;
use crate::segments::catalog::{Catalog, Segment};
use crate::segments::retention::SegmentInfo;
use crate::tally::KINDS;

/// A statement's text for one segment: `{s}` becomes the beginning of its tables' names. There is one text for each
/// statement and segment, so that a server prepares it, or plans it, once.
pub(crate) fn text(template: &str, number: u32) -> String {
    template.replace("{s}", &prefix(number))
}

/// `holdfast.s000012_`: the beginning of the names of a segment's tables.
pub(crate) fn prefix(number: u32) -> String {
    format!("holdfast.s{number:06}_")
}

/// What the tables of a segment are called after its prefix: those of the rows, and the server's own.
pub(crate) fn kinds<S: Segments>() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain(S::OWN_KINDS.iter().copied())
}

/// The names of a segment's tables.
pub(crate) fn tables<S: Segments>(number: u32) -> impl Iterator<Item = String> {
    kinds::<S>().map(move |kind| format!("{}{kind}", prefix(number)))
}

pub(crate) struct Sql {
    /// The segments that live and were written to, oldest first, column by column as a [`Segment`] has them.
    pub(crate) catalog: &'static str,
    /// The number of a segment that was made and not opened.
    pub(crate) spare: &'static str,
    /// When. Lists another segment and answers its number.
    pub(crate) make: &'static str,
    /// Epoch, term, session, which, its first row, when. No row or 0: the claim found no row, or it is open.
    pub(crate) open_segment: &'static str,
    /// Which, when. Numbers of an empty store start at 1; those of one that was emptied are higher.
    pub(crate) open_first: &'static str,
    /// Which. Whether the segment takes rows; no row: it is not known.
    pub(crate) takes_rows: &'static str,
    /// Which row of `{s}{table}`. Whether it is there.
    pub(crate) has_row: &'static str,
}

pub(crate) trait Segments: Connection {
    const SEGMENTS: Sql;
    /// Statements that make a segment's tables, by the beginning of their names, `{s}`.
    const MAKE_TABLES: &'static str;
    /// Tables of a segment beside those of the rows, after its prefix.
    const OWN_KINDS: &'static [&'static str];

    /// Waits for its turn to make or change tables; the turn lasts until the transaction ends.
    fn lock_tables(&mut self) -> Result<(), Error>;
    /// Something that changes whenever a row of the list of segments does, or a segment is made anew.
    fn stamp(&mut self) -> Result<String, Error>;
    /// The live segments, oldest first, with what their tables and indexes take.
    fn list(&mut self) -> Result<Vec<SegmentInfo>, Error>;
    /// Bytes that the tables of a segment take, with their indexes.
    fn bytes(&mut self, of: u32) -> Result<u64, Error>;
    /// Bytes of the whole schema.
    fn all_bytes(&mut self) -> Result<u64, Error>;

    /// The segments that live and were written to, as of now, oldest first.
    fn catalog(&mut self) -> Result<Catalog, Error> {
        let doing = "reading the list of segments";
        let segments = self.read(doing, Self::SEGMENTS.catalog, &[], |row| {
            Ok(Segment {
                number: row.get(0)?,
                first: row.get(1)?,
                opened_at: row.get(2)?,
                sealed: row.get(3)?,
                drained: row.get(4)?,
                oldest_reference: row.get(5)?,
                bare: row.get(6)?,
            })
        })?;
        Ok(Catalog { segments })
    }

    /// The segment that was made ahead, if one was.
    fn spare(&mut self) -> Result<Option<u32>, Error> {
        let doing = "looking for the next segment";
        self.read_first(doing, Self::SEGMENTS.spare, &[], |row| row.get(0))
    }

    /// Makes the tables of the next segment, unless they are there; answers its number.
    fn make_ahead(&mut self, now: Timestamp) -> Result<u32, Error> {
        if let Some(number) = self.spare()? {
            return Ok(number);
        }
        self.transaction(|link| {
            link.lock_tables()?;
            link.make(now)
        })
    }

    /// The same inside a transaction that holds the lock.
    fn make(&mut self, now: Timestamp) -> Result<u32, Error> {
        if let Some(number) = self.spare()? {
            return Ok(number);
        }
        let doing = database("making a segment");
        let row = self.row(Self::SEGMENTS.make, &values![now.0]);
        let made = row.and_then(|row| row.get(0)).map_err(&doing)?;
        self.script(text(Self::MAKE_TABLES, made)).map_err(&doing)?;
        Ok(made)
    }

    /// Opens the segment that was made ahead, under the claim; false when the claim found no row, or it is open.
    fn open_segment(&mut self, lead: &Lead, number: u32, first: i64, now: Timestamp) -> Result<bool, Error> {
        let mut values: Vec<Value<'_>> = of_lead(lead).into();
        values.extend(values![number as i32, first, now.0]);
        self.did("opening the next segment", Self::SEGMENTS.open_segment, &values)
    }

    /// Sees to it that there is a segment to write to.
    fn open_first(&mut self, now: Timestamp) -> Result<(), Error> {
        if !self.catalog()?.segments.is_empty() {
            return Ok(());
        }
        self.transaction(|link| {
            link.lock_tables()?;
            if !link.catalog()?.segments.is_empty() {
                return Ok(());
            }
            let values = values![link.make(now)? as i32, now.0];
            link.run("making the first segment", Self::SEGMENTS.open_first, &values)
        })
    }

    /// Whether the database has a row of a segment: its table, number and the segment's. Of a segment that takes no more
    /// rows only whether it knows the segment: such a one may lose rows by rule.
    fn has(&mut self, table: &str, row: i64, number: u32) -> Result<bool, Error> {
        let doing = "looking for what was written last";
        let open = self.read_first(doing, Self::SEGMENTS.takes_rows, &values![number as i32], |row| {
            row.get(0)
        })?;
        match open {
            None => Ok(false),
            Some(false) => Ok(true),
            Some(true) => {
                let sql = text(&Self::SEGMENTS.has_row.replace("{table}", table), number);
                let found = self.row(&sql, &values![row]);
                found.and_then(|row| row.get(0)).map_err(database(doing))
            }
        }
    }
}
