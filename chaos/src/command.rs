//! The command line: what is asked for, and what it ends with. 0: all as it must be; 1: something is wrong; 2: it could
//! not be done.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::figures::{self, What};
use crate::nemesis::schedule::Kind;
use crate::nemesis::{self, delayer};
use crate::run::{self, Order, say};
use crate::world::Options;
use crate::{ask, clean, partner, shell, watch};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

/// Faults on purpose against a cluster of real processes, and a judge. Needs root; makes namespaces of its own and touches
/// nothing else.
#[derive(Parser, Debug)]
#[command(name = "chaos", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone, Debug)]
struct Site {
    /// The product; without it, the binary `holdfast` beside this one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=3))]
    nodes: u64,
    /// The cluster's profile.
    #[arg(long, default_value = "fast", value_parser = ["fast", "default", "wan"])]
    profile: String,
    /// Lanes of the senders, each one connection and one destination.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=99))]
    lanes: u16,
    /// Messages a second over all lanes.
    #[arg(long, value_name = "R", default_value_t = 200.0)]
    rate: f64,
    /// Keep records and logs although nothing was wrong.
    #[arg(long)]
    keep: bool,
}

#[derive(Args, Clone, Debug)]
struct Faults {
    /// About how long faults go on.
    #[arg(long, value_name = "S", default_value_t = 25)]
    seconds: u64,
    /// Only these kinds of fault, such as `kill,link-down`.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,
    /// Not these kinds of fault.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    without: Vec<Kind>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run one seed, or several one after the other.
    Run {
        /// The seed: it decides the whole schedule.
        #[arg(long, value_name = "N", conflicts_with = "seeds")]
        seed: Option<u64>,
        /// Several seeds, such as `1-20`.
        #[arg(long, value_name = "FROM-TO", value_parser = range)]
        seeds: Option<(u64, u64)>,
        #[command(flatten)]
        faults: Faults,
        #[command(flatten)]
        site: Site,
    },
    /// Run seed after seed until the time is over or one fails.
    Soak {
        /// For how long.
        #[arg(long, value_name = "H")]
        hours: f64,
        /// The first seed; by default from the clock.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        #[command(flatten)]
        faults: Faults,
        #[command(flatten)]
        site: Site,
    },
    /// Measure how long partners hear nothing at a fault of one kind.
    Figures {
        /// What happens.
        what: What,
        /// How often.
        #[arg(long, value_name = "N", default_value_t = 10)]
        count: u32,
        #[command(flatten)]
        site: Site,
    },
    /// Judge the records of a run again.
    Judge {
        /// The run's folder.
        folder: PathBuf,
        /// The cluster's profile in that run.
        #[arg(long, default_value = "fast", value_parser = ["fast", "default", "wan"])]
        profile: String,
    },
    /// Take down what runs left behind whose process is gone.
    Clean,
    /// Ask a node of this namespace.
    #[command(hide = true)]
    Ask {
        path: String,
        #[arg(long)]
        post: Option<String>,
    },
    /// Send and receive in this namespace.
    #[command(hide = true)]
    Partner {
        #[arg(long)]
        plan: String,
        #[arg(long)]
        records: PathBuf,
    },
    /// Watch the node of this namespace.
    #[command(hide = true)]
    Watch {
        #[arg(long)]
        node: String,
        #[arg(long)]
        record: PathBuf,
    },
    /// Hold packets of this namespace back.
    #[command(hide = true)]
    Delay {
        #[arg(long)]
        queue: u16,
        #[arg(long)]
        ms: u64,
    },
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(|kind| kind.name().replace(' ', "-"));
    Kind::parse(name).ok_or_else(|| format!("there is no such fault; there are {}", names.join(", ")))
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parsed = text
        .split_once('-')
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parsed
        .filter(|(from, to)| from <= to)
        .ok_or_else(|| "write it as 1-20".to_owned())
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(
        cli.command,
        Command::Run { .. } | Command::Soak { .. } | Command::Figures { .. }
    ) && let Err(error) = mind_signals()
    {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        return ExitCode::FAILURE;
    }
    match act(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A person or the system who wants this to end gets the world taken down first.
fn mind_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
                signal(SignalKind::hangup()),
            ) else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            shell::interrupt();
        });
    });
    Ok(())
}

fn act(command: Command) -> Result<bool> {
    match command {
        Command::Run {
            seed,
            seeds,
            faults,
            site,
        } => {
            let (from, to) = seeds.unwrap_or_else(|| {
                let seed = seed.unwrap_or(1);
                (seed, seed)
            });
            let mut failed = Vec::new();
            for seed in from..=to {
                if !one(seed, &faults, &site)? {
                    failed.push(seed);
                }
            }
            if from < to {
                say(&format!(
                    "{} of {} seeds passed; failed: {failed:?}",
                    to - from + 1 - failed.len() as u64,
                    to - from + 1
                ))?;
            }
            Ok(failed.is_empty())
        }
        Command::Soak {
            hours,
            from,
            faults,
            site,
        } => soak(hours, from, &faults, &site),
        Command::Figures { what, count, site } => figures::run(what, count, options(&site)?, site.keep),
        Command::Judge { folder, profile } => {
            let dump = crate::dump::Dump::read(&folder.join("dump.json"))?;
            let lease = crate::clock::micros(crate::world::lease(&profile));
            let (judgement, counter_example) = run::judged(&folder, dump, lease)?;
            let outcome = run::Outcome {
                judgement,
                counter_example,
                failure: None,
                folder,
            };
            run::report(&outcome)?;
            Ok(outcome.passed())
        }
        Command::Clean => {
            let found = clean::leftovers(true);
            say(&format!(
                "took down what {} runs left behind: {found:?}",
                found.len()
            ))?;
            Ok(true)
        }
        Command::Ask { path, post } => {
            let address: SocketAddr = crate::world::names::api();
            let answer = ask::ask(address, &path, post.as_deref(), Duration::from_secs(5))?;
            let value =
                serde_json::json!({ "status": answer.status, "date": answer.date, "body": answer.body });
            say(&value.to_string())?;
            Ok(true)
        }
        Command::Partner { plan, records } => {
            partner::run(&serde_json::from_str(&plan)?, &records).map(|()| true)
        }
        Command::Watch { node, record } => watch::role(&node, &record).map(|()| true),
        Command::Delay { queue, ms } => delayer::run(queue, Duration::from_millis(ms)).map(|()| true),
    }
}

fn options(site: &Site) -> Result<Options> {
    let beside = || -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name("holdfast")) };
    let binary = site.binary.clone().map_or_else(beside, Ok)?;
    let binary = binary.canonicalize().with_context(|| {
        format!(
            "there is no {}: build it with `cargo build -p holdfast`, or name one with --binary",
            binary.display()
        )
    })?;
    Ok(Options {
        binary,
        nodes: usize::try_from(site.nodes)?,
        profile: site.profile.clone(),
        lanes: site.lanes,
        per_second: site.rate,
        run: 0,
        standby: false,
        small_disk: None,
        false_clocks: false,
        shared_address: false,
    })
}

fn order(seed: u64, faults: &Faults, site: &Site) -> Result<Order> {
    let asked = match faults.only.is_empty() {
        true => Kind::ALL.to_vec(),
        false => faults.only.clone(),
    };
    let mut kinds: Vec<Kind> = asked
        .into_iter()
        .filter(|kind| !faults.without.contains(kind))
        .collect();
    for (kind, why) in nemesis::impossible() {
        if kinds.contains(&kind) {
            say(&format!("left out: {kind}: {why}"))?;
            kinds.retain(|one| *one != kind);
        }
    }
    if kinds.is_empty() {
        bail!("no kind of fault is left");
    }
    Ok(Order {
        seed,
        seconds: faults.seconds,
        kinds,
        options: options(site)?,
        keep: site.keep,
    })
}

fn one(seed: u64, faults: &Faults, site: &Site) -> Result<bool> {
    let outcome = run::run(&order(seed, faults, site)?)?;
    run::report(&outcome)?;
    Ok(outcome.passed())
}

fn soak(hours: f64, from: Option<u64>, faults: &Faults, site: &Site) -> Result<bool> {
    let begun = Instant::now();
    let mut seed = from.unwrap_or_else(|| crate::clock::Moment::now().real / 1_000_000);
    let (mut runs, mut acknowledged, mut struck) = (0_u64, 0_u64, 0_u64);
    while begun.elapsed().as_secs_f64() < hours * 3600.0 {
        let outcome = run::run(&order(seed, faults, site)?)?;
        run::report(&outcome)?;
        runs += 1;
        acknowledged += outcome.judgement.counts.acknowledged;
        struck += outcome.judgement.counts.faults;
        say(&format!(
            "{:.2} h: {runs} schedules, {struck} faults, {acknowledged} messages acknowledged",
            begun.elapsed().as_secs_f64() / 3600.0
        ))?;
        if !outcome.passed() {
            return Ok(false);
        }
        seed += 1;
    }
    Ok(true)
}
