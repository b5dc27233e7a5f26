//! How much of a lane goes to its function at a time, and where it runs. A quick function gets large batches, so
//! that a handoff carries many messages; a slow one gets small batches, so that no message waits long for its
//! neighbours' commit and no thread is away for long, and each batch is shared out to the cores.
//!
//! User code runs on threads of its own, where nobody waits for it. Only what has been quick for a long time runs
//! where the lane runs: handing one message over and taking it back costs more than a quick function does.
//!
//! The results of a batch are put together in its order whatever thread they come from, and committed as one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::BATCH;
use crate::core::Core;

/// A thread should be back after about this long.
const PIECE_MAX: Duration = Duration::from_millis(50);
/// Handing work to a further thread costs a few hundredths of this.
const PIECE_MIN: Duration = Duration::from_micros(500);
/// Work that is expected to take no longer may run where the lane runs.
const HERE_MAX: Duration = Duration::from_micros(500);
/// A batch that took longer makes its function one that is not quick. Well above what a busy machine takes
/// from a thread at a time.
const SLOW: Duration = Duration::from_millis(20);
/// So many batches in a row must not have been slow.
const QUICK_BATCHES: u32 = 64;

/// What one call of a lane's function took lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    nanos: AtomicU64,
    /// Batches since the last slow one.
    quick: AtomicU32,
}

impl Pace {
    fn call(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// Rows to take from the lane, for so many threads.
    pub(crate) fn batch(&self, threads: usize) -> usize {
        let call = self.call().as_nanos().max(1);
        let each = usize::try_from(PIECE_MAX.as_nanos() / call).unwrap_or(BATCH);
        each.max(1).saturating_mul(threads.max(1)).min(BATCH)
    }

    /// In how many pieces so many rows go to the threads.
    fn pieces(&self, rows: usize, threads: usize) -> usize {
        let all = self.call().as_nanos().saturating_mul(rows as u128);
        let worth = usize::try_from(all / PIECE_MIN.as_nanos()).unwrap_or(usize::MAX);
        worth.min(threads).min(rows).max(1)
    }

    /// Whether so many calls may run where the lane runs.
    fn runs_here(&self, calls: usize) -> bool {
        let all = self.call().as_nanos().saturating_mul(calls as u128);
        self.is_quick() && all <= HERE_MAX.as_nanos()
    }

    /// Whether the function has been quick for long.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= QUICK_BATCHES
    }

    /// Notes what calls took; the last batches count most.
    fn note(&self, calls: usize, took: Duration) {
        let quick = match self.quick.load(Ordering::Relaxed) {
            _ if took > SLOW => 0,
            before => before.saturating_add(1),
        };
        self.quick.store(quick, Ordering::Relaxed);
        let Some(each) = took.as_nanos().checked_div(calls as u128) else {
            return;
        };
        let each = u64::try_from(each).unwrap_or(u64::MAX);
        let before = self.nanos.load(Ordering::Relaxed);
        let after = if before == 0 { each } else { before / 2 + each / 2 };
        self.nanos.store(after, Ordering::Relaxed);
    }
}

impl Core {
    /// Runs `step` on each of `work`; the results are in the order of `work`. Where a thread failed, its part of
    /// them says so.
    pub(crate) async fn run_each<W, A, F>(&self, pace: &Pace, work: Vec<W>, step: F) -> Vec<Result<A, String>>
    where
        W: Send + 'static,
        A: Send + 'static,
        F: Fn(W) -> A + Send + Sync + 'static,
    {
        let calls = work.len();
        if pace.runs_here(calls) {
            let begun = Instant::now();
            let call = |work| {
                catch_unwind(AssertUnwindSafe(|| step(work)))
                    .map_err(|_| "the function's thread panicked".to_owned())
            };
            let results = work.into_iter().map(call).collect();
            pace.note(calls, begun.elapsed());
            return results;
        }
        let pieces = pace.pieces(calls, self.spread);
        let size = calls.div_ceil(pieces).max(1);
        let step = Arc::new(step);
        let mut work = work.into_iter();
        let mut parts = Vec::with_capacity(pieces);
        loop {
            let piece: Vec<W> = work.by_ref().take(size).collect();
            if piece.is_empty() {
                break;
            }
            let (step, calls) = (Arc::clone(&step), piece.len());
            parts.push(async move {
                let run = self.run_code(move || {
                    let begun = Instant::now();
                    let answers: Vec<A> = piece.into_iter().map(|work| step(work)).collect();
                    (answers, begun.elapsed())
                });
                (calls, run.await)
            });
        }
        let mut results = Vec::with_capacity(calls);
        let mut took = Duration::ZERO;
        for (calls, part) in join_all(parts).await {
            match part {
                Ok((answers, elapsed)) => {
                    took += elapsed;
                    results.extend(answers.into_iter().map(Ok));
                }
                Err(reason) => results.extend((0..calls).map(|_| Err(reason.clone()))),
            }
        }
        pace.note(calls, took);
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(micros: u64) -> Pace {
        let pace = Pace::default();
        pace.note(1, Duration::from_micros(micros));
        pace
    }

    #[test]
    fn a_quick_function_gets_whole_batches_on_one_thread_and_a_slow_one_small_ones_on_all() {
        for (micros, batch, pieces) in [
            (0, 64, 1),
            (2, 64, 1),
            (100, 64, 8),
            (10_000, 40, 8),
            (1_000_000, 8, 8),
        ] {
            let pace = pace(micros);
            assert_eq!(pace.batch(8), batch, "{micros} us");
            assert_eq!(pace.pieces(batch, 8), pieces, "{micros} us");
        }
        assert_eq!(pace(1_000_000).pieces(1, 8), 1);
        assert_eq!(pace(1_000_000).batch(1), 1);
    }

    #[test]
    fn only_what_was_quick_for_long_runs_where_its_lane_runs() {
        let pace = pace(5);
        assert!(!pace.runs_here(1), "nobody knows it yet");
        for _ in 0..QUICK_BATCHES {
            pace.note(4, Duration::from_micros(20));
        }
        assert!(pace.runs_here(64));
        assert!(!pace.runs_here(10_000), "quick each, long together");
        pace.note(1, Duration::from_millis(30));
        pace.note(1, Duration::from_micros(5));
        assert!(!pace.runs_here(1), "it was slow a moment ago");
    }

    #[test]
    fn a_function_that_became_quick_is_soon_taken_for_quick() {
        let pace = pace(1_000_000);
        for _ in 0..25 {
            pace.note(8, Duration::from_micros(16));
        }
        assert_eq!((pace.batch(8), pace.pieces(64, 8)), (64, 1));
    }
}
