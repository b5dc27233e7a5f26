//! The [`Store`] of this backend: writes go to the writer's queue, reads to blocking threads.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures::future::BoxFuture;
use model::{Body, MessageId, NameId, RowId, SendId, Term};
use parking_lot::{Mutex, RwLock};

use super::layout::Layout;
use super::options::Options;
use super::readers::{CONTROL, Readers};
use super::source::Files;
use super::{control, fault, integrity, migrate, retention};
use crate::desk::{Answers, Command, Desk};
use crate::segments::catalog::{Catalog, Segment};
use crate::segments::retention::{Findings, RetentionRules, Retired, SegmentInfo};
use crate::segments::revision::Revision;
use crate::segments::{Span, View};
use crate::views::{
    DeadLetter, DeadLetterFilter, Leader, MessageDetail, MessageFilter, OpenMessage, OpenRouted, OpenSend,
    Page, Summary,
};
use crate::{Begin, Census, Desired, Error, NameKind, Schema, Store, Unit, WorkMessage};

/// What the writer, the keeper and the readers share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) readers: Readers,
    /// Set once the writer has ended in order: nothing that it did not answer was written.
    pub(super) closed: Arc<AtomicBool>,
    catalog: RwLock<Arc<Catalog>>,
    pub(super) revision: Revision,
    /// Held while a segment is retired.
    pub(super) retiring: Mutex<()>,
    /// Held while leadership changes hands, files of segments are changed, and the store is closed; says
    /// whether it is.
    pub(super) gate: Mutex<bool>,
}

impl Shared {
    pub(super) fn new(options: Options, layout: Layout, catalog: Catalog) -> Shared {
        let readers = Readers::new(layout.clone());
        Shared {
            options,
            layout,
            readers,
            closed: Arc::default(),
            catalog: RwLock::new(Arc::new(catalog)),
            revision: Revision::default(),
            retiring: Mutex::default(),
            gate: Mutex::new(false),
        }
    }

    /// The live segments, as of now.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read())
    }

    pub(super) fn change_catalog(&self, change: impl FnOnce(&mut Catalog)) {
        change(Arc::make_mut(&mut self.catalog.write()));
    }

    pub(super) fn change_segment(&self, number: u32, change: impl FnOnce(&mut Segment)) {
        self.change_catalog(|catalog| {
            if let Some(segment) = catalog
                .segments
                .iter_mut()
                .find(|segment| segment.number == number)
            {
                change(segment);
            }
        });
    }

    /// Drops or replaces files of segments, while nobody takes leadership and the store stays open.
    pub(super) fn change_files(&self, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let closed = self.gate.lock();
        if *closed {
            return Err(Error::Refused("the store is closed".to_owned()));
        }
        self.revision.change(change)
    }

    pub(super) fn view(&self) -> View<Files> {
        View::new(Files::new(self.catalog(), self.readers.clone()))
    }
}

/// The embedded store. Dropping it commits what is queued; [`Store::close`] also says whether that worked.
pub struct SqliteStore {
    shared: Arc<Shared>,
    desk: Desk,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("directory", &self.shared.layout.root())
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    pub(super) fn new(shared: Arc<Shared>, desk: Desk) -> SqliteStore {
        SqliteStore { shared, desk }
    }

    /// Segments that live, the open one included.
    pub fn segment_count(&self) -> usize {
        self.shared.catalog().segments.len()
    }

    /// Sealed segments in which nothing is open, as far as the housekeeping has looked.
    pub fn drained_count(&self) -> usize {
        self.shared
            .catalog()
            .segments
            .iter()
            .filter(|segment| segment.drained)
            .count()
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || read(&shared))
            .await
            .map_err(|error| Error::Database {
                doing: "reading on a blocking thread",
                source: Box::new(error),
            })?
    }

    async fn view<T: Send + 'static>(
        &self,
        read: impl Fn(&mut View<Files>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.read(move |shared| shared.revision.read(|| read(&mut shared.view())))
            .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn acquire(&self, node: &str) -> Result<Term, Error> {
        let node = node.to_owned();
        self.desk.ask(|reply| Command::Acquire(node, reply)).await
    }

    async fn lead(&self, term: Term) -> Result<(), Error> {
        self.desk.ask(|reply| Command::Lead(term, reply)).await
    }

    async fn release(&self, term: Term) -> Result<(), Error> {
        self.desk.ask(|reply| Command::Release(term, reply)).await
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        self.read(|shared| control::leader(&*shared.readers.take(CONTROL)?))
            .await
    }

    async fn name_ids(&self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
        let names = names.to_vec();
        self.desk.ask(|reply| Command::Names(names, reply)).await
    }

    async fn names(&self) -> Result<Vec<(NameId, NameKind, String)>, Error> {
        self.read(|shared| control::names(&*shared.readers.take(CONTROL)?))
            .await
    }

    fn submit_by(&self, begin: Begin, term: Term, units: Vec<Unit>) -> BoxFuture<'static, Answers> {
        self.desk.submit(begin, term, units)
    }

    async fn open_messages(&self, after: MessageId, limit: usize) -> Result<Vec<OpenMessage>, Error> {
        self.view(move |view| view.open_messages(after.raw(), limit))
            .await
    }

    async fn open_ingress(
        &self,
        inbound: NameId,
        after: MessageId,
        upto: MessageId,
        limit: usize,
    ) -> Result<Vec<MessageId>, Error> {
        self.view(move |view| view.open_ingress(Span::of(inbound, after.raw(), upto.raw(), limit)))
            .await
    }

    async fn open_routed(
        &self,
        handler: NameId,
        after: RowId,
        upto: RowId,
        limit: usize,
    ) -> Result<Vec<OpenRouted>, Error> {
        self.view(move |view| view.open_routed(Span::of(handler, after.0, upto.0, limit)))
            .await
    }

    async fn open_sends(
        &self,
        destination: NameId,
        after: SendId,
        upto: SendId,
        limit: usize,
    ) -> Result<Vec<OpenSend>, Error> {
        self.view(move |view| view.open_sends(Span::of(destination, after.raw(), upto.raw(), limit)))
            .await
    }

    async fn messages_for_work(&self, ids: &[MessageId]) -> Result<Vec<Option<WorkMessage>>, Error> {
        let ids = ids.to_vec();
        self.view(move |view| view.messages_for_work(&ids)).await
    }

    async fn send_bodies(&self, ids: &[SendId]) -> Result<Vec<Option<Body>>, Error> {
        let ids = ids.to_vec();
        self.view(move |view| view.send_bodies(&ids)).await
    }

    async fn messages(&self, filter: &MessageFilter) -> Result<Page<Summary>, Error> {
        let filter = filter.clone();
        self.view(move |view| view.messages(&filter)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<MessageDetail>, Error> {
        self.view(move |view| view.message(id)).await
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Page<DeadLetter>, Error> {
        let filter = filter.clone();
        self.view(move |view| view.dead_letters(&filter)).await
    }

    async fn census(&self) -> Result<Census, Error> {
        self.view(View::census).await
    }

    async fn desired(&self) -> Result<Vec<(NameId, Desired)>, Error> {
        self.read(|shared| control::desired(&*shared.readers.take(CONTROL)?))
            .await
    }

    async fn set_desired(
        &self,
        term: Term,
        connection: NameId,
        desired: Desired,
        actor: &str,
    ) -> Result<(), Error> {
        let actor = actor.to_owned();
        self.desk
            .ask(|reply| Command::SetDesired(term, connection, desired, actor, reply))
            .await
    }

    async fn check_integrity(&self) -> Result<Vec<String>, Error> {
        self.read(integrity::check).await
    }

    async fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        self.read(|shared| Ok(retention::list(shared))).await
    }

    async fn examine_segment(&self, number: u32, rules: &RetentionRules) -> Result<Option<Findings>, Error> {
        let rules = rules.clone();
        let found = self.read(move |shared| {
            shared
                .revision
                .read(|| retention::examine(shared, number, &rules))
        });
        Ok(found.await?.map(|(_, findings, _)| findings))
    }

    async fn retire_segment(
        &self,
        term: Term,
        number: u32,
        rules: &RetentionRules,
    ) -> Result<Option<Retired>, Error> {
        let rules = rules.clone();
        self.read(move |shared| retention::retire(shared, term, number, &rules))
            .await
    }

    async fn schema(&self) -> Result<Schema, Error> {
        self.read(|shared| migrate::schema(&*shared.readers.take(CONTROL)?))
            .await
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.read(|shared| {
            shared
                .layout
                .size_bytes()
                .map_err(fault::io("measuring the store"))
        })
        .await
    }

    async fn close(&self) -> Result<(), Error> {
        self.desk.ask(Command::Close).await
    }
}
