//! The claim and the fence under SQL Server's own locks and versions: every order of the statements of a leader, of
//! its lost connection, of its retention and of another node's takeover is walked, with READ_COMMITTED_SNAPSHOT off and
//! on. The hints and their order are read from the backend's statements. Each of the rules that the store stands on is taken away in
//! turn, and has to be missed.
//!
//! It is a model: it shows that the design holds under the semantics that Microsoft documents, as `rows.rs` states
//! them. That a server keeps to them is for a server to show.

mod rows;
mod sessions;
mod walk;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use super::statements::source::constant;
use rows::{Hints, Mode, Until};
use sessions::Rules;
use walk::Walk;

/// Where a text stands in a statement.
fn place(sql: &str, what: &str) -> usize {
    sql.find(what)
        .unwrap_or_else(|| panic!("`{what}` is not in it any more: {sql}"))
}

/// The part of a statement from a text on.
fn from<'s>(sql: &'s str, what: &str) -> &'s str {
    &sql[place(sql, what)..]
}

/// What the backend does, read from its statements.
fn shipped(rcsi: bool) -> Rules {
    let claim = constant("APPEND_BEGIN");
    let look = constant("TAKE_AND_PROBE");
    let lease_first = ["ACQUIRE_ALONE", "ACQUIRE", "RELEASE_ALONE", "RELEASE"].map(|name| {
        let sql = constant(name);
        place(&sql, "UPDATE holdfast.lease") < place(&sql, "UPDATE holdfast.shard")
    });
    // The claim, and all that it covers, are one transaction; so are the look and what makes it final.
    for sql in [&claim, &look] {
        assert!(sql.trim_start().starts_with("BEGIN TRANSACTION"), "{sql}");
    }
    assert!(place(&claim, "holdfast.shard") < place(&claim, "IF @own = 1"));
    assert!(constant("APPEND_END").contains("COMMIT TRANSACTION"));
    Rules {
        rcsi,
        claim: Hints::of(from(&claim, "FROM holdfast.shard")),
        decide: Hints::of(from(&constant("HOLDS"), "FROM holdfast.shard")),
        fence: Hints::of(from(&constant("PROVE"), "FROM holdfast.lease")),
        probe: Hints::of(from(&look, "FROM {s}{table}")),
        decides: true, // the writer's, for every server
        takes: place(&look, "UPDATE holdfast.shard") < place(&look, "FROM {s}{table}"),
        compares_sessions: claim.contains("session = @P3"),
        xact_abort: constant("SESSION").contains("SET XACT_ABORT ON"),
        one_order: lease_first == [true; 4],
    }
}

/// What a walk found.
struct Found {
    broken: Option<String>,
    states: usize,
    seen: usize,
}

/// Walks until something is broken, or until this is.
fn walk(rules: Rules, until: Option<&'static str>) -> Found {
    let enough = match until {
        Some(name) => HasDiscoveries::AnyOf(BTreeSet::from([name])),
        None => HasDiscoveries::AnyFailures,
    };
    let checker = Walk { rules }.checker().finish_when(enough).spawn_bfs().join();
    let broken = until
        .into_iter()
        .chain(walk::NEVER)
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
fn the_statements_ask_for_the_locks_that_the_design_stands_on() {
    let rules = shipped(true);
    assert_eq!(rules.claim.lock(true), Some((Mode::U, Until::End)));
    assert!(rules.claim.readpast && rules.claim.rowlock && !rules.decide.readpast);
    assert_eq!(rules.decide.lock(true), Some((Mode::U, Until::End)));
    assert_eq!(rules.fence.lock(true), Some((Mode::S, Until::End)));
    assert!(rules.takes && rules.compares_sessions && rules.xact_abort && rules.one_order);
    // Whatever else claims the shard's row does so as a handoff does.
    for name in ["OPEN_SEGMENT", "SET_DESIRED"] {
        let hints = Hints::of(from(&constant(name), "FROM holdfast.shard"));
        assert_eq!(hints.lock(true), Some((Mode::U, Until::End)), "{name}");
    }
}

#[test]
fn in_no_order_of_statements_does_an_old_leader_write_or_a_message_split_or_two_wait_for_each_other() {
    for rcsi in [false, true] {
        let found = walk(shipped(rcsi), None);
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
        let found = walk(rules, Some(expected));
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
