//! The listening side: binds, lets partners in within bounds, one task per socket, stops cleanly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};

use super::meters::Meters;
use super::session::Session;
use super::settings::Inbound;
use crate::contract::{Source, SourceContext, SourceError, Unobtainable};

/// Connections that the system holds until they are let in.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept (no file descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Idle time before keep-alive probes: finds partners that went away without a word.
const KEEPALIVE: Duration = Duration::from_secs(60);

pub(crate) struct MllpSource {
    settings: Arc<Inbound>,
    listener: Option<TcpListener>,
}

impl MllpSource {
    pub(crate) fn new(settings: Inbound) -> MllpSource {
        MllpSource {
            settings: Arc::new(settings),
            listener: None,
        }
    }

    async fn listen(&self) -> io::Result<TcpListener> {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host((self.settings.host.as_str(), self.settings.port)).await? {
            match listen_on(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl Source for MllpSource {
    async fn bind(&mut self) -> Result<(), SourceError> {
        self.listener = None;
        let listener = self
            .listen()
            .await
            .map_err(|error| bind_fault(&self.settings, error))?;
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(&mut self, context: SourceContext) -> Result<(), SourceError> {
        if self.listener.is_none() {
            self.bind().await?;
        }
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let door = Door {
            settings: Arc::clone(&self.settings),
            meters: Meters::of(&context.name),
            context,
            sockets: JoinSet::new(),
            turned_away: 0,
        };
        door.serve(listener).await;
        Ok(())
    }

    async fn rehearse(&mut self) -> Result<(), Unobtainable> {
        let mut found = Ok(());
        // A name that cannot be resolved now is no taken port.
        let addresses = tokio::net::lookup_host((self.settings.host.as_str(), self.settings.port)).await;
        for address in addresses.into_iter().flatten() {
            match socket_on(address) {
                Ok(_closed_at_once) => return Ok(()),
                Err(error) => {
                    found = Err(Unobtainable {
                        address,
                        kind: error.kind(),
                        error: bind_fault(&self.settings, error),
                    });
                }
            }
        }
        found
    }

    fn local_address(&self) -> Option<String> {
        self.listener
            .as_ref()?
            .local_addr()
            .ok()
            .map(|address| address.to_string())
    }
}

/// The open listener with its sockets. Dropping it closes them all.
struct Door {
    settings: Arc<Inbound>,
    context: SourceContext,
    meters: Meters,
    sockets: JoinSet<()>,
    turned_away: u64,
}

impl Door {
    async fn serve(mut self, listener: TcpListener) {
        let stop = self.context.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.sockets.join_next() => self.ended(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => {
                        tracing::warn!(connection = %self.context.name, %error, "accept failed, trying again");
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                        }
                    }
                },
            }
        }
        // First nobody new comes in, then those who are in end what is under way.
        drop(listener);
        while let Some(ended) = self.sockets.join_next().await {
            self.ended(ended);
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        if !self.settings.allows(peer.ip()) {
            self.meters.not_allowed.increment(1);
            return self.turn_away(peer, "its address is not in `allow`");
        }
        if self.sockets.len() >= self.settings.max_connections {
            self.meters.over_cap.increment(1);
            return self.turn_away(peer, "max_connections is reached");
        }
        tune(&stream);
        tracing::debug!(connection = %self.context.name, %peer, "partner connected");
        let presence = Presence::new(&self.context, &self.meters);
        let session = Session::new(
            stream,
            peer,
            Arc::clone(&self.settings),
            self.context.clone(),
            self.meters.clone(),
        );
        self.sockets.spawn(async move {
            let _presence = presence;
            session.run().await;
        });
    }

    /// Logged at the 1st, 2nd, 4th, 8th ... time: a flood of partners makes no flood of lines.
    fn turn_away(&mut self, peer: SocketAddr, reason: &'static str) {
        self.turned_away += 1;
        if self.turned_away.is_power_of_two() {
            let count = self.turned_away;
            tracing::warn!(connection = %self.context.name, %peer, reason, count, "partner turned away");
        }
        *self.context.status.last_fault.lock() = Some(format!("{peer} was turned away: {reason}"));
    }

    fn ended(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended.map_err(|error| error.to_string()) {
            tracing::error!(connection = %self.context.name, %error, "socket task failed, its socket is closed");
        }
    }
}

/// Counts a partner as connected for as long as it lives.
struct Presence {
    context: SourceContext,
    meters: Meters,
}

impl Presence {
    fn new(context: &SourceContext, meters: &Meters) -> Presence {
        context.status.peers.fetch_add(1, Ordering::Relaxed);
        meters.open.increment(1.0);
        Presence {
            context: context.clone(),
            meters: meters.clone(),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.context.status.peers.fetch_sub(1, Ordering::Relaxed);
        self.meters.open.decrement(1.0);
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    socket_on(address)?.listen(BACKLOG)
}

/// Bound, and not listening: refused only where somebody else listens, or did not allow it.
fn socket_on(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart need not wait for sockets of the former process to fade. (Elsewhere it means less good.)
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Best effort: a socket without these works too.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

fn bind_fault(settings: &Inbound, error: io::Error) -> SourceError {
    let Inbound { host, port, .. } = settings;
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is taken by another program: find it with `ss -ltnp 'sport = :{port}'` and stop it, or give this inbound another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the service's user may not use port {port}: take one above 1023, or grant CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {host}: correct `host`, or use 0.0.0.0 for all addresses")
        }
        _ => format!("check that `host` ({host}) is an address or name of this machine"),
    };
    SourceError {
        doing: format!("listening on {host}:{port}"),
        advice,
        source: Some(error),
    }
}
