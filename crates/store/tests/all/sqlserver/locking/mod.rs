//! The claim and the fence under SQL Server's own locks and versions: every order of the statements of a leader, of
//! its lost connection, of its retention and of another node's takeover is walked, with READ_COMMITTED_SNAPSHOT off and
//! on. The hints are those of the backend's statements. Each of the rules that the store stands on is taken away in
//! turn, and has to be missed.
//!
//! It is a model: it shows that the design holds under the semantics that Microsoft documents, as `rows.rs` states
//! them. That a server keeps to them is for a server to show.

mod rows;
mod sessions;
mod walk;

use stateright::{Checker, HasDiscoveries, Model};

use rows::Hints;
use sessions::Rules;
use walk::Walk;

/// What the backend does.
fn shipped(rcsi: bool) -> Rules {
    Rules {
        rcsi,
        claim: Hints::of("WITH (UPDLOCK, ROWLOCK, READPAST)"),
        decide: Hints::of("WITH (UPDLOCK, ROWLOCK)"),
        fence: Hints::of("WITH (REPEATABLEREAD)"),
        decides: true,
        takes: true,
        compares_sessions: true,
        xact_abort: true,
        one_order: true,
    }
}

/// What a walk found.
struct Found {
    broken: Option<String>,
    states: usize,
    seen: usize,
}

fn walk(rules: Rules) -> Found {
    let checker = Walk { rules }
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = walk::NEVER
        .into_iter()
        .find_map(|name| Some((name, checker.discovery(name)?)));
    Found {
        broken: broken.map(|(name, path)| format!("{name}: {:?}", path.into_actions())),
        states: checker.unique_state_count(),
        seen: walk::SOMETIMES
            .into_iter()
            .filter(|name| checker.discovery(name).is_some())
            .count(),
    }
}

fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn in_no_order_of_statements_does_an_old_leader_write_or_a_message_split_or_two_wait_for_each_other() {
    for rcsi in [false, true] {
        let found = walk(shipped(rcsi));
        say(&format!(
            "versions {rcsi}: {} states, {}",
            found.states,
            found.broken.as_deref().unwrap_or("nothing broken")
        ));
        assert_eq!(found.broken, None, "READ_COMMITTED_SNAPSHOT {rcsi}");
        assert_eq!(
            found.seen,
            walk::SOMETIMES.len(),
            "some of what should happen did not"
        );
        assert!(found.states > 10_000, "{} states only", found.states);
    }
}

#[test]
fn without_one_of_its_rules_the_store_breaks_a_promise_and_the_model_says_which() {
    let cases: [(&str, Rules, &str); 10] = [
        (
            "the fence reads a version",
            Rules {
                fence: Hints::default(),
                ..shipped(true)
            },
            walk::STALE_DROP,
        ),
        (
            "the fence's lock ends with its statement",
            Rules {
                fence: Hints::of("WITH (READCOMMITTEDLOCK)"),
                ..shipped(true)
            },
            walk::STALE_DROP,
        ),
        (
            "the claim takes no U, with versions",
            Rules {
                claim: Hints::of("WITH (ROWLOCK, READPAST)"),
                ..shipped(true)
            },
            walk::STALE_WRITE,
        ),
        (
            "the claim takes no U, with locks",
            Rules {
                claim: Hints::of("WITH (ROWLOCK, READPAST)"),
                ..shipped(false)
            },
            walk::STALE_WRITE,
        ),
        (
            "a row that was passed over counts as another's",
            Rules {
                decides: false,
                ..shipped(true)
            },
            walk::FALSELY_FENCED,
        ),
        (
            "what decides passes over a locked row too",
            Rules {
                decide: Hints::of("WITH (UPDLOCK, ROWLOCK, READPAST)"),
                ..shipped(true)
            },
            walk::FALSELY_FENCED,
        ),
        (
            "a lost commit is looked for without taking the shard",
            Rules {
                takes: false,
                ..shipped(true)
            },
            walk::WRONGLY_ABSENT,
        ),
        (
            "sessions are not compared",
            Rules {
                compares_sessions: false,
                ..shipped(true)
            },
            walk::WRONGLY_ABSENT,
        ),
        (
            "XACT_ABORT is off",
            Rules {
                xact_abort: false,
                ..shipped(true)
            },
            walk::SPLIT,
        ),
        (
            "a release takes the rows in the other order",
            Rules {
                one_order: false,
                ..shipped(true)
            },
            walk::DEADLOCK,
        ),
    ];
    let mut survived = Vec::new();
    for (what, rules, expected) in cases {
        let found = walk(rules);
        say(&format!(
            "{what}: {}",
            found.broken.as_deref().unwrap_or("nothing broken")
        ));
        if !found.broken.is_some_and(|broken| broken.starts_with(expected)) {
            survived.push((what, expected));
        }
    }
    assert!(
        survived.is_empty(),
        "nobody would notice, or not as expected: {survived:?}"
    );
}
