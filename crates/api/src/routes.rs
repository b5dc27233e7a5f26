//! The table of routes and what stands before all of them: host check, a bound on requests at once, a bound
//! on how long one takes, headers of every answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Mutex, Semaphore};

use crate::error::{Error, did_you_mean};
use crate::seat::Seat;
use crate::{cluster, commands, guard, orders, probes, reads};

/// Requests carried out at once; probes and metrics are answered beyond it.
const REQUESTS_MAX: usize = 32;
/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's body: commands are small.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What handlers share.
pub(crate) struct App {
    pub(crate) seat: Arc<Seat>,
    pub(crate) metrics: PrometheusHandle,
    /// One replay or skip at a time: two of one message would both find it at rest and open it twice.
    pub(crate) replays: Arc<Mutex<()>>,
    /// One hold or release at a time, so that what is stored last is also what runs.
    pub(crate) holds: Arc<Mutex<()>>,
    /// One run of retention at a time.
    pub(crate) retentions: Arc<Mutex<()>>,
    requests: Semaphore,
}

const PATHS: &[&str] = &[
    "/health",
    "/ready",
    "/metrics",
    "/ready/leader",
    "/cluster/status",
    "/cluster/nodes",
    "/cluster/switchover",
    "/cluster/approve",
    "/api/v1/connections",
    "/api/v1/connections/{name}/hold",
    "/api/v1/connections/{name}/release",
    "/api/v1/messages",
    "/api/v1/messages/search",
    "/api/v1/messages/{id}",
    "/api/v1/messages/{id}/body",
    "/api/v1/messages/{id}/replay",
    "/api/v1/messages/{id}/sends/{send}/body",
    "/api/v1/messages/{id}/sends/{send}/skip",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters/replay",
    "/api/v1/retention",
    "/api/v1/census",
    "/api/v1/stages",
];

pub(crate) fn router(seat: Arc<Seat>, metrics: PrometheusHandle) -> Router {
    let app = Arc::new(App {
        seat,
        metrics,
        replays: Arc::default(),
        holds: Arc::default(),
        retentions: Arc::default(),
        requests: Semaphore::new(REQUESTS_MAX),
    });
    // What the leader alone can do.
    let leaders = Router::new()
        .route("/api/v1/connections/{name}/hold", post(commands::hold))
        .route("/api/v1/connections/{name}/release", post(commands::release))
        .route("/api/v1/messages/{id}/replay", post(commands::replay_message))
        .route("/api/v1/messages/{id}/sends/{send}/skip", post(commands::skip))
        .route("/api/v1/dead-letters/replay", post(commands::replay_dead_letters))
        .route("/api/v1/retention", post(commands::retention))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            orders::to_the_leader,
        ));
    let bounded = Router::new()
        .route("/cluster/status", get(cluster::status))
        .route("/cluster/nodes", get(cluster::nodes))
        .route("/cluster/switchover", post(cluster::switch_over))
        .route("/cluster/approve", post(cluster::approve))
        .route("/api/v1/connections", get(reads::connections))
        .route("/api/v1/messages", get(reads::messages))
        .route("/api/v1/messages/search", post(reads::search))
        .route("/api/v1/messages/{id}", get(reads::message))
        .route("/api/v1/messages/{id}/body", get(reads::message_body))
        .route("/api/v1/messages/{id}/sends/{send}/body", get(reads::send_body))
        .route("/api/v1/dead-letters", get(reads::dead_letters))
        .route("/api/v1/census", get(reads::census))
        .route("/api/v1/stages", get(reads::stages))
        .merge(leaders)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), bound));
    Router::new()
        .route("/health", get(probes::health))
        .route("/ready", get(probes::ready))
        .route("/ready/leader", get(cluster::ready_leader))
        .route("/metrics", get(probes::metrics))
        .merge(bounded)
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard::loopback_host))
        .layer(middleware::from_fn(headers))
        .with_state(app)
}

async fn no_such_path(request: Request) -> Error {
    let path = request.uri().path();
    let hint = did_you_mean(path, PATHS.iter().copied());
    Error::not_found(format!("there is nothing at {path}")).maybe_hint(hint)
}

async fn wrong_method(request: Request) -> Error {
    let text = format!("{} is not done on {}", request.method(), request.uri().path());
    Error::new(StatusCode::METHOD_NOT_ALLOWED, text).hint("reads are GET, commands are POST")
}

async fn bound(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Ok(_permit) = app.requests.try_acquire() else {
        let text = format!("{REQUESTS_MAX} requests are being answered already");
        return Error::unavailable(text)
            .hint("ask again in a moment")
            .into_response();
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
            let hint = "a command that has begun goes on: look at the message's trail before you repeat it";
            Error::unavailable(text).hint(hint).into_response()
        }
    }
}

pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
