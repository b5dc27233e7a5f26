//! The clocks that records carry: one that only goes forward and is the same in every namespace, and the wall's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// One instant by two clocks, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Moment {
    /// `CLOCK_MONOTONIC`: comparable between processes of one machine.
    pub mono: u64,
    /// `CLOCK_REALTIME`, since 1970.
    pub real: u64,
}

impl Moment {
    /// This instant.
    pub fn now() -> Moment {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mono = u64::try_from(mono.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(mono.tv_nsec).unwrap_or(0) / 1000;
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment {
            mono,
            real: micros(real),
        }
    }

    /// The instant so many microseconds later.
    pub fn plus(self, us: u64) -> Moment {
        Moment {
            mono: self.mono + us,
            real: self.real + us,
        }
    }
}

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
