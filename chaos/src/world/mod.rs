//! The machines of a run: nodes, two databases, load balancers, partners, and the wires between them. Everything is taken
//! down when it is dropped, in whatever way the run went; what a killed run leaves behind is for `chaos clean`.

pub mod balancer;
pub mod database;
pub mod names;
pub mod net;
pub mod node;
pub mod site;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pgtest::Authority;
use serde_json::Value;

use crate::ask;
use crate::clean;
use crate::partner::{self, Progress};
use crate::record::{Event, Recorder};
use crate::shell;
use crate::watch::Ports;
use balancer::{Balancer, Gateway};
use database::Server;
use names::{Host, Names};
use node::Node;

/// How long the cluster may take to be whole.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The product.
    pub binary: PathBuf,
    /// How many nodes: 2 or 3.
    pub nodes: usize,
    /// The cluster's profile: `fast`, `default` or `wan`.
    pub profile: String,
    /// Lanes of the senders.
    pub lanes: u16,
    /// Messages a second over all lanes.
    pub per_second: f64,
    /// The run's number, which control ids carry.
    pub run: u64,
    /// Whether a second database follows the first synchronously.
    pub standby: bool,
    /// MiB of the databases' own file systems, if a fault is going to fill one.
    pub small_disk: Option<u32>,
    /// Whether clocks are going to jump: then nodes and databases run under libfaketime.
    pub false_clocks: bool,
    /// Whether two load balancers share an address.
    pub shared_address: bool,
}

impl Options {
    /// The time of a lease in this profile.
    pub fn lease(&self) -> Duration {
        lease(&self.profile)
    }
}

/// The time of a lease in a profile, as the documents give it.
pub fn lease(profile: &str) -> Duration {
    Duration::from_millis(match profile {
        "fast" => 1500,
        "wan" => 30_000,
        _ => 5000,
    })
}

/// A running cluster with its partners.
pub struct World {
    /// What it is made of.
    pub options: Options,
    /// What its parts are called.
    pub names: Names,
    /// The nodes.
    pub nodes: Vec<Arc<Node>>,
    /// The load balancers.
    pub balancers: Mutex<Vec<Balancer>>,
    databases: [Mutex<Server>; 2],
    primary: Mutex<usize>,
    partners: Mutex<Option<Partners>>,
    gateways: Vec<Gateway>,
    leading: Arc<Mutex<Vec<bool>>>,
    watchers: Vec<Child>,
    ports: Option<Ports>,
    tender: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    /// Which configuration runs.
    pub edition: Mutex<u32>,
}

struct Partners {
    child: Child,
    orders: ChildStdin,
    progress: Arc<Mutex<Progress>>,
}

/// Takes everything of a run down that its own handles did not.
struct Guard(Names);

impl Drop for Guard {
    fn drop(&mut self) {
        clean::remove(self.0.pid);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `act` with a world that is taken down afterwards, also when `act` fails or panics.
///
/// # Errors
/// The world cannot be built, or what `act` says.
pub fn with<T>(options: Options, act: impl FnOnce(&Arc<World>) -> Result<T>) -> Result<T> {
    clean::able()?;
    let names = Names::next();
    clean::remove(names.pid);
    let _guard = Guard(names);
    let world = Arc::new(World::build(options, names)?);
    let outcome = act(&world);
    if outcome.is_err() {
        world.hint();
    }
    outcome
}

impl World {
    fn build(options: Options, names: Names) -> Result<World> {
        let folder = names.folder();
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir_all(folder.join("records"))?;
        let balancers = if options.shared_address { 2 } else { 1 };
        let mut hosts = vec![Host::Database(0), Host::Database(1), Host::Partners];
        hosts.extend((0..options.nodes).map(Host::Node));
        hosts.extend((0..balancers).map(Host::Balancer));
        net::build(names, &hosts)?;

        let authority = Authority::new();
        let trusted = folder.join("authority.pem");
        std::fs::write(&trusted, authority.pem())?;
        let mut databases = [
            Server::place(names, 0, options.small_disk)?,
            Server::place(names, 1, options.small_disk)?,
        ];
        if options.false_clocks {
            for (index, server) in databases.iter_mut().enumerate() {
                server.environment = clock_environment(&names, &Host::Database(index).name())?;
            }
        }
        let [first, second] = &mut databases;
        first.initialise(&authority)?;
        first.start()?;
        first.sql("CREATE ROLE holdfast LOGIN")?;
        first.sql("CREATE ROLE hog LOGIN")?;
        first.sql("CREATE DATABASE holdfast OWNER holdfast TEMPLATE template0")?;
        if options.standby {
            second.follow(first)?;
            second.start()?;
            first.wait_for(Some(&second.host().name()))?;
        }

        site::write(&folder.join("site-0"), &site::feed(options.lanes, "0.2"))?;
        let plan = node::Plan {
            binary: options.binary.clone(),
            settings: settings(&options, &trusted.display().to_string()),
        };
        let recorder = Arc::new(Recorder::create(&folder.join("records/nodes.jsonl"))?);
        let node = |index| {
            Arc::new(Node::new(
                names,
                index,
                plan.clone(),
                folder.join("site-0"),
                Arc::clone(&recorder),
            ))
        };
        let mut world = World {
            nodes: (0..options.nodes).map(node).collect(),
            leading: Arc::new(Mutex::new(vec![false; options.nodes])),
            names,
            balancers: Mutex::new(Vec::new()),
            databases: databases.map(Mutex::new),
            primary: Mutex::new(0),
            partners: Mutex::new(None),
            gateways: Vec::new(),
            watchers: Vec::new(),
            ports: None,
            tender: None,
            edition: Mutex::new(0),
            options,
        };
        world.people()?;
        Ok(world)
    }

    /// Starts everything that is no database.
    fn people(&mut self) -> Result<()> {
        let names = self.names;
        for index in 0..self.nodes.len() {
            self.gateways.push(Gateway::start(names, index)?);
            self.watch_role(index)?;
            if self.options.false_clocks {
                self.nodes[index].environment(clock_environment(&names, &names::node(index))?);
            }
        }
        let machines = self.gateways.iter().enumerate();
        let machines = machines
            .map(|(index, gateway)| (names::node(index), gateway.pid()))
            .collect();
        self.ports = Some(Ports::watch(
            machines,
            &names.folder().join("records/ports.jsonl"),
        )?);
        self.tend();
        self.nodes[0].release()?;
        self.wait_leader(PATIENCE)?;
        self.note_acquisitions()?;
        for node in &self.nodes[1..] {
            node.release()?;
        }
        let count = if self.options.shared_address { 2 } else { 1 };
        for index in 0..count {
            let balancer = Balancer::start(names, index, self.nodes.len(), self.options.shared_address)?;
            lock(&self.balancers).push(balancer);
        }
        if self.options.shared_address {
            for balancer in lock(&self.balancers).iter_mut() {
                balancer.keep_address()?;
                // The first one takes it; with both at once it would lie on either.
                if balancer.host() == Host::Balancer(0) {
                    shell::until("the address to lie somewhere", PATIENCE, || {
                        ensure!(
                            balancer.has_address(),
                            "it does not lie on the first load balancer"
                        );
                        Ok(())
                    })?;
                }
            }
        }
        self.wait_whole(PATIENCE)
    }

    /// Keeps, in the same transaction as each change of leader, the transaction's own number: its commit can be compared
    /// with that of every row.
    fn note_acquisitions(&self) -> Result<()> {
        self.primary().ask(
            "CREATE SCHEMA chaos; CREATE TABLE chaos.acquired (epoch integer, node text);
             INSERT INTO chaos.acquired SELECT epoch, node FROM holdfast.leadership;
             CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN INSERT INTO chaos.acquired VALUES (NEW.epoch, NEW.node); RETURN NEW; END $$;
             CREATE TRIGGER chaos AFTER INSERT ON holdfast.leadership FOR EACH ROW EXECUTE FUNCTION chaos.note()",
        )?;
        Ok(())
    }

    fn watch_role(&mut self, index: usize) -> Result<()> {
        let own = std::env::current_exe()?;
        let record = self
            .names
            .folder()
            .join(format!("records/role-{}.jsonl", names::node(index)));
        let mut command = net::on(self.names, Host::Node(index));
        command
            .arg(own)
            .args(["watch", "--node", &names::node(index), "--record"])
            .arg(record);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a watcher")?;
        let said = child.stdout.take().context("its output was asked for")?;
        self.watchers.push(child);
        let leading = Arc::clone(&self.leading);
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                lock(&leading)[index] = line == "leads";
            }
        });
        Ok(())
    }

    /// Starts nodes again that have ended, until the world is taken down.
    fn tend(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, nodes) = (Arc::clone(&stop), self.nodes.clone());
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                nodes.iter().for_each(|node| node.tend());
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        self.tender = Some((stop, thread));
    }

    /// The database that takes writes.
    pub fn primary(&self) -> MutexGuard<'_, Server> {
        let index = *lock(&self.primary);
        lock(&self.databases[index])
    }

    /// The other one.
    pub fn standby(&self) -> MutexGuard<'_, Server> {
        let index = *lock(&self.primary);
        lock(&self.databases[1 - index])
    }

    /// The two have changed places.
    pub fn swap_databases(&self) {
        let mut primary = lock(&self.primary);
        *primary = 1 - *primary;
    }

    /// The node that leads, by what a load balancer asks.
    pub fn leader(&self) -> Option<usize> {
        lock(&self.leading).iter().position(|leads| *leads)
    }

    /// Waits until a node leads.
    ///
    /// # Errors
    /// None does in time.
    pub fn wait_leader(&self, limit: Duration) -> Result<usize> {
        shell::until("a leader", limit, || {
            self.leader().context("no node's /ready/leader says 200")
        })
    }

    /// What a node answers to `path`; a POST with a body.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub fn ask(&self, index: usize, path: &str, body: Option<&str>) -> Result<ask::Answer> {
        let mut command = net::on(self.names, Host::Node(index));
        command.arg(std::env::current_exe()?).args(["ask", path]);
        if let Some(body) = body {
            command.args(["--post", body]);
        }
        let said = shell::output(&mut command)?;
        let value: Value = serde_json::from_str(&said)?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let status = value["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        Ok(ask::Answer {
            status: status.context("no status")?,
            date: text("date"),
            body: text("body"),
        })
    }

    /// Waits until one node leads and all others could.
    ///
    /// # Errors
    /// Not in time: with what is missing.
    pub fn wait_whole(&self, limit: Duration) -> Result<()> {
        shell::until("one leader and all others ready", limit, || {
            let leader = self.leader().context("nobody leads")?;
            let answer = self.ask(leader, "/cluster/nodes", None)?;
            let nodes: Value = serde_json::from_str(&answer.body)?;
            for index in 0..self.nodes.len() {
                let id = names::node(index);
                let listed = nodes["nodes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(|node| node["id"] == id.as_str());
                let node = listed.with_context(|| format!("{id} is not listed"))?;
                let pid = self.nodes[index].pid().map(u64::from);
                ensure!(node["pid"].as_u64() == pid, "{id} is listed as an older process");
                let could = node["ready"] == true && node["alive"] == true;
                ensure!(index == leader || could, "{id} is not ready: {}", node["detail"]);
            }
            Ok(())
        })
    }

    /// Starts senders and sinks.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn offer(&self) -> Result<()> {
        let plan = partner::Plan {
            to: if self.options.shared_address {
                names::SHARED
            } else {
                Host::Balancer(0).address()
            }
            .into(),
            own: Host::Partners.address().into(),
            lanes: self.options.lanes,
            per_second: self.options.per_second,
            run: self.options.run,
        };
        let mut command = net::on(self.names, Host::Partners);
        command
            .arg(std::env::current_exe()?)
            .args(["partner", "--plan", &serde_json::to_string(&plan)?]);
        command.arg("--records").arg(self.names.folder().join("records"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting the partners")?;
        let orders = child.stdin.take().context("its input was asked for")?;
        let said = child.stdout.take().context("its output was asked for")?;
        let progress = Arc::new(Mutex::new(Progress::default()));
        let told = Arc::clone(&progress);
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if let Ok(now) = serde_json::from_str(&line) {
                    *lock(&told) = now;
                }
            }
        });
        *lock(&self.partners) = Some(Partners {
            child,
            orders,
            progress,
        });
        Ok(())
    }

    /// How far the partners have come.
    pub fn progress(&self) -> Progress {
        let partners = lock(&self.partners);
        partners
            .as_ref()
            .map(|partners| *lock(&partners.progress))
            .unwrap_or_default()
    }

    /// Waits until so many more messages are acknowledged.
    ///
    /// # Errors
    /// Not in time.
    pub fn progress_by(&self, more: u64, limit: Duration) -> Result<()> {
        let goal = self.progress().acknowledged + more;
        shell::until("acknowledgements under load", limit, || {
            let now = self.progress();
            ensure!(now.acknowledged >= goal, "{now:?}, goal {goal}");
            Ok(())
        })
    }

    /// Ends the senders, which wait for their open answers, and waits until everything accepted has its end.
    ///
    /// # Errors
    /// It takes too long: with what is still open.
    pub fn drain(&self, recorder: &Recorder) -> Result<()> {
        if let Some(partners) = lock(&self.partners).as_mut() {
            writeln!(partners.orders, "stop")?;
        }
        recorder.note(Event::Quiet);
        shell::until("the senders to end", PATIENCE, || {
            let now = self.progress();
            ensure!(now.ended, "{now:?}");
            Ok(())
        })?;
        shell::until("everything accepted to have its end", PATIENCE, || {
            let open = crate::dump::open(&self.primary())?;
            ensure!(open == 0, "{open} messages have none");
            Ok(())
        })?;
        recorder.note(Event::Drained);
        // What comes now would come too often.
        shell::until("the sinks to be quiet", PATIENCE, || {
            let quiet = self.progress().quiet_ms;
            if quiet < 500 {
                bail!("something arrived {quiet} ms ago")
            }
            Ok(())
        })
    }

    fn hint(&self) {
        for node in &self.nodes {
            let said = std::fs::read_to_string(node.log()).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(12).collect();
            let mut err = std::io::stderr();
            let _ = writeln!(err, "--- the last lines of {}", node.name());
            for line in tail.into_iter().rev() {
                let _ = writeln!(err, "{line}");
            }
        }
    }
}

fn settings(options: &Options, trusted: &str) -> Vec<(String, String)> {
    let mut hosts = vec![format!("{}:5432", Host::Database(0).address())];
    if options.standby {
        hosts.push(format!("{}:5432", Host::Database(1).address()));
    }
    let url = format!(
        "postgres://holdfast@{}/holdfast?sslrootcert={trusted}",
        hosts.join(",")
    );
    [
        ("HOLDFAST_STORE__BACKEND", "postgres"),
        ("HOLDFAST_STORE__URL", &url),
        ("HOLDFAST_CLUSTER__ENABLED", "true"),
        ("HOLDFAST_CLUSTER__PROFILE", &options.profile),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// The file that a machine's false clock is read from.
pub fn clock_file(names: &Names, machine: &str) -> PathBuf {
    names.folder().join(format!("clock-{machine}"))
}

/// Puts a process under libfaketime; its clock of the wall then says what a file says, the others stay as they are.
fn clock_environment(names: &Names, machine: &str) -> Result<Vec<(String, String)>> {
    let file = clock_file(names, machine);
    std::fs::write(&file, "+0\n")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644))?;
    Ok([
        ("LD_PRELOAD", clean::faketime()?.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec())
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.tender.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
        if let Some(mut partners) = lock(&self.partners).take() {
            let _ = partners.child.kill();
            let _ = partners.child.wait();
        }
        self.ports = None;
        for watcher in &mut self.watchers {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }
}
