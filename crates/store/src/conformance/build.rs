//! Building blocks of the cases: a led store, entries with synthetic content, one-unit commits.

use std::sync::Arc;

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Stage, Term, Timestamp};

use super::{Fault, Fixture};
use crate::rows::{
    EventKind, HandledResult, NewDeadLetter, NewDisposition, NewEvent, NewHandled, NewMessage, NewOutcome,
    NewResolved, NewRouted, NewSend, OutcomeResult, Resolution,
};
use crate::{CommitError, Entry, Keys, NameKind, Receipt, Store, Unit};

/// An open store with a term and some names.
pub(super) struct Bench {
    pub(super) fixture: Fixture,
    pub(super) store: Arc<dyn Store>,
    pub(super) term: Term,
    /// Two inbounds.
    pub(super) inbounds: [NameId; 2],
    /// Two handlers.
    pub(super) handlers: [NameId; 2],
    /// Two outbounds.
    pub(super) outbounds: [NameId; 2],
}

impl Bench {
    pub(super) async fn open(fixture: Fixture) -> Result<Bench, Fault> {
        let store = fixture.open().await?;
        let term = store.acquire("node-a").await?;
        let names = [
            (NameKind::Inbound, "IB_ONE"),
            (NameKind::Inbound, "IB_TWO"),
            (NameKind::Handler, "one"),
            (NameKind::Handler, "two"),
            (NameKind::Outbound, "OB_ONE"),
            (NameKind::Outbound, "OB_TWO"),
        ]
        .map(|(kind, name)| (kind, name.to_owned()));
        let ids = store.name_ids(&names).await?;
        let [a, b, c, d, e, f] = ids[..] else {
            return Err(Fault("six names make six numbers".to_owned()));
        };
        Ok(Bench {
            fixture,
            store,
            term,
            inbounds: [a, b],
            handlers: [c, d],
            outbounds: [e, f],
        })
    }

    /// Closes the store and opens it again, with a new term.
    pub(super) async fn reopen(self) -> Result<Bench, Fault> {
        self.store.close().await?;
        let fixture = self.fixture.clone();
        drop(self);
        Bench::open(fixture).await
    }

    /// Commits one unit.
    pub(super) async fn commit(&self, entries: Vec<Entry>) -> Result<Receipt, Fault> {
        Ok(self.try_commit(self.term, entries).await?)
    }

    /// Commits one unit under a term.
    pub(super) async fn try_commit(&self, term: Term, entries: Vec<Entry>) -> Result<Receipt, CommitError> {
        let mut answers = self.store.submit(term, vec![Unit { entries }]).await;
        answers
            .pop()
            .unwrap_or_else(|| Err(CommitError::Unknown("no answer for a unit".to_owned())))
    }

    /// A message arrives at the first inbound.
    pub(super) async fn arrive(&self) -> Result<MessageId, Fault> {
        self.arrive_at(self.inbounds[0]).await
    }

    pub(super) async fn arrive_at(&self, inbound: NameId) -> Result<MessageId, Fault> {
        Ok(MessageId(
            self.commit(vec![message(inbound, b"MSH|^~\\&|synthetic")])
                .await?
                .rows[0],
        ))
    }

    /// It is routed; the number of the routed row.
    pub(super) async fn route(&self, message: MessageId, handlers: &[NameId]) -> Result<RowId, Fault> {
        Ok(self.commit(vec![routed(message, handlers)]).await?.rows[0])
    }

    /// The first handler sends it to an outbound.
    pub(super) async fn send(&self, message: MessageId, destination: NameId) -> Result<SendId, Fault> {
        let entry = send(message, self.handlers[0], destination, None);
        Ok(SendId(self.commit(vec![entry]).await?.rows[0]))
    }

    /// A send is delivered.
    pub(super) async fn deliver(&self, message: MessageId, of: SendId) -> Result<(), Fault> {
        self.commit(vec![outcome(message, of, OutcomeResult::Delivered)])
            .await
            .map(drop)
    }

    pub(super) async fn dispose(&self, message: MessageId, as_what: Disposition) -> Result<(), Fault> {
        self.commit(vec![disposition(message, as_what)]).await.map(drop)
    }

    /// A message with its whole life behind it.
    pub(super) async fn whole_life(&self) -> Result<MessageId, Fault> {
        let message = self.arrive().await?;
        self.route(message, &self.handlers[..1]).await?;
        let send = self.send(message, self.outbounds[0]).await?;
        self.deliver(message, send).await?;
        self.dispose(message, Disposition::Processed).await?;
        Ok(message)
    }

    /// Numbers of the messages that recovery would find, read in pages of `limit`.
    pub(super) async fn open_ids(&self, limit: usize) -> Result<Vec<MessageId>, Fault> {
        let mut ids: Vec<MessageId> = Vec::new();
        loop {
            let after = ids.last().copied().unwrap_or_default();
            let page = self.store.open_messages(after, limit).await?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page.iter().map(|message| message.id));
        }
    }
}

pub(super) fn message(inbound: NameId, body: &'static [u8]) -> Entry {
    Entry::Message(NewMessage {
        inbound,
        received_at: Timestamp(1_000_000),
        control_id: Some("C1".into()),
        kind: Some("ADT^A01".into()),
        source: Some("127.0.0.1:1".into()),
        parent: None,
        keys: Keys::default(),
        body: Body::from(body),
    })
}

pub(super) fn routed(message: MessageId, handlers: &[NameId]) -> Entry {
    Entry::Routed(NewRouted {
        message,
        handlers: handlers.to_vec(),
    })
}

pub(super) fn handled(message: MessageId, handler: NameId) -> Entry {
    Entry::Handled(NewHandled {
        message,
        handler,
        result: HandledResult::Filtered,
    })
}

pub(super) fn send(
    message: MessageId,
    handler: NameId,
    destination: NameId,
    body: Option<&'static [u8]>,
) -> Entry {
    let body = body.map(Body::from);
    Entry::Send(NewSend {
        message,
        handler,
        destination,
        priority: 0,
        partition: None,
        body,
    })
}

pub(super) fn outcome(message: MessageId, send: SendId, result: OutcomeResult) -> Entry {
    let reply = Some(Body::from(&b"MSA|AA|C1"[..]));
    Entry::Outcome(NewOutcome {
        send,
        message,
        result,
        attempts: 1,
        reply,
    })
}

pub(super) fn disposition(message: MessageId, disposition: Disposition) -> Entry {
    Entry::Disposition(NewDisposition { message, disposition })
}

pub(super) fn dead_letter(message: MessageId, at: NameId, send: Option<SendId>) -> Entry {
    let stage = if send.is_some() {
        Stage::Outbound
    } else {
        Stage::Routed
    };
    Entry::DeadLetter(NewDeadLetter {
        message,
        stage,
        at,
        send,
        reason: "refused by the partner".into(),
    })
}

pub(super) fn resolved(dead_letter: RowId) -> Entry {
    Entry::Resolved(NewResolved {
        dead_letter,
        how: Resolution::Replayed,
        actor: "alice".into(),
    })
}

pub(super) fn event(message: MessageId, send: Option<SendId>, kind: EventKind) -> Entry {
    Entry::Event(NewEvent {
        message,
        send,
        kind,
        detail: "connection refused".into(),
        actor: None,
    })
}
