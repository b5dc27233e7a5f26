//! A lane for everything that a configuration declares, and the connectors behind them.

use std::collections::HashMap;
use std::sync::Arc;

use connectors::{Sink, Source, Status};
use model::NameId;
use model::graph::{Ordering, Outbound};
use parking_lot::Mutex;
use store::NameKind;
use tokio_util::sync::CancellationToken;

use crate::core::{Control, Core, HandlerLane, InboundLane, OutboundLane};
use crate::counters::Counters;
use crate::lane::Lane;
use crate::lane::schedule::Schedule;
use crate::names::Names;
use crate::node::StartError;
use crate::project::Project;
use crate::stage::keys;
use crate::stage::outbound::Fetch;
use crate::stage::pace::Pace;

pub(crate) fn inbound_lanes(
    project: &Project,
    names: &Names,
    rows: usize,
) -> HashMap<NameId, Arc<InboundLane>> {
    let lanes = project.graph.inbounds.values().filter_map(|inbound| {
        let id = names.id(NameKind::Inbound, &inbound.name)?;
        let lane = InboundLane {
            id,
            name: inbound.name.as_str().into(),
            router: inbound.router.as_str().into(),
            keys: keys::declared(inbound),
            lane: Lane::new(rows),
            pace: Pace::default(),
            counters: Counters::new(&inbound.name),
            status: Arc::new(Status::default()),
            control: Control::default(),
            address: Mutex::default(),
            source_stop: Mutex::new(CancellationToken::new()),
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

pub(crate) fn handler_lanes(
    project: &Project,
    names: &Names,
    rows: usize,
) -> HashMap<NameId, Arc<HandlerLane>> {
    let lanes = project.graph.handlers.keys().filter_map(|name| {
        let id = names.id(NameKind::Handler, name)?;
        let lane = HandlerLane {
            id,
            name: name.as_str().into(),
            lane: Lane::new(rows),
            turn: tokio::sync::Mutex::default(),
            pace: Pace::default(),
            counters: Counters::new(name),
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

/// An empty schedule as an outbound declares it.
pub(crate) fn schedule_of(outbound: &Outbound) -> Schedule {
    Schedule::new(
        outbound.ordering.clone(),
        outbound.concurrency,
        outbound.unrecorded,
    )
}

pub(crate) fn outbound_lanes(
    project: &Project,
    names: &Names,
    rows: usize,
) -> HashMap<NameId, Arc<OutboundLane>> {
    let lanes = project.graph.outbounds.values().filter_map(|outbound| {
        let id = names.id(NameKind::Outbound, &outbound.name)?;
        let partition = match &outbound.ordering {
            Ordering::Partitioned { path } => path.parse().ok(),
            _ => None,
        };
        let lane = OutboundLane {
            id,
            name: outbound.name.as_str().into(),
            lane: Lane::new(rows),
            fetch: Fetch::default(),
            schedule: Mutex::new(schedule_of(outbound)),
            counters: Counters::new(&outbound.name),
            took: metrics::histogram!("holdfast_delivery_seconds", "name" => outbound.name.clone()),
            control: Control::default(),
            partition,
        };
        Some((id, Arc::new(lane)))
    });
    lanes.collect()
}

pub(crate) fn make_sinks(core: &Core) -> Result<HashMap<NameId, Box<dyn Sink>>, StartError> {
    let mut sinks = HashMap::new();
    let mut problems = Vec::new();
    for (id, lane) in &core.outbounds {
        let Some(declared) = core.graph.outbounds.get(&*lane.name) else {
            continue;
        };
        let Some(connector) = connectors::registry::find(&declared.connector.connector) else {
            continue;
        };
        match connector.sink(&declared.connector) {
            Ok(sink) => drop(sinks.insert(*id, sink)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(sinks)
    } else {
        Err(StartError::Config(problems))
    }
}

pub(crate) fn make_sources(core: &Core) -> Result<HashMap<NameId, Box<dyn Source>>, StartError> {
    let mut sources = HashMap::new();
    let mut problems = Vec::new();
    for (id, lane) in &core.inbounds {
        let Some(declared) = core.graph.inbounds.get(&*lane.name) else {
            continue;
        };
        let Some(connector) = connectors::registry::find(&declared.connector.connector) else {
            continue;
        };
        match connector.source(&declared.connector) {
            Ok(source) => drop(sources.insert(*id, source)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(sources)
    } else {
        Err(StartError::Config(problems))
    }
}
