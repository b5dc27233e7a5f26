//! The partner that receives: MLLP listeners that remember what came, in which order, and what they
//! answered, and that misbehave when asked to.
//!
//! An arrival is on record before its answer is on the wire: whatever the sender believes to be
//! delivered, the sink can prove.

mod behaviour;
mod connection;
mod log;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use behaviour::{Behaviour, Fault, Misdeed, NakCode, When};
pub use log::{Answer, Arrival, PortRecord};

use crate::clock::StopWatch;
use behaviour::Turns;

/// Called for every message before it is answered.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Received<'_>) + Send + Sync>);

impl Observer {
    /// An observer from a function; it runs on the connection's task, so it must not block for long.
    pub fn new(observe: impl Fn(&Received<'_>) + Send + Sync + 'static) -> Observer {
        Observer(Arc::new(observe))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// A message as an observer sees it.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The body.
    pub body: &'a Bytes,
    /// MSH-10 as it stands; empty when there is none.
    pub control_id: &'a [u8],
    /// The answer it will get.
    pub answer: Answer,
    /// What the partner does wrong with it, if anything.
    pub misdeed: Option<Misdeed>,
    /// The local port that it came to.
    pub port: u16,
    /// Where it came from.
    pub peer: SocketAddr,
}

/// What to listen on, and what to remember.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses, one listener each; port 0 takes a free one.
    pub bind: Vec<SocketAddr>,
    /// How to treat what comes.
    pub behaviour: Behaviour,
    /// Whether to remember arrivals; without it only the counters move.
    pub record: bool,
    /// Whether to remember a hash of every body.
    pub hash_bodies: bool,
    /// How many bodies each port keeps.
    pub keep_bodies: usize,
    /// The longest message taken, in bytes.
    pub max_frame: usize,
    /// Called for every message.
    pub observer: Option<Observer>,
}

impl Options {
    /// Well-behaved listeners on free ports of the loopback interface.
    pub fn local(ports: usize) -> Options {
        Options {
            bind: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0); ports],
            behaviour: Behaviour::default(),
            record: true,
            hash_bodies: false,
            keep_bodies: 0,
            max_frame: 64 * 1024 * 1024,
            observer: None,
        }
    }

    /// The same with other manners.
    pub fn behaving(self, behaviour: Behaviour) -> Options {
        Options { behaviour, ..self }
    }
}

/// How many messages came, and how they were answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// All attempts.
    pub arrived: u64,
    /// Attempts answered with AA or CA.
    pub accepted: u64,
    /// Attempts answered with AE, AR, CE or CR.
    pub refused: u64,
    /// Attempts without a usable answer.
    pub unanswered: u64,
    /// Connections taken so far.
    pub connections: u64,
    /// Connections open at present.
    pub open: u64,
}

/// Counters of all ports.
#[derive(Debug, Default)]
struct Counters {
    arrived: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    last_arrival_us: AtomicU64,
}

/// One port: what its connections share.
#[derive(Debug)]
struct Port {
    number: u16,
    index: usize,
    turns: Mutex<Turns>,
    record: Mutex<PortRecord>,
    connections: AtomicU64,
}

/// What all ports share.
#[derive(Debug)]
struct Shared {
    options: Options,
    watch: StopWatch,
    counters: Counters,
    changed: Notify,
    stop: CancellationToken,
}

/// Listeners at work. Dropping it closes them.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    ports: Vec<Arc<Port>>,
    addresses: Vec<SocketAddr>,
    tasks: TaskTracker,
}

impl Sink {
    /// Binds all listeners.
    ///
    /// # Errors
    /// The first address that cannot be bound, by name.
    pub async fn start(options: Options) -> io::Result<Sink> {
        Sink::start_on(options, StopWatch::start()).await
    }

    pub(crate) async fn start_on(options: Options, watch: StopWatch) -> io::Result<Sink> {
        let mut listeners = Vec::with_capacity(options.bind.len());
        for address in &options.bind {
            let bound = TcpListener::bind(address).await;
            listeners.push(
                bound.map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))?,
            );
        }
        let shared = Arc::new(Shared {
            options,
            watch,
            counters: Counters::default(),
            changed: Notify::new(),
            stop: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        let (mut ports, mut addresses) = (Vec::new(), Vec::new());
        for (index, listener) in listeners.into_iter().enumerate() {
            let address = listener.local_addr()?;
            let port = Arc::new(Port {
                number: address.port(),
                index,
                turns: Mutex::new(Turns::new(shared.options.behaviour.clone(), index)),
                record: Mutex::new(PortRecord {
                    port: address.port(),
                    ..PortRecord::default()
                }),
                connections: AtomicU64::new(0),
            });
            tasks.spawn(connection::listen(
                listener,
                Arc::clone(&port),
                Arc::clone(&shared),
                tasks.clone(),
            ));
            ports.push(port);
            addresses.push(address);
        }
        Ok(Sink {
            shared,
            ports,
            addresses,
            tasks,
        })
    }

    /// The addresses, in the order of the options, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port numbers, in the order of the options.
    pub fn ports(&self) -> Vec<u16> {
        self.addresses.iter().map(SocketAddr::port).collect()
    }

    /// Gives a port other manners from the next message on; its count of messages starts anew.
    /// A port that does not exist is left alone.
    pub fn behave(&self, port: usize, behaviour: Behaviour) {
        if let Some(port) = self.ports.get(port) {
            *port.turns.lock() = Turns::new(behaviour, port.index);
        }
    }

    /// The counters at present.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            arrived: read(&counters.arrived),
            accepted: read(&counters.accepted),
            refused: read(&counters.refused),
            unanswered: read(&counters.unanswered),
            connections: read(&counters.connections),
            open: read(&counters.open),
        }
    }

    /// How long nothing has arrived.
    pub fn quiet_for(&self) -> Duration {
        let last = self.shared.counters.last_arrival_us.load(Ordering::Relaxed);
        Duration::from_micros(self.shared.watch.micros().saturating_sub(last))
    }

    /// What arrived so far, port by port.
    pub fn received(&self) -> Vec<PortRecord> {
        self.ports.iter().map(|port| port.record.lock().clone()).collect()
    }

    /// Waits until the counters satisfy a condition, at most for `limit`.
    ///
    /// # Errors
    /// The counters as they stood when time ran out.
    pub async fn wait_until(
        &self,
        limit: Duration,
        reached: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, Counts> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let changed = self.shared.changed.notified();
            let counts = self.counts();
            if reached(&counts) {
                return Ok(counts);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let counts = self.counts();
                return if reached(&counts) { Ok(counts) } else { Err(counts) };
            }
        }
    }

    /// Closes listeners and connections, and hands over what arrived.
    pub async fn stop(self) -> Vec<PortRecord> {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.ports
            .iter()
            .map(|port| std::mem::take(&mut *port.record.lock()))
            .collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
