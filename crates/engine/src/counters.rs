//! Live figures of one connection or handler, for screens and for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;
use serde::Serialize;

/// Counts since the process started.
pub(crate) struct Counters {
    figures: [(Figure, AtomicU64, Counter); 8],
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Figure {
    Received,
    Rejected,
    Routed,
    Unrouted,
    Filtered,
    Delivered,
    Failed,
    DeadLetters,
}

const FIGURES: [(Figure, &str); 8] = [
    (Figure::Received, "holdfast_messages_received_total"),
    (Figure::Rejected, "holdfast_messages_rejected_total"),
    (Figure::Routed, "holdfast_messages_routed_total"),
    (Figure::Unrouted, "holdfast_messages_unrouted_total"),
    (Figure::Filtered, "holdfast_messages_filtered_total"),
    (Figure::Delivered, "holdfast_sends_delivered_total"),
    (Figure::Failed, "holdfast_send_attempts_failed_total"),
    (Figure::DeadLetters, "holdfast_dead_letters_total"),
];

impl Counters {
    /// Counters labelled with a connection's or handler's name.
    pub(crate) fn new(name: &str) -> Counters {
        let figures = FIGURES.map(|(figure, metric)| {
            (
                figure,
                AtomicU64::new(0),
                metrics::counter!(metric, "name" => name.to_owned()),
            )
        });
        Counters { figures }
    }

    pub(crate) fn add(&self, figure: Figure, count: u64) {
        if count > 0 {
            let (_, total, metric) = &self.figures[figure as usize];
            total.fetch_add(count, Ordering::Relaxed);
            metric.increment(count);
        }
    }

    pub(crate) fn get(&self, figure: Figure) -> u64 {
        self.figures[figure as usize].1.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Counts {
        Counts {
            received: self.get(Figure::Received),
            rejected: self.get(Figure::Rejected),
            routed: self.get(Figure::Routed),
            unrouted: self.get(Figure::Unrouted),
            filtered: self.get(Figure::Filtered),
            delivered: self.get(Figure::Delivered),
            failed_attempts: self.get(Figure::Failed),
            dead_letters: self.get(Figure::DeadLetters),
        }
    }
}

/// Counts since the process started, for screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages accepted.
    pub received: u64,
    /// Messages refused at the door.
    pub rejected: u64,
    /// Messages routed to a handler.
    pub routed: u64,
    /// Messages whose router named no handler.
    pub unrouted: u64,
    /// Messages that a handler filtered.
    pub filtered: u64,
    /// Sends delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Rows that became dead letters.
    pub dead_letters: u64,
}
