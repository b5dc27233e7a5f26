//! Retention, run by the leader in the background: dead letters that waited too long are given up on record,
//! segments in which nothing has to stay are dropped, and the store's size is watched.
//!
//! Nothing is replayed while a segment is judged (`Core::retiring`): the store judges a message once, and one
//! that is put back meanwhile must not go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::{MessageId, NameId, Timestamp};
use serde::Serialize;
use store::rows::{Entry, EventKind, NewResolved, Resolution, Unit};
use store::views::{DeadLetter, DeadLetterFilter};
use store::{Done, Fate, Findings, Horizon, NameKind, RetentionRules};

use crate::core::Core;
use crate::node::Node;
use crate::operator::{CommandError, event};
use crate::settings::RetentionSettings;
use crate::stage::anyhow_chain;

/// The first look comes this long after the start, or after one interval when that is shorter.
const FIRST_LOOK: Duration = Duration::from_secs(60);
/// The store's size is looked at this often, or at each interval when that is shorter.
const MEASURE: Duration = Duration::from_secs(60);
/// A segment that had to stay is looked through again after this long, in microseconds.
const LOOK_AGAIN_MICROS: i64 = 60 * 60 * 1_000_000;
/// Dead letters given up in one go.
const PAGE: usize = 200;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// An alert ends once the size is below so many hundredths of the limit: it shall not flap.
const ALERT_ENDS_BELOW: u64 = 95;
/// Whose name the record bears when nobody asked for it.
const ACTOR: &str = "retention";

/// The store's size and its limit, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreSize {
    /// What it took when it was last measured; 0 before that.
    pub bytes: u64,
    /// What it may take before an alert; `None` = no limit.
    pub limit: Option<u64>,
    /// Whether the alert stands.
    pub alert: bool,
}

/// Watches the store's size.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    bytes: AtomicU64,
    alert: AtomicBool,
}

impl Watch {
    /// Takes a measurement; one alert when it starts, one line when it ends.
    fn note(&self, bytes: u64, limit: Option<u64>) {
        self.bytes.store(bytes, Ordering::Relaxed);
        let stood = self.alert.load(Ordering::Relaxed);
        let stands = limit.is_some_and(|limit| {
            let ends = limit / 100 * ALERT_ENDS_BELOW;
            bytes > if stood { ends } else { limit }
        });
        self.alert.store(stands, Ordering::Relaxed);
        if stands && !stood {
            tracing::error!(
                bytes,
                limit,
                "the store takes more disk than retention.max_db_mb allows: see what keeps it with `holdfast \
                 retention --dry-run`; deliver or skip what is stuck, lower retention.days, or raise the limit"
            );
        } else if stood && !stands {
            tracing::info!(bytes, limit, "the store is below retention.max_db_mb again");
        }
    }
}

/// A segment, and what retention says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentView {
    /// Names it.
    pub number: u32,
    /// When it was begun.
    pub opened_at: Timestamp,
    /// What it takes on disk; after a run, what it took before.
    pub bytes: u64,
    /// `stays`, `can be dropped`, `can shrink`, `dropped`, `shrunk` or `busy`.
    pub state: &'static str,
    /// Why it stays, for a person.
    pub reason: String,
    /// Bytes that became free.
    pub freed: u64,
    /// Messages in it; 0 when it was not looked through.
    pub messages: u64,
    /// Those that may go, or went.
    pub expired: u64,
    /// Messages whose bodies may go, or went, while the rest of them stays.
    pub bodies_expired: u64,
    /// Those that are not delivered yet.
    pub open: u64,
}

/// What a run of retention did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RetentionReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Dead letters given up, or to be given up.
    pub dead_letters: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentView>,
}

impl Core {
    fn days_before(now: Timestamp, days: u32) -> Timestamp {
        Timestamp(now.0.saturating_sub(i64::from(days) * DAY_MICROS))
    }

    /// Per inbound of the configuration, a time in the past.
    fn by_inbound(
        &self,
        now: Timestamp,
        own: impl Fn(&model::graph::Inbound) -> Option<u32>,
    ) -> HashMap<NameId, Timestamp> {
        let named = self.graph.inbounds.values().filter_map(|inbound| {
            let id = self.names.id(NameKind::Inbound, &inbound.name)?;
            Some((id, Self::days_before(now, own(inbound)?)))
        });
        named.collect()
    }

    fn message_rules(&self, settings: &RetentionSettings, now: Timestamp) -> RetentionRules {
        let bodies = |inbound: &model::graph::Inbound| inbound.retention_days.unwrap_or(settings.days);
        // The rest of a message is never kept for a shorter time than its bodies.
        let whole = |inbound: &model::graph::Inbound| {
            let metadata = inbound.metadata_days.unwrap_or(settings.metadata_days);
            metadata.max(bodies(inbound))
        };
        RetentionRules {
            messages: Horizon {
                default: Self::days_before(now, settings.metadata_days.max(settings.days)),
                of: self.by_inbound(now, |inbound| Some(whole(inbound))),
            },
            bodies: Horizon {
                default: Self::days_before(now, settings.days),
                of: self.by_inbound(now, |inbound| Some(bodies(inbound))),
            },
        }
    }

    fn letter_terms(&self, settings: &RetentionSettings, now: Timestamp) -> Horizon {
        Horizon {
            default: Self::days_before(now, settings.dead_letter_days),
            of: self.by_inbound(now, |inbound| inbound.dead_letter_days),
        }
    }

    /// Which of these dead letters waited longer than their inbound lets them.
    async fn overdue(
        &self,
        letters: Vec<DeadLetter>,
        rules: &Horizon,
    ) -> Result<Vec<DeadLetter>, store::Error> {
        let mut inbounds: HashMap<MessageId, NameId> = HashMap::new();
        if !rules.of.is_empty() {
            let mut ids: Vec<MessageId> = letters.iter().map(|letter| letter.message).collect();
            ids.sort();
            ids.dedup();
            let works = self.store.messages_for_work(&ids).await?;
            inbounds.extend(works.into_iter().flatten().map(|work| (work.id, work.inbound)));
        }
        let before = |message: &MessageId| {
            inbounds
                .get(message)
                .map_or(rules.default, |inbound| rules.of(*inbound))
        };
        Ok(letters
            .into_iter()
            .filter(|letter| letter.at < before(&letter.message))
            .collect())
    }

    /// Gives dead letters up that waited too long, on record; only counts them in a dry run.
    async fn give_up_letters(
        &self,
        settings: &RetentionSettings,
        actor: &str,
        dry_run: bool,
    ) -> Result<u64, CommandError> {
        let rules = self.letter_terms(settings, self.clock.now());
        let mut filter = DeadLetterFilter {
            until: Some(rules.latest()),
            limit: PAGE,
            ..DeadLetterFilter::default()
        };
        let mut count = 0;
        loop {
            let _alone = self.retiring.write().await;
            let page = self.store.dead_letters(&filter).await?;
            let overdue = self.overdue(page.items, &rules).await?;
            count += overdue.len() as u64;
            if !dry_run && !overdue.is_empty() {
                let units = overdue.iter().map(|letter| Unit {
                    entries: vec![
                        Entry::Resolved(NewResolved {
                            dead_letter: letter.row,
                            how: Resolution::Purged,
                            actor: actor.into(),
                        }),
                        event(
                            letter.message,
                            letter.send,
                            EventKind::Purged,
                            "the dead letter waited longer than dead_letter_days",
                            actor,
                        ),
                    ],
                });
                let answers = self.write(units.collect()).await;
                let answers = answers.map_err(|_| CommandError::Stopping)?;
                if let Some(refused) = answers.into_iter().find_map(Result::err) {
                    return Err(CommandError::Refused(refused));
                }
                metrics::counter!("holdfast_retention_dead_letters_total").increment(overdue.len() as u64);
                tracing::warn!(
                    dead_letters = overdue.len(),
                    actor,
                    "dead letters that nobody dealt with were given up after dead_letter_days"
                );
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => return Ok(count),
            }
        }
    }

    fn why(&self, findings: &Findings) -> String {
        let mut reasons = Vec::new();
        if findings.open > 0 {
            let at = findings.waiting_at.iter().take(3);
            let at: Vec<String> = at
                .map(|(name, count)| format!("{count} at {}", self.names.name(*name)))
                .collect();
            reasons.push(format!("{} open ({})", findings.open, at.join(", ")));
        }
        if findings.dead > 0 {
            reasons.push(format!("{} with a dead letter", findings.dead));
        }
        if findings.young > 0 {
            reasons.push(format!("{} too young", findings.young));
        }
        if findings.bodies_expired > 0 && findings.fate == Fate::Stay {
            reasons.push(format!(
                "bodies of {} wait until those of enough others may go",
                findings.bodies_expired
            ));
        }
        if reasons.is_empty() && findings.fate != Fate::Drop {
            reasons.push("its rows close messages of older segments".to_owned());
        }
        reasons.join(", ")
    }

    /// Looks at every segment that may be due, oldest first. `skip` says which not to look into.
    async fn run_retention(
        &self,
        settings: &RetentionSettings,
        actor: &str,
        dry_run: bool,
        skip: impl Fn(u32) -> bool,
    ) -> Result<RetentionReport, CommandError> {
        let dead_letters = self.give_up_letters(settings, actor, dry_run).await?;
        let rules = self.message_rules(settings, self.clock.now());
        let mut report = RetentionReport {
            dry_run,
            dead_letters,
            segments: Vec::new(),
        };
        for segment in self.store.segments().await? {
            if self.stopping.is_cancelled() {
                return Err(CommandError::Stopping);
            }
            let mut view = SegmentView {
                number: segment.number,
                opened_at: segment.opened_at,
                bytes: segment.bytes,
                state: "stays",
                reason: String::new(),
                freed: 0,
                messages: 0,
                expired: 0,
                bodies_expired: 0,
                open: 0,
            };
            let findings = if !segment.sealed {
                view.reason = "it is written to".to_owned();
                None
            } else if segment.opened_at >= rules.latest(segment.bare) {
                view.reason = match segment.bare {
                    true => "too young, without bodies",
                    false => "too young",
                }
                .to_owned();
                None
            } else if skip(segment.number) {
                view.reason = "looked through a short while ago".to_owned();
                None
            } else if dry_run {
                let findings = self.store.examine_segment(segment.number, &rules).await?;
                if let Some(findings) = &findings {
                    view.state = match findings.fate {
                        Fate::Stay => "stays",
                        Fate::Drop => "can be dropped",
                        Fate::Shrink => "can shrink",
                    };
                }
                findings
            } else {
                let retired = {
                    let _alone = self.retiring.write().await;
                    self.store
                        .retire_segment(self.term, segment.number, &rules)
                        .await?
                };
                retired.map(|retired| {
                    (view.state, view.freed) = match retired.done {
                        Done::Kept => ("stays", 0),
                        Done::Busy => ("busy", 0),
                        Done::Dropped(bytes) => ("dropped", bytes),
                        Done::Shrunk(bytes) => ("shrunk", bytes),
                    };
                    retired.findings
                })
            };
            if let Some(findings) = findings {
                view.reason = self.why(&findings);
                (view.messages, view.open) = (findings.messages, findings.open);
                (view.expired, view.bodies_expired) = (findings.expired, findings.bodies_expired);
            }
            if view.state == "busy" {
                view.reason = "somebody reads it; it is tried again".to_owned();
                tracing::warn!(
                    segment = view.number,
                    "a segment could go, but a long reader holds it; it is tried again at the next look"
                );
            }
            if matches!(view.state, "dropped" | "shrunk") {
                metrics::counter!("holdfast_retention_messages_total").increment(view.expired);
                metrics::counter!("holdfast_retention_bodies_total").increment(view.bodies_expired);
                metrics::counter!("holdfast_retention_freed_bytes_total").increment(view.freed);
                tracing::info!(
                    segment = view.number,
                    state = view.state,
                    messages = view.expired,
                    bodies = view.bodies_expired,
                    bytes = view.freed,
                    actor,
                    "retention removed messages, or bodies of some"
                );
            }
            report.segments.push(view);
        }
        Ok(report)
    }

    async fn measure(&self, limit: Option<u64>) {
        match self.store.size_bytes().await {
            Ok(bytes) => self.watch.note(bytes, limit),
            Err(error) => tracing::warn!(error = anyhow_chain(&error), "the store could not be measured"),
        }
    }
}

/// Looks for what may go, and at the store's size, for the life of the node.
pub(crate) async fn run(core: Arc<Core>, settings: RetentionSettings) {
    let interval = Duration::from_secs(settings.check_seconds);
    let step = interval.min(MEASURE);
    let limit = limit(&settings);
    let mut until_look = interval.min(FIRST_LOOK);
    let mut not_before: HashMap<u32, Timestamp> = HashMap::new();
    loop {
        core.measure(limit).await;
        if core.pause(step).await.is_err() {
            return;
        }
        until_look = until_look.saturating_sub(step);
        if !until_look.is_zero() {
            continue;
        }
        until_look = interval;
        let now = core.clock.now();
        let skip = |number| not_before.get(&number).is_some_and(|at| now < *at);
        match core.run_retention(&settings, ACTOR, false, skip).await {
            Ok(report) => {
                let again = Timestamp(now.0.saturating_add(LOOK_AGAIN_MICROS));
                let live: HashMap<u32, &SegmentView> =
                    report.segments.iter().map(|view| (view.number, view)).collect();
                not_before.retain(|number, at| live.contains_key(number) && now < *at);
                // With short intervals (and in a small store) it costs little to look again at once.
                let stayed = report
                    .segments
                    .iter()
                    .filter(|view| view.messages > 0 && view.state == "stays" && interval >= MEASURE);
                not_before.extend(stayed.map(|view| (view.number, again)));
            }
            Err(CommandError::Stopping) => return,
            Err(error) => tracing::warn!(
                error = anyhow_chain(&error),
                "retention failed; it is tried again"
            ),
        }
    }
}

fn limit(settings: &RetentionSettings) -> Option<u64> {
    (settings.max_db_mb > 0).then(|| settings.max_db_mb.saturating_mul(1 << 20))
}

impl Node {
    /// What the store takes, and may take.
    pub fn store_size(&self) -> StoreSize {
        StoreSize {
            bytes: self.core.watch.bytes.load(Ordering::Relaxed),
            limit: limit(&self.settings.retention),
            alert: self.core.watch.alert.load(Ordering::Relaxed),
        }
    }

    /// Removes what may go now, or only says what would.
    pub async fn retention(&self, dry_run: bool, actor: &str) -> Result<RetentionReport, CommandError> {
        self.core
            .run_retention(&self.settings.retention, actor, dry_run, |_| false)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_starts_above_the_limit_and_ends_well_below_it() {
        let watch = Watch::default();
        let stands = |bytes| {
            watch.note(bytes, Some(1_000));
            watch.alert.load(Ordering::Relaxed)
        };
        let seen = [900, 1_000, 1_001, 980, 951, 950, 990].map(stands);
        assert_eq!(seen, [false, false, true, true, true, false, false]);
        watch.note(u64::MAX, None);
        assert!(!watch.alert.load(Ordering::Relaxed), "no limit, no alert");
    }
}
