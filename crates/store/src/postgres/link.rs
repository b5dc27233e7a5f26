//! One connection, owned by one thread at a time, driven by a small runtime of its own: a call sends, waits
//! and reads to the end on the caller's thread. No call is ever cancelled half way; one that takes too long
//! costs the connection.

use std::time::{Duration, Instant};

use sqlx_core::arguments::Arguments;
use sqlx_core::connection::{ConnectOptions, Connection as _};
use sqlx_core::encode::Encode;
use sqlx_core::error::Error as Driver;
use sqlx_core::query::query_with;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::types::Type;
use sqlx_postgres::{PgArguments, PgConnection, PgRow, Postgres};
use tokio::runtime::{Builder, Runtime};

use super::Target;
use super::durability;
use super::fault;
use super::lease;
use super::notice::Warnings;
use super::value::bound;
use crate::Error;
use crate::server::target::Reached;
use crate::server::value::{Row as _, Value, database};
use crate::server::{Connection, Purpose, Trouble, session_name};

/// One server.
type Place = crate::server::target::Place<sqlx_postgres::PgConnectOptions>;

/// How long making a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a step of the housekeeping may take: building an index, counting a segment.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long a read may take. A network that swallows everything stops a lane no longer than this.
const READER_PATIENCE: Duration = Duration::from_secs(60);
/// A connection that was used within this time is not asked whether it still works, and how long it may take
/// to say so.
const IDLE_UNASKED: Duration = Duration::from_secs(5);
const PING_PATIENCE: Duration = Duration::from_secs(3);
/// A writer's connection that lay idle may take so long to show that it is as good as a new one, which costs less.
const PROOF_PATIENCE: Duration = Duration::from_millis(200);
/// How long a small transaction of the writer may take beside its commits.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);

/// Settings of the session. READ COMMITTED: there a row lock sees what a takeover changed.
fn settings(purpose: Purpose) -> &'static str {
    match purpose {
            // A time limit of the operator's must not cut a commit off while it waits for a standby. A server
            // that does not hear from this node any more ends the session soon, and with it its locks.
            Purpose::Write => {
                "SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; SET jit = off;
                 SET statement_timeout = 0; SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '10s';
                 SET plan_cache_mode = force_generic_plan;
                 SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
                 SET tcp_user_timeout = 15000"
            }
            // It works beside the pipeline: on one core at a time, and it counts samples rather than tables.
            Purpose::Keep => {
                "SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; SET jit = off;
                 SET statement_timeout = 0; SET lock_timeout = '3s'; SET idle_in_transaction_session_timeout = '60s';
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
                 SET max_parallel_maintenance_workers = 0; SET max_parallel_workers_per_gather = 0;
                 SET default_statistics_target = 10"
            }
            // A lease held by a process that is gone must not be kept locked.
            Purpose::Lead(_) => {
                "SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; SET jit = off;
                 SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '2s';
                 SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;
                 SET tcp_user_timeout = 3000"
            }
            // Segments have no statistics while they are open: plans must not depend on any.
            Purpose::Read => {
                "SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; SET jit = off;
                 SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s';
                 SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
            }
        }
}

/// An open connection.
pub struct Link {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    connection: Option<PgConnection>,
    patience: Duration,
    /// The server's process, to be ended when it hangs.
    pub(super) backend: i32,
    /// When it answered last, or failed to.
    used: Instant,
    /// A transaction is open.
    in_transaction: bool,
    /// Whether the server shows its log's timeline, as far as is known.
    pub(super) timelines: bool,
    /// Made with the first commit.
    pub(super) warnings: Option<Warnings>,
}

/// What a server says of itself and of the session.
struct Standing {
    backend: i32,
    /// It is a standby.
    follows: bool,
    read_only: bool,
    timeline: u32,
}

fn late(patience: Duration) -> Driver {
    Driver::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} s", patience.as_secs()),
    ))
}

/// The driver names its cryptography, except where a certificate is checked without the host name: there
/// rustls takes the process's, and panics if several are linked in and none was chosen.
fn choose_cryptography() {
    // That one is chosen already is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Link {
    fn open_at(place: &Place, target: &Target, node: &str, purpose: Purpose) -> Result<Reached<Link>, Error> {
        choose_cryptography();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Database {
                doing: "preparing a connection",
                source: Box::new(source),
            })?;
        let options = place
            .options
            .clone()
            .application_name(&session_name(purpose, None, node));
        let connecting = match purpose {
            Purpose::Lead(patience) => patience,
            _ => CONNECT_PATIENCE,
        };
        let connection = runtime.block_on(async {
            match tokio::time::timeout(connecting, options.connect()).await {
                Ok(connection) => connection,
                Err(_) => Err(late(connecting)),
            }
        });
        let connection = connection.map_err(|error| fault::connecting(&place.name, &error))?;
        let mut link = Link {
            runtime: Some(runtime),
            connection: Some(connection),
            patience: connecting,
            backend: 0,
            used: Instant::now(),
            in_transaction: false,
            timelines: true,
            warnings: None,
        };
        link.script(settings(purpose))
            .map_err(database("setting a session up"))?;
        let standing = link.standing().map_err(database("setting a session up"))?;
        link.backend = standing.backend;
        let unfit = |what: &str| {
            Err(Error::Away(format!(
                "the database at {} is {what}: point store.url at the primary",
                place.name
            )))
        };
        if standing.follows {
            return unfit("a standby, and so read-only");
        }
        // Of several servers one that can be written to; the only one can at least be read.
        let writes = matches!(purpose, Purpose::Write | Purpose::Lead(_));
        if standing.read_only && writes && target.has_several() {
            return unfit("read-only (default_transaction_read_only is on)");
        }
        link.patience = match purpose {
            Purpose::Write => WRITER_PATIENCE,
            Purpose::Read => READER_PATIENCE,
            Purpose::Keep => PATIENCE,
            Purpose::Lead(patience) => patience,
        };
        if purpose == Purpose::Write {
            durability::check(&mut link, target, &place.name)?;
        }
        Ok(Reached {
            link,
            timeline: standing.timeline,
        })
    }

    fn standing(&mut self) -> Result<Standing, Driver> {
        const TIMELINE: &str = "CASE WHEN pg_is_in_recovery() THEN 0 ELSE
            ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END";
        let ask = |timeline: &str| {
            format!(
                "SELECT pg_backend_pid(), pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', {timeline}"
            )
        };
        let row = match self.row(&ask(TIMELINE), &[]) {
            // A service that hides its log has no timelines to show.
            Err(error) if fault::state(&error).is_some() => self.row(&ask("0"), &[])?,
            other => other?,
        };
        Ok(Standing {
            backend: row.get(0)?,
            follows: row.get(1)?,
            read_only: row.get(2)?,
            timeline: row.get::<i32>(3)?.unsigned_abs(),
        })
    }

    fn wait<T>(
        &mut self,
        patience: Duration,
        ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Driver>,
    ) -> Result<T, Driver> {
        let broken = || Driver::Io(std::io::ErrorKind::NotConnected.into());
        let (Some(runtime), Some(mut connection)) = (&self.runtime, self.connection.take()) else {
            return Err(broken());
        };
        let answer = runtime.block_on(async { tokio::time::timeout(patience, ask(&mut connection)).await });
        self.used = Instant::now();
        match answer {
            Ok(answer) => {
                // A connection that failed is out of step: it is not used again.
                if answer.is_ok() || answer.as_ref().is_err_and(|error| fault::state(error).is_some()) {
                    self.connection = Some(connection);
                }
                answer
            }
            Err(_) => Err(late(patience)),
        }
    }

    /// All rows of a statement, read to the end: the server has finished (and committed) when this returns.
    pub(super) fn rows_within(
        &mut self,
        patience: Duration,
        sql: impl SqlSafeStr,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, Driver> {
        let query = query_with::<Postgres, _>(sql, arguments);
        self.wait(patience, async move |connection| {
            query.fetch_all(connection).await
        })
    }

    /// All rows of a statement, with values that only this server takes.
    pub(super) fn rows_with(
        &mut self,
        sql: impl SqlSafeStr,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, Driver> {
        self.rows_within(self.patience, sql, arguments)
    }

    /// Runs `work` in a transaction; `around` carries the commit out.
    pub(super) fn transaction_ending<T>(
        &mut self,
        work: impl FnOnce(&mut Link) -> Result<T, Error>,
        around: impl FnOnce(&mut dyn FnMut() -> Result<(), Driver>) -> Result<(), Driver>,
    ) -> Result<T, Error> {
        let doing = database("beginning or ending a transaction");
        self.script("BEGIN").map_err(&doing)?;
        self.in_transaction = true;
        let done = work(self);
        self.in_transaction = false;
        match done {
            Ok(value) => {
                around(&mut || self.script("COMMIT")).map_err(&doing)?;
                Ok(value)
            }
            Err(error) => {
                if self.script("ROLLBACK").is_err() {
                    self.connection = None;
                }
                Err(error)
            }
        }
    }
}

impl Connection for Link {
    type Target = Target;
    type Row = PgRow;

    fn open(target: &Target, node: &str, purpose: Purpose) -> Result<Link, Error> {
        let connect = |place: &Place| Link::open_at(place, target, node, purpose);
        match purpose {
            Purpose::Write | Purpose::Lead(_) => target.reach_newest(connect),
            Purpose::Keep | Purpose::Read => target.reach(connect),
        }
    }

    fn close(mut self) {
        if let (Some(runtime), Some(connection)) = (&self.runtime, self.connection.take()) {
            let _ =
                runtime.block_on(async { tokio::time::timeout(CONNECT_PATIENCE, connection.close()).await });
        }
    }

    fn is_whole(&self) -> bool {
        self.connection.is_some()
    }

    fn still_answers(&mut self) -> bool {
        if self.used.elapsed() < IDLE_UNASKED {
            return true;
        }
        self.rows_within(PING_PATIENCE, "SELECT 1", PgArguments::default())
            .is_ok()
    }

    fn is_as_good_as_new(&mut self, target: &Target) -> bool {
        let usual = std::mem::replace(&mut self.patience, PROOF_PATIENCE);
        let good = self.standing().is_ok_and(|standing| {
            !standing.follows && !standing.read_only && target.is_newest(standing.timeline)
        }) && durability::check(self, target, &target.name()).is_ok();
        self.patience = usual;
        good && self.is_whole()
    }

    fn backend(&self) -> i32 {
        self.backend
    }

    fn hasten<T>(&mut self, work: impl FnOnce(&mut Link) -> T) -> T {
        let usual = std::mem::replace(&mut self.patience, WRITER_PATIENCE);
        let answer = work(self);
        self.patience = usual;
        answer
    }

    fn end_session(&mut self, backend: i32) {
        lease::end_session(self, backend);
    }

    fn cancel(&mut self, backend: i32, patience: Duration) {
        let values = arguments!(backend);
        let _ = values.and_then(|values| {
            self.rows_within(patience, "SELECT pg_cancel_backend($1) WHERE $1 > 0", values)
        });
    }

    fn is_worth_another_try(error: &Error) -> bool {
        fault::is_worth_another_try(error)
    }

    fn is_lock_timeout(error: &Error) -> bool {
        fault::state_of(error).as_deref() == Some("55P03")
    }

    fn trouble(error: Driver) -> Trouble {
        fault::trouble(&error)
    }

    fn rows(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<PgRow>, Driver> {
        self.rows_with(AssertSqlSafe(sql.to_owned()), bound(values)?)
    }

    fn script(&mut self, sql: impl Into<String>) -> Result<(), Driver> {
        let sql = raw_sql(AssertSqlSafe(sql.into()));
        self.wait(self.patience, async move |connection| {
            sql.execute(connection).await.map(drop)
        })
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&mut Link) -> Result<T, Error>) -> Result<T, Error> {
        if self.in_transaction {
            // The server knows no transactions inside others: a COMMIT here would end the one around.
            return work(self);
        }
        self.transaction_ending(work, |commit| commit())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection = None;
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, so a link may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}

/// Adds a value to those of a statement.
pub(super) fn bind<'q, T>(mut values: PgArguments, value: T) -> Result<PgArguments, Driver>
where
    T: Encode<'q, Postgres> + Type<Postgres>,
{
    values.add(value).map_err(Driver::Encode)?;
    Ok(values)
}

/// The values of a statement, in order.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {{
        let values: Result<sqlx_postgres::PgArguments, sqlx_core::error::Error> = Ok(Default::default());
        $(let values = values.and_then(|values| $crate::postgres::link::bind(values, $value));)*
        values
    }};
}
pub(super) use arguments;
