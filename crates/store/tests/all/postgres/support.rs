//! What the tests of this backend share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Body, Disposition, MessageId, NameId, Term, Timestamp};
use store::conformance::Fixture;
use store::postgres::{self, Options, PostgresStore};
use store::rows::{NewDisposition, NewMessage};
use store::{CommitError, Entry, Error, NameKind, Receipt, Store, Unit};

pub(super) fn options(url: &str, rows: Option<u64>) -> Options {
    let mut options = Options::new(url);
    options.segment_rows_max = rows.unwrap_or(options.segment_rows_max);
    options
}

/// How to open a store in the database at `url`, with segments of about `rows` rows.
pub(super) fn fixture(url: &str, rows: Option<u64>) -> Fixture {
    let options = options(url, rows);
    Fixture::new(move || {
        let options = options.clone();
        async move { Ok(Arc::new(open(options).await?) as Arc<dyn Store>) }.boxed()
    })
}

pub(super) async fn open(options: Options) -> Result<PostgresStore, Error> {
    tokio::task::spawn_blocking(move || postgres::open(options))
        .await
        .unwrap()
}

/// Waits for a condition, up to a minute.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A call that waits for its answer.
pub(super) type Waiting = BoxFuture<'static, Vec<Result<Receipt, CommitError>>>;

/// Writes until a call is refused with a text that is `enough`; with the text, the calls that joined the commit
/// in flight instead: they wait for its outcome.
pub(super) async fn refused(led: &Led, what: &str, enough: impl Fn(&str) -> bool) -> (String, Vec<Waiting>) {
    let (mut told, mut joined) = (String::new(), Vec::new());
    until(what, async || {
        let unit = Unit::one(led.message(1, "later"));
        let mut call = led.store.submit(led.term, vec![unit]);
        match tokio::time::timeout(Duration::from_secs(3), &mut call).await {
            Ok(answers) => match &answers[..] {
                [Err(CommitError::Unavailable(text))] => told.clone_from(text),
                other => panic!("{other:?}"),
            },
            Err(_) => joined.push(call),
        }
        enough(&told) && !told.is_empty()
    })
    .await;
    (told, joined)
}

/// How many of these calls were written in the end.
pub(super) async fn written(calls: Vec<Waiting>) -> u64 {
    let answers = futures::future::join_all(calls).await;
    answers.into_iter().flatten().filter(Result::is_ok).count() as u64
}

/// Callers that write as an engine does: the next unit after the last one's answer, the same one again while
/// the store cannot write. `written` counts the units of all.
pub(super) async fn write_on(
    led: &Led,
    caller: usize,
    stop: &AtomicBool,
    written: &AtomicUsize,
) -> (Vec<MessageId>, usize) {
    let (mut kept, mut refused) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let entry = led.message(1, &format!("{caller}-{}", kept.len()));
        let unit = Unit::one(entry);
        loop {
            match led.store.submit(led.term, vec![unit.clone()]).await.remove(0) {
                Ok(receipt) => {
                    written.fetch_add(1, Ordering::Relaxed);
                    break kept.push(MessageId(receipt.rows[0]));
                }
                Err(CommitError::Unavailable(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    (kept, refused)
}

/// Shows that the store holds exactly the messages that were acknowledged.
pub(super) async fn holds_exactly(led: &Led, kept: &[MessageId]) {
    let found = led.store.messages_for_work(kept).await.unwrap();
    let lost = found.iter().filter(|work| work.is_none()).count();
    assert_eq!(lost, 0, "lost receipts");
    assert_eq!(led.store.census().await.unwrap().messages, kept.len() as u64);
    assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
}

/// From now on, appending a message with the control id `slow` to the first segment takes so long.
pub(super) fn slow_down(database: &pgtest::Database<'_>, seconds: f64) {
    database.sql(&format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON holdfast.s000001_message FOR EACH ROW
             WHEN (NEW.control_id = 'slow') EXECUTE FUNCTION slow()"
    ));
}

/// An open store with a term and an inbound.
pub(super) struct Led {
    pub(super) store: PostgresStore,
    pub(super) term: Term,
    pub(super) inbound: NameId,
}

impl Led {
    pub(super) async fn open(options: Options) -> Led {
        let store = open(options).await.unwrap();
        let term = store.acquire("node").await.unwrap();
        let inbound = store
            .name_ids(&[(NameKind::Inbound, "IB_TEST".to_owned())])
            .await
            .unwrap()[0];
        Led { store, term, inbound }
    }

    pub(super) fn message(&self, received_at: i64, control_id: &str) -> Entry {
        Entry::Message(NewMessage {
            inbound: self.inbound,
            received_at: Timestamp(received_at),
            control_id: Some(control_id.into()),
            kind: Some("ADT^A01".into()),
            source: None,
            parent: None,
            keys: store::Keys::default(),
            body: Body::from(vec![b'x'; 300]),
        })
    }

    pub(super) fn large_message(&self, size: usize) -> Entry {
        self.message_of(crate::support::noise(size))
    }

    pub(super) fn message_of(&self, body: Vec<u8>) -> Entry {
        let mut entry = self.message(1, "large");
        if let Entry::Message(message) = &mut entry {
            message.body = Body::from(body);
        }
        entry
    }

    /// Commits one unit.
    pub(super) async fn commit(&self, entries: Vec<Entry>) -> Result<Receipt, CommitError> {
        self.store
            .submit(self.term, vec![Unit { entries }])
            .await
            .remove(0)
    }

    /// A message arrives and, if so asked, is disposed of.
    pub(super) async fn arrive(&self, received_at: i64, dispose: bool) -> MessageId {
        let receipt = self.commit(vec![self.message(received_at, "C1")]).await.unwrap();
        let message = MessageId(receipt.rows[0]);
        if dispose {
            self.dispose(message).await;
        }
        message
    }

    pub(super) async fn dispose(&self, message: MessageId) {
        let disposition = Disposition::Processed;
        let entry = Entry::Disposition(NewDisposition { message, disposition });
        self.commit(vec![entry]).await.unwrap();
    }
}
