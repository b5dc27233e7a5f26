//! The client that the command line uses: one connection per call, bounded in time and size.

mod address;
mod error;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::guard::ACTOR;
use crate::wire::Fault;
use address::Address;
pub use error::Error;

/// A whole call may take this long; longer than the server's own bound, so that its answer is heard.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: the largest message body and some.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A node's API, seen from outside.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
}

/// A text that is safe inside a path or query: everything that is not a letter, digit or one of `-._~` as `%XX`.
/// For each name in a path and each value in a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A path with the query of those pairs whose value is given.
pub fn with_query(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(key, value)| Some((key, value.as_ref()?)));
    let query: Vec<String> = given
        .map(|(key, value)| format!("{key}={}", escape(value)))
        .collect();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

impl Client {
    /// For a node at `http://host:port`.
    pub fn new(url: &str) -> Result<Client, Error> {
        Ok(Client {
            address: url.parse().map_err(Error::Address)?,
        })
    }

    /// Where it asks, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address.authority)
    }

    /// Reads JSON from `path` (with its query).
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.call(Method::GET, path, None, Bytes::new()).await?;
        self.read(&answer)
    }

    /// Reads bytes: a message body.
    pub async fn get_bytes(&self, path: &str) -> Result<Bytes, Error> {
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    /// Gives a command in the name of `actor`.
    pub async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        actor: &str,
        body: &B,
    ) -> Result<T, Error> {
        self.post(path, Some(actor), body).await
    }

    /// Asks what does not belong in an address.
    pub async fn ask_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Error> {
        self.post(path, None, body).await
    }

    async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        actor: Option<&str>,
        body: &B,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|source| Error::Unreadable {
            at: self.url(),
            source,
        })?;
        let answer = self.call(Method::POST, path, actor, body.into()).await?;
        self.read(&answer)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Bytes) -> Result<T, Error> {
        serde_json::from_slice(answer).map_err(|source| Error::Unreadable {
            at: self.url(),
            source,
        })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        actor: Option<&str>,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address.authority);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(actor) = actor {
            request = request.header(ACTOR, actor.as_bytes());
        }
        let request = request
            .body(Full::new(body))
            .map_err(|source| self.broken(source))?;
        let exchange = tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await;
        exchange.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                at: self.url(),
                after: CALL_TIMEOUT,
            })
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, Error> {
        let stream = self.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|source| self.broken(source))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|source| self.broken(source))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            Ok((status, body.map_err(|source| self.broken(source))?.to_bytes()))
        };
        let mut answer = std::pin::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        // The connection moves the bytes; it may end before the answer was taken from it.
        let (status, body) = tokio::select! {
            answer = answer.as_mut() => answer,
            _ = connection.as_mut() => answer.await,
        }?;
        if status.is_success() {
            return Ok(body);
        }
        let fault = serde_json::from_slice(&body).unwrap_or_else(|_| Fault {
            error: format!("{} answered with status {status}", self.url()),
            hint: None,
        });
        Err(Error::Refused {
            status: status.as_u16(),
            fault,
        })
    }

    async fn connect(&self) -> Result<TcpStream, Error> {
        let connecting = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(timed_out);
        connected
            .and_then(|result| result)
            .map_err(|source| Error::Unreachable {
                at: self.url(),
                source,
            })
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Broken {
            at: self.url(),
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place_in_a_query() {
        let path = with_query(
            "/x",
            &[
                ("a", Some("1&b=2/ü".to_owned())),
                ("b", None),
                ("c", Some("~.-_".to_owned())),
            ],
        );
        assert_eq!(path, "/x?a=1%26b%3D2%2F%C3%BC&c=~.-_");
        assert_eq!(with_query("/x", &[("a", None)]), "/x");
    }
}
