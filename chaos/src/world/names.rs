//! What things of a run are called and where they stand. Every name carries the process number of the run, so that runs
//! do not meet and leftovers of dead ones can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the names of all runs begin with.
pub const PREFIX: &str = "hfc";
/// The inbound ports of every node, and the ports that partners use.
pub const INBOUNDS: [u16; 2] = [2600, 2601];
/// The API of every node, on the loopback of its namespace.
pub const API: u16 = 8765;
/// The gateway for the load balancer's question, beside every node.
pub const PROBE: u16 = 8766;
/// The first port of the sinks.
pub const SINKS: u16 = 7000;

/// A machine of the run: one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A node, from 0.
    Node(usize),
    /// A database server: 0 is the primary at first, 1 its synchronous standby.
    Database(usize),
    /// A load balancer, from 0.
    Balancer(usize),
    /// Senders and sinks.
    Partners,
}

impl Host {
    /// Its name within the run.
    pub fn name(self) -> String {
        match self {
            Host::Node(index) => node(index),
            Host::Database(index) => format!("db{}", index + 1),
            Host::Balancer(index) => format!("lb{}", index + 1),
            Host::Partners => "partners".to_owned(),
        }
    }

    /// Its address on the bridge.
    pub fn address(self) -> Ipv4Addr {
        let last = match self {
            Host::Database(index) => 11 + index,
            Host::Balancer(index) => 21 + index,
            Host::Node(index) => 31 + index,
            Host::Partners => 41,
        };
        Ipv4Addr::new(10, 77, 0, u8::try_from(last).unwrap_or(u8::MAX))
    }
}

/// The address that two load balancers share.
pub const SHARED: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);

/// A node's id: `node-a`.
pub fn node(index: usize) -> String {
    let letter = u8::try_from(index).map_or('?', |index| char::from(b'a' + index));
    format!("node-{letter}")
}

/// The API of a node, seen from its own namespace.
pub fn api() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], API))
}

/// The names of one run.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The process that runs it.
    pub pid: u32,
    /// Which run of that process, from 1.
    pub turn: u32,
}

impl Names {
    /// Of the next run of this process.
    pub fn next() -> Names {
        static TURNS: AtomicU32 = AtomicU32::new(0);
        Names {
            pid: std::process::id(),
            turn: TURNS.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// The namespace of a machine.
    pub fn namespace(self, host: Host) -> String {
        format!("{PREFIX}{}-{}", self.pid, host.name())
    }

    /// The namespace of the bridge.
    pub fn bridge(self) -> String {
        format!("{PREFIX}{}-net", self.pid)
    }

    /// The control group of a node.
    pub fn group(self, index: usize) -> String {
        format!("{PREFIX}{}-{}", self.pid, node(index))
    }

    /// The folder of the run. Short, because the paths of sockets are.
    pub fn folder(self) -> PathBuf {
        std::env::temp_dir().join(format!("{PREFIX}{}-{}", self.pid, self.turn))
    }
}

/// The folders of a process's runs.
pub fn folders(pid: u32) -> Vec<PathBuf> {
    let all = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    all.filter(|entry| entry.file_name().to_str().and_then(pid_of) == Some(pid))
        .map(|entry| entry.path())
        .collect()
}

/// The process number in a name, if it is one of ours.
pub fn pid_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    if end < rest.len() && !rest[end..].starts_with('-') {
        return None;
    }
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_it_is() {
        let names = Names { pid: 4711, turn: 1 };
        let each = [names.bridge(), names.group(1), names.namespace(Host::Database(1))];
        assert_eq!(each, ["hfc4711-net", "hfc4711-node-b", "hfc4711-db2"]);
        for name in each {
            assert_eq!(pid_of(&name), Some(4711), "{name}");
        }
        for foreign in ["hfc", "hfcx", "hfc12x", "other-12", "hfc-net"] {
            assert_eq!(pid_of(foreign), None, "{foreign}");
        }
    }
}
