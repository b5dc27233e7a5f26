//! The lease row and the list of nodes, as the nodes of a cluster use them.

use std::time::Duration;

use model::Term;
use store::board::{Board, Mark, Member, Renewal};
use store::postgres::{self, PostgresBoard};
use store::{CommitError, Error, Store};
use uuid::Uuid;

use super::support::{Led, open, options};
use crate::support::block_on;

const TTL: Duration = Duration::from_secs(30);
/// A lease that has run out by the time it is looked at.
const OVER: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(2);
const HOLD: Duration = Duration::from_secs(10);

fn board(url: &str) -> PostgresBoard {
    postgres::board(&options(url, None), PATIENCE).unwrap()
}

fn seen(board: &mut PostgresBoard) -> Mark {
    board.look(TTL).unwrap().mark
}

/// A board's calls block: they are made beside the runtime of a test, as a node makes them on a thread of its own.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Takes the lease for `node`, which must succeed.
fn take(board: &mut PostgresBoard, node: &str, ttl: Duration) -> Term {
    let mark = seen(board);
    let taken = board.acquire(&mark, node, "one", ttl).unwrap();
    std::thread::sleep(2 * OVER);
    taken.expect("it is free")
}

/// A database with the store's tables in it.
fn made(database: &pgtest::Database<'_>) {
    block_on(async {
        open(options(&database.url(), None))
            .await
            .unwrap()
            .close()
            .await
            .unwrap()
    });
}

#[test]
fn the_lease_is_taken_as_it_was_seen_and_only_once() {
    let database = pgtest::server().database();
    made(&database);
    let (mut a, mut b) = (board(&database.url()), board(&database.url()));
    let mark = seen(&mut a);
    assert_eq!((mark.epoch.0, mark.renewals), (0, 0), "nobody ever held it");
    let elsewhere = Mark {
        timeline: mark.timeline + 1,
        ..mark
    };
    assert_eq!(
        a.acquire(&elsewhere, "a", "one", TTL).unwrap(),
        None,
        "it was seen on another server"
    );
    let term = a.acquire(&mark, "a", "one", TTL).unwrap().expect("it is free");
    assert_eq!(
        b.acquire(&mark, "b", "one", TTL).unwrap(),
        None,
        "it changed meanwhile"
    );
    let now = seen(&mut b);
    assert_eq!(b.acquire(&now, "b", "one", TTL).unwrap(), None, "it is held");
    assert_eq!(
        b.renew(
            Term {
                id: Uuid::new_v4(),
                ..term
            },
            TTL
        )
        .unwrap(),
        Renewal::Lost
    );
    assert_eq!(a.renew(term, TTL).unwrap(), Renewal::Held(None));
    let lease = b.look(TTL).unwrap();
    assert_eq!(
        (lease.node.as_str(), lease.released, lease.expired, lease.ttl),
        ("a", false, false, TTL)
    );
    assert!(lease.left > TTL / 2 && lease.left <= TTL, "{:?}", lease.left);
    assert_eq!(lease.fingerprint.as_deref(), Some("one"));
    assert!(lease.mark.timeline > 0);
}

#[test]
fn a_lease_that_ran_out_is_taken_over_and_its_holder_is_told_and_fenced() {
    let database = pgtest::server().database();
    made(&database);
    let (mut a, mut b) = (board(&database.url()), board(&database.url()));
    block_on(async {
        let old = Led::open(options(&database.url(), None)).await;
        old.store.release(old.term).await.unwrap();
        let first = aside(|| take(&mut a, "a", OVER));
        old.store.lead(first).await.unwrap();
        let old = Led { term: first, ..old };
        old.commit(vec![old.message(1, "in time")]).await.unwrap();
        let second = aside(|| take(&mut b, "b", TTL));
        assert_eq!(second.epoch.0, first.epoch.0 + 1);
        assert_eq!(aside(|| a.renew(first, TTL)).unwrap(), Renewal::Lost);
        let late = old.commit(vec![old.message(2, "too late")]).await;
        assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
        // Whoever was told too late may not undo what happened since.
        aside(|| a.release(first, None, HOLD, "too late")).unwrap();
        assert!(!aside(|| a.look(TTL)).unwrap().released);
        let again = old.store.lead(first).await;
        assert!(again.is_err(), "a term that is over leads nothing");
        let past = aside(|| b.history(5)).unwrap();
        assert_eq!(past[0].node, "b");
        assert_eq!(past[1].reason.as_deref(), Some("its lease ran out"));
        assert!(
            past[0].gap.is_some_and(|gap| gap < Duration::from_secs(20)),
            "{:?}",
            past[0].gap
        );
    });
}

#[test]
fn a_lease_that_is_handed_over_is_kept_for_whom_it_is_for() {
    let database = pgtest::server().database();
    made(&database);
    let (mut a, mut b) = (board(&database.url()), board(&database.url()));
    let term = take(&mut a, "a", TTL);
    assert!(b.ask("ana", Some("b")).unwrap());
    let Renewal::Held(Some(asked)) = a.renew(term, TTL).unwrap() else {
        panic!("the leader learns of the wish")
    };
    assert_eq!((asked.by.as_str(), asked.to.as_deref()), ("ana", Some("b")));
    a.release(term, Some("b"), HOLD, "handed over").unwrap();
    let mark = seen(&mut a);
    assert_eq!(a.acquire(&mark, "a", "one", TTL).unwrap(), None);
    let lease = a.look(TTL).unwrap();
    assert!(
        lease.released && lease.handoff_to.as_deref() == Some("b") && lease.asked.is_none(),
        "{lease:?}"
    );
    assert!(b.acquire(&mark, "b", "one", TTL).unwrap().is_some());
    assert_eq!(b.history(2).unwrap()[1].reason.as_deref(), Some("handed over"));
}

#[test]
fn a_hand_over_written_before_the_databases_clock_was_set_back_binds_nobody() {
    let database = pgtest::server().database();
    made(&database);
    let (mut a, mut b) = (board(&database.url()), board(&database.url()));
    let term = take(&mut a, "a", TTL);
    // As it looks after the clock was set back by an hour.
    let hold = Duration::from_secs(3_600) + HOLD;
    a.release(term, Some("gone"), hold, "handed over").unwrap();
    assert_eq!(b.look(TTL).unwrap().handoff_to, None);
    let mark = seen(&mut b);
    assert!(b.acquire(&mark, "b", "one", TTL).unwrap().is_some());
}

#[test]
fn one_node_alone_does_not_take_a_store_that_a_cluster_leads() {
    let database = pgtest::server().database();
    made(&database);
    let mut a = board(&database.url());
    let term = take(&mut a, "a", TTL);
    block_on(async {
        let alone = open(options(&database.url(), None)).await.unwrap();
        let refused = alone.acquire("alone").await;
        assert!(
            matches!(&refused, Err(Error::Refused(text)) if text.contains("cluster")),
            "{refused:?}"
        );
        aside(|| a.release(term, None, Duration::ZERO, "stopped in order")).unwrap();
        alone.acquire("alone").await.unwrap();
        assert_eq!(aside(|| a.renew(term, TTL)).unwrap(), Renewal::Lost);
    });
}

#[test]
fn a_living_nodes_id_is_not_given_to_another_process() {
    let database = pgtest::server().database();
    made(&database);
    let mut board = board(&database.url());
    let member = |boot: u128, role: &str| Member {
        id: "a".to_owned(),
        boot: Uuid::from_u128(boot),
        host: "here".to_owned(),
        pid: 4711,
        api: "127.0.0.1:8765".to_owned(),
        version: "1".to_owned(),
        fingerprint: "one".to_owned(),
        environment: "dev".to_owned(),
        promotable: true,
        delay: Duration::from_millis(250),
        role: role.to_owned(),
        ready: true,
        detail: String::new(),
    };
    assert!(board.beat(&member(1, "standby"), TTL).unwrap());
    assert!(board.beat(&member(1, "primary"), TTL).unwrap(), "it speaks again");
    assert!(
        !board.beat(&member(2, "standby"), TTL).unwrap(),
        "the first one lives"
    );
    let known = board.members().unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].member, member(1, "primary"));
    assert!(known[0].seen_ago < TTL);
    std::thread::sleep(2 * OVER);
    assert!(
        board.beat(&member(2, "left"), OVER).unwrap(),
        "the first one was not heard of any more"
    );
    assert!(
        board.beat(&member(3, "standby"), TTL).unwrap(),
        "the second one left"
    );
    // It ended before the database's clock was set back by an hour.
    database.sql("UPDATE holdfast.node SET seen_at = seen_at + 3600000000");
    assert!(
        board.members().unwrap()[0].seen_ago > TTL,
        "it was not heard of since"
    );
    assert!(
        board.beat(&member(4, "standby"), TTL).unwrap(),
        "its id is not kept from whoever comes after it"
    );
}
