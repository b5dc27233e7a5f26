//! The SQL Server backend (2019 and later, and the service of the same engine): everything in one schema, `holdfast`,
//! of one database. How it works stands in [`server`](crate::server), which it shares; here is what differs.
//!
//! A grouped commit is one batch of statements in one round trip: it claims the shard's row under an update lock that
//! lasts until its end, appends to the newest segment's tables, and commits. The row is never read as a version, so
//! row versioning (READ_COMMITTED_SNAPSHOT) changes nothing about the fence. No transaction that holds the lease row or the
//! shard's row spans two round trips: a node that is cut off leaves no lock behind.
//!
//! Babelfish speaks this protocol on a PostgreSQL and serves to try the store. Where a server is one, six things differ:
//! the claim changes the row instead of relying on a lock hint (`sql::APPEND_BEGIN_WITHOUT_HINTS`), texts in JSON carry no
//! escapes (`text`), sizes come from elsewhere (`sql::BYTES_OF_STAND_IN`), its one number for many errors is told apart by
//! words (`fault`), options that it does not have are not checked (`durability`), and whether it only follows another one is
//! asked for in its own way (`sql::STAND_IN_FOLLOWS`).

mod batch;
mod board;
mod ceiling;
mod control;
mod dial;
mod durability;
mod fault;
mod figures;
mod integrity;
mod lease;
mod link;
mod migrate;
mod open;
mod options;
mod retention;
mod seal;
mod search;
mod segment;
mod sql;
mod tables;
mod text;
mod token;
mod value;

pub use board::{SqlServerBoard, board};
pub use ceiling::ceiling;
pub use figures::server_figures;
pub use open::open;
pub use options::{Durability, Options};

/// Where and how to connect.
type Target = crate::server::target::Target<options::Way>;

/// The store in a SQL Server database.
pub type SqlServerStore = crate::server::ServerStore<link::Link>;
