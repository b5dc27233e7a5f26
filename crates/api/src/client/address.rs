//! Where the API is: `http://host:port`, nothing else.

use std::str::FromStr;

use hyper::Uri;

/// The address of a node's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Host name or number, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the Host header wants it.
    pub(super) authority: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = full.parse().map_err(|_| format!("`{text}` is not an address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "`{text}` does not start with http://: the API has no TLS in this release"
            ));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(format!("`{text}` holds a path: give the host and port only"));
        }
        let authority = uri.authority().ok_or_else(|| format!("`{text}` names no host"))?;
        if authority.as_str().contains('@') {
            return Err("an address of the API holds no user or password".to_owned());
        }
        let port = authority
            .port_u16()
            .ok_or_else(|| format!("`{text}` names no port"))?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(format!("`{text}` names no host"));
        }
        Ok(Address {
            host,
            port,
            authority: authority.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("http://127.0.0.1:8765", "127.0.0.1", 8765),
            ("http://127.0.0.1:8765/", "127.0.0.1", 8765),
            ("localhost:1", "localhost", 1),
            ("http://[::1]:8765", "::1", 8765),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_is_wrong_with_it() {
        for (text, part) in [
            ("https://127.0.0.1:1", "TLS"),
            ("http://127.0.0.1", "no port"),
            ("http://127.0.0.1:1/api", "path"),
            ("http://ana:hunter2@127.0.0.1:1", "no user"),
            ("http://:1", ""),
            ("", ""),
            ("a b", "not an address"),
            ("http://127.0.0.1:99999", ""),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
