//! Keeps lanes and listeners running: what fails starts again by itself, and harms no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::{Source, SourceContext};
use futures::FutureExt;
use model::graph::AckMode;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::core::{Core, InboundLane};
use crate::stage;
use crate::stage::intake::Door;

/// Runs a lane's task and starts it again, from the store, when it panics. One lane's crash harms no other.
pub(crate) fn supervise(
    core: Arc<Core>,
    name: Arc<str>,
    what: &'static str,
    run: impl Fn(bool) -> futures::future::BoxFuture<'static, ()> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut again = false;
        loop {
            // It ends with whoever waits for it: a lane that is given up must not go on by itself.
            let task = AbortOnDropHandle::new(tokio::spawn(run(again)));
            match task.await {
                Ok(()) => break,
                Err(error) => {
                    metrics::counter!("holdfast_lane_restarts_total", "name" => name.to_string())
                        .increment(1);
                    tracing::error!(name = %name, %error, "the {what} failed and starts again from the store");
                }
            }
            again = true;
            if core.pause(Duration::from_secs(1)).await.is_err() {
                break;
            }
        }
    })
}

pub(crate) async fn bind(lane: &InboundLane, source: &mut dyn Source) -> bool {
    match source.bind().await {
        Ok(()) => {
            *lane.address.lock() = source.local_address();
            *lane.control.stopped.lock() = None;
            tracing::info!(connection = %lane.name, address = source.local_address(), "receiving");
            true
        }
        Err(error) => {
            let error = stage::anyhow_chain(&error);
            tracing::error!(connection = %lane.name, error, "this inbound does not receive; it will be tried again");
            *lane.control.stopped.lock() = Some(error);
            false
        }
    }
}

/// Runs a source for the life of the node: starts it again with a growing pause when it fails, stops and
/// starts it when an operator holds and releases it.
pub(crate) async fn run_source(
    core: Arc<Core>,
    lane: Arc<InboundLane>,
    mut source: Box<dyn Source>,
    mut bound: bool,
) {
    let acknowledge = core
        .graph
        .inbounds
        .get(&*lane.name)
        .is_none_or(|inbound| inbound.ack == AckMode::OnCommit);
    let mut pause = Duration::from_secs(1);
    if !bound && !lane.control.is_held() {
        // It was tried just now.
        tokio::select! {
            () = core.closing.cancelled() => return,
            () = lane.control.changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while !core.closing.is_cancelled() {
        if lane.control.is_held() {
            tokio::select! {
                () = core.closing.cancelled() => break,
                () = lane.control.changed.notified() => continue,
            }
        }
        if bound || bind(&lane, source.as_mut()).await {
            let stop = core.closing.child_token();
            *lane.source_stop.lock() = stop.clone();
            let context = SourceContext {
                name: Arc::clone(&lane.name),
                intake: Arc::new(Door {
                    core: Arc::clone(&core),
                    lane: Arc::clone(&lane),
                }),
                acknowledge,
                stop,
                status: Arc::clone(&lane.status),
            };
            let started = Instant::now();
            let ended = std::panic::AssertUnwindSafe(source.run(context))
                .catch_unwind()
                .await;
            *lane.address.lock() = None;
            let fault = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(stage::anyhow_chain(&error)),
                Err(_) => Some("the connector panicked".to_owned()),
            };
            if started.elapsed() > Duration::from_secs(60) {
                pause = Duration::from_secs(1);
            }
            if let Some(fault) = fault {
                tracing::error!(connection = %lane.name, fault, "this inbound failed and starts again");
                *lane.control.stopped.lock() = Some(fault);
            }
        }
        bound = false;
        if lane.control.is_held() {
            continue;
        }
        tokio::select! {
            () = core.closing.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
