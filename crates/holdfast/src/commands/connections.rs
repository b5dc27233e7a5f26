//! `holdfast connections`: what each connection of a running node does, and holding one.

use std::process::ExitCode;

use api::client::{Client, escape};
use api::wire::{Connection, Connections, Empty, Held};

use super::remote::{Actor, Node, explain};
use crate::output::{BAD, GOOD, ODD, Output, paint, thousands};

/// List the connections of a running node, hold one, release one.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    actor: Actor,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// All connections and handlers with their state, what waits, and counts since the start (the default).
    List,
    /// Hold a connection: an inbound closes its listener, an outbound keeps its rows. Survives restarts.
    Hold {
        /// Its name.
        name: String,
    },
    /// Let a held or stopped connection run again.
    Release {
        /// Its name.
        name: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => list(&client, out).await?,
        Action::Hold { name } => set(&client, out, &name, "hold", &args.actor.name()).await?,
        Action::Release { name } => set(&client, out, &name, "release", &args.actor.name()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, out: &Output) -> anyhow::Result<()> {
    let connections: Connections = client.get_json("/api/v1/connections").await.map_err(explain)?;
    if out.is_json() {
        out.json(&connections);
        return Ok(());
    }
    let heading = [
        "name",
        "role",
        "connector",
        "state",
        "waiting",
        "in flight",
        "received",
        "delivered",
        "failed",
        "dead",
    ];
    out.table(&heading, connections.items.iter().map(row).collect());
    if let Some(note) = &connections.note {
        out.remark(note);
    }
    for connection in &connections.items {
        if let Some(reason) = &connection.reason {
            out.line(&format!("{}: {reason}", paint(ODD, &connection.name)));
        }
    }
    Ok(())
}

fn row(connection: &Connection) -> Vec<String> {
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), thousands);
    let counts = connection.counts;
    let connector = match &connection.address {
        Some(address) => format!("{} {address}", connection.connector),
        None => connection.connector.clone(),
    };
    vec![
        connection.name.clone(),
        connection.role.clone(),
        connector,
        connection.state.clone(),
        count(connection.queued),
        count(connection.in_flight),
        count(counts.map(|counts| counts.received)),
        count(counts.map(|counts| counts.delivered)),
        count(counts.map(|counts| counts.failed_attempts + counts.rejected)),
        count(counts.map(|counts| counts.dead_letters)),
    ]
}

async fn set(client: &Client, out: &Output, name: &str, action: &str, actor: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/connections/{}/{action}", escape(name));
    let held: Held = client.post_json(&path, actor, &Empty {}).await.map_err(explain)?;
    if out.is_json() {
        out.json(&held);
    } else if held.held {
        out.line(&format!("{} is {}", held.name, paint(BAD, "held")));
        out.remark(&format!(
            "let it run again with: holdfast connections release {}",
            held.name
        ));
    } else {
        out.line(&format!("{} {}", held.name, paint(GOOD, "runs")));
    }
    Ok(())
}
