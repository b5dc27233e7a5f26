//! Namespaces, one bridge between them, and the wires. All of it goes when the run's guard does.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::names::{Host, Names};
use crate::shell;

/// Makes the bridge and the machines, each with one interface `eth0`.
///
/// # Errors
/// `ip` fails: with what it said.
pub fn build(names: Names, hosts: &[Host]) -> Result<()> {
    let bridge = names.bridge();
    shell::sh(&["ip", "netns", "add", &bridge])
        .context("a network namespace cannot be made: is this root?")?;
    let within = |words: &[&str]| {
        let mut all = vec!["ip", "-n", bridge.as_str()];
        all.extend(words);
        shell::sh(&all)
    };
    within(&[
        "link",
        "add",
        "br0",
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
    ])?;
    within(&["link", "set", "br0", "up"])?;
    for host in hosts {
        let (space, wire) = (names.namespace(*host), host.name());
        shell::sh(&["ip", "netns", "add", &space])?;
        within(&[
            "link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &space,
        ])?;
        within(&["link", "set", &wire, "master", "br0", "up"])?;
        let address = format!("{}/24", host.address());
        shell::sh(&["ip", "-n", &space, "link", "set", "lo", "up"])?;
        shell::sh(&["ip", "-n", &space, "addr", "add", &address, "dev", "eth0"])?;
        shell::sh(&["ip", "-n", &space, "link", "set", "eth0", "up"])?;
    }
    Ok(())
}

/// Takes a machine's cable out, or puts it in again.
///
/// # Errors
/// `ip` fails.
pub fn cable(names: Names, host: Host, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    shell::sh(&["ip", "-n", &names.bridge(), "link", "set", &host.name(), state]).map(drop)
}

/// What the machine says of its interface, such as `NO-CARRIER`.
///
/// # Errors
/// `ip` fails.
pub fn interface(names: Names, host: Host) -> Result<String> {
    shell::sh(&["ip", "-n", &names.namespace(host), "-o", "link", "show", "eth0"])
}

/// A command that runs on a machine. It becomes the program: the process number is the program's.
pub fn on(names: Names, host: Host) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &names.namespace(host)]);
    command.current_dir("/").stdin(Stdio::null());
    for (key, _) in std::env::vars_os() {
        let key = key.to_string_lossy();
        if key.starts_with("HOLDFAST_") || key.starts_with("PG") {
            command.env_remove(&*key);
        }
    }
    command
}

/// The processes of a namespace.
pub fn processes(space: &str) -> Vec<u32> {
    let listed = shell::sh(&["ip", "netns", "pids", space]).unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// The namespaces of one run, or of all runs.
pub fn namespaces(pid: Option<u32>) -> Vec<String> {
    let listed = shell::sh(&["ip", "netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| super::names::pid_of(name).is_some_and(|of| pid.is_none_or(|pid| pid == of)))
        .map(str::to_owned)
        .collect()
}
