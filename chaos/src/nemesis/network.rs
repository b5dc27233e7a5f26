//! What is done to a node's network: the cable out, one direction silent, packets lost or held back.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

use super::schedule::{Kind, Strike};
use super::{Begun, Open};
use crate::shell;
use crate::world::World;
use crate::world::names::{Host, Names};
use crate::world::net;

struct Unplugged {
    names: Names,
    host: Host,
}

/// Takes the node's cable out.
pub(super) fn link_down(world: &World, index: usize) -> Result<Begun> {
    let (names, host) = (world.names, Host::Node(index));
    net::cable(names, host, false)?;
    Ok(Begun::new(host.name(), Unplugged { names, host }))
}

impl Open for Unplugged {
    fn bite(&mut self) -> Result<String> {
        let shown = net::interface(self.names, self.host)?;
        ensure!(shown.contains("NO-CARRIER"), "eth0 has a carrier: {shown}");
        Ok("eth0 has no carrier".to_owned())
    }

    fn mend(&mut self) -> Result<String> {
        net::cable(self.names, self.host, true)?;
        Ok("by plugging it in".to_owned())
    }
}

struct Filtered {
    names: Names,
    host: Host,
    table: String,
}

/// Drops what comes in or goes out, all of it or a share, of everybody or of the databases only.
pub(super) fn filter(world: &World, index: usize, strike: &Strike) -> Result<Begun> {
    let (names, host) = (world.names, Host::Node(index));
    let table = format!("chaos{}", strike.number);
    let databases_only = strike.kind != Kind::Loss && strike.dice.is_multiple_of(2);
    let databases: Vec<String> = [0, 1]
        .map(|index| Host::Database(index).address())
        .iter()
        .map(Ipv4Addr::to_string)
        .collect();
    let databases = databases.join(", ");
    let rule = |direction: &str| {
        let (interface, side) = if direction == "input" {
            ("iifname", "saddr")
        } else {
            ("oifname", "daddr")
        };
        let whom = if databases_only {
            format!("ip {side} {{ {databases} }} ")
        } else {
            String::new()
        };
        let share = match strike.kind {
            Kind::Loss => format!("numgen random mod 100 < {} ", 10 + strike.dice % 30),
            _ => String::new(),
        };
        format!(
            "add chain inet {table} {direction} {{ type filter hook {direction} priority 0; }}\n\
             add rule inet {table} {direction} {interface} eth0 {whom}{share}counter drop\n"
        )
    };
    let directions: &[&str] = match strike.kind {
        Kind::DropIn => &["input"],
        Kind::DropOut => &["output"],
        _ => &["input", "output"],
    };
    let mut rules = format!("add table inet {table}\n");
    directions.iter().for_each(|direction| rules += &rule(direction));
    let file = names.folder().join(format!("{table}.nft"));
    std::fs::write(&file, rules)?;
    shell::output(net::on(names, host).args(["nft", "-f"]).arg(&file))?;
    let target = if databases_only {
        format!("{}, to the databases only", host.name())
    } else {
        host.name()
    };
    Ok(Begun::new(target, Filtered { names, host, table }))
}

impl Filtered {
    fn dropped(&self) -> Result<u64> {
        let listed = shell::output(net::on(self.names, self.host).args([
            "nft",
            "list",
            "table",
            "inet",
            &self.table,
        ]))?;
        let counts = listed.split("counter packets ").skip(1);
        Ok(counts
            .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok())
            .sum())
    }
}

impl Open for Filtered {
    fn bite(&mut self) -> Result<String> {
        let count = self.dropped()?;
        ensure!(count > 0, "no packet was dropped yet");
        Ok(format!("{count} packets dropped so far"))
    }

    fn mend(&mut self) -> Result<String> {
        let count = self.dropped()?;
        shell::output(net::on(self.names, self.host).args(["nft", "delete", "table", "inet", &self.table]))?;
        Ok(format!("after {count} dropped packets"))
    }
}

struct Delayed {
    names: Names,
    host: Host,
    delayer: Child,
    held: Arc<AtomicU64>,
}

fn rule(names: Names, host: Host, change: &str) -> Result<()> {
    let mut command = net::on(names, host);
    command.args([
        "iptables",
        change,
        "INPUT",
        "-i",
        "eth0",
        "-j",
        "NFQUEUE",
        "--queue-num",
        "1",
        "--queue-bypass",
    ]);
    shell::output(&mut command).map(drop)
}

/// Holds every packet that comes in back for a while, in order.
pub(super) fn delay(world: &World, index: usize, strike: &Strike) -> Result<Begun> {
    let (names, host) = (world.names, Host::Node(index));
    let ms = 5 + strike.dice % 75;
    let mut command = net::on(names, host);
    command
        .arg(std::env::current_exe()?)
        .args(["delay", "--queue", "1", "--ms", &ms.to_string()]);
    let mut delayer = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the delayer")?;
    let said = delayer.stdout.take().context("its output was asked for")?;
    let held = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&held);
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if let Ok(now) = line.parse() {
                count.store(now, Ordering::Relaxed);
            }
        }
    });
    let target = format!("{}, by {ms} ms", host.name());
    let delayed = Delayed {
        names,
        host,
        delayer,
        held,
    };
    rule(names, host, "-I")?;
    Ok(Begun::new(target, delayed))
}

impl Open for Delayed {
    fn bite(&mut self) -> Result<String> {
        let count = self.held.load(Ordering::Relaxed);
        ensure!(count > 0, "no packet was held back yet");
        Ok(format!("{count} packets held back so far"))
    }

    fn mend(&mut self) -> Result<String> {
        rule(self.names, self.host, "-D")?;
        // What it still holds must go on its way before it ends.
        std::thread::sleep(std::time::Duration::from_millis(150));
        Ok(format!("after {} packets", self.held.load(Ordering::Relaxed)))
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        let _ = self.delayer.kill();
        let _ = self.delayer.wait();
    }
}
