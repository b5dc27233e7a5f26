//! What screens and scripts read. Bodies come as the bytes they are, from their own routes only.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use engine::{DeadLetterQuery, Key, MessageQuery, MessageView, ReadError};
use model::{MessageId, RowId, SendId, Stage};

use crate::commands::Question;
use crate::error::{Error, did_you_mean};
use crate::query::{Filter, Pairs};
use crate::routes::App;
use crate::wire::{
    Census, Connections, DeadLetter, Message, MessageLine, Page, SearchKey, SearchMessages, Stages,
};

const MESSAGE_KEYS: &[&str] = &[
    "inbound",
    "destination",
    "status",
    "control_id",
    "type",
    "since",
    "until",
    "before",
    "limit",
];
const DEAD_LETTER_KEYS: &[&str] = &["stage", "at", "message", "after", "limit"];
const PAGE: usize = 50;
const PAGE_MAX: usize = 1000;

pub(crate) async fn connections(
    State(app): State<Arc<App>>,
    query: Pairs,
) -> Result<Json<Connections>, Error> {
    query.only(&[])?;
    Ok(Json(app.seat.reader()?.connections().await?))
}

pub(crate) async fn messages(
    State(app): State<Arc<App>>,
    query: Pairs,
) -> Result<Json<Page<MessageLine>>, Error> {
    if query.has_any(&["key", "mrn"]) {
        let error = Error::bad_request("a search key is not given in an address, which others may log");
        return Err(error.hint(
            "POST it to /api/v1/messages/search, as {\"key\": {\"name\": \"mrn\", \"value\": \"...\"}}",
        ));
    }
    listing(&app, &query.only(MESSAGE_KEYS)?, None).await
}

/// The same, asked for in a body: search keys are patients' identifiers.
pub(crate) async fn search(
    State(app): State<Arc<App>>,
    Question(asked): Question<SearchMessages>,
) -> Result<Json<Page<MessageLine>>, Error> {
    let filter = Filter::of([
        ("inbound", asked.inbound),
        ("destination", asked.destination),
        ("status", asked.status),
        ("control_id", asked.control_id),
        ("type", asked.r#type),
        ("since", asked.since),
        ("until", asked.until),
        ("before", asked.before),
        ("limit", asked.limit.map(|limit| limit.to_string())),
    ]);
    let key = asked.key.map(|SearchKey { name, value }| {
        Key::new(&name, &value).ok_or_else(|| Error::bad_request(format!("the key `{name}` has no value")))
    });
    listing(&app, &filter, key.transpose()?).await
}

async fn listing(app: &App, filter: &Filter, key: Option<Key>) -> Result<Json<Page<MessageLine>>, Error> {
    let query = MessageQuery {
        inbound: filter.text("inbound"),
        destination: filter.text("destination"),
        status: filter.value("status")?,
        control_id: filter.text("control_id"),
        kind: filter.text("type"),
        key,
        since: filter.time("since")?,
        until: filter.time("until")?,
        before: filter.value::<RowId>("before")?,
        limit: filter.limit(PAGE, PAGE_MAX)?,
    };
    let reader = app.seat.reader()?;
    let found = reader.messages(&query).await.map_err(|error| match &error {
        ReadError::UnknownName {
            what: "search key",
            name,
        } => {
            let declared = reader.search_keys();
            let near = did_you_mean(name, declared.iter().map(String::as_str));
            let all = || format!("the inbounds declare {}", declared.join(", "));
            let hint = near.or_else(|| (!declared.is_empty()).then(all));
            Error::from(error).maybe_hint(hint)
        }
        ReadError::UnknownName { name, .. } => {
            let name = name.clone();
            reader.name_hint(error.into(), Some(&name))
        }
        ReadError::Store(_) => error.into(),
    })?;
    Ok(Json(Page::of(found)))
}

pub(crate) async fn message(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Pairs,
) -> Result<Json<Message>, Error> {
    query.only(&[])?;
    Ok(Json(find(&app, message_id(&id)?).await?.into()))
}

pub(crate) async fn message_body(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let message = message_id(&id)?;
    let view = find(&app, message).await?;
    let body = view.body.ok_or_else(|| bodies_removed(message))?;
    Ok(bytes(&id, body))
}

/// The bytes that left, or would leave, with this send: those of the message where it was sent unchanged.
pub(crate) async fn send_body(
    State(app): State<Arc<App>>,
    Path((id, send)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (message, send) = (message_id(&id)?, send_id(&send)?);
    let view = find(&app, message).await?;
    let found = view
        .sends
        .into_iter()
        .find(|known| known.id == send)
        .ok_or_else(|| no_such_send(message, send))?;
    let body = found.body.ok_or_else(|| bodies_removed(message))?;
    Ok(bytes(&send.to_string(), body))
}

pub(crate) async fn dead_letters(
    State(app): State<Arc<App>>,
    query: Pairs,
) -> Result<Json<Page<DeadLetter>>, Error> {
    let filter = query.only(DEAD_LETTER_KEYS)?;
    let query = DeadLetterQuery {
        stage: filter.text("stage").map(|text| stage(&text)).transpose()?,
        at: filter.text("at"),
        message: filter.value("message")?,
        after: filter.value("after")?,
        limit: filter.limit(PAGE, PAGE_MAX)?,
    };
    let reader = app.seat.reader()?;
    let page = reader.dead_letters(&query).await;
    Ok(Json(Page::of(page.map_err(|error| {
        reader.name_hint(error.into(), query.at.as_deref())
    })?)))
}

pub(crate) async fn census(State(app): State<Arc<App>>, query: Pairs) -> Result<Json<Census>, Error> {
    query.only(&[])?;
    let census = app.seat.reader()?.census().await?;
    Ok(Json(Census {
        messages: census.messages,
        dispositions: census
            .dispositions
            .iter()
            .map(|(at, count)| (at.to_string(), *count))
            .collect(),
        sends: census.sends,
        delivered: census.delivered,
        open: census
            .open
            .iter()
            .map(|(stage, count)| (stage.to_string(), *count))
            .collect(),
        dead_letters: census.dead_letters,
    }))
}

/// Where a message's time goes, and how much one commit carries.
pub(crate) async fn stages(State(app): State<Arc<App>>, query: Pairs) -> Result<Json<Stages>, Error> {
    query.only(&[])?;
    let stages = app
        .seat
        .node()?
        .stage_times()
        .into_iter()
        .map(|times| crate::wire::Stage {
            stage: times.stage.to_owned(),
            nanos: times.nanos.into(),
        });
    let sizes = engine::commit_sizes();
    let rows = sizes.rows.into_iter().filter(|(_, rows)| rows.count() > 0);
    Ok(Json(Stages {
        stages: stages.collect(),
        commit_units: sizes.units.into(),
        commit_rows: rows.map(|(kind, rows)| (kind.to_owned(), rows.into())).collect(),
    }))
}

/// The message, or a 404.
pub(crate) async fn find(app: &App, id: MessageId) -> Result<MessageView, Error> {
    app.seat.reader()?.message(id).await?.ok_or_else(|| {
        Error::not_found(format!("there is no message {id}"))
            .hint("find its id in the list of messages, by control id for example")
    })
}

pub(crate) fn message_id(text: &str) -> Result<MessageId, Error> {
    text.parse()
        .map_err(|error| Error::bad_request(format!("{error}")))
}

pub(crate) fn send_id(text: &str) -> Result<SendId, Error> {
    text.parse()
        .map_err(|error| Error::bad_request(format!("{error}")))
}

pub(crate) fn no_such_send(message: MessageId, send: SendId) -> Error {
    Error::not_found(format!("message {message} has no send {send}"))
        .hint(format!("its sends are listed at /api/v1/messages/{message}"))
}

fn bodies_removed(message: MessageId) -> Error {
    Error::new(
        StatusCode::GONE,
        format!("retention removed the bodies of message {message}"),
    )
    .hint("retention.days, or retention_days of its inbound, says how long bodies are kept; the rest of it is still there")
}

fn stage(text: &str) -> Result<Stage, Error> {
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| stage.as_str().eq_ignore_ascii_case(text));
    stage.ok_or_else(|| {
        Error::bad_request(format!("stage: `{text}` is not a stage")).hint("use ingress, routed or outbound")
    })
}

fn bytes(name: &str, body: model::Body) -> Response {
    let mut response = Response::new(Body::from(body.into_bytes()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // A file to save, never a page to show: the bytes are a partner's.
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}.bin\""));
    headers.insert(
        header::CONTENT_DISPOSITION,
        disposition.unwrap_or_else(|_| HeaderValue::from_static("attachment")),
    );
    response
}
