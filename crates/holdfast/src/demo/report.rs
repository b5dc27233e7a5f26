//! The account at the end: what was sent, what the store says, what partners got, what is missing.

use std::time::Duration;

use bench::sink::PortRecord;
use serde::Serialize;
use serde_json::Value;

use super::feeds::{Feeds, Judged};
use crate::output::{BAD, GOOD, Output, paint, thousands};

/// The account.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    feeds: Vec<Judged>,
    store: StoreCount,
    seconds: f64,
}

/// The store's own count.
#[derive(Clone, Debug, Default, Serialize)]
struct StoreCount {
    stored: u64,
    processed: u64,
    filtered: u64,
    unrouted: u64,
    errored: u64,
    in_flight: u64,
    sends: u64,
    sends_delivered: u64,
    leaderships: u64,
}

impl Report {
    /// Puts both sides' evidence together.
    pub(super) fn of(
        feeds: Feeds,
        received: Vec<PortRecord>,
        census: &Value,
        status: &Value,
        took: Duration,
    ) -> Report {
        let disposition = |name: &str| census["dispositions"][name].as_u64().unwrap_or(0);
        let figure = |key: &str| census[key].as_u64().unwrap_or(0);
        let store = StoreCount {
            stored: figure("messages"),
            processed: disposition("PROCESSED"),
            filtered: disposition("FILTERED"),
            unrouted: disposition("UNROUTED"),
            errored: disposition("ERROR"),
            in_flight: disposition("RECEIVED") + disposition("ROUTED"),
            sends: figure("sends"),
            sends_delivered: figure("delivered"),
            leaderships: status["epoch"].as_u64().unwrap_or(0),
        };
        Report {
            feeds: feeds.judge(&received),
            store,
            seconds: took.as_secs_f64(),
        }
    }

    fn sum(&self, figure: impl Fn(&Judged) -> u64) -> u64 {
        self.feeds.iter().map(figure).sum()
    }

    fn missing(&self) -> u64 {
        self.sum(|feed| feed.missing)
    }

    /// Whether every message is accounted for.
    pub(crate) fn is_sound(&self) -> bool {
        let store = &self.store;
        let ended = store.processed + store.filtered + store.unrouted + store.errored;
        self.missing() == 0
            && self.sum(|feed| feed.unexpected + feed.inversions) == 0
            && store.errored == 0
            && store.in_flight == 0
            && ended == store.stored
            && store.stored >= self.sum(|feed| feed.acknowledged)
            && store.sends == store.sends_delivered
    }

    /// Prints the account.
    pub(super) fn show(&self, out: &Output) {
        if out.is_json() {
            out.json(self);
            return;
        }
        let heading = [
            "feed",
            "sent",
            "acknowledged",
            "sent again",
            "to deliver",
            "delivered",
            "repeated",
            "out of order",
            "missing",
        ];
        let mut rows: Vec<Vec<String>> = self.feeds.iter().map(row).collect();
        rows.push(row(&Judged {
            feed: "all".to_owned(),
            sent: self.sum(|feed| feed.sent),
            acknowledged: self.sum(|feed| feed.acknowledged),
            resent: self.sum(|feed| feed.resent),
            expected: self.sum(|feed| feed.expected),
            delivered: self.sum(|feed| feed.delivered),
            repeated: self.sum(|feed| feed.repeated),
            inversions: self.sum(|feed| feed.inversions),
            unexpected: self.sum(|feed| feed.unexpected),
            missing: self.missing(),
        }));
        out.line("What the partners saw on the wire:");
        out.table(&heading, rows);
        let store = &self.store;
        let routed = store.stored - store.unrouted.min(store.stored);
        let figures = [
            ("stored", store.stored),
            ("routed", routed),
            ("processed", store.processed),
            ("filtered", store.filtered),
            ("unrouted", store.unrouted),
            ("errored", store.errored),
            ("in flight", store.in_flight),
            ("sends recorded", store.sends),
            ("sends delivered", store.sends_delivered),
            ("leaderships", store.leaderships),
        ];
        out.line("");
        out.line("What the store says (a message that was sent again is stored again):");
        out.table(
            &["messages", "count"],
            figures
                .map(|(name, count)| vec![name.to_owned(), thousands(count)])
                .to_vec(),
        );
        out.line("");
        let verdict = if self.is_sound() {
            paint(
                GOOD,
                &format!(
                    "missing = 0: every acknowledged message is accounted for ({:.1} s in all)",
                    self.seconds
                ),
            )
        } else {
            paint(
                BAD,
                &format!(
                    "the account does not come out: {} missing; see the rows above",
                    self.missing()
                ),
            )
        };
        out.line(&verdict);
    }
}

fn row(feed: &Judged) -> Vec<String> {
    let figures = [
        feed.sent,
        feed.acknowledged,
        feed.resent,
        feed.expected,
        feed.delivered,
        feed.repeated,
        feed.inversions,
        feed.missing,
    ];
    std::iter::once(feed.feed.clone())
        .chain(figures.map(thousands))
        .collect()
}
