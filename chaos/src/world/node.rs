//! One node as a process, and who starts it again when it has ended: as a service manager would.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::names::{self, Host, Names};
use super::net;
use crate::clean;
use crate::record::{Event, Recorder};
use crate::shell;

/// How long after its end a node is started again.
const RESTART: Duration = Duration::from_millis(200);

/// How nodes are started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The product.
    pub binary: PathBuf,
    /// Settings for all nodes.
    pub settings: Vec<(String, String)>,
}

#[derive(Debug)]
struct State {
    child: Option<Child>,
    ended: Option<Instant>,
    /// Nobody starts it again for now.
    held: bool,
    configuration: PathBuf,
    environment: Vec<(String, String)>,
}

/// A node of the run.
#[derive(Debug)]
pub struct Node {
    names: Names,
    /// Which one, from 0.
    pub index: usize,
    plan: Plan,
    recorder: Arc<Recorder>,
    state: Mutex<State>,
}

impl Node {
    /// A node that does not run yet.
    pub fn new(
        names: Names,
        index: usize,
        plan: Plan,
        configuration: PathBuf,
        recorder: Arc<Recorder>,
    ) -> Node {
        Node {
            names,
            index,
            plan,
            recorder,
            state: Mutex::new(State {
                child: None,
                ended: None,
                held: true,
                configuration,
                environment: Vec::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its id.
    pub fn name(&self) -> String {
        names::node(self.index)
    }

    /// Its machine.
    pub fn host(&self) -> Host {
        Host::Node(self.index)
    }

    /// The file of what it said.
    pub fn log(&self) -> PathBuf {
        self.names.folder().join(format!("{}.log", self.name()))
    }

    /// More environment from its next start on, such as that of a false clock.
    pub fn environment(&self, environment: Vec<(String, String)>) {
        self.state().environment = environment;
    }

    /// Another configuration from its next start on.
    pub fn configured_by(&self, configuration: PathBuf) {
        self.state().configuration = configuration;
    }

    /// Its process, if one runs.
    pub fn pid(&self) -> Option<u32> {
        self.state().child.as_ref().map(Child::id)
    }

    /// Nobody starts it again until it is released.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// It is started at once if it does not run, and again whenever it ends.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn release(&self) -> Result<()> {
        let mut state = self.state();
        state.held = false;
        if state.child.is_none() {
            self.spawn(&mut state)?;
        }
        Ok(())
    }

    fn spawn(&self, state: &mut State) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let data = self.names.folder().join(format!("data-{}", self.name()));
        std::fs::create_dir_all(&data)?;
        let mut command = net::on(self.names, self.host());
        command.arg("env");
        command.args(
            state
                .environment
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        command.arg(&self.plan.binary).arg("serve").args([
            "--env",
            "dev",
            "--api",
            &names::api().to_string(),
        ]);
        command
            .arg("--config")
            .arg(&state.configuration)
            .arg("--data")
            .arg(data);
        command.envs(self.plan.settings.iter().map(|(key, value)| (key, value)));
        command.env("HOLDFAST_NODE__ID", self.name());
        command.env("HOLDFAST_VALUE_HOST", self.host().address().to_string());
        command.env("NO_COLOR", "1").stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting holdfast serve")?;
        self.recorder.note(Event::Started {
            node: self.name(),
            pid: child.id(),
        });
        state.child = Some(child);
        state.ended = None;
        Ok(())
    }

    /// Looks whether it has ended, and starts it again when it is time. Called over and over.
    pub fn tend(&self) {
        let mut state = self.state();
        if let Some(child) = state.child.as_mut()
            && let Ok(Some(status)) = child.try_wait()
        {
            self.recorder.note(Event::Ended {
                node: self.name(),
                pid: child.id(),
                how: status.to_string(),
            });
            clean::forget_clock(child.id());
            state.child = None;
            state.ended = Some(Instant::now());
        }
        let due = state.ended.is_none_or(|ended| ended.elapsed() >= RESTART);
        if state.child.is_none() && !state.held && due {
            // The next look tries again; what is missing then shows as a node that is not there.
            let _ = self.spawn(&mut state);
        }
    }

    /// Waits until the process of this number is gone.
    ///
    /// # Errors
    /// It is still there when the time is over.
    pub fn wait_gone(&self, pid: u32, limit: Duration) -> Result<()> {
        shell::until(&format!("{} to end", self.name()), limit, || match self.pid() {
            Some(now) if now == pid => bail!("process {pid} runs"),
            _ => Ok(()),
        })
    }

    /// Ends it for good.
    pub fn end(&self) {
        let mut state = self.state();
        state.held = true;
        if let Some(mut child) = state.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
