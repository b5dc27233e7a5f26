//! What is done to a node's process: killed, stopped, frozen, starved.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{Begun, Open};
use crate::shell;
use crate::world::World;
use crate::world::node::Node;

fn running(world: &World, index: usize) -> Result<(Arc<Node>, u32)> {
    let node = Arc::clone(&world.nodes[index]);
    let pid = shell::until(&format!("{} to run", node.name()), Duration::from_secs(5), || {
        node.pid().context("it does not")
    })?;
    Ok((node, pid))
}

struct Killed {
    node: Arc<Node>,
    pid: u32,
}

/// `kill -9`; it stays down until the fault ends.
pub(super) fn kill(world: &World, index: usize) -> Result<Begun> {
    let (node, pid) = running(world, index)?;
    node.hold();
    shell::signal(pid, Signal::KILL)?;
    Ok(Begun::new(node.name(), Killed { node, pid }))
}

impl Open for Killed {
    fn bite(&mut self) -> Result<String> {
        ensure!(self.node.pid() != Some(self.pid), "process {} is there", self.pid);
        Ok(format!("process {} is gone", self.pid))
    }

    fn mend(&mut self) -> Result<String> {
        self.node.release()?;
        Ok("by a new process".to_owned())
    }
}

struct Stopped {
    node: Arc<Node>,
    pid: u32,
}

/// SIGSTOP: every socket stays open, nothing runs.
pub(super) fn stop(world: &World, index: usize) -> Result<Begun> {
    let (node, pid) = running(world, index)?;
    shell::signal(pid, Signal::STOP)?;
    Ok(Begun::new(node.name(), Stopped { node, pid }))
}

impl Open for Stopped {
    fn bite(&mut self) -> Result<String> {
        match shell::state(self.pid) {
            Some('T') => Ok(format!("process {} is in state T", self.pid)),
            other => bail!("process {} is in state {other:?}", self.pid),
        }
    }

    fn mend(&mut self) -> Result<String> {
        if self.node.pid() == Some(self.pid) && shell::signal(self.pid, Signal::CONT).is_ok() {
            return Ok("by SIGCONT".to_owned());
        }
        Ok("by its fencer, which ended it".to_owned())
    }
}

/// A control group for a node, of a controller of version 1 if there is one, else of version 2.
struct Group {
    folder: PathBuf,
    parent: PathBuf,
    first: bool,
}

/// The folder below which groups of a controller are made, and whether it is of version 1.
fn hierarchy(controller: &str) -> Result<(PathBuf, bool)> {
    let all = Path::new("/sys/fs/cgroup");
    let first = all.join(controller).join("tasks").exists();
    ensure!(
        first || all.join("cgroup.controllers").exists(),
        "there are no control groups at {}",
        all.display()
    );
    Ok((
        if first {
            all.join(controller)
        } else {
            all.to_owned()
        },
        first,
    ))
}

/// Whether groups of a controller can be made here.
///
/// # Errors
/// Why not.
pub(crate) fn able(controller: &str) -> Result<()> {
    let (parent, first) = hierarchy(controller)?;
    let folder = parent.join(format!(
        "{}{}-probe",
        crate::world::names::PREFIX,
        std::process::id()
    ));
    std::fs::create_dir(&folder)
        .with_context(|| format!("control groups cannot be made in {}", parent.display()))?;
    let needed = match (controller, first) {
        ("freezer", true) => "freezer.state",
        ("freezer", false) => "cgroup.freeze",
        (_, true) => "cpu.cfs_quota_us",
        (_, false) => "cpu.max",
    };
    let there = folder.join(needed).exists();
    std::fs::remove_dir(&folder)?;
    ensure!(there, "control groups in {} have no {needed}", parent.display());
    Ok(())
}

impl Group {
    fn make(world: &World, index: usize, controller: &str) -> Result<Group> {
        let (parent, first) = hierarchy(controller)?;
        let folder = parent.join(world.names.group(index));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("making the control group {}", folder.display()))?;
        Ok(Group {
            folder,
            parent,
            first,
        })
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }

    fn get(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn take(&self, processes: &[u32]) -> Result<()> {
        processes
            .iter()
            .try_for_each(|pid| self.set("cgroup.procs", &pid.to_string()))
    }

    /// Lets all go, and the group with them.
    fn dissolve(&self) {
        for pid in self.get("cgroup.procs").unwrap_or_default().lines() {
            let _ = std::fs::write(self.parent.join("cgroup.procs"), pid);
        }
        let _ = std::fs::remove_dir(&self.folder);
    }
}

struct Frozen {
    group: Group,
    pid: u32,
}

/// The freezer: node and fencer stand still, as on a machine that is paused.
pub(super) fn freeze(world: &World, index: usize) -> Result<Begun> {
    let (node, pid) = running(world, index)?;
    let group = Group::make(world, index, "freezer")?;
    group.take(&shell::family(pid))?;
    let (file, value) = if group.first {
        ("freezer.state", "FROZEN")
    } else {
        ("cgroup.freeze", "1")
    };
    group.set(file, value)?;
    Ok(Begun::new(node.name(), Frozen { group, pid }))
}

impl Open for Frozen {
    fn bite(&mut self) -> Result<String> {
        let frozen = if self.group.first {
            self.group.get("freezer.state")?.trim() == "FROZEN"
        } else {
            self.group.get("cgroup.events")?.contains("frozen 1")
        };
        ensure!(frozen, "the group is not frozen yet");
        let count = self.group.get("cgroup.procs")?.lines().count();
        ensure!(count > 0, "the frozen group is empty");
        Ok(format!(
            "process {} and all its own, {count} processes, are frozen",
            self.pid
        ))
    }

    fn mend(&mut self) -> Result<String> {
        let (file, value) = if self.group.first {
            ("freezer.state", "THAWED")
        } else {
            ("cgroup.freeze", "0")
        };
        self.group.set(file, value)?;
        self.group.dissolve();
        Ok("by thawing".to_owned())
    }
}

struct Starved {
    group: Group,
    before: u64,
}

/// A twentieth of a core for a leader and its fencer; a standby has so little to do that it gets a thousandth.
pub(super) fn throttle(world: &World, index: usize) -> Result<Begun> {
    let (node, pid) = running(world, index)?;
    let group = Group::make(world, index, "cpu")?;
    let leads = world.leader() == Some(index);
    let (period, quota) = if leads {
        ("100000", "5000")
    } else {
        ("1000000", "1000")
    };
    if group.first {
        group.set("cpu.cfs_period_us", period)?;
        group.set("cpu.cfs_quota_us", quota)?;
    } else {
        group.set("cpu.max", &format!("{quota} {period}"))?;
    }
    let mut starved = Starved { group, before: 0 };
    starved.before = starved.throttled()?;
    starved.group.take(&shell::family(pid))?;
    Ok(Begun::new(node.name(), starved))
}

impl Starved {
    fn throttled(&self) -> Result<u64> {
        let stat = self.group.get("cpu.stat")?;
        let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.context("cpu.stat has no nr_throttled")?
            .trim()
            .parse()
            .context("a count")
    }
}

impl Open for Starved {
    fn bite(&mut self) -> Result<String> {
        let count = self.throttled()?.saturating_sub(self.before);
        ensure!(count > 0, "it was not throttled yet");
        Ok(format!("throttled in {count} periods so far"))
    }

    fn mend(&mut self) -> Result<String> {
        let count = self.throttled().unwrap_or_default().saturating_sub(self.before);
        self.group.dissolve();
        Ok(format!("after {count} throttled periods"))
    }
}
