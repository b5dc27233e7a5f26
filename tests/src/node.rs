//! A node of the product as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::repository::Repository;
use crate::wait::{self, Hopeless, PATIENCE};
use crate::{binary, http, ports};

/// How to start a node.
#[derive(Clone)]
pub struct Plan {
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    api: u16,
    settings: Vec<(String, String)>,
    user: Option<u32>,
    program: Option<PathBuf>,
}

impl Plan {
    /// A node of `repository` in the environment `dev`, its API on a port of its own.
    pub fn new(repository: &Repository) -> Plan {
        Plan {
            config: repository.root(),
            data: repository.data(),
            log: repository.beside("node.log"),
            api: ports::free(),
            settings: Vec::new(),
            user: None,
            program: None,
        }
    }

    /// Another node of the same repository and settings: an API port, a log and an id of its own.
    pub fn another(&self, id: &str) -> Plan {
        let plan = Plan {
            config: self.config.clone(),
            data: self.data.clone(),
            log: self.log.with_file_name(format!("{id}.log")),
            api: ports::free(),
            settings: self.settings.clone(),
            user: self.user,
            program: self.program.clone(),
        };
        plan.setting("HOLDFAST_NODE__ID", id)
    }

    /// With the configuration of another repository.
    pub fn configured_by(mut self, repository: &Repository) -> Plan {
        self.config = repository.root();
        self
    }

    /// By another build of the product.
    pub fn built_as(mut self, program: impl Into<PathBuf>) -> Plan {
        self.program = Some(program.into());
        self
    }

    /// As another user; takes root.
    pub fn as_user(mut self, user: u32) -> Plan {
        self.user = Some(user);
        self
    }

    /// With another data directory.
    pub fn data(mut self, data: impl Into<PathBuf>) -> Plan {
        self.data = data.into();
        self
    }

    /// With a setting, such as `HOLDFAST_VALUE_TOKEN`.
    pub fn setting(mut self, key: &str, value: &str) -> Plan {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The port of its API.
    pub fn api(&self) -> u16 {
        self.api
    }

    /// Starts the process and does not wait for anything.
    pub fn spawn(&self) -> Result<Node<'_>> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = match &self.program {
            Some(program) => binary::command_of(program),
            None => binary::command(),
        };
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        let child = command
            .arg("serve")
            .args(["--env", "dev", "--api", &format!("127.0.0.1:{}", self.api)])
            .arg("--config")
            .arg(&self.config)
            .arg("--data")
            .arg(&self.data)
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting holdfast serve")?;
        Ok(Node { plan: self, child })
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Result<Node<'_>> {
        let mut node = self.spawn()?;
        node.wait_ready().await?;
        Ok(node)
    }

    /// Starts the process, which must refuse: its exit status and all it said.
    pub async fn refused(&self) -> Result<(ExitStatus, String)> {
        let mut node = self.spawn()?;
        let status = node.wait_exit(PATIENCE).await?;
        ensure!(
            !status.success(),
            "it ended with success; it said:\n{}",
            self.said()
        );
        Ok((status, self.said()))
    }

    /// All that nodes of this plan have said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }
}

/// A running node; killed when dropped.
pub struct Node<'a> {
    plan: &'a Plan,
    child: Child,
}

impl Node<'_> {
    /// Asks its API.
    pub async fn get(&self, path: &str) -> Result<serde_json::Value> {
        let answer = http::get(self.plan.api, path).await?;
        ensure!(
            answer.status == 200,
            "GET {path}: status {}: {}",
            answer.status,
            answer.body
        );
        answer.json()
    }

    /// Waits until `/ready` says yes.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let plan = self.plan;
        let child = &mut self.child;
        let ready = wait::until("the node to be ready", PATIENCE, || {
            let ended = child.try_wait();
            async move {
                if let Some(status) = ended? {
                    bail!(Hopeless(format!("the node ended ({status})")));
                }
                let answer = http::get(plan.api, "/ready").await?;
                ensure!(
                    answer.status == 200,
                    "/ready says {}: {}",
                    answer.status,
                    answer.body
                );
                Ok(())
            }
        });
        ready
            .await
            .with_context(|| format!("the node said:\n{}", plan.said()))
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut of the process would: no handler runs.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it did, within `limit`.
    pub async fn stop(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait_exit(limit).await
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = std::process::Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Waits until the process ended.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = wait::until("the node to end", limit, || {
            let ended = child.try_wait();
            async move { ended?.context("it still runs") }
        });
        ended
            .await
            .with_context(|| format!("the node said:\n{}", self.plan.said()))
    }

    /// Bytes of memory it holds now (resident), from the kernel.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
