//! A dry run: what the configuration would do with one message. Nothing is stored and nothing is sent;
//! the functions are the very ones that run live, behind the door that the inbound has.

use std::sync::Arc;

use bytes::Bytes;
use formats::hl7;
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
    /// Why a strict inbound would refuse the message; nothing was run then.
    pub refusal: Option<Refusal>,
    /// What the router named.
    pub handlers: Vec<String>,
    /// Why the router failed.
    pub error: Option<String>,
    /// What each handler did.
    pub runs: Vec<HandlerRun>,
    /// Lines of `log(...)`.
    pub log: Vec<String>,
}

/// The answer of a strict inbound to a message that breaks the rules.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Refusal {
    /// `AE` or `AR`.
    pub code: &'static str,
    /// Each with its place; never content of the message.
    pub reasons: Vec<String>,
}

/// What one handler did.
#[derive(Clone, Debug, Serialize)]
pub struct HandlerRun {
    /// Which.
    pub handler: String,
    /// Its sends; none = filtered, unless it failed.
    pub sends: Vec<DrySend>,
    /// Why it failed.
    pub error: Option<String>,
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
    #[error("there is no inbound named `{name}`")]
    UnknownInbound {
        /// The name given.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// The bytes are no HL7 message.
    #[error("it cannot be read as HL7: {0}")]
    Unreadable(#[from] hl7::Fault),
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
        .ok_or_else(|| DryRunError::UnknownInbound {
            name: inbound.to_owned(),
            known: project.graph.inbounds.keys().cloned().collect(),
        })?;
    let mut dry = DryRun {
        inbound: inbound.to_owned(),
        router: declared.router.clone(),
        refusal: None,
        handlers: Vec::new(),
        error: None,
        runs: Vec::new(),
        log: Vec::new(),
    };
    let content = match declared.format {
        Format::Raw => script::Content::Raw(body.clone()),
        Format::Hl7 => {
            let message = match hl7::Message::parse(body.clone()) {
                Err(fault) if declared.strict => {
                    dry.refusal = Some(Refusal {
                        code: "AR",
                        reasons: vec![fault.to_string()],
                    });
                    return Ok(dry);
                }
                parsed => parsed?,
            };
            dry.refusal = refusal(&message).filter(|_| declared.strict);
            if dry.refusal.is_some() {
                return Ok(dry);
            }
            script::Content::Hl7(message)
        }
    };
    let incoming = script::Incoming {
        content,
        received_at,
        inbound: Arc::from(inbound),
        id: "0-0".to_owned(),
    };
    let routed = project.program.route(&declared.router, &incoming);
    match routed {
        Err(fault) => dry.error = Some(fault.detail),
        Ok(routed) => {
            dry.log.extend(routed.log);
            for handler in &routed.handlers {
                let run = handle(project, handler, &incoming, &body, &mut dry.log);
                dry.runs.push(run);
            }
            dry.handlers = routed.handlers.iter().map(ToString::to_string).collect();
        }
    }
    Ok(dry)
}

/// What a strict inbound answers, when not AA.
fn refusal(message: &hl7::Message) -> Option<Refusal> {
    let violations = hl7::validate::check(message, &hl7::validate::Options::default());
    let reasons: Vec<String> = violations
        .iter()
        .map(|found| format!("{}: {} (code {})", found.path, found.text, found.code))
        .collect();
    (!reasons.is_empty()).then_some(Refusal { code: "AE", reasons })
}

fn handle(
    project: &Project,
    handler: &str,
    incoming: &script::Incoming,
    body: &Bytes,
    log: &mut Vec<String>,
) -> HandlerRun {
    let mut run = HandlerRun {
        handler: handler.to_owned(),
        sends: Vec::new(),
        error: None,
    };
    match project.program.handle(handler, incoming) {
        Err(fault) => run.error = Some(fault.detail),
        Ok(handled) => {
            log.extend(handled.log);
            run.sends = handled
                .sends
                .into_iter()
                .map(|send| dry_send(send, body))
                .collect();
        }
    }
    run
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
    hl7::charset::text_of(body)
        .replace("\r\n", "\n")
        .replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "r", strict = STRICT)
outbound("OB_A_ADT", mllp(host = "127.0.0.1", port = 2601))
@router
def r(msg):
    return ["h"]
@handler
def h(msg):
    msg["PID-5.1"] = "Grün"
    return send("OB_A_ADT", msg)
"#;

    fn dry(strict: bool, body: &[u8]) -> DryRun {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        let text = FEED.replace("STRICT", if strict { "True" } else { "False" });
        std::fs::write(folder.path().join("config/a.star"), text).unwrap();
        let project = crate::project::load(folder.path(), "dev").unwrap();
        let body = Bytes::copy_from_slice(body);
        run(&project, "IB_A_ADT", body, Timestamp(0)).unwrap()
    }

    const LATIN: &[u8] =
        b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1||||||8859/1\rPID|1||1||M\xfcller^Ana\r";

    #[test]
    fn both_sides_are_read_in_the_character_set_of_the_message() {
        let dry = dry(false, LATIN);
        let send = &dry.runs[0].sends[0];
        assert!(send.before.contains("Müller^Ana"), "{}", send.before);
        assert!(send.after.contains("Grün^Ana"), "{}", send.after);
    }

    #[test]
    fn a_strict_inbound_refuses_here_what_it_refuses_live() {
        let refusal = dry(true, LATIN).refusal.unwrap();
        assert_eq!(refusal.code, "AE");
        assert!(
            refusal.reasons.iter().any(|reason| reason.contains("EVN")),
            "{refusal:?}"
        );
        let refusal = dry(
            true,
            b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1||||||ASCII\rPID|1||\xff\r",
        )
        .refusal;
        assert_eq!(refusal.unwrap().code, "AR");
        assert!(dry(false, LATIN).refusal.is_none());
    }

    #[test]
    fn machines_get_lists_and_errors_not_the_shape_of_a_type() {
        let json = serde_json::to_value(dry(false, LATIN)).unwrap();
        assert_eq!(json["handlers"], serde_json::json!(["h"]));
        assert_eq!(json["error"], serde_json::Value::Null);
        assert_eq!(json["runs"][0]["sends"][0]["destination"], "OB_A_ADT");
    }
}
