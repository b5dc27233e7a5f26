//! What is answered before there is a node to ask: while a process waits for its database, or goes through what is open.
//! It lives, it does not work yet, and why. No question waits for an answer that does not come.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, http::Uri};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::wire::Ready;
use crate::{guard, probes, routes, server};

/// Answers on `listener` until dropped, which ends its connections: `/health` with 200, everything else with 503 and the
/// words in `why`, which may change. Nothing is read from a store.
///
/// # Errors
/// `InvalidInput` at once on a listener that is not bound to a loopback address.
pub async fn wait(listener: &TcpListener, why: watch::Receiver<String>) -> io::Result<Infallible> {
    server::refuse_public(listener.local_addr()?)?;
    let router = Router::new()
        .route("/health", get(probes::health))
        .route("/ready", get(not_ready))
        .route("/ready/leader", get(not_ready))
        .fallback(not_yet)
        .layer(middleware::from_fn(guard::loopback_host))
        .layer(middleware::from_fn(routes::headers))
        .with_state(why);
    let seats = Arc::new(Semaphore::new(server::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = server::accept(listener, &seats) => match accepted {
                Ok((stream, seat)) => {
                    let connection = server::connection(stream, router.clone(), CancellationToken::new());
                    connections.spawn(async move {
                        connection.await;
                        drop(seat);
                    });
                }
                Err(error) => server::not_accepted(&error).await,
            },
        }
    }
}

async fn not_ready(State(why): State<watch::Receiver<String>>) -> Response {
    let ready = Ready {
        ready: false,
        reason: Some(why.borrow().clone()),
        not_receiving: BTreeMap::new(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(ready)).into_response()
}

async fn not_yet(State(why): State<watch::Receiver<String>>, asked: Uri) -> Error {
    let text = format!("{} cannot be answered yet: {}", asked.path(), *why.borrow());
    Error::unavailable(text).hint("ask again later, or ask another node of the cluster")
}
