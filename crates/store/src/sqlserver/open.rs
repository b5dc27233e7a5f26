//! Opening a store, and what this server answers to the shared parts.

use std::time::Duration;

use model::{NameId, Term, Timestamp};

use super::batch::{Statements, statement};
use super::fault::{self, database};
use super::link::Link;
use super::options::Options;
use super::tables::Tables;
use super::value::{Value, values};
use super::{SqlServerStore, Target, control, integrity, lease, migrate, retention, seal, segment, sql};
use crate::migration::Schema;
use crate::segments::catalog::Catalog;
use crate::segments::retention::{Remainder, SegmentInfo};
use crate::segments::revision::Revision;
use crate::server::batch::Batch;
use crate::server::{self, Lead, Probe, Purpose, Trouble};
use crate::views::Leader;
use crate::{Desired, Error, NameKind};

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

impl server::Link for Link {
    type Target = Target;
    type Texts = Statements;
    type Tables<'l> = Tables<'l>;

    fn open(target: &Target, node: &str, purpose: Purpose) -> Result<Link, Error> {
        Link::open(target, node, purpose)
    }

    fn close(self) {
        Link::close(self);
    }

    fn is_whole(&self) -> bool {
        Link::is_whole(self)
    }

    fn still_answers(&mut self) -> bool {
        Link::still_answers(self)
    }

    fn is_as_good_as_new(&mut self, target: &Target) -> bool {
        Link::is_as_good_as_new(self, target)
    }

    fn backend(&self) -> i32 {
        self.backend
    }

    fn show_term(&mut self, epoch: u32, _node: &str) {
        Link::show_term(self, epoch);
    }

    fn hasten<T>(&mut self, work: impl FnOnce(&mut Link) -> T) -> T {
        Link::hasten(self, work)
    }

    fn end_session(&mut self, backend: i32) {
        lease::end_session(self, backend);
    }

    /// Its session is ended, and all that it did not finish undone.
    fn cancel(&mut self, backend: i32, patience: Duration) {
        self.within(patience, |link| lease::kill(link, backend));
    }

    fn is_worth_another_try(error: &Error) -> bool {
        fault::is_worth_another_try(error)
    }

    fn is_lock_timeout(error: &Error) -> bool {
        fault::is_lock_timeout(error)
    }

    fn acquire(&mut self, node: &str, now: Timestamp) -> Result<Lead, Error> {
        lease::acquire(self, node, now)
    }

    fn release(&mut self, term: Term) -> Result<(), Error> {
        lease::release(self, term)
    }

    fn claim(&mut self, lead: &Lead) -> Result<bool, Trouble> {
        lease::claim(self, lead).map_err(fault::trouble)
    }

    fn holds(&mut self, lead: &Lead) -> Result<bool, Trouble> {
        lease::holds(self, lead).map_err(fault::trouble)
    }

    /// All rows of a batch were one transaction, so one row speaks for all.
    fn take_and_probe(&mut self, lead: &Lead, place: Option<(&str, i64, u32)>) -> Result<Probe, Error> {
        let doing = database("looking for the rows of a commit");
        let Some((table, id, number)) = place else {
            let ours = lease::claim(self, lead).map_err(&doing)?;
            return Ok(Probe { ours, written: false });
        };
        let sql = segment::text(&sql::TAKE_AND_PROBE.replace("{table}", table), number);
        let mut values: Vec<Value<'_>> = lease::of_lead(lead).into();
        values.extend(values![id]);
        let row = self.row(&sql, &values).map_err(&doing)?;
        Ok(Probe {
            ours: row.get(0).map_err(&doing)?,
            written: row.get(1).map_err(&doing)?,
        })
    }

    fn has(&mut self, table: &str, row: i64, number: u32) -> Result<bool, Error> {
        segment::has(self, table, row, number)
    }

    fn leads(&mut self, term: Term) -> Result<bool, Error> {
        retention::leads(self, term)
    }

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

    fn open_segment(&mut self, lead: &Lead, number: u32, first: i64, now: Timestamp) -> Result<bool, Error> {
        segment::open(self, lead, number, first, now)
    }

    fn migrate(&mut self, place: &str, node: &str, now: Timestamp) -> Result<(), Error> {
        migrate::run(self, place, node, now)
    }

    fn check_schema(&mut self, place: &str) -> Result<(), Error> {
        migrate::check(self, place)
    }

    fn schema(&mut self) -> Result<Schema, Error> {
        migrate::schema(self)
    }

    fn open_first(&mut self, now: Timestamp) -> Result<(), Error> {
        segment::open_first(self, now)
    }

    fn catalog(&mut self) -> Result<Catalog, Error> {
        segment::catalog(self)
    }

    fn stamp(&mut self) -> Result<String, Error> {
        segment::stamp(self)
    }

    fn tables(&mut self, catalog: Catalog) -> Tables<'_> {
        Tables::new(self, catalog)
    }

    fn list(&mut self) -> Result<Vec<SegmentInfo>, Error> {
        segment::list(self)
    }

    fn bytes(&mut self, of: u32) -> Result<u64, Error> {
        segment::bytes(self, of)
    }

    fn all_bytes(&mut self) -> Result<u64, Error> {
        segment::all_bytes(self)
    }

    fn make_ahead(&mut self, now: Timestamp) -> Result<u32, Error> {
        segment::make_ahead(self, now)
    }

    fn seal(&mut self, number: u32, now: Timestamp) -> Result<(), Error> {
        seal::seal(self, number, now)
    }

    fn note_drained(&mut self, number: u32, now: Timestamp) -> Result<(), Error> {
        seal::note_drained(self, number, now)
    }

    fn drop_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        retention::drop_segment(revision, self, term, number, now)
    }

    fn shrink_segment(
        &mut self,
        revision: &Revision,
        term: Term,
        number: u32,
        remainder: &Remainder,
    ) -> Result<(), Error> {
        retention::shrink(revision, self, term, number, remainder)
    }

    fn leader(&mut self) -> Result<Option<Leader>, Error> {
        control::leader(self)
    }

    fn names(&mut self) -> Result<Vec<(NameId, NameKind, String)>, Error> {
        control::names(self)
    }

    fn name_ids(&mut self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
        control::name_ids(self, names)
    }

    fn desired(&mut self) -> Result<Vec<(NameId, Desired)>, Error> {
        control::desired(self)
    }

    fn set_desired(
        &mut self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        control::set_desired(self, term, connection, desired, actor, now)
    }

    fn check(&mut self) -> Result<Vec<String>, Error> {
        integrity::check(self)
    }
}
