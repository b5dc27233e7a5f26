//! One message, one answer: what `send` does by hand.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::wire::{self, Frames};

const REPLY_MAX: usize = 16 * 1024 * 1024;

/// An exchange that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody listens, or the name is unknown.
    #[error("cannot connect to {to}")]
    Connect {
        /// The address.
        to: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection broke before the answer came")]
    Broken(#[from] std::io::Error),
    /// The partner closed the connection.
    #[error("the partner closed the connection without an answer")]
    Closed,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// An answer that is not MLLP.
    #[error(transparent)]
    TooLong(#[from] wire::TooLong),
}

/// A partner's answer, as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// MSA-1, or nothing when the answer is not an HL7 acknowledgement.
    pub code: String,
    /// MSA-3.
    pub text: String,
    /// The whole answer.
    pub body: Bytes,
    /// From the write to the answer.
    pub took: Duration,
}

impl Answer {
    /// Whether the partner took the message (AA or CA).
    pub fn accepts(&self) -> bool {
        matches!(self.code.as_str(), "AA" | "CA")
    }
}

/// One MLLP connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    incoming: BytesMut,
    frames: Frames,
    limit: Duration,
}

impl Client {
    /// Connects; `limit` bounds this and each later exchange.
    ///
    /// # Errors
    /// [`Fault::Connect`] and [`Fault::TimedOut`].
    pub async fn connect(to: &str, limit: Duration) -> Result<Client, Fault> {
        let connected = timeout(limit, TcpStream::connect(to))
            .await
            .map_err(|_| Fault::TimedOut(limit))?;
        let stream = connected.map_err(|source| Fault::Connect {
            to: to.to_owned(),
            source,
        })?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            incoming: BytesMut::new(),
            frames: Frames::new(REPLY_MAX),
            limit,
        })
    }

    /// Sends one message and waits for its answer. An acknowledgement of another message is passed
    /// over; anything else that comes is taken for the answer.
    ///
    /// # Errors
    /// [`Fault`]; the connection is of no more use then.
    pub async fn exchange(&mut self, body: &[u8]) -> Result<Answer, Fault> {
        let mut frame = Vec::with_capacity(body.len() + 3);
        wire::push_frame(&mut frame, body);
        let (began, deadline) = (std::time::Instant::now(), Instant::now() + self.limit);
        let answered = timeout_at(deadline, async {
            self.stream.write_all(&frame).await?;
            self.answer(wire::header_field(body, 10).unwrap_or_default())
                .await
        });
        let body = answered.await.map_err(|_| Fault::TimedOut(self.limit))??;
        let reply = wire::reply(&body);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer {
            code: reply.map(|reply| text(reply.code)).unwrap_or_default(),
            text: reply.map(|reply| text(reply.text)).unwrap_or_default(),
            took: began.elapsed(),
            body,
        })
    }

    async fn answer(&mut self, control_id: &[u8]) -> Result<Bytes, Fault> {
        loop {
            while let Some(body) = self.frames.next(&mut self.incoming)? {
                match wire::reply(&body) {
                    Some(reply) if !control_id.is_empty() && reply.control_id != control_id => {}
                    _ => return Ok(body),
                }
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(Fault::Closed);
            }
        }
    }
}
