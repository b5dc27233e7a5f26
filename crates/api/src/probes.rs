//! What machines ask: does it live, does it work, how much of what, who leads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::gauges;
use crate::query::Pairs;
use crate::routes::App;
use crate::wire::{Cluster, Health, Ready};

pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    if app.node.is_ready() {
        return (
            StatusCode::OK,
            Json(Ready {
                ready: true,
                reason: None,
                not_receiving: app.node.not_receiving(),
            }),
        );
    }
    // A node that stopped by itself knows why at once; otherwise nothing would ever come.
    let reason = tokio::time::timeout(Duration::ZERO, app.node.failed()).await;
    let reason = match (reason, app.node.store_interruption()) {
        (Ok(failed), _) => failed,
        (Err(_), Some(interruption)) => format!("nothing can be stored: {interruption}"),
        (Err(_), None) => "this node is starting or stopping".to_owned(),
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(Ready {
            ready: false,
            reason: Some(reason),
            not_receiving: BTreeMap::new(),
        }),
    )
}

pub(crate) async fn cluster(State(app): State<Arc<App>>, query: Pairs) -> Result<Json<Cluster>, Error> {
    query.only(&[])?;
    Ok(Json(app.node.cluster_status().await?.into()))
}

/// Prometheus' text format: what was recorded, and gauges taken now.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = app.metrics.render();
    let sample = gauges::Sample {
        connections: app.node.connections(),
        in_flight: app.node.in_flight(),
        held_body_bytes: app.node.held_bytes(),
        resident_bytes: gauges::resident_bytes(),
        ready: app.node.is_ready(),
        stages: app.node.stage_times(),
        commits: engine::commit_sizes(),
        store: app.node.store_size(),
    };
    let _ = write!(text, "{sample}"); // writing to a String cannot fail
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
