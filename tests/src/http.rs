//! A GET over HTTP/1.1, small enough to need no client library.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer: its status code and body.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// As text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("status {}, not JSON: {}", self.status, self.body))
    }
}

/// Asks `127.0.0.1:port` for `path`; at most 10 seconds.
pub async fn get(port: u16, path: &str) -> Result<Answer> {
    request(port, "GET", path, None).await
}

/// Posts a command as JSON to `127.0.0.1:port`, given by `e2e`; at most 10 seconds.
pub async fn post(port: u16, path: &str, body: &serde_json::Value) -> Result<Answer> {
    request(port, "POST", path, Some(body.to_string())).await
}

async fn request(port: u16, method: &str, path: &str, body: Option<String>) -> Result<Answer> {
    let exchange = exchange(port, method, path, body.unwrap_or_default());
    tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .with_context(|| format!("{method} {path}: no answer in 10 s"))?
}

async fn exchange(port: u16, method: &str, path: &str, body: String) -> Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-type: application/json\r\nx-holdfast-actor: e2e\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("{} bytes, no HTTP head", answer.len())
    };
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no status code")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        ensure!(
            after.is_char_boundary(size) && after.len() >= size,
            "a chunk shorter than it says"
        );
        body.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_in_chunks() {
        let whole = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_eq!((whole.status, whole.body.as_str()), (200, "{}"));
        let chunks =
            parse(b"HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n")
                .unwrap();
        assert_eq!((chunks.status, chunks.body.as_str()), (503, "{} "));
        assert!(parse(b"garbage").is_err());
    }
}
