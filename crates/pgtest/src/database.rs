//! One database of a server, gone when dropped.

use std::process::{Child, Stdio};

use crate::Server;

/// A fresh database.
pub struct Database<'s> {
    server: &'s Server,
    name: String,
}

impl<'s> Database<'s> {
    pub(crate) fn new(server: &'s Server, name: String) -> Database<'s> {
        Database { server, name }
    }

    /// `postgres://postgres@127.0.0.1:port/name`.
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{}",
            self.server.port(),
            self.name
        )
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in it; answers what it selects, columns parted by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }

    /// Runs SQL in it while the test goes on.
    pub fn begin_sql(&self, sql: &str) -> Running {
        let child = self
            .server
            .psql(&self.name, sql)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql can be run");
        Running(child)
    }

    /// The server it lies on.
    pub fn server(&self) -> &'s Server {
        self.server
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.server.sql(
                "postgres",
                &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
            );
        }
    }
}

/// SQL that runs beside the test.
pub struct Running(Child);

impl Running {
    /// Waits for its end; panics when it failed.
    pub fn wait(mut self) {
        let status = self.0.wait().expect("it was started");
        assert!(status.success(), "SQL that ran beside the test failed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
