//! One partner's socket: frames in, answers out, in order.
//!
//! All complete frames of what was read are stored in one go and answered in one write; while they are
//! being stored nothing is read, so that back-pressure reaches the partner through TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use formats::mllp::{self, Codec, Item};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Decoder;

use super::answer::answer;
use super::meters::Meters;
use super::settings::Inbound;
use crate::contract::{Accepted, Received, Refused, SourceContext};

/// Room made before each read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Larger bodies keep the read buffer, smaller ones are copied out of it so that it is used again.
const COPY_MAX: usize = 64 * 1024;
/// How long a partner may take to receive its answers.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same once the source must stop, and the bound for a polite close.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Session {
    stream: TcpStream,
    peer: Box<str>,
    settings: Arc<Inbound>,
    context: SourceContext,
    meters: Meters,
    codec: Codec,
    buffer: BytesMut,
    /// When the frame that is coming in began.
    began: Option<Instant>,
    /// When the last frame ended, or the socket opened.
    rested: Instant,
    junk_seen: bool,
}

/// Why the socket closes.
enum End {
    /// The partner closed it, or it broke, or we stop: nothing more to say.
    Done,
    /// We close it: what was answered must still arrive.
    Ours,
}

impl Session {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        settings: Arc<Inbound>,
        context: SourceContext,
        meters: Meters,
    ) -> Session {
        Session {
            stream,
            peer: peer.to_string().into_boxed_str(),
            codec: Codec::new(settings.max_frame_bytes),
            settings,
            context,
            meters,
            buffer: BytesMut::with_capacity(READ_BYTES),
            began: None,
            rested: Instant::now(),
            junk_seen: false,
        }
    }

    pub(crate) async fn run(mut self) {
        if let End::Ours = self.talk().await {
            self.close_politely().await;
        }
    }

    async fn talk(&mut self) -> End {
        loop {
            if let Err(end) = self.drain().await {
                return end;
            }
            match self.read().await {
                Ok(0) => return self.finish().await,
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }

    /// Reads more bytes. 0 = the partner has closed its side.
    async fn read(&mut self) -> Result<usize, End> {
        self.buffer.reserve(READ_BYTES);
        let deadline = self.deadline();
        let stop = self.context.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Done),
            read = self.stream.read_buf(&mut self.buffer) => read.map_err(|error| {
                tracing::debug!(connection = %self.context.name, peer = %self.peer, %error, "socket broke");
                self.cut_off(self.buffer.len());
                End::Done
            }),
            () = until(deadline) => Err(self.timed_out()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.began {
            Some(began) => Some(began + self.settings.read_timeout),
            None => self.settings.idle_timeout.map(|idle| self.rested + idle),
        }
    }

    fn timed_out(&self) -> End {
        self.meters.timeouts.increment(1);
        if self.began.is_some() {
            let bytes = self.buffer.len();
            let reason = "a frame began and did not end within read_timeout";
            self.fault(reason);
            tracing::warn!(connection = %self.context.name, peer = %self.peer, bytes, reason, "socket closed");
            self.meters.cut_off.increment(1);
        } else {
            tracing::info!(connection = %self.context.name, peer = %self.peer, "idle socket closed");
        }
        End::Ours
    }

    /// Handles everything that is complete in the buffer.
    async fn drain(&mut self) -> Result<(), End> {
        let mut frames = Vec::new();
        while let Ok(Some(item)) = self.codec.decode(&mut self.buffer) {
            self.began = None;
            match item {
                Item::Frame(body) => {
                    frames.push(self.keep(body));
                    if frames.len() >= self.settings.pipeline {
                        self.accept(&mut frames).await?;
                    }
                }
                Item::Junk { bytes } => self.junk(bytes),
                Item::Unterminated(part) => {
                    self.accept(&mut frames).await?;
                    self.meters.unterminated.increment(1);
                    self.reject(part, "the frame has no trailer: a new frame began inside it")
                        .await?;
                }
                Item::Oversized { head } => {
                    self.accept(&mut frames).await?;
                    self.meters.oversized.increment(1);
                    let limit = self.settings.max_frame_bytes;
                    let reason = format!("the frame is longer than max_frame_bytes ({limit} bytes)");
                    self.reject(head, &reason).await?;
                    return Err(End::Ours);
                }
            }
        }
        self.accept(&mut frames).await?;
        if self.codec.in_frame() {
            self.began.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// The partner has closed its side: a frame that lacks only its last byte counts, a cut-off one not.
    async fn finish(&mut self) -> End {
        while let Ok(Some(item)) = self.codec.decode_eof(&mut self.buffer) {
            match item {
                Item::Frame(body) => {
                    let mut frames = vec![self.keep(body)];
                    if let Err(end) = self.accept(&mut frames).await {
                        return end;
                    }
                }
                Item::Junk { bytes } => self.junk(bytes),
                Item::Unterminated(part) | Item::Oversized { head: part } => self.cut_off(part.len()),
            }
        }
        tracing::debug!(connection = %self.context.name, peer = %self.peer, "partner disconnected");
        End::Done
    }

    fn keep(&self, body: Bytes) -> Bytes {
        self.meters.frames.increment(1);
        self.meters.bytes.increment(body.len() as u64);
        if body.len() <= COPY_MAX {
            Bytes::copy_from_slice(&body)
        } else {
            body
        }
    }

    /// Stores the frames and answers them. At the first that is not stored: answers those before it, and
    /// closes without an answer to it.
    async fn accept(&mut self, frames: &mut Vec<Bytes>) -> Result<(), End> {
        if frames.is_empty() {
            return Ok(());
        }
        if self.context.stop.is_cancelled() {
            return Err(End::Done);
        }
        let frames = std::mem::take(frames);
        let messages = frames.iter().map(|body| self.received(body.clone())).collect();
        let answers = self.context.intake.accept(messages).await;
        self.rested = Instant::now();
        let stored = answers.len().min(frames.len());
        let mut out = BytesMut::new();
        for (body, result) in frames.iter().zip(answers) {
            match result {
                Ok(accepted) => self.answer(body, &accepted, &mut out),
                Err(refused) => {
                    self.write(&out).await?;
                    return Err(self.not_stored(&refused));
                }
            }
        }
        self.write(&out).await?;
        if stored < frames.len() {
            return Err(self.not_stored(&Refused("the engine gave no answer".to_owned())));
        }
        Ok(())
    }

    /// Records what is no message, and answers it as far as its header can be read.
    async fn reject(&mut self, fragment: Bytes, reason: &str) -> Result<(), End> {
        if self.context.stop.is_cancelled() {
            return Err(End::Done);
        }
        let kept_bytes = fragment.len(); // of a frame over the limit, its beginning
        tracing::warn!(connection = %self.context.name, peer = %self.peer, kept_bytes, reason, "frame refused");
        self.fault(reason);
        let fragment = Bytes::copy_from_slice(&fragment);
        let recorded = self
            .context
            .intake
            .reject(self.received(fragment.clone()), reason)
            .await;
        self.rested = Instant::now();
        match recorded {
            Ok(accepted) => {
                let mut out = BytesMut::new();
                self.answer(&fragment, &accepted, &mut out);
                self.write(&out).await
            }
            Err(refused) => Err(self.not_stored(&refused)),
        }
    }

    fn received(&self, body: Bytes) -> Received {
        Received {
            body: body.into(),
            source: Some(self.peer.clone()),
            parent: None,
        }
    }

    fn answer(&self, body: &[u8], accepted: &Accepted, out: &mut BytesMut) {
        if !self.context.acknowledge {
            return;
        }
        if let Some(ack) = answer(body, accepted) {
            mllp::write(&ack, out);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        let stop = self.context.stop.clone();
        let bound = async {
            let late = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_WRITE_TIMEOUT).await;
            };
            let _ = timeout(WRITE_TIMEOUT, late).await;
        };
        tokio::select! {
            written = self.stream.write_all(bytes) => written.map_err(|error| {
                tracing::debug!(connection = %self.context.name, peer = %self.peer, %error, "answer not taken");
                End::Done
            }),
            () = bound => {
                self.meters.timeouts.increment(1);
                self.fault("the partner does not receive its answers");
                tracing::warn!(connection = %self.context.name, peer = %self.peer,
                    "socket closed: the partner does not receive its answers");
                Err(End::Done)
            }
        }
    }

    fn not_stored(&self, refused: &Refused) -> End {
        self.meters.refused.increment(1);
        self.fault(&refused.to_string());
        // Whoever refused says why, once; a partner that comes again and again must not fill the log.
        tracing::debug!(connection = %self.context.name, peer = %self.peer, %refused,
            "socket closed without an answer: the partner has to send again");
        End::Ours
    }

    fn junk(&mut self, bytes: usize) {
        self.meters.junk.increment(bytes as u64);
        if !std::mem::replace(&mut self.junk_seen, true) {
            self.fault("bytes between frames were dropped: the partner does not keep to MLLP");
            tracing::warn!(connection = %self.context.name, peer = %self.peer, bytes,
                "bytes between frames dropped (said once per socket)");
        }
    }

    /// A frame whose end never came: nothing stored, nothing answered, so its sender still has it.
    fn cut_off(&self, bytes: usize) {
        if bytes == 0 && self.began.is_none() {
            return;
        }
        self.meters.cut_off.increment(1);
        tracing::warn!(connection = %self.context.name, peer = %self.peer, bytes,
            "socket ended inside a frame: not stored, not answered");
    }

    fn fault(&self, text: &str) {
        *self.context.status.last_fault.lock() = Some(format!("{}: {text}", self.peer));
    }

    /// Says that nothing more comes, and takes what the partner still sends for a short while: closing
    /// with unread bytes would make the system drop the answers on their way.
    async fn close_politely(mut self) {
        let _ = timeout(LAST_WRITE_TIMEOUT, async {
            self.stream.shutdown().await?;
            let mut sink = vec![0; READ_BYTES];
            while self.stream.read(&mut sink).await? > 0 {}
            std::io::Result::Ok(())
        })
        .await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
