//! What the tests share: small options, bounded waits.

use std::time::Duration;

use bench::payload::Pool;
use bench::reconcile::{Expect, Reconciliation, reconcile};
use bench::sender::{Options, Pace, Record, Sender, Until};
use bench::sink::{self, PortRecord, Sink};
use bytes::Bytes;

/// Long enough for a machine that is busy with other tests; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn pool() -> Pool {
    let message = |n: u32| {
        Bytes::from(format!(
            "MSH|^~\\&|LAB|NORTH|ADT|SOUTH|20260102030405||ADT^A01|X|P|2.5.1\rPID|||T{n:06}\r"
        ))
    };
    Pool::of((0..4).map(message)).expect("the messages have an MSH-10")
}

pub(crate) fn to(sink: &Sink) -> Options {
    Options {
        to: sink.addresses().iter().map(ToString::to_string).collect(),
        ack_timeout: Duration::from_millis(500),
        give_up_after: PATIENCE,
        ..Options::new("", pool())
    }
}

pub(crate) fn closed(sink: &Sink, lanes: u16, window: u32, count: u64) -> Options {
    Options {
        lanes,
        pace: Pace::Closed { window },
        until: Until::Count(count),
        ..to(sink)
    }
}

/// Sends until done; both sides' evidence.
pub(crate) async fn exchange(sink: Sink, options: Options) -> (Record, Vec<PortRecord>) {
    let sender = Sender::start(options).expect("the options can run");
    let record = tokio::time::timeout(PATIENCE, sender.finish())
        .await
        .expect("the sender ends");
    (record, sink.stop().await)
}

pub(crate) async fn local(behaviour: sink::Behaviour) -> Sink {
    Sink::start(sink::Options::local(1).behaving(behaviour))
        .await
        .expect("a free port can be bound")
}

pub(crate) fn judge(sent: &Record, ports: &[PortRecord]) -> Reconciliation {
    reconcile(sent, ports, &Expect::Ports(1))
}
