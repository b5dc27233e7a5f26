//! What one bad lane costs the others, side by side in one run:
//! `cargo build --release && cargo bench -p bench --bench isolation`, with `-- lanes=50 rate=2000 seconds=10
//! rounds=3 size=1024` to change what it does. HOLDFAST_STORE__BACKEND and HOLDFAST_STORE__URL choose the store.
//!
//! All lanes are fed at one rate. The lanes under watch never change; one more lane is well-behaved in the first
//! phase of a round, has a partner that takes messages and never answers in the second, and a handler that computes
//! without end in the third. Printed is what the lanes under watch delivered in each phase, and the ratio of the bad
//! phases to the good one beside them. Between phases the bad lane's backlog drains. At the end every message is
//! accounted for, the bad lane's included.

mod site;

use std::io::Write;
use std::time::{Duration, Instant};

use bench::control_id::RunId;
use bench::reconcile::{Expect, reconcile};
use bench::sender::{self, Pace, Record, Sender, Until};
use bench::sink::{self, Behaviour, Misdeed, PortRecord, Sink, When};
use site::{Failure, Node, argument, messages};

const API: u16 = 20_998;
const FIRST_IN: u16 = 23_000;
/// What is not counted at the edges of a phase.
const EDGE: Duration = Duration::from_millis(500);
const DRAIN_PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Good,
    Hung,
    Busy,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Good, Phase::Hung, Phase::Busy];

    fn name(self) -> &'static str {
        match self {
            Phase::Good => "all well",
            Phase::Hung => "a partner hangs",
            Phase::Busy => "a handler computes",
        }
    }
}

struct Plan {
    lanes: u16,
    rate: f64,
    length: Duration,
    rounds: usize,
    size: usize,
}

/// Lane 0 is the one that turns bad by its partner; the lane after the last one by its handler.
fn feed(lanes: u16, outs: &[u16], steps: u64) -> String {
    format!(
        r#"
OUT = {outs:?}

def lane(number, steps):
    name = pad_left(str(number), 4, "0")

    def route(msg):
        return ["edit_" + name]

    def edit(msg):
        total = 0
        for step in range(steps):
            total = (total * 31 + step) % 1000003
        msg["MSH-5"] = "EMR"
        msg["PID-5.1"] = msg["PID-5.1"].upper()
        return send("OB_BENCH%s_ADT" % name, msg)

    router(route, "route_" + name)
    handler(edit, "edit_" + name)
    inbound("IB_BENCH%s_ADT" % name, mllp(port = {FIRST_IN} + number), router = "route_" + name)
    outbound("OB_BENCH%s_ADT" % name, mllp(host = "127.0.0.1", port = OUT[number], ack_timeout = 3),
             retry = retry(backoff = 0.1, backoff_max = 0.5))

def lanes():
    for number in range({lanes}):
        lane(number, 0)
    lane({lanes}, {steps})

lanes()
"#
    )
}

/// Senders of one rate a lane: those under watch, or the odd one.
fn send(plan: &Plan, lanes: std::ops::Range<u16>, until: Until) -> Result<(RunId, Sender), Failure> {
    let to: Vec<String> = lanes
        .map(|lane| format!("127.0.0.1:{}", FIRST_IN + lane))
        .collect();
    let count = u16::try_from(to.len())?;
    let run = RunId::random();
    let sender = Sender::start(sender::Options {
        lanes: count,
        pace: Pace::Open {
            per_second: plan.rate * f64::from(count) / f64::from(plan.lanes),
        },
        until,
        run,
        to,
        ..sender::Options::new("", messages(plan.size)?)
    })?;
    Ok((run, sender))
}

/// One stretch of time, on the sink's clock.
struct Stretch {
    phase: Phase,
    from: Duration,
    upto: Duration,
    cpu_seconds: f64,
}

async fn drained(sink: &Sink, run: RunId, sent: &Record) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let arrived: usize = sink
            .received()
            .iter()
            .map(|port| port.accepted(run).count())
            .sum();
        if arrived as u64 >= sent.acknowledged() {
            return Ok(());
        }
        if begun.elapsed() > DRAIN_PATIENCE {
            return Err(format!("{arrived} of {} arrived, and no more come", sent.acknowledged()).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn judge(name: &str, record: &Record, ports: &[PortRecord]) -> String {
    let totals = reconcile(record, ports, &Expect::Ports(1)).totals;
    format!(
        "{name}: {} acknowledged, {} delivered, {} missing, {} repeated, {} out of order",
        totals.acknowledged, totals.delivered, totals.missing, totals.repeated, totals.inversions
    )
}

fn delivered(ports: &[PortRecord], run: RunId, stretch: &Stretch) -> f64 {
    let within = |at: u64| (stretch.from..stretch.upto).contains(&Duration::from_micros(at));
    let count = ports
        .iter()
        .flat_map(|port| port.accepted(run))
        .filter(|arrival| within(arrival.at_us))
        .count();
    count as f64 / (stretch.upto - stretch.from).as_secs_f64()
}

async fn run(plan: &Plan, steps: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let clock = Instant::now();
    let sink = Sink::start(sink::Options::local(usize::from(plan.lanes) + 1)).await?;
    let node = Node::start(&feed(plan.lanes, &sink.ports(), steps), API, FIRST_IN)?;
    let (watched_run, watched) = send(plan, 1..plan.lanes, Until::Stopped)?;
    tokio::time::sleep(Duration::from_secs(3)).await; // connections are made, code is warm
    let mut stretches = Vec::new();
    let mut odd = Vec::new();
    for round in 0..plan.rounds {
        for phase in Phase::ALL {
            if phase == Phase::Hung {
                sink.behave(0, Behaviour::faulty(Misdeed::Hang, When::Always));
            }
            let lane = if phase == Phase::Busy { plan.lanes } else { 0 };
            let (id, sender) = send(plan, lane..lane + 1, Until::Elapsed(plan.length))?;
            tokio::time::sleep(EDGE).await;
            let (from, used) = (clock.elapsed(), node.cpu_seconds());
            tokio::time::sleep(plan.length - 2 * EDGE).await;
            stretches.push(Stretch {
                phase,
                from,
                upto: clock.elapsed(),
                cpu_seconds: node.cpu_seconds() - used,
            });
            let sent = sender.finish().await;
            sink.behave(0, Behaviour::default());
            drained(&sink, id, &sent).await?;
            odd.push((format!("round {}, odd lane, {}", round + 1, phase.name()), sent));
        }
    }
    watched.stop();
    let record = watched.finish().await;
    drained(&sink, watched_run, &record).await?;
    let ports = sink.stop().await;
    writeln!(
        out,
        "{:<22} {:>14} {:>8} {:>9}",
        "phase", "delivered/s", "ratio", "node CPU"
    )?;
    let mut good = 0.0;
    let mut ratios = [(Phase::Hung, Vec::new()), (Phase::Busy, Vec::new())];
    for stretch in &stretches {
        let rate = delivered(&ports, watched_run, stretch);
        if stretch.phase == Phase::Good {
            good = rate;
        }
        let (ratio, share) = (
            rate / good,
            stretch.cpu_seconds / (stretch.upto - stretch.from).as_secs_f64(),
        );
        for (phase, all) in &mut ratios {
            if *phase == stretch.phase {
                all.push(ratio);
            }
        }
        writeln!(
            out,
            "{:<22} {rate:>14.0} {ratio:>8.3} {:>8.0}%",
            stretch.phase.name(),
            share * 100.0
        )?;
    }
    for (phase, all) in ratios {
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        writeln!(
            out,
            "{}: the other {} lanes keep {:.1} %",
            phase.name(),
            plan.lanes - 1,
            mean * 100.0
        )?;
    }
    writeln!(out, "{}", judge("lanes under watch", &record, &ports))?;
    for (name, record) in &odd {
        writeln!(out, "{}", judge(name, record, &ports))?;
    }
    write!(out, "{}", node.said())?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let plan = Plan {
        lanes: argument("lanes", 50),
        rate: argument("rate", 2000.0),
        length: Duration::from_secs(argument("seconds", 10)),
        rounds: argument("rounds", 3),
        size: argument("size", 1024),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&plan, argument("steps", 200_000)))
}
