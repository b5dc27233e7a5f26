//! A lane: one ordered stream of queue rows. What it holds in memory is a window on what the store has.

pub(crate) mod schedule;
mod sequence;
pub(crate) mod window;

use sequence::Sequence;
use tokio::sync::Notify;

pub(crate) use window::Window;

/// A window that many stages push to and one task takes from.
pub(crate) struct Lane<T> {
    window: parking_lot::Mutex<Window<T>>,
    sequence: parking_lot::Mutex<Sequence<T>>,
    wake: Notify,
}

impl<T: window::Row> Lane<T> {
    pub(crate) fn new(capacity: usize) -> Lane<T> {
        Lane {
            window: parking_lot::Mutex::new(Window::new(capacity)),
            sequence: parking_lot::Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Adds rows that are durable, in number order, and wakes the lane's task.
    pub(crate) fn push(&self, rows: impl IntoIterator<Item = T>) {
        let mut window = self.window.lock();
        for row in rows {
            window.push(row);
        }
        drop(window);
        self.wake.notify_one();
    }

    /// Asks for rows to be written, and keeps their place in the lane: `submit` must enter the store's queue before it
    /// returns. Every place has to be [filled](Lane::enter).
    pub(crate) fn submit<R>(&self, submit: impl FnOnce() -> R) -> (u64, R) {
        let mut sequence = self.sequence.lock();
        (sequence.open(), submit())
    }

    /// Adds the rows of a place that are durable, as soon as all places before it are filled.
    pub(crate) fn enter(&self, place: u64, rows: Vec<T>) {
        let mut sequence = self.sequence.lock();
        let entering = sequence.fill(place, rows);
        if !entering.is_empty() {
            self.push(entering);
        }
    }

    /// Adds one row out of order (a replay), held in memory whatever the window's state.
    pub(crate) fn inject(&self, row: T) {
        self.window.lock().inject(row);
        self.wake.notify_one();
    }

    /// Runs `with` under the lane's lock; never await inside.
    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut Window<T>) -> R) -> R {
        with(&mut self.window.lock())
    }

    /// Rows waiting, in memory and behind it.
    pub(crate) fn depth(&self) -> u64 {
        self.window.lock().depth()
    }

    /// Wakes the task, for a change that is not a row.
    pub(crate) fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Waits until something was pushed since the last wait.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}
