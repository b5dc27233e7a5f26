//! Where a message stands: the newest row wins, and the census agrees with it.

use model::{Disposition, Stage};

use super::build::{self, Bench};
use super::{Case, Fixture, Outcome, case, holds, same};
use crate::rows::OutcomeResult;
use crate::views::MessageFilter;

pub(super) const CASES: &[Case] = &[
    case!(
        "the newest disposition wins, wherever the older ones lie",
        newest_wins
    ),
    case!(
        "the census counts every message once and every open row at its stage",
        census
    ),
];

async fn newest_wins(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let id = bench.arrive().await?;
    let story = [
        Disposition::Routed,
        Disposition::Error,
        Disposition::Routed,
        Disposition::Processed,
    ];
    for disposition in story {
        bench.dispose(id, disposition).await?;
        let found = bench
            .store
            .message(id)
            .await?
            .map(|detail| detail.summary.disposition);
        same("where it stands", found, Some(disposition))?;
        let filter = MessageFilter {
            disposition: Some(disposition),
            limit: 100,
            ..MessageFilter::default()
        };
        let listed = bench.store.messages(&filter).await?;
        holds(
            "found by where it stands",
            listed.items.iter().any(|summary| summary.id == id),
        )?;
        for _ in 0..10 {
            bench.whole_life().await?;
        }
    }
    let bench = bench.reopen().await?;
    let told = bench
        .store
        .message(id)
        .await?
        .map(|d| d.dispositions.into_iter().map(|(_, d)| d).collect::<Vec<_>>());
    same("its whole story", told, Some(story.to_vec()))
}

async fn census(fixture: Fixture) -> Outcome {
    let bench = Bench::open(fixture).await?;
    let [one, two] = bench.handlers;
    for _ in 0..12 {
        bench.whole_life().await?;
        bench.arrive().await?; // waits for its router
        let filtered = bench.arrive().await?;
        bench.route(filtered, &[one, two]).await?; // the second handler never runs
        bench.commit(vec![build::handled(filtered, one)]).await?;
        let stuck = bench.arrive().await?;
        bench.route(stuck, &[one]).await?;
        bench.send(stuck, bench.outbounds[1]).await?; // never delivered
        let dead = bench.arrive().await?;
        let send = bench.send(dead, bench.outbounds[0]).await?;
        let letter = bench
            .commit(vec![
                build::outcome(dead, send, OutcomeResult::Dead),
                build::dead_letter(dead, bench.outbounds[0], Some(send)),
                build::dead_letter(dead, bench.outbounds[0], Some(send)),
                build::disposition(dead, Disposition::Error),
            ])
            .await?
            .rows[1];
        bench.commit(vec![build::resolved(letter)]).await?;
    }
    let bench = bench.reopen().await?;
    let census = bench.store.census().await?;
    same("messages", census.messages, 60)?;
    let expected = vec![
        (Disposition::Received, 12),
        (Disposition::Routed, 24),
        (Disposition::Processed, 12),
        (Disposition::Error, 12),
    ];
    same("dispositions", census.dispositions, expected)?;
    same(
        "sends and delivered ones",
        (census.sends, census.delivered),
        (36, 12),
    )?;
    same(
        "open rows",
        census.open,
        vec![(Stage::Ingress, 12), (Stage::Routed, 12), (Stage::Outbound, 12)],
    )?;
    same("dead letters", census.dead_letters, 12)
}
