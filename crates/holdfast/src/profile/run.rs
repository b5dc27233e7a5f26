//! Running a profile: for each step a ceiling, a node, and its phases.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bench::control_id::RunId;
use bench::course::Course;
use bench::payload::Pool;
use bench::profile::{FUNCTIONS, Handler, Length, Pace, Phase, Profile, Step};
use bench::recipe::{self, Recipe};
use bench::sender::{self, Until};
use bench::sink::{self, Behaviour};
use bench::toll::Toll;
use store::ceiling::{Appended, Load};

use super::database::Database;
use super::outcome::{Measured, StepOutcome};
use super::reading::Reading;
use super::report::{Ceiling, Machine, Report, SCHEMA, StepReport};
use super::{Profiling, Running, show};
use crate::child::Node;
use crate::output::{Advice, Output};

/// How long nothing may arrive before what is still owed counts as missing.
const QUIET: Duration = Duration::from_secs(20);
/// How long the node may take to write the last statuses.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Runs all steps.
pub(super) async fn run(
    profile: &Profile,
    args: &Profiling,
    running: Option<&Running>,
    out: &Output,
) -> anyhow::Result<Report> {
    let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let database = args.database_url.as_deref().map(Database::at).transpose()?;
    let place = match &database {
        None if running.is_some() => "that of the running node".to_owned(),
        None => "sqlite".to_owned(),
        Some(database) => format!("{} {}", database.backend(), database.figures().await?.version),
    };
    let toll = match &database {
        Some(database) if args.wire => Some(database.toll().await?),
        _ => None,
    };
    let work = Folder::make(args.keep.as_deref(), profile.name)?;
    let mut steps: Vec<StepReport> = Vec::new();
    for (number, step) in profile.steps.iter().enumerate() {
        let stage = Stage {
            step,
            number,
            scale: args.scale,
            database: database.as_ref(),
            toll: toll.as_ref(),
            running,
            out,
        };
        let report = stage.run(&work.path.join(format!("step-{number}"))).await;
        let report =
            report.with_context(|| format!("the step `{}` of {} failed", step.name, profile.name))?;
        show::progress(out, profile.name, &report);
        steps.push(report);
    }
    work.end()?;
    Ok(Report {
        schema: SCHEMA,
        profile: profile.name.to_owned(),
        answers: profile.answers.to_owned(),
        at,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scale: args.scale,
        machine: Machine::here(place),
        sound: steps.iter().all(StepReport::is_sound),
        steps,
    })
}

/// Where the nodes' files are.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: Option<&Path>, profile: &str) -> anyhow::Result<Folder> {
        let path = match keep {
            Some(path) => path.join(profile),
            None => std::env::temp_dir().join(format!("holdfast-load-{}", uuid::Uuid::new_v4())),
        };
        let hint = "name another folder with --keep, or empty this one";
        let advice = || Advice::usage(format!("{} cannot be used", path.display()), hint);
        let empty = std::fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
        anyhow::ensure!(empty, advice());
        std::fs::create_dir_all(&path).with_context(advice)?;
        let keep = keep.is_some();
        Ok(Folder { path, keep })
    }

    fn end(&self) -> anyhow::Result<()> {
        if !self.keep {
            let path = self.path.display();
            std::fs::remove_dir_all(&self.path).with_context(|| format!("{path} cannot be removed"))?;
        }
        Ok(())
    }
}

/// One step's circumstances.
struct Stage<'a> {
    step: &'a Step,
    number: usize,
    scale: f64,
    database: Option<&'a Database>,
    /// Stands between the node and its database.
    toll: Option<&'a Toll>,
    running: Option<&'a Running>,
    out: &'a Output,
}

impl Stage<'_> {
    async fn run(&self, folder: &Path) -> anyhow::Result<StepReport> {
        std::fs::create_dir_all(folder)?;
        let pool = self.pool()?;
        let message_bytes = pool.mean_size();
        let ceiling = match self.running {
            None => Some(self.ceiling(folder, message_bytes).await?),
            Some(_) => None,
        };
        let mut course = self.course().await?;
        let (mut node, to) = match self.running {
            Some(running) => (None, running.to.clone()),
            None => {
                let (node, to) = self.start_node(folder, &course.ports()).await?;
                (Some(node), to)
            }
        };
        let mut measured: Vec<Measured> = Vec::new();
        let mut full = None;
        for (index, phase) in self.step.phases.iter().enumerate() {
            let run = RunId::from_number(self.run_number(index));
            let options = self.sender(phase, &to, pool.clone(), run, full);
            let offered = match options.pace {
                sender::Pace::Open { per_second } => Some(per_second),
                sender::Pace::Closed { .. } => None,
            };
            let before = Reading::take(node.as_ref(), self.database, self.toll).await?;
            let (reached, acknowledged) = self.phase(&mut course, phase, options).await?;
            if let Some(node) = &mut node {
                node.check()?;
            }
            full = full.or(Some(reached));
            let after = Reading::take(node.as_ref(), self.database, self.toll).await?;
            measured.push(Measured::of(phase.name, offered, acknowledged, &before, &after));
        }
        let left_in_flight = match node {
            None => None,
            Some(node) => Some(end(node).await?),
        };
        let outcome = StepOutcome {
            step: self.step,
            message_bytes,
            ceiling,
            left_in_flight,
            measured,
        };
        let evidence = course.finish().await;
        // Judging takes a while, and a core.
        Ok(tokio::task::block_in_place(|| outcome.report(&evidence)))
    }

    /// Runs one phase; the rate from its first byte to the last delivery, and how many were acknowledged.
    async fn phase(
        &self,
        course: &mut Course,
        phase: &Phase,
        options: sender::Options,
    ) -> anyhow::Result<(f64, u64)> {
        let bar = self.out.progress(None);
        let name = format!("{}, {}", self.step.name, phase.name);
        let leg = course
            .run(phase.name, options, |snapshot| {
                let (sent, came) = (snapshot.sender.acknowledged, snapshot.sink.accepted);
                bar.set_message(format!("{name}: {sent} acknowledged, {came} delivered so far"));
            })
            .await?;
        let (began_us, acknowledged) = (leg.began_us, leg.sent.acknowledged());
        if phase.drains {
            course
                .drain(QUIET.max(self.step.site.partner_delay * 20), |counts| {
                    bar.set_message(format!("{name}: {} delivered", counts.accepted));
                })
                .await;
        }
        bar.finish_and_clear();
        let took_us = course.last_arrival_us().saturating_sub(began_us);
        Ok((bench::stats::per_second(acknowledged, took_us), acknowledged))
    }

    /// Runs of one profile must not be taken for each other by the judge.
    fn run_number(&self, phase: usize) -> u64 {
        let seed = u64::from(std::process::id());
        seed * 101 + (self.number * 16 + phase) as u64
    }

    fn pool(&self) -> anyhow::Result<Pool> {
        let recipe = Recipe {
            kinds: vec!["ADT^A01".to_owned()],
            version: recipe::VERSION.to_owned(),
            size: Some(self.step.size),
            seed: 1,
            date: bench::stamp(SystemTime::now()),
        };
        Ok(Pool::generated(&recipe)?)
    }

    fn sender(
        &self,
        phase: &Phase,
        to: &[String],
        payload: Pool,
        run: RunId,
        full: Option<f64>,
    ) -> sender::Options {
        let pace = match phase.pace {
            Pace::Window(window) => sender::Pace::Closed { window },
            Pace::Share(share) => sender::Pace::Open {
                per_second: (full.unwrap_or(0.0) * share).max(1.0),
            },
            Pace::Rate(per_second) => sender::Pace::Open { per_second },
        };
        let until = match phase.length.scaled(self.scale) {
            Length::Time(time) => Until::Elapsed(time),
            Length::Count(count) => Until::Count(count),
        };
        sender::Options {
            to: to.to_vec(),
            lanes: self.step.site.lanes,
            pace,
            until,
            payload,
            run,
            ack_timeout: Duration::from_secs(30),
            give_up_after: Duration::from_secs(60),
            back_off_max: Duration::from_millis(500),
            hash_bodies: false,
        }
    }

    async fn course(&self) -> anyhow::Result<Course> {
        let site = &self.step.site;
        let (listeners, fanout) = match self.running {
            Some(running) => {
                let fanout = running.sink.len() / running.to.len();
                let mut listeners = sink::Options::local(0);
                listeners.bind.clone_from(&running.sink);
                (listeners, fanout)
            }
            None => {
                let ports = usize::from(site.lanes) * usize::from(site.fanout);
                (sink::Options::local(ports), usize::from(site.fanout))
            }
        };
        let listeners = listeners.behaving(Behaviour::slow(site.partner_delay));
        let course = Course::start(listeners, u32::try_from(fanout)?).await;
        course.context("the sink cannot listen")
    }

    async fn start_node(&self, folder: &Path, partners: &[u16]) -> anyhow::Result<(Node, Vec<String>)> {
        let lanes = usize::from(self.step.site.lanes);
        let mut ports = free_ports(lanes + 1)?;
        let api = ports.split_off(lanes)[0];
        let environment = self.step.site.environment(&ports, partners);
        for (path, text) in [
            ("config/lanes.star", FUNCTIONS),
            ("environments/dev.toml", &environment),
            (
                "holdfast.toml",
                "[store]\ndirectory = \"store\"\n[log]\nlevel = \"warn\"\n",
            ),
        ] {
            let path = folder.join(path);
            private_folder(path.parent().unwrap_or(folder))?;
            std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
            restrict(&path)?;
        }
        let variables = match self.database {
            Some(database) => vec![
                ("HOLDFAST_STORE__BACKEND", database.backend().to_owned()),
                ("HOLDFAST_STORE__URL", database.url(self.toll)),
            ],
            None => vec![("HOLDFAST_STORE__BACKEND", "sqlite".to_owned())],
        };
        let node = Node::start_with(folder, api, &variables).await?;
        let to = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        Ok((node, to.collect()))
    }

    /// The best of some batch sizes.
    async fn ceiling(&self, folder: &Path, message_bytes: usize) -> anyhow::Result<Ceiling> {
        const BYTES_MAX: usize = 8 << 20;
        let sends = usize::from(self.step.site.fanout);
        let changed = self.step.site.handler != Handler::None;
        let each = message_bytes * (1 + if changed { sends } else { 0 });
        let time = Duration::from_secs(1).mul_f64(self.scale.clamp(0.2, 1.0));
        let bar = self.out.progress(None);
        bar.set_message(format!(
            "{}: what the database can append at best",
            self.step.name
        ));
        let mut best = Ceiling {
            messages_per_second: 0.0,
            batch: 1,
        };
        for batch in [1000, 200, 1000, 50, 200] {
            let load = Load {
                batch: batch.min(BYTES_MAX / each.max(1)).max(1),
                body_bytes: message_bytes,
                sends,
                changed,
                until: store::ceiling::Until::Elapsed(time),
            };
            let appended = self.append(folder.to_owned(), load).await?;
            if appended.rate() > best.messages_per_second {
                best = Ceiling {
                    messages_per_second: appended.rate(),
                    batch: load.batch,
                };
            }
        }
        bar.finish_and_clear();
        Ok(best)
    }

    async fn append(&self, folder: PathBuf, load: Load) -> anyhow::Result<Appended> {
        let database = self.database.cloned();
        let work = move || match database {
            Some(database) => database.ceiling(&load),
            None => store::sqlite::ceiling(&folder, &load),
        };
        let appended = tokio::task::spawn_blocking(work).await?;
        appended.context("the database's ceiling cannot be measured")
    }
}

/// Lets the node write what it has decided, and stops it; messages left in flight.
async fn end(node: Node) -> anyhow::Result<u64> {
    let begun = std::time::Instant::now();
    let left = loop {
        let left = node.get("/cluster/status").await?["in_flight"]
            .as_u64()
            .unwrap_or(0);
        if left == 0 || begun.elapsed() > SETTLE_MAX {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    node.terminate().await?;
    Ok(left)
}

/// Free ports of the loopback interface, all different.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
        .collect::<Result<_, _>>()?;
    held.iter().map(|held| Ok(held.local_addr()?.port())).collect()
}

/// A node refuses a configuration that others may write.
fn restrict(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(0o600),
    )?)
}

fn private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    Ok(std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?)
}
