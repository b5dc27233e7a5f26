//! What a run needs of the machine, and taking down what a run left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::shell;
use crate::world::names;
use crate::world::{balancer, database, net};

/// The folders of control groups that runs make groups in: version 1's, one for each controller, or version 2's.
pub const GROUPS: [&str; 3] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup"];

/// Why a run is not possible here, if it is not: with what to do.
///
/// # Errors
/// The first thing that is missing.
pub fn able() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("live chaos makes network namespaces and control groups: run it as root");
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("setpriv", "util-linux"),
        ("nft", "nftables"),
        ("iptables", "iptables"),
    ] {
        if shell::find(program).is_none() {
            bail!("`{program}` is missing: install the package `{package}`");
        }
    }
    balancer::program()?;
    database::user()?;
    let probe = format!("{}{}-probe", names::PREFIX, std::process::id());
    shell::sh(&["ip", "netns", "add", &probe]).context("network namespaces cannot be made here")?;
    shell::sh(&["ip", "netns", "del", &probe])?;
    Ok(())
}

/// The library that lies about the time.
///
/// # Errors
/// It is not installed.
pub fn faketime() -> Result<PathBuf> {
    let machine = std::env::consts::ARCH;
    let places = [
        format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"),
        "/usr/lib64/faketime/libfaketimeMT.so.1".to_owned(),
        "/usr/lib/faketime/libfaketimeMT.so.1".to_owned(),
    ];
    places
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .context("libfaketime is missing: install the package `faketime`")
}

/// Removes what libfaketime shares between the processes of a program, which stays when the program is killed.
pub fn forget_clock(pid: u32) {
    for name in [format!("sem.faketime_sem_{pid}"), format!("faketime_shm_{pid}")] {
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Takes down everything that carries the number of a run: processes, file systems, groups, namespaces. Its folder stays:
/// the records are in it.
pub fn remove(pid: u32) {
    let spaces = net::namespaces(Some(pid));
    for group in groups(pid) {
        // Nothing frozen can end.
        let _ = std::fs::write(group.join("freezer.state"), "THAWED");
        let _ = std::fs::write(group.join("cgroup.freeze"), "0");
    }
    for process in spaces.iter().flat_map(|space| net::processes(space)) {
        let _ = shell::signal(process, Signal::KILL);
        forget_clock(process);
    }
    // They are other processes' children: they go when those have seen it.
    for _ in 0..100 {
        let left = spaces.iter().flat_map(|space| net::processes(space));
        if left
            .filter(|process| shell::state(*process).is_some_and(|state| state != 'Z'))
            .count()
            == 0
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for space in &spaces {
        let _ = shell::sh(&["ip", "netns", "del", space]);
    }
    for group in groups(pid) {
        let _ = std::fs::remove_dir(group);
    }
    for mount in names::folders(pid).iter().flat_map(|folder| mounts(folder)) {
        let _ = shell::sh(&["umount", "-l", &mount]);
    }
}

fn groups(pid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for parent in GROUPS {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_str().and_then(names::pid_of) == Some(pid) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn mounts(below: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(1));
    places
        .filter(|place| Path::new(place).starts_with(below))
        .map(str::to_owned)
        .collect()
}

/// Removes a run's folder.
pub fn remove_folder(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}

/// Takes down what runs left behind whose process is gone; their numbers.
pub fn leftovers(folders: bool) -> Vec<u32> {
    let mut found: Vec<u32> = net::namespaces(None)
        .iter()
        .filter_map(|name| names::pid_of(name))
        .collect();
    let temporary = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    found.extend(temporary.filter_map(|entry| names::pid_of(entry.file_name().to_str()?)));
    found.sort_unstable();
    found.dedup();
    found.retain(|pid| !alive(*pid));
    for pid in &found {
        remove(*pid);
        if folders {
            names::folders(*pid)
                .iter()
                .for_each(|folder| remove_folder(folder));
        }
    }
    found
}

/// Whether a run of this number is at work: a process of this number that is no chaos does not count.
fn alive(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim() == "chaos"
}
