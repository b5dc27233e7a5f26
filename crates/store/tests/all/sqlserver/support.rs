//! A server for these tests, where there is one: SQL Server itself, or a stand-in that speaks its protocol.
//!
//! `HOLDFAST_TEST_SQLSERVER` says where, as `store.url` does, with a user who may make databases;
//! `HOLDFAST_TEST_SQLSERVER_PASSWORD` is that user's password. Each test makes databases of its own, `holdfast_test_...`, and
//! drops them. Without the variable these tests say that they were left out.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt;
use store::conformance::Fixture;
use store::sqlserver::{self, Options};
use store::{Error, Store};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use crate::support::block_on;

pub(super) const WHERE: &str = "HOLDFAST_TEST_SQLSERVER";
pub(super) const PASSWORD: &str = "HOLDFAST_TEST_SQLSERVER_PASSWORD";

/// Where the server is.
pub(super) struct Server {
    /// `sqlserver://user@host:port`.
    base: String,
    /// `?` and what follows it in the URL, or nothing.
    query: String,
    pub(super) password: String,
    /// It is no SQL Server: it ignores lock hints, and knows fewer options.
    pub(super) stand_in: bool,
}

/// The server, or `None` where none was named: said aloud.
pub(super) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let Some(url) = std::env::var(WHERE).ok().filter(|url| !url.is_empty()) else {
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: the tests that need a SQL Server ({WHERE}=sqlserver://sa@host:1433/master names one)"
                );
                return None;
            };
            let (before, query) = url.split_once('?').unwrap_or((&url, ""));
            let base = before.rsplit_once('/').expect("the URL names a database").0.to_owned();
            assert!(base.starts_with("sqlserver://") && base.contains('@'), "{WHERE} is no such URL");
            let mut server = Server {
                base,
                query: if query.is_empty() { String::new() } else { format!("?{query}") },
                password: std::env::var(PASSWORD).unwrap_or_default(),
                stand_in: false,
            };
            server.stand_in = server.sql("master", "SELECT @@VERSION")[0].contains("Babelfish");
            Some(server)
        })
        .as_ref()
}

impl Server {
    fn parts(&self) -> (&str, &str, u16) {
        let rest = self.base.trim_start_matches("sqlserver://");
        let (user, place) = rest.split_once('@').expect("it was looked at");
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "1433"));
        (user, host, port.parse().expect("a port is a number"))
    }

    /// Runs a batch; the first column of all its rows, as text.
    pub(super) fn sql(&self, database: &str, batch: &str) -> Vec<String> {
        let (user, _, _) = self.parts();
        self.sql_as(user, &self.password, database, batch)
            .unwrap_or_else(|fault| panic!("{batch}: {fault}"))
    }

    /// The same as another user; what the server said against it.
    pub(super) fn sql_as(
        &self,
        user: &str,
        password: &str,
        database: &str,
        batch: &str,
    ) -> Result<Vec<String>, String> {
        let (_, host, port) = self.parts();
        let mut config = Config::new();
        config.host(host);
        config.port(port);
        config.database(database);
        config.authentication(AuthMethod::sql_server(user, password));
        let local = host == "localhost" || host.starts_with("127.");
        let level = if local {
            EncryptionLevel::NotSupported
        } else {
            EncryptionLevel::Required
        };
        config.encryption(level);
        config.trust_cert();
        let asking = async {
            let stream = tokio::net::TcpStream::connect((host, port))
                .await
                .map_err(|fault| fault.to_string())?;
            let client = Client::connect(config, stream.compat_write()).await;
            let mut client = client.map_err(|fault| fault.to_string())?;
            let answer = client
                .simple_query(batch)
                .await
                .map_err(|fault| fault.to_string())?;
            let rows = answer.into_results().await.map_err(|fault| fault.to_string())?;
            let text = |row: &tiberius::Row| {
                let as_text = row.try_get::<&str, _>(0).ok().flatten().map(str::to_owned);
                as_text
                    .or_else(|| {
                        row.try_get::<i32, _>(0)
                            .ok()
                            .flatten()
                            .map(|value| value.to_string())
                    })
                    .or_else(|| {
                        row.try_get::<i64, _>(0)
                            .ok()
                            .flatten()
                            .map(|value| value.to_string())
                    })
                    .unwrap_or_default()
            };
            Ok(rows.iter().flatten().map(text).collect())
        };
        // Beside the runtime of a test that may be running here.
        std::thread::scope(|scope| scope.spawn(|| block_on(asking)).join().unwrap())
    }

    /// A fresh database. On SQL Server every other one has row versioning off.
    pub(super) fn database(&self) -> Database<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast_test_{}_{count}", std::process::id());
        one_at_a_time(|| self.sql("master", &format!("CREATE DATABASE {name}")));
        if !self.stand_in {
            let versions = if count.is_multiple_of(2) { "ON" } else { "OFF" };
            self.sql(
                "master",
                &format!("ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT {versions}"),
            );
        }
        Database { server: self, name }
    }
}

/// Making and dropping databases side by side gets in its own way.
fn one_at_a_time<T>(work: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// One database, gone when dropped.
pub(super) struct Database<'s> {
    pub(super) server: &'s Server,
    pub(super) name: String,
}

impl Database<'_> {
    pub(super) fn url(&self) -> String {
        format!("{}/{}{}", self.server.base, self.name, self.server.query)
    }

    pub(super) fn options(&self, rows: Option<u64>) -> Options {
        let mut options = Options::new(self.url());
        options.password = Some(self.server.password.clone());
        options.segment_rows_max = rows.unwrap_or(options.segment_rows_max);
        options
    }

    pub(super) fn sql(&self, batch: &str) -> Vec<String> {
        self.server.sql(&self.name, batch)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let alone = format!(
            "ALTER DATABASE {} SET SINGLE_USER WITH ROLLBACK IMMEDIATE; ",
            self.name
        );
        let alone = if self.server.stand_in {
            String::new()
        } else {
            alone
        };
        let drop = format!("{alone}DROP DATABASE {}", self.name);
        let (user, _, _) = self.server.parts();
        // Connections that were just closed may still be ending there.
        let dropped = (0..40).any(|_| {
            let done = one_at_a_time(|| self.server.sql_as(user, &self.server.password, "master", &drop));
            if done.is_err() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done.is_ok()
        });
        if !dropped {
            let _ = writeln!(std::io::stderr(), "{} was left behind", self.name);
        }
    }
}

pub(super) async fn open(options: Options) -> Result<sqlserver::SqlServerStore, Error> {
    tokio::task::spawn_blocking(move || sqlserver::open(options))
        .await
        .unwrap()
}

/// How to open a store with these options.
pub(super) fn fixture(options: Options) -> Fixture {
    Fixture::new(move || {
        let options = options.clone();
        async move { Ok(Arc::new(open(options).await?) as Arc<dyn Store>) }.boxed()
    })
}
