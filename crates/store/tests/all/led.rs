//! What the tests of the stores on servers share: an open store that leads, calls that write through trouble, and what
//! has to be true afterwards.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join, join_all};
use model::{Body, Disposition, MessageId, NameId, Term, Timestamp};
use store::rows::{NewDisposition, NewMessage};
use store::{CommitError, Done, Entry, NameKind, Receipt, RetentionRules, Store, Unit};

/// Waits for a condition, up to a minute.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
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
pub(crate) type Waiting = BoxFuture<'static, Vec<Result<Receipt, CommitError>>>;

/// Writes until a call is refused with a text that is `enough`; with the text, the calls that joined the commit
/// in flight instead: they wait for its outcome.
pub(crate) async fn refused<S: Store>(
    led: &Led<S>,
    what: &str,
    enough: impl Fn(&str) -> bool,
) -> (String, Vec<Waiting>) {
    let (mut told, mut joined) = (String::new(), Vec::new());
    until(what, async || {
        let mut call = led.begin("later");
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
pub(crate) async fn written(calls: Vec<Waiting>) -> u64 {
    let answers = join_all(calls).await;
    answers.into_iter().flatten().filter(Result::is_ok).count() as u64
}

/// Callers that write as an engine does: the next unit after the last one's answer, the same one again while
/// the store cannot write. `written` counts the units of all.
async fn write_on<S: Store>(
    led: &Led<S>,
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

/// Calls to write, with `trouble` in the middle, `times` over; what was acknowledged.
pub(crate) async fn under_load<S: Store>(
    led: &Led<S>,
    times: usize,
    mut trouble: impl FnMut(),
) -> Vec<MessageId> {
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = async |count: usize| {
        let goal = written.load(Ordering::Relaxed) + count;
        until("units are written", async || {
            written.load(Ordering::Relaxed) >= goal
        })
        .await;
    };
    let callers = join_all((0..8).map(|caller| write_on(led, caller, &stop, &written)));
    let course = async {
        for _ in 0..times {
            more(100).await;
            tokio::task::block_in_place(&mut trouble);
        }
        more(100).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (outcomes, ()) = join(callers, course).await;
    outcomes.into_iter().flat_map(|(kept, _)| kept).collect()
}

/// Shows that the store holds exactly the messages that were acknowledged.
pub(crate) async fn holds_exactly<S: Store>(led: &Led<S>, kept: &[MessageId]) {
    let found = led.store.messages_for_work(kept).await.unwrap();
    let lost = found.iter().filter(|work| work.is_none()).count();
    assert_eq!(lost, 0, "lost receipts");
    assert_eq!(led.store.census().await.unwrap().messages, kept.len() as u64);
    assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
}

/// Retires every full segment; how many were dropped, how many made anew, and how many
/// somebody reads.
pub(crate) async fn retire<S: Store>(led: &Led<S>, received_before: i64) -> (usize, usize, usize) {
    let rules = RetentionRules::all(Timestamp(received_before));
    let mut done = Vec::new();
    for segment in led.store.segments().await.unwrap() {
        let retired = led.store.retire_segment(led.term, segment.number, &rules).await;
        done.extend(retired.unwrap().map(|retired| retired.done));
    }
    let count = |what: fn(&Done) -> bool| done.iter().filter(|done| what(done)).count();
    (
        count(|done| matches!(done, Done::Dropped(bytes) if *bytes > 0)),
        count(|done| matches!(done, Done::Shrunk(_))),
        count(|done| *done == Done::Busy),
    )
}

/// An open store with a term and an inbound.
pub(crate) struct Led<S> {
    pub(crate) store: S,
    pub(crate) term: Term,
    pub(crate) inbound: NameId,
}

impl<S: Store> Led<S> {
    /// Takes leadership.
    pub(crate) async fn of(store: S) -> Led<S> {
        let term = store.acquire("node").await.unwrap();
        let inbound = store
            .name_ids(&[(NameKind::Inbound, "IB_TEST".to_owned())])
            .await
            .unwrap()[0];
        Led { store, term, inbound }
    }

    pub(crate) fn message(&self, received_at: i64, control_id: &str) -> Entry {
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

    pub(crate) fn large_message(&self, size: usize) -> Entry {
        self.message_of(crate::support::noise(size))
    }

    pub(crate) fn message_of(&self, body: Vec<u8>) -> Entry {
        let mut entry = self.message(1, "large");
        if let Entry::Message(message) = &mut entry {
            message.body = Body::from(body);
        }
        entry
    }

    /// Begins to write one message.
    pub(crate) fn begin(&self, control_id: &str) -> Waiting {
        let unit = Unit::one(self.message(1, control_id));
        self.store.submit(self.term, vec![unit])
    }

    /// Commits one unit.
    pub(crate) async fn commit(&self, entries: Vec<Entry>) -> Result<Receipt, CommitError> {
        self.store
            .submit(self.term, vec![Unit { entries }])
            .await
            .remove(0)
    }

    /// A message arrives and, if so asked, is disposed of.
    pub(crate) async fn arrive(&self, received_at: i64, dispose: bool) -> MessageId {
        let receipt = self.commit(vec![self.message(received_at, "C1")]).await.unwrap();
        let message = MessageId(receipt.rows[0]);
        if dispose {
            self.dispose(message).await;
        }
        message
    }

    pub(crate) async fn dispose(&self, message: MessageId) {
        let disposition = Disposition::Processed;
        let entry = Entry::Disposition(NewDisposition { message, disposition });
        self.commit(vec![entry]).await.unwrap();
    }
}
