//! Tells a reader that segments changed under it. A read looks at several segments one after the other; where
//! one of them was dropped or made anew in between, what it found may not belong together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Error;

/// Times that a read is repeated.
const TRIES: usize = 5;
/// A change takes about as long.
const PAUSE: Duration = Duration::from_millis(20);

/// Odd while segments change.
#[derive(Debug, Default)]
pub(crate) struct Revision(AtomicU64);

impl Revision {
    /// Changes segments.
    pub(crate) fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::SeqCst);
        let changed = change();
        self.0.fetch_add(1, Ordering::SeqCst);
        changed
    }

    /// Reads, again when segments changed meanwhile.
    pub(crate) fn read<T>(&self, mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        for _ in 1..TRIES {
            let before = self.0.load(Ordering::SeqCst);
            let answer = read();
            if before.is_multiple_of(2) && before == self.0.load(Ordering::SeqCst) {
                return answer;
            }
            std::thread::sleep(PAUSE);
        }
        read()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_was_read_while_segments_changed_is_read_again() {
        let revision = Revision::default();
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                revision.change(|| ());
            }
            Ok(reads.get())
        };
        assert_eq!(revision.read(read).ok(), Some(2));
        assert_eq!(revision.read(|| Ok(7)).ok(), Some(7));
    }

    #[test]
    fn a_fault_that_a_change_explains_is_not_passed_on() {
        let revision = Revision::default();
        let reads = Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            if reads.get() == 1 {
                revision.change(|| ());
                return Err(Error::Refused("the file is gone".to_owned()));
            }
            Ok(())
        };
        assert!(revision.read(read).is_ok());
        assert!(
            revision
                .read(|| Err::<(), _>(Error::Refused("damaged".to_owned())))
                .is_err()
        );
    }
}
