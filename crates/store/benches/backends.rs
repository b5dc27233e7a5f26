//! SQLite and PostgreSQL side by side through the contract, and what raw SQL reaches at best on each:
//! `cargo bench -p store --bench backends`, or only some of it: `... -- postgres 50`.
//!
//! Whole lives of messages (see `life`), bodies of 1 KB, everything durable. The *ceiling* writes the same
//! rows without the store: bare tables with one key each, values prepared beforehand, no fence, no receipts,
//! no segments; one transaction a batch on SQLite, one statement a batch on PostgreSQL. Both servers of CPU
//! are this machine's; the database's share is in the last columns.

mod life;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use life::{Failure, cpu_seconds, live};
use sqlx_core::connection::ConnectOptions;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::{PgConnectOptions, PgConnection, Postgres};
use store::Store;

/// Messages a batch, and messages in all.
const RUNS: [(usize, usize); 4] = [(1, 3_000), (10, 25_000), (50, 80_000), (200, 120_000)];
const TIMES: usize = 3;

/// What a server for such a load is given.
const SERVER: &str = "shared_buffers = 2GB\nmax_wal_size = 16GB\nmin_wal_size = 4GB\nwal_buffers = 64MB
wal_compression = on\nbgwriter_delay = 10ms\nbgwriter_lru_maxpages = 2000\nbgwriter_lru_multiplier = 4
checkpoint_timeout = 15min";

#[derive(Clone, Copy)]
enum Way {
    Sqlite,
    /// Bodies as they are.
    SqlitePlain,
    SqliteRaw,
    Postgres,
    PostgresPlain,
    PostgresRaw,
}

const WAYS: [(Way, &str); 6] = [
    (Way::Sqlite, "sqlite"),
    (Way::SqlitePlain, "sqlite plain"),
    (Way::SqliteRaw, "sqlite ceiling"),
    (Way::Postgres, "postgres"),
    (Way::PostgresPlain, "postgres plain"),
    (Way::PostgresRaw, "postgres ceiling"),
];

#[derive(Clone, Copy, Default)]
struct Measured {
    /// Messages a second.
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Processor time per message, in microseconds: this process, and the database server.
    here_us: f64,
    there_us: f64,
}

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let server = pgtest::Server::start(SERVER);
    warm(&server)?;
    writeln!(
        out,
        "batch  way                 msg/s   p50 ms   p99 ms   CPU us here   CPU us database"
    )?;
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_asked = |word: &str, of: &dyn Fn(&str) -> bool| {
        !asked.iter().any(|asked| of(asked)) || asked.iter().any(|asked| asked == word)
    };
    for (batch, messages) in RUNS {
        if !is_asked(&batch.to_string(), &|word| word.parse::<usize>().is_ok()) {
            continue;
        }
        let mut best = [Measured::default(); WAYS.len()];
        // Alternating, the best of several: the machine is not ours alone.
        for _ in 0..TIMES {
            for (index, (way, name)) in WAYS.into_iter().enumerate() {
                if !is_asked(name, &|word| WAYS.iter().any(|(_, name)| *name == word)) {
                    continue;
                }
                let measured = measure(&server, way, batch, messages)?;
                if measured.rate > best[index].rate {
                    best[index] = measured;
                }
            }
        }
        for ((_, name), of) in WAYS.into_iter().zip(best).filter(|(_, of)| of.rate > 0.0) {
            writeln!(
                out,
                "{batch:>5}  {name:<16} {:>8.0} {:>8.2} {:>8.2} {:>13.1} {:>17.1}",
                of.rate, of.p50_ms, of.p99_ms, of.here_us, of.there_us
            )?;
        }
        for (of, ceiling) in [(0, 2), (3, 5)] {
            if best[of].rate > 0.0 && best[ceiling].rate > 0.0 {
                let share = 100.0 * best[of].rate / best[ceiling].rate;
                writeln!(out, "       {} reaches {share:.0} % of its ceiling", WAYS[of].1)?;
            }
        }
    }
    Ok(())
}

/// The first writes to a new log are slow: they are not measured.
fn warm(server: &pgtest::Server) -> Result<(), Failure> {
    measure(server, Way::PostgresRaw, 200, 120_000).map(drop)
}

fn measure(server: &pgtest::Server, way: Way, batch: usize, messages: usize) -> Result<Measured, Failure> {
    let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let database = server.database();
    let there = || cpu_of_server(server);
    let mut clock = Clock::default();
    match way {
        Way::Sqlite | Way::SqlitePlain => {
            let mut options = store::sqlite::Options::new(directory.path());
            options.compress = matches!(way, Way::Sqlite);
            let store = store::sqlite::open(options)?;
            through_contract(&store, batch, messages, &there, &mut clock)?;
        }
        Way::Postgres | Way::PostgresPlain => {
            let mut options = store::postgres::Options::new(database.url());
            options.compress = matches!(way, Way::Postgres);
            let store = store::postgres::open(options)?;
            through_contract(&store, batch, messages, &there, &mut clock)?;
        }
        Way::SqliteRaw => raw_sqlite(directory.path(), batch, messages, &there, &mut clock)?,
        Way::PostgresRaw => raw_postgres(&database.url(), batch, messages, &there, &mut clock)?,
    }
    clock.commits.sort_unstable();
    let at = |percent: usize| clock.commits[(clock.commits.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let count = messages as f64;
    Ok(Measured {
        rate: count / clock.took.as_secs_f64(),
        p50_ms: at(50),
        p99_ms: at(99),
        here_us: clock.here * 1e6 / count,
        there_us: clock.there * 1e6 / count,
    })
}

/// What one run took.
#[derive(Default)]
struct Clock {
    commits: Vec<Duration>,
    took: Duration,
    here: f64,
    there: f64,
}

impl Clock {
    fn run(
        &mut self,
        there: &dyn Fn() -> f64,
        work: impl FnOnce() -> Result<Vec<Duration>, Failure>,
    ) -> Result<(), Failure> {
        let (begun, here, before) = (Instant::now(), cpu_seconds(), there());
        self.commits = work()?;
        self.took = begun.elapsed();
        self.here = cpu_seconds() - here;
        self.there = there() - before;
        Ok(())
    }
}

fn through_contract(
    store: &dyn Store,
    batch: usize,
    messages: usize,
    there: &dyn Fn() -> f64,
    clock: &mut Clock,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let term = runtime.block_on(store.acquire("bench"))?;
    clock.run(there, || runtime.block_on(live(store, term, batch, messages, 0)))?;
    Ok(runtime.block_on(store.close())?)
}

const RAW_SQLITE: [&str; 5] = [
    "INSERT INTO message VALUES (?1, 1, 1, 1, 'MSG00000001', 'ADT^A01', '127.0.0.1:50000', ?2)",
    "INSERT INTO routed VALUES (?1, ?1, 1, x'02000000')",
    "INSERT INTO outbound VALUES (?1, ?1, 2, 3, 0, 1, ?2)",
    "INSERT INTO outcome VALUES (?1, ?1, 1, 1, 1, ?2)",
    "INSERT INTO disposition VALUES (?1, 3, 1)",
];

fn raw_sqlite(
    directory: &Path,
    batch: usize,
    messages: usize,
    there: &dyn Fn() -> f64,
    clock: &mut Clock,
) -> Result<(), Failure> {
    let connection = rusqlite::Connection::open(directory.join("raw.db"))?;
    connection.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000;
         CREATE TABLE message (id INTEGER PRIMARY KEY, a, b, c, d, e, f, body);
         CREATE TABLE routed (id INTEGER PRIMARY KEY, a, b, c);
         CREATE TABLE outbound (id INTEGER PRIMARY KEY, a, b, c, d, e, body);
         CREATE TABLE outcome (id INTEGER PRIMARY KEY, a, b, c, d, reply);
         CREATE TABLE disposition (id INTEGER PRIMARY KEY, a, b)",
    )?;
    let (body, reply) = (vec![b'x'; 1024], vec![b'a'; 80]);
    clock.run(there, || {
        let mut inserts = Vec::new();
        for sql in RAW_SQLITE {
            inserts.push(connection.prepare(sql)?);
        }
        let mut commits = Vec::new();
        for first in (0..messages).step_by(batch) {
            let begun = Instant::now();
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for id in first..(first + batch).min(messages) {
                let id = id as i64;
                inserts[0].execute(rusqlite::params![id, body])?;
                inserts[1].execute([id])?;
                inserts[2].execute(rusqlite::params![id, body])?;
                inserts[3].execute(rusqlite::params![id, reply])?;
                inserts[4].execute([id])?;
            }
            connection.execute_batch("COMMIT")?;
            commits.push(begun.elapsed());
        }
        Ok(commits)
    })
}

const RAW_TABLES: &str = "
 CREATE TABLE message (id bigint PRIMARY KEY, a int, b bigint, c bigint, d text, e text, f text, body bytea);
 CREATE TABLE routed (id bigint PRIMARY KEY, a bigint, b bigint, c int[]);
 CREATE TABLE outbound (id bigint PRIMARY KEY, a bigint, b int, c int, d int, e bigint, body bytea);
 CREATE TABLE outcome (id bigint PRIMARY KEY, a bigint, b smallint, c int, d bigint, reply bytea);
 CREATE TABLE disposition (id bigint PRIMARY KEY, a smallint, b bigint);
 ALTER TABLE message SET (autovacuum_enabled = off); ALTER TABLE routed SET (autovacuum_enabled = off);
 ALTER TABLE outbound SET (autovacuum_enabled = off); ALTER TABLE outcome SET (autovacuum_enabled = off);
 ALTER TABLE disposition SET (autovacuum_enabled = off); SET plan_cache_mode = force_generic_plan";

const RAW_POSTGRES: &str = "
 WITH a AS (INSERT INTO message SELECT unnest($1::bigint[]), 1, 1, 1, 'MSG00000001', 'ADT^A01', '127.0.0.1:50000',
                unnest($2::bytea[])),
      b AS (INSERT INTO routed SELECT id, id, 1, '{2}' FROM (SELECT unnest($1::bigint[]) AS id) AS u),
      c AS (INSERT INTO outbound SELECT id, id, 2, 3, 0, 1, body
                FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bytea[]) AS body) AS u),
      d AS (INSERT INTO outcome SELECT id, id, 1, 1, 1, reply
                FROM (SELECT unnest($1::bigint[]) AS id, unnest($3::bytea[]) AS reply) AS u)
 INSERT INTO disposition SELECT unnest($1::bigint[]), 3, 1";

fn raw_postgres(
    url: &str,
    batch: usize,
    messages: usize,
    there: &dyn Fn() -> f64,
    clock: &mut Clock,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let options: PgConnectOptions = url.parse()?;
    let mut connection: PgConnection = runtime.block_on(options.connect())?;
    runtime.block_on(raw_sql(RAW_TABLES).execute(&mut connection))?;
    let body = vec![b'x'; 1024];
    let reply = [b'a'; 80];
    let (bodies, replies) = (vec![&body[..]; batch], vec![&reply[..]; batch]);
    clock.run(there, || {
        let mut commits = Vec::new();
        for first in (0..messages).step_by(batch) {
            let begun = Instant::now();
            let ids: Vec<i64> = (first..first + batch).map(|id| id as i64).collect();
            let insert = query::<Postgres>(RAW_POSTGRES)
                .bind(ids)
                .bind(&bodies[..])
                .bind(&replies[..]);
            runtime.block_on(insert.execute(&mut connection))?;
            commits.push(begun.elapsed());
        }
        Ok(commits)
    })
}

/// Processor time of the server's processes so far, in seconds, those that have ended included.
fn cpu_of_server(server: &pgtest::Server) -> f64 {
    let pid = std::fs::read_to_string(server.folder().join("data/postmaster.pid")).unwrap_or_default();
    let postmaster = pid.lines().next().unwrap_or_default().trim().to_owned();
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let fields: Vec<&str> = rest.split(' ').collect();
        let sum = |range: std::ops::Range<usize>| -> f64 {
            fields[range]
                .iter()
                .filter_map(|ticks| ticks.parse::<f64>().ok())
                .sum()
        };
        if fields.get(1) == Some(&postmaster.as_str()) {
            ticks += sum(11..13);
        } else if head.split(' ').next() == Some(postmaster.as_str()) {
            ticks += sum(11..15); // its own, and that of children that have ended
        }
    }
    ticks / 100.0
}
