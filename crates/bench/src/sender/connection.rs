//! The rim of a lane: its socket, its clock, its patience.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::lane::{Lane, Micros, Plan, Settled};
use super::record::LaneRecord;
use super::{Options, Shared, Until};
use crate::control_id::ControlId;
use crate::wire::{self, Frames};

/// Bytes waiting to be written above which no further message is rendered.
const PENDING_MAX: usize = 128 * 1024;
const READ_SIZE: usize = 64 * 1024;
/// A reply is a few hundred bytes; a mebibyte is not one.
const REPLY_MAX: usize = 1024 * 1024;
const BACK_OFF_FIRST: Duration = Duration::from_millis(10);

/// A hash of a body, the same on both sides of one process.
pub(crate) fn hash(body: &[u8]) -> u64 {
    static STATE: std::sync::OnceLock<std::hash::RandomState> = std::sync::OnceLock::new();
    let mut hasher = STATE.get_or_init(std::hash::RandomState::new).build_hasher();
    hasher.write(body);
    hasher.finish()
}

/// Runs one lane to its end, over as many connections as it takes.
pub(super) async fn run(number: u16, options: Arc<Options>, shared: Arc<Shared>) -> LaneRecord {
    let plan = Plan::share(options.pace, options.until, number, options.lanes);
    let expected = match options.until {
        Until::Count(count) => usize::try_from(count / u64::from(options.lanes)).unwrap_or(0) + 1,
        Until::Elapsed(_) | Until::Stopped => 0,
    };
    let lane = Lane::new(plan, LaneRecord::new(number, expected));
    let mut runner = Runner {
        number,
        lane,
        options,
        shared,
    };
    runner.run().await;
    runner.lane.into_record()
}

struct Runner {
    number: u16,
    lane: Lane,
    options: Arc<Options>,
    shared: Arc<Shared>,
}

impl Runner {
    async fn run(&mut self) {
        let address = self.options.to[usize::from(self.number) % self.options.to.len()].clone();
        let mut out_of_reach_since = Instant::now();
        let mut back_off = BACK_OFF_FIRST;
        let mut connections = 0_u64;
        while !self.done() {
            let problem = match tokio::time::timeout(self.options.ack_timeout, connect(&address)).await {
                Ok(Ok(stream)) => {
                    self.shared.connected.fetch_add(1, Ordering::Relaxed);
                    self.lane.record_mut().reconnects = connections;
                    connections += 1;
                    let driven = self.drive(&stream).await;
                    self.shared.connected.fetch_sub(1, Ordering::Relaxed);
                    match driven {
                        Ok(()) => return,
                        Err(lost) => {
                            self.lane.disconnected();
                            if lost.progressed {
                                out_of_reach_since = Instant::now();
                                back_off = BACK_OFF_FIRST;
                            }
                            lost.reason
                        }
                    }
                }
                Ok(Err(error)) => error,
                Err(_) => io::Error::from(io::ErrorKind::TimedOut),
            };
            if out_of_reach_since.elapsed() >= self.options.give_up_after {
                let seconds = self.options.give_up_after.as_secs_f32();
                let failure = format!("{address} was out of reach for {seconds:.1} s: {problem}");
                self.lane.record_mut().failure = Some(failure);
                return;
            }
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(self.options.back_off_max);
        }
    }

    fn done(&mut self) -> bool {
        if self.shared.stop.is_cancelled() {
            self.lane.stop();
        }
        self.lane.finished(self.shared.watch.micros())
    }

    /// Sends and listens on one connection until the lane is done or the connection is.
    async fn drive(&mut self, stream: &TcpStream) -> Result<(), Lost> {
        let mut link = Link::new();
        let stop = self.shared.stop.clone();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            self.fill(&mut link);
            if link.pending() == 0 && self.done() {
                return Ok(());
            }
            timer.as_mut().reset(self.wake_at(&link));
            tokio::select! {
                ready = stream.ready(link.interest()) => {
                    let ready = ready.map_err(|e| link.lost(e))?;
                    if ready.is_writable() {
                        link.write(stream).map_err(|e| link.lost(e))?;
                    }
                    if ready.is_readable() || ready.is_read_closed() {
                        self.hear(&mut link, stream).map_err(|e| link.lost(e))?;
                    }
                }
                () = &mut timer => self.check_patience().map_err(|e| link.lost(e))?,
                () = stop.cancelled(), if !link.stopping => {
                    link.stopping = true;
                    self.lane.stop();
                }
            }
        }
    }

    /// Renders what is due, as far as the connection keeps up.
    fn fill(&mut self, link: &mut Link) {
        let now = self.shared.watch.micros();
        let mut rendered = 0;
        let mut repeated = self.lane.record_mut().resent;
        while link.pending() < PENDING_MAX {
            let Some(sequence) = self.lane.take(now) else {
                break;
            };
            let id = ControlId {
                run: self.options.run,
                lane: self.number,
                sequence,
                part: 0,
            };
            wire::push_frame_start(&mut link.out);
            let start = link.out.len();
            self.options.payload.render(&id, &mut link.out);
            if self.options.hash_bodies {
                self.remember_hash(sequence, &link.out[start..]);
            }
            wire::push_frame_end(&mut link.out);
            rendered += 1;
        }
        repeated = self.lane.record_mut().resent - repeated;
        if rendered > 0 {
            self.shared.sent.fetch_add(rendered - repeated, Ordering::Relaxed);
            self.shared.resent.fetch_add(repeated, Ordering::Relaxed);
        }
    }

    fn remember_hash(&mut self, sequence: u32, body: &[u8]) {
        let hashes = &mut self.lane.record_mut().hashes;
        if hashes.len() == sequence as usize {
            hashes.push(hash(body));
        }
    }

    /// When to look again without having heard anything. While the connection does not take what is
    /// already rendered, the next send being due changes nothing.
    fn wake_at(&self, link: &Link) -> Instant {
        let now = self.shared.watch.micros();
        let ack_timeout = micros(self.options.ack_timeout);
        let at = if link.pending() < PENDING_MAX {
            self.lane.wake_at(now, ack_timeout)
        } else {
            self.lane.overdue_at(ack_timeout)
        };
        match at {
            Some(at) => self.shared.watch.at(Duration::from_micros(at)).into(),
            None => Instant::now() + Duration::from_secs(3600),
        }
    }

    fn check_patience(&self) -> io::Result<()> {
        let now = self.shared.watch.micros();
        match self.lane.overdue_at(micros(self.options.ack_timeout)) {
            Some(overdue) if overdue <= now => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within the time allowed",
            )),
            _ => Ok(()),
        }
    }

    /// Reads what has come in and settles what it answers.
    fn hear(&mut self, link: &mut Link, stream: &TcpStream) -> io::Result<()> {
        let read = link.read(stream);
        let now = self.shared.watch.micros();
        let (mut accepted, mut refused) = (0, 0);
        while let Some(body) = link.frames.next(&mut link.incoming).map_err(io::Error::other)? {
            match self.settle(&body, now) {
                Settled::Accepted => accepted += 1,
                Settled::Refused => refused += 1,
                Settled::Stray => {}
            }
        }
        link.progressed |= accepted + refused > 0;
        self.shared.acknowledged.fetch_add(accepted, Ordering::Relaxed);
        self.shared.refused.fetch_add(refused, Ordering::Relaxed);
        if accepted > 0 {
            self.shared.heard(now);
        }
        match read? {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(()),
        }
    }

    fn settle(&mut self, body: &[u8], now: Micros) -> Settled {
        let answer = wire::reply(body).and_then(|reply| Some((reply, ControlId::parse(reply.control_id)?)));
        match answer {
            Some((reply, id)) if id.run == self.options.run && id.lane == self.number => {
                self.lane.answered(id.sequence, reply.accepts(), now)
            }
            _ => {
                self.lane.stray();
                Settled::Stray
            }
        }
    }
}

/// A connection that ended before the lane did.
struct Lost {
    reason: io::Error,
    progressed: bool,
}

/// The buffers of one connection.
struct Link {
    out: Vec<u8>,
    written: usize,
    incoming: BytesMut,
    frames: Frames,
    progressed: bool,
    stopping: bool,
}

impl Link {
    fn new() -> Link {
        Link {
            out: Vec::with_capacity(PENDING_MAX),
            written: 0,
            incoming: BytesMut::with_capacity(READ_SIZE),
            frames: Frames::new(REPLY_MAX),
            progressed: false,
            stopping: false,
        }
    }

    fn pending(&self) -> usize {
        self.out.len() - self.written
    }

    fn interest(&self) -> Interest {
        if self.pending() > 0 {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        }
    }

    fn lost(&self, reason: io::Error) -> Lost {
        Lost {
            reason,
            progressed: self.progressed,
        }
    }

    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.pending() > 0 {
            match stream.try_write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // Keep the buffer from creeping: start over when empty, close up when half is behind us.
        if self.pending() == 0 {
            self.out.clear();
            self.written = 0;
        } else if self.written > PENDING_MAX / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Reads until the socket is empty; true when the partner has closed it.
    fn read(&mut self, stream: &TcpStream) -> io::Result<bool> {
        loop {
            self.incoming.reserve(READ_SIZE);
            match stream.try_read_buf(&mut self.incoming) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
