//! Pages for people.

use model::{Body, Disposition, MessageId, RowId, Stage, Timestamp};

use super::build::{self, Bench};
use super::{Case, Fault, Fixture, Outcome, case, holds, same};
use crate::rows::NewMessage;
use crate::views::{DeadLetterFilter, MessageFilter};
use crate::{Entry, Keys};

pub(super) const CASES: &[Case] = &[
    case!(
        "messages are listed newest first, in pages that miss none and repeat none",
        pages
    ),
    case!("each field of a message filter narrows the listing", filters),
    case!(
        "dead letters are listed oldest first until somebody deals with them",
        dead_letters
    ),
];

/// All pages of a filter.
pub(super) async fn listed(bench: &Bench, mut filter: MessageFilter) -> Result<Vec<MessageId>, Fault> {
    let mut found = Vec::new();
    loop {
        let page = bench.store.messages(&filter).await?;
        holds(
            "a page holds at most what was asked",
            page.items.len() <= filter.limit,
        )?;
        found.extend(page.items.into_iter().map(|summary| summary.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok(found),
        }
    }
}

async fn pages(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(bench.whole_life().await?);
    }
    ids.reverse();
    for limit in [1, 4, 25, 1_000] {
        same(
            "all pages",
            listed(
                &bench,
                MessageFilter {
                    limit,
                    ..MessageFilter::default()
                },
            )
            .await?,
            ids.clone(),
        )?;
    }
    let page = bench
        .store
        .messages(&MessageFilter {
            limit: 1,
            ..MessageFilter::default()
        })
        .await?;
    let summary = &page.items[0];
    same(
        "a line's texts",
        (summary.control_id.as_deref(), summary.kind.as_deref()),
        (Some("C1"), Some("ADT^A01")),
    )?;
    same("a line's source", summary.source.as_deref(), Some("127.0.0.1:1"))?;
    same(
        "a line's numbers",
        (summary.size, summary.received_at.0),
        (18, 1_000_000),
    )?;
    same("a line's standing", summary.disposition, Disposition::Processed)
}

async fn filters(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut ids = Vec::new();
    for number in 0..24_i64 {
        let entry = Entry::Message(NewMessage {
            inbound: bench.inbounds[usize::from(number % 2 == 0)],
            received_at: Timestamp(number * 1_000_000),
            control_id: Some(format!("C{}", number % 3).into()),
            kind: Some(["ADT^A01", "ADT^A08", "ORU^R01", "ADTX"][number as usize % 4].into()),
            source: None,
            parent: ids.last().copied(),
            keys: Keys::default(),
            body: Body::from(&b"x"[..]),
        });
        let id = MessageId(bench.commit(vec![entry]).await?.rows[0]);
        ids.push(id);
        if number % 6 == 0 {
            bench.dispose(id, Disposition::Error).await?;
        }
    }
    let all = MessageFilter {
        limit: 5,
        ..MessageFilter::default()
    };
    let every = |condition: fn(usize) -> bool| -> Vec<MessageId> {
        (0..24)
            .rev()
            .filter(|number| condition(*number))
            .map(|number| ids[number])
            .collect()
    };
    let since = Some(Timestamp(10_000_000));
    let until = Some(Timestamp(20_000_000));
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (
            "inbound",
            MessageFilter {
                inbound: Some(bench.inbounds[1]),
                ..all.clone()
            },
            every(|n| n % 2 == 0),
        ),
        (
            "control id",
            MessageFilter {
                control_id: text("C2"),
                ..all.clone()
            },
            every(|n| n % 3 == 2),
        ),
        (
            "no such control id",
            MessageFilter {
                control_id: text("C"),
                ..all.clone()
            },
            vec![],
        ),
        (
            "kind",
            MessageFilter {
                kind: text("ADT^A08"),
                ..all.clone()
            },
            every(|n| n % 4 == 1),
        ),
        (
            "kind, its beginning",
            MessageFilter {
                kind: text("ADT^"),
                ..all.clone()
            },
            every(|n| n % 4 < 2),
        ),
        (
            "time",
            MessageFilter {
                since,
                until,
                ..all.clone()
            },
            every(|n| (10..20).contains(&n)),
        ),
        (
            "standing",
            MessageFilter {
                disposition: Some(Disposition::Error),
                ..all.clone()
            },
            every(|n| n % 6 == 0),
        ),
        (
            "no row",
            MessageFilter {
                disposition: Some(Disposition::Received),
                ..all.clone()
            },
            every(|n| n % 6 != 0),
        ),
        (
            "all at once",
            MessageFilter {
                inbound: Some(bench.inbounds[1]),
                disposition: Some(Disposition::Error),
                control_id: text("C0"),
                kind: text("ORU"),
                ..all.clone()
            },
            every(|n| n % 6 == 0 && n % 4 == 2),
        ),
    ];
    for (what, filter, expected) in cases {
        same(what, listed(&bench, filter).await?, expected)?;
    }
    let detail = bench.store.message(ids[5]).await?;
    same(
        "its parent",
        detail.and_then(|detail| detail.summary.parent),
        Some(ids[4]),
    )
}

async fn letters(bench: &Bench, mut filter: DeadLetterFilter) -> Result<Vec<RowId>, Fault> {
    let mut found = Vec::new();
    loop {
        let page = bench.store.dead_letters(&filter).await?;
        found.extend(page.items.into_iter().map(|letter| letter.row));
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return Ok(found),
        }
    }
}

async fn dead_letters(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let mut open = Vec::new();
    let mut dealt_with = Vec::new();
    let mut messages = Vec::new();
    for number in 0..20 {
        let id = bench.arrive().await?;
        let entry = if number % 2 == 0 {
            build::dead_letter(id, bench.handlers[0], None)
        } else {
            let send = bench.send(id, bench.outbounds[0]).await?;
            build::dead_letter(id, bench.outbounds[0], Some(send))
        };
        let row = bench.commit(vec![entry]).await?.rows[0];
        messages.push(id);
        if number % 5 == 0 {
            dealt_with.push(row)
        } else {
            open.push(row)
        }
    }
    for row in &dealt_with {
        bench.commit(vec![build::resolved(*row)]).await?;
    }
    let all = DeadLetterFilter {
        limit: 3,
        ..DeadLetterFilter::default()
    };
    same("all pages", letters(&bench, all.clone()).await?, open.clone())?;
    let at = DeadLetterFilter {
        at_name: Some(bench.outbounds[0]),
        ..all.clone()
    };
    let stage = DeadLetterFilter {
        stage: Some(Stage::Routed),
        ..all.clone()
    };
    let (by_name, by_stage) = (letters(&bench, at).await?, letters(&bench, stage).await?);
    same("two halves", by_name.len() + by_stage.len(), open.len())?;
    let of_one = DeadLetterFilter {
        message: Some(messages[1]),
        ..all.clone()
    };
    same("of one message", letters(&bench, of_one).await?, vec![open[0]])?;
    let Some(detail) = bench.store.message(messages[5]).await? else {
        return holds("the message is there", false);
    };
    holds(
        "a message still tells of the one dealt with",
        detail.dead_letters[0].resolved_at.is_some(),
    )?;
    let future = DeadLetterFilter {
        since: Some(Timestamp(i64::MAX)),
        ..all.clone()
    };
    same("none is from the future", letters(&bench, future).await?, vec![])?;
    let bench = bench.reopen().await?;
    same("all pages later", letters(&bench, all).await?, open)
}
