//! What an embedder may choose, and where the database is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use model::{Clock, SystemClock};
use sqlx_core::Url;
use sqlx_core::connection::ConnectOptions;
use sqlx_postgres::{PgConnectOptions, PgSslMode};

use super::Target;
use crate::Error;
pub use crate::server::target::Durability;
use crate::server::target::Place;
use crate::server::url::{self, POSTGRES};

/// Statements that a connection keeps prepared: some thirty texts for each segment that it reads.
const STATEMENTS_KEPT: usize = 200;

/// Where the database is and when the store begins a new segment.
#[derive(Clone)]
pub struct Options {
    /// `postgres://user@host:port/database`, with `?sslmode=`, `sslrootcert=`, `sslcert=`, `sslkey=` where
    /// needed. Several servers, of which the primary is used: `host1:port1,host2:port2`. Never with a password.
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
    /// Whether a URL may ask for a connection to another machine without TLS.
    pub plaintext: bool,
    /// What a committed message must survive.
    pub durability: Durability,
    /// A commit that takes longer than this counts as lost: the connection is dropped and the outcome
    /// looked up. So long does a network that swallows everything go unnoticed.
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
            compress: true,
            plaintext: false,
            durability: Durability::Standard,
            commit_patience: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }

    /// Where to connect and how; refuses a URL that cannot be used, without repeating it.
    pub(super) fn target(&self) -> Result<Target, Error> {
        let mut places = Vec::new();
        let mut unverified = false;
        for (url, name) in url::part(&POSTGRES, &self.url)? {
            let (options, verified) = self.driver_options(&url)?;
            unverified |= !verified;
            let name = match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => name,
            };
            places.push(Place { options, name });
        }
        Ok(Target::new(places, unverified, self.durability))
    }

    /// The driver's options for one server, and whether nobody between can pass for it.
    fn driver_options(&self, url: &Url) -> Result<(PgConnectOptions, bool), Error> {
        url::check_files(&POSTGRES, url)?;
        let options = PgConnectOptions::from_url(url).map_err(|error| POSTGRES.refuse(&error.to_string()))?;
        // An address in brackets is one to the URL only.
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        let local = options.get_socket().is_some() || url::is_loopback(&host);
        let mut options = match options.get_socket() {
            Some(_) => options,
            None => options.host(&host),
        }
        .statement_cache_capacity(STATEMENTS_KEPT)
        .log_statements(LevelFilter::Off)
        .log_slow_statements(LevelFilter::Off, Duration::ZERO);
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if local {
            return Ok((options, true));
        }
        // Only the URL may choose: PGSSLMODE was set for other programs.
        let chosen = url
            .query_pairs()
            .any(|(key, _)| key == "sslmode" || key == "ssl-mode");
        if !chosen {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        match options.get_ssl_mode() {
            PgSslMode::VerifyFull => Ok((options, true)),
            PgSslMode::VerifyCa | PgSslMode::Require => Ok((options, false)),
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer if self.plaintext => {
                Ok((options, false))
            }
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => Err(Error::Refused(
                "store.url allows a connection without TLS (sslmode=disable, allow or prefer) to another machine: messages \
                 could be read and changed on the way. Leave sslmode out, and give the server's authority with \
                 sslrootcert=; or, where something else protects the way, set store.plaintext = true"
                    .to_owned(),
            )),
        }
    }
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
        Options::new(url).target().unwrap().first().get_ssl_mode()
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
        let socket = target.first().get_socket().map(|path| path.display().to_string());
        assert_eq!(socket.as_deref(), Some("/run/postgresql"));
        assert_eq!(target.name(), "/run/postgresql");
        assert!(!target.unverified);
    }

    #[test]
    fn plain_text_to_another_machine_needs_a_setting_of_its_own() {
        for weak in ["disable", "allow", "prefer"] {
            // The second of two servers counts as much as the first.
            let url = format!("postgres://app@127.0.0.1,db.example.org/holdfast?sslmode={weak}");
            let Err(Error::Refused(text)) = Options::new(&url).target() else {
                panic!("{url} was taken");
            };
            assert!(text.contains("store.plaintext"), "{text}");
            let mut options = Options::new(&url);
            options.plaintext = true;
            assert!(options.target().unwrap().unverified);
        }
        let local = Options::new("postgres://app@127.0.0.1/holdfast?sslmode=disable");
        assert!(!local.target().unwrap().unverified);
    }

    #[test]
    fn an_address_in_brackets_is_connected_to_without_them() {
        let target = Options::new("postgres://app@[2001:db8::1]/holdfast")
            .target()
            .unwrap();
        assert_eq!(target.first().get_host(), "2001:db8::1");
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for url in [
            "postgres://app:hunter2@db/holdfast",
            "postgres://app:hunter2@one,two/holdfast",
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

    #[test]
    fn files_for_tls_that_are_missing_empty_or_open_to_all_are_named() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let empty = file("empty", "", 0o600);
        let certificate = file("certificate", "-----BEGIN CERTIFICATE-----", 0o644);
        let key = file("key", "-----BEGIN PRIVATE KEY-----", 0o644);
        let cases = [
            ("sslrootcert=/nowhere/ca.pem".to_owned(), "/nowhere/ca.pem"),
            (format!("sslrootcert={empty}"), "no PEM block"),
            (format!("sslcert={certificate}"), "together"),
            (format!("sslcert={certificate}&sslkey={key}"), "chmod 600"),
        ];
        for (parameters, said) in cases {
            let url = format!("postgres://app@db.example.org/holdfast?{parameters}");
            let Err(Error::Refused(text)) = Options::new(url).target() else {
                panic!("{parameters} was taken");
            };
            assert!(text.contains(said), "{text}");
        }
    }
}
