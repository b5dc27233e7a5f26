//! Opening a store, and carrying a grouped commit out.

use std::time::Duration;

use super::batch::{Statements, statement};
use super::fault;
use super::link::Link;
use super::options::Options;
use super::{SqlServerStore, sql};
use crate::Error;
use crate::server::batch::Batch;
use crate::server::lease::of_lead;
use crate::server::segment::text;
use crate::server::value::{Value, database, values};
use crate::server::{self, Append, Connection, Lead, Probe, Trouble};

/// Opens the store in the database at `options.url`, making its schema when the database has none.
///
/// Blocks: call it before serving, or on a blocking thread. Many may have it open; the one that acquired
/// leadership last writes. [`Error::Refused`], with what to do, when the database cannot be reached, may lose
/// what it committed, or holds a schema that this program does not know.
pub fn open(options: Options) -> Result<SqlServerStore, Error> {
    server::open::open(move || {
        let target = options.target()?;
        if target.unverified {
            tracing::warn!(
                place = target.name(),
                "the database's certificate and host name are not checked: whoever sits between could read and change \
                 messages; leave trustservercertificate and encrypt out of store.url"
            );
        }
        let settings = options.settings(target.name());
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
        let (sql, values) = statement(batch, lead, texts, self.stand_in);
        let rows = self
            .rows_within(patience, &sql, &values)
            .map_err(fault::trouble)?;
        match rows.first() {
            Some(row) => row.get(0).map_err(fault::trouble),
            // Whatever happened there, the answer does not tell.
            None => Err(Trouble::Lost("the answer to a commit holds nothing".to_owned())),
        }
    }

    /// All rows of a batch were one transaction, so one row speaks for all.
    fn take_and_probe(&mut self, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error> {
        let doing = database("looking for the rows of a commit");
        let Some((table, id, number)) = place else {
            let ours = self.rows(sql::LEASE.claim, &of_lead(lead)).map_err(&doing)?;
            let ours = !ours.is_empty();
            return Ok(Probe { ours, written: false });
        };
        let sql = text(&sql::TAKE_AND_PROBE.replace("{table}", table), number);
        let mut values: Vec<Value<'_>> = of_lead(lead).into();
        values.extend(values![id]);
        let row = self.row(&sql, &values).map_err(&doing)?;
        Ok(Probe {
            ours: row.get(0).map_err(&doing)?,
            written: row.get(1).map_err(&doing)?,
        })
    }
}
