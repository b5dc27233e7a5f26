//! Segments as tables: the list of those that live, and what they take.

use std::collections::HashMap;

use super::link::Link;
use super::sql;
use super::value::Row;
use crate::Error;
use crate::segments::retention::SegmentInfo;
use crate::server::Connection;
use crate::server::segment::{Segments, Sql};
use crate::server::value::{database, values};

fn bare_prefix(number: u32) -> String {
    format!("s{number:06}_")
}

impl Segments for Link {
    const SEGMENTS: Sql = sql::SEGMENTS;
    const MAKE_TABLES: &'static str = include_str!("../../migrations/sqlserver/segment.sql");
    /// What messages are found by, and which were put back.
    const OWN_KINDS: &'static [&'static str] = &["key", "put_back"];

    fn lock_tables(&mut self) -> Result<(), Error> {
        let doing = database("waiting for the turn to change tables");
        let turn: i32 = self
            .row(sql::LOCK, &[])
            .and_then(|row| row.get(0))
            .map_err(doing)?;
        if turn < 0 {
            return Err(Error::Busy(
                "another process has been changing the store's tables for a minute: wait for it, or end its session"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn stamp(&mut self) -> Result<String, Error> {
        let doing = database("reading the list of segments");
        let rows = self.rows(sql::STAMP, &[]).map_err(&doing)?;
        let mut stamp = String::new();
        for row in &rows {
            for column in 0..3 {
                let value: Option<i64> = row.get(column).map_err(&doing)?;
                stamp.push_str(&value.unwrap_or(0).to_string());
                stamp.push(' ');
            }
        }
        Ok(stamp)
    }

    fn list(&mut self) -> Result<Vec<SegmentInfo>, Error> {
        let doing = database("reading the list of segments");
        let rows = self.rows(sql::LIST, &[]).map_err(&doing)?;
        let sizes = sizes(self)?;
        let info = |row: &Row| {
            let number = row.get(0)?;
            Ok(SegmentInfo {
                number,
                opened_at: row.get(1)?,
                sealed: row.get(2)?,
                bare: row.get(3)?,
                bytes: of_segment(&sizes, number),
            })
        };
        rows.iter().map(info).collect::<Result<_, _>>().map_err(&doing)
    }

    fn bytes(&mut self, of: u32) -> Result<u64, Error> {
        Ok(of_segment(&sizes(self)?, of))
    }

    fn all_bytes(&mut self) -> Result<u64, Error> {
        Ok(sizes(self)?.values().sum())
    }
}

/// Bytes of each table of the schema.
fn sizes(link: &mut Link) -> Result<HashMap<String, u64>, Error> {
    let doing = database("measuring the store");
    let sql = if link.stand_in {
        sql::BYTES_OF_STAND_IN
    } else {
        sql::BYTES
    };
    let rows = link.rows(sql, &[]).map_err(&doing)?;
    let size = |row: &Row| Ok((row.get(0)?, row.get::<Option<i64>>(1)?.unwrap_or(0) as u64));
    rows.iter().map(size).collect::<Result<_, _>>().map_err(&doing)
}

fn of_segment(sizes: &HashMap<String, u64>, number: u32) -> u64 {
    let prefix = bare_prefix(number);
    let own = sizes.iter().filter(|(name, _)| name.starts_with(&prefix));
    own.map(|(_, bytes)| bytes).sum()
}

/// Tables of the schema whose names begin so.
pub(super) fn tables_like(link: &mut Link, begin: &str) -> Result<Vec<String>, Error> {
    let doing = database("looking for a segment's tables");
    // An underscore stands for any character unless it is in brackets.
    let pattern = format!("{}%", begin.replace('_', "[_]"));
    let rows = link.rows(sql::TABLES_LIKE, &values![pattern]).map_err(&doing)?;
    rows.iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()
        .map_err(&doing)
}

/// The kinds of a segment's tables that are there.
pub(super) fn kinds_there(link: &mut Link, number: u32) -> Result<Vec<String>, Error> {
    let prefix = bare_prefix(number);
    let names = tables_like(link, &prefix)?;
    Ok(names
        .into_iter()
        .filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
        .collect())
}
