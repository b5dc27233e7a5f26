//! A way to a real server on which commits are answered by an error that the server did not give: what it would say with a
//! full disk or a failover under way, on a server that cannot be brought to it. Such a commit never reaches the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::wire::{HEADER, error, message};

/// What is in a commit and in no other request.
const COMMIT: &str = "INSERT INTO holdfast.s";

/// An error, and how many commits it is still the answer to.
type Said = Arc<Mutex<Option<(Vec<u8>, usize)>>>;

/// The way. Dropping it ends it.
pub(in crate::sqlserver) struct Between {
    pub(in crate::sqlserver) port: u16,
    said: Said,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Between {
    /// To a port of this machine.
    pub(in crate::sqlserver) fn to(target: u16) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (said, ended) = (Said::default(), Arc::new(AtomicBool::new(false)));
        let accepting = {
            let (said, ended) = (Arc::clone(&said), Arc::clone(&ended));
            std::thread::spawn(move || {
                for client in listener.incoming() {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", target))) {
                        pass_on(&client, &server, &said);
                    }
                }
            })
        };
        Between {
            port,
            said,
            ended,
            accepting: Some(accepting),
        }
    }

    /// So many commits from now on are answered like this.
    pub(in crate::sqlserver) fn says(&self, number: u32, class: u8, times: usize) {
        let answer = message(&error(number, class, "said by a test"));
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some((answer, times));
    }

    /// The server is sound again.
    pub(in crate::sqlserver) fn is_sound(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Both directions of a connection, each on a thread that ends with the connection.
fn pass_on(client: &TcpStream, server: &TcpStream, said: &Said) {
    for stream in [client, server] {
        stream.set_nodelay(true).unwrap();
    }
    let both = || (client.try_clone().unwrap(), server.try_clone().unwrap());
    let ((mut to, mut from), (mut client, mut server), said) = (both(), both(), Arc::clone(said));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        while let Some(bytes) = request(&mut client) {
            let written = match answer(&bytes, &said) {
                Some(answer) => client.write_all(&answer),
                None => server.write_all(&bytes),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// What is to be said to a request instead of what the server would.
fn answer(request: &[u8], said: &Said) -> Option<Vec<u8>> {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, times) = said.as_mut().filter(|(_, times)| *times > 0)?;
    let text: String = request
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect();
    text.contains(COMMIT).then(|| {
        *times -= 1;
        answer.clone()
    })
}

/// A whole request, packets and all.
fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut packet = vec![0; HEADER];
        client.read_exact(&mut packet).ok()?;
        let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        packet.resize(length.max(HEADER), 0);
        client.read_exact(&mut packet[HEADER..]).ok()?;
        let last = packet[1] & 1 == 1;
        bytes.extend(packet);
        if last {
            return Some(bytes);
        }
    }
}
