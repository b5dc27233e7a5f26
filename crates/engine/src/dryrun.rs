//! A dry run: what the configuration would do with one message. Nothing is stored and nothing is sent;
//! the functions are the very ones that run live.

use std::sync::Arc;

use bytes::Bytes;
use model::Timestamp;
use model::graph::Format;
use serde::Serialize;

use crate::project::Project;

/// What would happen.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// The inbound whose router ran.
    pub inbound: String,
    /// The router.
    pub router: String,
    /// What the router named, or why it failed.
    pub handlers: Result<Vec<String>, String>,
    /// What each handler did.
    pub runs: Vec<HandlerRun>,
    /// Lines of `log(...)`.
    pub log: Vec<String>,
}

/// What one handler did.
#[derive(Clone, Debug, Serialize)]
pub struct HandlerRun {
    /// Which.
    pub handler: String,
    /// Its sends (none = filtered), or why it failed.
    pub sends: Result<Vec<DrySend>, String>,
}

/// One send, with both sides of the difference.
#[derive(Clone, Debug, Serialize)]
pub struct DrySend {
    /// Where to.
    pub destination: String,
    /// The message before, one segment a line.
    pub before: String,
    /// The message after, one segment a line.
    pub after: String,
    /// Whether anything differs.
    pub changed: bool,
}

/// Why there was nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// No such inbound.
    #[error("there is no inbound named `{0}`")]
    UnknownInbound(String),
    /// The bytes are no HL7 message.
    #[error("it cannot be read as HL7: {0}")]
    Unreadable(#[from] formats::hl7::Fault),
}

/// Runs the router of `inbound` and the handlers that it names on one message.
pub fn run(
    project: &Project,
    inbound: &str,
    body: Bytes,
    received_at: Timestamp,
) -> Result<DryRun, DryRunError> {
    let declared = project
        .graph
        .inbounds
        .get(inbound)
        .ok_or_else(|| DryRunError::UnknownInbound(inbound.to_owned()))?;
    let content = match declared.format {
        Format::Raw => script::Content::Raw(body.clone()),
        Format::Hl7 => script::Content::Hl7(formats::hl7::Message::parse(body.clone())?),
    };
    let incoming = script::Incoming {
        content,
        received_at,
        inbound: Arc::from(inbound),
        id: "0-0".to_owned(),
    };
    let routed = project.program.route(&declared.router, &incoming);
    let mut dry = DryRun {
        inbound: inbound.to_owned(),
        router: declared.router.clone(),
        handlers: Ok(Vec::new()),
        runs: Vec::new(),
        log: Vec::new(),
    };
    match routed {
        Err(fault) => dry.handlers = Err(fault.detail),
        Ok(routed) => {
            dry.log.extend(routed.log);
            for handler in &routed.handlers {
                let run = handle(project, handler, &incoming, &body, &mut dry.log);
                dry.runs.push(run);
            }
            dry.handlers = Ok(routed.handlers.iter().map(ToString::to_string).collect());
        }
    }
    Ok(dry)
}

fn handle(
    project: &Project,
    handler: &str,
    incoming: &script::Incoming,
    body: &Bytes,
    log: &mut Vec<String>,
) -> HandlerRun {
    let sends = match project.program.handle(handler, incoming) {
        Err(fault) => Err(fault.detail),
        Ok(handled) => {
            log.extend(handled.log);
            Ok(handled
                .sends
                .into_iter()
                .map(|send| dry_send(send, body))
                .collect())
        }
    };
    HandlerRun {
        handler: handler.to_owned(),
        sends,
    }
}

fn dry_send(send: script::Send, body: &Bytes) -> DrySend {
    let after = send.body.unwrap_or_else(|| body.clone());
    let changed = after != *body;
    DrySend {
        destination: send.destination.to_string(),
        before: lines(body),
        after: lines(&after),
        changed,
    }
}

fn lines(body: &Bytes) -> String {
    String::from_utf8_lossy(body)
        .replace("\r\n", "\n")
        .replace('\r', "\n")
}
