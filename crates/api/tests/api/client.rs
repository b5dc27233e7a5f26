//! What the client says when there is no node, or not one.

use std::error::Error as _;

use api::client::{Client, Error};
use api::wire::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

async fn health(client: &Client) -> Error {
    client.get_json::<Health>("/health").await.unwrap_err()
}

#[tokio::test]
async fn a_node_that_does_not_run_is_named_with_what_to_do() {
    let unheard = TcpSocket::new_v4().unwrap();
    unheard.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = unheard.local_addr().unwrap();
    let error = health(&Client::new(&format!("http://{address}")).unwrap()).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()) && error.source().is_some());
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("holdfast serve") && hint.contains("--api"),
        "{hint}"
    );
}

#[tokio::test]
async fn something_else_than_a_node_is_recognised() {
    for (said, unreadable) in [
        ("", false),
        ("220 mail.example ready\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n<html>", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", true),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 1024];
            let _ = stream.read(&mut heard).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
        });
        let error = health(&client).await;
        assert_eq!(
            matches!(error, Error::Unreadable { .. }),
            unreadable,
            "{said}: {error:?}"
        );
        assert_eq!(
            matches!(error, Error::Broken { .. }),
            !unreadable,
            "{said}: {error:?}"
        );
        assert!(error.hint().is_some());
        other.await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_status_even_when_it_is_no_json() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = [0; 1024];
        let _ = stream.read(&mut heard).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno")
            .await
            .unwrap();
    });
    let error = health(&client).await;
    assert_eq!(error.status(), Some(502));
    other.await.unwrap();
}
