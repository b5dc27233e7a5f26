//! Who leads: status, nodes, switchover.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cluster::{Cluster, Role, board};
use model::{Epoch, Timestamp};

use crate::commands::Command;
use crate::error::Error;
use crate::query::Pairs;
use crate::routes::App;
use crate::wire::{self, Approve, Approved, Ready, SwitchOver, SwitchingOver};

/// Leaderships shown.
const HISTORY: usize = 10;

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For load balancers: 200 exactly while this process leads and takes messages. Answered from memory.
pub(crate) async fn ready_leader(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let leads = app.seat.leads();
    let status = if leads {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = Ready {
        ready: leads,
        reason: (!leads).then(|| "this node does not lead".to_owned()),
        not_receiving: Default::default(),
    };
    (status, Json(ready))
}

pub(crate) async fn status(State(app): State<Arc<App>>, query: Pairs) -> Result<Json<wire::Cluster>, Error> {
    query.only(&[])?;
    let about = &app.seat.about;
    let mut answer = match app.seat.occupant() {
        Some(node) => node.cluster_status().await?.into(),
        None => wire::Cluster::of_standby(about),
    };
    if let Some(cluster) = &app.seat.cluster {
        let standing = cluster.standing();
        answer.clustered = true;
        answer.role = role(&standing.role).to_owned();
        answer.epoch = Epoch(standing.epoch.max(answer.epoch.0));
        answer.lease_margin_ms = standing.margin.map(ms);
        answer.lease_renew_ms = Some(ms(standing.latency));
        answer.could_lead = Some(standing.against.is_none() && !matches!(standing.role, Role::Fenced(_)));
        answer.reason = standing.trouble.or(standing.against).or(standing.remark);
        let schema = schema(&app).await;
        answer.schema = schema.map(Into::into);
        answer.schema_known = schema.map(|schema| schema.known);
        if app.seat.occupant().is_none() {
            answer.lease_owner = Some(standing.owner).filter(|owner| !owner.is_empty());
        }
        let history = asked(cluster, |cluster| cluster.history(HISTORY)).await;
        // The database may be away just now; what is known from memory is the more wanted then.
        answer.leaderships = history
            .map(|all| all.into_iter().map(leadership).collect())
            .unwrap_or_default();
    }
    Ok(Json(answer))
}

/// `None` when the store is not open, or does not answer: what else is known is the more wanted then.
async fn schema(app: &App) -> Option<engine::Schema> {
    app.seat.observer()?.schema().await.ok()
}

/// `primary`, `standby`, `stepping down`, `fenced` or `left`.
pub(crate) fn role(role: &Role) -> &'static str {
    match role {
        Role::Standby => "standby",
        Role::Leader(_) => "primary",
        Role::SteppingDown(_) => "stepping down",
        Role::Fenced(_) => "fenced",
        Role::Left => "left",
    }
}

fn leadership(of: board::Leadership) -> wire::Leadership {
    wire::Leadership {
        epoch: of.epoch,
        node: of.node,
        acquired_at: Timestamp(of.acquired_at).into(),
        gap_ms: of.gap.map(ms),
        ended_at: of.ended_at.map(|at| Timestamp(at).into()),
        reason: of.reason,
    }
}

async fn asked<T: Send + 'static>(
    cluster: &Arc<Cluster>,
    ask: impl FnOnce(&Cluster) -> Result<T, board::Error> + Send + 'static,
) -> Result<T, Error> {
    let cluster = Arc::clone(cluster);
    let asked = tokio::task::spawn_blocking(move || ask(&cluster)).await;
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(board::Error::Refused(text))) => Err(Error::new(StatusCode::CONFLICT, text)),
        Ok(Err(error)) => Err(Error::store(&error)),
        Err(error) => Err(Error::store(&error)),
    }
}

pub(crate) async fn nodes(State(app): State<Arc<App>>, query: Pairs) -> Result<Json<wire::Nodes>, Error> {
    query.only(&[])?;
    let cluster = app.seat.cluster()?;
    let ttl = cluster.parameters().ttl;
    let (lease, members) = asked(&cluster, Cluster::nodes).await?;
    let leaderships = asked(&cluster, |cluster| cluster.history(HISTORY)).await?;
    let held = !lease.released && !lease.expired;
    let nodes = members.into_iter().map(|view| {
        let member = view.member;
        wire::Node {
            leads: held && member.id == lease.node,
            config_agrees: lease
                .fingerprint
                .as_ref()
                .is_none_or(|led| *led == member.fingerprint),
            id: member.id,
            role: member.role,
            alive: view.seen_ago < ttl,
            seen_ms_ago: ms(view.seen_ago),
            ready: member.ready && view.seen_ago < ttl,
            reason: member.detail,
            promotable: member.promotable,
            takeover_delay_ms: ms(member.delay),
            config_fingerprint: member.fingerprint,
            host: member.host,
            pid: member.pid,
            api: member.api,
            version: member.version,
            schema: view.schema,
            up_seconds: view.up.as_secs(),
        }
    });
    let schema = schema(&app).await.map(Into::into);
    Ok(Json(wire::Nodes {
        schema,
        nodes: nodes.collect(),
        leaderships: leaderships.into_iter().map(leadership).collect(),
        lease: wire::Lease {
            owner: Some(lease.node).filter(|owner| !owner.is_empty()),
            epoch: lease.mark.epoch,
            held,
            expires_in_ms: ms(lease.left),
            handoff_to: lease.handoff_to,
            fingerprint: lease.fingerprint,
            approved: lease.approved,
        },
    }))
}

/// Any node takes it: the wish stands in the lease row, where the leader finds it.
pub(crate) async fn switch_over(
    State(app): State<Arc<App>>,
    Command { actor, says }: Command<SwitchOver>,
) -> Result<Json<SwitchingOver>, Error> {
    let cluster = app.seat.cluster()?;
    let (lease, _) = asked(&cluster, Cluster::nodes).await?;
    let by = actor.clone();
    let to = asked(&cluster, move |cluster| {
        cluster.switch_over(&by, says.to.as_deref())
    })
    .await?;
    tracing::info!(actor, from = lease.node, to, "a switchover was asked for");
    Ok(Json(SwitchingOver {
        from: lease.node,
        to,
        epoch: lease.mark.epoch,
    }))
}

pub(crate) async fn approve(
    State(app): State<Arc<App>>,
    Command { actor, says }: Command<Approve>,
) -> Result<Json<Approved>, Error> {
    let cluster = app.seat.cluster()?;
    let (_, members) = asked(&cluster, Cluster::nodes).await?;
    let Some(view) = members.into_iter().find(|view| view.member.id == says.node) else {
        return Err(Error::not_found(format!("there is no node `{}`", says.node)));
    };
    let fingerprint = view.member.fingerprint;
    let approved = fingerprint.clone();
    asked(&cluster, move |cluster| cluster.approve(&approved)).await?;
    tracing::info!(
        actor,
        node = says.node,
        fingerprint,
        "a configuration was approved to lead next"
    );
    Ok(Json(Approved {
        config_fingerprint: fingerprint,
    }))
}
