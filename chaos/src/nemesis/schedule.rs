//! What is broken when, from a seed alone: the same seed is the same schedule, on every machine and in every release of
//! any library, since the numbers are drawn here.

use std::fmt;
use std::time::Duration;

/// The most faults that are open at once.
const AT_ONCE: usize = 3;

/// Everything that can be done to a cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(
    missing_docs,
    reason = "README.md says of each what it does and what it proves"
)]
pub enum Kind {
    Kill,
    Stop,
    Freeze,
    Throttle,
    LinkDown,
    DropIn,
    DropOut,
    Delay,
    Loss,
    DatabaseRestart,
    DatabaseCrash,
    DatabasePause,
    DatabaseFailover,
    DiskFull,
    PoolHog,
    TableLock,
    NodeClock,
    DatabaseClock,
    BalancerRestart,
    BalancerReload,
    Switchover,
    RollingRestart,
    ConfigChange,
}

/// What a fault is done to: no two of one group are open at once, except of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    Node,
    Database,
    Balancer,
    /// What people do on purpose, and expect to work.
    Work,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 23] = [
        Kind::Kill,
        Kind::Stop,
        Kind::Freeze,
        Kind::Throttle,
        Kind::LinkDown,
        Kind::DropIn,
        Kind::DropOut,
        Kind::Delay,
        Kind::Loss,
        Kind::DatabaseRestart,
        Kind::DatabaseCrash,
        Kind::DatabasePause,
        Kind::DatabaseFailover,
        Kind::DiskFull,
        Kind::PoolHog,
        Kind::TableLock,
        Kind::NodeClock,
        Kind::DatabaseClock,
        Kind::BalancerRestart,
        Kind::BalancerReload,
        Kind::Switchover,
        Kind::RollingRestart,
        Kind::ConfigChange,
    ];

    /// Its name, as records and the command line say it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Stop => "stop",
            Kind::Freeze => "freeze",
            Kind::Throttle => "throttle",
            Kind::LinkDown => "link down",
            Kind::DropIn => "drop in",
            Kind::DropOut => "drop out",
            Kind::Delay => "delay",
            Kind::Loss => "loss",
            Kind::DatabaseRestart => "database restart",
            Kind::DatabaseCrash => "database crash",
            Kind::DatabasePause => "database pause",
            Kind::DatabaseFailover => "database failover",
            Kind::DiskFull => "disk full",
            Kind::PoolHog => "pool hog",
            Kind::TableLock => "table lock",
            Kind::NodeClock => "node clock",
            Kind::DatabaseClock => "database clock",
            Kind::BalancerRestart => "balancer restart",
            Kind::BalancerReload => "balancer reload",
            Kind::Switchover => "switchover",
            Kind::RollingRestart => "rolling restart",
            Kind::ConfigChange => "config change",
        }
    }

    /// The kind of a name; a `-` stands for a space.
    pub fn parse(name: &str) -> Option<Kind> {
        let name = name.replace('-', " ");
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn group(self) -> Group {
        match self {
            Kind::DatabaseRestart
            | Kind::DatabaseCrash
            | Kind::DatabasePause
            | Kind::DatabaseFailover
            | Kind::DiskFull
            | Kind::PoolHog
            | Kind::TableLock
            | Kind::DatabaseClock => Group::Database,
            Kind::BalancerRestart | Kind::BalancerReload => Group::Balancer,
            Kind::Switchover | Kind::RollingRestart | Kind::ConfigChange => Group::Work,
            _ => Group::Node,
        }
    }

    /// Whether work that people do must succeed beside it.
    fn is_gentle(self) -> bool {
        matches!(
            self,
            Kind::Delay
                | Kind::NodeClock
                | Kind::DatabaseClock
                | Kind::BalancerReload
                | Kind::BalancerRestart
        )
    }

    /// Whether it needs a false clock.
    pub fn needs_clock(self) -> bool {
        matches!(self, Kind::NodeClock | Kind::DatabaseClock)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which node a fault hits, as roles stand when it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Who leads.
    Leader,
    /// One of those who do not, from 0.
    Standby(usize),
}

/// One fault of the schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strike {
    /// Its number in the run, from 1.
    pub number: u32,
    /// What is done.
    pub kind: Kind,
    /// To which node, where it is done to one.
    pub role: Role,
    /// How long after its episode began.
    pub after: Duration,
    /// How long it stays.
    pub stays: Duration,
    /// What its own choices are drawn from.
    pub dice: u64,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.kind)?;
        match (self.kind.group(), self.role) {
            (Group::Node, Role::Leader) => write!(f, " of the leader")?,
            (Group::Node, Role::Standby(index)) => write!(f, " of standby {}", index + 1)?,
            _ => {}
        }
        write!(
            f,
            ", after {} ms for {} ms",
            self.after.as_millis(),
            self.stays.as_millis()
        )
    }
}

/// Faults that overlap; after them everything is mended and looked at.
pub type Episode = Vec<Strike>;

/// Draws numbers: splitmix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit as u64).unwrap_or(0)
    }

    /// A time from `from` to `to` milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll() % (to - from + 1))
    }
}

/// The schedule of a seed: so many episodes of faults of these kinds, for a cluster of so many nodes.
pub fn schedule(seed: u64, episodes: usize, nodes: usize, kinds: &[Kind]) -> Vec<Episode> {
    let mut dice = Dice::new(seed);
    let mut number = 0;
    (0..episodes)
        .map(|_| episode(&mut dice, &mut number, nodes, kinds))
        .collect()
}

fn episode(dice: &mut Dice, number: &mut u32, nodes: usize, kinds: &[Kind]) -> Episode {
    let wanted = [1, 1, 2, 2, AT_ONCE][dice.below(5)];
    let mut chosen: Vec<Kind> = Vec::new();
    // A draw that does not go with the others is drawn again, a bounded number of times.
    for _ in 0..50 {
        if chosen.len() == wanted || kinds.is_empty() {
            break;
        }
        let kind = kinds[dice.below(kinds.len())];
        if goes_with(kind, &chosen, nodes) {
            chosen.push(kind);
        }
    }
    let mut roles: Vec<Role> = (0..nodes - 1).map(Role::Standby).collect();
    // The leader is what most faults are about.
    roles.insert(if dice.below(4) == 0 { roles.len() } else { 0 }, Role::Leader);
    let mut roles = roles.into_iter();
    chosen
        .into_iter()
        .map(|kind| {
            *number += 1;
            let role = match kind.group() {
                Group::Node => roles.next().unwrap_or(Role::Leader),
                _ => Role::Leader,
            };
            Strike {
                number: *number,
                kind,
                role,
                after: dice.millis(0, 1500),
                stays: dice.millis(700, 3000),
                dice: dice.roll(),
            }
        })
        .collect()
}

fn goes_with(kind: Kind, chosen: &[Kind], nodes: usize) -> bool {
    let group = kind.group();
    let of_group = chosen.iter().filter(|other| other.group() == group).count();
    let at_most = if group == Group::Node { nodes } else { 1 };
    let works = |one: Kind, other: Kind| one.group() != Group::Work || other.is_gentle();
    of_group < at_most
        && chosen
            .iter()
            .all(|other| works(kind, *other) && works(*other, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_schedule_and_another_seed_another() {
        let of = |seed| schedule(seed, 4, 3, &Kind::ALL);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn twenty_seeds_hold_every_kind_and_never_more_than_goes_together() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..=20 {
            for episode in schedule(seed, 4, 3, &Kind::ALL) {
                assert!((1..=AT_ONCE).contains(&episode.len()), "{episode:?}");
                let mut roles = Vec::new();
                for strike in &episode {
                    seen.insert(strike.kind);
                    if strike.kind.group() == Group::Node {
                        assert!(
                            !roles.contains(&strike.role),
                            "two faults of one node: {episode:?}"
                        );
                        roles.push(strike.role);
                    }
                    if strike.kind.group() == Group::Work {
                        let others = episode.iter().filter(|other| other.number != strike.number);
                        assert!(others.clone().all(|other| other.kind.is_gentle()), "{episode:?}");
                    }
                }
            }
        }
        let missing: Vec<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| !seen.contains(kind))
            .collect();
        assert!(missing.is_empty(), "no seed has {missing:?}");
    }

    #[test]
    fn names_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.name().replace(' ', "-")), Some(kind));
        }
        assert_eq!(Kind::parse("meteor"), None);
    }
}
