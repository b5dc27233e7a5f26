//! Cutting the leader off from its database, and nobody else: an nftables table of this drill's own drops what the leader
//! sends there. Which packets are the leader's shows by its network namespace, where that is not ours, or by its user, where
//! nothing else runs as that user.
//!
//! The cut removes itself: the kernel forgets the address after [`LONGEST`], also when the drill is killed.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use api::wire::Node;

use crate::output::Advice;

/// No cut lasts longer, whatever becomes of this process.
const LONGEST: Duration = Duration::from_secs(60);
const TABLE: &str = "inet holdfast_drill";

/// By what the leader's packets are known.
enum Known {
    /// All of a network namespace; held open, since its last process may end.
    Namespace(File),
    /// Those of this user, in our own namespace.
    User(u32),
}

/// A cut; removed when dropped.
pub(super) struct Partition {
    known: Known,
    healed: bool,
}

fn refuse(text: impl Into<String>, hint: &'static str) -> anyhow::Error {
    let text: String = text.into();
    Advice::new(text, hint).into()
}

impl Partition {
    /// Cuts `leader`, a process of this machine, off from `database`. Refused, with what is missing, where its packets
    /// cannot be told from others'.
    pub(super) async fn cut(leader: &Node, database: Option<&str>) -> anyhow::Result<Partition> {
        let database = database.context("--database is missing")?;
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            return Err(refuse(
                "only root may cut a process off from the network",
                "run the drill as root, on the leader's machine",
            ));
        }
        if Command::new("nft").arg("--version").output().is_err() {
            return Err(refuse(
                "the program `nft` is not there",
                "install nftables on the leader's machine",
            ));
        }
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(database)
            .await
            .with_context(|| format!("{database} is not known"))?
            .collect();
        let known = recognise(leader.pid)?;
        if !addresses.iter().any(|address| talks_to(leader.pid, *address)) {
            return Err(refuse(
                format!("the leader `{}` has no connection to {database}", leader.id),
                "give its database server as in store.url: a cut that cuts nothing shows nothing",
            ));
        }
        let partition = Partition { known, healed: false };
        partition.nft(&partition.rules(&addresses))?;
        Ok(partition)
    }

    /// Removes the cut.
    pub(super) fn heal(mut self) -> anyhow::Result<()> {
        self.healed = true;
        self.nft(&removal())
    }

    fn rules(&self, addresses: &[SocketAddr]) -> String {
        let whose = match &self.known {
            Known::Namespace(_) => String::new(),
            Known::User(user) => format!("meta skuid {user} "),
        };
        rules(&whose, addresses)
    }

    fn nft(&self, script: &str) -> anyhow::Result<()> {
        let mut command = match &self.known {
            Known::User(_) => Command::new("nft"),
            Known::Namespace(file) => {
                let mut command = Command::new("nsenter");
                let file = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
                command.arg(format!("--net={file}")).arg("nft");
                command
            }
        };
        let mut child = command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("nft cannot be run (in another network namespace: by nsenter)")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("nft refused: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if !self.healed
            && let Err(error) = self.nft(&removal())
        {
            tracing::error!(%error, "the partition could not be removed; it ends by itself within a minute");
        }
    }
}

/// Made and deleted, so that it is no fault if it is not there.
fn removal() -> String {
    format!("table {TABLE}\ndelete table {TABLE}\n")
}

/// What is dropped: packets of `whose` to the database.
fn rules(whose: &str, addresses: &[SocketAddr]) -> String {
    let mut sets = String::new();
    let mut drops = String::new();
    for (set, kind, field, of_kind) in [
        (
            "four",
            "ipv4_addr",
            "ip",
            SocketAddr::is_ipv4 as fn(&SocketAddr) -> bool,
        ),
        ("six", "ipv6_addr", "ip6", SocketAddr::is_ipv6),
    ] {
        let elements: Vec<String> = addresses
            .iter()
            .filter(|address| of_kind(address))
            .map(|address| {
                format!(
                    "{} . {} timeout {}s",
                    address.ip(),
                    address.port(),
                    LONGEST.as_secs()
                )
            })
            .collect();
        if elements.is_empty() {
            continue;
        }
        sets += &format!(
            "  set {set} {{ type {kind} . inet_service; flags timeout; elements = {{ {} }} }}\n",
            elements.join(", ")
        );
        drops += &format!("    {whose}{field} daddr . tcp dport @{set} drop\n");
    }
    format!(
        "{}table {TABLE} {{\n{sets}  chain out {{\n    type filter hook output priority 0; policy accept;\n{drops}  }}\n}}\n",
        removal()
    )
}

/// How the packets of a process can be told from all others of this machine.
fn recognise(pid: u32) -> anyhow::Result<Known> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let its = std::fs::read_link(&path).context("the leader's process cannot be looked at")?;
    if its != own {
        return Ok(Known::Namespace(File::open(path)?));
    }
    let user = std::fs::metadata(format!("/proc/{pid}"))?.uid();
    let others = processes().into_iter().filter(|other| {
        let of_user = std::fs::metadata(format!("/proc/{other}")).is_ok_and(|of| of.uid() == user);
        of_user && *other != pid && parent(*other) != Some(pid)
    });
    let others: Vec<String> = others.take(3).map(|other| other.to_string()).collect();
    if others.is_empty() {
        return Ok(Known::User(user));
    }
    Err(refuse(
        format!(
            "the leader's packets cannot be told from others': it shares our network namespace, and its user ({user}) with \
             the processes {}",
            others.join(", ")
        ),
        "run the node as a user of its own (a service's `User=`), or in a network namespace of its own",
    ))
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The leader's own child is its fencer.
fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Whether the process's namespace has an established connection there. Other processes' count too; what is to be found
/// out is a mistyped address.
fn talks_to(pid: u32, address: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", address.port());
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        std::net::IpAddr::V6(ip) => ip
            .octets()
            .chunks_exact(4)
            .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
            .collect(),
    };
    ["tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            matches!(fields[..], [_, _, remote, ESTABLISHED, ..] if remote.ends_with(&port)
                && remote.trim_end_matches(&port).ends_with(&host))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leaders_packets_to_the_database_are_dropped_and_not_for_ever() {
        let addresses = [
            "10.0.0.5:5432".parse().unwrap(),
            "[fd00::5]:5433".parse().unwrap(),
        ];
        let text = rules("meta skuid 990 ", &addresses);
        for said in [
            "10.0.0.5 . 5432 timeout 60s",
            "fd00::5 . 5433 timeout 60s",
            "meta skuid 990 ip daddr . tcp dport @four drop",
            "meta skuid 990 ip6 daddr . tcp dport @six drop",
            "policy accept",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(
            text.starts_with(&removal()),
            "what an earlier one left is gone first"
        );
    }

    #[test]
    fn a_process_that_shares_user_and_namespace_is_not_cut_off() {
        // This very process shares both with whatever started it.
        let refused = recognise(std::process::id())
            .err()
            .map(|error| format!("{error:#}"));
        assert!(
            refused
                .as_ref()
                .is_some_and(|text| text.contains("cannot be told from others'")),
            "{refused:?}"
        );
    }

    #[test]
    fn a_connection_is_found_by_its_far_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pid = std::process::id();
        assert!(!talks_to(pid, address));
        let _connection = std::net::TcpStream::connect(address).unwrap();
        assert!(talks_to(pid, address));
    }
}
