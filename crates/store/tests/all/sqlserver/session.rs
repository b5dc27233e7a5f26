//! Sessions of the tests' own, beside those of a store: they hold locks as another node, a reader or an administrator
//! would, look who waits for whom, and end sessions.

use model::RowId;
use tokio::runtime::{Builder, Runtime};

use super::support::{Connection, Database, Led, Server, aside, ask};

/// A session. Dropping it ends it, and what it did not commit is undone.
pub(super) struct Session<'s> {
    server: &'s Server,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Option<Connection>,
    pub(super) number: i32,
}

impl<'s> Session<'s> {
    pub(super) fn open(server: &'s Server, database: &str, program: &str) -> Session<'s> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connecting = server.connect(server.user(), &server.password, database, program);
        let client = aside(|| runtime.block_on(connecting)).unwrap_or_else(|fault| panic!("{fault}"));
        let mut session = Session {
            server,
            runtime: Some(runtime),
            client: Some(client),
            number: 0,
        };
        session.number = session.number("SELECT CAST(@@SPID AS int)");
        session
    }

    /// Runs a batch; the first column of all its rows, as text, or what the server said against it.
    pub(super) fn ask(&mut self, batch: &str) -> Result<Vec<String>, String> {
        let (Some(runtime), Some(client)) = (&self.runtime, &mut self.client) else {
            return Err("the session is over".to_owned());
        };
        aside(|| runtime.block_on(ask(client, batch)))
    }

    pub(super) fn sql(&mut self, batch: &str) -> Vec<String> {
        self.ask(batch).unwrap_or_else(|fault| panic!("{batch}: {fault}"))
    }

    fn number(&mut self, batch: &str) -> i32 {
        self.sql(batch)[0].parse().unwrap()
    }

    /// Sessions that wait for what this session holds.
    pub(super) fn waiting_for(&mut self, holder: i32) -> Vec<i32> {
        let asked = if self.server.stand_in {
            format!(
                "SELECT DISTINCT CAST(w.pid AS int) FROM pg_catalog.pg_locks AS w JOIN pg_catalog.pg_locks AS h
                 ON CAST(h.transactionid AS varchar(20)) = CAST(w.transactionid AS varchar(20))
                 WHERE h.pid = {holder} AND w.pid <> h.pid"
            )
        } else {
            format!(
                "SELECT CAST(session_id AS int) FROM sys.dm_exec_requests WHERE blocking_session_id = {holder}"
            )
        };
        self.numbers(&asked)
    }

    /// The writing sessions of stores in this database.
    pub(super) fn writers(&mut self) -> Vec<i32> {
        self.numbers(
            "SELECT CAST(session_id AS int) FROM sys.dm_exec_sessions
             WHERE database_id = DB_ID() AND program_name LIKE N'holdfast-writer %'",
        )
    }

    /// Sessions that wait to change the tables of this name.
    pub(super) fn waiting_for_table(&mut self, table: &str) -> usize {
        let asked = if self.server.stand_in {
            format!(
                "SELECT CAST(pid AS int) FROM pg_catalog.pg_locks
                 WHERE CAST(relation AS int) = OBJECT_ID(N'{table}') AND CAST(granted AS varchar(5)) IN ('f', 'false')"
            )
        } else {
            format!(
                "SELECT CAST(request_session_id AS int) FROM sys.dm_tran_locks
                 WHERE resource_database_id = DB_ID() AND resource_associated_entity_id = OBJECT_ID(N'{table}')
                   AND request_status IN (N'WAIT', N'CONVERT')"
            )
        };
        self.numbers(&asked).len()
    }

    fn numbers(&mut self, asked: &str) -> Vec<i32> {
        let rows = self.sql(asked);
        rows.iter().map(|row| row.parse().unwrap()).collect()
    }

    /// Ends a session, as an administrator does.
    pub(super) fn kill(&mut self, session: i32) {
        self.sql(&format!("KILL {session}"));
    }

    /// Ends the transaction, and with it what it held.
    pub(super) fn let_go(&mut self) {
        self.sql("ROLLBACK TRANSACTION");
    }

    /// Holds the shard's row as a handoff does: by the hints of its claim, or, where a server heeds none, by a change of
    /// the row to what it is.
    pub(super) fn hold_the_shard(&mut self) {
        let how = if self.server.stand_in {
            "UPDATE holdfast.shard SET session = session WHERE shard = 0"
        } else {
            "DECLARE @held int;
             SELECT @held = COUNT(*) FROM holdfast.shard WITH (UPDLOCK, ROWLOCK, HOLDLOCK) WHERE shard = 0"
        };
        self.sql(&format!("BEGIN TRANSACTION; {how}"));
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.client = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A stone in the way of the first message of a leader: a row of its number that is not committed, which whoever adds
/// the same has to wait for. Whoever waits there holds the shard's row.
pub(super) fn stone<'d>(database: &'d Database<'_>, led: &Led) -> Session<'d> {
    let mut session = database.session();
    session.sql(&format!(
        "BEGIN TRANSACTION; INSERT INTO holdfast.s000001_message (id, inbound, received_at, at, enc, body)
         VALUES ({}, 1, 1, 1, 0, 0x00)",
        RowId::pack(led.term.epoch, 1).0
    ));
    session
}
