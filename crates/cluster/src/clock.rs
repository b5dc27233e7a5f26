//! Time that goes on while the machine sleeps.

use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// An instant of `CLOCK_BOOTTIME`, in nanoseconds. The same for all processes of one machine; no wall clock moves it,
/// and a suspended machine does not stop it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Now.
    pub fn now() -> Tick {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000);
        Tick(seconds.saturating_add(now.tv_nsec.unsigned_abs()))
    }

    /// From `earlier` until this; zero when it is not earlier.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, duration: Duration) -> Tick {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Tick(self.0.saturating_add(nanos))
    }
}
