//! What goes over the wire, in both directions: the server writes these types and the client reads them.
//! Ids and cursors are texts like `3-1042`, times are RFC 3339 texts in UTC.

mod cluster;
mod connection;
mod message;
mod request;
mod retention;
mod stages;
mod status;
mod time;

pub use cluster::{Approve, Approved, Leadership, Lease, Node, Nodes, Schema, SwitchOver, SwitchingOver};
pub use connection::{Connection, Connections, Counts, Held};
pub use message::{DeadLetter, Message, MessageLine, Page, Send, TrailEntry};
pub use request::{Empty, From, ReplayDeadLetters, ReplayMessage, RunRetention, SearchKey, SearchMessages};
pub use retention::{Retention, Segment};
pub use stages::{Distribution, Stage, Stages};
pub use status::{Census, Cluster, Fault, Health, Ready, Replayed, Skipped};
pub use time::Time;
