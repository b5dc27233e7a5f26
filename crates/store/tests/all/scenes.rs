//! What happens to a store on a server, told once for all servers: how a test brings the trouble about is its own part.

use std::time::Duration;

use futures::future::join_all;
use model::{MessageId, Term};
use pgtest::Relay;
use store::{CommitError, Entry, Error, Schema, Store, Unit};

use crate::led::{Led, Waiting, refused, until, written};

/// After a takeover that came while a handoff was in flight.
pub(crate) async fn handed_over<S: Store>(old: &Led<S>, in_flight: Waiting, new: &S, term: Term) {
    let receipt = in_flight
        .await
        .remove(0)
        .expect("it was committed before the takeover");
    let found = new.message(MessageId(receipt.rows[0])).await.unwrap();
    assert!(found.is_some(), "the new leader sees it at once");
    let late = old.commit(vec![old.message(2, "late")]).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
    assert_eq!(new.census().await.unwrap().messages, 1);
    new.release(term).await.unwrap();
}

/// After a takeover that the leader before slept through: it is fenced, and may lead again on a connection of its own.
pub(crate) async fn leads_again<S: Store>(old: &Led<S>, since: Term) {
    assert!(matches!(
        old.commit(vec![old.message(1, "late")]).await,
        Err(CommitError::Fenced)
    ));
    let again = old.store.acquire("node").await.unwrap();
    assert_eq!(again.epoch.0, since.epoch.0 + 1);
    let unit = vec![Unit::one(old.message(1, "again"))];
    old.store.submit(again, unit).await.remove(0).unwrap();
}

/// Two units in flight, of which the session was ended before anything was committed.
pub(crate) async fn written_once<S: Store>(led: &Led<S>, in_flight: Waiting) {
    let rows: Vec<_> = in_flight
        .await
        .into_iter()
        .map(|answer| answer.unwrap().rows[0])
        .collect();
    assert!(rows[0] < rows[1]);
    assert_eq!(led.store.census().await.unwrap().messages, 2);
    let later = led.arrive(2, false).await;
    assert!(later.0 > rows[1], "numbers go on growing");
}

/// A commit whose answer was lost although it happened.
pub(crate) async fn found_again<S: Store>(led: &Led<S>, in_flight: Waiting) {
    let receipt = in_flight.await.remove(0).unwrap();
    let found = led.store.message(MessageId(receipt.rows[0])).await.unwrap();
    assert!(found.is_some());
    assert_eq!(led.store.census().await.unwrap().messages, 1);
}

/// Of these units every thirteenth, beginning with the sixth, is one that the database cannot keep.
pub(crate) async fn refused_alone<S: Store>(
    led: &Led<S>,
    unit: impl Fn(usize, bool) -> Entry,
    said: impl Fn(&str) -> bool,
) {
    let units = (0..40).map(|number| Unit::one(unit(number, number % 13 == 5)));
    let answers = led.store.submit(led.term, units.collect()).await;
    let mut rows = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(receipt) => rows.push(receipt.rows[0]),
            Err(CommitError::Rejected(text)) => {
                assert_eq!(number % 13, 5, "{text}");
                assert!(said(&text), "{text}");
            }
            Err(other) => panic!("{number}: {other}"),
        }
    }
    assert_eq!(rows.len(), 37);
    assert!(rows.is_sorted(), "the others keep their order");
    assert_eq!(led.store.census().await.unwrap().messages, 37);
}

/// The network grows slow, and quick again.
pub(crate) async fn a_slow_network<S: Store>(led: &Led<S>, relay: &Relay) {
    let mut written = 0;
    for (delay, count) in [(20, 10), (200, 3)] {
        relay.delay(Duration::from_millis(delay));
        for _ in 0..count {
            led.arrive(1, false).await;
            written += 1;
        }
    }
    relay.delay(Duration::ZERO);
    assert_eq!(led.store.census().await.unwrap().messages, written);
}

/// The network stops and goes on.
pub(crate) async fn a_network_that_stops<S: Store>(led: &Led<S>, relay: &Relay) {
    relay.stall();
    let first = led.begin("first");
    // Those that come while it is being looked for are told so, and keep their messages.
    let (told, joined) = refused(led, "a call is told", |_| true).await;
    assert!(told.contains("goes on by itself"), "{told}");
    relay.resume();
    first.await.remove(0).unwrap();
    led.arrive(3, false).await;
    let joined = written(joined).await;
    assert_eq!(led.store.census().await.unwrap().messages, 2 + joined);
}

/// The network forgets connections without a word.
pub(crate) async fn a_network_that_forgets<S: Store>(led: &Led<S>, relay: &Relay) {
    led.arrive(1, false).await;
    led.store.census().await.unwrap();
    relay.forget();
    // Nothing ends the old connections, and nothing is ever heard from them.
    led.arrive(2, false).await;
    assert_eq!(led.store.census().await.unwrap().messages, 2);
}

/// The database goes and comes back. `place` is what it is called to a person.
pub(crate) async fn down_and_up<S: Store + std::fmt::Debug>(
    led: &Led<S>,
    place: &str,
    down: impl FnOnce(),
    open: impl AsyncFnOnce() -> Result<S, Error>,
    up: impl FnOnce(),
) {
    let kept = led.arrive(1, false).await;
    down();
    // The first may be in flight when the connection is found to be gone: it is answered once that is
    // settled. All later ones are answered at once.
    let first = led.begin("first");
    let mut told = None;
    until("a call is told", async || {
        match tokio::time::timeout(Duration::from_millis(500), led.begin("later")).await {
            Ok(mut answers) => told = answers.remove(0).err(),
            Err(_) => return false,
        }
        told.is_some()
    })
    .await;
    let Some(CommitError::Unavailable(text)) = told else {
        panic!("{told:?}");
    };
    assert!(
        text.contains(place) && text.contains("goes on by itself"),
        "{text}"
    );
    assert!(led.store.census().await.is_err());
    let refused = open().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Away(text) if text.contains(place) && text.contains("start it")),
        "{refused}"
    );
    up();
    let first = first.await.remove(0);
    writes_again(led).await;
    assert!(led.store.message(kept).await.unwrap().is_some());
    if let Ok(receipt) = first {
        let id = MessageId(receipt.rows[0]);
        assert!(led.store.message(id).await.unwrap().is_some());
    }
}

/// The trouble is over.
pub(crate) async fn writes_again<S: Store>(led: &Led<S>) {
    until("it writes again", async || {
        led.commit(vec![led.message(4, "again")]).await.is_ok()
    })
    .await;
}

/// The database may not be written to for now; the refusal has these words.
pub(crate) async fn refused_for_now<S: Store>(led: &Led<S>, words: &[&str]) {
    let mut told = String::new();
    until("a write is refused", async || {
        match led.commit(vec![led.message(1, "C")]).await {
            Err(CommitError::Unavailable(text)) => told = text,
            Err(other) => panic!("{other}"),
            Ok(_) => {}
        }
        !told.is_empty()
    })
    .await;
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
}

/// The database does not hold any more what this leader wrote last.
pub(crate) async fn finds_out<S: Store>(led: &Led<S>) {
    let unit = Unit::one(led.message(3, "next"));
    let mut ended = None;
    until("the leader finds out", async || {
        let answer = led.store.submit(led.term, vec![unit.clone()]).await.remove(0);
        if !matches!(answer, Err(CommitError::Unavailable(_))) {
            ended = Some(answer);
        }
        ended.is_some()
    })
    .await;
    assert!(matches!(ended, Some(Err(CommitError::Fenced))), "{ended:?}");
}

/// Several open an empty database at once.
pub(crate) async fn many_open<S: Store>(open: impl AsyncFn() -> Result<S, Error>) {
    for store in join_all((0..6).map(|_| open())).await {
        store.unwrap().close().await.unwrap();
    }
}

/// Releases to come took the schema further. `sql` runs a statement, `open` opens the store once more.
pub(crate) async fn a_newer_schema<S: Store + std::fmt::Debug>(
    led: &Led<S>,
    sql: impl Fn(&str),
    open: impl AsyncFn() -> Result<S, Error>,
) {
    let step = |version: u32, works_from: &str| {
        sql(&format!(
            "INSERT INTO holdfast.migration (version, name, checksum, applied_at, works_from)
             VALUES ({version}, 'later', 'of a newer release', 0, {works_from})"
        ));
    };
    let schema = led.store.schema().await.unwrap();
    assert_eq!(schema.version, schema.known);
    assert!(schema.works_from <= schema.known);
    step(1000, "3");
    let later = Schema {
        version: 1000,
        works_from: 3,
        ..schema
    };
    assert_eq!(led.store.schema().await.unwrap(), later);
    open().await.unwrap().lead(led.term).await.unwrap();
    step(1001, "1000");
    // Whoever has it open is told when it is to lead; whoever opens it, at once.
    for refused in [led.store.lead(led.term).await, open().await.map(drop)] {
        assert!(
            matches!(&refused, Err(Error::Outdated(text)) if text.contains("knows 1000")),
            "{refused:?}"
        );
    }
    sql("DELETE FROM holdfast.migration WHERE version = 1001");
    step(1002, "NULL"); // says nothing of older programs
    assert!(matches!(open().await, Err(Error::Outdated(_))));
}

/// Why a store is not opened.
pub(crate) fn refusal<S: std::fmt::Debug>(opened: Result<S, Error>) -> String {
    match opened {
        Err(Error::Refused(text) | Error::Outdated(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// A table of the first segment is gone.
pub(crate) async fn a_missing_table<S: Store>(led: &Led<S>, sql: impl Fn(&str)) {
    led.arrive(1, true).await;
    assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    sql("DROP TABLE holdfast.s000001_event");
    let faults = led.store.check_integrity().await.unwrap();
    assert_eq!(faults, ["segment 1: the table event is missing"]);
}

/// A body's bytes change in the database; `damage` does it.
pub(crate) async fn a_damaged_body<S: Store>(led: &Led<S>, sql: impl Fn(&str), damage: impl FnOnce()) {
    let message = led.arrive(1, true).await;
    assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
    damage();
    let text = format!("segment 1: the body of message {message} cannot be read: its bytes are damaged");
    let asked = led.store.messages_for_work(&[message]).await;
    let error = asked.unwrap_err().to_string();
    assert!(error.starts_with(&text), "{error}");
    let faults = led.store.check_integrity().await.unwrap();
    assert!(faults.len() == 1 && faults[0].starts_with(&text), "{faults:?}");
    sql("UPDATE holdfast.s000001_message SET enc = 99");
    let error = led.store.message(message).await.unwrap_err().to_string();
    assert!(error.contains("(99)") && error.contains("newer"), "{error}");
}
