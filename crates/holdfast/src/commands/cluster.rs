//! `holdfast cluster`: who leads, which nodes there are, and making another one lead.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use api::client::Client;
use api::wire::{Approve, Approved, Cluster, Leadership, Nodes, SwitchOver, SwitchingOver};

use super::remote::{Actor, Node, explain};
use crate::output::{Output, thousands};

/// Ask a node about its cluster, or make another node lead.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    node: Node,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// What this node is: leader or standby, and how it stands with the lease.
    Status,
    /// All nodes, who leads, and the leaderships of the past.
    Nodes,
    /// Show the nodes anew every second until interrupted.
    Watch,
    /// Make another node lead, and wait until it does.
    Switchover {
        /// Which node; without it, whichever is ready.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// How long to wait for it.
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        timeout: u64,
        #[command(flatten)]
        actor: Actor,
    },
    /// Let nodes that run the same configuration as this one lead next.
    Approve {
        /// A node that runs it.
        #[arg(value_name = "NODE")]
        of: String,
        #[command(flatten)]
        actor: Actor,
    },
}

/// Between two looks at a switchover under way.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    match args.what {
        What::Status => {
            let status: Cluster = client.get_json("/cluster/status").await.map_err(explain)?;
            if out.is_json() {
                out.json(&status);
            } else {
                show_status(out, &status);
            }
        }
        What::Nodes => show_nodes(out, &nodes(&client).await?),
        What::Watch => loop {
            let nodes = nodes(&client).await?;
            if !out.is_json() {
                out.line("\u{1b}[H\u{1b}[2J"); // a clear screen
            }
            show_nodes(out, &nodes);
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        },
        What::Switchover { to, timeout, actor } => {
            let asked: SwitchingOver = client
                .post_json("/cluster/switchover", &actor.name(), &SwitchOver { to })
                .await
                .map_err(explain)?;
            let took = wait_for(&client, &asked, Duration::from_secs(timeout)).await?;
            if out.is_json() {
                out.json(&asked);
            } else {
                out.line(&format!(
                    "`{}` leads now, after {} ms; before it was `{}`",
                    asked.to,
                    took.as_millis(),
                    asked.from
                ));
            }
        }
        What::Approve { of, actor } => {
            let approved: Approved = client
                .post_json("/cluster/approve", &actor.name(), &Approve { node: of })
                .await
                .map_err(explain)?;
            if out.is_json() {
                out.json(&approved);
            } else {
                out.line(&format!(
                    "configuration {} may lead next",
                    short(&approved.config_fingerprint)
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn nodes(client: &Client) -> anyhow::Result<Nodes> {
    client.get_json("/cluster/nodes").await.map_err(explain)
}

/// Waits until the chosen node leads; how long that took.
async fn wait_for(client: &Client, asked: &SwitchingOver, patience: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        // A node that is busy with it may not answer at once.
        let lease = nodes(client).await.ok().map(|nodes| nodes.lease);
        if let Some(lease) = lease.filter(|lease| lease.held && lease.epoch > asked.epoch) {
            let owner = lease.owner.unwrap_or_default();
            if owner == asked.to {
                return Ok(begun.elapsed());
            }
            bail!(
                "`{owner}` leads now, not `{}`: see `holdfast cluster nodes`",
                asked.to
            );
        }
        if begun.elapsed() >= patience {
            bail!(
                "`{}` did not take over within {} s: see `holdfast cluster nodes`",
                asked.to,
                patience.as_secs()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

fn show_status(out: &Output, status: &Cluster) {
    let mut rows = vec![
        ("node", status.node.clone()),
        ("role", status.role.clone()),
        ("epoch", status.epoch.to_string()),
        (
            "lease owner",
            status.lease_owner.clone().unwrap_or_else(|| "nobody".to_owned()),
        ),
        ("configuration", short(&status.config_fingerprint).to_owned()),
        (
            "environment",
            format!("{} ({})", status.environment, status.posture),
        ),
        ("in flight", thousands(status.in_flight as u64)),
    ];
    if let Some(margin) = status.lease_margin_ms {
        rows.push(("may lead for", format!("{margin} ms without another renewal")));
    }
    if let Some(could) = status.could_lead {
        let reason = status.reason.clone().unwrap_or_default();
        rows.push((
            "could lead",
            match (could, reason.as_str()) {
                (true, "") => "yes".to_owned(),
                (true, but) => format!("yes, but {but}"),
                (false, why) => format!("no: {why}"),
            },
        ));
    }
    if let (Some(schema), Some(known)) = (status.schema, status.schema_known) {
        rows.push(("schema", format!("{} (this node knows {known})", schema.version)));
    }
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    out.table(&["", ""], rows.collect());
    show_history(out, &status.leaderships);
}

fn show_nodes(out: &Output, nodes: &Nodes) {
    if out.is_json() {
        return out.json(nodes);
    }
    let rows = nodes.nodes.iter().map(|node| {
        let seen = if node.alive {
            "yes".to_owned()
        } else {
            format!("no, for {} s", node.seen_ms_ago / 1000)
        };
        let ready = match (node.ready, node.reason.as_str()) {
            (true, "") => "yes".to_owned(),
            (true, but) => format!("yes, but {but}"),
            (false, "") => "no".to_owned(),
            (false, why) => format!("no: {why}"),
        };
        vec![
            node.id.clone(),
            if node.leads {
                "leads".to_owned()
            } else {
                node.role.clone()
            },
            seen,
            ready,
            format!(
                "{}{}",
                short(&node.config_fingerprint),
                if node.config_agrees { "" } else { " differs" }
            ),
            node.api.clone(),
            format!("{} ({})", node.host, node.pid),
            format!("{} (schema {})", node.version, node.schema),
        ]
    });
    out.table(
        &[
            "node",
            "role",
            "alive",
            "ready",
            "configuration",
            "API",
            "host",
            "release",
        ],
        rows.collect(),
    );
    let lease = &nodes.lease;
    if let Some(schema) = nodes.schema {
        out.line(&format!(
            "schema {}: nodes that know {} or more work with it",
            schema.version, schema.works_from
        ));
    }
    let owner = lease.owner.as_deref().unwrap_or("nobody");
    out.line(&if lease.held {
        format!(
            "epoch {}: held by `{owner}`, for {} ms without another renewal",
            lease.epoch, lease.expires_in_ms
        )
    } else {
        format!("epoch {}: nobody leads; the last one was `{owner}`", lease.epoch)
    });
    show_history(out, &nodes.leaderships);
}

fn show_history(out: &Output, leaderships: &[Leadership]) {
    if leaderships.is_empty() {
        return;
    }
    let rows = leaderships.iter().map(|of| {
        vec![
            of.epoch.to_string(),
            of.node.clone(),
            of.acquired_at.to_string(),
            of.gap_ms
                .map_or_else(String::new, |gap| format!("{} ms", thousands(gap))),
            of.ended_at
                .as_ref()
                .map_or_else(|| "leads".to_owned(), ToString::to_string),
            of.reason.clone().unwrap_or_default(),
        ]
    });
    out.table(
        &["epoch", "node", "from", "after a gap of", "until", "why it ended"],
        rows.collect(),
    );
}
