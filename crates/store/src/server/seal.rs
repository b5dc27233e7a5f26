//! Sealing: a segment that takes no more rows gets what listings and searches use, and a profile of what it holds.

use model::Timestamp;

use super::link::DriverOf;
use super::segment::{Segments, prefix, text};
use super::value::{Row, database, values};
use crate::segments::profile::{BLOCKS, Profile, Share};
use crate::{Error, packing};

pub(crate) struct Sql {
    /// Writes the table of the search keys anew, in a transaction: a sealing that was cut short may have left some of it.
    pub(crate) fill_keys: &'static [&'static str],
    /// The smallest number that any row refers to. What resolves a dead letter reaches back to it; an outcome is looked
    /// for by its send only.
    pub(crate) oldest_reference: &'static str,
    /// The smallest and the greatest number of a message.
    pub(crate) ends: &'static str,
    /// The first message, numbers in a block. The columns are a [`Share`]'s; an empty type stands for none.
    pub(crate) shares: &'static str,
    /// Destinations, and how many sends each has.
    pub(crate) by_destinations: &'static str,
    /// Dispositions, and how many rows say each.
    pub(crate) by_dispositions: &'static str,
    /// Whether no row holds a body.
    pub(crate) is_bare: &'static str,
    /// Which, when, the oldest reference, the profile.
    pub(crate) sealed: &'static str,
    /// Which, when.
    pub(crate) drained: &'static str,
}

pub(crate) trait Sealing: Segments {
    const SEALING: Sql;

    /// Builds what is missing of the indexes of a full segment. May be repeated.
    fn add_indexes(&mut self, number: u32) -> Result<(), Error>;
    /// Counts what a sealed segment holds ([`counted`]), in a way that suits a statement over all of a segment.
    fn profile(&mut self, prefix: &str) -> Result<Profile, Error>;

    /// Builds the indexes of a full segment and notes what it holds. May be repeated.
    fn seal(&mut self, number: u32, now: Timestamp) -> Result<(), Error> {
        let doing = database("sorting a segment's search keys");
        self.transaction(|link| {
            for sql in Self::SEALING.fill_keys {
                link.script(text(sql, number)).map_err(&doing)?;
            }
            Ok(())
        })?;
        self.add_indexes(number)?;
        let (oldest, profile) = self.contents(&prefix(number))?;
        let values = values![number as i32, now.0, oldest, profile];
        self.run("sealing a segment", Self::SEALING.sealed, &values)
    }

    /// Notes that nothing in a segment was open.
    fn note_drained(&mut self, number: u32, now: Timestamp) -> Result<(), Error> {
        let values = values![number as i32, now.0];
        self.run("noting that a segment is drained", Self::SEALING.drained, &values)
    }

    /// The smallest number that any row of a segment refers to (`i64::MAX` when none refers to anything), and the
    /// segment's profile as text. The segment's tables are told by the beginning of their names.
    fn contents(&mut self, prefix: &str) -> Result<(i64, String), Error> {
        let sql = Self::SEALING.oldest_reference.replace("{s}", prefix);
        let oldest: Option<i64> = self
            .row(&sql, &[])
            .and_then(|row| row.get(0))
            .map_err(database("looking for what a segment refers to"))?;
        let profile = self.profile(prefix)?;
        let profile = serde_json::to_string(&profile).map_err(database("noting what a segment holds"))?;
        Ok((oldest.unwrap_or(i64::MAX), profile))
    }
}

/// Counts what the tables of a segment hold, by the beginning of their names.
pub(crate) fn counted<S: Sealing>(link: &mut S, prefix: &str) -> Result<Profile, DriverOf<S>> {
    const { assert!(packing::REMOVED == 2, "the statements name it") };
    let text = |template: &str| template.replace("{s}", prefix);
    let ends = link.row(&text(S::SEALING.ends), &[])?;
    let (first, last) = (ends.big(0)?.unwrap_or(0), ends.big(1)?.unwrap_or(0));
    let width = (last - first) / BLOCKS + 1;
    let shares = link.rows(&text(S::SEALING.shares), &values![first, width])?;
    let destinations = link.rows(&text(S::SEALING.by_destinations), &[])?;
    let dispositions = link.rows(&text(S::SEALING.by_dispositions), &[])?;
    let bare = link.row(&text(S::SEALING.is_bare), &[])?;
    let shares: Result<_, DriverOf<S>> = shares.iter().map(share).collect();
    let destinations: Result<_, DriverOf<S>> = destinations
        .iter()
        .map(|row| Ok((row.get(0)?, row.get::<i64>(1)? as u64)))
        .collect();
    let dispositions: Result<_, DriverOf<S>> = dispositions
        .iter()
        .map(|row| Ok((row.get::<i16>(0)?.into(), row.get::<i64>(1)? as u64)))
        .collect();
    Ok(Profile::new(shares?, destinations?, dispositions?, bare.get(0)?))
}

fn share<R: Row>(row: &R) -> Result<Share, R::Driver> {
    Ok(Share {
        block: row.get(0)?,
        inbound: row.get(1)?,
        kind: row.get(2)?,
        count: row.get::<i64>(3)? as u64,
        first: row.get(4)?,
        oldest: row.get(5)?,
        newest: row.get(6)?,
    })
}
