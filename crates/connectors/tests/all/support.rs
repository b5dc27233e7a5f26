//! A recording intake, checked calls, running sources and MLLP peers for tests.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors::{
    Accepted, Delivery, Intake, Received, Refused, Sink, Source, SourceContext, SourceError, Status, Verdict,
    registry,
};
use formats::hl7::ack::{self, Code};
use model::connector::{Call, Param, Value};
use model::problem::{Problem, Span};
use model::{Body, Committed, Epoch, MessageId, RowId, SendId, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something, and says what was missing when it does not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// What the recorder saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) stored: Vec<Vec<u8>>,
    pub(crate) batches: Vec<usize>,
    pub(crate) rejected: Vec<(Vec<u8>, String)>,
    pub(crate) refused: usize,
    pub(crate) waiting: usize,
    pub(crate) sources: Vec<String>,
}

impl Seen {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.stored
            .iter()
            .map(|body| String::from_utf8_lossy(body).into_owned())
            .collect()
    }
}

type Script = dyn Fn(&Received, usize) -> Result<Verdict, Refused> + Send + Sync;

/// An intake in memory. Its script decides the verdict of the n-th message offered.
pub(crate) struct Recorder {
    seen: watch::Sender<Seen>,
    script: Box<Script>,
    gate: Semaphore,
}

impl Recorder {
    pub(crate) fn accepting() -> Arc<Recorder> {
        Recorder::scripted(|_, _| Ok(Verdict::Accept))
    }

    pub(crate) fn scripted(
        script: impl Fn(&Received, usize) -> Result<Verdict, Refused> + Send + Sync + 'static,
    ) -> Arc<Recorder> {
        let (seen, _) = watch::channel(Seen::default());
        Arc::new(Recorder {
            seen,
            script: Box::new(script),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// One that holds every accept until `open` is called, once for each.
    pub(crate) fn gated() -> Arc<Recorder> {
        let (seen, _) = watch::channel(Seen::default());
        Arc::new(Recorder {
            seen,
            script: Box::new(|_, _| Ok(Verdict::Accept)),
            gate: Semaphore::new(0),
        })
    }

    pub(crate) fn open(&self, accepts: usize) {
        self.gate.add_permits(accepts);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until what was seen fits.
    pub(crate) async fn wait(&self, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let mut watch = self.seen.subscribe();
        within(what, async {
            watch.wait_for(|seen| fits(seen)).await.unwrap().clone()
        })
        .await
    }

    fn receipt(&self) -> Committed {
        let seen = self.seen.borrow();
        let count = (seen.stored.len() + seen.rejected.len()) as u64;
        Committed::attest(
            MessageId(RowId::pack(Epoch(1), count)),
            Timestamp(1_795_226_370_000_000),
        )
    }

    fn offer(&self, received: &Received) -> Result<Accepted, Refused> {
        let count = {
            let seen = self.seen.borrow();
            seen.stored.len() + seen.refused
        };
        match (self.script)(received, count) {
            Ok(verdict) => {
                self.seen.send_modify(|seen| {
                    seen.stored.push(received.body.to_vec());
                    seen.sources
                        .push(received.source.as_deref().unwrap_or_default().to_owned());
                });
                Ok(Accepted {
                    receipt: self.receipt(),
                    verdict,
                })
            }
            Err(refused) => {
                self.seen.send_modify(|seen| seen.refused += 1);
                Err(refused)
            }
        }
    }
}

#[async_trait]
impl Intake for Recorder {
    async fn accept(&self, messages: Vec<Received>) -> Vec<Result<Accepted, Refused>> {
        self.seen.send_modify(|seen| seen.waiting += 1);
        self.gate.acquire().await.unwrap().forget();
        self.seen.send_modify(|seen| seen.batches.push(messages.len()));
        messages.iter().map(|received| self.offer(received)).collect()
    }

    async fn reject(&self, fragment: Received, reason: &str) -> Result<Accepted, Refused> {
        let entry = (fragment.body.to_vec(), reason.to_owned());
        self.seen.send_modify(|seen| seen.rejected.push(entry));
        let fault = connectors::Fault {
            code: 207,
            location: None,
            text: reason.to_owned(),
        };
        Ok(Accepted {
            receipt: self.receipt(),
            verdict: Verdict::Reject(fault),
        })
    }
}

/// A call as the authoring layer checks it: defaults filled in.
pub(crate) fn call(name: &str, params: &[Param], options: &[(&str, Value)]) -> Call {
    let mut all: BTreeMap<String, Value> = params
        .iter()
        .filter_map(|param| Some((param.name.to_owned(), param.default.clone()?)))
        .collect();
    for (key, value) in options {
        assert!(
            params.iter().any(|param| param.name == *key),
            "{name} has no option {key}"
        );
        all.insert((*key).to_owned(), value.clone());
    }
    Call {
        connector: name.to_owned(),
        options: all,
        span: Span::default(),
    }
}

pub(crate) fn source(name: &str, options: &[(&str, Value)]) -> Result<Box<dyn Source>, Vec<Problem>> {
    let connector = registry::find(name).unwrap();
    connector.source(&call(name, &connector.spec().inbound.unwrap(), options))
}

pub(crate) fn sink(name: &str, options: &[(&str, Value)]) -> Result<Box<dyn Sink>, Vec<Problem>> {
    let connector = registry::find(name).unwrap();
    connector.sink(&call(name, &connector.spec().outbound.unwrap(), options))
}

pub(crate) fn seconds(seconds: f64) -> Value {
    Value::from(Duration::from_secs_f64(seconds))
}

/// A source that runs.
pub(crate) struct Running {
    pub(crate) address: String,
    pub(crate) status: Arc<Status>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SourceError>>,
}

impl Running {
    pub(crate) async fn start(source: Box<dyn Source>, intake: &Arc<Recorder>) -> Running {
        Running::start_with(source, intake, true).await
    }

    pub(crate) async fn start_with(
        mut source: Box<dyn Source>,
        intake: &Arc<Recorder>,
        acknowledge: bool,
    ) -> Running {
        source.bind().await.unwrap();
        let address = source.local_address().unwrap_or_default();
        let (status, stop) = (Arc::new(Status::default()), CancellationToken::new());
        let context = SourceContext {
            name: "IB_TEST".into(),
            intake: intake.clone(),
            acknowledge,
            stop: stop.clone(),
            status: Arc::clone(&status),
        };
        let task = tokio::spawn(async move { source.run(context).await });
        Running {
            address,
            status,
            stop,
            task,
        }
    }

    pub(crate) async fn connect(&self) -> Peer {
        Peer(TcpStream::connect(&self.address).await.unwrap())
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn ended(self) -> Result<(), SourceError> {
        within("the end of the source", self.task).await.unwrap()
    }

    pub(crate) async fn finish(self) {
        self.stop();
        self.ended().await.unwrap();
    }

    pub(crate) fn fault(&self) -> String {
        self.status.last_fault.lock().clone().unwrap_or_default()
    }

    /// Waits for a fault of the connection.
    pub(crate) async fn wait_fault(&self, holds: &str) {
        eventually(&format!("a fault with `{holds}`"), || {
            self.fault().contains(holds)
        })
        .await;
    }
}

/// Waits until a condition of the outside world (a file, a figure) holds; looks again and again.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            look.tick().await;
        }
    })
    .await;
}

/// The other end of an MLLP socket.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The body of the next frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Vec<u8>> {
        within("a frame", async {
            let mut frame = Vec::new();
            loop {
                match self.0.read_u8().await {
                    Ok(byte) => frame.push(byte),
                    Err(_) if frame.is_empty() => return None,
                    Err(error) => panic!("socket ended within a frame: {error}"),
                }
                if frame.ends_with(b"\x1c\r") {
                    assert_eq!(frame[0], 0x0b);
                    return Some(frame[1..frame.len() - 2].to_vec());
                }
            }
        })
        .await
    }

    /// The next answer as `AA ID7`.
    pub(crate) async fn answer(&mut self) -> String {
        let frame = self.frame().await.expect("an answer, not the end of the stream");
        let reply = ack::parse(&frame).unwrap();
        format!("{} {}", reply.code, reply.control_id)
    }

    /// How the stream ends: 0 when the other side closes it, an error when it resets it.
    pub(crate) async fn end(&mut self) -> std::io::Result<usize> {
        within("the end of the stream", self.0.read(&mut [0; 64])).await
    }

    /// Reads until the other side closes; what came.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end as good as any.
        let _ = within("the end of the stream", self.0.read_to_end(&mut rest)).await;
        rest
    }
}

pub(crate) fn framed(body: &str) -> Vec<u8> {
    formats::mllp::frame(body.as_bytes()).to_vec()
}

pub(crate) fn adt(id: &str) -> String {
    format!("MSH|^~\\&|APP|FAC|HOLD|FAST|20260101||ADT^A01|{id}|P|2.5\rPID|1||{id}\r")
}

pub(crate) fn reply(code: Code, sent: &[u8]) -> Vec<u8> {
    let header = formats::hl7::peek(sent).ok();
    formats::mllp::frame(&ack::build(header.as_ref(), code, None, "R1", "20260101000000")).to_vec()
}

pub(crate) fn delivery(number: u64, attempt: u32, body: &str) -> Delivery {
    Delivery {
        send: SendId(RowId::pack(Epoch(1), number)),
        message: MessageId(RowId::pack(Epoch(1), number + 1000)),
        connection: "OB_TEST".into(),
        body: Body::from(body.as_bytes().to_vec()),
        attempt,
    }
}
