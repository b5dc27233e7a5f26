//! The runbooks, run: each one against a cluster of its own, two nodes on a PostgreSQL, in the order in which it is
//! written, with what happens to the cluster meanwhile. What a runbook says it prints, it must print.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pgtest::{Database, Relay, Server};
use tests::node::{Node, Plan};
use tests::repository::Repository;
use tests::runbook::{self, Step, What};
use tests::wait::{self, PATIENCE};
use tests::{binary, http, machine, ports};

use super::cluster::NAMES;
use crate::house;

/// One block may take so long.
const BLOCK: Duration = Duration::from_secs(60);

/// The feed that the runbooks' examples speak of.
const FEED: &str = r#"
inbound("IB_ACME_ADT", mllp(port = {in}), router = "acme_router")
outbound("OB_ACME_ADT", mllp(host = "127.0.0.1", port = {out}, ack_timeout = 2), retry = retry(backoff = 0.2, backoff_max = 0.5))

@router
def acme_router(msg):
    return ["acme_handler"]

@handler
def acme_handler(msg):
    if msg["PV1-3.1"] == "NOWHERE":
        fail("no such ward")
    return send("OB_ACME_ADT", msg)
"#;

/// On what server a cluster's database lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// That of all tests.
    Shared,
    /// One of its own: it is stopped, or followed by another.
    ItsOwn,
    /// One of its own, with the tables on a small disk.
    SmallDisk,
    /// One of its own, which archives its log.
    Archived,
}

/// A folder beside that of the data; the server runs in the latter.
const ARCHIVE: &str =
    "archive_mode = on\narchive_command = 'test ! -f ../archive/%f && cp %p ../archive/%f'\n";

/// A cluster that a runbook is run against, and all that may happen to it.
struct World {
    repository: Repository,
    servers: Vec<&'static Server>,
    relays: [Relay; 2],
    plans: [&'static Plan; 2],
    nodes: [Option<Node<'static>>; 2],
    partner: Option<Child>,
    inbound: u16,
    outbound: u16,
    sent: u32,
    small: Option<PathBuf>,
    groups: Vec<u32>,
    database: &'static Database<'static>,
    variables: BTreeMap<&'static str, String>,
}

impl World {
    async fn new(on: On) -> Result<World> {
        let server: &'static Server = if on != On::Shared {
            // Ended by its watchdog when this process ends.
            let settings = if on == On::Archived { ARCHIVE } else { "" };
            Box::leak(Box::new(tokio::task::block_in_place(|| Server::start(settings))))
        } else {
            pgtest::server()
        };
        // Never dropped: its server may be away then, and ends with this process.
        let database: &'static Database<'static> = Box::leak(Box::new(server.database()));
        let (inbound, outbound) = (ports::free(), ports::free());
        let feed = FEED
            .replace("{in}", &inbound.to_string())
            .replace("{out}", &outbound.to_string());
        let repository = Repository::new(&feed)?;
        let relays = [Relay::to(server.port()), Relay::to(server.port())];
        let plan = Plan::new(&repository)
            .setting("HOLDFAST_STORE__BACKEND", "postgres")
            .setting("HOLDFAST_CLUSTER__ENABLED", "true")
            .setting("HOLDFAST_CLUSTER__PROFILE", "fast")
            .setting("HOLDFAST_STORE__COMMIT_SECONDS", "2");
        let plans = [0, 1].map(|index: usize| {
            let plan = plan.another(NAMES[index]);
            let plan = plan.setting("HOLDFAST_STORE__URL", &relays[index].url(database));
            &*Box::leak(Box::new(plan))
        });
        let variables = BTreeMap::from([
            ("PGURL", database.url()),
            ("PGADMIN", database.url().replace(database.name(), "postgres")),
            ("DB", database.name().to_owned()),
            ("SINK", outbound.to_string()),
            ("HOLDFAST_STORE__BACKEND", "postgres".to_owned()),
            ("HOLDFAST_STORE__URL", database.url()),
            ("HOLDFAST_CLUSTER__ENABLED", "true".to_owned()),
            ("HOLDFAST_CLUSTER__PROFILE", "fast".to_owned()),
            ("FEED", format!("127.0.0.1:{inbound}")),
            ("SITE", repository.root().display().to_string()),
            ("HOLDFAST_ENV", "dev".to_owned()),
            ("OUT", "OB_ACME_ADT".to_owned()),
            ("LOOK", ports::free().to_string()),
            ("PGDATA", server.folder().join("data").display().to_string()),
            ("ARCHIVE", server.folder().join("archive").display().to_string()),
        ]);
        let archive = server.folder().join("archive");
        if on == On::Archived {
            std::fs::create_dir(&archive)?;
            server.give(&archive);
        }
        let mut world = World {
            repository,
            servers: vec![server],
            relays,
            plans,
            nodes: [None, None],
            partner: None,
            inbound,
            outbound,
            sent: 0,
            small: None,
            groups: Vec::new(),
            database,
            variables,
        };
        for folder in ["haproxy", "keepalived", "deploy"] {
            std::os::unix::fs::symlink(house::root().join(folder), world.repository.beside(folder))?;
        }
        if on == On::SmallDisk {
            world.small_disk()?;
        }
        world.receive(&[])?;
        world.start(0).await?;
        world.start(1).await?;
        wait::until("the standby to be listed as ready", PATIENCE, || async {
            let nodes = http::get(world.plans[0].api(), "/cluster/nodes").await?.json()?;
            ensure!(nodes["nodes"][1]["ready"] == true, "{nodes}");
            Ok(())
        })
        .await?;
        Ok(world)
    }

    /// Starts a node and waits until it leads or could.
    async fn start(&mut self, index: usize) -> Result<()> {
        let mut node = self.plans[index].spawn()?;
        node.wait_ready().await?;
        self.nodes[index] = Some(node);
        Ok(())
    }

    /// Starts nodes that ended by themselves, as their service does.
    async fn revive(&mut self) -> Result<()> {
        for (node, plan) in self.nodes.iter_mut().zip(self.plans) {
            let ended = match node {
                Some(node) => node.wait_exit(Duration::ZERO).await.is_ok(),
                None => false,
            };
            if ended {
                *node = Some(plan.spawn()?);
            }
        }
        Ok(())
    }

    /// The node that leads; else one that answers; else the first that runs.
    async fn spokesman(&self) -> usize {
        if let Some(leader) = self.leader().await {
            return leader;
        }
        for (index, plan) in self.plans.iter().enumerate() {
            if self.answers(plan, "/health").await {
                return index;
            }
        }
        usize::from(self.nodes[0].is_none())
    }

    /// Which node leads, by what a load balancer asks.
    async fn leader(&self) -> Option<usize> {
        for (index, plan) in self.plans.iter().enumerate() {
            if self.answers(plan, "/ready/leader").await {
                return Some(index);
            }
        }
        None
    }

    /// Whether a node says 200 to this, soon: one that waits for its database takes connections and says nothing.
    async fn answers(&self, plan: &Plan, path: &str) -> bool {
        let answer = tokio::time::timeout(Duration::from_secs(1), http::get(plan.api(), path)).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
    }

    async fn led(&self) -> Result<usize> {
        wait::until("a leader", PATIENCE, || async {
            self.leader().await.context("none of the nodes leads")
        })
        .await
        .with_context(|| self.said())
    }

    fn said(&self) -> String {
        let said = self.plans.iter().map(|plan| plan.said());
        said.collect::<Vec<_>>().join("\n---\n")
    }

    /// The partner that receives, with these manners.
    fn receive(&mut self, manners: &[&str]) -> Result<()> {
        self.no_partner();
        let port = self.outbound.to_string();
        let partner = binary::command()
            .args(["receive", "--quiet", "--port", &port])
            .args(manners)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.partner = Some(partner);
        Ok(())
    }

    fn no_partner(&mut self) {
        if let Some(mut partner) = self.partner.take() {
            let _ = (partner.kill(), partner.wait());
        }
    }

    /// Messages come in, each acknowledged.
    async fn send(&mut self, wards: &[&str]) -> Result<()> {
        self.led().await?;
        let mut line = tests::mllp::Line::connect(self.inbound).await?;
        for ward in wards {
            self.sent += 1;
            let id = format!("MSG{:05}", self.sent);
            let body = tests::mllp::adt(&id);
            let body = String::from_utf8(body)?.replace("WARD", ward);
            let (code, _) = line.ask(body.as_bytes()).await?;
            ensure!(code == "AA", "{id} was answered {code}");
        }
        Ok(())
    }

    /// What a runbook says happens meanwhile.
    async fn meanwhile(&mut self, what: &str) -> Result<()> {
        let server = self.servers[0];
        match what {
            "the receiving partner is down" => self.no_partner(),
            "the receiving partner is up" => self.receive(&[])?,
            "the receiving partner refuses messages" => self.receive(&["--nak", "AR"])?,
            "three messages come in" => self.send(&["WARD", "WARD", "WARD"]).await?,
            "a message comes in that the handler cannot take" => self.send(&["NOWHERE"]).await?,
            "the configuration is mended" => {
                let feed = self.repository.root().join("config/feed.star");
                let mended =
                    std::fs::read_to_string(&feed)?.replace("        fail(\"no such ward\")", "        pass");
                self.repository.write("config/feed.star", &mended)?;
            }
            "the leader's machine is lost" => {
                let leader = self.led().await?;
                self.nodes[leader].take().context("it runs")?.kill()?;
            }
            "the leader's machine is cut off from the database" => {
                let leader = self.led().await?;
                self.relays[leader].stall();
                let ended = self.nodes[leader].as_mut().context("it runs")?;
                let ended = ended.wait_exit(PATIENCE).await?;
                ensure!(ended.code() == Some(75), "it ended with {ended}");
            }
            "the network is mended" => self.relays.iter().for_each(Relay::resume),
            "the lost machine is back" | "all nodes are started" => {
                for (node, plan) in self.nodes.iter_mut().zip(self.plans) {
                    if node.is_none() {
                        *node = Some(plan.spawn()?);
                    }
                }
            }
            "all nodes are stopped" => {
                for node in self.nodes.iter_mut().filter_map(Option::take) {
                    node.stop(PATIENCE).await?;
                }
            }
            "the standby is restarted" => {
                let standby = 1 - self.led().await?;
                if let Some(node) = self.nodes[standby].take() {
                    node.stop(PATIENCE).await?;
                }
                // It may not be ready: the runbook looks at it.
                let node = self.plans[standby].spawn()?;
                self.nodes[standby] = Some(node);
            }
            "the database has a standby" => {
                let standby = tokio::task::block_in_place(|| {
                    let standby = server.standby("second");
                    server.wait_for_standby("second", "on");
                    standby
                });
                self.variables.insert("DB2", self.elsewhere(&standby));
                self.servers.push(Box::leak(Box::new(standby)));
            }
            "the database server is stopped" => tokio::task::block_in_place(|| server.crash()),
            "the database server is started" => tokio::task::block_in_place(|| server.start_again()),
            "the primary of the database is lost" => tokio::task::block_in_place(|| server.crash()),
            "the address of the database moves to the standby" => {
                let standby = *self.servers.get(1).context("it has one")?;
                self.relays.iter().for_each(|relay| relay.switch(standby.port()));
                self.variables.insert("PGURL", self.elsewhere(standby));
            }
            "the disk of the database is full" => self.fill().await?,
            "the disk of the database gets room" => {
                let folder = self.small.as_ref().context("there is a small disk")?;
                std::fs::remove_file(folder.join("ballast"))?;
            }
            "a newer version has changed the tables" => {
                self.database.sql(
                    "INSERT INTO holdfast.migration SELECT 1 + max(version), 'newer', 'x', 0 FROM holdfast.migration",
                );
            }
            other => bail!("nothing here knows how to do this: {other}"),
        }
        Ok(())
    }

    /// The database as another server has it.
    fn elsewhere(&self, server: &Server) -> String {
        let (here, there) = (self.servers[0].port(), server.port());
        self.database
            .url()
            .replace(&format!(":{here}/"), &format!(":{there}/"))
    }

    /// The tables of the store go to a small disk.
    fn small_disk(&mut self) -> Result<()> {
        let server = self.servers[0];
        let folder = server.folder().join("small");
        std::fs::create_dir(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m,mode=0777", "tmpfs"])
            .arg(&folder)
            .status()?;
        ensure!(mounted.success(), "a small disk: {mounted}");
        let space = folder.join("space");
        self.small = Some(folder);
        std::fs::create_dir(&space)?;
        server.give(&space);
        let space = format!("CREATE TABLESPACE small LOCATION '{}'", space.display());
        server.sql("postgres", &space);
        let name = self.database.name();
        self.database
            .sql(&format!("ALTER DATABASE {name} SET default_tablespace = small"));
        Ok(())
    }

    /// Fills the small disk, and shows that nothing is acknowledged any more.
    async fn fill(&mut self) -> Result<()> {
        let folder = self.small.clone().context("there is a small disk")?;
        let mut ballast = std::fs::File::create(folder.join("ballast"))?;
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let big = format!("NTE|1||{}\r", "x1y2".repeat(20_000));
        let big = [&tests::mllp::adt("BIG")[..], big.as_bytes()].concat();
        wait::until("the disk to be full", PATIENCE, || async {
            let mut line = tests::mllp::Line::connect(self.inbound).await?;
            line.send(&big).await?;
            let heard = line.hear().await?;
            ensure!(heard == tests::mllp::Heard::Closed, "{heard:?}");
            Ok(())
        })
        .await
    }

    /// A shell for one block: it knows the variables, and those that blocks before it set.
    async fn shell(&mut self, script: &str) -> Result<Child> {
        self.revive().await?;
        let first = self.spokesman().await;
        let api = |index: usize| format!("http://127.0.0.1:{}", self.plans[index].api());
        let kept = self.repository.beside("variables");
        // What a block before this one set; but what is ours goes first: an address may have moved.
        let given: String = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}='{value}'\n"))
            .collect();
        let script = format!(
            "set -euo pipefail -o allexport\n[ -f '{0}' ] && . '{0}'\n{given}API={1} OTHER={2} NODE={3} STANDBY={4}\n\
             trap 'code=$?; export -p >\"{0}\"; exit $code' EXIT\n{script}\n",
            kept.display(),
            api(first),
            api(1 - first),
            NAMES[first],
            NAMES[1 - first],
        );
        let printed = self.repository.beside("printed");
        let _ = std::fs::remove_file(&printed);
        let printed = std::fs::File::options().create(true).append(true).open(printed)?;
        let mut command = Command::new("bash");
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("HOLDFAST_") {
                command.env_remove(key);
            }
        }
        let child = command
            .args(["-c", &script])
            .current_dir(self.repository.beside(""))
            .env("PATH", machine::path())
            .env("NO_COLOR", "1")
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .process_group(0)
            .spawn()
            .context("starting bash")?;
        self.groups.push(child.id());
        Ok(child)
    }

    /// Runs a block once; its exit code and all it said.
    async fn run(&mut self, script: &str) -> Result<(i32, String)> {
        let mut child = self.shell(script).await?;
        let ended = wait::until("a block to end", BLOCK, || {
            let ended = child.try_wait();
            async move { ended?.context("it still runs") }
        })
        .await;
        if ended.is_err() {
            let _ = (child.kill(), child.wait());
        }
        let said = std::fs::read_to_string(self.repository.beside("printed")).unwrap_or_default();
        let ended = ended.with_context(|| said.clone())?;
        Ok((ended.code().unwrap_or(-1), said))
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let What::Run {
            script,
            code,
            again,
            shown,
        } = &step.what
        else {
            if let What::Meanwhile(what) = &step.what {
                return self.meanwhile(what).await.with_context(|| what.clone());
            }
            return Ok(());
        };
        let begun = std::time::Instant::now();
        loop {
            let (ended, said) = self.run(script).await?;
            let missing = runbook::missing(shown, &said);
            if ended == *code && missing.is_none() {
                return Ok(());
            }
            if !*again || begun.elapsed() > PATIENCE {
                bail!(
                    "it ended with {ended}, not {code}, or did not print {missing:?}; it printed:\n{said}\n\
                     the nodes said:\n{}",
                    self.said()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.no_partner();
        for group in &self.groups {
            // What a block left running in the background; the groups are ours alone.
            let _ = Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .stderr(Stdio::null())
                .status();
        }
        if let Some(folder) = &self.small {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

/// Why a runbook cannot be followed here.
fn hindered(steps: &[Step], on: On) -> Option<String> {
    if on == On::SmallDisk && !machine::may_mount() {
        return Some("this user may not mount a small disk".to_owned());
    }
    let path = machine::path();
    let uses = |program: &str| {
        let word = format!("{program} -");
        steps.iter().any(|step| match &step.what {
            What::Run { script, .. } => script.contains(&word),
            _ => false,
        })
    };
    let there = |program: &str| {
        path.split(':')
            .any(|folder| std::path::Path::new(folder).join(program).is_file())
    };
    [
        "curl",
        "ss",
        "psql",
        "pg_dump",
        "pg_restore",
        "pg_basebackup",
        "haproxy",
    ]
    .into_iter()
    .find(|program| uses(program) && !there(program))
    .map(|program| format!("`{program}` is not installed here"))
}

fn steps(name: &str) -> Result<Vec<Step>> {
    let path = house::root().join("runbooks").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    runbook::read(&text).map_err(|faults| anyhow::anyhow!("{name}: {}", faults.join("\n")))
}

/// Runs one runbook from its first line to its last.
async fn follow(name: &str, on: On) -> Result<()> {
    let steps = steps(name)?;
    if let Some(why) = hindered(&steps, on) {
        let _ = writeln!(std::io::stderr(), "runbooks/{name}: NOT followed: {why}");
        return Ok(());
    }
    let begun = std::time::Instant::now();
    let mut world = World::new(on).await?;
    for step in &steps {
        world
            .step(step)
            .await
            .with_context(|| format!("runbooks/{name}, line {}", step.line))?;
    }
    let run = steps.iter().filter(|step| matches!(step.what, What::Run { .. }));
    // Past the test's captured output: what was not run is said aloud.
    let _ = writeln!(
        std::io::stderr(),
        "runbooks/{name}: {} blocks run in {:.1} s",
        run.count(),
        begun.elapsed().as_secs_f32()
    );
    for step in &steps {
        if let What::NotRun(why) = &step.what {
            let _ = writeln!(std::io::stderr(), "runbooks/{name}:{}: not run: {why}", step.line);
        }
    }
    Ok(())
}

macro_rules! followed {
    ($($test:ident: $name:literal, $on:ident;)*) => {
        const FOLLOWED: &[&str] = &[$($name),*];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> Result<()> {
                follow($name, On::$on).await
            }
        )*
    };
}

// Each runbook with blocks to run.
followed! {
    stand_up_a_cluster: "stand-up-a-cluster.md", Shared;
    stand_up_the_vip: "stand-up-the-vip.md", Shared;
    planned_switchover: "planned-switchover.md", Shared;
    node_lost: "node-lost.md", Shared;
    split_brain_suspected: "split-brain-suspected.md", Shared;
    database_trouble: "database-trouble.md", SmallDisk;
    stuck_lane: "stuck-lane.md", Shared;
    poison_message: "poison-message.md", Shared;
    dead_letters: "dead-letters.md", Shared;
    partition: "partition.md", Shared;
    database_failover: "database-failover.md", ItsOwn;
    database_full: "database-full.md", SmallDisk;
    rolling_upgrade: "rolling-upgrade.md", Shared;
    rollback: "rollback.md", Shared;
    restore: "restore.md", Shared;
    restore_with_wal: "restore-with-wal.md", Archived;
    rehearsals: "rehearsals.md", Shared;
}

#[test]
fn every_runbook_is_run_or_says_why_not() -> Result<()> {
    for entry in std::fs::read_dir(house::root().join("runbooks"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let runs = steps(&name)?
            .iter()
            .any(|step| matches!(step.what, What::Run { .. }));
        let text = std::fs::read_to_string(house::root().join("runbooks").join(&name))?;
        let why = text.contains("<!-- norun: ");
        ensure!(
            runs == FOLLOWED.contains(&name.as_str()),
            "runbooks/{name} has blocks to run: {runs}; a test here follows it: {}",
            !runs
        );
        ensure!(
            runs || why,
            "runbooks/{name} runs nothing and does not say why: `<!-- norun: why -->`"
        );
    }
    Ok(())
}
