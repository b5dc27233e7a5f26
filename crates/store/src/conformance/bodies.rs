//! Bodies of every kind come back byte for byte, however they lie in the database.

use model::{Body, MessageId, SendId};

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::Entry;
use crate::rows::OutcomeResult;
use crate::views::MessageFilter;

pub(super) const CASES: &[Case] = &[case!(
    "a body comes back byte for byte at every stage, whatever its bytes, and listings tell its true size",
    every_kind
)];

/// Bytes that nothing shortens.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Empty, tiny, short and long, repetitive and not, text and none.
fn bodies() -> Vec<Vec<u8>> {
    let adt = "MSH|^~\\&|ADMIT|WEST|HUB|MAIN|20300102030405||ADT^A01^ADT_A01|X17|P|2.5.1\rEVN|A01|20300102030405\r\
               PID|1||4711^^^WEST^MR||M\u{fc}ller^Ann^B||19610203|F\rPV1|1|I|3N^12^A^WEST\r";
    vec![
        Vec::new(),
        b"x".to_vec(),
        vec![0; 63],
        vec![0; 64],
        vec![b'a'; 255],
        vec![b'a'; 256],
        adt.as_bytes().to_vec(),
        adt.as_bytes().repeat(50),
        noise(65),
        noise(5_000),
        (0..=255).collect(),
        b"PID|1||4711\r".repeat(200_000),
        noise(3 << 20),
        // What looks packed is content like any other.
        b"\x28\xb5\x2f\xfd\x60\xff\xff\xff\xff\xff".repeat(20),
    ]
}

async fn every_kind(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut written: Vec<(MessageId, SendId, Vec<u8>)> = Vec::new();
    for body in bodies() {
        let mut message = build::message(bench.inbounds[0], b"");
        if let Entry::Message(new) = &mut message {
            new.body = Body::from(body.clone());
        }
        let id = MessageId(bench.commit(vec![message]).await?.rows[0]);
        let mut send = build::send(id, bench.handlers[0], bench.outbounds[0], None);
        if let Entry::Send(new) = &mut send {
            new.body = Some(Body::from(body.clone()));
        }
        let sent = SendId(bench.commit(vec![send]).await?.rows[0]);
        let mut outcome = build::outcome(id, sent, OutcomeResult::Delivered);
        if let Entry::Outcome(new) = &mut outcome {
            new.reply = Some(Body::from(body.clone()));
        }
        bench.commit(vec![outcome]).await?;
        written.push((id, sent, body));
    }
    let bench = bench.reopen().await?;
    let ids: Vec<MessageId> = written.iter().map(|(id, _, _)| *id).collect();
    let sends: Vec<SendId> = written.iter().map(|(_, send, _)| *send).collect();
    let works = bench.store.messages_for_work(&ids).await?;
    let sent = bench.store.send_bodies(&sends).await?;
    let filter = MessageFilter {
        limit: ids.len(),
        ..MessageFilter::default()
    };
    let listed = bench.store.messages(&filter).await?.items;
    for (index, (id, _, body)) in written.iter().enumerate() {
        let what = format!("body {index} of {} bytes", body.len());
        let expected = Some(&body[..]);
        let is = |found: Option<&Body>| found.map(|found| &found[..]) == expected;
        let work = works[index].as_ref().map(|work| &work.body);
        holds(&format!("{what} as the message's"), is(work))?;
        holds(&format!("{what} as the send's"), is(sent[index].as_ref()))?;
        let Some(detail) = bench.store.message(*id).await? else {
            return holds(&format!("{what} is there"), false);
        };
        holds(&format!("{what} in the message's view"), is(detail.body.as_ref()))?;
        let send = detail.sends.first();
        holds(
            &format!("{what} in the send's view"),
            is(send.and_then(|send| send.body.as_ref())),
        )?;
        let outcome = send.and_then(|send| send.outcome.as_ref());
        holds(
            &format!("{what} as the reply"),
            is(outcome.and_then(|outcome| outcome.3.as_ref())),
        )?;
        let size = Some(body.len() as u64);
        same(
            &format!("the size in the view of {what}"),
            Some(detail.summary.size),
            size,
        )?;
        let line = listed.iter().find(|line| line.id == *id).map(|line| line.size);
        same(&format!("the size in the listing of {what}"), line, size)?;
    }
    same(
        "faults found when everything is read back",
        bench.store.check_integrity().await?,
        Vec::new(),
    )
}
