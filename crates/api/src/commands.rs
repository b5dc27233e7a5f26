//! What operators do. Each command runs to its end even when its client goes away: half a replay (written,
//! not put into its lane) would wait for the next start.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use engine::{CommandError, DeadLetterQuery, Node, Replay};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::guard;
use crate::orders::TakenBy;
use crate::reader::Reader;
use crate::reads::{find, message_id, no_such_send, send_id};
use crate::routes::App;
use crate::wire::{
    Empty, From, Held, ReplayDeadLetters, ReplayMessage, Replayed, Retention, RunRetention, Skipped,
};

/// How long a command waits for another of its kind to end.
const TURN: Duration = Duration::from_secs(10);
/// Longer words of the JSON reader quote more than names.
const UNREADABLE_MAX: usize = 300;
/// Dead letters read at once by a replay of many.
const PAGE: usize = 500;

/// A command as it arrived: who gives it (in a cluster with the node that took it), and what it says. An empty body is `{}`.
pub(crate) struct Command<T> {
    pub(crate) actor: String,
    pub(crate) says: T,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Command<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let taken = request.extensions().get::<TakenBy>().cloned();
        let mut actor = guard::actor(request.headers())?;
        if let Some(TakenBy(node)) = taken {
            actor = format!("{actor} at {node}");
        }
        let Question(says) = Question::from_request(request, state).await?;
        Ok(Command { actor, says })
    }
}

/// A question that stands in a body, not in an address. Nobody needs to say who asks.
pub(crate) struct Question<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Question<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        guard::check_json(request.headers())?;
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| match rejection.status() {
            status @ StatusCode::PAYLOAD_TOO_LARGE => Error::new(status, "the command is larger than 64 KiB"),
            status => Error::new(status, "the command broke off"),
        })?;
        Ok(Question(read(&body)?))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"{}" } else { body };
    if body.trim_ascii_start().first() != Some(&b'{') {
        // Values in their order would be read too; a command names its fields.
        return Err(
            Error::bad_request("a command is a JSON object").hint("for example {\"from\": \"ingress\"}")
        );
    }
    serde_json::from_slice(body).map_err(|error| Error::bad_request(unreadable(&error)))
}

pub(crate) async fn replay_message(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Command { actor, says: request }: Command<ReplayMessage>,
) -> Result<Json<Replayed>, Error> {
    let id = message_id(&id)?;
    let replay = understand(request)?;
    let name = match &replay {
        Replay::FromOutbound(to) => to.clone(),
        Replay::FromRouted(handlers) => handlers.first().cloned(),
        Replay::FromIngress => None,
    };
    let leading = app.seat.node()?;
    let done = run(&app.replays, Arc::clone(&leading), |node| async move {
        let done = node.replay(id, &replay, &actor).await;
        note(&actor, "replay", &id.to_string(), &done);
        done
    });
    Ok(Json(
        done.await
            .map_err(|error| name_hint_if_missing(leading, error, name.as_deref()))?
            .into(),
    ))
}

pub(crate) async fn replay_dead_letters(
    State(app): State<Arc<App>>,
    Command { actor, says: request }: Command<ReplayDeadLetters>,
) -> Result<Json<Replayed>, Error> {
    let at = request.at.clone();
    let query = DeadLetterQuery {
        stage: request.stage,
        at: request.at,
        message: request.message,
        after: None,
        limit: PAGE,
    };
    let node = app.seat.node()?;
    let done = run(&app.replays, Arc::clone(&node), |node| async move {
        let done = node.replay_dead_letters(&query, request.preview, &actor).await;
        note(
            &actor,
            "replay dead letters",
            if request.preview { "preview" } else { "" },
            &done,
        );
        done
    });
    Ok(Json(
        done.await
            .map_err(|error| Reader::Leader(node).name_hint(error, at.as_deref()))?
            .into(),
    ))
}

pub(crate) async fn skip(
    State(app): State<Arc<App>>,
    Path((id, send)): Path<(String, String)>,
    Command {
        actor,
        says: Empty {},
    }: Command<Empty>,
) -> Result<Json<Skipped>, Error> {
    let (id, send) = (message_id(&id)?, send_id(&send)?);
    // The engine takes the pair at its word; a send of another message would end up in the wrong trail.
    let view = find(&app, id).await?;
    if !view.sends.iter().any(|known| known.id == send) {
        return Err(no_such_send(id, send));
    }
    let done = run(&app.replays, app.seat.node()?, |node| async move {
        let done = node.skip(send, id, &actor).await;
        note(&actor, "skip", &send.to_string(), &done);
        done
    });
    done.await?;
    Ok(Json(Skipped { skipped: send }))
}

pub(crate) async fn hold(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Command {
        actor,
        says: Empty {},
    }: Command<Empty>,
) -> Result<Json<Held>, Error> {
    set_held(&app, name, true, actor).await
}

pub(crate) async fn release(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Command {
        actor,
        says: Empty {},
    }: Command<Empty>,
) -> Result<Json<Held>, Error> {
    set_held(&app, name, false, actor).await
}

pub(crate) async fn retention(
    State(app): State<Arc<App>>,
    Command { actor, says: request }: Command<RunRetention>,
) -> Result<Json<Retention>, Error> {
    let done = run(&app.retentions, app.seat.node()?, |node| async move {
        let done = node.retention(request.dry_run, &actor).await;
        let what = if request.dry_run { "dry run" } else { "" };
        note(&actor, "retention", what, &done);
        done
    });
    Ok(Json(done.await?.into()))
}

async fn set_held(app: &App, name: String, held: bool, actor: String) -> Result<Json<Held>, Error> {
    let connection = name.clone();
    let node = app.seat.node()?;
    let done = run(&app.holds, Arc::clone(&node), |node| async move {
        node.set_held(&connection, held, &actor).await
    });
    done.await
        .map_err(|error| name_hint_if_missing(node, error, Some(&name)))?;
    Ok(Json(Held { name, held }))
}

/// Waits for its turn, then carries the command out on a task of its own.
async fn run<T, Fut>(
    turns: &Arc<Mutex<()>>,
    node: Arc<Node>,
    command: impl FnOnce(Arc<Node>) -> Fut,
) -> Result<T, Error>
where
    T: Send + 'static,
    Fut: Future<Output = Result<T, CommandError>> + Send + 'static,
{
    let turn = tokio::time::timeout(TURN, Arc::clone(turns).lock_owned())
        .await
        .map_err(|_| {
            Error::unavailable("another command is still being carried out")
                .hint("wait until it ended, then try again")
        })?;
    let command = command(node);
    let task = tokio::spawn(async move {
        let _turn = turn;
        command.await
    });
    match task.await {
        Ok(done) => Ok(done?),
        Err(error) => {
            tracing::error!(%error, "a command of the API failed");
            Err(Error::unavailable("the command failed inside the node").hint("see the node's log"))
        }
    }
}

fn understand(request: ReplayMessage) -> Result<Replay, Error> {
    let ReplayMessage { from, handlers, to } = request;
    if from != From::Routed && !handlers.is_empty() {
        return Err(Error::bad_request(
            "`handlers` goes with \"from\": \"routed\" only",
        ));
    }
    if from != From::Outbound && to.is_some() {
        return Err(Error::bad_request("`to` goes with \"from\": \"outbound\" only"));
    }
    Ok(match from {
        From::Ingress => Replay::FromIngress,
        From::Routed => Replay::FromRouted(handlers),
        From::Outbound => Replay::FromOutbound(to),
    })
}

/// What is wrong with a command's JSON, without the value that is wrong: it may be a message sent here by
/// mistake.
fn unreadable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quotes_a_value = text.starts_with("invalid ") || text.len() > UNREADABLE_MAX;
    if quotes_a_value {
        format!(
            "the command has a wrong value at line {} column {}",
            error.line(),
            error.column()
        )
    } else {
        format!("the command cannot be read: {text}")
    }
}

fn note<T>(actor: &str, command: &str, what: &str, done: &Result<T, CommandError>) {
    let refused = done.as_ref().err().map(ToString::to_string);
    tracing::info!(actor, command, what, refused, "an operator gave a command");
}

fn name_hint_if_missing(node: Arc<Node>, error: Error, name: Option<&str>) -> Error {
    if error.status == StatusCode::NOT_FOUND {
        Reader::Leader(node).name_hint(error, name)
    } else {
        error
    }
}
