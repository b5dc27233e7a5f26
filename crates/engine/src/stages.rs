//! Where a message's time goes, measured in every message: how long each step took, and how long the message
//! waited before it. Rows that were read back from the store have no known beginning and are left out.

use std::time::{Duration, Instant};

use model::histogram::{Histogram, Snapshot};

/// The steps of a message's way, in their order. A step that works on several messages at once counts its
/// time for each of them: that is what each of them waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// From the connector's call to the store's: room in the lane, header, validation.
    Receive,
    /// From the store's call until it is durable; the acknowledgement follows.
    AcceptCommit,
    /// In the ingress lane, until its router takes it.
    RouteWait,
    /// The router.
    Route,
    /// Until the router's decision is durable.
    RouteCommit,
    /// In the lane of a handler.
    TransformWait,
    /// The handler.
    Transform,
    /// Until its sends are durable.
    TransformCommit,
    /// In the outbound lane, until its turn; sends that are tried again are not counted again.
    SendWait,
    /// From the hand-over to the connector until the partner's answer.
    Send,
    /// Until the outcome is durable.
    OutcomeCommit,
}

const STEPS: [(Step, &str); 11] = [
    (Step::Receive, "receive"),
    (Step::AcceptCommit, "accept_commit"),
    (Step::RouteWait, "route_wait"),
    (Step::Route, "route"),
    (Step::RouteCommit, "route_commit"),
    (Step::TransformWait, "transform_wait"),
    (Step::Transform, "transform"),
    (Step::TransformCommit, "transform_commit"),
    (Step::SendWait, "send_wait"),
    (Step::Send, "send"),
    (Step::OutcomeCommit, "outcome_commit"),
];

/// The times of one running graph.
#[derive(Default)]
pub(crate) struct Stages {
    times: [Histogram; STEPS.len()],
}

impl Stages {
    /// Counts a step that began at `since` and has ended now, for `messages` messages; the end.
    pub(crate) fn took(&self, step: Step, since: Instant, messages: usize) -> Instant {
        let now = Instant::now();
        self.times[step as usize].record_many(nanos(now.duration_since(since)), messages as u64);
        now
    }

    /// Counts how long each of these waited; those that came back from the store are left out.
    pub(crate) fn waited(&self, step: Step, since: impl Iterator<Item = Option<Instant>>) {
        let now = Instant::now();
        for since in since.flatten() {
            self.times[step as usize].record(nanos(now.saturating_duration_since(since)));
        }
    }

    /// Counts a step that so many messages did without: it took them no time.
    pub(crate) fn skipped(&self, step: Step, messages: usize) {
        self.times[step as usize].record_many(0, messages as u64);
    }

    /// The times so far.
    pub(crate) fn snapshot(&self) -> Vec<StageTimes> {
        let times = |(step, name): (Step, &'static str)| StageTimes {
            stage: name,
            nanos: self.times[step as usize].snapshot(),
        };
        STEPS.into_iter().map(times).collect()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long one step took, since the node started.
#[derive(Clone, Debug)]
pub struct StageTimes {
    /// Its name: `receive`, `accept_commit`, `route_wait`, `route`, `route_commit`, `transform_wait`, `transform`,
    /// `transform_commit`, `send_wait`, `send` or `outcome_commit`.
    pub stage: &'static str,
    /// Nanoseconds a message.
    pub nanos: Snapshot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_stands_at_its_own_place() {
        for (index, (step, name)) in STEPS.into_iter().enumerate() {
            assert_eq!(step as usize, index, "{name}");
        }
    }

    #[test]
    fn a_step_counts_for_each_message_and_a_wait_only_where_its_beginning_is_known() {
        let stages = Stages::default();
        let start = Instant::now();
        stages.took(Step::Route, start, 3);
        stages.waited(Step::SendWait, [Some(start), None].into_iter());
        let counts: Vec<u64> = stages
            .snapshot()
            .iter()
            .map(|times| times.nanos.count())
            .collect();
        assert_eq!(counts, [0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0]);
    }
}
