//! Names, what operators want, opening and closing.

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::{CommitError, Desired, Error, NameKind};

pub(super) const CASES: &[Case] = &[
    case!(
        "a name keeps its number, and one text may name three kinds of thing",
        names
    ),
    case!(
        "what an operator wants of a connection survives a restart",
        desired
    ),
    case!(
        "a store that is open cannot be opened by a second one",
        one_at_a_time
    ),
    case!("a closed store takes nothing more and says so", closed),
    case!("a fresh store is sound, empty and led by nobody", fresh),
];

async fn names(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let asked =
        [NameKind::Inbound, NameKind::Outbound, NameKind::Handler].map(|kind| (kind, "SAME".to_owned()));
    let first = bench.store.name_ids(&asked).await?;
    holds(
        "three numbers",
        first[0] != first[1] && first[1] != first[2] && first[0] != first[2],
    )?;
    let bench = bench.reopen().await?;
    let reversed: Vec<_> = asked.iter().rev().cloned().collect();
    let again = bench.store.name_ids(&reversed).await?;
    same(
        "the same numbers",
        again.into_iter().rev().collect(),
        first.clone(),
    )?;
    let twice = bench
        .store
        .name_ids(&[asked[0].clone(), asked[0].clone()])
        .await?;
    same("asked twice in one call", twice, vec![first[0]; 2])?;
    let all = bench.store.names().await?;
    same("all names", all.len(), 9)?;
    holds(
        "each as it was given",
        all.contains(&(first[1], NameKind::Outbound, "SAME".to_owned())),
    )
}

async fn desired(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [one, two] = bench.inbounds;
    same("at first", bench.store.desired().await?, vec![])?;
    bench
        .store
        .set_desired(bench.term, one, Desired::Held, "alice")
        .await?;
    bench
        .store
        .set_desired(bench.term, two, Desired::Held, "alice")
        .await?;
    bench
        .store
        .set_desired(bench.term, one, Desired::Running, "bob")
        .await?;
    let bench = bench.reopen().await?;
    same(
        "what is not simply running",
        bench.store.desired().await?,
        vec![(two, Desired::Held)],
    )
}

async fn one_at_a_time(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    match bench.fixture.open().await {
        Err(Error::Busy(_)) => {}
        // Servers of databases let many in; then only one of them leads.
        Ok(second) => {
            let term = second.acquire("node-b").await?;
            let answer = bench
                .try_commit(bench.term, vec![build::message(bench.inbounds[0], b"x")])
                .await;
            holds("the first is fenced", matches!(answer, Err(CommitError::Fenced)))?;
            second.release(term).await?;
            return Ok(second.close().await?);
        }
        Err(other) => return Err(other.into()),
    }
    bench.arrive().await?;
    bench.reopen().await.map(drop)
}

async fn closed(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let last = bench.store.submit(
        bench.term,
        vec![crate::Unit::one(build::message(bench.inbounds[0], b"x")); 3],
    );
    bench.store.close().await?;
    holds(
        "what was queued before is committed",
        last.await.iter().all(Result::is_ok),
    )?;
    let answer = bench
        .try_commit(bench.term, vec![build::message(bench.inbounds[0], b"x")])
        .await;
    holds(
        "nothing is written later",
        matches!(answer, Err(CommitError::Unavailable(_))),
    )?;
    let fixture = bench.fixture.clone();
    drop(bench);
    same(
        "messages",
        Bench::open(fixture).await?.open_ids(10).await?.len(),
        3,
    )
}

async fn fresh(fixture: Fixture) -> Outcome {
    let store = fixture.open().await?;
    holds("nobody leads", store.leader().await?.is_none())?;
    same("faults", store.check_integrity().await?, vec![])?;
    same("messages", store.census().await?.messages, 0)?;
    holds("it takes some room", store.size_bytes().await? > 0)
}
