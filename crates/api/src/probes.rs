//! What machines ask: does it live, does it work, how much of what, who leads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::gauges;
use crate::routes::App;
use crate::wire::{Health, Ready};

pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let Some(node) = app.seat.occupant() else {
        return standby(&app);
    };
    if node.is_ready() {
        return (
            StatusCode::OK,
            Json(Ready {
                ready: true,
                reason: None,
                not_receiving: node.not_receiving(),
            }),
        );
    }
    // A node that stopped by itself knows why at once; otherwise nothing would ever come.
    let reason = tokio::time::timeout(Duration::ZERO, node.failed()).await;
    let reason = match (reason, node.store_interruption()) {
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

/// A standby is ready when it could take over at once.
fn standby(app: &App) -> (StatusCode, Json<Ready>) {
    let standing = app.seat.cluster.as_ref().map(|cluster| cluster.standing());
    let reason = match standing {
        Some(standing) => standing.trouble.or(standing.against),
        None => Some("this node is starting or stopping".to_owned()),
    };
    let status = if reason.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let ready = Ready {
        ready: reason.is_none(),
        reason,
        not_receiving: BTreeMap::new(),
    };
    (status, Json(ready))
}

/// Prometheus' text format: what was recorded, and gauges taken now.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = app.metrics.render();
    if let Some(node) = app.seat.occupant() {
        let sample = gauges::Sample {
            connections: node.connections(),
            in_flight: node.in_flight(),
            held_body_bytes: node.held_bytes(),
            resident_bytes: gauges::resident_bytes(),
            ready: node.is_ready(),
            stages: node.stage_times(),
            commits: engine::commit_sizes(),
            store: node.store_size(),
        };
        let _ = write!(text, "{sample}"); // writing to a String cannot fail
    }
    if let Some(cluster) = &app.seat.cluster {
        let _ = write!(
            text,
            "{}",
            gauges::Standing {
                cluster: cluster.standing(),
                conflicts: app.seat.foreseen()
            }
        );
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
