//! Row locks and row versions as SQL Server documents them, for rows that are found by their key.
//!
//! - A change takes X and holds it to the end of its transaction.
//! - `UPDLOCK` takes U and holds it to the end; isolation hints for READ COMMITTED are ignored beside it.
//! - `REPEATABLEREAD` and `HOLDLOCK` take S and hold it to the end.
//! - Without any of these a read under READ COMMITTED takes S for its statement alone; where the database has
//!   READ_COMMITTED_SNAPSHOT on it takes nothing and reads the version that was committed when it began, unless
//!   `READCOMMITTEDLOCK` asks for locks.
//! - `READPAST` passes over a row that it would have to wait for, as far as locks are row locks: `ROWLOCK`.
//! - S goes with S and U; U with S alone; X with nothing. A session never waits for itself.

use std::collections::BTreeSet;

/// How strong a lock is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Mode {
    S,
    U,
    X,
}

impl Mode {
    fn goes_with(self, other: Mode) -> bool {
        matches!((self, other), (Mode::S, Mode::S | Mode::U) | (Mode::U, Mode::S))
    }
}

/// What a read asks for with its table hints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Hints {
    pub(super) updlock: bool,
    pub(super) rowlock: bool,
    pub(super) readpast: bool,
    pub(super) repeatable: bool,
    pub(super) readcommittedlock: bool,
}

/// How long a read keeps its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Until {
    Statement,
    End,
}

impl Hints {
    /// The hints of the first `WITH (...)` in a statement.
    ///
    /// # Panics
    /// When one is not known here: the model would not say what it does.
    pub(super) fn of(sql: &str) -> Hints {
        let mut hints = Hints::default();
        let inner = sql
            .split_once("WITH (")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map_or("", |(inner, _)| inner);
        for hint in inner.split(',').map(str::trim).filter(|hint| !hint.is_empty()) {
            match hint {
                "UPDLOCK" => hints.updlock = true,
                "ROWLOCK" => hints.rowlock = true,
                "READPAST" => hints.readpast = true,
                "REPEATABLEREAD" | "HOLDLOCK" => hints.repeatable = true,
                "READCOMMITTEDLOCK" => hints.readcommittedlock = true,
                other => panic!("the model knows no hint {other}: {sql}"),
            }
        }
        hints
    }

    /// The lock that a read takes; none: it reads a version.
    pub(super) fn lock(self, rcsi: bool) -> Option<(Mode, Until)> {
        if self.updlock {
            Some((Mode::U, Until::End))
        } else if self.repeatable {
            Some((Mode::S, Until::End))
        } else if rcsi && !self.readcommittedlock {
            None
        } else {
            Some((Mode::S, Until::Statement))
        }
    }
}

/// The rows of the model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Key {
    Lease,
    Shard,
    /// A message of this number.
    Message(u8),
}

/// Leadership as the lease row has it; as the shard's row has it, with the session that may write. Session 0: given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Value {
    pub(super) epoch: u8,
    pub(super) session: u8,
}

/// What a statement met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Met {
    /// The row, as this statement sees it.
    Row(Value),
    /// Locked, and passed over.
    Skipped,
    /// Locked: it waits for a lock of this strength.
    Waits(Mode),
}

/// All rows, with what transactions that are still open did to them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Rows {
    pub(super) lease: Value,
    pub(super) shard: Value,
    /// Halves of messages that are committed: the number, and which half.
    pub(super) messages: BTreeSet<(u8, u8)>,
    /// Locks by row and session, each as strong as it got.
    locks: BTreeSet<(Key, usize, Mode)>,
    /// Changes of open transactions, by session.
    changes: Vec<(usize, Change)>,
    rcsi: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Change {
    Lease(Value),
    Shard(Value),
    Message(u8, u8),
}

impl Rows {
    pub(super) fn new(first: Value, rcsi: bool) -> Rows {
        Rows {
            lease: first,
            shard: first,
            messages: BTreeSet::new(),
            locks: BTreeSet::new(),
            changes: Vec::new(),
            rcsi,
        }
    }

    /// Sessions whose locks keep this one from taking a lock.
    pub(super) fn holders(&self, session: usize, key: Key, mode: Mode) -> Vec<usize> {
        let of_others = self
            .locks
            .iter()
            .filter(|(row, holder, held)| *row == key && *holder != session && !mode.goes_with(*held));
        of_others.map(|(_, holder, _)| *holder).collect()
    }

    fn committed(&self, key: Key) -> Value {
        match key {
            Key::Lease => self.lease,
            Key::Shard => self.shard,
            Key::Message(number) => Value {
                epoch: self.messages.iter().filter(|(of, _)| *of == number).count() as u8,
                session: 0,
            },
        }
    }

    /// The row as a session that has it locked sees it: its own change, or what is committed.
    fn current(&self, session: usize, key: Key) -> Value {
        let own = self.changes.iter().rev().find_map(|(of, change)| match change {
            Change::Lease(value) if *of == session && key == Key::Lease => Some(*value),
            Change::Shard(value) if *of == session && key == Key::Shard => Some(*value),
            _ => None,
        });
        own.unwrap_or_else(|| self.committed(key))
    }

    /// Reads a row.
    pub(super) fn read(&mut self, session: usize, key: Key, hints: Hints) -> Met {
        let Some((mode, until)) = hints.lock(self.rcsi) else {
            return Met::Row(self.committed(key));
        };
        if !self.holders(session, key, mode).is_empty() {
            // Without ROWLOCK the lock may be one of a page or table, which READPAST waits for.
            return if hints.readpast && hints.rowlock {
                Met::Skipped
            } else {
                Met::Waits(mode)
            };
        }
        if until == Until::End {
            self.locks.insert((key, session, mode));
        }
        Met::Row(self.current(session, key))
    }

    /// Locks a row in order to change it; what it was.
    pub(super) fn begin_change(&mut self, session: usize, key: Key) -> Met {
        if !self.holders(session, key, Mode::X).is_empty() {
            return Met::Waits(Mode::X);
        }
        let was = self.current(session, key);
        self.locks.insert((key, session, Mode::X));
        Met::Row(was)
    }

    pub(super) fn set_lease(&mut self, session: usize, value: Value) {
        self.changes.push((session, Change::Lease(value)));
    }

    pub(super) fn set_shard(&mut self, session: usize, value: Value) {
        self.changes.push((session, Change::Shard(value)));
    }

    /// Adds half of a message; nobody else adds the same one while this is open.
    pub(super) fn add(&mut self, session: usize, number: u8, half: u8) {
        self.locks.insert((Key::Message(number), session, Mode::X));
        self.changes.push((session, Change::Message(number, half)));
    }

    /// The numbers that a session has added and not committed.
    pub(super) fn added(&self, session: usize) -> BTreeSet<u8> {
        let added = self.changes.iter().filter_map(|(of, change)| match change {
            Change::Message(number, _) if *of == session => Some(*number),
            _ => None,
        });
        added.collect()
    }

    /// Ends a session's transaction.
    pub(super) fn end(&mut self, session: usize, commit: bool) {
        let (own, rest) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|(of, _)| *of == session);
        self.changes = rest;
        let own: Vec<(usize, Change)> = own;
        for (_, change) in own.into_iter().filter(|_| commit) {
            match change {
                Change::Lease(value) => self.lease = value,
                Change::Shard(value) => self.shard = value,
                Change::Message(number, half) => drop(self.messages.insert((number, half))),
            }
        }
        self.locks.retain(|(_, holder, _)| *holder != session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Value = Value { epoch: 1, session: 1 };
    const TWO: Value = Value { epoch: 2, session: 2 };

    /// A second session's read, beside a first one that changed the row and has not committed.
    fn beside_a_change(hints: &str, rcsi: bool) -> Met {
        let mut rows = Rows::new(ONE, rcsi);
        assert_eq!(rows.begin_change(0, Key::Shard), Met::Row(ONE));
        rows.set_shard(0, TWO);
        rows.read(1, Key::Shard, Hints::of(hints))
    }

    /// Whether a second session can change the row beside a first one that read it and has not committed.
    fn may_change_beside(hints: &str, rcsi: bool) -> bool {
        let mut rows = Rows::new(ONE, rcsi);
        assert_eq!(rows.read(0, Key::Shard, Hints::of(hints)), Met::Row(ONE));
        rows.begin_change(1, Key::Shard) == Met::Row(ONE)
    }

    #[test]
    fn reads_beside_a_change_wait_or_pass_over_it_or_see_what_was_committed() {
        for (hints, locking, versions) in [
            ("", Met::Waits(Mode::S), Met::Row(ONE)),
            (
                "WITH (READCOMMITTEDLOCK)",
                Met::Waits(Mode::S),
                Met::Waits(Mode::S),
            ),
            ("WITH (REPEATABLEREAD)", Met::Waits(Mode::S), Met::Waits(Mode::S)),
            (
                "WITH (UPDLOCK, ROWLOCK)",
                Met::Waits(Mode::U),
                Met::Waits(Mode::U),
            ),
            ("WITH (UPDLOCK, ROWLOCK, READPAST)", Met::Skipped, Met::Skipped),
            (
                "WITH (UPDLOCK, READPAST)",
                Met::Waits(Mode::U),
                Met::Waits(Mode::U),
            ),
        ] {
            assert_eq!(beside_a_change(hints, false), locking, "{hints}");
            assert_eq!(beside_a_change(hints, true), versions, "{hints} with versions");
        }
    }

    #[test]
    fn a_row_that_was_read_may_be_changed_unless_a_lock_is_held_on_it() {
        for (hints, may) in [
            ("", true),
            ("WITH (READCOMMITTEDLOCK)", true),
            ("WITH (ROWLOCK, READPAST)", true),
            ("WITH (REPEATABLEREAD)", false),
            ("WITH (UPDLOCK, ROWLOCK, READPAST)", false),
        ] {
            for rcsi in [false, true] {
                assert_eq!(may_change_beside(hints, rcsi), may, "{hints}, versions: {rcsi}");
            }
        }
    }

    #[test]
    fn two_that_mean_to_change_a_row_do_not_hold_it_at_once_and_readers_go_beside_one() {
        let mut rows = Rows::new(ONE, false);
        let claim = Hints::of("WITH (UPDLOCK, ROWLOCK)");
        assert_eq!(rows.read(0, Key::Shard, claim), Met::Row(ONE));
        assert_eq!(rows.read(1, Key::Shard, claim), Met::Waits(Mode::U));
        assert_eq!(
            rows.read(2, Key::Shard, Hints::of("WITH (REPEATABLEREAD)")),
            Met::Row(ONE)
        );
        // The first cannot change it until the reader has ended; nor does it wait for itself.
        assert_eq!(rows.begin_change(0, Key::Shard), Met::Waits(Mode::X));
        rows.end(2, true);
        assert_eq!(rows.begin_change(0, Key::Shard), Met::Row(ONE));
    }
}
