//! Running the system's programs, with errors that say what was run and what it answered.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// Set when a person or the system asks the run to end: every wait then fails.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait end with an error from now on.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Fails once the run was asked to end.
///
/// # Errors
/// The run was interrupted.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits, unless interrupted.
///
/// # Errors
/// The run was interrupted.
pub fn pause(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Asks again and again until there is a value. `Err` inside says what is missing.
///
/// # Errors
/// The time is over, with what was missing last; or the run was interrupted.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    // Many conditions are processes of their own: asked without a pause they would keep a core busy.
    let mut wait = Duration::from_millis(10);
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(missing) if begun.elapsed() >= limit => {
                bail!(
                    "waited {:.1} s for {what}: {missing:#}",
                    begun.elapsed().as_secs_f32()
                )
            }
            Err(_) => pause(wait)?,
        }
        wait = (wait * 2).min(Duration::from_millis(100));
    }
}

/// Runs a program to its end; what it wrote.
///
/// # Errors
/// It cannot be run, or failed: with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complained = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {said}{complained}", output.status);
    }
    Ok(said.trim_end().to_owned())
}

/// As [`output`], from words.
///
/// # Errors
/// As [`output`].
pub fn sh(words: &[&str]) -> Result<String> {
    let (program, arguments) = words.split_first().context("no program")?;
    output(Command::new(program).args(arguments))
}

/// Where a program lies, in `PATH` or in the folders of system programs.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"];
    std::env::split_paths(&path)
        .chain(more.iter().map(Into::into))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Sends a signal to one process.
///
/// # Errors
/// There is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.with_context(|| format!("{pid} is no process"))?;
    rustix::process::kill_process(process, signal).with_context(|| format!("signalling process {pid}"))
}

/// The state letter of a process (`R`, `S`, `T`, ...), or `None` when it is gone.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A process and all that descend from it.
pub fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.push((pid, parent.unwrap_or(0_u32)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}
