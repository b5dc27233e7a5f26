//! What the tests of whole stores share.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use model::{Body, Disposition, MessageId, NameId, Term, Timestamp};
use store::conformance::Fixture;
use store::rows::{NewDisposition, NewMessage};
use store::sqlite::{self, Options, SqliteStore};
use store::{Entry, NameKind, Store, Unit};

/// How to open a store in `directory`, with segments of at most `rows` rows.
pub(crate) fn fixture(directory: &Path, rows: Option<u64>) -> Fixture {
    let options = options(directory, rows);
    Fixture::new(move || {
        let options = options.clone();
        async move { Ok(Arc::new(sqlite::open(options)?) as Arc<dyn Store>) }.boxed()
    })
}

pub(crate) fn options(directory: &Path, rows: Option<u64>) -> Options {
    let mut options = Options::new(directory);
    options.compress = true; // not the default: the promises are held with it
    options.segment_rows_max = rows.unwrap_or(options.segment_rows_max);
    options
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits for a condition, up to ten seconds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bytes that take as much room in a store as they are long: compression gains nothing.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// An open store with a term and an inbound.
pub(crate) struct Led {
    pub(crate) store: SqliteStore,
    pub(crate) term: Term,
    pub(crate) inbound: NameId,
}

impl Led {
    pub(crate) async fn open(options: Options) -> Led {
        let store = sqlite::open(options).unwrap();
        let term = store.acquire("node").await.unwrap();
        let inbound = store
            .name_ids(&[(NameKind::Inbound, "IB_TEST".to_owned())])
            .await
            .unwrap()[0];
        Led { store, term, inbound }
    }

    pub(crate) fn message(&self, received_at: i64, size: usize) -> Entry {
        Entry::Message(NewMessage {
            inbound: self.inbound,
            received_at: Timestamp(received_at),
            control_id: None,
            kind: None,
            source: None,
            parent: None,
            keys: store::Keys::default(),
            body: Body::from(noise(size)),
        })
    }

    /// A message arrives and, if so asked, is disposed of.
    pub(crate) async fn arrive(&self, received_at: i64, dispose: bool) -> MessageId {
        let unit = Unit::one(self.message(received_at, 100));
        let receipt = self.store.submit(self.term, vec![unit]).await.remove(0).unwrap();
        let message = MessageId(receipt.rows[0]);
        if dispose {
            self.dispose(message).await;
        }
        message
    }

    pub(crate) async fn dispose(&self, message: MessageId) {
        let entry = Entry::Disposition(NewDisposition {
            message,
            disposition: Disposition::Processed,
        });
        self.store
            .submit(self.term, vec![Unit::one(entry)])
            .await
            .remove(0)
            .unwrap();
    }
}
