//! The rim of a sink: its sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::behaviour::{Misdeed, NakCode};
use super::log::{Answer, Arrival};
use super::{Port, Received, Shared};
use crate::control_id::ControlId;
use crate::wire::{self, Frames};

const READ_SIZE: usize = 64 * 1024;
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Takes connections until the sink stops.
pub(super) async fn listen(listener: TcpListener, port: Arc<Port>, shared: Arc<Shared>, tasks: TaskTracker) {
    let stop = shared.stop.clone();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file handles, or a peer that left again: give others time, then go on.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        let number = port.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Connection {
            port: Arc::clone(&port),
            shared: Arc::clone(&shared),
            peer,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            replies: Replies::default(),
            hung: false,
        };
        tasks.spawn(connection.serve(stream));
    }
}

struct Connection {
    port: Arc<Port>,
    shared: Arc<Shared>,
    peer: SocketAddr,
    number: u32,
    replies: Replies,
    hung: bool,
}

/// What happens to the socket after a message.
enum Then {
    Continue,
    Close,
}

impl Connection {
    async fn serve(mut self, mut stream: TcpStream) {
        // Whatever ends the socket, the sender sees it: there is nobody else to tell.
        let _ = self.exchange(&mut stream).await;
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
    }

    /// Reads and answers until either side ends it. A stop takes effect between reads: what is on
    /// record as accepted is answered first.
    async fn exchange(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let stop = self.shared.stop.clone();
        let mut incoming = BytesMut::with_capacity(READ_SIZE);
        let mut frames = Frames::new(self.shared.options.max_frame);
        let mut out = Vec::with_capacity(8 * 1024);
        loop {
            incoming.reserve(READ_SIZE);
            let count = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                count = stream.read_buf(&mut incoming) => count?,
            };
            if count == 0 {
                return Ok(());
            }
            while let Some(body) = frames.next(&mut incoming).map_err(std::io::Error::other)? {
                let then = self.take(&body, &mut out);
                let delay = self.port.turns.lock().delay();
                if !delay.is_zero() {
                    self.shared.changed.notify_waiters();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                    write(stream, &mut out).await?;
                }
                if matches!(then, Then::Close) {
                    self.shared.changed.notify_waiters();
                    return write(stream, &mut out).await;
                }
            }
            self.shared.changed.notify_waiters();
            write(stream, &mut out).await?;
        }
    }

    /// Puts a message on record and its answer into `out`.
    fn take(&mut self, body: &Bytes, out: &mut Vec<u8>) -> Then {
        let control_id = wire::header_field(body, 10).unwrap_or_default();
        let misdeed = match self.hung {
            true => Some(Misdeed::Hang),
            false => self.port.turns.lock().next(control_id),
        };
        let answer = answer_of(misdeed);
        self.count(answer);
        self.record(body, control_id, answer);
        if let Some(observer) = &self.shared.options.observer {
            let (port, peer) = (self.port.number, self.peer);
            (observer.0)(&Received {
                body,
                control_id,
                answer,
                misdeed,
                port,
                peer,
            });
        }
        self.reply(body, misdeed, out)
    }

    fn reply(&mut self, body: &[u8], misdeed: Option<Misdeed>, out: &mut Vec<u8>) -> Then {
        match misdeed {
            None => self.replies.push(body, "AA", None, out),
            Some(Misdeed::Nak(code)) => self.replies.push(body, nak_text(code), None, out),
            Some(Misdeed::Silence) => {}
            Some(Misdeed::Hang) => self.hung = true,
            Some(Misdeed::Garbage) => wire::push_frame(out, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Some(Misdeed::WrongId) => self.replies.push(body, "AA", Some(b"NOT-YOUR-MESSAGE"), out),
            Some(Misdeed::Twice) => {
                self.replies.push(body, "AA", None, out);
                self.replies.push(body, "AA", None, out);
            }
            Some(Misdeed::CutShort) => {
                let start = out.len();
                self.replies.push(body, "AA", None, out);
                out.truncate(start + (out.len() - start) / 2);
                return Then::Close;
            }
            Some(Misdeed::Drop) => return Then::Close,
        }
        Then::Continue
    }

    fn count(&self, answer: Answer) {
        let counters = &self.shared.counters;
        counters.arrived.fetch_add(1, Ordering::Relaxed);
        let by_answer = match answer {
            Answer::Accepted => &counters.accepted,
            Answer::NotNow | Answer::Rejected => &counters.refused,
            Answer::None => &counters.unanswered,
        };
        by_answer.fetch_add(1, Ordering::Relaxed);
        counters
            .last_arrival_us
            .store(self.shared.watch.micros(), Ordering::Relaxed);
    }

    fn record(&self, body: &Bytes, control_id: &[u8], answer: Answer) {
        let options = &self.shared.options;
        if !options.record {
            return;
        }
        let mut record = self.port.record.lock();
        if record.bodies.len() < options.keep_bodies {
            // A copy: the slice would keep the whole read buffer alive.
            record.bodies.push(Bytes::copy_from_slice(body));
        }
        match ControlId::parse(control_id) {
            Some(id) => record.arrivals.push(Arrival {
                id,
                answer,
                at_us: self.shared.watch.micros(),
                connection: self.number,
                hash: options.hash_bodies.then(|| crate::sender::hash(body)),
            }),
            None => {
                *record
                    .foreign
                    .entry(String::from_utf8_lossy(control_id).into_owned())
                    .or_default() += 1
            }
        }
    }
}

/// Writes and empties the answers; a sender that does not read them is left.
async fn write(stream: &mut TcpStream, out: &mut Vec<u8>) -> std::io::Result<()> {
    timeout(WRITE_PATIENCE, stream.write_all(out)).await??;
    out.clear();
    Ok(())
}

fn answer_of(misdeed: Option<Misdeed>) -> Answer {
    match misdeed {
        None | Some(Misdeed::Twice) => Answer::Accepted,
        Some(Misdeed::Nak(NakCode::Ae | NakCode::Ce)) => Answer::NotNow,
        Some(Misdeed::Nak(NakCode::Ar | NakCode::Cr)) => Answer::Rejected,
        Some(_) => Answer::None,
    }
}

fn nak_text(code: NakCode) -> &'static str {
    match code {
        NakCode::Ae => "AE",
        NakCode::Ar => "AR",
        NakCode::Ce => "CE",
        NakCode::Cr => "CR",
    }
}

/// Writes acknowledgements, with one look at the clock each second.
#[derive(Default)]
struct Replies {
    second: u64,
    stamp: String,
    written: u64,
}

impl Replies {
    fn push(&mut self, original: &[u8], code: &str, answered_id: Option<&[u8]>, out: &mut Vec<u8>) {
        let now = SystemTime::now();
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if second != self.second || self.stamp.is_empty() {
            (self.second, self.stamp) = (second, crate::stamp(now));
        }
        self.written += 1;
        let field = |number| wire::header_field(original, number).unwrap_or_default();
        let separator = original
            .get(3)
            .copied()
            .filter(|_| original.starts_with(b"MSH"))
            .unwrap_or(b'|');
        let encoding = match field(2) {
            b"" => &b"^~\\&"[..],
            encoding => encoding,
        };
        let component = encoding[0];
        let trigger = field(9)
            .split(|&byte| byte == component)
            .nth(1)
            .unwrap_or_default();
        let number = self.written.to_string();
        wire::push_frame_start(out);
        out.extend_from_slice(b"MSH");
        let header: [&[u8]; 7] = [
            encoding,
            field(5),
            field(6),
            field(3),
            field(4),
            self.stamp.as_bytes(),
            b"",
        ];
        for value in header {
            out.push(separator);
            out.extend_from_slice(value);
        }
        out.push(separator);
        out.extend_from_slice(b"ACK");
        if !trigger.is_empty() {
            out.push(component);
            out.extend_from_slice(trigger);
        }
        for value in [number.as_bytes(), field(11), field(12)] {
            out.push(separator);
            out.extend_from_slice(value);
        }
        out.extend_from_slice(b"\rMSA");
        for value in [code.as_bytes(), answered_id.unwrap_or_else(|| field(10))] {
            out.push(separator);
            out.extend_from_slice(value);
        }
        out.push(b'\r');
        wire::push_frame_end(out);
    }
}
