//! The graph and its life: settings, wiring, lanes, stages, retry, disposition, supervision, operator
//! commands. Knows no SQL, no socket and no Starlark; those stand behind `store`, `connectors`, `script`.

mod balance;
mod budget;
mod core;
mod counters;
pub mod dryrun;
mod finaliser;
mod inflight;
mod lane;
mod names;
mod node;
mod observer;
mod operator;
mod orphans;
pub mod picture;
pub mod project;
mod reading;
mod reads;
mod recovery;
mod rehearsal;
mod retention;
mod retry;
pub mod settings;
mod stage;
mod stages;
mod supervision;
mod trail;
mod wiring;

pub use counters::Counts;
pub use node::{Leadership, Node, StartError, StopReport};
pub use observer::{Observer, Outline};
pub use operator::{CommandError, Replay, Replayed};
pub use project::Project;
pub use reads::{
    ClusterStatus, ConnectionView, DeadLetterQuery, DeadLetterView, MessageLine, MessageQuery, MessageView,
    ReadError, SendView, TrailEntry,
};
pub use rehearsal::{Conflict, rehearse};
pub use retention::{RetentionReport, SegmentView, StoreSize};
pub use settings::Settings;
pub use stages::StageTimes;
pub use store::Key;
pub use store::orders;
pub use store::views::Page;
pub use store::{Census, CommitSizes, Schema, commit_sizes};
