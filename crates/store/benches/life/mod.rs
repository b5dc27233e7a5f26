//! Whole lives of messages for the measurements: five rows each (message, routed, send with a changed body,
//! outcome with a reply, disposition) with bodies of 1 KB. As in an engine under load, one transaction carries
//! the arrivals of one batch, the handoffs of the batch before it and the endings of the batch before that.

use std::time::{Duration, Instant};

use model::{Body, Disposition, MessageId, NameId, SendId, Term, Timestamp};
use store::rows::{NewDisposition, NewMessage, NewOutcome, NewRouted, NewSend, OutcomeResult};
use store::{Entry, Keys, Store, Unit};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// Processor time of this process so far, in the system's ticks of 10 ms.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Lives of messages, pipelined over three transactions; `open` of them are never disposed of.
pub(crate) async fn live(
    store: &dyn Store,
    term: Term,
    batch: usize,
    messages: usize,
    open: usize,
) -> Result<Vec<Duration>, Failure> {
    let bodies = bodies()?;
    let body = |index: usize| &bodies[index % bodies.len()];
    let (mut arrived, mut sent): (Vec<MessageId>, Vec<(MessageId, SendId)>) = Default::default();
    let mut commits = Vec::new();
    let mut disposed = 0;
    let rounds = messages.div_ceil(batch);
    for round in 0..rounds + 2 {
        let fresh = if round < rounds { batch } else { 0 };
        let mut units: Vec<Unit> = (0..fresh).map(|index| arrival(body(index))).collect();
        units.extend(
            arrived
                .iter()
                .enumerate()
                .map(|(index, id)| handoff(*id, body(index))),
        );
        for (id, send) in &sent {
            units.push(ending(*id, *send, disposed >= open));
            disposed += 1;
        }
        let begun = Instant::now();
        let receipts = store
            .submit(term, units)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        commits.push(begun.elapsed());
        sent = arrived
            .iter()
            .zip(&receipts[fresh..])
            .map(|(id, r)| (*id, SendId(r.rows[1])))
            .collect();
        arrived = receipts[..fresh]
            .iter()
            .map(|receipt| MessageId(receipt.rows[0]))
            .collect();
    }
    Ok(commits)
}

/// Made-up admissions of about 1 KB.
fn bodies() -> Result<Vec<Body>, Failure> {
    let recipe = bench::recipe::Recipe {
        kinds: vec!["ADT^A01".to_owned()],
        version: bench::recipe::VERSION.to_owned(),
        size: Some(1024),
        seed: 1,
        date: "20300102030405".to_owned(),
    };
    Ok(recipe.messages()?.take(64).map(Body::from).collect())
}

fn arrival(body: &Body) -> Unit {
    let mut keys = Keys::default();
    keys.add("mrn", "1234567890");
    Unit::one(Entry::Message(NewMessage {
        inbound: NameId(1),
        received_at: Timestamp(1),
        control_id: Some("MSG00000001".into()),
        kind: Some("ADT^A01".into()),
        source: Some("127.0.0.1:50000".into()),
        parent: None,
        keys,
        body: body.clone(),
    }))
}

fn handoff(message: MessageId, body: &Body) -> Unit {
    let send = NewSend {
        message,
        handler: NameId(2),
        destination: NameId(3),
        priority: 0,
        partition: None,
        body: Some(body.clone()),
    };
    Unit {
        entries: vec![
            Entry::Routed(NewRouted {
                message,
                handlers: vec![NameId(2)],
            }),
            Entry::Send(send),
        ],
    }
}

fn ending(message: MessageId, send: SendId, dispose: bool) -> Unit {
    let reply = b"MSH|^~\\&|EMR|HOSP|ADT|WEST|20300102030405||ACK^A01^ACK|4711|P|2.5.1\rMSA|AA|MSG00000001\r";
    let reply = Some(Body::from(&reply[..]));
    let outcome = NewOutcome {
        send,
        message,
        result: OutcomeResult::Delivered,
        attempts: 1,
        reply,
    };
    let mut entries = vec![Entry::Outcome(outcome)];
    if dispose {
        entries.push(Entry::Disposition(NewDisposition {
            message,
            disposition: Disposition::Processed,
        }));
    }
    Unit { entries }
}
