//! A second process that ends the first when its deadline has passed and it is still there: a process that was
//! stopped, or is swapped out, can end itself no more, yet its sockets still take connections.
//!
//! The node tells it, through a pipe, when to act; each renewal moves that instant on. When the node ends, the pipe
//! ends, and so does the fencer.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::clock::Tick;

/// The name of the hidden command that runs it, and of the option with the node's process number.
pub const COMMAND: &str = "fencer";
/// See [`COMMAND`].
pub const PID: &str = "--pid";

/// The node's end of the pipe.
pub(crate) struct Fencer {
    program: PathBuf,
    child: Option<Child>,
    told: Option<Tick>,
}

impl Fencer {
    /// Starts one; `program` is this very program.
    pub(crate) fn start(program: &Path) -> io::Result<Fencer> {
        Ok(Fencer {
            program: program.to_owned(),
            child: Some(spawn(program)?),
            told: None,
        })
    }

    /// End this process at `at`, unless told otherwise before; `None` = never.
    pub(crate) fn tell(&mut self, at: Option<Tick>) {
        if self.told == at && self.child.is_some() {
            return;
        }
        for _ in 0..2 {
            if self.child.is_none() {
                self.child = spawn(&self.program)
                    .inspect_err(|error| tracing::error!(%error, "no fencer could be started: if this process is stopped, nobody ends it"))
                    .ok();
            }
            let Some(child) = &mut self.child else { return };
            let word = at.map_or(0, |at| at.0).to_le_bytes();
            if child
                .stdin
                .as_mut()
                .is_some_and(|pipe| pipe.write_all(&word).is_ok())
            {
                self.told = at;
                return;
            }
            tracing::warn!("the fencer is gone; another one is started");
            reap(self.child.take());
        }
    }
}

impl Drop for Fencer {
    fn drop(&mut self) {
        reap(self.child.take());
    }
}

fn spawn(program: &Path) -> io::Result<Child> {
    Command::new(program)
        .args([COMMAND, PID, &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0) // Ctrl-C is for the node, which stops in order
        .spawn()
}

/// Its pipe closed, it ends by itself.
fn reap(child: Option<Child>) {
    if let Some(mut child) = child {
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

/// The fencer's whole life: reads instants from `pipe` and ends process `pid` when the last one has passed.
///
/// True when it ended the process, false when the pipe was closed first.
///
/// # Errors
/// When the process cannot be watched or ended.
pub fn watch_over(pid: i32, mut pipe: impl Read + std::os::fd::AsFd) -> io::Result<bool> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    // A number may be given to another process; this keeps to the one.
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut at = None;
    loop {
        let now = Tick::now();
        if at.is_some_and(|at| now >= at) {
            pidfd_send_signal(&process, Signal::KILL)?;
            return see_it_end(&process, pid).map(|()| true);
        }
        let left = at.map_or(Duration::from_secs(3600), |at: Tick| at.since(now));
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut polled = [PollFd::new(&pipe, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut word = [0; 8];
        match pipe.read_exact(&mut word) {
            Ok(()) => at = Some(u64::from_le_bytes(word)).filter(|at| *at > 0).map(Tick),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// A process that the kernel cannot end at once (a frozen one, one that waits for a disk) ends when it goes on. Process 1 of a
/// container is never ended from inside.
fn see_it_end(process: &impl std::os::fd::AsFd, pid: Pid) -> io::Result<()> {
    let patience = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    if poll(&mut polled, Some(&patience))? == 0 && pid == Pid::INIT {
        return Err(io::Error::other(
            "the kernel does not let process 1 be ended from inside of its container: start the node under an init",
        ));
    }
    Ok(())
}
