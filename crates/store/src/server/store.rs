//! The [`Store`] on a server: writes go to the writer's queue, reads to blocking threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use model::{Body, MessageId, NameId, RowId, SendId, Term};
use parking_lot::Mutex;

use super::link::Link;
use super::open::Settings;
use super::readers::Readers;
use super::retention;
use super::tables::Tables;
use crate::desk::{Answers, Command, Desk};
use crate::segments::retention::{Findings, RetentionRules, Retired, SegmentInfo};
use crate::segments::revision::Revision;
use crate::segments::{Span, View};
use crate::views::{
    DeadLetter, DeadLetterFilter, Leader, MessageDetail, MessageFilter, OpenMessage, OpenRouted, OpenSend,
    Page, Summary,
};
use crate::{Begin, Census, Desired, Error, NameKind, Schema, Store, Unit, WorkMessage};

/// What the writer, the keeper and the readers share.
pub(crate) struct Shared<L: Link> {
    pub(super) settings: Settings,
    pub(super) target: L::Target,
    pub(super) readers: Readers<L>,
    /// Set once the writer has ended in order: nothing that it did not answer was written.
    pub(super) closed: Arc<AtomicBool>,
    pub(super) revision: Revision,
    /// Whether this process changes the segments. Otherwise another one does, and says nothing of it to `revision`.
    pub(super) leads: AtomicBool,
    /// The store closes: the keeper leaves off.
    pub(super) closing: AtomicBool,
    /// The server's process that works for the keeper; 0 = none.
    pub(super) keeping: AtomicI32,
    /// Held while a segment is retired.
    pub(super) retiring: Mutex<()>,
}

impl<L: Link> Shared<L> {
    pub(super) fn new(settings: Settings, target: L::Target) -> Result<Shared<L>, Error> {
        let readers = Readers::new(target.clone(), settings.node.clone(), settings.readers_max)?;
        Ok(Shared {
            settings,
            target,
            readers,
            closed: Arc::default(),
            revision: Revision::default(),
            leads: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            keeping: AtomicI32::new(0),
            retiring: Mutex::default(),
        })
    }
}

/// A store in a database on a server. Dropping it commits what is queued; [`Store::close`] also says whether
/// that worked.
#[expect(private_bounds, reason = "what a server has to do is the backends' business")]
pub struct ServerStore<L: Link> {
    // The desk first: it waits for the writer, which uses the rest.
    desk: Desk,
    shared: Arc<Shared<L>>,
}

impl<L: Link> std::fmt::Debug for ServerStore<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerStore")
            .field("place", &self.shared.settings.place)
            .finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "what a server has to do is the backends' business")]
impl<L: Link> ServerStore<L> {
    pub(super) fn new(shared: Arc<Shared<L>>, desk: Desk) -> ServerStore<L> {
        ServerStore { desk, shared }
    }

    /// Segments that live, the open one included, and how many of them are known to hold nothing open.
    pub async fn segment_counts(&self) -> Result<(usize, usize), Error> {
        let catalog = self.read(L::catalog).await?;
        let drained = catalog.segments.iter().filter(|segment| segment.drained).count();
        Ok((catalog.segments.len(), drained))
    }

    /// Runs to its end on a blocking thread, whether or not somebody still waits for it.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&mut L) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || shared.readers.with(read)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Database {
                doing: "working on a blocking thread",
                source: Box::new(error),
            })?
    }

    async fn view<T: Send + 'static>(
        &self,
        read: impl Fn(&mut View<Tables<'_, L>>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        let owns = shared.leads.load(Ordering::Acquire);
        let read = move |link: &mut L| {
            let look = |link: &mut L| {
                let catalog = link.catalog()?;
                read(&mut View::new(link.tables(catalog)))
            };
            if owns { look(link) } else { unchanged(link, look) }
        };
        self.blocking(move || shared.revision.read(|| shared.readers.with(&read)))
            .await
    }
}

/// Times that a read is repeated because another node changed segments under it.
const TRIES: usize = 5;

/// Reads, again when a segment was dropped, sealed or made anew meanwhile: for a process that does not do so itself. A
/// fault that such a change explains is not passed on.
fn unchanged<L: Link, T>(link: &mut L, read: impl Fn(&mut L) -> Result<T, Error>) -> Result<T, Error> {
    let mut before = link.stamp()?;
    for _ in 1..TRIES {
        let answer = read(link);
        let after = link.stamp()?;
        if after == before {
            return answer;
        }
        before = after;
    }
    read(link)
}

#[async_trait]
impl<L: Link> Store for ServerStore<L> {
    async fn acquire(&self, node: &str) -> Result<Term, Error> {
        let node = node.to_owned();
        let term = self.desk.ask(|reply| Command::Acquire(node, reply)).await?;
        self.shared.leads.store(true, Ordering::Release);
        Ok(term)
    }

    async fn lead(&self, term: Term) -> Result<(), Error> {
        // A newer node may have led meanwhile, and taken the schema further.
        let place = self.shared.settings.place.clone();
        self.read(move |link| link.check_schema(&place)).await?;
        self.desk.ask(|reply| Command::Lead(term, reply)).await?;
        self.shared.leads.store(true, Ordering::Release);
        Ok(())
    }

    async fn release(&self, term: Term) -> Result<(), Error> {
        self.desk.ask(|reply| Command::Release(term, reply)).await
    }

    async fn leader(&self) -> Result<Option<Leader>, Error> {
        self.read(L::leader).await
    }

    async fn name_ids(&self, names: &[(NameKind, String)]) -> Result<Vec<NameId>, Error> {
        let names = names.to_vec();
        self.desk.ask(|reply| Command::Names(names, reply)).await
    }

    async fn names(&self) -> Result<Vec<(NameId, NameKind, String)>, Error> {
        self.read(L::names).await
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
        self.view(|view| view.census()).await
    }

    async fn desired(&self) -> Result<Vec<(NameId, Desired)>, Error> {
        self.read(L::desired).await
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
        self.read(L::check).await
    }

    async fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        self.read(L::list).await
    }

    async fn examine_segment(&self, number: u32, rules: &RetentionRules) -> Result<Option<Findings>, Error> {
        let rules = rules.clone();
        let found = self.read(move |link| retention::examine(link, number, &rules));
        Ok(found.await?.map(|(findings, _)| findings))
    }

    async fn retire_segment(
        &self,
        term: Term,
        number: u32,
        rules: &RetentionRules,
    ) -> Result<Option<Retired>, Error> {
        let rules = rules.clone();
        let shared = Arc::clone(&self.shared);
        self.blocking(move || retention::retire(&shared, term, number, &rules))
            .await
    }

    async fn rehearse(&self) -> Result<(), Error> {
        let place = self.shared.settings.place.clone();
        let small = move |link: &mut L| {
            link.check_schema(&place)?;
            link.names()?;
            link.desired().map(drop)
        };
        // In this order, so that the connection that is lent next has done all of it.
        self.view(|view| view.rehearse()).await?;
        self.read(small).await
    }

    async fn schema(&self) -> Result<Schema, Error> {
        self.read(L::schema).await
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.read(L::all_bytes).await
    }

    async fn close(&self) -> Result<(), Error> {
        // Reads may go on; whoever leads next changes the segments.
        self.shared.leads.store(false, Ordering::Release);
        self.desk.ask(Command::Close).await
    }
}
