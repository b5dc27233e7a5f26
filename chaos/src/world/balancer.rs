//! HAProxy before the nodes and beside them, with the very files that sites run; and keepalived where two of them share
//! an address.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::names::{Host, INBOUNDS, Names, PROBE, SHARED, node};
use super::net;
use crate::shell;

/// The folder of the repository that this program was built from.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// HAProxy's program, or what to do.
///
/// # Errors
/// It is not installed.
pub fn program() -> Result<PathBuf> {
    shell::find("haproxy").context("HAProxy is missing: install the package `haproxy`, 2.4 or later")
}

fn log(names: Names, name: &str) -> Result<File> {
    let path = names.folder().join(format!("{name}.log"));
    File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))
}

fn spawn(mut command: Command, names: Names, name: &str) -> Result<Child> {
    let log = log(names, name)?;
    command.stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("starting {name}"))
}

/// The gateway beside a node that lets the load balancer ask who leads. Ended when dropped.
#[derive(Debug)]
pub struct Gateway(Child);

impl Gateway {
    /// Starts it on the node's machine.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(names: Names, index: usize) -> Result<Gateway> {
        let mut command = net::on(names, Host::Node(index));
        command
            .arg(program()?)
            .args(["-db", "-f"])
            .arg(repository().join("haproxy/haproxy-probe.cfg"));
        command.env("PROBE_ADDRESS", Host::Node(index).address().to_string());
        Ok(Gateway(spawn(command, names, &format!("probe-{}", node(index)))?))
    }

    /// Its process: it lives in the node's namespace for the whole run.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load balancer, with its keepalived if two share an address. Ended when dropped.
#[derive(Debug)]
pub struct Balancer {
    names: Names,
    index: usize,
    nodes: usize,
    shared: bool,
    child: Option<Child>,
    keepalived: Option<Child>,
}

impl Balancer {
    /// Starts it; with `shared` partners connect to the address that two of them share.
    ///
    /// # Errors
    /// It cannot be started or does not answer.
    pub fn start(names: Names, index: usize, nodes: usize, shared: bool) -> Result<Balancer> {
        let mut balancer = Balancer {
            names,
            index,
            nodes,
            shared,
            child: None,
            keepalived: None,
        };
        if shared {
            // Only one of the two has the address, both listen at it.
            let mut allow = net::on(names, balancer.host());
            shell::output(allow.args(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind"]))?;
        }
        balancer.begin()?;
        Ok(balancer)
    }

    /// Its machine.
    pub fn host(&self) -> Host {
        Host::Balancer(self.index)
    }

    fn begin(&mut self) -> Result<()> {
        let mut command = net::on(self.names, self.host());
        let own = if self.shared {
            SHARED
        } else {
            self.host().address()
        };
        command
            .arg(program()?)
            .args(["-W", "-db", "-f"])
            .arg(repository().join("haproxy/haproxy.cfg"));
        command.env("LISTEN_ADDRESS", own.to_string());
        for index in 0..self.nodes {
            let letter = char::from(b'A' + u8::try_from(index).unwrap_or(0));
            command.env(
                format!("NODE_{letter}_HOST"),
                Host::Node(index).address().to_string(),
            );
            command.env(format!("NODE_{letter}_CHECK_PORT"), PROBE.to_string());
        }
        let [adt, oru] = INBOUNDS.map(|port| port.to_string());
        command.envs([
            ("ADT_PORT", &adt),
            ("ADT_NODE_PORT", &adt),
            ("ORU_PORT", &oru),
            ("ORU_NODE_PORT", &oru),
        ]);
        self.child = Some(spawn(command, self.names, &self.host().name())?);
        shell::until("the load balancer to work", Duration::from_secs(10), || {
            ensure!(
                !self.workers().is_empty(),
                "it has no worker; see {}.log",
                self.host().name()
            );
            Ok(())
        })
    }

    /// The process that others are started by.
    pub fn master(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The processes that pass connections on.
    pub fn workers(&self) -> Vec<u32> {
        let family = self.master().map(shell::family).unwrap_or_default();
        family.into_iter().skip(1).collect()
    }

    /// Ends all its processes at once.
    pub fn kill(&mut self) {
        for worker in self.workers() {
            let _ = shell::signal(worker, Signal::KILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it and starts it again.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.begin()
    }

    /// Has it read its file again: a new worker, and the old one goes when its connections do.
    ///
    /// # Errors
    /// It does not run, or has no new worker in time.
    pub fn reload(&self) -> Result<(Vec<u32>, Vec<u32>)> {
        let before = self.workers();
        shell::signal(
            self.master().context("the load balancer does not run")?,
            Signal::USR2,
        )?;
        shell::until(
            "a new worker of the load balancer",
            Duration::from_secs(10),
            || {
                let now = self.workers();
                match now.iter().any(|pid| !before.contains(pid)) {
                    true => Ok((before.clone(), now)),
                    false => bail!("only {now:?}"),
                }
            },
        )
    }

    /// Starts keepalived beside it.
    ///
    /// # Errors
    /// keepalived is missing or cannot be started.
    pub fn keep_address(&mut self) -> Result<()> {
        let program =
            shell::find("keepalived").context("keepalived is missing: install the package `keepalived`")?;
        let folder = self
            .names
            .folder()
            .join(format!("keepalived-{}", self.host().name()));
        std::fs::create_dir_all(&folder)?;
        let given = repository().join("keepalived");
        std::fs::copy(given.join("keepalived.conf"), folder.join("keepalived.conf"))?;
        let vars = std::fs::read_to_string(given.join("holdfast.vars"))?;
        let ours = [
            ("$ROUTER_ID=", self.host().name()),
            ("$PRIORITY=", (250 - 10 * self.index).to_string()),
            ("$OWN_ADDRESS=", self.host().address().to_string()),
            (
                "$PEER_ADDRESS=",
                Host::Balancer(1 - self.index).address().to_string(),
            ),
            ("$VIRTUAL_ADDRESS=", format!("{SHARED}/24")),
        ];
        let set = |line: &str| {
            let own = ours.iter().find(|(key, _)| line.starts_with(key));
            own.map_or(line.to_owned(), |(key, value)| format!("{key}{value}"))
        };
        let vars: Vec<String> = vars.lines().map(set).collect();
        std::fs::write(folder.join("holdfast.vars"), vars.join("\n") + "\n")?;
        let mut command = net::on(self.names, self.host());
        command
            .arg(program)
            .args(["--dont-fork", "--log-console", "--use-file"])
            .arg(folder.join("keepalived.conf"));
        for (option, name) in [("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
            command.arg(option).arg(folder.join(name));
        }
        command.current_dir(&folder).stdin(Stdio::null());
        self.keepalived = Some(spawn(
            command,
            self.names,
            &format!("keepalived-{}", self.host().name()),
        )?);
        Ok(())
    }

    /// Whether the shared address lies here.
    pub fn has_address(&self) -> bool {
        let space = self.names.namespace(self.host());
        let shown = shell::sh(&["ip", "-n", &space, "-o", "addr", "show", "eth0"]).unwrap_or_default();
        shown.contains(&format!("{SHARED}/"))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Some(mut keepalived) = self.keepalived.take() {
            let _ = shell::signal(keepalived.id(), Signal::TERM);
            let _ = keepalived.wait();
        }
        self.kill();
    }
}
