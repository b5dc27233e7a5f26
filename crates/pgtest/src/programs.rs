//! Finding PostgreSQL's programs, and running them as a user they accept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Names a folder with the programs of another version.
const CHOSEN: &str = "HOLDFAST_POSTGRES_PROGRAMS";

/// The folder with `initdb`, `postgres`, `pg_ctl` and `psql`: the one named by `HOLDFAST_POSTGRES_PROGRAMS`, or the
/// newest version installed.
pub(crate) fn folder() -> PathBuf {
    let complete = |folder: &Path| {
        ["initdb", "postgres", "pg_ctl", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    if let Some(chosen) = std::env::var_os(CHOSEN).map(PathBuf::from) {
        assert!(
            complete(&chosen),
            "{CHOSEN}: {} lacks initdb, postgres, pg_ctl or psql",
            chosen.display()
        );
        return chosen;
    }
    candidates()
        .into_iter()
        .find(|folder| complete(folder))
        .unwrap_or_else(|| {
            panic!(
                "PostgreSQL is not installed, and these tests need it: install the package `postgresql` (Debian, Ubuntu), \
                 `postgresql-server` (Fedora, RHEL) or `postgresql` (Homebrew), version 13 or later. Nothing needs to be \
                 running; the tests start a server of their own"
            )
        })
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        found.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    found.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found
}

/// Whose the server's files are when root starts it; `None` when this user may run it.
pub(crate) fn owner() -> Option<&'static str> {
    if id(&["-u"]).as_deref() != Some("0") {
        return None;
    }
    let known = |user: &&str| id(&["-u", user]).is_some();
    Some(["postgres", "nobody"].into_iter().find(known).unwrap_or_else(|| {
        panic!("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as")
    }))
}

fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program of a folder, to be run as the server's user.
pub(crate) fn command(folder: &Path, program: &str) -> Command {
    let program = folder.join(program);
    let mut command = match owner() {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("runuser");
            command.args(["-u", user, "--"]).arg(program);
            command
        }
    };
    // What the caller's environment says of some other server must not lead there.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").current_dir("/");
    command
}

/// Whether `user` can reach the folder and write in it.
pub(crate) fn may_write(user: &str, folder: &Path) -> bool {
    let mut test = Command::new("runuser");
    test.args(["-u", user, "--", "test", "-w"]).arg(folder);
    test.current_dir("/");
    test.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end; panics, with what it said, when it failed.
pub(crate) fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} failed: {said}{complained}");
    said.trim_end().to_owned()
}
