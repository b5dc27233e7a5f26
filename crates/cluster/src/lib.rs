//! Who leads: the lease of a cluster, and this node's part in it. Knows nothing of messages.
//!
//! [`machine`] decides, without I/O; a thread of its own drives it over a [`Board`](store::board::Board); a second
//! thread watches the deadline; a second process watches this one. The rest of the node sees a [`Role`], and says
//! when it has stopped.

pub mod clock;
mod driver;
pub mod fencer;
pub mod machine;
mod members;
pub mod parameters;
mod shared;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use model::Term;
use parking_lot::Mutex;
use store::Error;
use store::board::{Board, Leadership, Member, MemberView};
use tokio::sync::watch;

/// What the board says, for those who may not see the store.
pub mod board {
    pub use store::Error;
    pub use store::board::{Leadership, Lease, Member, MemberView};
}

pub use clock::Tick;
pub use machine::{Fault, Role};
pub use parameters::Parameters;

use driver::{Driver, Order};
use fencer::Fencer;
use machine::{Candidate, Machine};
use members::Members;
use shared::Shared;

/// What a node brings to its cluster.
pub struct Options {
    /// How fast it notices; the same on all nodes.
    pub parameters: Parameters,
    /// What it says of itself.
    pub member: Member,
    /// This very program, to run a fencer with; `None` = without one.
    pub fencer: Option<PathBuf>,
}

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else goes by its id.
    #[error(
        "another process goes by this node's id `{0}`: give each node an id of its own (setting node.id)"
    )]
    Duplicate(String),
    /// The database.
    #[error("the cluster's tables could not be read")]
    Store(#[from] Error),
    /// The operating system.
    #[error("{0} could not be started")]
    System(&'static str, #[source] std::io::Error),
}

/// A node's place in its cluster.
pub struct Cluster {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    members: Arc<Members>,
    driver: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What this node knows of the lease without asking anybody.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// Who holds the lease, or held it last, as far as this node has seen; empty when nobody ever did.
    pub owner: String,
    /// Its number.
    pub epoch: u32,
    /// Whether it is held, as far as this node has seen.
    pub held: bool,
    /// How much longer this node may lead without another renewal; `None` when it does not lead.
    pub margin: Option<Duration>,
    /// Why it could not take over; `None` when it could, or leads.
    pub against: Option<String>,
    /// How long the last round trip to the lease row took.
    pub latency: Duration,
    /// How long ago the lease row was last reached.
    pub reached_ago: Duration,
    /// Why it cannot be reached now.
    pub trouble: Option<String>,
    /// For how long nobody has led, as far as this node has seen; `None` while somebody does.
    pub leaderless: Option<Duration>,
    /// Whether the configuration that was led with last is this node's.
    pub config_agrees: bool,
    /// What is amiss on this node although it could lead.
    pub remark: Option<String>,
}

impl Cluster {
    /// Joins as a standby. Blocks for a few round trips; call it on a blocking thread. `lease` serves the lease alone;
    /// `other` everything else.
    pub fn start(
        options: Options,
        lease: Box<dyn Board>,
        other: Box<dyn Board>,
    ) -> Result<Arc<Cluster>, StartError> {
        let Options {
            parameters,
            member,
            fencer,
        } = options;
        let candidate = Candidate {
            node: member.id.clone(),
            fingerprint: member.fingerprint.clone(),
            promotable: member.promotable,
            delay: member.delay,
        };
        let shared = Arc::new(Shared::new(parameters));
        let members = Arc::new(Members::new(Arc::clone(&shared), member, other));
        members.join()?;
        let fencer = match fencer {
            Some(program) => {
                Some(Fencer::start(&program).map_err(|error| StartError::System("the fencer", error))?)
            }
            None => None,
        };
        let (orders, queue) = channel();
        let mut machine = Machine::new(candidate, parameters);
        machine.fit(Some("this node is starting".to_owned()));
        let driver = Driver {
            shared: Arc::clone(&shared),
            machine,
            board: lease,
            orders: queue,
            fencer,
            trouble: None,
        };
        let watched = Arc::clone(&shared);
        spawn("cluster-watchdog", move || watchdog::run(&watched))?;
        let speaking = Arc::clone(&members);
        spawn("cluster-members", move || speaking.run())?;
        let driver = spawn("cluster-lease", move || driver.run())?;
        Ok(Arc::new(Cluster {
            shared,
            orders,
            members,
            driver: Mutex::new(Some(driver)),
        }))
    }

    /// What this node is, and every change of it.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.shared.role.subscribe()
    }

    /// Whether it leads at this very moment.
    pub fn leads(&self) -> bool {
        self.shared.leads()
    }

    /// Says whether it could lead: `None`, or why not.
    pub fn fit(&self, unfit: Option<String>) {
        let _ = self.orders.send(Order::Fit(unfit)); // once the thread has ended nobody leads
    }

    /// Says what is amiss on this node although it could lead: shown with the nodes, in the way of nothing.
    pub fn remark(&self, remark: Option<String>) {
        *self.shared.remark.lock() = remark;
    }

    /// Asks to give the lease up and to stay, after [`Cluster::fit`] said why. The role becomes [`Role::SteppingDown`]
    /// first.
    pub fn resign(&self) {
        let _ = self.orders.send(Order::Resign);
    }

    /// Says that the node's runtime is at work. Without it no lease is renewed.
    pub fn pulse(&self) {
        self.shared.beat();
    }

    /// How often to call [`Cluster::pulse`].
    pub fn pulse_every(&self) -> Duration {
        self.shared.parameters.renew / 2
    }

    /// Says that nothing of the leadership `term` runs any more: no listener is open, no write is under way.
    pub fn stopped(&self, term: Term) {
        let _ = self.orders.send(Order::Stopped(term));
    }

    /// Asks to leave. A leader becomes [`Role::SteppingDown`] first; in the end the role is [`Role::Left`] or
    /// [`Role::Fenced`].
    pub fn leave(&self) {
        let _ = self.orders.send(Order::Leave);
    }

    /// Waits until the lease's thread has ended, after [`Cluster::leave`]. Blocks.
    pub fn join(&self) {
        if let Some(driver) = self.driver.lock().take() {
            let _ = driver.join();
        }
        self.members.say_goodbye();
    }

    /// The parameters in force.
    pub fn parameters(&self) -> Parameters {
        self.shared.parameters
    }

    /// What this node says of itself.
    pub fn member(&self) -> &Member {
        self.members.own()
    }

    /// What this node knows without asking.
    pub fn standing(&self) -> Standing {
        let seen = self.shared.seen.lock().clone();
        let now = Tick::now();
        let margin = self.shared.deadline().filter(|_| !self.shared.is_fenced());
        let lease = seen.lease.as_ref();
        Standing {
            role: self.shared.role.borrow().clone(),
            owner: lease.map(|lease| lease.node.clone()).unwrap_or_default(),
            epoch: lease.map_or(0, |lease| lease.mark.epoch.0),
            held: lease.is_some_and(|lease| !lease.released && !lease.expired),
            margin: margin.map(|deadline| deadline.since(now)),
            against: seen.against,
            latency: seen.latency,
            reached_ago: now.since(seen.at),
            leaderless: seen.leaderless.map(|since| now.since(since)),
            config_agrees: lease
                .and_then(|lease| lease.fingerprint.as_ref())
                .is_none_or(|led| *led == self.members.own().fingerprint),
            remark: self.shared.remark.lock().clone(),
            trouble: seen.trouble,
        }
    }

    /// The lease row and all nodes, read from the database now. Blocks.
    pub fn nodes(&self) -> Result<(store::board::Lease, Vec<MemberView>), Error> {
        self.members.all()
    }

    /// The newest leaderships, newest first. Blocks.
    pub fn history(&self, limit: usize) -> Result<Vec<Leadership>, Error> {
        self.members.history(limit)
    }

    /// Asks the leader, wherever it is, to make room for `to` or for anybody. Blocks.
    ///
    /// # Errors
    /// [`Error::Refused`] when nobody leads, or nobody fit could take over.
    pub fn switch_over(&self, by: &str, to: Option<&str>) -> Result<String, Error> {
        self.members.switch_over(by, to)
    }

    /// Lets nodes with this configuration lead next. Blocks.
    pub fn approve(&self, fingerprint: &str) -> Result<(), Error> {
        self.members.approve(fingerprint)
    }
}

fn spawn(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StartError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| StartError::System(name, error))
}
