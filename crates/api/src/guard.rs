//! Who may ask: requests that name this machine's loopback as their host (a page elsewhere whose name was
//! rebound to 127.0.0.1 does not), and for commands those that carry JSON and say who acts (a form on
//! another site can do neither without asking first).

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Error;

/// The header that names the person or program behind a command.
pub(crate) const ACTOR: &str = "x-holdfast-actor";
const ACTOR_CHARS_MAX: usize = 64;

pub(crate) async fn loopback_host(request: Request, next: Next) -> Response {
    match host(request.headers(), request.uri()) {
        Some(host) if is_loopback(host) => next.run(request).await,
        _ => Error::new(
            StatusCode::FORBIDDEN,
            "the request's Host header does not name this machine's loopback",
        )
        .hint("ask for http://127.0.0.1:<port> or http://localhost:<port>")
        .into_response(),
    }
}

/// The host that the request names, with its port; `None` when it names none or more than one.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = named.next()?.to_str().ok()?;
    let same = uri
        .authority()
        .is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
    (named.next().is_none() && same).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !bare.is_empty() && port.parse::<u16>().is_ok() => bare,
        _ => host,
    };
    if let Some(inner) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Who acts, from the header that every command carries.
pub(crate) fn actor(headers: &HeaderMap) -> Result<String, Error> {
    let refuse = |text: &str| {
        Error::bad_request(text).hint(format!(
            "send the header `{ACTOR}: <name>`; the name is kept in the event trail"
        ))
    };
    let value = headers
        .get(ACTOR)
        .ok_or_else(|| refuse("a command must say who gives it"))?;
    let name = std::str::from_utf8(value.as_bytes()).unwrap_or_default().trim();
    let length = name.chars().count();
    if length == 0 || length > ACTOR_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(refuse(
            "the name of who acts must be 1 to 64 printable characters",
        ));
    }
    Ok(name.to_owned())
}

/// Whether the request says that it carries JSON.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Error> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let error = Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a command is sent as JSON");
    Err(error.hint("send the header `content-type: application/json`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_loopback_by_name_or_by_number_and_nothing_else_is() {
        for (host, expected) in [
            ("localhost", true),
            ("LocalHost:8765", true),
            ("127.0.0.1", true),
            ("127.0.0.1:8765", true),
            ("127.255.0.1:1", true),
            ("[::1]", true),
            ("[::1]:8765", true),
            ("", false),
            ("evil.example", false),
            ("evil.example:8765", false),
            ("localhost.evil.example:8765", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:8765:1", false),
            ("127.0.0.1@evil.example", false),
            ("0.0.0.0:8765", false),
            ("[::]:8765", false),
            ("[::1]x", false),
            ("192.168.1.4:8765", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_the_host_header() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:1".parse().unwrap());
        assert!(host(&headers, &Uri::from_static("http://127.0.0.1:1/health")).is_some());
        assert!(host(&headers, &Uri::from_static("/health")).is_some());
        assert!(host(&headers, &Uri::from_static("http://evil.example/health")).is_none());
        headers.append(header::HOST, "127.0.0.1:1".parse().unwrap());
        assert!(host(&headers, &Uri::from_static("/health")).is_none());
    }

    #[test]
    fn an_actor_is_a_short_printable_name() {
        let named = |name: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(ACTOR, axum::http::HeaderValue::from_bytes(name).unwrap());
            actor(&headers).ok()
        };
        assert_eq!(named(b" ana "), Some("ana".to_owned()));
        assert_eq!(named("José".as_bytes()), Some("José".to_owned()));
        assert_eq!(named(b""), None);
        assert_eq!(named(b"\xff\xfe"), None);
        assert_eq!(named("x".repeat(65).as_bytes()), None);
        assert!(
            actor(&HeaderMap::new())
                .unwrap_err()
                .hint
                .unwrap()
                .contains(ACTOR)
        );
    }
}
