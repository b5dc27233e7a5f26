//! What nodes meet while an availability group fails over, as far as a scripted peer can play it: replicas that say what the
//! documentation has them say, addresses that lead nowhere, a primary that turns into a secondary under an open connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use store::Error;
use store::board::{Board, Leadership};
use store::sqlserver::{self, Options, SqlServerBoard};

use super::server::{Deed, Peer, Stage, answer, leadership, standing};
use super::wire::{error, message};

const PATIENCE: Duration = Duration::from_secs(2);
/// A call that has to wait for nobody, beside other work.
const SOON: Duration = Duration::from_millis(1_500);

/// What a replica that is not the primary, or not yet, answers to a log-in: number, severity, and what it means.
const PASSING: [(u32, u8, &str); 20] = [
    (
        596,
        21,
        "Cannot continue the execution because the session is in the kill state.",
    ),
    (
        922,
        14,
        "Database 'holdfast' is being recovered. Waiting until recovery is finished.",
    ),
    (
        927,
        14,
        "Database 'holdfast' cannot be opened. It is in the middle of a restore.",
    ),
    (
        952,
        16,
        "Database 'holdfast' is in transition. Try the statement later.",
    ),
    (
        976,
        14,
        "The target database is participating in an availability group and is not accessible for queries.",
    ),
    (
        978,
        14,
        "The target database is accessible when the application intent is set to read only.",
    ),
    (
        979,
        14,
        "The target database currently does not allow read only connections.",
    ),
    (
        982,
        14,
        "No online secondary replicas are enabled for read-only access.",
    ),
    (
        983,
        14,
        "The database replica is not in the PRIMARY or SECONDARY role.",
    ),
    (
        988,
        14,
        "The database lacks a quorum of nodes for high availability.",
    ),
    (
        4060,
        11,
        "Cannot open database \"holdfast\" requested by the login. The login failed.",
    ),
    (6005, 10, "SHUTDOWN is in progress."),
    (
        10928,
        20,
        "Resource ID: 1. The limit for the database has been reached.",
    ),
    (
        17142,
        14,
        "SQL Server service has been paused. No new connections will be allowed.",
    ),
    (
        17187,
        16,
        "SQL Server is not ready to accept new client connections.",
    ),
    (18401, 14, "Login failed. Server is in script upgrade mode."),
    (
        40197,
        20,
        "The service has encountered an error processing your request. Please try again.",
    ),
    (40501, 20, "The service is currently busy."),
    (
        40613,
        17,
        "Database 'holdfast' on server 'peer' is not currently available.",
    ),
    (
        49918,
        16,
        "Cannot process request. Not enough resources to process request.",
    ),
];

fn board(url: &str) -> SqlServerBoard {
    let mut options = Options::new(url);
    options.password = Some("secret".to_owned());
    sqlserver::board(&options, PATIENCE).unwrap()
}

fn url(peers: &[&Peer]) -> String {
    let hosts: Vec<String> = peers
        .iter()
        .map(|peer| format!("127.0.0.1:{}", peer.port))
        .collect();
    format!("sqlserver://holdfast@{}/holdfast", hosts.join(","))
}

fn believed(history: &[Leadership]) -> bool {
    history.len() == 1 && history[0].node == "node-1"
}

/// A replica that answers every log-in with these errors, the first one first.
fn refusing(errors: &[(u32, u8, &'static str)]) -> Peer {
    let mut bytes = Vec::new();
    for (number, class, text) in errors {
        // Each one but the last without the end of the answer.
        bytes.truncate(bytes.len().saturating_sub(13));
        bytes.extend(error(*number, *class, text));
    }
    let bytes = message(&bytes);
    Peer::start(move |_, stage, _| match stage {
        Stage::Login => Deed::Close(bytes.clone()),
        _ => Deed::Answer,
    })
}

/// A replica that can be read.
fn secondary() -> Peer {
    let said = message(&answer(&standing("READ_ONLY")));
    Peer::start(move |_, stage, _| match stage {
        Stage::Standing => Deed::Say(said.clone()),
        _ => Deed::Answer,
    })
}

#[test]
fn whatever_a_replica_says_while_it_is_no_primary_is_waited_for() {
    for (number, class, text) in PASSING {
        let replica = refusing(&[
            (number, class, text),
            (18456, 14, "Login failed for user 'holdfast'."),
        ]);
        let Err(Error::Away(said)) = board(&url(&[&replica])).history(10) else {
            panic!("{number} is a reason to wait");
        };
        assert!(
            said.contains(&number.to_string()) && said.contains("wait"),
            "{said}"
        );
    }
    // Not this: it takes a person.
    let replica = refusing(&[(18456, 14, "Login failed for user 'holdfast'.")]);
    assert!(matches!(
        board(&url(&[&replica])).history(10),
        Err(Error::Refused(said)) if said.contains("SID")
    ));
}

#[test]
fn a_store_is_opened_once_the_listener_leads_to_a_primary_and_meanwhile_it_is_waited_for() {
    for (number, class, text) in [PASSING[8], PASSING[10], PASSING[18]] {
        let replica = refusing(&[(number, class, text)]);
        let mut options = Options::new(url(&[&replica]));
        options.password = Some("secret".to_owned());
        // A node that starts in a failover waits for what is away, and ends at what is refused.
        assert!(
            matches!(sqlserver::open(options), Err(Error::Away(_))),
            "{number}"
        );
    }
    let replica = secondary();
    let mut options = Options::new(url(&[&replica]));
    options.password = Some("secret".to_owned());
    let Err(Error::Away(said)) = sqlserver::open(options) else {
        panic!("a secondary was written to");
    };
    assert!(said.contains("secondary replica"), "{said}");
}

#[test]
fn of_several_replicas_the_first_that_can_be_written_to_is_used_whatever_the_others_do() {
    let primary = Peer::start(|_, _, _| Deed::Answer);
    let silent = Peer::start(|_, _, _| Deed::Stall(Vec::new()));
    let readable = secondary();
    let resolving = refusing(&[PASSING[8]]);
    let no_sid = refusing(&[(18456, 14, "Login failed for user 'holdfast'.")]);
    for replicas in [
        [&silent, &readable, &resolving, &no_sid, &primary],
        [&primary, &no_sid, &resolving, &readable, &silent],
    ] {
        let mut board = board(&url(&replicas));
        let begun = Instant::now();
        let history = board.history(10).unwrap();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        assert!(believed(&history));
    }
    assert_eq!(primary.records().len(), 2);
    for replica in [&readable, &resolving, &no_sid, &silent] {
        let asked: Vec<Stage> = replica
            .records()
            .into_iter()
            .flat_map(|record| record.asked)
            .collect();
        assert!(!asked.contains(&Stage::Question), "{asked:?}");
    }
    // None of them will do.
    let Err(Error::Away(said)) = board(&url(&[&readable, &resolving, &no_sid])).history(10) else {
        panic!("a secondary was used");
    };
    assert!(
        ["secondary replica", "983", "18456"]
            .iter()
            .all(|word| said.contains(word)),
        "{said}"
    );
}

#[test]
fn a_primary_that_becomes_a_secondary_under_an_open_connection_is_left() {
    for (number, class) in [(3906, 16), (3908, 16), (978, 14), (976, 14), (983, 14), (596, 21)] {
        let turned = Arc::new(AtomicUsize::new(0));
        let said = message(&error(
            number,
            class,
            "Failed to update the database because it is read-only.",
        ));
        let now_secondary = message(&answer(&standing("READ_ONLY")));
        let old = {
            let turned = Arc::clone(&turned);
            Peer::start(move |_, stage, _| match (stage, turned.load(Ordering::Relaxed)) {
                (Stage::Question, 1) => Deed::Say(said.clone()),
                (Stage::Standing, 1) => Deed::Say(now_secondary.clone()),
                _ => Deed::Answer,
            })
        };
        let fresh = Peer::start({
            let turned = Arc::clone(&turned);
            let resolving = message(&error(983, 14, PASSING[8].2));
            move |_, stage, _| match (stage, turned.load(Ordering::Relaxed)) {
                (Stage::Login, 0) => Deed::Close(resolving.clone()),
                _ => Deed::Answer,
            }
        });
        let mut board = board(&url(&[&old, &fresh]));
        assert!(believed(&board.history(10).unwrap()), "{number}");
        assert!(
            !fresh
                .records()
                .iter()
                .any(|record| record.asked.contains(&Stage::Question)),
            "{number}: it was not the primary"
        );
        turned.store(1, Ordering::Relaxed);
        let begun = Instant::now();
        // What may be repeated without harm is, on the new primary.
        let history = board.history(10).unwrap();
        assert!(
            believed(&history) && begun.elapsed() < SOON,
            "{number}: {:?}",
            begun.elapsed()
        );
        let asked = |peer: &Peer| {
            let records = peer.records();
            let asked = records.iter().flat_map(|record| &record.asked);
            asked.filter(|stage| **stage == Stage::Question).count()
        };
        assert_eq!((asked(&old), asked(&fresh)), (2, 1), "{number}");
        // Nor is the old one asked again; what the peer says to this is no answer to it.
        let _ = board.renew(term(), Duration::from_secs(5));
        assert_eq!((asked(&old), asked(&fresh)), (2, 2), "{number}");
    }
}

fn term() -> model::Term {
    model::Term {
        epoch: model::Epoch(7),
        id: uuid::Uuid::nil(),
    }
}

#[test]
fn a_listener_that_moves_is_followed_with_what_it_says_on_the_way() {
    // One address, as a listener's: at first the primary, then a replica that is taking over, then it has.
    let stage_of_group = Arc::new(AtomicUsize::new(0));
    let listener = {
        let now = Arc::clone(&stage_of_group);
        let resolving = message(&error(983, 14, PASSING[8].2));
        let closed = message(&error(4060, 11, PASSING[10].2));
        let read_only = message(&answer(&standing("READ_ONLY")));
        let ended = message(&error(
            3906,
            16,
            "Failed to update the database because it is read-only.",
        ));
        Peer::start(move |_, stage, _| match (now.load(Ordering::Relaxed), stage) {
            (1, Stage::Question) => Deed::Say(ended.clone()),
            (1, Stage::Standing) => Deed::Say(read_only.clone()),
            (2, Stage::Prelogin) => Deed::Reset(Vec::new()),
            (3, Stage::Login) => Deed::Close(resolving.clone()),
            (4, Stage::Login) => Deed::Close(closed.clone()),
            (5, Stage::Login) => Deed::Stall(Vec::new()),
            (_, Stage::Question) => Deed::Say(message(&answer(&leadership()))),
            _ => Deed::Answer,
        })
    };
    let mut board = board(&url(&[&listener]));
    assert!(believed(&board.history(10).unwrap()));
    for moment in 1..=5 {
        stage_of_group.store(moment, Ordering::Relaxed);
        let begun = Instant::now();
        let failed = board.history(10).unwrap_err();
        assert!(
            !matches!(failed, Error::Refused(_)),
            "at moment {moment} it gave up: {failed}"
        );
        assert!(
            begun.elapsed() < 2 * PATIENCE + SOON,
            "{moment}: {:?}",
            begun.elapsed()
        );
    }
    stage_of_group.store(6, Ordering::Relaxed);
    assert!(believed(&board.history(10).unwrap()));
}

#[test]
fn a_listener_named_by_several_addresses_of_one_machine_is_found_behind_those_that_lead_nowhere() {
    // `localhost` is ::1 and 127.0.0.1 on most machines; where it is one address only, this shows that one is enough.
    let primary = Peer::start(|_, _, _| Deed::Answer);
    let mut board = board(&format!(
        "sqlserver://holdfast@localhost:{}/holdfast",
        primary.port
    ));
    assert!(believed(&board.history(10).unwrap()));
    assert_eq!(primary.records().len(), 1);
}
