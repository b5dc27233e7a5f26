//! What an embedder may choose, and where the database is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use sqlx_core::Url;
use tiberius::{AuthMethod, Config, EncryptionLevel};

use super::Target;
use super::token::{Shelf, Token, Tokens};
use crate::Error;
use crate::server::Settings;
pub use crate::server::target::Durability;
use crate::server::target::Place;
use crate::server::url::{self, SQL_SERVER};

/// Bytes of a packet. More than this is not allowed inside TLS.
const PACKET_BYTES: u32 = 16_000;

/// Where the database is and when the store begins a new segment.
#[derive(Clone)]
pub struct Options {
    /// `sqlserver://user@host:port/database`; the host may be the listener of an availability group. With
    /// `?encrypt=strict|on|off`, `cacert=<file>`, `certificatehost=<name>`, `trustservercertificate=true`,
    /// `multisubnetfailover=false`, `applicationintent=readwrite` where needed. Several servers, of which the one that
    /// can be written to is used: `host1:port1,host2:port2`. Never with a password.
    pub url: String,
    /// The password of a SQL log-in.
    pub password: Option<String>,
    /// A program, with its arguments, that prints an access token (Microsoft Entra ID). It is run ahead of a token's end,
    /// once for all connections of clones of these options. Empty = a SQL log-in.
    pub token_command: Vec<String>,
    /// This node's id; it stands in the sessions' program name.
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
    /// What clones share.
    shelf: Shelf,
}

/// How to connect to one server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(super) host: String,
    pub(super) port: u16,
    config: Config,
    user: String,
    password: Option<String>,
    /// Where tokens come from, when these are used to log in.
    pub(super) tokens: Option<Tokens>,
    /// All addresses of the name are tried at once.
    pub(super) all_at_once: bool,
}

impl Way {
    /// The driver's options for `host`, which may be another one that the server named.
    pub(super) fn config(&self, host: &str, port: u16, program: &str, token: Option<&Token>) -> Config {
        let mut config = self.config.clone();
        config.host(host);
        config.port(port);
        config.application_name(program);
        config.authentication(match token {
            Some(token) => AuthMethod::aad_token(token.reveal()),
            None => AuthMethod::sql_server(&self.user, self.password.as_deref().unwrap_or_default()),
        });
        config
    }
}

impl Options {
    /// Segments of 256 MiB, two million rows or one day, whichever comes first; four readers.
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            password: None,
            token_command: Vec::new(),
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
            shelf: Shelf::default(),
        }
    }

    /// What means the same on every server.
    pub(super) fn settings(&self, place: String) -> Settings {
        Settings {
            node: self.node.clone(),
            place,
            segment_bytes_max: self.segment_bytes_max,
            segment_rows_max: self.segment_rows_max,
            segment_age_max: self.segment_age_max,
            readers_max: self.readers_max,
            commit_patience: self.commit_patience,
            compress: self.compress,
            clock: Arc::clone(&self.clock),
        }
    }

    /// Where to connect and how; refuses a URL that cannot be used, without repeating it.
    pub(super) fn target(&self) -> Result<Target, Error> {
        let mut places = Vec::new();
        let mut unverified = false;
        let parts = url::part(&SQL_SERVER, &self.url)?;
        for (url, _) in &parts {
            self.way(url, None)?; // before a program runs
        }
        let tokens = match &self.token_command[..] {
            [] => None,
            command => Some(self.shelf.tokens(command)?),
        };
        for (url, name) in parts {
            let (options, verified) = self.way(&url, tokens.clone())?;
            unverified |= !verified;
            places.push(Place { options, name });
        }
        Ok(Target::new(places, unverified, self.durability))
    }

    /// How to connect to one server, and whether nobody between can pass for it.
    fn way(&self, url: &Url, tokens: Option<Tokens>) -> Result<(Way, bool), Error> {
        let refuse = |why: &str| Err(SQL_SERVER.refuse(why));
        let host = url
            .host_str()
            .unwrap_or("localhost")
            .trim_matches(['[', ']'])
            .to_owned();
        let database = url.path().trim_matches('/');
        if database.is_empty() || database.contains('/') {
            return refuse("it names no database");
        }
        let Ok(decoded) = percent_decoded(database) else {
            return refuse("the database's name is not UTF-8");
        };
        let Ok(user) = percent_decoded(url.username()) else {
            return refuse("the user's name is not UTF-8");
        };
        if user.is_empty() && self.token_command.is_empty() {
            return refuse("it names no user");
        }
        let mut chosen = Chosen::default();
        for (key, value) in url.query_pairs() {
            chosen.set(&key.to_lowercase(), &value)?;
        }
        let local = url::is_loopback(&host);
        let mut config = Config::new();
        config.database(decoded);
        config.packet_size(PACKET_BYTES);
        config.command_timeout(None); // each call has its own, which costs the connection
        config.handshake_timeout(None);
        if let Some(name) = &chosen.certificate_host {
            config.hostname_in_certificate(name);
        }
        let level = match chosen.encrypt {
            Some(level) => level,
            None if local => EncryptionLevel::NotSupported,
            None => EncryptionLevel::Required,
        };
        config.encryption(level);
        let plain = level == EncryptionLevel::NotSupported;
        if chosen.trust || (plain && local) {
            config.trust_cert();
        } else if let Some(file) = &chosen.authority {
            config.trust_cert_ca(file.display());
        }
        if plain && !local && !self.plaintext {
            return Err(Error::Refused(
                "store.url asks for a connection without TLS (encrypt=off) to another machine: messages could be read and \
                 changed on the way. Leave encrypt out, and give the server's authority with cacert=; or, where something \
                 else protects the way, set store.plaintext = true"
                    .to_owned(),
            ));
        }
        let way = Way {
            port: url.port().unwrap_or(SQL_SERVER.port),
            host,
            config,
            user,
            password: self.password.clone(),
            tokens,
            all_at_once: chosen.all_at_once,
        };
        Ok((way, local || (!plain && !chosen.trust)))
    }
}

/// What a URL's parameters choose.
struct Chosen {
    encrypt: Option<EncryptionLevel>,
    authority: Option<PathBuf>,
    certificate_host: Option<String>,
    trust: bool,
    all_at_once: bool,
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen {
            encrypt: None,
            authority: None,
            certificate_host: None,
            trust: false,
            all_at_once: true,
        }
    }
}

impl Chosen {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let refuse = |why: String| Err(SQL_SERVER.refuse(&why));
        let yes = match value.to_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => None,
        };
        match (key, yes) {
            ("encrypt", _) => {
                self.encrypt = Some(match (value.to_lowercase().as_str(), yes) {
                    ("strict", _) => EncryptionLevel::Strict,
                    ("on" | "mandatory", _) | (_, Some(true)) => EncryptionLevel::Required,
                    ("off", _) | (_, Some(false)) => EncryptionLevel::NotSupported,
                    _ => return refuse(format!("encrypt={value} is not known: strict, on or off")),
                });
            }
            ("cacert", _) => {
                let text = std::fs::read_to_string(value).map_err(|error| {
                    SQL_SERVER.refuse(&format!("the file of cacert, {value}, cannot be read ({error})"))
                })?;
                if !text.contains("CERTIFICATE-----") {
                    return refuse(format!(
                        "the file of cacert, {value}, holds no PEM block `CERTIFICATE-----`"
                    ));
                }
                // The driver tells the format by the name.
                if ![".pem", ".crt"].iter().any(|end| value.ends_with(end)) {
                    return refuse(format!(
                        "the file of cacert, {value}, is to be called .pem or .crt"
                    ));
                }
                self.authority = Some(PathBuf::from(value));
            }
            ("certificatehost", _) => self.certificate_host = Some(value.to_owned()),
            ("trustservercertificate", Some(yes)) => self.trust = yes,
            ("multisubnetfailover", Some(yes)) => self.all_at_once = yes,
            ("applicationintent", _) if value.eq_ignore_ascii_case("readwrite") => {}
            ("applicationintent", _) => {
                return refuse(
                    "the store writes: leave applicationintent out, or write readwrite".to_owned(),
                );
            }
            ("trustservercertificate" | "multisubnetfailover", None) => {
                return refuse(format!("{key}={value} is neither true nor false"));
            }
            _ => return refuse(format!("its parameter `{key}` is not known")),
        }
        if self.trust && self.authority.is_some() {
            return refuse("cacert and trustservercertificate=true contradict one another".to_owned());
        }
        Ok(())
    }
}

fn percent_decoded(text: &str) -> Result<String, std::string::FromUtf8Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let coded = (first == b'%').then(|| behind.get(..2)).flatten();
        let coded = coded.and_then(|two| std::str::from_utf8(two).ok());
        match coded.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes)
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

    fn refused(url: &str) -> String {
        match Options::new(url).target() {
            Err(Error::Refused(text)) => text,
            _ => panic!("{url} was taken"),
        }
    }

    #[test]
    fn the_certificate_is_checked_unless_the_database_is_on_this_machine() {
        let unverified = |url: &str| Options::new(url).target().unwrap().unverified;
        assert!(!unverified("sqlserver://app@db.example.org/holdfast"));
        assert!(!unverified(
            "sqlserver://app@db.example.org/holdfast?encrypt=strict"
        ));
        assert!(!unverified("sqlserver://app@127.0.0.1:1434/holdfast"));
        assert!(unverified(
            "sqlserver://app@db.example.org/holdfast?trustservercertificate=true"
        ));
        assert!(refused("sqlserver://app@127.0.0.1,db/holdfast?encrypt=off").contains("store.plaintext"));
        let mut options = Options::new("sqlserver://app@db/holdfast?encrypt=off");
        options.plaintext = true;
        assert!(options.target().unwrap().unverified);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_what_to_do() {
        let cases = [
            ("holdfast", "sqlserver://user@host"),
            ("sqlserver://app:hunter2@db/x", "HOLDFAST_STORE__PASSWORD"),
            ("sqlserver://app@db", "names no database"),
            ("sqlserver://db/x", "names no user"),
            (
                "sqlserver://app@db/x?applicationintent=readonly",
                "the store writes",
            ),
            ("sqlserver://app@db/x?encrypt=perhaps", "strict, on or off"),
            ("sqlserver://app@db/x?cacert=/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("sqlserver://app@db/x?sslmode=require", "`sslmode` is not known"),
        ];
        for (url, said) in cases {
            let text = refused(url);
            assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
        }
        let mut options = Options::new("sqlserver://app@db/x");
        options.password = Some("hunter2".to_owned());
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn clones_share_the_command_that_prints_tokens_and_others_do_not() {
        let mut options = Options::new("sqlserver://db.example.org/x");
        options.token_command = vec!["true".to_owned()];
        let tokens = |options: &Options| options.target().unwrap().first().tokens.clone().unwrap();
        let (store, lease) = (tokens(&options), tokens(&options.clone()));
        assert!(store.is(&lease));
        let mut changed = options.clone();
        changed.token_command.push("--other".to_owned());
        assert!(!tokens(&changed).is(&store));
        assert!(!format!("{changed:?}").contains("--other"));
    }

    #[test]
    fn names_with_coded_characters_are_decoded() {
        assert_eq!(
            percent_decoded("DOMAIN%5Capp%zz").as_deref(),
            Ok("DOMAIN\\app%zz")
        );
    }
}
