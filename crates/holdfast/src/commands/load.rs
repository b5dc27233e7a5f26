//! `holdfast load`: offers load, measures the answers, and accounts for every message.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bench::control_id::RunId;
use bench::payload::Pool;
use bench::recipe::{self, Recipe};
use bench::reconcile::{Expect, Reconciliation};
use bench::scenario::{Report, Running, Scenario, Snapshot};
use bench::sender::{self, Pace, Until};
use bench::sink;
use bench::stats::{self, Percentiles};
use indicatif::ProgressBar;

use super::manners::Manners;
use super::values;
use crate::cli;
use crate::output::{self, Advice, Output, thousands};
use crate::profile;

/// Offer load over MLLP: at a fixed rate (--rate) or as fast as answers come (--window).
///
/// With --sink it also is the partner on the far side, and compares: everything acknowledged must
/// arrive, in the order of its lane. Latency at a fixed rate counts from when a message should have
/// been sent, so that a stall shows.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The receivers; lanes take them in turn.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required_unless_present = "profile", value_parser = values::host_port)]
    to: Vec<String>,
    /// How many lanes, each one connection.
    #[arg(long, value_name = "N", default_value_t = 1)]
    lanes: u16,
    /// Messages per second over all lanes, whatever the answers do (open loop).
    #[arg(long, value_name = "R", value_parser = values::rate, conflicts_with = "window")]
    rate: Option<f64>,
    /// Unanswered messages that each lane keeps on the wire (closed loop).
    #[arg(long, value_name = "W", default_value_t = 1)]
    window: u32,
    /// Stop after this many messages over all lanes [default: 1000].
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    count: Option<u64>,
    /// Stop after this much time.
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,
    /// Aim at messages of about this many bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    size: usize,
    /// What to send: a type such as ADT^A01 or ORU, `all`, or `mixed`.
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "ADT^A01")]
    kind: Vec<String>,
    /// HL7 version of the messages.
    #[arg(long, value_name = "VERSION", default_value = recipe::VERSION)]
    hl7_version: String,
    /// What made-up content is drawn from; the same seed gives the same messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long to wait for an answer before connecting anew and sending again.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s")]
    ack_timeout: Duration,
    /// How long a receiver may be out of reach before its lane gives up.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s")]
    give_up: Duration,
    /// Receive deliveries on these local ports (or HOST:PORT) and account for them.
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = listen_address)]
    sink: Vec<SocketAddr>,
    /// At how many of the sink's ports each message is to arrive.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "sink")]
    fanout: u32,
    /// How long nothing may arrive before what is still owed counts as missing.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s", requires = "sink")]
    quiet: Duration,
    /// Do not judge the order of arrival.
    #[arg(long, requires = "sink")]
    unordered: bool,
    #[command(flatten)]
    manners: Manners,
    #[command(flatten)]
    profile: profile::Profiling,
}

/// Reads `7001` or `127.0.0.1:7001`.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is neither a port nor ADDRESS:PORT"))
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    if args.profile.profile.is_some() {
        let (to, sink) = (args.to, args.sink);
        let running = (!to.is_empty()).then_some(profile::Running { to, sink });
        return profile::run(args.profile, running, out).await;
    }
    let pool = pool(&args)?;
    let until = args.until();
    let running = args.scenario(pool, until).start().await.map_err(|fault| {
        let advice = match &fault {
            bench::scenario::Fault::Sender(_) => {
                Advice::usage("this load cannot be offered", "see holdfast load --help")
            }
            bench::scenario::Fault::Sink(_) => Advice::new(
                "the sink cannot listen",
                "another program may hold the port; choose another for --sink",
            ),
        };
        anyhow::Error::new(fault).context(advice)
    })?;
    let bar = out.progress(length(until));
    let expect = Expect::Ports(args.fanout);
    let evidence = watched(running, &expect, &bar, until).await;
    bar.finish_and_clear();
    let report = evidence.report(&expect);
    show(out, &report);
    Ok(verdict(&report, args.unordered))
}

impl Args {
    fn until(&self) -> Until {
        match (self.count, self.duration) {
            (_, Some(time)) => Until::Elapsed(time),
            (count, None) => Until::Count(count.unwrap_or(1000)),
        }
    }

    fn scenario(&self, payload: Pool, until: Until) -> Scenario {
        let pace = match self.rate {
            Some(per_second) => Pace::Open { per_second },
            None => Pace::Closed { window: self.window },
        };
        let listeners = sink::Options {
            bind: self.sink.clone(),
            ..sink::Options::local(0)
        };
        Scenario {
            sender: sender::Options {
                to: self.to.clone(),
                lanes: self.lanes,
                pace,
                until,
                payload,
                run: RunId::random(),
                ack_timeout: self.ack_timeout,
                give_up_after: self.give_up,
                back_off_max: Duration::from_millis(500),
                hash_bodies: false,
            },
            sink: (!self.sink.is_empty()).then(|| listeners.behaving(self.manners.behaviour())),
            quiet: self.quiet,
            settle: Duration::from_millis(300),
        }
    }
}

fn pool(args: &Args) -> anyhow::Result<Pool> {
    let recipe = Recipe {
        kinds: args.kind.clone(),
        version: args.hl7_version.clone(),
        size: Some(args.size),
        seed: args.seed,
        date: bench::stamp(std::time::SystemTime::now()),
    };
    Pool::generated(&recipe).map_err(|fault| {
        anyhow::Error::new(fault).context(Advice::usage(
            "there is nothing to send",
            "see holdfast generate --help",
        ))
    })
}

fn length(until: Until) -> Option<u64> {
    match until {
        Until::Count(count) => Some(count),
        Until::Elapsed(time) => u64::try_from(time.as_millis()).ok(),
        Until::Stopped => None,
    }
}

/// Runs to the end with a moving picture; Ctrl-C stops the sender, and what is open is waited for.
async fn watched(
    running: Running,
    expect: &Expect<'_>,
    bar: &ProgressBar,
    until: Until,
) -> bench::scenario::Evidence {
    let stop = running.sender.stopper();
    let watch = |snapshot: Snapshot| {
        let sender = snapshot.sender;
        bar.set_position(match until {
            Until::Elapsed(_) => sender.elapsed_us / 1000,
            Until::Count(_) | Until::Stopped => sender.acknowledged + sender.refused,
        });
        bar.set_message(picture(snapshot));
    };
    let finish = running.finish(expect, watch);
    tokio::pin!(finish);
    loop {
        tokio::select! {
            evidence = &mut finish => return evidence,
            pressed = tokio::signal::ctrl_c(), if !stop.is_stopped() => {
                stop.stop();
                if pressed.is_err() {
                    return finish.await;
                }
            }
        }
    }
}

fn picture(snapshot: Snapshot) -> String {
    let sender = snapshot.sender;
    let rate = stats::per_second(sender.acknowledged, sender.elapsed_us);
    let mut text = format!(
        "{} sent, {} acknowledged ({}/s)",
        thousands(sender.sent),
        thousands(sender.acknowledged),
        thousands(rate as u64)
    );
    for (what, count) in [
        ("refused", sender.refused),
        ("sent again", sender.resent),
        ("delivered", snapshot.sink.accepted),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", thousands(count)));
        }
    }
    text
}

fn show(out: &Output, report: &Report) {
    if out.is_json() {
        out.json(report);
        return;
    }
    out.line(&format!(
        "run {}: {} sent, {} acknowledged in {:.2} s: {} messages/s",
        report.run,
        thousands(report.sent),
        thousands(report.acknowledged),
        report.elapsed_s,
        thousands(report.acknowledged_per_second.round() as u64),
    ));
    if let (Some(seconds), Some(rate)) = (report.delivered_in_s, report.end_to_end_per_second) {
        out.line(&format!(
            "the last delivery after {seconds:.2} s: {} messages/s from the first byte to the last delivery",
            thousands(rate.round() as u64),
        ));
    }
    if report.reconnects + report.resent + report.stray_replies > 0 {
        out.line(&format!(
            "{} reconnects, {} sent again, {} stray replies; longest time without an answer {:.0} ms",
            report.reconnects, report.resent, report.stray_replies, report.longest_gap_ms,
        ));
    }
    let heading = ["ms", "p50", "p90", "p99", "p99.9", "max", "mean"];
    let mut rows = vec![
        percentiles("answer, from the intended send", &report.latency),
        percentiles("answer, from the actual send", &report.round_trip),
    ];
    if let Some(judged) = &report.reconciliation {
        rows.push(percentiles("delivery, from the intended send", &judged.delivery));
    }
    out.table(&heading, rows);
    for failure in &report.failures {
        out.line(&output::paint(output::BAD, failure));
    }
    if let Some(judged) = &report.reconciliation {
        show_judgement(out, judged);
    }
}

fn percentiles(name: &str, figures: &Percentiles) -> Vec<String> {
    let points = [
        figures.p50_ms,
        figures.p90_ms,
        figures.p99_ms,
        figures.p999_ms,
        figures.max_ms,
        figures.mean_ms,
    ];
    std::iter::once(name.to_owned())
        .chain(points.iter().map(|ms| format!("{ms:.2}")))
        .collect()
}

fn show_judgement(out: &Output, judged: &Reconciliation) {
    let rows = judged
        .rows()
        .into_iter()
        .map(|(what, count)| vec![what.to_owned(), thousands(count)])
        .collect();
    out.table(&["reconciliation", "messages"], rows);
    let examples = &judged.examples;
    for (what, ids) in [
        ("missing", &examples.missing),
        ("out of order", &examples.out_of_order),
        ("unexpected", &examples.unexpected),
        ("altered", &examples.altered),
    ] {
        if !ids.is_empty() {
            out.line(&format!(
                "{}: {}",
                output::paint(output::BAD, what),
                ids.join(", ")
            ));
        }
    }
    if judged.is_complete() && judged.is_in_order() {
        out.line(&output::paint(output::GOOD, "complete and in order"));
    }
}

/// A load succeeds when it was sent whole, nothing was refused, and nothing acknowledged is missing.
fn verdict(report: &Report, unordered: bool) -> ExitCode {
    let sent = report.failures.is_empty() && report.refused == 0 && report.unanswered == 0;
    let arrived = report
        .reconciliation
        .as_ref()
        .is_none_or(|judged| judged.is_complete() && (unordered || judged.is_in_order()));
    if sent && arrived {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(cli::FAILED)
    }
}
