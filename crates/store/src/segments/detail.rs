//! One message, whole; and bodies by number.

use std::collections::HashMap;

use model::{Body, MessageId, RowId, SendId};

use super::source::{Carried, Source};
use super::view::View;
use crate::views::{MessageDetail, SendDetail};
use crate::{Error, WorkMessage};

impl<S: Source> View<S> {
    /// Messages as a router or handler needs them, in the order asked; `None` for one that is gone, or whose body is.
    pub(crate) fn messages_for_work(&mut self, ids: &[MessageId]) -> Result<Vec<Option<WorkMessage>>, Error> {
        let numbers: Vec<i64> = ids.iter().map(|id| id.raw()).collect();
        let mut found: HashMap<i64, WorkMessage> = HashMap::new();
        for (index, of) in self.homes(&numbers) {
            let works = self.source.works(index, &of)?;
            found.extend(works.into_iter().map(|work| (work.id.raw(), work)));
        }
        // A body is shared, not copied: the same number may be asked for twice.
        Ok(numbers.iter().map(|id| found.get(id).cloned()).collect())
    }

    /// The bytes that sends carry, in the order asked; `None` where they are gone.
    pub(crate) fn send_bodies(&mut self, ids: &[SendId]) -> Result<Vec<Option<Body>>, Error> {
        let numbers: Vec<i64> = ids.iter().map(|id| id.raw()).collect();
        let mut found: HashMap<i64, Carried> = HashMap::new();
        for (index, of) in self.homes(&numbers) {
            let bodies = self.source.send_bodies(index, &of)?;
            found.extend(bodies.into_iter().map(|carried| (carried.send, carried)));
        }
        let mut unchanged: Vec<MessageId> = found
            .values()
            .filter(|carried| !carried.changed)
            .map(|carried| MessageId::from_raw(carried.message))
            .collect();
        unchanged.sort();
        unchanged.dedup();
        let raw = self.messages_for_work(&unchanged)?;
        let raw: HashMap<i64, Body> = raw
            .into_iter()
            .flatten()
            .map(|work| (work.id.raw(), work.body))
            .collect();
        let body = |id: &i64| match found.get(id)? {
            carried if carried.changed => carried.body.clone(),
            carried => raw.get(&carried.message).cloned(),
        };
        Ok(numbers.iter().map(body).collect())
    }

    /// One message with every row that belongs to it; `None` when it is gone.
    pub(crate) fn message(&mut self, message: MessageId) -> Result<Option<MessageDetail>, Error> {
        let id = message.raw();
        let Some(home) = self.source.catalog().home(id) else {
            return Ok(None);
        };
        let Some((mut summary, body)) = self.source.line(home, id)? else {
            return Ok(None);
        };
        if let Some(stands) = self.stands(&[id])?.get(&id) {
            summary.disposition = *stands;
        }
        let mut detail = MessageDetail {
            summary,
            body,
            routed: Vec::new(),
            handled: Vec::new(),
            sends: Vec::new(),
            dead_letters: Vec::new(),
            events: Vec::new(),
            dispositions: Vec::new(),
        };
        for (index, of) in self.reach(&[id]) {
            self.add_rows(index, message, &of, &mut detail)?;
        }
        self.add_ends(&mut detail)?;
        Ok(Some(detail))
    }

    /// What one segment knows of a message.
    fn add_rows(
        &mut self,
        index: usize,
        message: MessageId,
        of: &[i64],
        detail: &mut MessageDetail,
    ) -> Result<(), Error> {
        let routed = self.source.routed(index, of)?;
        detail.routed.extend(
            routed
                .into_iter()
                .map(|row| (RowId(row.id), row.at, row.handlers)),
        );
        let handled = self.source.handled(index, of)?;
        detail.handled.extend(
            handled
                .into_iter()
                .filter_map(|row| Some((row.handler, row.at, row.result?))),
        );
        let sends = self.source.sends(index, of)?;
        let ids: Vec<i64> = sends.iter().map(|send| send.id).collect();
        let bodies = self.source.send_bodies(index, &ids)?;
        let mut bodies: HashMap<i64, Carried> = bodies
            .into_iter()
            .map(|carried| (carried.send, carried))
            .collect();
        detail.sends.extend(sends.into_iter().map(|send| {
            let carried = bodies.remove(&send.id);
            SendDetail {
                id: SendId::from_raw(send.id),
                handler: send.handler,
                destination: send.destination,
                at: send.at,
                changed: carried.as_ref().is_some_and(|carried| carried.changed),
                body: carried.and_then(|carried| carried.body),
                outcome: None,
            }
        }));
        detail.dead_letters.extend(self.source.letters(index, of)?);
        detail.events.extend(self.source.events(index, message)?);
        detail
            .dispositions
            .extend(self.source.story(index, message.raw())?);
        Ok(())
    }

    /// How its sends ended, and which of its dead letters were dealt with.
    fn add_ends(&mut self, detail: &mut MessageDetail) -> Result<(), Error> {
        let sends: Vec<i64> = detail.sends.iter().map(|send| send.id.raw()).collect();
        let mut ends = HashMap::new();
        for (index, of) in self.reach(&sends) {
            for ended in self.source.outcomes(index, &of)? {
                let reply = self.source.reply(index, ended.send)?;
                ends.insert(ended.send, (ended.at, ended.result, ended.attempts, reply));
            }
        }
        for send in &mut detail.sends {
            send.outcome = ends.remove(&send.id.raw());
        }
        let rows: Vec<i64> = detail.dead_letters.iter().map(|letter| letter.row.0).collect();
        let resolved = self.resolved_of(&rows)?;
        for letter in &mut detail.dead_letters {
            letter.resolved_at = resolved.get(&letter.row.0).copied();
        }
        Ok(())
    }
}
