//! Reaching a server and logging in. A name may have several addresses: the listener of an availability group has one in
//! each subnet, of which one leads somewhere at a time. All are dialled at once (what other drivers call
//! `MultiSubnetFailover`), and not only for the first that takes a connection: one that takes it and then says nothing, or
//! lets nobody in, stands in the way of no other.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tiberius::Client;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::fault::{self, Driver};
use super::options::Way;
use super::token::Token;

/// Servers that a server may send this node on to, one after the other.
const ROUTES_MAX: usize = 4;

pub(super) type Stream = Compat<TcpStream>;

/// Logged in.
pub(super) struct Entered {
    pub(super) client: Client<Stream>,
    /// By this address of the name.
    pub(super) by: SocketAddr,
    /// The name has others that may be tried.
    pub(super) others: bool,
}

enum Answer {
    In(Box<Client<Stream>>),
    /// To another server.
    SentOn(String, u16),
}

fn lost(error: std::io::Error) -> Driver {
    Driver::Lost(error.to_string())
}

/// Logs in, at the server that the first one sends this node on to, should it do so. `shut` are addresses that will not
/// do; the next address is tried beside one that takes longer than `step`.
pub(super) async fn log_in(
    way: &Way,
    program: &str,
    token: Option<&Token>,
    shut: &[SocketAddr],
    step: Duration,
) -> Result<Entered, Driver> {
    let (mut host, mut port) = (way.host.clone(), way.port);
    let mut first: Option<(SocketAddr, bool)> = None;
    for _ in 0..ROUTES_MAX {
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(lost)?
            .collect();
        addresses.dedup();
        if first.is_none() {
            addresses.retain(|address| !shut.contains(address));
        }
        let greet = async |stream: TcpStream| {
            let config = way.config(&host, port, program, token);
            stream.set_nodelay(true).map_err(lost)?;
            match Client::connect(config, stream.compat_write()).await {
                Err(tiberius::error::Error::Routing { host, port }) => Ok(Answer::SentOn(host, port)),
                Ok(client) => Ok(Answer::In(Box::new(client))),
                Err(error) => Err(Driver::from(error)),
            }
        };
        let (answer, by) = if way.all_at_once {
            of_all(&addresses, step, &greet).await?
        } else {
            one_by_one(&addresses, &greet).await?
        };
        let (by, others) = *first.get_or_insert((by, addresses.len() > 1));
        match answer {
            Answer::In(client) => {
                let client = *client;
                return Ok(Entered { client, by, others });
            }
            Answer::SentOn(next, at) => (host, port) = (next, at),
        }
    }
    Err(Driver::Lost(
        "the server sends this node on without end".to_owned(),
    ))
}

/// How much an error tells: that nobody answered, why this node may not come in, that it may later.
fn weight(error: &Driver) -> u8 {
    match error {
        Driver::Server { .. } if fault::is_lasting(error) => 1,
        Driver::Server { .. } => 2,
        _ => 0,
    }
}

/// The error that tells more.
fn keep(known: &mut Option<Driver>, error: Driver) {
    if known.as_ref().is_none_or(|known| weight(known) < weight(&error)) {
        *known = Some(error);
    }
}

fn nowhere(known: Option<Driver>) -> Driver {
    known.unwrap_or_else(|| Driver::Lost("the name has no address that could be tried".to_owned()))
}

/// Connects to all at once and greets the first that takes the connection; the next beside it when it lets nobody in, or has
/// not done so for a `step`.
async fn of_all<T>(
    addresses: &[SocketAddr],
    step: Duration,
    greet: &impl AsyncFn(TcpStream) -> Result<T, Driver>,
) -> Result<(T, SocketAddr), Driver> {
    let dial = async |to: SocketAddr| (to, TcpStream::connect(to).await);
    let mut dialling: FuturesUnordered<_> = addresses.iter().map(|to| dial(*to)).collect();
    let mut connected: VecDeque<(SocketAddr, TcpStream)> = VecDeque::new();
    let mut greeting = FuturesUnordered::new();
    let mut known = None;
    let mut begun = tokio::time::Instant::now();
    loop {
        let patient = !greeting.is_empty() && begun.elapsed() < step;
        if !patient && let Some((to, stream)) = connected.pop_front() {
            greeting.push(async move { (to, greet(stream).await) });
            begun = tokio::time::Instant::now();
        }
        if greeting.is_empty() && dialling.is_empty() {
            return Err(nowhere(known));
        }
        tokio::select! {
            Some((to, done)) = dialling.next(), if !dialling.is_empty() => match done {
                Ok(stream) => connected.push_back((to, stream)),
                Err(error) => keep(&mut known, lost(error)),
            },
            Some((to, done)) = greeting.next(), if !greeting.is_empty() => match done {
                Ok(answer) => return Ok((answer, to)),
                Err(error) => keep(&mut known, error),
            },
            () = tokio::time::sleep_until(begun + step), if !greeting.is_empty() && !connected.is_empty() => {}
        }
    }
}

/// One after the other, each when the one before has failed.
async fn one_by_one<T>(
    addresses: &[SocketAddr],
    greet: &impl AsyncFn(TcpStream) -> Result<T, Driver>,
) -> Result<(T, SocketAddr), Driver> {
    let mut known = None;
    for to in addresses {
        let answer = match TcpStream::connect(to).await {
            Ok(stream) => greet(stream).await,
            Err(error) => Err(lost(error)),
        };
        match answer {
            Ok(answer) => return Ok((answer, *to)),
            Err(error) => keep(&mut known, error),
        }
    }
    Err(nowhere(known))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// What stands at an address of 127.0.0.0/8.
    enum Stands {
        /// Lets everybody in.
        Open,
        /// Takes connections and says nothing.
        Silent,
        /// Says so many words of refusal: an error with this number.
        Says(u32),
        /// Nobody listens.
        Nobody,
        /// What comes is swallowed: the queue of a listener that never takes anything is full.
        Swallows,
    }

    /// Makes them, each on an address of its own, and what keeps them there.
    async fn street(houses: &[Stands]) -> (Vec<SocketAddr>, Vec<Box<dyn std::any::Any>>) {
        let (mut addresses, mut kept): (Vec<SocketAddr>, Vec<Box<dyn std::any::Any>>) = Default::default();
        for (place, house) in houses.iter().enumerate() {
            let host = [127, 0, 0, u8::try_from(place + 2).unwrap()];
            if matches!(house, Stands::Swallows) {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind((host, 0).into()).unwrap();
                let listener = socket.listen(1).unwrap();
                let address = listener.local_addr().unwrap();
                let full: Vec<_> = (0..4)
                    .map(|_| tokio::spawn(TcpStream::connect(address)))
                    .collect();
                tokio::time::sleep(Duration::from_millis(50)).await;
                addresses.push(address);
                kept.push(Box::new((listener, full)));
                continue;
            }
            let listener = TcpListener::bind(SocketAddr::from((host, 0))).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let word = match house {
                Stands::Open => 1_u32,
                Stands::Says(number) => *number,
                Stands::Silent => 0,
                Stands::Nobody | Stands::Swallows => continue,
            };
            kept.push(Box::new(tokio::spawn(async move {
                let mut open = Vec::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    if word > 0 {
                        let _ = stream.write_all(&word.to_be_bytes()).await;
                    }
                    open.push(stream);
                }
            })));
        }
        (addresses, kept)
    }

    async fn greet(mut stream: TcpStream) -> Result<(), Driver> {
        match stream.read_u32().await.map_err(lost)? {
            1 => Ok(()),
            number => Err(Driver::Server {
                number,
                class: 14,
                message: "its words".to_owned(),
            }),
        }
    }

    /// The house that was entered, or the number of the error; within two seconds.
    fn entered(houses: &[Stands]) -> Result<usize, Option<u32>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let begun = Instant::now();
        let answer = runtime.block_on(async {
            let (addresses, _kept) = street(houses).await;
            let dialled = of_all(&addresses, STEP, &greet);
            match tokio::time::timeout(Duration::from_secs(2), dialled).await {
                Ok(Ok(((), by))) => Ok(addresses.iter().position(|to| *to == by).unwrap()),
                Ok(Err(error)) => Err(error.number()),
                Err(_) => panic!("nothing for two seconds"),
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(3));
        answer
    }

    #[test]
    fn addresses_that_swallow_refuse_or_say_nothing_stand_in_the_way_of_none() {
        use Stands::{Nobody, Open, Says, Silent, Swallows};
        assert_eq!(entered(&[Open]), Ok(0));
        assert_eq!(entered(&[Swallows, Nobody, Open]), Ok(2));
        assert_eq!(entered(&[Silent, Nobody, Swallows, Open]), Ok(3));
        assert_eq!(entered(&[Says(976), Says(983), Silent, Open]), Ok(3));
    }

    #[test]
    fn of_several_errors_the_one_that_gives_hope_is_told() {
        use Stands::{Nobody, Says};
        assert_eq!(entered(&[Nobody]), Err(None));
        assert_eq!(entered(&[Nobody, Says(18456)]), Err(Some(18456)));
        assert_eq!(entered(&[Says(18456), Says(976), Nobody]), Err(Some(976)));
        assert_eq!(entered(&[Says(976), Says(18456)]), Err(Some(976)));
    }

    #[test]
    fn an_address_that_swallows_does_swallow() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (addresses, _kept) = street(&[Stands::Swallows]).await;
            let dialled = of_all(&addresses, STEP, &greet);
            let late = tokio::time::timeout(Duration::from_millis(500), dialled).await;
            assert!(late.is_err(), "somebody answered");
        });
    }

    #[test]
    fn one_by_one_goes_on_to_the_next() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (addresses, _kept) = street(&[Stands::Nobody, Stands::Says(983), Stands::Open]).await;
            let entered = one_by_one(&addresses, &greet).await;
            assert_eq!(entered.ok().map(|((), by)| by), Some(addresses[2]));
        });
    }
}
