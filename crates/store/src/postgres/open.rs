//! Opening a store, and carrying a grouped commit out.

use std::time::Duration;

use sqlx_core::row::Row;
use sqlx_core::sql_str::AssertSqlSafe;

use super::PostgresStore;
use super::batch::{Statements, statement};
use super::link::Link;
use super::notice::Warnings;
use super::options::Options;
use crate::Error;
use crate::server::batch::Batch;
use crate::server::lease::{Lease, of_lead};
use crate::server::segment::{Segments, text};
use crate::server::value::{database, values};
use crate::server::{self, Append, Connection, Lead, Probe, Settings, Trouble};

/// Opens the store in the database at `options.url`, making its schema when the database has none.
///
/// Blocks: call it before serving, or on a blocking thread. Many may have it open; the one that acquired
/// leadership last writes. [`Error::Refused`], with what to do, when the database cannot be reached, may lose
/// what it committed, or holds a schema that this program does not know.
pub fn open(options: Options) -> Result<PostgresStore, Error> {
    server::open::open(move || {
        let target = options.target()?;
        if target.unverified {
            tracing::warn!(
                place = target.name(),
                "the database's certificate and host name are not checked: whoever sits between could read and change \
                 messages; use sslmode=verify-full"
            );
        }
        let settings = Settings {
            node: options.node,
            place: target.name(),
            segment_bytes_max: options.segment_bytes_max,
            segment_rows_max: options.segment_rows_max,
            segment_age_max: options.segment_age_max,
            readers_max: options.readers_max,
            commit_patience: options.commit_patience,
            compress: options.compress,
            clock: options.clock,
        };
        Ok((target, settings))
    })
}

impl Append for Link {
    type Texts = Statements;

    fn texts(number: u32) -> Statements {
        Statements::of(number)
    }

    fn append(
        &mut self,
        batch: &Batch<'_>,
        lead: &Lead,
        texts: &mut Statements,
        patience: Duration,
    ) -> Result<bool, Trouble> {
        let (sql, values) = statement(batch, lead, texts).map_err(Link::trouble)?;
        let warnings = self.warnings.take().unwrap_or_else(Warnings::new);
        let (rows, warning) = warnings.during(|| self.rows_within(patience, AssertSqlSafe(sql), values));
        self.warnings = Some(warnings);
        let rows = rows.map_err(Link::trouble)?;
        if let Some(warning) = warning {
            // A cancelled wait for a standby: committed here, and perhaps nowhere else.
            return Err(Trouble::Lost(warning));
        }
        let owned = rows.first().map(|row| row.try_get::<bool, _>(0));
        owned
            .transpose()
            .map(|owned| owned == Some(true))
            .map_err(Link::trouble)
    }

    fn take_and_probe(&mut self, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error> {
        // The commit of this look waits for the same standbys as the commit that is looked for.
        let (found, warning) = Warnings::new().during(|| take_and_probe(self, lead, place));
        let probe = found?;
        match warning {
            None => Ok(probe),
            Some(warning) => Err(Error::Refused(warning)),
        }
    }
}

/// All rows of a batch were one statement, so one row speaks for all.
fn take_and_probe(link: &mut Link, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error> {
    let doing = database("looking for the rows of a commit");
    link.transaction(|link| {
        let claimed = link.rows(Link::LEASE.claim, &of_lead(lead)).map_err(&doing)?;
        let ours = !claimed.is_empty();
        let Some((table, id, number)) = place else {
            return Ok(Probe { ours, written: false });
        };
        // Its own snapshot, taken after the row was.
        let sql = text(&Link::SEGMENTS.has_row.replace("{table}", table), number);
        let written = link
            .row(&sql, &values![id])
            .and_then(|row| row.try_get(0))
            .map_err(&doing)?;
        Ok(Probe { ours, written })
    })
}
