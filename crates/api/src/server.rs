//! The accept loop: how many connections, for how long, and how they end. Every limit of the service that is
//! not about one request's content stands here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::orders;
use crate::routes;
use crate::seat::Seat;

/// Connections open at once; more wait in the system's backlog.
pub(crate) const CONNECTIONS_MAX: usize = 128;
/// A client has this long to send a request's head, and to be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Requests in progress have this long to end when the service stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the recorder's samples are folded, so that they do not pile up between two scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Serves `seat` on `listener` until `stop`; then lets requests in progress end, for 2 seconds at most.
///
/// Fails at once with `InvalidInput` on a listener that is not bound to a loopback address.
pub async fn serve(
    listener: TcpListener,
    seat: Arc<Seat>,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> io::Result<()> {
    refuse_public(listener.local_addr()?)?;
    let router = routes::router(Arc::clone(&seat), metrics.clone());
    let orders = tokio::spawn(orders::carry_out(seat, router.clone(), stop.clone()));
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = upkeep.tick() => metrics.run_upkeep(),
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &seats) => match accepted {
                Ok((stream, seat)) => {
                    let connection = connection(stream, router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(seat);
                    });
                }
                Err(error) => not_accepted(&error).await,
            },
        }
    }
    drop(listener);
    let ended = async {
        while connections.join_next().await.is_some() {}
        let _ = orders.await; // it ends when all that it began has
    };
    if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
        tracing::info!(
            requests = connections.len(),
            "the API cut requests that did not end in time"
        );
    }
    Ok(())
}

pub(crate) fn refuse_public(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let text = format!(
        "the API does not listen on {address}: it has no sign-in yet; bind it to 127.0.0.1 and reach it through a tunnel"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Out of file handles, or a partner that gave up: neither ends the service.
pub(crate) async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "the API could not accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

pub(crate) async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, seat))
}

pub(crate) async fn connection(stream: TcpStream, router: axum::Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true); // an answer that leaves a little later is still an answer
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_address_is_served() {
        for (address, served) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(
                refuse_public(address.parse().unwrap()).is_ok(),
                served,
                "{address}"
            );
        }
    }
}
