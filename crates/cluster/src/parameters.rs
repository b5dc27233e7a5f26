//! How fast a cluster notices, and the proof that no two nodes can lead at once by the clock.
//!
//! | | |
//! |---|---|
//! | `renew` (H) | the leader renews so often |
//! | `attempt` (R) | one round trip to the lease row takes no longer |
//! | `fence` (F) | a leader stops this long after it *sent* its last renewal that came back |
//! | `stop` (S) | then it has so long to be gone |
//! | `ttl` (T) | a standby takes over when the row has not changed for so long by its own clock |
//! | `watchdog` (W) | the deadline is looked at so often |
//!
//! `H + 2R <= F`: two attempts fit before a leader stops. `F + W + S <= 0.99 T`: a leader is gone before anybody takes
//! over, with one percent for clocks that run at different speeds.

use std::time::Duration;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parameters {
    /// H.
    pub renew: Duration,
    /// R.
    pub attempt: Duration,
    /// F.
    pub fence: Duration,
    /// S.
    pub stop: Duration,
    /// T.
    pub ttl: Duration,
    /// W.
    pub watchdog: Duration,
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl Parameters {
    /// For most networks: a crash is noticed after 5 s.
    pub const DEFAULT: Parameters = Parameters {
        renew: ms(700),
        attempt: ms(600),
        fence: ms(2_500),
        stop: ms(1_500),
        ttl: ms(5_000),
        watchdog: ms(20),
    };
    /// One machine room: after 1.5 s.
    pub const FAST: Parameters = Parameters {
        renew: ms(250),
        attempt: ms(200),
        fence: ms(800),
        stop: ms(400),
        ttl: ms(1_500),
        watchdog: ms(20),
    };
    /// Between cities: after 30 s.
    pub const WAN: Parameters = Parameters {
        renew: ms(5_000),
        attempt: ms(4_000),
        fence: ms(15_000),
        stop: ms(5_000),
        ttl: ms(30_000),
        watchdog: ms(20),
    };

    /// By its name in the settings.
    pub fn named(profile: &str) -> Option<Parameters> {
        match profile {
            "default" => Some(Parameters::DEFAULT),
            "fast" => Some(Parameters::FAST),
            "wan" => Some(Parameters::WAN),
            _ => None,
        }
    }

    /// How often a standby looks at the lease row.
    pub fn poll(&self) -> Duration {
        self.renew.min(self.ttl / 10)
    }

    /// Why these would not be safe, with the numbers.
    pub fn fault(&self) -> Option<String> {
        let ms = Duration::as_millis;
        if [
            self.renew,
            self.attempt,
            self.fence,
            self.stop,
            self.ttl,
            self.watchdog,
        ]
        .contains(&Duration::ZERO)
        {
            return Some("every one of them must be more than 0".to_owned());
        }
        if self.watchdog > Duration::from_millis(100) {
            return Some(format!(
                "the watchdog looks every {} ms; it must look every 100 ms or more often",
                ms(&self.watchdog)
            ));
        }
        let attempts = self.renew + 2 * self.attempt;
        if attempts > self.fence {
            return Some(format!(
                "renew + 2 x attempt = {} ms is more than fence = {} ms: one slow answer would end a leadership",
                ms(&attempts),
                ms(&self.fence)
            ));
        }
        let gone = self.fence + self.watchdog + self.stop;
        if gone * 100 > self.ttl * 99 {
            return Some(format!(
                "fence + watchdog + stop = {} ms is more than 99 % of ttl = {} ms: a standby could take over before the leader is gone",
                ms(&gone),
                ms(&self.ttl)
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_safe() {
        for profile in ["default", "fast", "wan"] {
            assert_eq!(
                Parameters::named(profile).and_then(|parameters| parameters.fault()),
                None,
                "{profile}"
            );
        }
        assert_eq!(Parameters::named("quick"), None);
    }

    #[test]
    fn what_leaves_no_margin_is_refused_with_the_numbers() {
        let mut hasty = Parameters::DEFAULT;
        hasty.ttl = ms(4_060);
        let fault = hasty.fault().expect("4020 ms is more than 99 % of 4060 ms");
        assert!(fault.contains("4020 ms") && fault.contains("4060 ms"), "{fault}");
        hasty.ttl = ms(4_061);
        assert_eq!(hasty.fault(), None);
        hasty.attempt = ms(901);
        assert!(hasty.fault().is_some_and(|fault| fault.contains("2502 ms")));
        hasty = Parameters {
            watchdog: ms(0),
            ..Parameters::FAST
        };
        assert!(hasty.fault().is_some());
    }
}
