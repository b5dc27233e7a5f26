//! What the authoring layer gives to the engine and the command line, independent of the language
//! behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::Timestamp;
use model::connector::Spec;
use model::graph::Graph;
use model::problem::Problem;

/// What to load.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The config repository's root (holds `config/`, `environments/`, `messages/`).
    pub root: &'a std::path::Path,
    /// The environment: reads `environments/<env>.toml`.
    pub environment: &'a str,
    /// Connectors that may be called.
    pub connectors: &'a [Spec],
    /// `HOLDFAST_VALUE_<KEY>` values by lower-case key, for secrets.
    pub secrets: &'a BTreeMap<String, String>,
}

/// A configuration that can run.
#[derive(Clone)]
pub struct Loaded {
    /// What it declares.
    pub graph: Graph,
    /// Its functions.
    pub program: Arc<dyn Program>,
    /// Warnings only; errors make `load` fail.
    pub warnings: Vec<Problem>,
    /// SHA-256 over every file that matters and the environment, in hex: equal on nodes that run the same.
    pub fingerprint: String,
    /// What the environment is for.
    pub posture: model::Posture,
}

/// The functions of a configuration: pure, frozen, run on all cores at once.
pub trait Program: std::marker::Send + Sync {
    /// Runs a router: the names of the handlers that get the message, none = unrouted.
    fn route(&self, router: &str, message: &Incoming) -> Result<Routed, Fault>;

    /// Runs a handler: its sends, none = filtered.
    fn handle(&self, handler: &str, message: &Incoming) -> Result<Handled, Fault>;

    /// Runs the `@test` functions, each in isolation.
    fn run_tests(&self, filter: Option<&str>) -> Vec<TestResult>;
}

/// A message as a function sees it.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// HL7 or raw.
    pub content: Content,
    /// Stands in for a clock.
    pub received_at: Timestamp,
    /// The inbound it came by.
    pub inbound: Arc<str>,
    /// Its number, as text (`3-1042`); the seed of `uuid5`-like helpers.
    pub id: String,
}

/// What a message is made of.
#[derive(Clone, Debug)]
pub enum Content {
    /// HL7 v2, indexed once; a handler gets its own copy (cheap: shared bytes).
    Hl7(formats::hl7::Message),
    /// Anything else.
    Raw(Bytes),
}

/// A router's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Handler names, in the order given, without repetition. Every one exists in the graph.
    pub handlers: Vec<Arc<str>>,
    /// Lines of `log(...)`.
    pub log: Vec<String>,
}

/// A handler's answer.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// In the order given. Every destination exists in the graph (an outbound, or an inbound with a
    /// `passthrough` connector).
    pub sends: Vec<Send>,
    /// Lines of `log(...)`.
    pub log: Vec<String>,
}

/// One send.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where to.
    pub destination: Arc<str>,
    /// The bytes; `None` = byte for byte what came in.
    pub body: Option<Bytes>,
    /// Higher first, in a priority lane.
    pub priority: i32,
    /// The message as sent, when it is HL7 (for the partition key), so that nobody parses it again.
    pub message: Option<formats::hl7::Message>,
}

/// A function failed on a message. The message becomes ERROR; its neighbours are untouched.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{location}: {text}")]
pub struct Fault {
    /// `config/adt.star:12:5` in `acme_adt_handler`.
    pub location: String,
    /// What happened, in one line. Never a body.
    pub text: String,
    /// What kind.
    pub kind: FaultKind,
    /// Excerpt with a caret and the call stack, for `dryrun` and `test`.
    pub detail: String,
}

/// What kind of failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The code raised an error (`fail`, a wrong type, a missing key).
    Raised,
    /// It passed its limit of steps, time, memory or depth.
    Limit,
    /// It returned something that is neither a send, a list of sends nor None; or names that do not exist.
    Nonsense,
    /// It made the interpreter panic.
    Panicked,
}

/// How one `@test` function ended.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// `config/adt.star:40`.
    pub location: String,
    /// `None` = passed; otherwise what failed, with excerpt.
    pub failure: Option<String>,
    /// Wall time.
    pub took: std::time::Duration,
}
