//! What the tests of this backend share.

use std::sync::Arc;

use futures::FutureExt;
use store::conformance::Fixture;
use store::postgres::{self, Options, PostgresStore};
use store::{Error, Store};

pub(super) use crate::led::{holds_exactly, refused, retire, under_load, until, written};

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

/// From now on, appending a message with the control id `slow` to the first segment takes so long.
pub(super) fn slow_down(database: &pgtest::Database<'_>, seconds: f64) {
    database.sql(&format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON holdfast.s000001_message FOR EACH ROW
             WHEN (NEW.control_id = 'slow') EXECUTE FUNCTION slow()"
    ));
}

/// An open store that leads.
pub(super) type Led = crate::led::Led<PostgresStore>;

impl Led {
    pub(super) async fn open(options: Options) -> Led {
        Led::of(open(options).await.unwrap()).await
    }
}
