//! What the machine that runs the tests has: where its programs lie, and what this user may do.

use std::process::{Command, Stdio};

use crate::binary;

/// Where PostgreSQL's own programs may lie beside `PATH`.
fn servers_programs() -> String {
    let bindir = Command::new("pg_config").arg("--bindir").output();
    let bindir = bindir.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<String> = versions
        .map(|entry| entry.path().join("bin").display().to_string())
        .collect();
    found.sort();
    found.reverse();
    found.extend(bindir.ok().filter(|bindir| !bindir.is_empty()));
    found.into_iter().map(|folder| format!(":{folder}")).collect()
}

/// Whether this user may mount a file system in memory.
pub fn may_mount() -> bool {
    let Ok(folder) = tempfile::tempdir() else {
        return false;
    };
    let mut mount = Command::new("mount");
    let mounted = mount
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(folder.path());
    let mounted = mounted.stderr(Stdio::null()).status();
    let mounted = mounted.is_ok_and(|status| status.success());
    if mounted {
        let _ = Command::new("umount").arg("-l").arg(folder.path()).status();
    }
    mounted
}

/// Where blocks find programs.
pub fn path() -> String {
    let ours = binary::path().parent().map(|folder| folder.display().to_string());
    let others = std::env::var("PATH").unwrap_or_default();
    format!(
        "{}:{others}:/usr/sbin:/sbin{}",
        ours.unwrap_or_default(),
        servers_programs()
    )
}
