//! The lease row, the list of nodes and the commands, as the nodes of a cluster use them: what holds on PostgreSQL
//! (`postgres/board.rs`, `postgres/orders.rs`) holds here.

use std::time::Duration;

use model::{Body, Epoch, NameId, Term, Timestamp};
use store::board::{Board, Mark, Member, Renewal};
use store::orders::{Order, Orders, Progress};
use store::rows::NewMessage;
use store::sqlserver::{self, SqlServerBoard};
use store::{CommitError, Entry, Error, NameKind, Store, Unit};
use uuid::Uuid;

use super::support::{Database, open, server};
use crate::support::block_on;

const TTL: Duration = Duration::from_secs(30);
/// A lease that has run out by the time it is looked at.
const OVER: Duration = Duration::from_millis(1);
/// A stand-in takes its time.
const PATIENCE: Duration = Duration::from_secs(20);
const HOLD: Duration = Duration::from_secs(10);

fn board(database: &Database<'_>) -> SqlServerBoard {
    sqlserver::board(&database.options(None), PATIENCE).unwrap()
}

fn seen(board: &mut SqlServerBoard) -> Mark {
    board.look(TTL).unwrap().mark
}

/// A board's calls block: they are made beside the runtime of a test, as a node makes them on a thread of its own.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Takes the lease for `node`, which must succeed.
fn take(board: &mut SqlServerBoard, node: &str, ttl: Duration) -> Term {
    let mark = seen(board);
    let taken = board.acquire(&mark, node, "one", ttl).unwrap();
    std::thread::sleep(2 * OVER);
    taken.expect("it is free")
}

/// A database with the store's tables in it.
fn made(database: &Database<'_>) {
    block_on(async { open(database.options(None)).await.unwrap().close().await.unwrap() });
}

fn message(inbound: NameId) -> Vec<Unit> {
    vec![Unit::one(Entry::Message(NewMessage {
        inbound,
        received_at: Timestamp(1),
        control_id: None,
        kind: None,
        source: None,
        parent: None,
        keys: store::Keys::default(),
        body: Body::from(b"x".to_vec()),
    }))]
}

#[test]
fn the_lease_is_taken_as_it_was_seen_and_only_once() {
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let (mut a, mut b) = (board(&database), board(&database));
    let mark = seen(&mut a);
    assert_eq!((mark.epoch.0, mark.renewals), (0, 0), "nobody ever held it");
    assert!(mark.timeline > 0);
    let elsewhere = Mark {
        timeline: mark.timeline ^ 1,
        ..mark
    };
    let taken = a.acquire(&elsewhere, "a", "one", TTL).unwrap();
    assert_eq!(taken, None, "it was seen on another server");
    let term = a.acquire(&mark, "a", "one", TTL).unwrap().expect("it is free");
    let changed = b.acquire(&mark, "b", "one", TTL).unwrap();
    assert_eq!(changed, None, "it changed meanwhile");
    let now = seen(&mut b);
    assert_eq!(b.acquire(&now, "b", "one", TTL).unwrap(), None, "it is held");
    let other = Term {
        id: Uuid::new_v4(),
        ..term
    };
    assert_eq!(b.renew(other, TTL).unwrap(), Renewal::Lost);
    assert_eq!(a.renew(term, TTL).unwrap(), Renewal::Held(None));
    let lease = b.look(TTL).unwrap();
    assert_eq!(
        (lease.node.as_str(), lease.released, lease.expired, lease.ttl),
        ("a", false, false, TTL)
    );
    assert!(lease.left > TTL / 2 && lease.left <= TTL, "{:?}", lease.left);
    assert_eq!(lease.fingerprint.as_deref(), Some("one"));
}

#[test]
fn a_lease_that_ran_out_is_taken_over_and_its_holder_is_told_and_fenced() {
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let (mut a, mut b) = (board(&database), board(&database));
    block_on(async {
        let old = open(database.options(None)).await.unwrap();
        let first = aside(|| take(&mut a, "a", OVER));
        old.lead(first).await.unwrap();
        let names = [(NameKind::Inbound, "IB_TEST".to_owned())];
        let inbound = old.name_ids(&names).await.unwrap()[0];
        old.submit(first, message(inbound)).await.remove(0).unwrap();
        let second = aside(|| take(&mut b, "b", TTL));
        assert_eq!(second.epoch.0, first.epoch.0 + 1);
        assert_eq!(aside(|| a.renew(first, TTL)).unwrap(), Renewal::Lost);
        let late = old.submit(first, message(inbound)).await.remove(0);
        assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
        // Whoever was told too late may not undo what happened since.
        aside(|| a.release(first, None, HOLD, "too late")).unwrap();
        assert!(!aside(|| a.look(TTL)).unwrap().released);
        assert!(
            old.lead(first).await.is_err(),
            "a term that is over leads nothing"
        );
        let past = aside(|| b.history(5)).unwrap();
        assert_eq!(past[0].node, "b");
        assert_eq!(past[1].reason.as_deref(), Some("its lease ran out"));
    });
}

#[test]
fn a_lease_that_is_handed_over_is_kept_for_whom_it_is_for() {
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let (mut a, mut b) = (board(&database), board(&database));
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
    let term = b
        .acquire(&mark, "b", "one", TTL)
        .unwrap()
        .expect("it is for this one");
    // As it looks after the clock was set back by an hour: it binds nobody.
    b.release(term, Some("gone"), Duration::from_secs(3_600) + HOLD, "again")
        .unwrap();
    assert_eq!(a.look(TTL).unwrap().handoff_to, None);
    let mark = seen(&mut a);
    assert!(a.acquire(&mark, "a", "one", TTL).unwrap().is_some());
    assert_eq!(b.history(2).unwrap()[1].reason.as_deref(), Some("again"));
}

#[test]
fn one_node_alone_does_not_take_a_store_that_a_cluster_leads() {
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let mut a = board(&database);
    let term = take(&mut a, "a", TTL);
    block_on(async {
        let alone = open(database.options(None)).await.unwrap();
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
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let mut board = board(&database);
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
        "the first lives"
    );
    let known = board.members().unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].member, member(1, "primary"));
    std::thread::sleep(2 * OVER);
    assert!(board.beat(&member(2, "left"), OVER).unwrap(), "not heard of");
    assert!(board.beat(&member(3, "standby"), TTL).unwrap(), "the second left");
}

#[test]
fn an_order_is_taken_up_once_by_who_leads_or_withdrawn_and_its_answer_comes_back() {
    let Some(server) = server() else { return };
    let database = server.database();
    made(&database);
    let (mut leader, mut standby) = (board(&database), board(&database));
    let term = take(&mut leader, "a", TTL);
    let order = |actor: &str| {
        let path = "/api/v1/retention".to_owned();
        Order::new("b", actor.to_owned(), path, "{\"a\":\"b\"}".to_owned())
    };
    let orders = ["ana", "bo", "cy"].map(order);
    for order in &orders {
        standby.give(order).unwrap();
        standby.give(order).unwrap(); // as after an answer that was lost
    }
    assert_eq!(standby.progress(orders[0].id).unwrap(), Progress::Open);
    let other = Term {
        epoch: Epoch(term.epoch.0 + 1),
        ..term
    };
    assert!(standby.take_up(other, 8).unwrap().is_empty(), "it does not lead");
    assert_eq!(leader.take_up(term, 2).unwrap(), orders[..2], "oldest first");
    assert_eq!(leader.take_up(term, 2).unwrap(), orders[2..], "each once");
    assert!(leader.take_up(term, 2).unwrap().is_empty());
    assert_eq!(standby.progress(orders[0].id).unwrap(), Progress::Begun);
    assert!(!standby.withdraw(orders[0].id).unwrap(), "it was taken up");
    leader.answer(orders[0].id, 409, "{\"error\":\"no\"}").unwrap();
    leader.answer(orders[0].id, 200, "{}").unwrap(); // the first word stands
    assert_eq!(
        standby.progress(orders[0].id).unwrap(),
        Progress::Answered(409, "{\"error\":\"no\"}".to_owned())
    );
    let late = order("di");
    standby.give(&late).unwrap();
    assert!(standby.withdraw(late.id).unwrap());
    assert!(leader.take_up(term, 8).unwrap().is_empty());
    assert_eq!(standby.progress(late.id).unwrap(), Progress::Gone);
    let old = order("ed");
    standby.give(&old).unwrap();
    database.sql("UPDATE holdfast.command SET asked_at = asked_at - 61000000");
    assert!(leader.take_up(term, 8).unwrap().is_empty(), "nobody waits for it");
    leader.release(term, None, Duration::ZERO, "handed over").unwrap();
    standby.give(&order("flo")).unwrap();
    assert!(
        leader.take_up(term, 8).unwrap().is_empty(),
        "it gave the lease up"
    );
}
