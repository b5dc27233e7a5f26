//! What is done to a node's network: the cable out, one direction silent, packets lost or held back.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::schedule::{Kind, Strike};
use super::{Begun, Open};
use crate::shell;
use crate::world::names::{Host, Names};
use crate::world::net;
use crate::world::{World, lock};

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
    said: Arc<Mutex<Said>>,
}

/// What the delayer said last.
#[derive(Clone, Copy, Default)]
struct Said {
    /// How often it has said anything.
    times: u64,
    /// Packets that it held back so far.
    count: u64,
    /// Those that it still holds.
    holds: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut numbers = line.split(' ').map(str::parse);
        if let (Some(Ok(count)), Some(Ok(holds))) = (numbers.next(), numbers.next()) {
            let times = self.times + 1;
            *self = Said { times, count, holds };
        }
    }
}

/// What was held back at most a fifth of a second has gone on its way by then, unless the machine is starved.
const GONE: Duration = Duration::from_secs(5);

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
    let output = delayer.stdout.take().context("its output was asked for")?;
    let said = Arc::new(Mutex::new(Said::default()));
    let hears = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lock(&hears).hear(&line);
        }
    });
    let target = format!("{}, by {ms} ms", host.name());
    let delayed = Delayed {
        names,
        host,
        delayer,
        said,
    };
    rule(names, host, "-I")?;
    Ok(Begun::new(target, delayed))
}

impl Open for Delayed {
    fn bite(&mut self) -> Result<String> {
        let count = lock(&self.said).count;
        ensure!(count > 0, "no packet was held back yet");
        Ok(format!("{count} packets held back so far"))
    }

    fn mend(&mut self) -> Result<String> {
        rule(self.names, self.host, "-D")?;
        // What it still holds must go on its way before it ends. What it says next may have been written before the rule
        // went; the one after that was not.
        let heard = lock(&self.said).times + 2;
        let said = shell::until("the delayer to let go of what it holds", GONE, || {
            let said = *lock(&self.said);
            ensure!(said.times >= heard, "it has not said so since");
            ensure!(said.holds == 0, "it holds {} packets", said.holds);
            Ok(said)
        })?;
        Ok(format!("after {} packets", said.count))
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        let _ = self.delayer.kill();
        let _ = self.delayer.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_delayer_says_is_counted_and_nonsense_is_not() {
        let mut said = Said::default();
        for line in ["3 2", "", "7", "7 x", "9 0"] {
            said.hear(line);
        }
        assert_eq!((said.times, said.count, said.holds), (2, 9, 0));
    }
}
