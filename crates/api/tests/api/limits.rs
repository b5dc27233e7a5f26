//! Where the service listens, how many it serves, and how it stops.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_off_loopback_is_not_served() {
    let site = Site::start().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let metrics = api::telemetry::install();
    let error = api::serve(
        listener,
        super::site::seat(&site.node),
        metrics,
        CancellationToken::new(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_keep_nobody_out() {
    let site = Site::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    assert_eq!(site.get("/health").await.status, 200);
    drop(silent);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_no_client() {
    let site = Site::start().await;
    let idle = TcpStream::connect(site.address).await.unwrap();
    let mut half = TcpStream::connect(site.address).await.unwrap();
    half.write_all(b"POST /api/v1/dead-letters/replay HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n")
        .await
        .unwrap();
    assert_eq!(site.get("/health").await.status, 200);
    let started = Instant::now();
    site.stop.cancel();
    site.serving.await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert!(
        TcpStream::connect(site.address).await.is_err(),
        "nothing listens there any more"
    );
    drop((idle, half));
    site.node.stop().await;
}
