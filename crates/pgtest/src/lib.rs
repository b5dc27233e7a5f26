//! A private PostgreSQL server for tests: made from the installed programs, on a free port of 127.0.0.1,
//! with a data folder of its own, as durable as a real one (`fsync = on`), gone at the end.
//!
//! ```no_run
//! let database = pgtest::server().database(); // one server a process, one database a case
//! println!("{}", database.url());
//! ```
//!
//! PostgreSQL does not run as root: started by root, the server runs as the user `postgres` (or `nobody`).
//! A watchdog process ends the server and removes its folder when the process that started it is gone, in
//! whatever way it went. Nothing here touches a server that it did not start.
//!
//! Only for tests: every failure panics, and says what to do.

mod authority;
mod babelfish;
mod database;
mod programs;
mod relay;
mod server;
mod standby;

pub use authority::{Authority, Certified};
pub use database::{Database, Running};
pub use relay::Relay;
pub use server::{Server, server};
