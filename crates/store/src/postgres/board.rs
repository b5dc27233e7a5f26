//! The lease and the list of nodes, as nodes of a cluster read and write them: the statements of the board and of the
//! orders that lie in the same database.

use std::time::Duration;

use model::{Epoch, Term};
use sqlx_core::error::Error as Driver;
use sqlx_postgres::PgRow;
use uuid::Uuid;

use super::fault;
use super::lease;
use super::link::{Link, arguments};
use super::options::Options;
use crate::Error;
use crate::board::{HANDOFF_MAX, Mark};
use crate::server::board::{Cluster, Sql, micros};
use crate::server::value::{Row, Value, database, values};
use crate::server::{Connection, ServerBoard, check_epoch, orders};

/// The board of a cluster in a PostgreSQL database.
pub type PostgresBoard = ServerBoard<Link>;

/// A board on the database at `options.url`. No call takes longer than `patience`; acquiring, which waits for
/// others, may take three times as long.
pub fn board(options: &Options, patience: Duration) -> Result<PostgresBoard, Error> {
    Ok(ServerBoard::new(
        options.target()?,
        options.node.clone(),
        patience,
    ))
}

/// Now by the database's clock, in microseconds; a statement that waited for a lock reads it after the wait.
macro_rules! now {
    () => {
        "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    };
}

/// The timeline that this server writes; 0 when it does not say.
macro_rules! timeline {
    () => {
        "CASE WHEN pg_is_in_recovery() THEN 0 ELSE
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END"
    };
}

macro_rules! asked {
    () => {
        concat!("asked_by, asked_to, ", now!(), " - asked_at")
    };
}

/// $1 how long a lease lasts, $2 how long a hand-over is kept at most.
macro_rules! look {
    ($timeline:expr) => {
        concat!(
            "SELECT epoch, term, renewals, ",
            $timeline,
            ", node, released,
                    expires_at < ",
            now!(),
            " OR expires_at > ",
            now!(),
            " + greatest(ttl, $1), expires_at - ",
            now!(),
            ",
                    CASE WHEN handoff_until > ",
            now!(),
            " AND handoff_until <= ",
            now!(),
            " + $2 THEN handoff_to END, fingerprint, approved, ttl, ",
            asked!(),
            "
                 FROM holdfast.lease WHERE lease_group = 0"
        )
    };
}
const LOOK: &str = look!(timeline!());
const LOOK_WITHOUT_TIMELINE: &str = look!("0");

/// Takes the lease as it was seen: $1 to $3 epoch, term, renewals, $9 timeline; $4 the new term, $5 node, $6 configuration,
/// $7 how long it lasts, $8 how long a hand-over is kept at most.
macro_rules! acquire {
    ($timeline:expr) => {
        concat!(
            "WITH before AS (SELECT renewed_at, node FROM holdfast.lease WHERE lease_group = 0)
             UPDATE holdfast.lease AS lease SET epoch = lease.epoch + 1, term = $4, node = $5, released = false,
                 acquired_at = ",
            now!(),
            ", renewals = lease.renewals + 1, renewed_at = ",
            now!(),
            ", expires_at = ",
            now!(),
            " + $7, ttl = $7,
                 fingerprint = $6, approved = NULL, handoff_to = NULL, handoff_until = 0, asked_by = NULL,
                 asked_to = NULL, asked_at = NULL
             FROM before
             WHERE lease.lease_group = 0 AND lease.epoch = $1 AND lease.term = $2 AND lease.renewals = $3 AND ",
            $timeline,
            " = $9
                 AND (lease.released OR lease.expires_at < ",
            now!(),
            " OR lease.expires_at > ",
            now!(),
            " + greatest(lease.ttl, $7))
                 AND (lease.handoff_to IS NULL OR lease.handoff_to = $5 OR lease.handoff_until < ",
            now!(),
            "
                     OR lease.handoff_until > ",
            now!(),
            " + $8)
             RETURNING lease.epoch, lease.acquired_at, before.renewed_at"
        )
    };
}
const ACQUIRE: &str = acquire!(timeline!());
const ACQUIRE_WITHOUT_TIMELINE: &str = acquire!("0");

const ENDED: &str = "UPDATE holdfast.leadership SET ended_at = $2, reason = 'its lease ran out' WHERE ended_at IS NULL AND epoch < $1";
const BEGUN: &str =
    "INSERT INTO holdfast.leadership (epoch, term, node, acquired_at, gap) VALUES ($1, $2, $3, $4, $5)";

/// $1 epoch, $2 term, $3 for whom, $4 for how long, $5 why, $6 nobody.
const RELEASE: &str = concat!(
    "WITH released AS (
                 UPDATE holdfast.lease SET released = true, renewals = renewals + 1, expires_at = 0, asked_by = NULL,
                     asked_to = NULL, asked_at = NULL, handoff_to = $3, handoff_until = ",
    now!(),
    " + $4
                 WHERE lease_group = 0 AND epoch = $1 AND term = $2 RETURNING 1
             ), voided AS (
                 UPDATE holdfast.shard SET term = $6, session = $6
                 WHERE epoch = $1 AND term = $2 AND EXISTS (SELECT FROM released)
             )
             UPDATE holdfast.leadership SET ended_at = ",
    now!(),
    ", reason = $5
             WHERE term = $2 AND EXISTS (SELECT FROM released)"
);

impl Cluster for Link {
    const BOARD: Sql = Sql {
        renew: concat!(
            "UPDATE holdfast.lease SET renewals = renewals + 1, renewed_at = ",
            now!(),
            ", expires_at = ",
            now!(),
            " + $3
             WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released RETURNING ",
            asked!()
        ),
        beat: concat!(
            "INSERT INTO holdfast.node AS node (id, boot, host, pid, api, version, schema, fingerprint, environment,
                 promotable, delay_ms, role, ready, detail, started_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, ",
            now!(),
            ", ",
            now!(),
            ")
             ON CONFLICT (id) DO UPDATE SET boot = excluded.boot, host = excluded.host, pid = excluded.pid,
                 api = excluded.api, version = excluded.version, schema = excluded.schema,
                 fingerprint = excluded.fingerprint, environment = excluded.environment,
                 promotable = excluded.promotable, delay_ms = excluded.delay_ms, role = excluded.role,
                 ready = excluded.ready, detail = excluded.detail, seen_at = excluded.seen_at,
                 started_at = CASE WHEN node.boot = excluded.boot THEN node.started_at ELSE excluded.started_at END
             WHERE node.boot = excluded.boot OR abs(",
            now!(),
            " - node.seen_at) > $15 OR node.role = 'left' RETURNING 1"
        ),
        members: concat!(
            "SELECT id, boot, host, pid, api, version, fingerprint, environment, promotable, delay_ms, role, ready, detail, abs(",
            now!(),
            " - seen_at), ",
            now!(),
            " - started_at, schema FROM holdfast.node ORDER BY id"
        ),
        history: "SELECT epoch, node, acquired_at, gap, ended_at, reason FROM holdfast.leadership
            ORDER BY acquired_at DESC, epoch DESC LIMIT $1",
        ask: concat!(
            "UPDATE holdfast.lease SET asked_by = $1, asked_to = $2, asked_at = ",
            now!(),
            "
             WHERE lease_group = 0 AND NOT released AND expires_at > ",
            now!(),
            " AND ($2::text IS NULL OR node <> $2)
             RETURNING 1"
        ),
        approve: "UPDATE holdfast.lease SET approved = $1 WHERE lease_group = 0",
    };

    const ORDERS: orders::Sql = orders::Sql {
        tidy: concat!("DELETE FROM holdfast.command WHERE asked_at < ", now!(), " - $1"),
        give: concat!(
            "INSERT INTO holdfast.command (id, node, actor, path, body, asked_at) VALUES ($1, $2, $3, $4, $5, ",
            now!(),
            ") ON CONFLICT (id) DO NOTHING"
        ),
        progress: "SELECT begun_at IS NOT NULL, epoch IS NOT NULL, status, answer FROM holdfast.command WHERE id = $1",
        withdraw: concat!(
            "UPDATE holdfast.command SET begun_at = coalesce(begun_at, ",
            now!(),
            "), ended_at = coalesce(ended_at, ",
            now!(),
            ") WHERE id = $1 AND epoch IS NULL RETURNING 1"
        ),
        take_up: concat!(
            "WITH open AS (
                 SELECT id FROM holdfast.command WHERE begun_at IS NULL AND asked_at > ",
            now!(),
            " - $4 AND EXISTS (SELECT FROM holdfast.lease
                     WHERE lease_group = 0 AND epoch = $1 AND term = $2 AND NOT released)
                 ORDER BY asked_at LIMIT $3 FOR UPDATE SKIP LOCKED)
             UPDATE holdfast.command AS command SET begun_at = ",
            now!(),
            ", epoch = $1 FROM open WHERE command.id = open.id
             RETURNING command.id, command.node, command.actor, command.path, command.body, command.asked_at"
        ),
        answer: concat!(
            "UPDATE holdfast.command SET ended_at = ",
            now!(),
            ", status = $2, answer = $3 WHERE id = $1 AND ended_at IS NULL"
        ),
    };

    fn look(&mut self, values: &[Value<'_>; 2]) -> Result<Vec<PgRow>, Driver> {
        if self.timelines {
            match self.rows(LOOK, values) {
                // A service that hides its log has no timelines to show.
                Err(error) if fault::state(&error).as_deref() == Some("42501") => self.timelines = false,
                other => return other,
            }
        }
        self.rows(LOOK_WITHOUT_TIMELINE, values)
    }

    fn take(
        &mut self,
        seen: &Mark,
        node: &str,
        fingerprint: &str,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Option<Term>, Error> {
        let doing = "acquiring leadership";
        // A server that took over meanwhile may say again what another leader changed on the one before it.
        let sql = if seen.timeline == 0 {
            ACQUIRE_WITHOUT_TIMELINE
        } else {
            ACQUIRE
        };
        self.transaction(|link| {
            // Shorter than the call may take, so that the server gives up first.
            link.script(format!(
                "SET LOCAL lock_timeout = '{}ms'",
                patience.as_millis() / 2
            ))
            .map_err(database(doing))?;
            let id = Uuid::new_v4();
            let values = values![
                seen.epoch.0 as i32,
                seen.term,
                seen.renewals.cast_signed(),
                id,
                node,
                fingerprint,
                micros(ttl),
                micros(HANDOFF_MAX),
                seen.timeline.cast_signed()
            ];
            let taken = link.read_first(doing, sql, &values, |row| {
                Ok((row.get(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?))
            })?;
            let Some((epoch, acquired_at, heard_at)) = taken else {
                return Ok(None);
            };
            check_epoch(epoch)?;
            lease::rewrite_shards(link, epoch, id, Uuid::new_v4())?;
            link.run(doing, ENDED, &values![epoch as i32, heard_at])?;
            let gap = (heard_at > 0).then_some(acquired_at - heard_at);
            arguments!(epoch as i32, id, node, acquired_at, gap)
                .and_then(|values| link.rows_with(BEGUN, values))
                .map_err(database(doing))?;
            Ok(Some(Term {
                epoch: Epoch(epoch),
                id,
            }))
        })
    }

    fn give_up(&mut self, term: Term, to: Option<&str>, hold: Duration, reason: &str) -> Result<(), Error> {
        let values = values![
            term.epoch.0 as i32,
            term.id,
            to,
            micros(hold),
            reason,
            Uuid::nil()
        ];
        self.run("releasing the lease", RELEASE, &values)
    }
}
