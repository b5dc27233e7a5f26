//! Connections for reading: a few, each lent to one call at a time. A call that finds all of them lent
//! waits. One that lay idle for some seconds is asked first whether it still answers; one that was lost
//! meanwhile costs its reader a second try.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::link::{Link, Purpose};
use crate::Error;

/// How long a call waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);

struct State<L> {
    idle: Vec<L>,
    lent: usize,
}

pub(crate) struct Readers<L: Link> {
    target: L::Target,
    node: String,
    max: usize,
    state: Mutex<State<L>>,
    returned: Condvar,
}

impl<L: Link> Readers<L> {
    pub(crate) fn new(target: L::Target, node: String, max: usize) -> Readers<L> {
        Readers {
            target,
            node,
            max: max.max(1),
            state: Mutex::new(State {
                idle: Vec::new(),
                lent: 0,
            }),
            returned: Condvar::new(),
        }
    }

    /// Lends a connection to `read`. Blocks.
    pub(crate) fn with<T>(&self, read: impl Fn(&mut L) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..2 {
            let mut link = self.take()?;
            let answer = read(&mut link);
            let again = matches!(&answer, Err(error) if L::is_worth_another_try(error));
            self.put_back(link);
            if again {
                continue;
            }
            return answer;
        }
        // The connections that lay idle were lost with the first: a fresh one tells.
        self.clear();
        let mut link = self.take()?;
        let answer = read(&mut link);
        self.put_back(link);
        answer
    }

    fn take(&self) -> Result<L, Error> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        while state.lent >= self.max {
            if self.returned.wait_until(&mut state, until).timed_out() {
                return Err(Error::Busy(
                    "all connections for reading are in use: ask again, or ask for less at a time".to_owned(),
                ));
            }
        }
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        if let Some(mut link) = idle {
            if link.still_answers() {
                return Ok(link);
            }
            // Those that lay beside it are no better.
            self.clear();
        }
        L::open(&self.target, &self.node, Purpose::Read).inspect_err(|_| self.give_back(None))
    }

    fn put_back(&self, link: L) {
        self.give_back(link.is_whole().then_some(link));
    }

    fn give_back(&self, link: Option<L>) {
        let mut state = self.state.lock();
        state.lent -= 1;
        state.idle.extend(link);
        self.returned.notify_one();
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut self.state.lock().idle);
        idle.into_iter().for_each(L::close);
    }
}
