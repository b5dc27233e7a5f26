//! What a reader that keeps one snapshot for the whole run costs: `cargo bench -p store --bench horizon`, with
//! another number of messages a run as `... -- 1000000`.
//!
//! Whole lives of messages on PostgreSQL (see `life`), 50 a batch, with and without a `REPEATABLE READ`
//! transaction that began before the run and lasts until after it: what is dead meanwhile stays. Side by side
//! and alternating, each pair in the other order; the medians are compared.

mod life;

use std::io::Write;
use std::time::{Duration, Instant};

use life::{Failure, cpu_seconds, live};
use store::Store;

const BATCH: usize = 50;
const MESSAGES: usize = 300_000;
const PAIRS: usize = 3;

fn main() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let messages = asked.unwrap_or(MESSAGES);
    let server = pgtest::Server::start(
        "shared_buffers = 1GB\nmax_wal_size = 16GB\nmin_wal_size = 2GB\ncheckpoint_timeout = 15min\nautovacuum_naptime = 5s",
    );
    // The first writes to a new log are slow: they are not measured.
    run(&server, messages / 2, false)?;
    let (mut free, mut pinned) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        for pin in [pair % 2 == 0, pair % 2 == 1] {
            let before = cpu_seconds();
            let rate = run(&server, messages, pin)?;
            let own = (cpu_seconds() - before) * 1e6 / messages as f64;
            let name = if pin { "pinned" } else { "free" };
            writeln!(out, "{name:<7} {rate:>8.0} msg/s {own:>6.1} CPU us here")?;
            if pin { &mut pinned } else { &mut free }.push(rate);
        }
    }
    let (free, pinned) = (median(free), median(pinned));
    writeln!(
        out,
        "{messages} messages a run, {BATCH} a batch: {free:.0} msg/s, with a pinned horizon {pinned:.0}; it costs {:.1} %",
        100.0 * (1.0 - pinned / free)
    )?;
    Ok(())
}

/// Messages a second.
fn run(server: &pgtest::Server, messages: usize, pin: bool) -> Result<f64, Failure> {
    let database = server.database();
    let store = store::postgres::open(store::postgres::Options::new(database.url()))?;
    let reader = pin.then(|| {
        database.begin_sql(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM holdfast.segment; SELECT pg_sleep(86400)",
        )
    });
    let begun = Instant::now();
    let pins =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'
                AND backend_xmin IS NOT NULL";
    while pin && database.sql(pins) != "1" {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("the reader does not begin".into());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let term = runtime.block_on(store.acquire("bench"))?;
    let begun = Instant::now();
    runtime.block_on(live(&store, term, BATCH, messages, 0))?;
    let took = begun.elapsed();
    if pin && database.sql(pins) != "1" {
        return Err("the reader ended before the run".into());
    }
    runtime.block_on(store.close())?;
    drop(reader);
    Ok(messages as f64 / took.as_secs_f64())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
