//! Commands that one node takes and the leader carries out.

use std::time::Duration;

use model::{Epoch, Term};
use store::Store;
use store::board::Board;
use store::orders::{Order, Orders, Progress};
use store::postgres::{self, PostgresBoard};
use uuid::Uuid;

use super::support::{open, options};
use crate::support::block_on;

const TTL: Duration = Duration::from_secs(30);

fn board(url: &str) -> PostgresBoard {
    postgres::board(&options(url, None), Duration::from_secs(2)).unwrap()
}

/// A database with the tables, its leader's board and term, and the board of a standby.
fn cluster(database: &pgtest::Database<'_>) -> (PostgresBoard, Term, PostgresBoard) {
    let url = database.url();
    block_on(async { open(options(&url, None)).await.unwrap().close().await.unwrap() });
    let (mut leader, standby) = (board(&url), board(&url));
    let mark = leader.look(TTL).unwrap().mark;
    let term = leader
        .acquire(&mark, "a", "one", TTL)
        .unwrap()
        .expect("it is free");
    (leader, term, standby)
}

fn order(actor: &str) -> Order {
    Order::new(
        "b",
        actor.to_owned(),
        "/api/v1/retention".to_owned(),
        "{}".to_owned(),
    )
}

#[test]
fn an_order_is_taken_up_once_and_its_answer_comes_back() {
    let database = pgtest::server().database();
    let (mut leader, term, mut standby) = cluster(&database);
    let orders = [order("ana"), order("bo"), order("cy")];
    for order in &orders {
        standby.give(order).unwrap();
        standby.give(order).unwrap(); // as after an answer that was lost
    }
    assert_eq!(standby.progress(orders[0].id).unwrap(), Progress::Open);
    assert_eq!(leader.take_up(term, 2).unwrap().len(), 2);
    let last = leader.take_up(term, 2).unwrap();
    assert_eq!(last, [orders[2].clone()], "oldest first, each once");
    assert!(leader.take_up(term, 2).unwrap().is_empty());
    assert_eq!(standby.progress(orders[0].id).unwrap(), Progress::Begun);
    leader.answer(orders[0].id, 409, "{\"error\":\"no\"}").unwrap();
    leader.answer(orders[0].id, 200, "{}").unwrap(); // the first word stands
    assert_eq!(
        standby.progress(orders[0].id).unwrap(),
        Progress::Answered(409, "{\"error\":\"no\"}".to_owned())
    );
}

#[test]
fn an_order_that_was_withdrawn_is_never_taken_up_and_one_taken_up_not_withdrawn() {
    let database = pgtest::server().database();
    let (mut leader, term, mut standby) = cluster(&database);
    let [first, second] = [order("ana"), order("bo")];
    standby.give(&first).unwrap();
    assert!(standby.withdraw(first.id).unwrap());
    assert!(leader.take_up(term, 8).unwrap().is_empty());
    assert_eq!(standby.progress(first.id).unwrap(), Progress::Gone);
    standby.give(&second).unwrap();
    assert_eq!(leader.take_up(term, 8).unwrap().len(), 1);
    assert!(!standby.withdraw(second.id).unwrap());
    assert_eq!(standby.progress(second.id).unwrap(), Progress::Begun);
    assert_eq!(standby.progress(Uuid::new_v4()).unwrap(), Progress::Gone);
}

#[test]
fn only_who_leads_takes_orders_up() {
    let database = pgtest::server().database();
    let (mut leader, term, mut standby) = cluster(&database);
    standby.give(&order("ana")).unwrap();
    let others = [
        Term {
            id: Uuid::new_v4(),
            ..term
        },
        Term {
            epoch: Epoch(term.epoch.0 + 1),
            ..term
        },
    ];
    for other in others {
        assert!(standby.take_up(other, 8).unwrap().is_empty());
    }
    leader.release(term, None, Duration::ZERO, "handed over").unwrap();
    assert!(
        leader.take_up(term, 8).unwrap().is_empty(),
        "it gave the lease up"
    );
}

#[test]
fn an_old_order_is_left_alone_and_then_cleared_away() {
    let database = pgtest::server().database();
    let (mut leader, term, mut standby) = cluster(&database);
    let old = order("ana");
    standby.give(&old).unwrap();
    database.sql("UPDATE holdfast.command SET asked_at = asked_at - 61 * 1000000::bigint");
    assert!(
        leader.take_up(term, 8).unwrap().is_empty(),
        "nobody waits for it any more"
    );
    database.sql("UPDATE holdfast.command SET asked_at = asked_at - 86400 * 1000000::bigint");
    standby.give(&order("bo")).unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM holdfast.command"), "1");
}
