//! What a connector promises, and what it is given.
//!
//! A connector knows sockets, files and framing. It does not know the store, the graph or other
//! connectors. It never acknowledges without an [`Accepted`], which holds the store's receipt. It never
//! drops bytes in silence: what it cannot take it reports through [`Intake::reject`] or closes the
//! socket, so that the partner sends again. It stops when its token is cancelled: listening sockets are
//! closed first, frames not yet handed over are dropped unanswered, accepts under way end.

use std::sync::Arc;

use async_trait::async_trait;
use model::connector::{Call, Spec};
use model::problem::Problem;
use model::{Body, Committed, MessageId, SendId};
use tokio_util::sync::CancellationToken;

/// A connector: one folder, one line in the registry.
pub trait Connector: Send + Sync {
    /// What it is and what options it takes.
    fn spec(&self) -> Spec;

    /// Makes a source from a checked call (only when the spec offers `inbound`). Reports all problems.
    fn source(&self, call: &Call) -> Result<Box<dyn Source>, Vec<Problem>>;

    /// Makes a sink from a checked call (only when the spec offers `outbound`). Reports all problems.
    fn sink(&self, call: &Call) -> Result<Box<dyn Sink>, Vec<Problem>>;

    /// What an inbound call occupies exclusively, so that two connections cannot claim it: `tcp:2575`,
    /// `file:/in/adt`. Checked across the whole graph.
    fn claims(&self, _call: &Call) -> Vec<String> {
        Vec::new()
    }
}

/// The receiving side of one connection.
#[async_trait]
pub trait Source: Send {
    /// Binds or opens what it needs; called before `run`, so that a taken port shows at start.
    async fn bind(&mut self) -> Result<(), SourceError>;

    /// Runs until `context.stop` is cancelled. An error stops this connection only; the engine starts it
    /// again with a growing pause.
    async fn run(&mut self, context: SourceContext) -> Result<(), SourceError>;

    /// Whether [`Source::bind`] would get the address it needs now, found out without disturbing whoever has it: nothing
    /// listens, nobody is let in.
    async fn rehearse(&mut self) -> Result<(), Unobtainable> {
        Ok(())
    }

    /// The address it is bound to, if it has one (`127.0.0.1:2575`).
    fn local_address(&self) -> Option<String> {
        None
    }
}

/// What a running source is given.
#[derive(Clone)]
pub struct SourceContext {
    /// The connection's name, for logs and metrics.
    pub name: Arc<str>,
    /// Where messages go.
    pub intake: Arc<dyn Intake>,
    /// Whether the sender is answered.
    pub acknowledge: bool,
    /// Cancelled when the source must stop.
    pub stop: CancellationToken,
    /// Live figures of the connection.
    pub status: Arc<Status>,
}

/// Live figures of a connection, for screens.
#[derive(Debug, Default)]
pub struct Status {
    /// Partners connected now.
    pub peers: std::sync::atomic::AtomicI64,
    /// The last fault, for a person.
    pub last_fault: parking_lot::Mutex<Option<String>>,
}

/// Where a source hands messages over. Implemented by the engine.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Stores messages durably, in order, in one go, and says for each what to answer. Waits while the
    /// engine's bounds are reached (back-pressure). `Err` = not stored, no answer may be given: close the
    /// socket or leave the file, and let the partner send again.
    async fn accept(&self, messages: Vec<Received>) -> Vec<Result<Accepted, Refused>>;

    /// Records something that could not be taken as a message (oversized, unframed): its first bytes and
    /// the reason become a message that ends as ERROR, so that nothing is silently dropped.
    async fn reject(&self, fragment: Received, reason: &str) -> Result<Accepted, Refused>;
}

/// A message as it came off the wire.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its bytes, without framing.
    pub body: Body,
    /// Where from: socket address or file name.
    pub source: Option<Box<str>>,
    /// The message that caused it (loopback, passthrough).
    pub parent: Option<MessageId>,
}

/// A stored message and what to say to its sender.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The store's receipt: an acknowledgement is built from it.
    pub receipt: Committed,
    /// What to answer.
    pub verdict: Verdict,
}

/// What to answer to a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// AA or CA.
    Accept,
    /// AE or CE: the content failed validation. Stored, ends as ERROR.
    Error(Fault),
    /// AR or CR: not a message this inbound can take. Stored, ends as ERROR.
    Reject(Fault),
}

/// Why a message was not accepted; becomes the ERR segment. Never holds a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// HL7 table 0357 code, such as `101` (required field missing) or `207` (application error).
    pub code: u16,
    /// Where: an HL7 path such as `PID-3`, if known.
    pub location: Option<String>,
    /// For a person.
    pub text: String,
}

/// The message was not stored; the sender must not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not stored: {0}")]
pub struct Refused(pub String);

/// The sending side of one connection. One value per send in flight (`concurrency`); never shared.
#[async_trait]
pub trait Sink: Send {
    /// Delivers one message and waits for the partner's word. Must be cancel-safe in this sense: when the
    /// future is dropped, the next call starts from a clean connection.
    async fn deliver(&mut self, delivery: &Delivery) -> Result<Delivered, DeliverError>;

    /// Another, independent value of the same connection.
    fn another(&self) -> Box<dyn Sink>;

    /// Closes sockets and files.
    async fn close(&mut self) {}
}

/// What is to be delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The send: the same at each attempt, also after a failover.
    pub send: SendId,
    /// Its message.
    pub message: MessageId,
    /// The outbound's name.
    pub connection: Arc<str>,
    /// The bytes.
    pub body: Body,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// The partner has it.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// What it answered.
    pub reply: Option<Body>,
}

/// It could not be delivered. Retry loops match on `class` only.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct DeliverError {
    /// What to do.
    pub class: FailureClass,
    /// For a person: what happened and what to do. Never a body.
    pub text: String,
    /// What the partner answered, if it did.
    pub reply: Option<Body>,
}

/// What to do about a failed delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureClass {
    /// Try again: transport trouble, or the partner said AE/CE.
    Retry,
    /// The partner refused it for good: AR/CR.
    Reject,
    /// Our own fault (it cannot be encoded, no path): the outbound's `on_error` decides.
    Internal,
}

/// An address that a source could not bind.
#[derive(Debug)]
pub struct Unobtainable {
    /// Which.
    pub address: std::net::SocketAddr,
    /// What kind of fault; `AddrInUse` when somebody has it.
    pub kind: std::io::ErrorKind,
    /// For a person.
    pub error: SourceError,
}

/// A source could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {advice}")]
pub struct SourceError {
    /// What it was doing, with the address or path.
    pub doing: String,
    /// What probably is wrong and what to do.
    pub advice: String,
    /// What the system said.
    #[source]
    pub source: Option<std::io::Error>,
}
