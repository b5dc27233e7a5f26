//! Every refusal as a status and `{error, hint?}`. What the store says goes to the log, not to the client.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::{CommandError, ReadError};

use crate::wire::Fault;

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}

impl Error {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Error {
        Error {
            status,
            error: error.into(),
            hint: None,
        }
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Error {
        Error::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Error {
        Error::new(StatusCode::NOT_FOUND, error)
    }

    pub(crate) fn unavailable(error: impl Into<String>) -> Error {
        Error::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Error {
        self.hint = self.hint.or(hint);
        self
    }

    pub(crate) fn store(error: &(dyn std::error::Error + 'static)) -> Error {
        let chain = std::iter::successors(Some(error), |error| error.source());
        let chain: Vec<String> = chain.map(ToString::to_string).collect();
        tracing::error!(
            error = chain.join(": "),
            "the store did not answer a request of the API"
        );
        Error::unavailable("the store could not be read or written")
            .hint("see the node's log for what it said, and the disk it lies on")
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            // Only filters look names up this way, so the request is wrong, not its path.
            error @ ReadError::UnknownName { .. } => Error::bad_request(error.to_string()),
            ReadError::Store(error) => Error::store(&error),
        }
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound(error) => Error::not_found(error),
            CommandError::Refused(error) => Error::new(StatusCode::CONFLICT, error),
            CommandError::Store(error) => error.into(),
            error @ CommandError::Stopping => Error::unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(Fault {
                error: self.error,
                hint: self.hint,
            }),
        )
            .into_response()
    }
}

/// `did you mean ...?` when one of `known` is close to `text`.
pub(crate) fn did_you_mean<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let scored = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(name, text), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.75).then(|| format!("did you mean `{name}`?"))
}
