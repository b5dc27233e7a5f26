//! A node of this very binary in a process of its own, for the demonstration and the load profiles.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;
use tokio::process::{Child, Command};

const START_MAX: Duration = Duration::from_secs(30);

/// A node that runs. Dropping it kills it.
pub(crate) struct Node {
    child: Child,
    pid: u32,
    client: api::client::Client,
    log: PathBuf,
}

impl Node {
    /// Starts a node on a config repository and waits until it is ready.
    pub(crate) async fn start(directory: &Path, api_port: u16) -> anyhow::Result<Node> {
        Node::start_with(directory, api_port, &[]).await
    }

    /// The same with environment variables, such as `HOLDFAST_STORE__BACKEND`.
    pub(crate) async fn start_with(
        directory: &Path,
        api_port: u16,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Node> {
        let log = directory.join("node.log");
        let stream = File::options().create(true).append(true).open(&log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--env", "dev", "--config"])
            .arg(directory)
            .args(["--api", &format!("127.0.0.1:{api_port}")])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stream)
            .kill_on_drop(true)
            .spawn()
            .context("the node cannot be started")?;
        let pid = child.id().context("the node ended at once")?;
        let client = api::client::Client::new(&format!("http://127.0.0.1:{api_port}"))?;
        let started = Instant::now();
        loop {
            if client.get_json::<Value>("/ready").await.is_ok() {
                return Ok(Node {
                    child,
                    pid,
                    client,
                    log,
                });
            }
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("the node ended with {status}: see {}", log.display());
            }
            anyhow::ensure!(
                started.elapsed() < START_MAX,
                "the node is not ready after {START_MAX:?}: see {}",
                log.display()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// An error if the node ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("the node ended with {status}: see {}", self.log.display()),
        }
    }

    /// SIGKILL: the process gets no chance to tidy up.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.start_kill().context("the node cannot be killed")
    }

    /// Reads from the node's API.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.read(path).await
    }

    /// Reads a type from the node's API.
    pub(crate) async fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        Ok(self.client.get_json(path).await?)
    }

    /// The store's own count, once nothing is in flight any more (or when `patience` ends).
    pub(crate) async fn settled_census(&self, patience: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            let in_flight = self.get("/cluster/status").await?["in_flight"].as_u64();
            if in_flight == Some(0) || started.elapsed() > patience {
                return self.get("/api/v1/census").await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM, and waits for the graceful end.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill")
            .args(["-TERM", &self.pid.to_string()])
            .status()
            .await?;
        anyhow::ensure!(told.success(), "the node cannot be told to stop");
        let status = tokio::time::timeout(START_MAX, self.child.wait())
            .await
            .context("the node does not stop")??;
        anyhow::ensure!(
            status.success(),
            "the node stopped with {status}: see {}",
            self.log.display()
        );
        Ok(())
    }
}
