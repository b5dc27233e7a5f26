//! The [`Board`] on PostgreSQL: one connection of its own, made anew whenever it broke.

use std::time::Duration;

use model::{Epoch, Term};
use sqlx_core::error::Error as Driver;
use sqlx_core::row::Row;
use sqlx_postgres::{PgArguments, PgRow};
use uuid::Uuid;

use super::Target;
use super::fault::{self, database};
use super::lease;
use super::link::{Link, arguments};
use super::migrate;
use super::options::Options;
use super::segment::number;
use crate::Error;
use crate::board::{Asked, Board, HANDOFF_MAX, Leadership, Lease, Mark, Member, MemberView, Renewal};
use crate::server::{Purpose, check_epoch};

/// Now by the database's clock, in microseconds; a statement that waited for a lock reads it after the wait.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}
pub(super) use now;

/// The timeline that this server writes; 0 when it does not say.
const TIMELINE: &str = "CASE WHEN pg_is_in_recovery() THEN 0 ELSE
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END";

/// See the module's text.
pub struct PostgresBoard {
    target: Target,
    node: String,
    patience: Duration,
    link: Option<Link>,
    /// Whether the server shows its log's timeline.
    timelines: bool,
}

/// A board on the database at `options.url`. No call takes longer than `patience`; acquiring, which waits for
/// others, may take three times as long.
pub fn board(options: &Options, patience: Duration) -> Result<PostgresBoard, Error> {
    Ok(PostgresBoard {
        target: options.target()?,
        node: options.node.clone(),
        patience,
        link: None,
        timelines: true,
    })
}

impl PostgresBoard {
    fn with<T>(&mut self, work: impl FnOnce(&mut Link) -> Result<T, Error>) -> Result<T, Error> {
        if !self.link.as_ref().is_some_and(Link::is_whole) {
            self.link = None;
            let purpose = Purpose::Lead(self.patience);
            self.link = Some(Link::open(&self.target, &self.node, purpose)?);
        }
        let Some(link) = &mut self.link else {
            return Err(Error::Away("there is no connection".to_owned()));
        };
        let done = work(link);
        if done.as_ref().is_err_and(fault::is_worth_another_try) {
            // The next call tries a new connection: this one may lead to a server that cannot write.
            self.link = None;
        }
        done
    }

    /// One statement that may be repeated without harm: once more on a new connection if the old one turns out to be
    /// gone.
    pub(super) fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: impl Fn() -> Result<PgArguments, Driver>,
    ) -> Result<Vec<PgRow>, Error> {
        let doing = database(doing);
        let ask = |link: &mut Link| {
            let sql = sqlx_core::sql_str::AssertSqlSafe(sql.to_owned());
            values().and_then(|values| link.rows(sql, values)).map_err(&doing)
        };
        let connected = self.link.as_ref().is_some_and(Link::is_whole);
        match self.with(ask) {
            Err(error) if connected && fault::is_worth_another_try(&error) => self.with(ask),
            other => other,
        }
    }

    pub(super) fn row(
        &mut self,
        doing: &'static str,
        sql: &str,
        values: impl Fn() -> Result<PgArguments, Driver>,
    ) -> Result<Option<PgRow>, Error> {
        Ok(self.rows(doing, sql, values)?.into_iter().next())
    }

    fn timeline(&self) -> &'static str {
        if self.timelines { TIMELINE } else { "0" }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The columns of an asked switchover, from `first` on.
fn asked(row: &PgRow, first: usize) -> Result<Option<Asked>, Driver> {
    let by: Option<String> = row.try_get(first)?;
    let Some(by) = by else { return Ok(None) };
    Ok(Some(Asked {
        by,
        to: row.try_get(first + 1)?,
        ago: duration(row.try_get::<Option<i64>, _>(first + 2)?.unwrap_or(0)),
    }))
}

const ASKED: &str = concat!("asked_by, asked_to, ", now!(), " - asked_at");

impl Board for PostgresBoard {
    fn look(&mut self, ttl: Duration) -> Result<Lease, Error> {
        let sql = |timeline: &str| {
            format!(
                "SELECT epoch, term, renewals, {timeline}, node, released,
                    expires_at < {now} OR expires_at > {now} + greatest(ttl, $1), expires_at - {now},
                    CASE WHEN handoff_until > {now} AND handoff_until <= {now} + $2 THEN handoff_to END, fingerprint, approved, ttl, {ASKED}
                 FROM holdfast.lease WHERE lease_group = 0",
                now = now!()
            )
        };
        let values = || arguments!(micros(ttl), micros(HANDOFF_MAX));
        let doing = "reading the lease";
        let row = match self.row(doing, &sql(self.timeline()), values) {
            Err(error) if self.timelines && fault::state_of(&error).as_deref() == Some("42501") => {
                self.timelines = false;
                self.row(doing, &sql("0"), values)?
            }
            other => other?,
        };
        let row = row.ok_or_else(|| {
            Error::Refused("the store has no lease row: restore it from a backup".to_owned())
        })?;
        let read = || -> Result<Lease, Driver> {
            Ok(Lease {
                mark: Mark {
                    epoch: Epoch(number(&row, 0)?),
                    term: row.try_get(1)?,
                    renewals: row.try_get::<i64, _>(2)?.unsigned_abs(),
                    timeline: row.try_get::<i32, _>(3)?.unsigned_abs(),
                },
                node: row.try_get(4)?,
                released: row.try_get(5)?,
                expired: row.try_get(6)?,
                left: duration(row.try_get(7)?),
                handoff_to: row.try_get(8)?,
                fingerprint: row.try_get(9)?,
                approved: row.try_get(10)?,
                ttl: duration(row.try_get(11)?),
                asked: asked(&row, 12)?,
            })
        };
        read().map_err(database(doing))
    }

    fn acquire(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
    ) -> Result<Option<Term>, Error> {
        let patience = self.patience;
        self.with(|link| {
            let take = |link: &mut Link| take(link, seen, node, fingerprint, ttl, patience);
            let taken = match take(link) {
                Err(error) if fault::state_of(&error).as_deref() == Some("55P03") => {
                    tracing::warn!("an older leader's session holds the shard; it is ended");
                    lease::end_sessions_before(link, i32::MAX);
                    take(link)?
                }
                other => other?,
            };
            if let Some(term) = taken {
                lease::end_sessions_before(link, term.epoch.0 as i32);
            }
            Ok(taken)
        })
    }

    fn renew(&mut self, term: Term, ttl: Duration) -> Result<Renewal, Error> {
        // Losing a renewal in a failover of the database only makes the lease shorter.
        let sql = format!(
            "UPDATE holdfast.lease SET renewals = renewals + 1, renewed_at = {now}, expires_at = {now} + $3
             WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released RETURNING {ASKED}",
            now = now!()
        );
        let doing = "renewing the lease";
        let row = self.row(doing, &sql, || {
            arguments!(term.epoch.0 as i32, term.id, micros(ttl))
        })?;
        match row {
            None => Ok(Renewal::Lost),
            Some(row) => Ok(Renewal::Held(asked(&row, 0).map_err(database(doing))?)),
        }
    }

    fn release(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error> {
        // One round trip: while it is under way nobody leads. The lease row comes first, as in a takeover.
        let sql = format!(
            "WITH released AS (
                 UPDATE holdfast.lease SET released = true, renewals = renewals + 1, expires_at = 0, asked_by = NULL,
                     asked_to = NULL, asked_at = NULL, handoff_to = $3, handoff_until = {now} + $4
                 WHERE lease_group = 0 AND epoch = $1 AND term = $2 RETURNING 1
             ), voided AS (
                 UPDATE holdfast.shard SET term = $6, session = $6
                 WHERE epoch = $1 AND term = $2 AND EXISTS (SELECT FROM released)
             )
             UPDATE holdfast.leadership SET ended_at = {now}, reason = $5
             WHERE term = $2 AND EXISTS (SELECT FROM released)",
            now = now!()
        );
        let doing = database("releasing the lease");
        self.with(|link| {
            let values = arguments!(
                term.epoch.0 as i32,
                term.id,
                to,
                micros(hold),
                reason,
                Uuid::nil()
            );
            let sql = sqlx_core::sql_str::AssertSqlSafe(sql);
            values
                .and_then(|values| link.rows(sql, values))
                .map(drop)
                .map_err(&doing)
        })
    }

    fn beat(&mut self, member: &Member, alive: Duration) -> Result<bool, Error> {
        // A word from the future was spoken before the database's clock was set back: whoever lives has spoken since.
        let sql = format!(
            "INSERT INTO holdfast.node AS node (id, boot, host, pid, api, version, schema, fingerprint, environment,
                 promotable, delay_ms, role, ready, detail, started_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, {now}, {now})
             ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, host = excluded.host, pid = excluded.pid,
                 api = excluded.api, version = excluded.version, schema = excluded.schema,
                 fingerprint = excluded.fingerprint, environment = excluded.environment,
                 promotable = excluded.promotable, delay_ms = excluded.delay_ms, role = excluded.role,
                 ready = excluded.ready, detail = excluded.detail, seen_at = excluded.seen_at,
                 started_at = CASE WHEN node.boot = excluded.boot THEN node.started_at ELSE excluded.started_at END
             WHERE node.boot = excluded.boot OR abs({now} - node.seen_at) > $15 OR node.role = 'left' RETURNING 1",
            now = now!()
        );
        let values = || {
            arguments!(
                member.id.as_str(),
                member.boot,
                member.host.as_str(),
                member.pid.cast_signed(),
                member.api.as_str(),
                member.version.as_str(),
                migrate::newest(),
                member.fingerprint.as_str(),
                member.environment.as_str(),
                member.promotable,
                i32::try_from(member.delay.as_millis()).unwrap_or(i32::MAX),
                member.role.as_str(),
                member.ready,
                member.detail.as_str(),
                micros(alive),
            )
        };
        Ok(self.row("writing what this node is", &sql, values)?.is_some())
    }

    fn members(&mut self) -> Result<Vec<MemberView>, Error> {
        let doing = database("reading the nodes");
        let sql = concat!(
            "SELECT id, boot, host, pid, api, version, fingerprint, environment, promotable, delay_ms, role, ready, detail, abs(",
            now!(),
            " - seen_at), ",
            now!(),
            " - started_at, schema FROM holdfast.node ORDER BY id"
        );
        let rows = self.rows("reading the nodes", sql, || Ok(PgArguments::default()))?;
        let read = |row: &PgRow| -> Result<MemberView, Driver> {
            Ok(MemberView {
                member: Member {
                    id: row.try_get(0)?,
                    boot: row.try_get(1)?,
                    host: row.try_get(2)?,
                    pid: row.try_get::<i32, _>(3)?.cast_unsigned(),
                    api: row.try_get(4)?,
                    version: row.try_get(5)?,
                    fingerprint: row.try_get(6)?,
                    environment: row.try_get(7)?,
                    promotable: row.try_get(8)?,
                    delay: Duration::from_millis(row.try_get::<i32, _>(9)?.unsigned_abs().into()),
                    role: row.try_get(10)?,
                    ready: row.try_get(11)?,
                    detail: row.try_get(12)?,
                },
                seen_ago: duration(row.try_get(13)?),
                up: duration(row.try_get(14)?),
                schema: row.try_get(15)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(doing)
    }

    fn history(&mut self, limit: usize) -> Result<Vec<Leadership>, Error> {
        let doing = database("reading the history of leaderships");
        let sql = "SELECT epoch, node, acquired_at, gap, ended_at, reason FROM holdfast.leadership
            ORDER BY acquired_at DESC, epoch DESC LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.rows("reading the history of leaderships", sql, || arguments!(limit))?;
        let read = |row: &PgRow| -> Result<Leadership, Driver> {
            Ok(Leadership {
                epoch: Epoch(number(row, 0)?),
                node: row.try_get(1)?,
                acquired_at: row.try_get(2)?,
                gap: row.try_get::<Option<i64>, _>(3)?.map(duration),
                ended_at: row.try_get(4)?,
                reason: row.try_get(5)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(doing)
    }

    fn ask(&mut self, by: &str, to: Option<&str>) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE holdfast.lease SET asked_by = $1, asked_to = $2, asked_at = {now}
             WHERE lease_group = 0 AND NOT released AND expires_at > {now} AND ($2::text IS NULL OR node <> $2)
             RETURNING 1",
            now = now!()
        );
        Ok(self
            .row("asking for another leader", &sql, || arguments!(by, to))?
            .is_some())
    }

    fn approve(&mut self, fingerprint: &str) -> Result<(), Error> {
        let sql = "UPDATE holdfast.lease SET approved = $1 WHERE lease_group = 0";
        self.row("approving a configuration", sql, || arguments!(fingerprint))
            .map(drop)
    }
}

/// The transaction of [`Board::acquire`].
fn take(
    link: &mut Link,
    seen: &Mark,
    node: &str,
    fingerprint: &str,
    ttl: Duration,
    patience: Duration,
) -> Result<Option<Term>, Error> {
    let doing = database("acquiring leadership");
    // A server that took over meanwhile may say again what another leader changed on the one before it.
    let timeline = if seen.timeline == 0 { "0" } else { TIMELINE };
    link.transaction(|link| {
        // Shorter than the call may take, so that the server gives up first.
        link.script(format!("SET LOCAL lock_timeout = '{}ms'", patience.as_millis() / 2))
            .map_err(&doing)?;
        let id = Uuid::new_v4();
        let sql = format!(
            "WITH before AS (SELECT renewed_at, node FROM holdfast.lease WHERE lease_group = 0)
             UPDATE holdfast.lease AS lease SET epoch = lease.epoch + 1, term = $4, node = $5, released = false,
                 acquired_at = {now}, renewals = lease.renewals + 1, renewed_at = {now}, expires_at = {now} + $7, ttl = $7,
                 fingerprint = $6, approved = NULL, handoff_to = NULL, handoff_until = 0, asked_by = NULL,
                 asked_to = NULL, asked_at = NULL
             FROM before
             WHERE lease.lease_group = 0 AND lease.epoch = $1 AND lease.term = $2 AND lease.renewals = $3 AND {timeline} = $9
                 AND (lease.released OR lease.expires_at < {now} OR lease.expires_at > {now} + greatest(lease.ttl, $7))
                 AND (lease.handoff_to IS NULL OR lease.handoff_to = $5 OR lease.handoff_until < {now}
                     OR lease.handoff_until > {now} + $8)
             RETURNING lease.epoch, lease.acquired_at, before.renewed_at",
            now = now!()
        );
        let values = arguments!(
            seen.epoch.0 as i32,
            seen.term,
            seen.renewals.cast_signed(),
            id,
            node,
            fingerprint,
            micros(ttl),
            micros(HANDOFF_MAX),
            seen.timeline.cast_signed()
        );
        let row = link
            .maybe_row(sqlx_core::sql_str::AssertSqlSafe(sql), values.map_err(&doing)?)
            .map_err(&doing)?;
        let Some(row) = row else { return Ok(None) };
        let epoch = number(&row, 0).map_err(&doing)?;
        check_epoch(epoch)?;
        let (acquired_at, heard_at): (i64, i64) = (
            row.try_get(1).map_err(&doing)?,
            row.try_get(2).map_err(&doing)?,
        );
        lease::rewrite_shards(link, epoch, id, Uuid::new_v4())?;
        let steps: [(&str, Result<PgArguments, Driver>); 2] = [
            (
                "UPDATE holdfast.leadership SET ended_at = $2, reason = 'its lease ran out' WHERE ended_at IS NULL AND epoch < $1",
                arguments!(epoch as i32, heard_at),
            ),
            (
                "INSERT INTO holdfast.leadership (epoch, term, node, acquired_at, gap) VALUES ($1, $2, $3, $4, $5)",
                arguments!(
                    epoch as i32,
                    id,
                    node,
                    acquired_at,
                    (heard_at > 0).then_some(acquired_at - heard_at)
                ),
            ),
        ];
        for (sql, values) in steps {
            link.rows(sql, values.map_err(&doing)?).map_err(&doing)?;
        }
        Ok(Some(Term {
            epoch: Epoch(epoch),
            id,
        }))
    })
}
