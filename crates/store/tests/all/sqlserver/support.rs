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
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::session::Session;
pub(super) use crate::led::{holds_exactly, retire, under_load, until};
use crate::support::block_on;

pub(super) const WHERE: &str = "HOLDFAST_TEST_SQLSERVER";
pub(super) const PASSWORD: &str = "HOLDFAST_TEST_SQLSERVER_PASSWORD";

pub(super) type Connection = Client<Compat<TcpStream>>;

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
    pub(super) fn user(&self) -> &str {
        self.parts().0
    }

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
        let asking = async {
            let mut client = self.connect(user, password, database, "holdfast-test").await?;
            ask(&mut client, batch).await
        };
        aside(|| block_on(asking))
    }

    /// A connection of the tests' own, by this program's name.
    pub(super) async fn connect(
        &self,
        user: &str,
        password: &str,
        database: &str,
        program: &str,
    ) -> Result<Connection, String> {
        let (_, host, port) = self.parts();
        let mut config = Config::new();
        config.host(host);
        config.port(port);
        config.database(database);
        config.application_name(program);
        config.authentication(AuthMethod::sql_server(user, password));
        let level = if self.is_local() {
            EncryptionLevel::NotSupported
        } else {
            EncryptionLevel::Required
        };
        config.encryption(level);
        config.trust_cert();
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|fault| fault.to_string())?;
        let client = Client::connect(config, stream.compat_write()).await;
        client.map_err(|fault| fault.to_string())
    }

    /// A session that stays open.
    pub(super) fn session(&self, database: &str, program: &str) -> Session<'_> {
        Session::open(self, database, program)
    }

    fn is_local(&self) -> bool {
        let (_, host, _) = self.parts();
        host == "localhost" || host.starts_with("127.")
    }

    /// The port of a server on this machine, which a test can put itself before; `None`, said aloud, of another one.
    pub(super) fn local_port(&self, test: &str) -> Option<u16> {
        if self.is_local() {
            return Some(self.parts().2);
        }
        skipped(
            test,
            "the server is on another machine, so its network cannot be spoiled",
        );
        None
    }

    /// Whether this test can be run on this server; where not, that and why is said aloud.
    pub(super) fn can(&self, test: &str, why_not: &str) -> bool {
        if self.stand_in {
            skipped(test, why_not);
        }
        !self.stand_in
    }

    /// A fresh database for each way of reading that the server has: with versions of rows and under locks. A stand-in has
    /// one.
    pub(super) fn databases(&self) -> Vec<Database<'_>> {
        if self.stand_in {
            return vec![self.database()];
        }
        ["ON", "OFF"].map(|versions| self.database_with(versions)).into()
    }

    /// A fresh database. On SQL Server every other one has row versioning off.
    pub(super) fn database(&self) -> Database<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.database_with(if count.is_multiple_of(2) { "ON" } else { "OFF" })
    }

    fn database_with(&self, versions: &str) -> Database<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast_test_{}_{count}", std::process::id());
        one_at_a_time(|| self.sql("master", &format!("CREATE DATABASE {name}")));
        if !self.stand_in {
            let set = format!("ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT {versions}");
            self.sql("master", &set);
        }
        Database { server: self, name }
    }
}

/// Says aloud that a test was left out, so that nobody takes it for run.
pub(super) fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: sqlserver::{test}: {why}");
}

/// Runs what blocks beside the runtime of a test that may be running here.
pub(super) fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Runs a batch; the first column of all its rows, as text, bytes by their digits.
pub(super) async fn ask(client: &mut Connection, batch: &str) -> Result<Vec<String>, String> {
    let said = |fault: tiberius::error::Error| fault.to_string();
    let answer = client.simple_query(batch).await.map_err(said)?;
    let rows = answer.into_results().await.map_err(said)?;
    let text = |row: &tiberius::Row| {
        let text = row.try_get::<&str, _>(0).ok().flatten().map(str::to_owned);
        let short = || row.try_get::<i32, _>(0).ok().flatten();
        let long = || row.try_get::<i64, _>(0).ok().flatten();
        let bytes = || row.try_get::<&[u8], _>(0).ok().flatten();
        text.or_else(|| short().map(|value| value.to_string()))
            .or_else(|| long().map(|value| value.to_string()))
            .or_else(|| bytes().map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect()))
            .unwrap_or_default()
    };
    Ok(rows.iter().flatten().map(text).collect())
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

    /// A session in it that stays open.
    pub(super) fn session(&self) -> Session<'_> {
        self.server.session(&self.name, "holdfast-test")
    }

    /// The same, to look who waits for whom. A stand-in takes seconds to read that question for the first time.
    pub(super) fn watcher(&self) -> Session<'_> {
        let mut session = self.session();
        session.waiting_for(0);
        session.writers();
        session
    }

    /// To open a store by way of another port of this machine.
    pub(super) fn options_by(&self, port: u16, rows: Option<u64>) -> Options {
        let mut options = self.options(rows);
        let (user, host, _) = self.server.parts();
        options.url = format!(
            "sqlserver://{user}@{host}:{port}/{}{}",
            self.name, self.server.query
        );
        options
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

/// An open store that leads.
pub(super) type Led = crate::led::Led<sqlserver::SqlServerStore>;

impl Led {
    pub(super) async fn open(options: Options) -> Led {
        Led::of(open(options).await.unwrap()).await
    }
}
