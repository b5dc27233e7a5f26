//! A counter on the way to a database server: it passes everything on as it comes and counts what a program asks of the
//! server. It sees the wire alone, so that two servers, or two releases, are counted by the same measure.
//!
//! Bytes and round trips are counted of any protocol. Requests, statements and transactions only of PostgreSQL's and SQL
//! Server's, in plain text: inside TLS there is nothing to read.

mod postgres;
mod sqlserver;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Which language the server speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// PostgreSQL's, version 3.
    Postgres,
    /// TDS.
    SqlServer,
}

/// What went by so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Tally {
    /// Times that somebody sent and then waited for the server.
    pub round_trips: u64,
    /// What was to be executed, as one unit of the protocol: a batch of statements or one statement.
    pub requests: u64,
    /// Statements in them.
    pub statements: u64,
    /// Transactions that ended: of one request or of several.
    pub transactions: u64,
    /// Towards the server.
    pub bytes_sent: u64,
    /// From it.
    pub bytes_received: u64,
}

impl Tally {
    /// What came after `before`.
    pub fn since(&self, before: &Tally) -> Tally {
        Tally {
            round_trips: self.round_trips.saturating_sub(before.round_trips),
            requests: self.requests.saturating_sub(before.requests),
            statements: self.statements.saturating_sub(before.statements),
            transactions: self.transactions.saturating_sub(before.transactions),
            bytes_sent: self.bytes_sent.saturating_sub(before.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(before.bytes_received),
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    round_trips: AtomicU64,
    requests: AtomicU64,
    statements: AtomicU64,
    transactions: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, more: u64) {
        if more > 0 {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn count(&self, asked: Asked) {
        Counters::add(&self.requests, asked.requests);
        Counters::add(&self.statements, asked.statements);
        Counters::add(&self.transactions, asked.transactions);
    }
}

/// What some bytes of one connection asked for, or ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Asked {
    requests: u64,
    statements: u64,
    transactions: u64,
}

/// Reads one connection's two directions.
trait Reader: Send {
    fn sent(&mut self, bytes: &[u8]) -> Asked;
    fn received(&mut self, bytes: &[u8]) -> Asked;
}

fn reader(protocol: Protocol) -> Box<dyn Reader> {
    match protocol {
        Protocol::Postgres => Box::new(postgres::Postgres::default()),
        Protocol::SqlServer => Box::new(sqlserver::SqlServer::default()),
    }
}

/// A counter at work. Dropping it closes its listener; connections that stand go on.
#[derive(Debug)]
pub struct Toll {
    address: SocketAddr,
    counters: Arc<Counters>,
    listening: JoinHandle<()>,
}

impl Toll {
    /// Listens on a free port of 127.0.0.1 and passes what comes there on to `server`, a `host:port`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(server: String, protocol: Protocol) -> io::Result<Toll> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let counters = Arc::<Counters>::default();
        let counting = Arc::clone(&counters);
        let listening = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (server, counting) = (server.clone(), Arc::clone(&counting));
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(server).await {
                        pass(near, far, protocol, &counting).await;
                    }
                });
            }
        });
        Ok(Toll {
            address,
            counters,
            listening,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went by so far, on all connections.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = &self.counters;
        Tally {
            round_trips: read(&of.round_trips),
            requests: read(&of.requests),
            statements: read(&of.statements),
            transactions: read(&of.transactions),
            bytes_sent: read(&of.bytes_sent),
            bytes_received: read(&of.bytes_received),
        }
    }
}

impl Drop for Toll {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Passes on until one side ends.
async fn pass(near: TcpStream, far: TcpStream, protocol: Protocol, counters: &Counters) {
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let (mut ask, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut reader = reader(protocol);
    let mut waits = false;
    loop {
        let goes_on = tokio::select! {
            read = from_near.read(&mut ask) => match bytes_of(&ask, read) {
                Some(bytes) => {
                    if !std::mem::replace(&mut waits, true) {
                        Counters::add(&counters.round_trips, 1);
                    }
                    Counters::add(&counters.bytes_sent, bytes.len() as u64);
                    counters.count(reader.sent(bytes));
                    to_far.write_all(bytes).await.is_ok()
                }
                None => {
                    finish(&mut to_far, &mut from_far, &mut to_near).await;
                    false
                }
            },
            read = from_far.read(&mut answer) => match bytes_of(&answer, read) {
                Some(bytes) => {
                    waits = false;
                    Counters::add(&counters.bytes_received, bytes.len() as u64);
                    counters.count(reader.received(bytes));
                    to_near.write_all(bytes).await.is_ok()
                }
                None => {
                    let _ = to_near.shutdown().await;
                    false
                }
            },
        };
        if !goes_on {
            return;
        }
    }
}

fn bytes_of(buffer: &[u8], read: io::Result<usize>) -> Option<&[u8]> {
    read.ok().filter(|count| *count > 0).map(|count| &buffer[..count])
}

/// The program has said all; the server may still answer.
async fn finish(to_far: &mut OwnedWriteHalf, from_far: &mut OwnedReadHalf, to_near: &mut OwnedWriteHalf) {
    if to_far.shutdown().await.is_ok() {
        let _ = tokio::io::copy(from_far, to_near).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_by_is_passed_on_and_counted() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let toll = Toll::start(to.to_string(), Protocol::SqlServer).await.unwrap();
        let mut near = TcpStream::connect(toll.address()).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        let mut heard = [0; 3];
        for _ in 0..2 {
            near.write_all(b"ask").await.unwrap();
            far.read_exact(&mut heard).await.unwrap();
            far.write_all(b"answer").await.unwrap();
            near.read_exact(&mut [0; 6]).await.unwrap();
        }
        assert_eq!(&heard, b"ask");
        let expected = Tally {
            round_trips: 2,
            bytes_sent: 6,
            bytes_received: 12,
            ..Tally::default()
        };
        assert_eq!(toll.tally(), expected);
        drop(near);
        assert_eq!(far.read(&mut heard).await.unwrap(), 0);
        assert_eq!(toll.tally().since(&expected), Tally::default());
    }
}
