//! One open socket to a partner: liveness, writing a frame, waiting for the answer that belongs to it.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use formats::hl7::ack::{self, Reply};
use formats::mllp::{self, Codec, Item};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::Decoder;

use super::settings::Outbound;

/// Room made before each read, in bytes.
const READ_BYTES: usize = 4 * 1024;
/// A partner that sent more than this unasked is not listened to any longer.
const UNASKED_MAX: usize = 1024 * 1024;

pub(crate) struct Link {
    stream: TcpStream,
    codec: Codec,
    buffer: BytesMut,
    /// Bytes that came since the last frame was sent, for error texts.
    pub(crate) came: usize,
    /// Answers to other messages that came since then.
    pub(crate) others: usize,
}

/// The partner's word.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) raw: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the connection broke: {0}")]
    Broke(#[from] io::Error),
    #[error("the partner closed the connection before it answered")]
    Closed,
    #[error("the partner closed the connection within its answer ({0} bytes came)")]
    ClosedInside(usize),
    #[error("the answer ({0} bytes) is no acknowledgement: {1}")]
    Nonsense(usize, String),
    #[error("the answer is longer than max_reply_bytes")]
    TooLong,
    #[error("the answer has no trailer ({0} bytes came)")]
    NoTrailer(usize),
    #[error(
        "the answer names no message (MSA-2 is empty); if this partner always does so, set match_reply = False"
    )]
    NamesNone,
}

/// Whether an answer is wanted.
pub(crate) enum Want<'a> {
    /// Any answer.
    Any,
    /// The one whose MSA-2 is this.
    For(&'a str),
}

impl Link {
    pub(crate) async fn open(settings: &Outbound) -> io::Result<Link> {
        let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
        let _ = stream.set_nodelay(true);
        if settings.expect_ack {
            // Without an answer a message is sent again, perhaps by another node: what the system has not sent of it by the
            // time this process ends must not leave later, after newer ones.
            let _ = stream.set_zero_linger();
        }
        if let Some(idle) = settings.keepalive {
            let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle));
        }
        Ok(Link {
            stream,
            codec: Codec::new(settings.max_reply_bytes),
            buffer: BytesMut::new(),
            came: 0,
            others: 0,
        })
    }

    /// Before the next message: takes what has come unasked (late answers) off the socket, and says
    /// whether the socket can be used. Gives the number of frames that were dropped.
    ///
    /// Asks the system itself: what the runtime knows of the socket may be older than a partner's close.
    pub(crate) fn refresh(&mut self) -> Option<usize> {
        let mut chunk = [0; READ_BYTES];
        let mut taken = 0;
        loop {
            let socket = SockRef::from(&self.stream);
            match (&*socket).read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => {
                    taken += count;
                    self.buffer.extend_from_slice(&chunk[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            if taken > UNASKED_MAX {
                return None;
            }
        }
        let mut late = 0;
        while let Ok(Some(item)) = self.codec.decode(&mut self.buffer) {
            match item {
                Item::Frame(_) => late += 1,
                Item::Junk { .. } => {}
                Item::Unterminated(_) | Item::Oversized { .. } => return None,
            }
        }
        // The rest of a half-received answer could be taken for the next one.
        (!self.codec.in_frame()).then_some(late)
    }

    pub(crate) async fn send(&mut self, body: &[u8]) -> io::Result<()> {
        (self.came, self.others) = (0, 0);
        self.stream.write_all(&mllp::frame(body)).await?;
        self.stream.flush().await
    }

    /// Waits for the answer that is wanted; answers that name another message are passed over.
    pub(crate) async fn answer(&mut self, want: &Want<'_>) -> Result<Answer, Trouble> {
        loop {
            while let Some(item) = self.codec.decode(&mut self.buffer)? {
                if let Some(answer) = self.judge(item, want)? {
                    return Ok(answer);
                }
            }
            self.buffer.reserve(READ_BYTES);
            let count = self.stream.read_buf(&mut self.buffer).await?;
            self.came += count;
            if count == 0 {
                return self.last(want);
            }
        }
    }

    /// The partner has closed: an answer that lacks only its last byte counts.
    fn last(&mut self, want: &Want<'_>) -> Result<Answer, Trouble> {
        while let Some(item) = self.codec.decode_eof(&mut self.buffer)? {
            if let Item::Unterminated(part) = item {
                return Err(Trouble::ClosedInside(part.len()));
            }
            if let Some(answer) = self.judge(item, want)? {
                return Ok(answer);
            }
        }
        Err(Trouble::Closed)
    }

    fn judge(&mut self, item: Item, want: &Want<'_>) -> Result<Option<Answer>, Trouble> {
        let raw = match item {
            Item::Frame(raw) => Bytes::copy_from_slice(&raw),
            Item::Junk { .. } => return Ok(None),
            Item::Oversized { .. } => return Err(Trouble::TooLong),
            Item::Unterminated(part) => return Err(Trouble::NoTrailer(part.len())),
        };
        let reply = ack::parse(&raw).map_err(|fault| Trouble::Nonsense(raw.len(), fault.text))?;
        match want {
            Want::For(_) if reply.control_id.is_empty() => Err(Trouble::NamesNone),
            Want::For(id) if reply.control_id != *id => {
                self.others += 1;
                Ok(None)
            }
            _ => Ok(Some(Answer { reply, raw })),
        }
    }

    /// Closes it in good order: all that was sent was answered, or wants no answer.
    pub(crate) async fn close(mut self) {
        let _ = SockRef::from(&self.stream).set_linger(None);
        let _ = tokio::time::timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }
}
