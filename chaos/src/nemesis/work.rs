//! What people do to a cluster on purpose: another leader, a restart of all, another configuration, a load balancer
//! restarted. It is expected to work, and tried again while the cluster is not ready for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Begun, Open};
use crate::shell;
use crate::world::names::node;
use crate::world::{World, lock, site};

/// How long work may take until the cluster was ready for it and it is done.
const PATIENCE: Duration = Duration::from_secs(40);

/// Work that was done when it had begun.
struct Done(String);

impl Open for Done {
    fn bite(&mut self) -> Result<String> {
        Ok(self.0.clone())
    }

    fn mend(&mut self) -> Result<String> {
        Ok(String::new())
    }
}

/// The load balancer, ended and started, or told to read its file again.
pub(super) fn balancer(world: &Arc<World>, restart: bool) -> Result<Begun> {
    let mut balancers = lock(&world.balancers);
    let balancer = balancers.first_mut().context("there is no load balancer")?;
    let name = balancer.host().name();
    if restart {
        let before = balancer.master();
        balancer.restart()?;
        let after = balancer.master();
        ensure!(
            before != after,
            "the load balancer is process {after:?} as before"
        );
        return Ok(Begun::new(
            name,
            Done(format!("process {after:?} instead of {before:?}")),
        ));
    }
    let (before, after) = balancer.reload()?;
    Ok(Begun::new(
        name,
        Done(format!("workers {after:?} instead of {before:?}")),
    ))
}

fn lease(world: &World) -> Result<Value> {
    let leader = world.leader().context("nobody leads")?;
    let answer = world.ask(leader, "/cluster/nodes", None)?;
    let nodes: Value = serde_json::from_str(&answer.body)?;
    Ok(nodes["lease"].clone())
}

/// Asks for another leader, whoever it is or a given one, and waits until it leads. Answers with the epochs before and
/// after.
fn hand_over(world: &World, to: Option<usize>) -> Result<(u64, u64)> {
    let before = lease(world)?["epoch"].as_u64().context("no epoch")?;
    let leader = world.leader().context("nobody leads")?;
    let body = to.map_or_else(|| json!({}), |to| json!({ "to": node(to) }));
    let answer = world.ask(leader, "/cluster/switchover", Some(&body.to_string()))?;
    ensure!(
        answer.status == 200,
        "a switchover was refused with {}: {}",
        answer.status,
        answer.body
    );
    shell::until("another leader", Duration::from_secs(10), || {
        let now = world.leader().context("nobody leads")?;
        ensure!(
            now != leader && to.is_none_or(|to| to == now),
            "{} leads",
            node(now)
        );
        let after = lease(world)?["epoch"].as_u64().context("no epoch")?;
        ensure!(after > before, "the epoch is {after} as before");
        Ok((before, after))
    })
}

/// A planned change of leader.
pub(super) fn switchover(world: &Arc<World>) -> Result<Begun> {
    let (before, after) = shell::until("a switchover", PATIENCE, || hand_over(world, None))?;
    Ok(Begun::new(
        "the cluster".to_owned(),
        Done(format!("epoch {after} instead of {before}")),
    ))
}

/// Asks a node to end, and waits until another process of it is ready.
fn renew(world: &World, index: usize) -> Result<(u32, u32)> {
    let one = &world.nodes[index];
    let old = one.pid().context("it does not run")?;
    shell::signal(old, Signal::TERM)?;
    one.wait_gone(old, Duration::from_secs(20))?;
    let new = shell::until("its new process", PATIENCE, || one.pid().context("none yet"))?;
    world.wait_whole(PATIENCE)?;
    Ok((old, new))
}

/// Ends each node and waits for it to come back, the leader last.
pub(super) fn rolling_restart(world: &Arc<World>) -> Result<Begun> {
    let begun = Instant::now();
    world.wait_whole(PATIENCE)?;
    let leader = world.wait_leader(PATIENCE)?;
    let mut changed = Vec::new();
    for index in (0..world.nodes.len())
        .filter(|index| *index != leader)
        .chain([leader])
    {
        let (old, new) = renew(world, index)?;
        changed.push(format!("{} {old} by {new}", node(index)));
    }
    let evidence = format!(
        "replaced {} in {} ms",
        changed.join(", "),
        begun.elapsed().as_millis()
    );
    Ok(Begun::new("the cluster".to_owned(), Done(evidence)))
}

/// Another configuration, by the book: a standby runs it, it is approved, the standby leads, the others follow.
pub(super) fn config_change(world: &Arc<World>) -> Result<Begun> {
    world.wait_whole(PATIENCE)?;
    let before = lease(world)?["fingerprint"].clone();
    let edition = {
        let mut edition = lock(&world.edition);
        *edition += 1;
        *edition
    };
    let folder = world.names.folder().join(format!("site-{edition}"));
    let backoff = format!("0.{:02}", 20 + edition % 60);
    site::write(&folder, &site::feed(world.options.lanes, &backoff))?;
    let leader = world.wait_leader(PATIENCE)?;
    let first = (0..world.nodes.len())
        .find(|index| *index != leader)
        .context("one node alone")?;
    for one in &world.nodes {
        one.configured_by(folder.clone());
    }
    let old = world.nodes[first].pid().context("it does not run")?;
    shell::signal(old, Signal::TERM)?;
    world.nodes[first].wait_gone(old, Duration::from_secs(20))?;
    let wish = json!({ "node": node(first) }).to_string();
    shell::until("the approval", PATIENCE, || {
        let leader = world.leader().context("nobody leads")?;
        let nodes: Value = serde_json::from_str(&world.ask(leader, "/cluster/nodes", None)?.body)?;
        let listed = nodes["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["id"] == node(first).as_str());
        ensure!(
            listed.is_some_and(|one| one["config_agrees"] == false),
            "it does not differ yet"
        );
        let answer = world.ask(leader, "/cluster/approve", Some(&wish))?;
        ensure!(
            answer.status == 200,
            "refused with {}: {}",
            answer.status,
            answer.body
        );
        Ok(())
    })?;
    shell::until("the node with the new configuration to lead", PATIENCE, || {
        if world.leader() == Some(first) {
            return Ok(());
        }
        hand_over(world, Some(first)).map(drop)
    })?;
    for index in (0..world.nodes.len()).filter(|index| *index != first) {
        let old = world.nodes[index].pid();
        if let Some(old) = old {
            shell::signal(old, Signal::TERM)?;
            world.nodes[index].wait_gone(old, Duration::from_secs(20))?;
        }
    }
    world.wait_whole(PATIENCE)?;
    let after = lease(world)?["fingerprint"].clone();
    if before == after {
        bail!("the fingerprint is {after} as before");
    }
    Ok(Begun::new(
        "the cluster".to_owned(),
        Done(format!("fingerprint {after} instead of {before}")),
    ))
}
