//! Retry arithmetic: when is a failed send tried again. A pure function of its inputs.

use std::time::Duration;

use model::graph::Retry;

/// The wait after the `failures`-th failure in a row (1 = the first), with `random` in 0..1000 choosing
/// the place inside the jitter band. Never longer than `backoff_max`.
pub(crate) fn wait(policy: &Retry, failures: u32, random: u32) -> Duration {
    let cap = policy.backoff_max.max(policy.backoff);
    let mut wait = policy.backoff;
    for _ in 1..failures {
        wait = wait.saturating_mul(policy.factor_permille.max(1000)) / 1000;
        if wait >= cap {
            break;
        }
    }
    let wait = wait.min(cap);
    let jitter = i64::from(policy.jitter_permille.min(1000));
    let offset = jitter * (2 * i64::from(random.min(999)) - 999) / 999;
    let permille = u32::try_from(1000 + offset).unwrap_or(0);
    (wait.saturating_mul(permille) / 1000).min(cap)
}

/// Whether a send that failed `attempts` times may be tried again.
pub(crate) fn may_retry(policy: &Retry, attempts: u32) -> bool {
    policy.max_attempts.is_none_or(|limit| attempts < limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Retry {
        Retry {
            max_attempts: Some(3),
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(10),
            factor_permille: 2000,
            jitter_permille: 0,
        }
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<u64> = (1..=6).map(|n| wait(&policy(), n, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn a_huge_number_of_failures_neither_overflows_nor_passes_the_cap() {
        assert_eq!(wait(&policy(), u32::MAX, 0), Duration::from_secs(10));
    }

    #[test]
    fn jitter_stays_inside_its_band() {
        let policy = Retry {
            jitter_permille: 200,
            ..policy()
        };
        assert_eq!(wait(&policy, 1, 0), Duration::from_millis(800));
        assert_eq!(wait(&policy, 1, 999), Duration::from_millis(1200));
    }

    #[test]
    fn the_last_attempt_is_the_one_the_limit_names() {
        assert!(may_retry(&policy(), 2));
        assert!(!may_retry(&policy(), 3));
        assert!(may_retry(
            &Retry {
                max_attempts: None,
                ..policy()
            },
            1_000_000
        ));
    }
}
