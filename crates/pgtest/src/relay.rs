//! A way to a server that a test can spoil: slow it down, cut it, let it go silent, or lead it elsewhere. It
//! stands for the network between, and for the address that moves with the primary.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Database;

/// Takes connections on a port of 127.0.0.1 and passes them on. Dropping it ends them.
pub struct Relay {
    port: u16,
    way: Arc<Way>,
    accepting: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Default)]
struct Way {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    target: u16,
    delay: Duration,
    stalled: bool,
    /// Connections up to this number never pass on another byte.
    forgotten: u64,
    last: u64,
    open: Vec<(u64, Arc<TcpStream>, Arc<TcpStream>)>,
    ended: bool,
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nothing may pass; the delay of what does, or `None` at the end.
    fn pass(&self, connection: u64) -> Option<Duration> {
        let mut state = self.state();
        while !state.ended && (state.stalled || connection <= state.forgotten) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!state.ended).then_some(state.delay)
    }
}

impl Relay {
    /// A relay to a port of this machine.
    pub fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let own = listener.local_addr().expect("it is bound").port();
        let way = Arc::new(Way::default());
        way.state().target = port;
        let accepting = {
            let way = Arc::clone(&way);
            std::thread::spawn(move || accept(&listener, &way))
        };
        Relay {
            port: own,
            way,
            accepting: Some(accepting),
        }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database by way of this relay.
    pub fn url(&self, database: &Database<'_>) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, database.name())
    }

    /// From now on, each piece that is passed on takes so much longer, in either direction.
    pub fn delay(&self, each_way: Duration) {
        self.way.state().delay = each_way;
    }

    /// Nothing passes until [`Relay::resume`]; connections stay open, and new ones are taken.
    pub fn stall(&self) {
        self.way.state().stalled = true;
    }

    /// What waited passes.
    pub fn resume(&self) {
        self.way.state().stalled = false;
        self.way.changed.notify_all();
    }

    /// The connections of now never pass on another byte, nor do they end; new ones work.
    pub fn forget(&self) {
        let mut state = self.way.state();
        state.forgotten = state.last;
    }

    /// Ends all connections with a reset, whatever is under way on them.
    pub fn reset(&self) {
        let open = std::mem::take(&mut self.way.state().open);
        for (_, client, server) in open {
            for stream in [client, server] {
                // The last owner's close sends the reset; ending the reading side wakes that owner.
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
    }

    /// Leads to another port from now on: all connections end, as when an address moves to another machine.
    pub fn switch(&self, port: u16) {
        self.way.state().target = port;
        self.reset();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.way.state().ended = true;
        self.way.changed.notify_all();
        self.reset();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, way: &Arc<Way>) {
    for client in listener.incoming() {
        let (ended, target) = {
            let state = way.state();
            (state.ended, state.target)
        };
        if ended {
            return;
        }
        let Ok(client) = client else { continue };
        let address = SocketAddr::from(([127, 0, 0, 1], target));
        // No server there: the client's connection ends at once.
        let Ok(server) = TcpStream::connect(address) else {
            continue;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client, server) = (Arc::new(client), Arc::new(server));
        let number = {
            let mut state = way.state();
            state.last += 1;
            let number = state.last;
            state
                .open
                .push((number, Arc::clone(&client), Arc::clone(&server)));
            number
        };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to, way) = (Arc::clone(from), Arc::clone(to), Arc::clone(way));
            std::thread::spawn(move || pump(number, &from, &to, &way));
        }
    }
}

fn pump(connection: u64, mut from: &TcpStream, mut to: &TcpStream, way: &Way) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let Some(delay) = way.pass(connection) else { return };
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // One side is gone: so is the other. A connection that was reset is no longer in the list.
    let mut state = way.state();
    if let Some(at) = state.open.iter().position(|(number, ..)| *number == connection) {
        let (_, client, server) = state.open.remove(at);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    }
}
