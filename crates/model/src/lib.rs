//! The words of the domain, as types: ids, stages, dispositions, epoch and term, connector
//! specifications, problems found in a configuration, receipts, the clock, and a histogram.
//!
//! This crate is pure: no I/O, no async, no database, no wire format. Everything else depends on it
//! and it depends on nothing of ours.

pub mod body;
pub mod clock;
pub mod connector;
pub mod disposition;
pub mod graph;
pub mod histogram;
pub mod ids;
pub mod lease;
pub mod posture;
pub mod problem;
pub mod receipt;
pub mod stage;

pub use body::Body;
pub use clock::{Clock, SystemClock, Timestamp};
pub use disposition::Disposition;
pub use histogram::Histogram;
pub use ids::{MessageId, NameId, RowId, SendId};
pub use lease::{Epoch, Term};
pub use posture::Posture;
pub use receipt::Committed;
pub use stage::Stage;
