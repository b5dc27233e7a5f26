//! Commands to a node that does not lead. It writes them down in the store, the leader carries them out as if they had
//! been given to it, and the node that took them waits for the answer and passes it on.
//!
//! At most once: the leader takes a command up before it begins. What nobody took up within a few seconds is withdrawn,
//! and the caller told that nothing was done. Where the answer does not come, the caller is told to look before it
//! repeats the command.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cluster::Role;
use cluster::board::Error as StoreError;
use engine::orders::{Order, Orders, Progress};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::Command;
use crate::error::Error;
use crate::guard;
use crate::routes::App;
use crate::seat::Seat;

/// A command that no leader took up within this time is withdrawn.
const TAKING_UP: Duration = Duration::from_secs(5);
/// So long a caller waits in all; shorter than a request may take.
const ANSWERING: Duration = Duration::from_secs(25);
/// Between two looks for an answer, and for commands.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const TAKE_EVERY: Duration = Duration::from_millis(200);
/// Commands of other nodes carried out at once.
const AT_ONCE: usize = 8;
/// Bytes of an answer that is passed on.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Which node of a cluster took a command.
#[derive(Clone, Debug)]
pub(crate) struct TakenBy(pub(crate) String);

/// The way to the leader: calls that block, one at a time.
pub(crate) struct Courier(Arc<Mutex<Box<dyn Orders>>>);

impl Courier {
    pub(crate) fn new(orders: Box<dyn Orders>) -> Courier {
        Courier(Arc::new(Mutex::new(orders)))
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut dyn Orders) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let orders = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || ask(orders.lock().as_mut()));
        asked.await.unwrap_or_else(|error| {
            Err(StoreError::Database {
                doing: "working on a blocking thread",
                source: Box::new(error),
            })
        })
    }
}

/// Before a command: where this node leads, notes that it took it; where it does not, has the leader carry it out.
pub(crate) async fn to_the_leader(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let seat = &app.seat;
    let Some(courier) = seat.courier.as_ref().filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    let taken = request.extensions().get::<TakenBy>().is_some();
    if taken || seat.occupant().is_some() {
        if !taken {
            request.extensions_mut().insert(TakenBy(seat.about.node.clone()));
        }
        return next.run(request).await;
    }
    match pass_on(seat, courier, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn pass_on(seat: &Seat, courier: &Courier, request: Request) -> Result<Response, Error> {
    let path = request.uri().path().to_owned();
    let Command { actor, says } = Command::<serde_json::Value>::from_request(request, &()).await?;
    let order = Order::new(&seat.about.node, actor, path, says.to_string());
    let id = order.id;
    let given = courier.ask(move |orders| orders.give(&order)).await;
    given.map_err(|error| Error::store(&error))?;
    let begun = Instant::now();
    loop {
        let progress = courier.ask(move |orders| orders.progress(id)).await;
        let progress = progress.map_err(|error| {
            Error::store(&error).hint("the leader may have carried it out: look before you repeat it")
        })?;
        match progress {
            Progress::Answered(status, answer) => return Ok(response(status, answer)),
            Progress::Open if begun.elapsed() >= TAKING_UP => {
                let withdrawn = courier.ask(move |orders| orders.withdraw(id)).await;
                if withdrawn.map_err(|error| Error::store(&error))? {
                    return Err(nobody(seat));
                }
            }
            Progress::Begun if begun.elapsed() >= ANSWERING => {
                let text = format!(
                    "{}, took the command up, and has not ended it yet",
                    seat.elsewhere()
                );
                let hint =
                    "look what came of it (the message's trail, the connection's state) before you repeat it";
                return Err(Error::unavailable(text).hint(hint));
            }
            Progress::Gone => return Err(nobody(seat)),
            Progress::Open | Progress::Begun => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn nobody(seat: &Seat) -> Error {
    let text = format!(
        "`{}` is a standby and {}; no leader took the command within {} s: it was withdrawn, nothing was done",
        seat.about.node,
        seat.elsewhere(),
        TAKING_UP.as_secs()
    );
    Error::unavailable(text).hint("`holdfast cluster nodes` shows who leads; give the command again then")
}

fn response(status: u16, answer: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, answer).into_response()
}

/// While this node leads: carries out what other nodes took. Ends after `stop`, once what was begun has ended.
pub(crate) async fn carry_out(seat: Arc<Seat>, router: Router, stop: CancellationToken) {
    let (Some(courier), Some(cluster)) = (&seat.courier, &seat.cluster) else {
        return;
    };
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(TAKE_EVERY) => {}
        }
        while under_way.try_join_next().is_some() {}
        let room = AT_ONCE - under_way.len();
        let Role::Leader(term) = cluster.standing().role else {
            continue;
        };
        if room == 0 || !seat.leads() {
            continue;
        }
        match courier.ask(move |orders| orders.take_up(term, room)).await {
            Ok(orders) => {
                for order in orders {
                    under_way.spawn(carry_out_one(Arc::clone(&seat), router.clone(), order));
                }
            }
            // The lease's own thread says aloud that the database is away.
            Err(error) => tracing::debug!(%error, "commands of other nodes could not be looked for"),
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn carry_out_one(seat: Arc<Seat>, router: Router, order: Order) {
    let id = order.id;
    let (node, actor, path) = (order.node.clone(), order.actor.clone(), order.path.clone());
    let (status, answer) = match request(order) {
        Ok(request) => said(router, request).await,
        Err(error) => (
            StatusCode::BAD_REQUEST,
            fault(&format!("the command cannot be read: {error}")),
        ),
    };
    tracing::info!(
        node,
        actor,
        path,
        status = status.as_u16(),
        "a command that another node took was carried out"
    );
    let Some(courier) = &seat.courier else { return };
    let answered = courier
        .ask(move |orders| orders.answer(id, status.as_u16(), &answer))
        .await;
    if let Err(error) = answered {
        tracing::warn!(%error, "the answer to another node's command could not be written down");
    }
}

/// The command as if it had been given here.
fn request(order: Order) -> Result<Request, axum::http::Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(order.path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header(guard::ACTOR, HeaderValue::from_bytes(order.actor.as_bytes())?)
        .extension(TakenBy(order.node));
    request.body(Body::from(order.body))
}

async fn said(router: Router, request: Request) -> (StatusCode, String) {
    let response = match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let text = body.ok().and_then(|body| String::from_utf8(body.into()).ok());
    match text {
        Some(text) => (status, text),
        None => (
            StatusCode::INTERNAL_SERVER_ERROR,
            fault("the command was carried out; what the leader answered cannot be passed on"),
        ),
    }
}

fn fault(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}
