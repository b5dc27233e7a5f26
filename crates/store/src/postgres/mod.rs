//! The PostgreSQL backend (13 and later): everything in one schema, `holdfast`, of one database.
//!
//! One OS thread (the writer) owns one connection and makes every write of a message's life: a grouped
//! commit is one statement, one round trip, that claims the shard's row and appends to the newest
//! segment's tables. A second thread (the keeper) makes the next segment ahead, seals full ones and looks
//! for drained ones. Reads use a few connections of their own, on blocking threads.
//!
//! Whether a commit happened is never guessed: when the connection is lost in one, the writer connects
//! anew, takes the shard's row for its new session (which waits for the old one and voids whatever it may
//! still do) and looks for the rows.
//!
//! The module hides SQL, connections and threads; outside it there is the [`Store`](crate::Store)
//! contract, [`open`] and [`Options`].

mod batch;
mod board;
mod ceiling;
mod control;
mod durability;
mod fault;
mod figures;
mod integrity;
mod lease;
mod link;
mod migrate;
mod notice;
mod open;
mod options;
mod retention;
mod seal;
mod search;
mod segment;
mod tables;
mod value;

pub use board::{PostgresBoard, board};
pub use ceiling::ceiling;
pub use figures::server_figures;
pub use open::open;
pub use options::{Durability, Options};

/// Where and how to connect.
type Target = crate::server::target::Target<sqlx_postgres::PgConnectOptions>;

/// The store in a PostgreSQL database.
pub type PostgresStore = crate::server::ServerStore<link::Link>;
