//! Searching: every field of a filter and every pair of fields finds exactly the messages that it should,
//! newest first, whatever the segments and whatever happened to the messages in later ones.

use model::{Body, Disposition, MessageId, NameId, RowId, Timestamp};

use super::build::{self, Bench};
use super::listings::listed;
use super::{Case, Fault, Fixture, Outcome, case, holds, same};
use crate::keys::{VALUE_BYTES_MAX, VALUES_MAX};
use crate::rows::{NewMessage, OutcomeResult};
use crate::views::MessageFilter;
use crate::{Entry, Key, Keys};

pub(super) const CASES: &[Case] = &[
    case!("any two fields of a filter find what meets both", pairs_of_fields),
    case!("a message is found by each of its keys and by nothing else", keys),
    case!(
        "a message is found where it stands now, however far away that was written",
        standings_far_away
    ),
];

/// What a message is, for the comparison.
#[derive(Clone, Debug)]
struct Known {
    id: MessageId,
    inbound: NameId,
    received_at: i64,
    control_id: String,
    kind: Option<&'static str>,
    mrn: String,
    destinations: Vec<NameId>,
    stands: Disposition,
}

const KINDS: [Option<&str>; 5] = [
    Some("ADT^A01"),
    Some("ADT^A08"),
    Some("ADT"),
    None,
    Some("ORU^R01"),
];

/// Some messages, each different; later ones end earlier ones.
async fn lives(bench: &Bench, count: usize) -> Result<Vec<Known>, Fault> {
    let mut known: Vec<Known> = Vec::new();
    for number in 0..count {
        let mut keys = Keys::default();
        let mrn = format!("M{}", number % 7);
        keys.add("order", &format!("O{number}"));
        keys.add("mrn", &mrn);
        let mut message = Known {
            id: MessageId::default(),
            inbound: bench.inbounds[usize::from(number % 4 == 1)],
            // The clock steps back once in a while.
            received_at: (number as i64 - 10 * i64::from(number % 9 == 8)) * 1_000_000,
            control_id: format!("C{}", number % 11),
            kind: KINDS[number % KINDS.len()],
            mrn,
            destinations: Vec::new(),
            stands: Disposition::Received,
        };
        let entry = Entry::Message(NewMessage {
            inbound: message.inbound,
            received_at: Timestamp(message.received_at),
            control_id: Some(message.control_id.as_str().into()),
            kind: message.kind.map(Into::into),
            source: None,
            parent: None,
            keys,
            body: Body::from(&b"MSH|^~\\&|synthetic"[..]),
        });
        message.id = MessageId(bench.commit(vec![entry]).await?.rows[0]);
        known.push(message);
        // A message before this one goes on.
        let Some(earlier) = number.checked_sub(number % 6) else {
            continue;
        };
        step(bench, &mut known[earlier], number).await?;
        if number % 2 == 0 {
            step(bench, &mut known[number], number).await?;
        }
    }
    Ok(known)
}

/// One more event in a message's life, of some kind.
async fn step(bench: &Bench, message: &mut Known, number: usize) -> Result<(), Fault> {
    let id = message.id;
    match number % 5 {
        0 => {
            let destination = bench.outbounds[number % 2];
            let send = bench.send(id, destination).await?;
            bench
                .commit(vec![
                    build::outcome(id, send, OutcomeResult::Delivered),
                    build::disposition(id, Disposition::Processed),
                ])
                .await?;
            message.destinations.push(destination);
            message.stands = Disposition::Processed;
        }
        1 => {
            bench.dispose(id, Disposition::Error).await?;
            message.stands = Disposition::Error;
        }
        2 => {
            bench.dispose(id, Disposition::Routed).await?;
            bench.route(id, &bench.handlers[..1]).await?;
            message.stands = Disposition::Routed;
        }
        3 => {
            bench.dispose(id, Disposition::Received).await?;
            message.stands = Disposition::Received;
        }
        _ => {
            bench.dispose(id, Disposition::Filtered).await?;
            message.stands = Disposition::Filtered;
        }
    }
    Ok(())
}

type Test = Box<dyn Fn(&Known) -> bool + Send + Sync>;

/// One field of a filter with one value: its name, how it is set, which messages meet it.
struct Field {
    name: &'static str,
    set: fn(&Bench, &mut MessageFilter),
    meets: fn(&Bench) -> Test,
}

const FIELDS: &[Field] = &[
    Field {
        name: "inbound",
        set: |bench, filter| filter.inbound = Some(bench.inbounds[1]),
        meets: |bench| {
            let inbound = bench.inbounds[1];
            Box::new(move |known| known.inbound == inbound)
        },
    },
    Field {
        name: "an inbound by which nothing came",
        set: |bench, filter| filter.inbound = Some(bench.outbounds[0]),
        meets: |_| Box::new(|_| false),
    },
    Field {
        name: "control id",
        set: |_, filter| filter.control_id = Some("C4".to_owned()),
        meets: |_| Box::new(|known| known.control_id == "C4"),
    },
    Field {
        name: "type",
        set: |_, filter| filter.kind = Some("ADT^A08".to_owned()),
        meets: |_| Box::new(|known| known.kind == Some("ADT^A08")),
    },
    Field {
        name: "the beginning of a type",
        set: |_, filter| filter.kind = Some("ADT".to_owned()),
        meets: |_| Box::new(|known| known.kind.is_some_and(|kind| kind.starts_with("ADT"))),
    },
    Field {
        name: "key",
        set: |_, filter| filter.key = Key::new("mrn", "M3"),
        meets: |_| Box::new(|known| known.mrn == "M3"),
    },
    Field {
        name: "destination",
        set: |bench, filter| filter.destination = Some(bench.outbounds[1]),
        meets: |bench| {
            let destination = bench.outbounds[1];
            Box::new(move |known| known.destinations.contains(&destination))
        },
    },
    Field {
        name: "since",
        set: |_, filter| filter.since = Some(Timestamp(25_000_000)),
        meets: |_| Box::new(|known| known.received_at >= 25_000_000),
    },
    Field {
        name: "until",
        set: |_, filter| filter.until = Some(Timestamp(50_000_000)),
        meets: |_| Box::new(|known| known.received_at < 50_000_000),
    },
    Field {
        name: "a moment",
        set: |_, filter| {
            filter.since = Some(Timestamp(33_000_000));
            filter.until = Some(Timestamp(33_000_001));
        },
        meets: |_| Box::new(|known| known.received_at == 33_000_000),
    },
    Field {
        name: "processed",
        set: |_, filter| filter.disposition = Some(Disposition::Processed),
        meets: |_| Box::new(|known| known.stands == Disposition::Processed),
    },
    Field {
        name: "error",
        set: |_, filter| filter.disposition = Some(Disposition::Error),
        meets: |_| Box::new(|known| known.stands == Disposition::Error),
    },
    Field {
        name: "routed",
        set: |_, filter| filter.disposition = Some(Disposition::Routed),
        meets: |_| Box::new(|known| known.stands == Disposition::Routed),
    },
    Field {
        name: "received",
        set: |_, filter| filter.disposition = Some(Disposition::Received),
        meets: |_| Box::new(|known| known.stands == Disposition::Received),
    },
    Field {
        name: "unrouted",
        set: |_, filter| filter.disposition = Some(Disposition::Unrouted),
        meets: |_| Box::new(|_| false),
    },
];

async fn pairs_of_fields(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let known = lives(&bench, 72).await?;
    holds_pairs(&bench, &known).await?;
    // By now all that is full is sealed; and a store that was opened anew finds the same.
    let bench = bench.reopen().await?;
    holds_pairs(&bench, &known).await
}

async fn holds_pairs(bench: &Bench, known: &[Known]) -> Outcome {
    for (place, one) in FIELDS.iter().enumerate() {
        for (step, other) in FIELDS[place..].iter().enumerate() {
            let mut filter = MessageFilter {
                limit: [3, 7, 1_000][(place + step) % 3],
                ..MessageFilter::default()
            };
            (one.set)(bench, &mut filter);
            let between = filter.clone();
            (other.set)(bench, &mut filter);
            // The second may have replaced what the first set: then they are no pair.
            let mut again = filter.clone();
            (one.set)(bench, &mut again);
            if again != filter || (step > 0 && between == filter) {
                continue;
            }
            let tests = [(one.meets)(bench), (other.meets)(bench)];
            let expected: Vec<MessageId> = known
                .iter()
                .rev()
                .filter(|known| tests.iter().all(|test| test(known)))
                .map(|known| known.id)
                .collect();
            let what = format!("{} and {}", one.name, other.name);
            same(&what, listed(bench, filter).await?, expected)?;
        }
    }
    Ok(())
}

async fn keys(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let long = "9".repeat(VALUE_BYTES_MAX + 50);
    let mut ids = Vec::new();
    for round in 0..12 {
        let mut keys = Keys::default();
        for number in 0..VALUES_MAX - 2 {
            keys.add("mrn", &format!("{round}-{number}"));
        }
        keys.add("name", "O'Hara \\ {\"x\",NULL} ü");
        keys.add("order", &long);
        keys.add("order", "one too many");
        let Entry::Message(mut message) = build::message(bench.inbounds[0], b"x") else {
            return holds("a message is built", false);
        };
        message.keys = keys;
        ids.push(MessageId(
            bench.commit(vec![Entry::Message(message)]).await?.rows[0],
        ));
        bench.whole_life().await?;
    }
    let newest_first: Vec<MessageId> = ids.iter().rev().copied().collect();
    let by = async |name: &str, value: &str| {
        let filter = MessageFilter {
            key: Key::new(name, value),
            limit: 5,
            ..MessageFilter::default()
        };
        listed(&bench, filter).await
    };
    same("the first", by("mrn", "3-0").await?, vec![ids[3]])?;
    same(
        "the last",
        by("mrn", &format!("9-{}", VALUES_MAX - 3)).await?,
        vec![ids[9]],
    )?;
    same("spaces around it", by("mrn", "  3-1 ").await?, vec![ids[3]])?;
    same(
        "special characters",
        by("name", "O'Hara \\ {\"x\",NULL} ü").await?,
        newest_first.clone(),
    )?;
    same("a long one", by("order", &long).await?, newest_first.clone())?;
    same(
        "cut alike",
        by("order", &long[..VALUE_BYTES_MAX]).await?,
        newest_first,
    )?;
    for (name, value) in [
        ("mrn", "3-"),
        ("mrn", "3-99"),
        ("order", "3-0"),
        ("rn", "3-0"),
        ("order", "one too many"),
        ("mrn", "%"),
    ] {
        same(value, by(name, value).await?, Vec::new())?;
    }
    Ok(())
}

async fn standings_far_away(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(bench.arrive().await?);
    }
    for _ in 0..20 {
        bench.whole_life().await?;
    }
    bench.dispose(old[1], Disposition::Error).await?;
    bench.dispose(old[3], Disposition::Error).await?;
    bench.dispose(old[4], Disposition::Processed).await?;
    for _ in 0..20 {
        bench.whole_life().await?;
    }
    bench.dispose(old[3], Disposition::Routed).await?; // put back by a person
    bench.route(old[3], &bench.handlers[..1]).await?;
    let send = bench.send(old[0], bench.outbounds[1]).await?;
    bench.deliver(old[0], send).await?;
    let standing = |disposition| MessageFilter {
        disposition: Some(disposition),
        limit: 1,
        ..MessageFilter::default()
    };
    let error = listed(&bench, standing(Disposition::Error)).await?;
    same("error", error, vec![old[1]])?;
    let routed = listed(&bench, standing(Disposition::Routed)).await?;
    same("routed", routed, vec![old[3]])?;
    let received = listed(&bench, standing(Disposition::Received)).await?;
    same("received", received, vec![old[2], old[0]])?;
    let old_ones = MessageFilter {
        before: Some(RowId(old[4].raw() + 1)),
        ..standing(Disposition::Processed)
    };
    same(
        "processed, from there on",
        listed(&bench, old_ones).await?,
        vec![old[4]],
    )?;
    let sent = MessageFilter {
        destination: Some(bench.outbounds[1]),
        limit: 1,
        ..MessageFilter::default()
    };
    same("sent there long after", listed(&bench, sent).await?, vec![old[0]])
}
