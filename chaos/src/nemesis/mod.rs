//! The nemesis: breaks what the schedule says, proves that it broke, and mends it again.
//!
//! A fault that left no trace has not bitten, and a run of which one has not bitten proves nothing: the judge calls it
//! toothless.

mod clocks;
mod database;
pub mod delayer;
mod network;
mod process;
pub mod schedule;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::clean;
use crate::record::{Event, Recorder};
use crate::shell;
use crate::world::World;
use schedule::{Episode, Kind, Role, Strike};

/// Kinds of fault that are not possible on this machine, and why.
pub fn impossible() -> Vec<(Kind, String)> {
    let clock = clean::faketime().map(drop);
    let (freezer, cpu) = (process::able("freezer"), process::able("cpu"));
    let of = |kind: Kind| match kind {
        Kind::NodeClock | Kind::DatabaseClock => clock.as_ref().err(),
        Kind::Freeze => freezer.as_ref().err(),
        Kind::Throttle => cpu.as_ref().err(),
        _ => None,
    };
    let each = Kind::ALL.into_iter().map(|kind| (kind, of(kind)));
    each.filter_map(|(kind, error)| Some((kind, format!("{:#}", error?))))
        .collect()
}

/// How much longer than planned a fault stays when it has not bitten yet.
const GRACE: Duration = Duration::from_secs(5);

/// A fault that is open.
trait Open {
    /// The evidence that it really happened, once there is some. Asked again and again.
    ///
    /// # Errors
    /// There is none yet: with what is missing.
    fn bite(&mut self) -> Result<String>;

    /// Mends it; what there is to say.
    ///
    /// # Errors
    /// It cannot be mended.
    fn mend(&mut self) -> Result<String>;
}

/// A fault with the name of what it hits.
struct Begun {
    target: String,
    open: Box<dyn Open>,
}

impl Begun {
    fn new(target: String, open: impl Open + 'static) -> Begun {
        Begun {
            target,
            open: Box::new(open),
        }
    }
}

/// The node of a role, as things stand.
fn node_of(world: &World, role: Role) -> usize {
    let leader = world.leader().unwrap_or(0);
    match role {
        Role::Leader => leader,
        Role::Standby(index) => {
            let others: Vec<usize> = (0..world.nodes.len()).filter(|other| *other != leader).collect();
            others[index % others.len()]
        }
    }
}

fn begin(world: &Arc<World>, strike: &Strike) -> Result<Begun> {
    let node = node_of(world, strike.role);
    match strike.kind {
        Kind::Kill => process::kill(world, node),
        Kind::Stop => process::stop(world, node),
        Kind::Freeze => process::freeze(world, node),
        Kind::Throttle => process::throttle(world, node),
        Kind::LinkDown => network::link_down(world, node),
        Kind::DropIn | Kind::DropOut | Kind::Loss => network::filter(world, node, strike),
        Kind::Delay => network::delay(world, node, strike),
        Kind::DatabaseRestart => database::restart(world, false),
        Kind::DatabaseCrash => database::restart(world, true),
        Kind::DatabasePause => database::pause(world),
        Kind::DatabaseFailover => database::failover(world),
        Kind::DiskFull => database::fill(world),
        Kind::PoolHog => database::hog(world),
        Kind::TableLock => database::lock_table(world, strike),
        Kind::NodeClock => clocks::node(world, node, strike),
        Kind::DatabaseClock => clocks::database(world, strike),
        Kind::BalancerRestart => work::balancer(world, true),
        Kind::BalancerReload => work::balancer(world, false),
        Kind::Switchover => work::switchover(world),
        Kind::RollingRestart => work::rolling_restart(world),
        Kind::ConfigChange => work::config_change(world),
    }
}

/// What a fault is said to hit before it has begun.
fn named(world: &World, strike: &Strike) -> String {
    match strike.kind {
        Kind::Kill | Kind::Stop | Kind::Freeze | Kind::Throttle | Kind::LinkDown | Kind::NodeClock => {
            world.nodes[node_of(world, strike.role)].name()
        }
        Kind::DropIn | Kind::DropOut | Kind::Delay | Kind::Loss => {
            world.nodes[node_of(world, strike.role)].name()
        }
        Kind::BalancerRestart | Kind::BalancerReload => "the load balancer".to_owned(),
        Kind::Switchover | Kind::RollingRestart | Kind::ConfigChange => "the cluster".to_owned(),
        _ => "the database".to_owned(),
    }
}

/// One fault from its beginning to its end.
fn strike(world: &Arc<World>, recorder: &Recorder, strike: &Strike) -> Result<()> {
    shell::pause(strike.after)?;
    let target = named(world, strike);
    recorder.note(Event::Fault {
        number: strike.number,
        kind: strike.kind.name().to_owned(),
        target: target.clone(),
    });
    let begun = Instant::now();
    let mut fault = begin(world, strike)?;
    let mut missing = String::new();
    let mut bitten = false;
    // Asked at least once: some work is done when it has begun, however long that took.
    loop {
        if !bitten {
            match fault.open.bite() {
                Ok(evidence) => {
                    bitten = true;
                    let evidence = match fault.target == target {
                        true => evidence,
                        false => format!("{}: {evidence}", fault.target),
                    };
                    let number = strike.number;
                    recorder.note(Event::Bitten { number, evidence });
                }
                Err(error) => missing = format!("{error:#}"),
            }
        }
        let over = begun.elapsed() >= strike.stays;
        if over && (bitten || begun.elapsed() >= strike.stays + GRACE) {
            break;
        }
        shell::pause(Duration::from_millis(50))?;
    }
    let note = fault.open.mend()?;
    let note = if bitten {
        note
    } else {
        format!("({missing}) {note}")
    };
    recorder.note(Event::Mended {
        number: strike.number,
        note,
    });
    Ok(())
}

/// One episode: its faults side by side. Afterwards all of them are mended.
///
/// # Errors
/// A fault could not be begun or mended, or the run was interrupted.
pub fn play(world: &Arc<World>, recorder: &Recorder, episode: &Episode) -> Result<()> {
    let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
        let each: Vec<_> = episode
            .iter()
            .map(|one| {
                scope.spawn(move || {
                    strike(world, recorder, one).map_err(|error| error.context(one.to_string()))
                })
            })
            .collect();
        each.into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("the nemesis panicked")))
            .collect()
    });
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    recorder.note(Event::Calm);
    Ok(())
}

/// One fault of a kind, by hand: for figures.
///
/// # Errors
/// As [`play`].
pub fn once(world: &Arc<World>, recorder: &Recorder, number: u32, kind: Kind, stays: Duration) -> Result<()> {
    let one = Strike {
        number,
        kind,
        role: Role::Leader,
        after: Duration::ZERO,
        stays,
        dice: 0,
    };
    play(world, recorder, &vec![one])
}
