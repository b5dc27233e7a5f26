//! Ports for nodes that must come back on the same address after a kill.
//!
//! A port that the system gives for 0 lies in the range of outgoing connections, so another test's client
//! may take it between two runs of a node. These lie below that range; each is given out once.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port of 127.0.0.1 on which nothing listens and that no other caller in this process got.
pub fn free() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let spread = u16::try_from(std::process::id() % 700).unwrap_or(0) * 24;
    for offset in 0..16_000u16 {
        let port = 15_000 + (spread + offset) % 16_800;
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port between 15000 and 31800 on 127.0.0.1");
}
