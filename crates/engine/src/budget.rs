//! A bound on the bytes of message bodies held in memory by all lanes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The bound and what is held under it.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: i64,
    held_bytes: AtomicI64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit_bytes: i64::try_from(limit_bytes).unwrap_or(i64::MAX),
            held_bytes: AtomicI64::new(0),
        })
    }

    /// Holds `value` if `bytes` fit; otherwise it is dropped, and the lane reads it from the store when its
    /// turn comes.
    pub(crate) fn hold<T>(self: &Arc<Budget>, value: T, bytes: usize) -> Option<Held<T>> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let held = Held {
            value,
            bytes,
            budget: Arc::clone(self),
        };
        (before.saturating_add(bytes) <= self.limit_bytes).then_some(held)
    }

    /// Holds `value` whatever the bound: for a row whose turn has come.
    pub(crate) fn hold_now<T>(self: &Arc<Budget>, value: T, bytes: usize) -> Held<T> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        Held {
            value,
            bytes,
            budget: Arc::clone(self),
        }
    }

    /// Bytes that may be held.
    pub(crate) fn limit_bytes(&self) -> usize {
        usize::try_from(self.limit_bytes).unwrap_or(0)
    }

    /// Bytes held now.
    pub(crate) fn held_bytes(&self) -> i64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

/// A value that counts against the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<T> {
    value: T,
    bytes: i64,
    budget: Arc<Budget>,
}

impl<T> std::ops::Deref for Held<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.budget.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_held_and_leaves_no_trace() {
        let budget = Budget::new(10);
        let first = budget.hold("a", 8);
        assert!(first.is_some());
        assert!(budget.hold("b", 8).is_none());
        assert_eq!(budget.held_bytes(), 8);
        drop(first);
        assert_eq!(budget.held_bytes(), 0);
    }
}
