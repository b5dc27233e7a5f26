//! The running file inbound: looks, waits until a file rests, hands its messages over, puts it away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::Body;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::content::{self, Content, Limits};
use super::finish::{self, Verdict};
use super::inbox::{self, Found, Listing, Rest};
use super::ledger::Ledger;
use super::settings::{After, Inbound};
use super::{disk, prepare};
use crate::contract::{Received, Source, SourceContext, SourceError};

/// Messages handed over in one go.
const BATCH: usize = 64;
/// A file that is first for longer than this is reported.
const HELD_LONG: Duration = Duration::from_secs(60);

pub(crate) struct FileSource {
    settings: Arc<Inbound>,
    ledger: Option<Arc<Mutex<Ledger>>>,
    rest: Rest,
    /// A file that is decided but could not be put away: only that is tried again, before any other.
    decided: Option<(Found, Verdict)>,
    /// How many messages of a file were stored before one was refused.
    stored: Option<(Found, usize)>,
    skipped: usize,
    held: Option<Held>,
}

/// The file that comes first, since when, and whether a person was told.
struct Held {
    name: String,
    since: Instant,
    said: bool,
}

/// Why a pass ended before its last file.
struct Halt;

impl FileSource {
    pub(crate) fn new(settings: Inbound) -> FileSource {
        FileSource {
            settings: Arc::new(settings),
            ledger: None,
            rest: Rest::default(),
            decided: None,
            stored: None,
            skipped: 0,
            held: None,
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn bind(&mut self) -> Result<(), SourceError> {
        let settings = Arc::clone(&self.settings);
        let ledger = blocking(move || prepare::prepare(&settings)).await?;
        self.ledger = ledger.map(|ledger| Arc::new(Mutex::new(ledger)));
        Ok(())
    }

    async fn run(&mut self, context: SourceContext) -> Result<(), SourceError> {
        if matches!(self.settings.after, After::Keep(_)) && self.ledger.is_none() {
            self.bind().await?;
        }
        while !context.stop.is_cancelled() {
            self.pass(&context).await?;
            tokio::select! {
                () = context.stop.cancelled() => {}
                () = sleep(self.settings.poll_interval) => {}
            }
        }
        Ok(())
    }

    fn local_address(&self) -> Option<String> {
        Some(self.settings.directory.display().to_string())
    }
}

impl FileSource {
    /// One look into the directory and all that follows from it.
    async fn pass(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let listing = self.look().await?;
        if listing.skipped != self.skipped {
            self.skipped = listing.skipped;
            tracing::warn!(connection = %context.name, count = listing.skipped,
                "entries are skipped: only plain files with UTF-8 names are read, never links");
        }
        self.note_held(context, listing.files.first());
        let ready = self
            .rest
            .at_rest(listing.files, Instant::now(), self.settings.stable_for);
        for file in ready {
            if context.stop.is_cancelled() || self.take(context, file).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Says so, once, when one file holds back the others for long.
    fn note_held(&mut self, context: &SourceContext, first: Option<&Found>) {
        let now = Instant::now();
        match (first, &mut self.held) {
            (Some(file), Some(held)) if held.name == file.name => {
                if !held.said && now.duration_since(held.since) > HELD_LONG {
                    held.said = true;
                    fault(
                        context,
                        file,
                        "it still changes or cannot be taken, and holds back the files behind it; \
                         move it away, or narrow the glob",
                    );
                }
            }
            (Some(file), held) => {
                let name = file.name.clone();
                *held = Some(Held {
                    name,
                    since: now,
                    said: false,
                });
            }
            (None, held) => *held = None,
        }
    }

    async fn look(&self) -> Result<Listing, SourceError> {
        let (settings, ledger) = (Arc::clone(&self.settings), self.ledger.clone());
        let listed = blocking(move || {
            let mut ledger = ledger.as_ref().map(|ledger| ledger.lock());
            let wanted = |name: &str, stamp| !ledger.as_ref().is_some_and(|ledger| ledger.holds(name, stamp));
            let listing = inbox::list(&settings.directory, &settings.glob, settings.order, wanted)?;
            if let Some(ledger) = &mut ledger {
                ledger.prune(listing.present, |name| settings.directory.join(name).exists())?;
            }
            Ok(listing)
        });
        listed
            .await
            .map_err(|error| trouble("reading the directory", &self.settings.directory, error))
    }

    async fn take(&mut self, context: &SourceContext, file: Found) -> Result<(), Halt> {
        let verdict = match &self.decided {
            Some((decided, verdict)) if *decided == file => Some(verdict.clone()),
            _ => self.decide(context, &file).await?,
        };
        match verdict {
            Some(verdict) => self.put_away(context, file, verdict).await,
            // Those behind it wait with it, so that the order stays.
            None => Err(Halt),
        }
    }

    /// Stores what the file holds. `None`: it is being changed, look at it again later.
    async fn decide(&mut self, context: &SourceContext, file: &Found) -> Result<Option<Verdict>, Halt> {
        let limits = Limits {
            max_bytes: self.settings.max_file_bytes,
            split: self.settings.split,
        };
        let found = file.clone();
        let content = match blocking(move || content::read(&found, limits)).await {
            Ok(content) => content,
            Err(error) => {
                fault(
                    context,
                    file,
                    &format!("cannot be read: {error}; {}", disk::advice(&error)),
                );
                return Err(Halt);
            }
        };
        let verdict = match content {
            Content::Changed => return Ok(None),
            Content::Messages { messages, note } => {
                if let Some(note) = note {
                    tracing::warn!(connection = %context.name, file = %file.name, %note, "batch counts do not fit");
                }
                self.hand_over(context, file, messages).await?;
                Verdict::Stored
            }
            Content::Unusable { reason, head } => {
                let fragment = received(file, head.into());
                if let Err(refused) = context.intake.reject(fragment, &reason).await {
                    fault(context, file, &refused.to_string());
                    return Err(Halt);
                }
                fault(context, file, &reason);
                Verdict::Failed(reason)
            }
        };
        self.decided = Some((file.clone(), verdict.clone()));
        Ok(Some(verdict))
    }

    /// Stores the messages in order. When one is refused the file stays, and the next pass goes on with
    /// that one.
    async fn hand_over(
        &mut self,
        context: &SourceContext,
        file: &Found,
        messages: Vec<Bytes>,
    ) -> Result<(), Halt> {
        let mut stored = match self.stored.take() {
            Some((partly, count)) if partly == *file => count.min(messages.len()),
            _ => 0,
        };
        let alone = messages.len() == 1;
        while stored < messages.len() {
            let batch = messages[stored..].iter().take(BATCH);
            // A part is copied: a slice would keep the whole file in memory for as long as it waits.
            let own = |bytes: &Bytes| {
                if alone {
                    bytes.clone()
                } else {
                    Bytes::copy_from_slice(bytes)
                }
            };
            let batch: Vec<Received> = batch.map(|bytes| received(file, own(bytes).into())).collect();
            let (offered, answers) = (batch.len(), context.intake.accept(batch).await);
            let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
            stored += accepted;
            if accepted < offered {
                let refused = answers
                    .into_iter()
                    .find_map(Result::err)
                    .map(|refused| refused.to_string());
                fault(context, file, &refused.unwrap_or_else(|| "not stored".to_owned()));
                self.stored = Some((file.clone(), stored));
                return Err(Halt);
            }
        }
        metrics::counter!("holdfast_file_messages_total", "name" => context.name.to_string())
            .increment(messages.len() as u64);
        Ok(())
    }

    async fn put_away(&mut self, context: &SourceContext, file: Found, verdict: Verdict) -> Result<(), Halt> {
        let (settings, ledger, found) = (Arc::clone(&self.settings), self.ledger.clone(), file.clone());
        let outcome = if verdict == Verdict::Stored {
            "stored"
        } else {
            "failed"
        };
        match blocking(move || finish::finish(&settings, ledger.as_deref(), &found, &verdict)).await {
            Ok(done) => {
                self.decided = None;
                if !done {
                    tracing::warn!(connection = %context.name, file = %file.name,
                        "file changed after it was read: it will be read again whole");
                }
                metrics::counter!("holdfast_files_total", "name" => context.name.to_string(), "outcome" => outcome)
                    .increment(1);
                Ok(())
            }
            Err(error) => {
                let advice = disk::advice(&error);
                fault(
                    context,
                    &file,
                    &format!("its messages are stored, but it cannot be put away: {error}; {advice}"),
                );
                // Going on would heap up files that a crash makes come twice.
                Err(Halt)
            }
        }
    }
}

fn received(file: &Found, body: Body) -> Received {
    Received {
        body,
        source: Some(file.name.as_str().into()),
        parent: None,
    }
}

fn fault(context: &SourceContext, file: &Found, text: &str) {
    tracing::warn!(connection = %context.name, file = %file.name, reason = %text, "file not taken");
    *context.status.last_fault.lock() = Some(format!("{}: {text}", file.name));
}

/// A trouble of the file system as the end of this source.
pub(crate) fn trouble(doing: &str, path: &Path, error: io::Error) -> SourceError {
    SourceError {
        doing: format!("{doing} {}", path.display()),
        advice: disk::advice(&error).to_owned(),
        source: Some(error),
    }
}

/// Runs blocking work; a panic in it goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels blocking work.
            Err(_) => std::future::pending().await,
        },
    }
}
