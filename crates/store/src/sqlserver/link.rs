//! One connection, owned by one thread at a time, driven by a small runtime of its own: a call sends, waits
//! and reads to the end on the caller's thread. No call is ever cancelled half way; one that takes too long
//! costs the connection, and so does one that leaves any doubt whether all of its answer was read.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tiberius::{Client, ToSql, TokenRow};
use tokio::runtime::{Builder, Runtime};

use super::Target;
use super::dial::{self, Entered, Stream};
use super::fault::{self, Driver};
use super::options::Way;
use super::sql;
use super::token::Token;
use super::value::Row;
use super::{durability, lease};
use crate::Error;
use crate::server::target::{Place, Reached};
use crate::server::value::{Value, database};
use crate::server::{Connection, Purpose, Trouble, session_name};

/// How long making a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a step of the housekeeping may take: building an index, counting a segment.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long a read may take. A network that swallows everything stops a lane no longer than this.
const READER_PATIENCE: Duration = Duration::from_secs(60);
/// A connection that was used within this time is not asked whether it still works, and how long it may take
/// to say so.
const IDLE_UNASKED: Duration = Duration::from_secs(5);
const PING_PATIENCE: Duration = Duration::from_secs(3);
/// A writer's connection that lay idle may take so long to show that it is as good as a new one, which costs less.
const PROOF_PATIENCE: Duration = Duration::from_millis(200);
/// How long a small transaction of the writer may take beside its commits.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);
/// Of several addresses of a name the next one is tried when this part of the time is over.
const STEPS: u32 = 4;

/// Milliseconds that a session waits for a lock: less than the call may take, so that the server gives up first.
fn lock_timeout(purpose: Purpose) -> u128 {
    match purpose {
        Purpose::Write | Purpose::Keep => 3_000,
        Purpose::Read => 10_000,
        Purpose::Lead(patience) => patience.as_millis() / 2,
    }
}

/// An open connection.
pub struct Link {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Option<Client<Stream>>,
    /// Set before a request is sent, and cleared once all of its answer was read.
    in_flight: bool,
    patience: Duration,
    lock_timeout_ms: u128,
    /// The server's session, to be ended when it hangs.
    pub(super) backend: i32,
    /// The server is no SQL Server but a stand-in that ignores lock hints (Babelfish).
    pub(super) stand_in: bool,
    /// It could be written to when the connection was made.
    writable: bool,
    /// The newest leadership that the database knew then; 0 = none.
    epoch: u32,
    /// When it answered last, or failed to.
    used: Instant,
}

fn late(patience: Duration) -> Driver {
    Driver::Lost(format!("no answer within {} s", patience.as_secs_f32()))
}

/// Runs `wait` on a runtime, no longer than `patience`. The driver has ways to panic on bytes that no server should
/// send: they count as a lost connection.
fn contained<T>(
    runtime: &Runtime,
    patience: Duration,
    wait: impl Future<Output = Result<T, Driver>>,
) -> Result<T, Driver> {
    let waiting = || runtime.block_on(async { tokio::time::timeout(patience, wait).await });
    match catch_unwind(AssertUnwindSafe(waiting)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(late(patience)),
        Err(_) => Err(Driver::Lost(
            "the server sent something that the driver cannot read".to_owned(),
        )),
    }
}

/// What a server says of itself and of the session.
struct Standing {
    backend: i32,
    stand_in: bool,
    writable: bool,
    /// The number of the newest leadership that the database knows; 0 = none.
    epoch: u32,
}

impl Link {
    fn open_at(
        place: &Place<Way>,
        target: &Target,
        node: &str,
        purpose: Purpose,
    ) -> Result<Reached<Link>, Error> {
        let mut link = Link::first_writable(place, node, purpose)?;
        if !link.writable && (purpose == Purpose::Write || target.has_several()) {
            return Err(Error::Away(format!(
                "the database at {} is read-only, or a secondary replica: point store.url at the primary or the listener",
                place.name
            )));
        }
        link.patience = match purpose {
            Purpose::Write => WRITER_PATIENCE,
            Purpose::Read => READER_PATIENCE,
            Purpose::Keep => PATIENCE,
            Purpose::Lead(patience) => patience,
        };
        if purpose == Purpose::Write {
            durability::check(&mut link, target, &place.name)?;
        }
        // A server has no number that grows with each failover, but a database that knows fewer leaderships than another
        // one did is older.
        let timeline = link.epoch;
        Ok(Reached { link, timeline })
    }

    /// By the address of the name that leads to a server that can be written to; where none does, by any.
    fn first_writable(place: &Place<Way>, node: &str, purpose: Purpose) -> Result<Link, Error> {
        let begun = Instant::now();
        let patience = match purpose {
            Purpose::Lead(patience) => patience,
            _ => CONNECT_PATIENCE,
        };
        let token = match &place.options.tokens {
            None => None,
            Some(tokens) => Some(
                tokens
                    .get(patience)
                    .map_err(|trouble| fault::without_token(&place.name, &trouble))?,
            ),
        };
        let program = session_name(purpose, None, node);
        let mut shut: Vec<SocketAddr> = Vec::new();
        let mut spare: Option<Link> = None;
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            match Link::enter(place, purpose, &program, token.as_ref(), &shut, left) {
                Ok((link, other)) if link.writable || other.is_none() => return Ok(link),
                Ok((link, other)) => {
                    shut.extend(other);
                    spare = Some(link);
                }
                Err(error) => return spare.ok_or(error),
            }
        }
    }

    /// Logs in and sets the session up; with it, where the name has other addresses, the one it was.
    fn enter(
        place: &Place<Way>,
        purpose: Purpose,
        program: &str,
        token: Option<&Token>,
        shut: &[SocketAddr],
        patience: Duration,
    ) -> Result<(Link, Option<SocketAddr>), Error> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Database {
                doing: "preparing a connection",
                source: Box::new(source),
            })?;
        let way = &place.options;
        let dialled = dial::log_in(way, program, token, shut, patience / STEPS);
        let entered = contained(&runtime, patience, dialled);
        if let Some((tokens, token)) = way.tokens.as_ref().zip(token) {
            match &entered {
                Ok(_) => tokens.accepted(token),
                Err(error) if fault::refuses_log_in(error) => tokens.refused(token),
                Err(_) => {}
            }
        }
        let Entered { client, by, others } =
            entered.map_err(|error| fault::connecting(&place.name, &error, token.is_some()))?;
        let mut link = Link {
            runtime: Some(runtime),
            client: Some(client),
            in_flight: false,
            patience,
            lock_timeout_ms: lock_timeout(purpose),
            backend: 0,
            stand_in: false,
            writable: false,
            epoch: 0,
            used: Instant::now(),
        };
        let doing = database("setting a session up");
        let options = format!("{} SET LOCK_TIMEOUT {};", sql::SESSION, link.lock_timeout_ms);
        link.script(options).map_err(&doing)?;
        let standing = link.standing().map_err(&doing)?;
        link.backend = standing.backend;
        link.stand_in = standing.stand_in;
        link.writable = standing.writable;
        link.epoch = standing.epoch;
        Ok((link, others.then_some(by)))
    }

    fn standing(&mut self) -> Result<Standing, Driver> {
        let rows = self.rows(sql::STANDING, &[])?;
        let row = rows.first().ok_or(Driver::NoRow)?;
        let epoch = rows.get(1).map_or(Ok(0), |row| row.get(0))?;
        let (version, updateability): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        let stand_in = version.contains("Babelfish");
        let follows = stand_in && self.row(sql::STAND_IN_FOLLOWS, &[])?.get::<i32>(0)? != 0;
        Ok(Standing {
            backend: row.get(0)?,
            stand_in,
            writable: !follows && updateability.is_none_or(|word| word != "READ_ONLY"),
            epoch,
        })
    }

    /// Work of which no step takes longer than this.
    pub(super) fn within<T>(&mut self, patience: Duration, work: impl FnOnce(&mut Link) -> T) -> T {
        let usual = std::mem::replace(&mut self.patience, patience);
        let answer = work(self);
        self.patience = usual;
        answer
    }

    /// One request, its answer read to the end.
    fn ask(
        &mut self,
        patience: Duration,
        request: impl AsyncFnOnce(&mut Client<Stream>) -> Result<Vec<Row>, Driver>,
    ) -> Result<Vec<Row>, Driver> {
        let broken = || Driver::Lost("there is no connection".to_owned());
        let (Some(runtime), Some(mut client)) = (&self.runtime, self.client.take()) else {
            return Err(broken());
        };
        if std::mem::replace(&mut self.in_flight, true) {
            return Err(broken());
        }
        let answer = contained(runtime, patience, request(&mut client));
        self.used = Instant::now();
        match answer {
            Ok(rows) => {
                self.client = Some(client);
                self.in_flight = false;
                Ok(rows)
            }
            Err(error) => {
                // After an error of the server's there may be more to read, and a transaction to end.
                if error.leaves_whole() && clear(runtime, &mut client) {
                    self.client = Some(client);
                    self.in_flight = false;
                }
                Err(error)
            }
        }
    }

    /// All rows of a statement (of all its answers, one after the other), read to the end: the server has finished
    /// when this returns.
    pub(super) fn rows_within(
        &mut self,
        patience: Duration,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Driver> {
        let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
        self.ask(patience, async |client| {
            let answers = client.query(sql, &values).await?.into_results().await?;
            Ok(answers.into_iter().flatten().map(Row).collect())
        })
    }

    /// Loads rows into a table in bulk, within the transaction under way.
    pub(super) fn load(&mut self, table: &str, rows: Vec<TokenRow<'static>>) -> Result<(), Driver> {
        self.ask(self.patience, async |client| {
            let mut load = client.bulk_insert(table).await?;
            for row in rows {
                load.send(row).await?;
            }
            load.finalize().await?;
            Ok(Vec::new())
        })
        .map(drop)
    }

    /// Runs `work` with another wait for locks, in milliseconds, and sets the usual one again. Where that fails the
    /// connection is given up: nothing leaks into the next call.
    pub(super) fn waiting<T>(
        &mut self,
        milliseconds: u128,
        work: impl FnOnce(&mut Link) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let doing = database("setting a session up");
        self.script(format!("SET LOCK_TIMEOUT {milliseconds};"))
            .map_err(&doing)?;
        let done = work(self);
        if self
            .script(format!("SET LOCK_TIMEOUT {};", self.lock_timeout_ms))
            .is_err()
        {
            self.client = None;
        }
        done
    }
}

impl Connection for Link {
    type Target = Target;
    type Row = Row;

    fn open(target: &Target, node: &str, purpose: Purpose) -> Result<Link, Error> {
        match purpose {
            Purpose::Write | Purpose::Lead(_) => {
                let (to, node) = (target.clone(), node.to_owned());
                target.reach_first(move |place| Link::open_at(place, &to, &node, purpose))
            }
            Purpose::Keep | Purpose::Read => {
                target.reach(|place| Link::open_at(place, target, node, purpose))
            }
        }
    }

    fn close(mut self) {
        if let (Some(runtime), Some(client)) = (&self.runtime, self.client.take()) {
            let goodbye = async { client.close().await.map_err(Driver::from) };
            let _ = contained(runtime, CONNECT_PATIENCE, goodbye);
        }
    }

    fn is_whole(&self) -> bool {
        self.client.is_some() && !self.in_flight
    }

    fn still_answers(&mut self) -> bool {
        if self.used.elapsed() < IDLE_UNASKED {
            return true;
        }
        self.rows_within(PING_PATIENCE, "SELECT 1", &[]).is_ok()
    }

    fn is_as_good_as_new(&mut self, target: &Target) -> bool {
        let good = self.within(PROOF_PATIENCE, |link| {
            link.standing()
                .is_ok_and(|standing| standing.writable && target.is_newest(standing.epoch))
                && durability::check(link, target, &target.name()).is_ok()
        });
        good && self.is_whole()
    }

    fn backend(&self) -> i32 {
        self.backend
    }

    fn hasten<T>(&mut self, work: impl FnOnce(&mut Link) -> T) -> T {
        self.within(WRITER_PATIENCE, work)
    }

    fn end_session(&mut self, backend: i32) {
        lease::end_session(self, backend);
    }

    /// Its session is ended, and all that it did not finish undone.
    fn cancel(&mut self, backend: i32, patience: Duration) {
        self.within(patience, |link| lease::kill(link, backend));
    }

    fn is_worth_another_try(error: &Error) -> bool {
        fault::is_worth_another_try(error)
    }

    fn is_lock_timeout(error: &Error) -> bool {
        fault::is_lock_timeout(error)
    }

    fn trouble(error: Driver) -> Trouble {
        fault::trouble(error)
    }

    fn rows(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Driver> {
        self.rows_within(self.patience, sql, values)
    }

    /// A batch of its own: options that it sets stay, as do temporary tables that it makes.
    fn script(&mut self, sql: impl Into<String>) -> Result<(), Driver> {
        let sql = sql.into();
        let asked = self.ask(self.patience, async |client| {
            client.simple_query(sql).await?.into_results().await?;
            Ok(Vec::new())
        });
        asked.map(drop)
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&mut Link) -> Result<T, Error>) -> Result<T, Error> {
        let doing = database("beginning or ending a transaction");
        self.script("BEGIN TRANSACTION").map_err(&doing)?;
        match work(self) {
            Ok(value) => {
                self.script("COMMIT TRANSACTION").map_err(&doing)?;
                Ok(value)
            }
            Err(error) => {
                // An error of the server's has ended it already.
                if self.script("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").is_err() {
                    self.client = None;
                }
                Err(error)
            }
        }
    }
}

/// Reads what is left of an answer and ends a transaction that an error left behind; whether the connection is in step
/// then.
fn clear(runtime: &Runtime, client: &mut Client<Stream>) -> bool {
    let clearing = async {
        let sql = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";
        client.simple_query(sql).await?.into_results().await?;
        Ok::<(), Driver>(())
    };
    contained(runtime, PING_PATIENCE, clearing).is_ok()
}

impl Drop for Link {
    fn drop(&mut self) {
        self.client = None;
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, so a link may be dropped anywhere.
            runtime.shutdown_background();
        }
    }
}
