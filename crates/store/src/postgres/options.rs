//! What an embedder may choose, and where the database is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use model::{Clock, SystemClock};
use sqlx_core::Url;
use sqlx_core::connection::ConnectOptions;
use sqlx_postgres::{PgConnectOptions, PgSslMode};

use crate::Error;

/// Statements that a connection keeps prepared: some thirty texts for each segment that it reads.
const STATEMENTS_KEPT: usize = 200;

/// Where the database is and when the store begins a new segment.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user@host:port/database`, with `?sslmode=`, `sslrootcert=`, `sslcert=`, `sslkey=` where
    /// needed. Never with a password.
    pub url: String,
    /// The password; without it `PGPASSWORD`, then `~/.pgpass`.
    pub password: Option<String>,
    /// This node's id; it stands in the sessions' `application_name`.
    pub node: String,
    /// A segment is sealed once about this many bytes were written to it.
    pub segment_bytes_max: u64,
    /// A segment is sealed once this many rows (of all kinds) were written to it.
    pub segment_rows_max: u64,
    /// A segment is sealed by the first write after it has been open for this long.
    pub segment_age_max: Duration,
    /// Connections that reads may use at a time.
    pub readers_max: usize,
    /// A commit that takes longer than this counts as lost: the connection is dropped and the outcome
    /// looked up.
    pub commit_patience: Duration,
    /// Whether bodies are compressed before they are written. What was written is read either way.
    pub compress: bool,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Segments of 256 MiB, two million rows or one day, whichever comes first; four readers.
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            password: None,
            node: "node".to_owned(),
            segment_bytes_max: 256 << 20,
            segment_rows_max: 2_000_000,
            segment_age_max: Duration::from_secs(24 * 60 * 60),
            readers_max: 4,
            commit_patience: Duration::from_secs(30),
            compress: true,
            clock: Arc::new(SystemClock),
        }
    }

    /// The driver's options; refuses a URL that cannot be used, without repeating it.
    pub(super) fn target(&self) -> Result<Target, Error> {
        let refuse = |why: &str| {
            Error::Refused(format!(
                "store.url cannot be used: {why}; write postgres://user@host:port/database"
            ))
        };
        let url = Url::parse(&self.url).map_err(|error| refuse(&error.to_string()))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(refuse("it does not begin with postgres://"));
        }
        let secret = url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password");
        if secret {
            return Err(refuse(
                "it holds a password, and this is no place for one: give it as HOLDFAST_STORE__PASSWORD or PGPASSWORD",
            ));
        }
        let options = PgConnectOptions::from_str(&self.url).map_err(|error| refuse(&error.to_string()))?;
        let chosen = url
            .query_pairs()
            .any(|(key, _)| key == "sslmode" || key == "ssl-mode")
            || std::env::var_os("PGSSLMODE").is_some();
        let local = options.get_socket().is_some() || is_loopback(options.get_host());
        let mut options = options
            .statement_cache_capacity(STATEMENTS_KEPT)
            .log_statements(LevelFilter::Off)
            .log_slow_statements(LevelFilter::Off, Duration::ZERO);
        if !chosen && !local {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Ok(Target {
            options,
            place,
            unverified: !verified && !local,
        })
    }
}

/// Where and how to connect.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) options: PgConnectOptions,
    /// Host and port, for a person.
    pub(super) place: String,
    /// Whoever sits between could pass for the database.
    pub(super) unverified: bool,
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.starts_with('/')
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("node", &self.node)
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("segment_rows_max", &self.segment_rows_max)
            .field("segment_age_max", &self.segment_age_max)
            .field("readers_max", &self.readers_max)
            .field("commit_patience", &self.commit_patience)
            .field("compress", &self.compress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        Options::new(url).target().unwrap().options.get_ssl_mode()
    }

    #[test]
    fn the_certificate_is_checked_unless_the_database_is_on_this_machine() {
        assert!(matches!(
            mode("postgres://app@db.example.org/holdfast"),
            PgSslMode::VerifyFull
        ));
        for local in ["127.0.0.1", "localhost", "[::1]"] {
            let mode = mode(&format!("postgres://app@{local}:5433/holdfast"));
            assert!(matches!(mode, PgSslMode::Prefer), "{local}: {mode:?}");
        }
        assert!(matches!(
            mode("postgres://app@db.example.org/holdfast?sslmode=require"),
            PgSslMode::Require
        ));
    }

    #[test]
    fn a_folder_as_host_is_the_servers_socket_on_this_machine() {
        let target = Options::new("postgres://app@localhost/holdfast?host=/run/postgresql")
            .target()
            .unwrap();
        let socket = target.options.get_socket().map(|path| path.display().to_string());
        assert_eq!(socket.as_deref(), Some("/run/postgresql"));
        assert_eq!(target.place, "/run/postgresql");
        assert!(!target.unverified);
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for url in [
            "postgres://app:hunter2@db/holdfast",
            "postgres://app@db/holdfast?password=hunter2",
        ] {
            let Err(Error::Refused(text)) = Options::new(url).target() else {
                panic!("{url} was taken");
            };
            assert!(text.contains("PGPASSWORD") && !text.contains("hunter2"), "{text}");
        }
        let mut options = Options::new("postgres://app@db/holdfast");
        options.password = Some("hunter2".to_owned());
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for url in ["", "holdfast", "mysql://a@b/c", "postgres://a@b:port/c"] {
            let Err(Error::Refused(text)) = Options::new(url).target() else {
                panic!("{url} was taken");
            };
            assert!(text.contains("postgres://user@host"), "{text}");
        }
    }
}
