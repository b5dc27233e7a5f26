//! `holdfast drill`: rehearses a change of leader under load, and says what partners noticed of it.

mod partition;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api::client::Client;
use api::wire::{Cluster, Nodes, SwitchOver, SwitchingOver};
use bench::chart::Timeline;
use bench::payload::Pool;
use bench::recipe::{self, Recipe};
use bench::reconcile::{Expect, Totals, reconcile};
use bench::sender::{self, Pace, Sender};
use bench::sink::{self, Sink};
use clap::ValueEnum;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use partition::Partition;

use super::remote::{Actor, explain};
use super::values;
use crate::cli;
use crate::output::{self, Advice, Output, thousands};

/// Rehearse a change of leader under synthetic load: measure the silence, the repeats, the order and the loss.
///
/// The cluster is one that runs a configuration for rehearsals: its inbounds take made-up messages, and its outbounds
/// deliver to this command's sink. Never point it at an inbound of patients.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What happens to the leader.
    what: What,
    /// Where partners connect: the moving address, one for each inbound.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true, value_parser = values::host_port)]
    to: Vec<String>,
    /// The local ports that the outbounds deliver to, one for each inbound, in their order.
    #[arg(long, value_name = "PORT", value_delimiter = ',', required = true)]
    sink: Vec<u16>,
    /// The APIs of the nodes; any that answers is asked.
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8765"
    )]
    api: Vec<String>,
    /// How often.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Messages a second over all inbounds.
    #[arg(long, value_name = "R", value_parser = values::rate, default_value = "200")]
    rate: f64,
    /// Where to write report.json and timeline.svg.
    #[arg(long, value_name = "DIR", default_value = "drill")]
    out: PathBuf,
    /// With `partition`: the database that the leader uses, and is cut off from.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::host_port, required_if_eq("what", "partition"))]
    database: Option<String>,
    /// Do it although the environment is marked as production.
    #[arg(long)]
    in_production: bool,
    #[command(flatten)]
    actor: Actor,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    /// Another node is asked to lead.
    Switchover,
    /// The leader's process is killed (`kill -9`); it must run on this machine, and something must start it again.
    Crash,
    /// The leader's process is stopped (SIGSTOP): its fencer has to end it; the same machine, the same need.
    Stop,
    /// The leader is cut off from its database (--database) by nftables; the same machine, the same need, and root.
    Partition,
}

/// How long a standby may take to be ready, and a change to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the acknowledgements are counted.
const LOOK: Duration = Duration::from_millis(1);
const SLOT_S: f64 = 0.05;
/// Load before, between and after the changes.
const STEADY: Duration = Duration::from_secs(2);
/// Nothing more comes once nothing came for so long.
const QUIET: Duration = Duration::from_secs(3);

/// What one round showed.
#[derive(Clone, Debug, Serialize)]
struct Round {
    from: String,
    to: String,
    /// Seconds since the beginning.
    at_s: f64,
    /// The longest time without an acknowledgement from then on, in milliseconds.
    silence_ms: f64,
    /// Milliseconds until the lease row named another leader.
    lease_ms: f64,
    #[serde(skip)]
    silent: (f64, f64),
}

/// What the rehearsal showed.
#[derive(Debug, Serialize)]
struct Report {
    what: What,
    rate: f64,
    acknowledged: u64,
    rounds: Vec<Round>,
    totals: Totals,
    passed: bool,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    if args.sink.len() != args.to.len() {
        let text = format!("{} inbounds and {} sink ports", args.to.len(), args.sink.len());
        return Err(Advice::usage(
            text,
            "give one --sink port for each address of --to, in the same order",
        )
        .into());
    }
    let nodes = Asked::new(&args.api)?;
    let status: Cluster = nodes.get("/cluster/status").await?;
    if status.posture == model::Posture::Production && !args.in_production {
        let text = format!("the environment `{}` is marked as production", status.environment);
        return Err(Advice::usage(
            text,
            "rehearse elsewhere, or add --in-production when that is what you want",
        )
        .into());
    }
    let mut end = Ends::new()?;
    let sink = listen(&args.sink).await?;
    let sender = offer(&args)?;
    let pulse = Pulse::of(&sender);
    let watching = tokio::spawn(watch(Arc::clone(&pulse)));
    let mut rounds = Vec::new();
    let drill = async {
        settle(&pulse).await?;
        for round in 0..args.rounds {
            out.remark(&format!("round {} of {}", round + 1, args.rounds));
            rounds.push(rehearse(&args, &nodes, &pulse).await?);
            settle(&pulse).await?;
        }
        anyhow::Ok(())
    };
    let outcome = tokio::select! {
        outcome = drill => outcome,
        // What a round put in the way is removed as its future is dropped.
        () = end.asked() => bail!("interrupted; a partition, if there was one, is removed"),
    };
    sender.stop();
    let sent = sender.finish().await;
    watching.abort();
    outcome?;
    while sink.quiet_for() < QUIET {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let own = |message: bench::reconcile::Sent, port: usize| u32::from(usize::from(message.lane) == port);
    let judged = reconcile(&sent, &sink.received(), &Expect::Exactly(&own));
    // A switchover repeats nothing; a crash repeats what was in hand in each lane.
    let allowed = match args.what {
        What::Switchover => 0,
        What::Crash | What::Stop | What::Partition => u64::from(args.rounds) * args.to.len() as u64,
    };
    let repeats = judged.totals.repeated_unexplained;
    let report = Report {
        what: args.what,
        rate: args.rate,
        acknowledged: sent.acknowledged(),
        passed: judged.is_complete() && judged.is_in_order() && repeats <= allowed,
        rounds,
        totals: judged.totals.clone(),
    };
    write(&args.out, &report, &pulse)?;
    show(out, &args.out, &report, allowed);
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(cli::FAILED)
    })
}

/// The nodes' APIs, of which one or the other may be away.
struct Asked(Vec<Client>);

impl Asked {
    fn new(urls: &[String]) -> anyhow::Result<Asked> {
        let clients = urls.iter().map(|url| Client::new(url).map_err(explain));
        Ok(Asked(clients.collect::<Result<_, _>>()?))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let mut last = None;
        for client in &self.0 {
            match client.get_json(path).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("no --api is given"), explain))
    }

    async fn switch_over(&self, actor: &str) -> anyhow::Result<()> {
        let mut last = None;
        for client in &self.0 {
            let wish = SwitchOver::default();
            match client
                .post_json::<_, SwitchingOver>("/cluster/switchover", actor, &wish)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| anyhow::anyhow!("no --api is given"), explain))
    }
}

async fn listen(ports: &[u16]) -> anyhow::Result<Sink> {
    let bind = ports
        .iter()
        .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *port));
    let options = sink::Options {
        bind: bind.collect(),
        ..sink::Options::local(0)
    };
    Sink::start(options).await.context(Advice::new(
        "the sink cannot listen",
        "another program may hold a port of --sink",
    ))
}

fn offer(args: &Args) -> anyhow::Result<Sender> {
    let recipe = Recipe {
        kinds: vec!["ADT^A01".to_owned()],
        version: recipe::VERSION.to_owned(),
        size: Some(1024),
        seed: 1,
        date: bench::stamp(std::time::SystemTime::now()),
    };
    let mut options = sender::Options::new("", Pool::generated(&recipe)?);
    options.lanes = u16::try_from(args.to.len()).context("that are too many inbounds")?;
    options.to.clone_from(&args.to);
    options.pace = Pace::Open {
        per_second: args.rate,
    };
    options.ack_timeout = Duration::from_secs(5);
    Ok(Sender::start(options)?)
}

/// When acknowledgements came, to the millisecond.
struct Pulse {
    begun: Instant,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
    beats: Mutex<Vec<(Duration, u64)>>,
}

impl Pulse {
    fn of(sender: &Sender) -> Arc<Pulse> {
        let counter = sender.counter();
        Arc::new(Pulse {
            begun: Instant::now(),
            read: Box::new(move || counter.acknowledged()),
            beats: Mutex::new(vec![(Duration::ZERO, 0)]),
        })
    }

    fn look(&self) {
        let count = (self.read)();
        let mut beats = self.beats.lock();
        if beats.last().is_none_or(|(_, before)| *before != count) {
            beats.push((self.begun.elapsed(), count));
        }
    }

    fn count(&self) -> u64 {
        self.beats.lock().last().map_or(0, |(_, count)| *count)
    }

    /// The longest silence that ended after `since`.
    fn longest_silence(&self, since: Duration) -> (f64, f64) {
        let beats = self.beats.lock();
        let pairs = beats.windows(2).map(|pair| (pair[0].0, pair[1].0));
        let longest = pairs
            .filter(|(_, end)| *end > since)
            .max_by_key(|(start, end)| *end - *start);
        longest.map_or((0.0, 0.0), |(start, end)| {
            (start.as_secs_f64(), end.as_secs_f64())
        })
    }
}

async fn watch(pulse: Arc<Pulse>) {
    loop {
        pulse.look();
        tokio::time::sleep(LOOK).await;
    }
}

/// The signals that ask this command to end. They are waited for from before the first change on: without that the
/// process would end at once, with the change in place.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    fn new() -> std::io::Result<Ends> {
        Ok(Ends {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Steady load for a while.
async fn settle(pulse: &Pulse) -> anyhow::Result<()> {
    let (before, begun) = (pulse.count(), Instant::now());
    tokio::time::sleep(STEADY).await;
    while pulse.count() == before {
        if begun.elapsed() > PATIENCE {
            bail!(
                "nothing is acknowledged at the addresses of --to: is a leader there, and is this the right address?"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// One change of leader.
async fn rehearse(args: &Args, nodes: &Asked, pulse: &Pulse) -> anyhow::Result<Round> {
    let before = ready(nodes).await?;
    let from = before.lease.owner.clone().unwrap_or_default();
    let mut cut = None;
    let (at, begun) = (pulse.begun.elapsed(), Instant::now());
    match args.what {
        What::Switchover => nodes.switch_over(&args.actor.name()).await?,
        What::Crash => send_signal(&before, "KILL")?,
        What::Stop => send_signal(&before, "STOP")?,
        What::Partition => cut = Some(Partition::cut(leader_here(&before)?, args.database.as_deref()).await?),
    }
    let to = loop {
        if let Ok(now) = nodes.get::<Nodes>("/cluster/nodes").await
            && now.lease.held
            && now.lease.epoch > before.lease.epoch
        {
            break now.lease.owner.unwrap_or_default();
        }
        if begun.elapsed() > PATIENCE {
            bail!("no other node took over within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // Whoever was cut off comes back as a standby, and needs its database for that.
    if let Some(cut) = cut {
        cut.heal()?;
    }
    let lease_ms = begun.elapsed().as_secs_f64() * 1000.0;
    // What came to a partner's ears comes after the lease: it has to connect again.
    settle(pulse).await?;
    let silent = pulse.longest_silence(at);
    Ok(Round {
        from,
        to,
        at_s: at.as_secs_f64(),
        silence_ms: (silent.1 - silent.0) * 1000.0,
        lease_ms,
        silent,
    })
}

/// Waits until somebody leads and somebody else could.
async fn ready(nodes: &Asked) -> anyhow::Result<Nodes> {
    let begun = Instant::now();
    loop {
        let now: Nodes = nodes.get("/cluster/nodes").await?;
        if now.lease.held
            && now
                .nodes
                .iter()
                .any(|node| node.ready && node.alive && !node.leads)
        {
            return Ok(now);
        }
        if begun.elapsed() > PATIENCE {
            bail!("no standby is ready to take over: see `holdfast cluster nodes`");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The leader, if it is on this machine.
fn leader_here(nodes: &Nodes) -> anyhow::Result<&api::wire::Node> {
    let leader = nodes
        .nodes
        .iter()
        .find(|node| node.leads)
        .context("the leader is not listed")?;
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if leader.host != here.trim() {
        let text = format!(
            "the leader `{}` runs on {}, not on this machine",
            leader.id, leader.host
        );
        return Err(Advice::new(
            text,
            "run the drill there, or end the process by hand while `drill switchover` is not running",
        )
        .into());
    }
    Ok(leader)
}

/// Signals the leader's process, if it is on this machine.
fn send_signal(nodes: &Nodes, name: &str) -> anyhow::Result<()> {
    let leader = leader_here(nodes)?;
    let status = std::process::Command::new("kill")
        .arg(format!("-{name}"))
        .arg(leader.pid.to_string())
        .status()
        .context("kill cannot be run")?;
    if !status.success() {
        bail!(
            "process {} cannot be signalled: run the drill as the user of the node",
            leader.pid
        );
    }
    Ok(())
}

fn write(folder: &Path, report: &Report, pulse: &Pulse) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let json = serde_json::to_string_pretty(report)?;
    std::fs::write(folder.join("report.json"), json + "\n")?;
    let beats = pulse.beats.lock();
    let length = beats.last().map_or(0.0, |(at, _)| at.as_secs_f64());
    let mut slots = vec![0; (length / SLOT_S) as usize + 1];
    for pair in beats.windows(2) {
        slots[(pair[1].0.as_secs_f64() / SLOT_S) as usize] += pair[1].1 - pair[0].1;
    }
    let longest = report
        .rounds
        .iter()
        .map(|round| round.silence_ms)
        .fold(0.0, f64::max);
    let timeline = Timeline {
        title: format!("drill: {}", word(report.what)),
        subtitle: format!(
            "{} messages acknowledged, longest silence {longest:.0} ms, {} missing, {} repeated",
            thousands(report.acknowledged),
            report.totals.missing,
            report.totals.repeated_unexplained
        ),
        slots,
        slot_s: SLOT_S,
        marks: report
            .rounds
            .iter()
            .map(|round| (round.at_s, format!("{} to {}", round.from, round.to)))
            .collect(),
        silences: report.rounds.iter().map(|round| round.silent).collect(),
    };
    std::fs::write(folder.join("timeline.svg"), timeline.svg())?;
    Ok(())
}

fn word(what: What) -> &'static str {
    match what {
        What::Switchover => "switchover",
        What::Crash => "crash",
        What::Stop => "stop",
        What::Partition => "partition",
    }
}

fn show(out: &Output, folder: &Path, report: &Report, allowed: u64) {
    if out.is_json() {
        return out.json(report);
    }
    let rows = report.rounds.iter().map(|round| {
        vec![
            format!("{:.1} s", round.at_s),
            round.from.clone(),
            round.to.clone(),
            format!("{:.0} ms", round.lease_ms),
            format!("{:.0} ms", round.silence_ms),
        ]
    });
    out.table(
        &["at", "from", "to", "another leader after", "longest silence"],
        rows.collect(),
    );
    let totals = &report.totals;
    out.line(&format!(
        "{} acknowledged, {} missing, {} out of order, {} repeated ({allowed} allowed)",
        thousands(report.acknowledged),
        totals.missing,
        totals.inversions,
        totals.repeated_unexplained
    ));
    out.line(&format!("report and timeline: {}", folder.display()));
    out.line(&if report.passed {
        output::paint(output::GOOD, "passed")
    } else {
        output::paint(output::BAD, "FAILED")
    });
}
