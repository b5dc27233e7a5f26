//! `holdfast messages`: find messages of a running node, and see what happened to one.

use std::io::IsTerminal;
use std::process::ExitCode;

use api::client::{Client, with_query};
use api::wire::{DeadLetter, Message, MessageLine, Page, SearchKey, SearchMessages};

use super::remote::{Node, explain};
use crate::output::{BAD, FAINT, GOOD, ODD, Output, paint};

/// List messages of a running node, show one with its event trail, list dead letters.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    node: Node,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Messages, newest first.
    List(List),
    /// One message: where it stands, its sends, its event trail.
    Show(Show),
    /// Messages that will not go on until a person replays them, oldest first.
    DeadLetters(DeadLetters),
}

#[derive(clap::Args, Debug, Default)]
struct List {
    /// Only those that came by this inbound.
    #[arg(long, value_name = "NAME")]
    inbound: Option<String>,
    /// Only those that were sent to this outbound.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those with this value of a search key, such as mrn=12345 (see `keys` of inbound).
    #[arg(long, value_name = "NAME=VALUE", value_parser = search_key)]
    key: Option<SearchKey>,
    /// Only those that stand here: received, routed, unrouted, processed, filtered or error.
    #[arg(long)]
    status: Option<String>,
    /// Only those with this control id (MSH-10).
    #[arg(long, value_name = "ID")]
    control_id: Option<String>,
    /// Only this type: ADT, or ADT^A01.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only those received at this time or later: 2026-02-01T08:30:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only those older than this message: the next page.
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u16,
}

#[derive(clap::Args, Debug)]
struct Show {
    /// The message, such as 3-1042.
    id: String,
    /// Print its bytes as received instead, and nothing else.
    #[arg(long)]
    body: bool,
    /// With --body: the bytes of this send.
    #[arg(long, value_name = "ID", requires = "body")]
    send: Option<String>,
}

#[derive(clap::Args, Debug)]
struct DeadLetters {
    /// Only those that died at this stage: ingress, routed or outbound.
    #[arg(long)]
    stage: Option<String>,
    /// Only those that died at this inbound, handler or outbound.
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
    /// Only those of this message.
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Only those newer than this one: the next page.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u16,
}

/// `mrn=12345`.
fn search_key(text: &str) -> Result<SearchKey, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write it as name=value, such as mrn=12345")?;
    Ok(SearchKey {
        name: name.trim().to_owned(),
        value: value.to_owned(),
    })
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let client = args.node.client()?;
    match args.action {
        Action::List(filter) => list(&client, out, filter).await?,
        Action::Show(show) if show.body => body(&client, out, &show).await?,
        Action::Show(show) => detail(&client, out, &show.id).await?,
        Action::DeadLetters(filter) => dead_letters(&client, out, filter).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, out: &Output, filter: List) -> anyhow::Result<()> {
    let asked = SearchMessages {
        inbound: filter.inbound,
        destination: filter.destination,
        status: filter.status,
        control_id: filter.control_id,
        r#type: filter.kind,
        key: filter.key,
        since: filter.since,
        until: filter.until,
        before: filter.before,
        limit: Some(filter.limit.into()),
    };
    let page: Page<MessageLine> = client
        .ask_json("/api/v1/messages/search", &asked)
        .await
        .map_err(explain)?;
    if out.is_json() {
        out.json(&page);
        return Ok(());
    }
    if page.items.is_empty() {
        out.remark("no message matches");
        return Ok(());
    }
    let rows = page.items.iter().map(|line| {
        vec![
            line.id.to_string(),
            line.received_at.to_string(),
            line.inbound.clone(),
            line.r#type.clone().unwrap_or_default(),
            line.control_id.clone().unwrap_or_default(),
            size(line),
            line.status.to_string(),
        ]
    });
    out.table(
        &[
            "id",
            "received",
            "inbound",
            "type",
            "control id",
            "bytes",
            "status",
        ],
        rows.collect(),
    );
    if let Some(next) = page.next {
        out.remark(&format!("older ones: the same command with --before {next}"));
    }
    Ok(())
}

async fn dead_letters(client: &Client, out: &Output, filter: DeadLetters) -> anyhow::Result<()> {
    let pairs = [
        ("stage", filter.stage),
        ("at", filter.at),
        ("message", filter.message),
        ("after", filter.after),
        ("limit", Some(filter.limit.to_string())),
    ];
    let path = with_query("/api/v1/dead-letters", &pairs);
    let page: Page<DeadLetter> = client.get_json(&path).await.map_err(explain)?;
    if out.is_json() {
        out.json(&page);
        return Ok(());
    }
    if page.items.is_empty() {
        out.remark("no dead letter matches");
        return Ok(());
    }
    let rows = page.items.iter().map(|dead| {
        let (message, stage) = (dead.message.to_string(), dead.stage.to_string());
        vec![
            message,
            dead.died_at.to_string(),
            stage,
            dead.at.clone(),
            dead.reason.clone(),
        ]
    });
    out.table(&["message", "died", "stage", "at", "why"], rows.collect());
    if let Some(next) = page.next {
        out.remark(&format!("newer ones: the same command with --after {next}"));
    }
    out.remark("put them back with: holdfast replay --dead-letters (count them first with --preview)");
    Ok(())
}

async fn detail(client: &Client, out: &Output, id: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/messages/{}", api::client::escape(id));
    let message: Message = client.get_json(&path).await.map_err(explain)?;
    if out.is_json() {
        out.json(&message);
    } else {
        out.text(&picture(&message));
    }
    Ok(())
}

/// How long it is, or was.
fn size(line: &MessageLine) -> String {
    let removed = if line.body_removed { " (removed)" } else { "" };
    format!("{}{removed}", line.size)
}

fn picture(message: &Message) -> String {
    let line = &message.line;
    let style = match line.status.as_str() {
        "PROCESSED" | "FILTERED" => GOOD,
        "ERROR" | "UNROUTED" => BAD,
        _ => ODD,
    };
    let mut text = format!("{}  {}\n", line.id, paint(style, line.status.as_str()));
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<11} {value}\n"));
        }
    };
    fact("inbound", Some(line.inbound.clone()));
    fact("received", Some(line.received_at.to_string()));
    fact("from", line.source.clone());
    fact("type", line.r#type.clone());
    fact("control id", line.control_id.clone());
    fact("bytes", Some(size(line)));
    let removed = "by retention, with the replies and search keys; it cannot be replayed";
    fact("removed", line.body_removed.then(|| removed.to_owned()));
    fact("caused by", line.parent.map(|parent| parent.to_string()));
    for reason in &message.waiting {
        text.push_str(&format!("  {} {reason}\n", paint(ODD, "waits:")));
    }
    if !message.sends.is_empty() {
        text.push_str("\nsends\n");
    }
    for send in &message.sends {
        let changed = if send.transformed { "changed" } else { "unchanged" };
        let attempts = match send.attempts {
            Some(1) => ", 1 attempt".to_owned(),
            Some(count) => format!(", {count} attempts"),
            None => String::new(),
        };
        let (id, handler, to, state) = (send.id, &send.handler, &send.destination, &send.state);
        text.push_str(&format!(
            "  {id}  {handler} -> {to}: {state}{attempts}, {changed}\n"
        ));
    }
    text.push_str("\ntrail\n");
    for entry in &message.trail {
        let by = entry
            .by
            .as_ref()
            .map(|by| format!(" (by {by})"))
            .unwrap_or_default();
        let at = paint(FAINT, &entry.at.to_string());
        text.push_str(&format!("  {at}  {:<15} {}{by}\n", entry.what, entry.detail));
    }
    text
}

async fn body(client: &Client, out: &Output, show: &Show) -> anyhow::Result<()> {
    let id = api::client::escape(&show.id);
    let path = match &show.send {
        Some(send) => format!("/api/v1/messages/{id}/sends/{}/body", api::client::escape(send)),
        None => format!("/api/v1/messages/{id}/body"),
    };
    let bytes = client.get_bytes(&path).await.map_err(explain)?;
    if std::io::stdout().is_terminal() {
        // A terminal shows each carriage return as an overwritten line, and obeys control characters.
        out.text(&printable(&bytes));
    } else {
        out.bytes(&bytes);
    }
    Ok(())
}

fn printable(bytes: &[u8]) -> String {
    let text = formats::hl7::charset::text_of(bytes)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_on_a_terminal_has_lines_and_no_control_characters() {
        let latin = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1||||||8859/1\rPID|1||1||M\xfcller\r";
        assert!(printable(latin).ends_with("PID|1||1||Müller\n"));
        assert_eq!(printable(b"MSH|1\rPID|\x1b[2J\r\nZ"), "MSH|1\nPID|\u{fffd}[2J\nZ");
    }

    #[test]
    fn a_search_key_is_a_name_and_a_value_and_is_not_printed() {
        let key = search_key("mrn=A=1").unwrap();
        assert_eq!((key.name.as_str(), key.value.as_str()), ("mrn", "A=1"));
        assert!(search_key("4711").is_err());
        assert!(!format!("{key:?}").contains("A=1"));
    }

    #[test]
    fn a_message_without_bodies_says_so() {
        let mut message: Message = serde_json::from_value(serde_json::json!({
            "id": "3-7", "inbound": "adt", "received_at": "2026-02-01T08:30:00Z", "control_id": "M1",
            "type": "ADT^A01", "source": null, "parent": null, "size": 120, "status": "PROCESSED",
            "waiting": [], "sends": [], "trail": [],
        }))
        .unwrap();
        assert!(
            !picture(&message).contains("removed"),
            "an older node says nothing of it"
        );
        message.line.body_removed = true;
        let text = picture(&message);
        assert!(
            text.contains("120 (removed)") && text.contains("by retention"),
            "{text}"
        );
    }

    #[test]
    fn a_message_is_told_from_its_arrival_to_its_end() {
        let message: Message = serde_json::from_value(serde_json::json!({
            "id": "3-7", "inbound": "adt", "received_at": "2026-02-01T08:30:00Z", "control_id": "M1",
            "type": "ADT^A01", "source": null, "parent": null, "size": 120, "status": "ROUTED",
            "waiting": ["lab: connection refused"],
            "sends": [{ "id": "3-9", "handler": "relay", "destination": "lab", "state": "waiting",
                        "attempts": null, "transformed": true, "reply": null }],
            "trail": [
                { "at": "2026-02-01T08:30:00Z", "what": "received", "detail": "120 bytes by adt" },
                { "at": "2026-02-01T08:30:01Z", "what": "replayed", "detail": "from its router", "by": "ana" }
            ],
        }))
        .unwrap();
        let text = anstream::adapter::strip_str(&picture(&message)).to_string();
        let parts = [
            "3-7  ROUTED",
            "control id  M1",
            "waits: lab: connection refused",
            "3-9  relay -> lab: waiting, changed",
            "2026-02-01T08:30:00.000000Z  received        120 bytes by adt",
            "from its router (by ana)",
        ];
        let mut rest = text.as_str();
        for part in parts {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("{part} is missing, or too early, in\n{text}"));
            rest = &rest[at..];
        }
    }
}
