//! Warnings that the server sends with an answer. The driver only logs them, on the thread that waits for
//! the answer; this listens there.
//!
//! Why it matters: a commit whose wait for a synchronous standby is cancelled succeeds *with a warning*. It
//! is durable on one machine only, and so counts as not known to be durable.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Where the driver logs what the server says.
const TARGET: &str = "sqlx::postgres::notice";

/// Listens to one thread while it waits for the server.
pub(super) struct Warnings {
    dispatch: Dispatch,
    heard: Arc<Mutex<Option<String>>>,
}

impl Warnings {
    /// Everything else that is logged meanwhile goes where it went before.
    pub(super) fn new() -> Warnings {
        let heard = Arc::<Mutex<Option<String>>>::default();
        let listener = Listener {
            heard: Arc::clone(&heard),
            outer: tracing::dispatcher::get_default(Clone::clone),
        };
        Warnings {
            dispatch: Dispatch::new(listener),
            heard,
        }
    }

    /// Runs `wait`; answers, beside its result, a warning that the server sent meanwhile.
    pub(super) fn during<T>(&self, wait: impl FnOnce() -> T) -> (T, Option<String>) {
        *self.heard.lock() = None;
        let result = tracing::dispatcher::with_default(&self.dispatch, wait);
        (result, self.heard.lock().take())
    }
}

struct Listener {
    heard: Arc<Mutex<Option<String>>>,
    outer: Dispatch,
}

fn is_warning(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() <= Level::WARN
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_warning(metadata) {
            Interest::always()
        } else {
            self.outer.register_callsite(metadata)
        }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::current().max(tracing::level_filters::LevelFilter::WARN))
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_warning(metadata) || self.outer.enabled(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        if is_warning(event.metadata()) {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.heard.lock().get_or_insert(text.0);
        }
        if self.outer.enabled(event.metadata()) {
            self.outer.event(event);
        }
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.outer.new_span(span)
    }
    fn record(&self, span: &Id, values: &Record<'_>) {
        self.outer.record(span, values);
    }
    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.outer.record_follows_from(span, follows);
    }
    fn enter(&self, span: &Id) {
        self.outer.enter(span);
    }
    fn exit(&self, span: &Id) {
        self.outer.exit(span);
    }
    fn clone_span(&self, id: &Id) -> Id {
        self.outer.clone_span(id)
    }
    fn try_close(&self, id: Id) -> bool {
        self.outer.try_close(id)
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = value.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_the_server_is_heard_and_nothing_else_is() {
        let warnings = Warnings::new();
        let (answer, heard) = warnings.during(|| {
            tracing::warn!("ours");
            tracing::info!(target: "sqlx::postgres::notice", message = "a notice");
            7
        });
        assert_eq!((answer, heard), (7, None));
        let ((), heard) = warnings.during(|| {
            tracing::warn!(target: "sqlx::postgres::notice", message = "canceling wait for synchronous replication");
        });
        assert_eq!(
            heard.as_deref(),
            Some("canceling wait for synchronous replication")
        );
        assert_eq!(
            warnings.during(|| ()).1,
            None,
            "it is forgotten before the next wait"
        );
    }
}
