//! A server that speaks enough of the protocol to be logged in to and to be asked, and at one place does what it is told
//! to. It keeps a record of what came on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wire::{self, Cell, HEADER};

/// What a client can be told at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Prelogin,
    Login,
    /// The session's options: a batch.
    Session,
    /// What the server says of itself: a call that is answered with a row.
    Standing,
    /// What the test asks for.
    Question,
}

impl Stage {
    pub(super) const EACH: [Stage; 5] = [
        Stage::Prelogin,
        Stage::Login,
        Stage::Session,
        Stage::Standing,
        Stage::Question,
    ];
}

/// What it does there instead of a good answer.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// The good answer.
    Answer,
    /// These bytes, and then an end of the connection.
    Close(Vec<u8>),
    /// These bytes, and then a reset.
    Reset(Vec<u8>),
    /// These bytes, and then nothing, with the connection open.
    Stall(Vec<u8>),
    /// One of these bytes after the other, over and over, with a pause between.
    Drip(Vec<u8>, Duration),
    /// First bytes, then others over and over, as fast as they are taken.
    Flood(Vec<u8>, Vec<u8>),
    /// These bytes as an answer, and on it goes.
    Say(Vec<u8>),
}

/// One connection, as it was.
#[derive(Clone, Default, Debug)]
pub(super) struct Record {
    /// Whole messages that came, by stage.
    pub(super) asked: Vec<Stage>,
    /// What it was told in its messages, as far as it is ASCII.
    pub(super) texts: Vec<String>,
    /// The access token in its log-in.
    pub(super) token: Option<String>,
    /// When it misbehaved there.
    pub(super) spoiled: bool,
    /// Bytes that came after it had.
    pub(super) after: usize,
    pub(super) ended: bool,
}

type Script = Box<dyn Fn(usize, Stage, usize) -> Deed + Send + Sync>;

struct Shared {
    script: Script,
    records: Mutex<Vec<Record>>,
    ended: AtomicBool,
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. Dropping it ends it.
pub(super) struct Peer {
    pub(super) port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Peer {
    /// Asks `script` at each message what to do: the connection's number, the stage, and how many messages of that stage
    /// came before on it.
    pub(super) fn start(script: impl Fn(usize, Stage, usize) -> Deed + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            records: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Peer {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Does this on the first connection at this stage, and behaves everywhere else.
    pub(super) fn once(at: Stage, deed: Deed) -> Peer {
        Peer::start(move |connection, stage, before| match (connection, before) {
            (0, 0) if stage == at => deed.clone(),
            _ => Deed::Answer,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("sqlserver://holdfast@127.0.0.1:{}/holdfast", self.port)
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.shared.records().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for (number, stream) in listener.incoming().enumerate() {
        if shared.ended.load(Ordering::Relaxed) {
            break;
        }
        let Ok(stream) = stream else { continue };
        shared.records().push(Record::default());
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
            let mut talk = Talk {
                stream,
                shared,
                number,
            };
            talk.run();
            talk.shared.records()[number].ended = true;
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// One connection.
struct Talk {
    stream: TcpStream,
    shared: Arc<Shared>,
    number: usize,
}

impl Talk {
    fn over(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// So many bytes; `None` at the end.
    fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            match self.stream.read(&mut bytes[at..]) {
                Ok(0) => return None,
                Ok(read) => at += read,
                Err(error) if is_waiting(&error) && !self.over() => {}
                Err(_) => return None,
            }
        }
        Some(bytes)
    }

    /// A message, its packets' payloads joined, with the kind of its packets.
    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut payload = Vec::new();
        loop {
            let header = self.read(HEADER)?;
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            payload.extend(self.read(length.checked_sub(HEADER)?)?);
            if header[1] & 1 == 1 {
                return Some((header[0], payload));
            }
        }
    }

    fn run(&mut self) {
        let mut before = [0_usize; Stage::EACH.len()];
        while let Some((kind, payload)) = self.message() {
            let text: String = payload
                .iter()
                .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
                .map(|byte| char::from(*byte))
                .collect();
            let stage = match kind {
                18 => Stage::Prelogin,
                16 => Stage::Login,
                1 => Stage::Session,
                3 if text.contains("@@SPID") => Stage::Standing,
                _ => Stage::Question,
            };
            let count = before[stage as usize];
            before[stage as usize] += 1;
            let deed = (self.shared.script)(self.number, stage, count);
            {
                let mut records = self.shared.records();
                let record = &mut records[self.number];
                record.asked.push(stage);
                record.texts.push(text);
                if stage == Stage::Login {
                    record.token = wire::token_of(&payload);
                }
                record.spoiled |= !matches!(deed, Deed::Answer | Deed::Say(_));
            }
            let go_on = match deed {
                Deed::Answer => self.send(&good(stage)),
                Deed::Say(bytes) => self.send(&bytes),
                deed => {
                    self.misbehave(deed);
                    false
                }
            };
            if !go_on {
                return;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => return false,
                Ok(written) => rest = &rest[written..],
                Err(error) if is_waiting(&error) && !self.over() => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn misbehave(&mut self, deed: Deed) {
        match deed {
            Deed::Answer | Deed::Say(_) => {}
            Deed::Close(bytes) => drop(self.send(&bytes)),
            Deed::Reset(bytes) => {
                self.send(&bytes);
                let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            }
            Deed::Stall(bytes) => {
                self.send(&bytes);
                while self.listen() {}
            }
            Deed::Drip(bytes, pause) => {
                for byte in bytes.iter().cycle() {
                    std::thread::sleep(pause);
                    if !self.send(&[*byte]) || !self.listen() {
                        return;
                    }
                }
            }
            Deed::Flood(first, then) => {
                let many = then.repeat(1 + 60_000 / then.len().max(1));
                self.send(&first);
                while !self.over() && self.send(&many) {}
                let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            }
        }
    }

    /// Notes what still comes; false once the other side has gone.
    fn listen(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.shared.records()[self.number].after += read;
                !self.over()
            }
            Err(error) => is_waiting(&error) && !self.over(),
        }
    }
}

fn is_waiting(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// What a sound server says: one leadership in the history, of `node-1`.
pub(super) fn good(stage: Stage) -> Vec<u8> {
    match stage {
        Stage::Prelogin => wire::prelogin(),
        Stage::Login => wire::message(&[wire::login_ack(), wire::done(0xfd)].concat()),
        Stage::Session => wire::message(&wire::done(0xfd)),
        Stage::Standing => wire::message(&answer(&standing("READ_WRITE"))),
        Stage::Question => wire::message(&answer(&leadership())),
    }
}

/// One row, as a call is answered.
pub(super) fn answer(row: &[Cell]) -> Vec<u8> {
    [wire::rows(&[row.to_vec()]), wire::done(0xfe)].concat()
}

/// What a server says of itself: whether its database is `READ_WRITE` or `READ_ONLY`.
pub(super) fn standing(updateability: &str) -> Vec<Cell> {
    vec![
        Cell::Int(51),
        Cell::Text("Microsoft SQL Server 2022 (a test's peer)".to_owned()),
        Cell::Text(updateability.to_owned()),
        Cell::Int(3),
    ]
}

/// Of the history.
pub(super) fn leadership() -> Vec<Cell> {
    vec![
        Cell::Int(7),
        Cell::Text("node-1".to_owned()),
        Cell::Big(1_700_000_000_000_000),
        Cell::NoBig,
        Cell::NoBig,
        Cell::NoText,
    ]
}
