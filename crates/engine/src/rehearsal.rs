//! What a standby can find out of a takeover before it: which inbounds would not get their address.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::project::Project;
use crate::stage::anyhow_chain;

/// An inbound that would not receive if this node led now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub inbound: String,
    /// What it could not bind.
    pub address: SocketAddr,
    /// Whether somebody has it: that may be the leader itself, on the same machine.
    pub in_use: bool,
    /// Why, and what to do.
    pub reason: String,
}

/// Tries the address of each inbound, without disturbing whoever has it. An address that this machine does not have is
/// no conflict: it may move here together with the leadership.
pub async fn rehearse(project: &Project) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (name, inbound) in &project.graph.inbounds {
        let Some(connector) = connectors::registry::find(&inbound.connector.connector) else {
            continue;
        };
        let Ok(mut source) = connector.source(&inbound.connector) else {
            continue;
        };
        if let Err(found) = source.rehearse().await
            && found.kind != ErrorKind::AddrNotAvailable
        {
            conflicts.push(Conflict {
                inbound: name.clone(),
                address: found.address,
                in_use: found.kind == ErrorKind::AddrInUse,
                reason: anyhow_chain(&found.error),
            });
        }
    }
    conflicts
}
