//! What a standby looks at from time to time, so that trouble shows before a failover and not in it: whether its inbounds
//! would get their ports, and whether this program still works with the store's schema. It also reads what a leadership
//! begins with, so that it is at hand when it has to be quick.

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use engine::{Conflict, Project};
use tokio::sync::watch;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Looks for as long as somebody watches. What is sent is why this node must not lead; ports are remarked upon only: one
/// taken port does not keep all other feeds from going on here.
pub(super) fn watch(
    seat: Arc<api::Seat>,
    cluster: Arc<Cluster>,
    project: Project,
) -> watch::Receiver<Option<String>> {
    let (tell, told) = watch::channel(None);
    tokio::spawn(async move {
        while !tell.is_closed() {
            if seat.occupant().is_none() {
                if let Some(found) = schema(&seat).await {
                    tell.send_if_modified(|before| std::mem::replace(before, found.clone()) != found);
                }
                if let Some(observer) = seat.observer() {
                    let _ = observer.rehearse().await; // what fails here fails at a promotion, and says why
                }
                let conflicts = conflicts(&cluster, &project).await;
                cluster.remark(remark(&conflicts));
                seat.foresee(conflicts);
            }
            tokio::time::sleep(EVERY).await;
        }
    });
    told
}

/// Why this program does not work with the store as it is now; the outer `None` when that cannot be found out.
async fn schema(seat: &api::Seat) -> Option<Option<String>> {
    let schema = seat.observer()?.schema().await.ok()?;
    let fits = schema.works_from <= schema.known;
    Some((!fits).then(|| {
        format!(
            "its release knows schema {}, and the store's is {}, which takes {} or more: bring it to the release of the \
             other nodes",
            schema.known, schema.version, schema.works_from
        )
    }))
}

/// Inbounds whose port somebody has who is not the leader.
async fn conflicts(cluster: &Arc<Cluster>, project: &Project) -> Vec<Conflict> {
    let mut found = engine::rehearse(project).await;
    if found.iter().any(|conflict| conflict.in_use) {
        let asked = Arc::clone(cluster);
        let nodes = tokio::task::spawn_blocking(move || asked.nodes()).await;
        let Ok(Ok((lease, members))) = nodes else {
            return Vec::new(); // without the leader nobody knows whose port it is
        };
        let own = &cluster.member().host;
        let leader = members.into_iter().find(|view| view.member.id == lease.node);
        let here = leader.filter(|view| view.member.host == *own && !lease.released);
        if let Some(leader) = here {
            // The leader has its ports, and this is its machine. Where nobody may look, nothing is said.
            let others =
                |conflict: &Conflict| listens(leader.member.pid, conflict.address.port()) == Some(false);
            found.retain(|conflict| !conflict.in_use || others(conflict));
        }
    }
    found
}

fn remark(conflicts: &[Conflict]) -> Option<String> {
    let told = conflicts.iter().map(|conflict| {
        format!(
            "inbound {} would not receive: {}",
            conflict.inbound, conflict.reason
        )
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Whether a process listens on a port of this network namespace; `None` when that may not be looked at.
fn listens(pid: u32, port: u16) -> Option<bool> {
    const LISTENING: &str = "0A";
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let mut sockets = Vec::new();
    for table in tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
    {
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, LISTENING, _, _, _, _, _, inode, ..] = fields[..]
                && local
                    .rsplit(':')
                    .next()
                    .and_then(|port| u16::from_str_radix(port, 16).ok())
                    == Some(port)
            {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut links = files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok());
    Some(links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_its_listeners_and_nobody_elses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listens(std::process::id(), port), Some(true));
        drop(listener);
        assert_eq!(listens(std::process::id(), port), Some(false));
        assert_eq!(listens(u32::MAX, port), None);
    }
}
