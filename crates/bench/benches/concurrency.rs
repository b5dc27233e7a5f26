//! How throughput to a slow partner follows `concurrency` and the number of partition keys:
//! `cargo build --release && cargo bench -p bench --bench concurrency`, with `-- delay_ms=10 seconds=5` to change it.
//! HOLDFAST_STORE__BACKEND and HOLDFAST_STORE__URL choose the store.
//!
//! Below it: how one handler that computes for milliseconds uses the cores, with one thread for user code and with
//! as many as the machine has cores.
//!
//! One inbound, one handler, one outbound; the partner answers each message of a connection after the delay. *Ideal*
//! is concurrency / delay (keys / delay for a partitioned lane).

mod site;

use std::io::Write;
use std::time::{Duration, Instant};

use bench::control_id::RunId;
use bench::reconcile::{Expect, reconcile};
use bench::sender::{self, Pace, Sender, Until};
use bench::sink::{self, Behaviour, Sink};
use site::{Failure, Node, argument, messages};

const API: u16 = 20_998;
const INBOUND: u16 = 23_900;
const KEYS_MANY: u64 = 1_000_000;

/// One line of the table.
struct Case {
    /// What the outbound declares.
    ordering: String,
    /// Distinct partition keys among the messages.
    keys: u64,
    /// Deliveries that may be on the way at a time.
    most: u64,
}

fn cases() -> Vec<Case> {
    let unordered = [1, 4, 16, 64].map(|concurrency| Case {
        ordering: format!(r#"ordering = "unordered", concurrency = {concurrency}"#),
        keys: KEYS_MANY,
        most: concurrency,
    });
    let keyed = [1, 4, 16, 64].map(|keys| Case {
        ordering: r#"partition = "PID-3.1", concurrency = 64"#.to_owned(),
        keys,
        most: keys,
    });
    let partitioned = [1, 4, 16, 64].map(|concurrency| Case {
        ordering: format!(r#"partition = "PID-3.1", concurrency = {concurrency}"#),
        keys: KEYS_MANY,
        most: concurrency,
    });
    unordered.into_iter().chain(keyed).chain(partitioned).collect()
}

fn feed(case: &Case, out: u16) -> String {
    let (ordering, keys) = (&case.ordering, case.keys);
    format!(
        r#"
inbound("IB_BENCH_ADT", mllp(port = {INBOUND}), router = "route")
outbound("OB_BENCH_ADT", mllp(host = "127.0.0.1", port = {out}), {ordering})

@router
def route(msg):
    return ["edit"]

@handler
def edit(msg):
    msg["PID-3.1"] = "K%d" % (int(msg.control_id.split("-")[2], 10) % {keys})
    return send("OB_BENCH_ADT", msg)
"#
    )
}

async fn measure(case: &Case, delay: Duration, length: Duration) -> Result<(), Failure> {
    let sink = Sink::start(sink::Options::local(1).behaving(Behaviour::slow(delay))).await?;
    let node = Node::start(&feed(case, sink.ports()[0]), API, INBOUND)?;
    let ideal = case.most as f64 / delay.as_secs_f64();
    let count = (ideal * length.as_secs_f64()) as u64;
    let run = RunId::random();
    let sender = Sender::start(sender::Options {
        pace: Pace::Closed { window: 64 },
        until: Until::Count(count),
        run,
        ..sender::Options::new(format!("127.0.0.1:{INBOUND}"), messages(1024)?)
    })?;
    let record = sender.finish().await;
    let waited = sink
        .wait_until(Duration::from_secs(120), |counts| {
            counts.accepted >= record.acknowledged()
        })
        .await;
    let ports = sink.stop().await;
    let at: Vec<u64> = ports[0].accepted(run).map(|arrival| arrival.at_us).collect();
    let (Some(first), Some(last)) = (at.iter().min(), at.iter().max()) else {
        return Err(format!("nothing arrived: {waited:?}\n{}", node.said()).into());
    };
    let rate = (at.len() - 1) as f64 / ((last - first) as f64 / 1e6);
    let totals = reconcile(&record, &ports, &Expect::Ports(1)).totals;
    writeln!(
        std::io::stdout(),
        "{:<44} {:>9} {:>9.0} {:>9.0} {:>6.2} {:>8} {:>8.0}",
        case.ordering,
        if case.keys == KEYS_MANY {
            "many".to_owned()
        } else {
            case.keys.to_string()
        },
        ideal,
        rate,
        rate / ideal,
        totals.missing,
        node.cpu_seconds() * 1e6 / at.len() as f64,
    )?;
    Ok(())
}

/// One ordered lane with a handler that takes milliseconds a message.
async fn transforms(threads: &str, count: u64, steps: u64) -> Result<(), Failure> {
    let sink = Sink::start(sink::Options::local(1)).await?;
    let port = sink.ports()[0];
    let feed = format!(
        r#"
inbound("IB_BENCH_ADT", mllp(port = {INBOUND}), router = "route")
outbound("OB_BENCH_ADT", mllp(host = "127.0.0.1", port = {port}))

@router
def route(msg):
    return ["compute"]

@handler
def compute(msg):
    total = 0
    for step in range({steps}):
        total = (total * 31 + step) % 1000003
    return send("OB_BENCH_ADT", msg)
"#
    );
    let node = Node::start_with(&feed, API, INBOUND, &[("HOLDFAST_ENGINE__CODE_THREADS", threads)])?;
    let run = RunId::random();
    let sender = Sender::start(sender::Options {
        pace: Pace::Closed { window: 64 },
        until: Until::Count(count),
        run,
        ..sender::Options::new(format!("127.0.0.1:{INBOUND}"), messages(1024)?)
    })?;
    let (begun, used) = (Instant::now(), node.cpu_seconds());
    let record = sender.finish().await;
    let waited = sink
        .wait_until(Duration::from_secs(300), |counts| {
            counts.accepted >= record.acknowledged()
        })
        .await;
    let took = begun.elapsed().as_secs_f64();
    waited.map_err(|counts| format!("{counts:?}\n{}", node.said()))?;
    let ports = sink.stop().await;
    let totals = reconcile(&record, &ports, &Expect::Ports(1)).totals;
    writeln!(
        std::io::stdout(),
        "{threads:>12} {:>10.0} {:>12.2} {:>8} {:>12}",
        count as f64 / took,
        (node.cpu_seconds() - used) / took,
        totals.missing,
        totals.inversions,
    )?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let delay = Duration::from_millis(argument("delay_ms", 10));
    let length = Duration::from_secs(argument("seconds", 5));
    writeln!(
        std::io::stdout(),
        "{:<44} {:>9} {:>9} {:>9} {:>6} {:>8} {:>8}",
        "outbound",
        "keys",
        "ideal/s",
        "rate/s",
        "share",
        "missing",
        "us CPU"
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for case in cases() {
        runtime.block_on(measure(&case, delay, length))?;
    }
    writeln!(
        std::io::stdout(),
        "\n{:>12} {:>10} {:>12} {:>8} {:>12}",
        "code threads",
        "rate/s",
        "cores busy",
        "missing",
        "out of order"
    )?;
    let cores = std::thread::available_parallelism()?.to_string();
    for threads in ["1", &cores] {
        runtime.block_on(transforms(
            threads,
            argument("count", 2000),
            argument("steps", 50_000),
        ))?;
    }
    Ok(())
}
