//! Between intake and delivery: when the machine has no processor time left and the lanes that deliver fall behind,
//! intake follows delivery instead of outrunning it. Otherwise lanes outgrow the memory that they share, every message is read back
//! from the store when its turn comes, and a node that could just keep up no longer does.
//!
//! What waits for a partner (dead, held) holds nobody back: such lanes do not count. Nor does it with partners that are slow: a
//! machine that waits for them has time left. While little waits this costs one look at a counter a message and no timer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::core::{Core, OutboundLane};
use crate::counters::Figure;

/// Messages in flight from which on somebody looks.
const WATCHED_FROM: usize = 8_192;
/// Sends that wait in lanes that move, above which intake is held back, and below which no longer.
const WAITING: std::ops::Range<u64> = 4_096..8_192;
/// Shares of the processors' time that are idle: with less intake may be held back, with more no longer. They lie far apart:
/// a lane that has fallen behind its memory waits for what it reads back, so the machine has some time then.
const IDLE: std::ops::Range<f64> = 0.05..0.4;
/// What is looked at, and what is allowed, so often...
const TICK: Duration = Duration::from_millis(20);
/// ... over the last so many ticks.
const TICKS: usize = 25;
/// A lane that delivered nothing for so long stands still. One that reads back what it left in the store may need a while for that
/// on a machine without time, and has to count all the more.
const LATELY: Duration = Duration::from_secs(5);
/// Of what is delivered, so much is accepted meanwhile: the rest of the time goes to what waits.
const SHARE: f64 = 0.9;
/// Messages a tick that are accepted whatever is delivered.
const LEAST: f64 = 2.0;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Balance {
    /// Whether intake is held back.
    limited: AtomicBool,
    /// While it is: messages that may still be accepted in this tick; less than nothing when a call took more.
    allowed: AtomicI64,
    tick: Notify,
    look: Notify,
}

impl Balance {
    /// Waits until so many messages may be accepted. Calls that wait go in no particular order.
    pub(crate) async fn admit(&self, in_flight: usize, messages: usize) {
        if in_flight >= WATCHED_FROM {
            self.look.notify_one();
        }
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        let mut counted = false;
        while self.limited.load(Ordering::Acquire) {
            let tick = self.tick.notified();
            if self.allowed.fetch_sub(messages, Ordering::AcqRel) > 0 {
                return;
            }
            self.allowed.fetch_add(messages, Ordering::AcqRel);
            if !std::mem::replace(&mut counted, true) {
                metrics::counter!("holdfast_intake_held_back_total").increment(messages.unsigned_abs());
            }
            tick.await;
        }
    }

    fn allow(&self, messages: Option<f64>) {
        match messages {
            Some(messages) => {
                let owed = self.allowed.load(Ordering::Acquire).min(0);
                self.allowed
                    .store(owed + messages.ceil() as i64, Ordering::Release);
                self.limited.store(true, Ordering::Release);
            }
            None => self.limited.store(false, Ordering::Release),
        }
        self.tick.notify_waiters();
    }
}

/// Runs until the node stops; sleeps while little is in flight.
pub(crate) async fn run(core: Arc<Core>) {
    if processors().is_none() {
        // Nobody can say how busy the machine is, so nothing is held back.
        return core.stopping.cancelled().await;
    }
    loop {
        tokio::select! {
            () = core.stopping.cancelled() => break,
            () = core.balance.look.notified() => {}
        }
        watch(&core).await;
        core.balance.allow(None);
    }
    core.balance.allow(None);
}

/// Looks until little is in flight again.
async fn watch(core: &Core) {
    let mut lanes: Vec<Moves<'_>> = core.outbounds.values().map(|lane| Moves::new(lane)).collect();
    let mut scale = Scale::default();
    while core.finaliser.in_flight() >= WATCHED_FROM / 2 && core.pause(TICK).await.is_ok() {
        let Some(times) = processors() else {
            return;
        };
        let now = Instant::now();
        let waiting = lanes.iter_mut().map(|lane| lane.waiting(now)).sum();
        let delivered = lanes.iter().map(|lane| lane.delivered).sum();
        core.balance.allow(scale.weigh(waiting, delivered, times));
    }
}

/// Whether a lane delivers.
struct Moves<'l> {
    lane: &'l OutboundLane,
    delivered: u64,
    last: Option<Instant>,
}

impl Moves<'_> {
    fn new(lane: &OutboundLane) -> Moves<'_> {
        Moves {
            lane,
            delivered: lane.counters.get(Figure::Delivered),
            last: None,
        }
    }

    /// Sends that wait in it, if it delivered anything lately.
    fn waiting(&mut self, now: Instant) -> u64 {
        let delivered = self.lane.counters.get(Figure::Delivered);
        if std::mem::replace(&mut self.delivered, delivered) != delivered {
            self.last = Some(now);
        }
        match self.last {
            Some(last) if now.duration_since(last) < LATELY => {
                self.lane.lane.depth() + self.lane.schedule.lock().len() as u64
            }
            _ => 0,
        }
    }
}

/// Processor time since the machine started, in the system's ticks.
#[derive(Clone, Copy, Default, Debug)]
struct Times {
    idle: u64,
    all: u64,
}

/// `None` where the system does not say.
fn processors() -> Option<Times> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests take is in user already.
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all = ticks.iter().take(8).sum();
    Some(Times { idle, all })
}

/// What was seen in the last ticks, and what follows from it.
#[derive(Default)]
struct Scale {
    /// Deliveries since the start, and processor times.
    seen: VecDeque<(u64, Times)>,
    limited: bool,
}

impl Scale {
    /// Messages that may be accepted until the next tick; `None`: as many as come.
    fn weigh(&mut self, waiting: u64, delivered: u64, times: Times) -> Option<f64> {
        self.seen.push_back((delivered, times));
        if self.seen.len() > TICKS + 1 {
            self.seen.pop_front();
        }
        if self.seen.len() <= TICKS / 2 {
            return None; // too early to say
        }
        let (before, first) = self.seen.front().copied().unwrap_or_default();
        let all = times.all.saturating_sub(first.all).max(1) as f64;
        let idle = times.idle.saturating_sub(first.idle) as f64 / all;
        self.limited = if self.limited {
            waiting >= WAITING.start && idle < IDLE.end
        } else {
            waiting >= WAITING.end && idle < IDLE.start
        };
        let ticks = (self.seen.len() - 1) as f64;
        let delivered = delivered.saturating_sub(before) as f64 / ticks;
        self.limited.then(|| (SHARE * delivered).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is allowed after some ticks of which each delivers so much and leaves so much of the processors idle.
    fn weighed(scale: &mut Scale, waiting: u64, delivered: u64, idle: u64) -> Option<f64> {
        let mut allowed = None;
        for _ in 0..=TICKS {
            let (count, times) = scale.seen.back().copied().unwrap_or_default();
            let times = Times {
                idle: times.idle + idle,
                all: times.all + 100,
            };
            allowed = scale.weigh(waiting, count + delivered, times);
        }
        allowed
    }

    #[test]
    fn intake_follows_delivery_only_where_lanes_that_move_are_behind_on_a_machine_without_time() {
        let fresh = Scale::default;
        assert_eq!(weighed(&mut fresh(), 100_000, 200, 0), Some(180.0));
        assert_eq!(weighed(&mut fresh(), 100_000, 0, 0), Some(LEAST), "never shut");
        assert_eq!(weighed(&mut fresh(), 8_000, 200, 0), None, "little waits");
        assert_eq!(
            weighed(&mut fresh(), 100_000, 200, 10),
            None,
            "the machine has time"
        );
    }

    #[test]
    fn it_is_let_go_when_lanes_have_caught_up_or_the_machine_has_time() {
        for (waiting, idle, held) in [
            (5_000, 0, true),
            (4_000, 0, false),
            (100_000, 30, true),
            (100_000, 45, false),
        ] {
            let mut scale = Scale::default();
            assert!(weighed(&mut scale, 100_000, 200, 0).is_some());
            let allowed = weighed(&mut scale, waiting, 200, idle);
            assert_eq!(allowed.is_some(), held, "{waiting} waiting, {idle} % idle");
        }
    }

    #[tokio::test]
    async fn what_is_not_allowed_waits_for_the_next_tick() {
        let balance = Arc::new(Balance::default());
        balance.admit(0, 1_000_000).await;
        balance.allow(Some(10.0));
        balance.admit(0, 15).await;
        let late = tokio::spawn({
            let balance = Arc::clone(&balance);
            async move { balance.admit(0, 1).await }
        });
        tokio::task::yield_now().await;
        assert!(!late.is_finished(), "five more were taken than allowed");
        balance.allow(Some(5.0));
        tokio::task::yield_now().await;
        assert!(!late.is_finished(), "they are owed first");
        balance.allow(None);
        late.await.expect("let go");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_processors_times_can_be_read() {
        let times = processors().expect("/proc/stat");
        assert!(times.all > times.idle);
    }
}
