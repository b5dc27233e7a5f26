//! One HTTP request to an address of the namespace it is run in, as `chaos ask`: the orchestrator itself stands
//! outside of all namespaces.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The server's clock, as its `date` header says it.
    pub date: String,
    /// As text.
    pub body: String,
}

/// Asks `address` for `path`; with a body it is a POST of JSON. At most `limit` for each step.
///
/// # Errors
/// No connection, no answer in time, or no HTTP.
pub fn ask(address: SocketAddr, path: &str, body: Option<&str>, limit: Duration) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-holdfast-actor: chaos\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP head")?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let date = head.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(name, _)| name.eq_ignore_ascii_case("date"))
    });
    Ok(Answer {
        status: status.context("no status code")?,
        date: date.map(|(_, value)| value.to_owned()).unwrap_or_default(),
        body: body.to_owned(),
    })
}
