//! A config repository in a temporary directory, and a few connectors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::connector::{Param, ParamKind, Spec, Value};
use model::problem::Problem;
use script::{Content, Handled, Incoming, Loaded, Request};

/// A small ADT, synthetic.
pub(crate) const ADT: &str = "MSH|^~\\&|SENDER|SITE|RECEIVER|PLACE|20260131083000||ADT^A01^ADT_A01|C0001|P|2.5.1\r\
EVN|A01|20260131083000\r\
PID|1||1001^^^SITE^MR~2002^^^STATE^SS||Testa^Anna^B||19800229|F|||1 Sample St^^Town^ST^00000||555-0100\r\
PV1|1|I|W1^R1^B1\r\
OBX|1|NM|8302-2^Height||170|cm|||||F\r\
OBX|2|NM|29463-7^Weight||65|kg|||||F\r\
OBX|3|TX|NOTE^Note||plain \\T\\ simple||||||F\r";

/// Connectors with the shapes that matter.
pub(crate) fn specs() -> Vec<Spec> {
    let port = || Param::required("port", ParamKind::Port, "The port.");
    vec![
        Spec {
            name: "mllp",
            summary: "HL7 over TCP.",
            inbound: Some(vec![
                port(),
                Param::optional("host", ParamKind::Text, "127.0.0.1", "Where to listen."),
                Param::optional("idle", ParamKind::Seconds, Value::None, "Close after."),
                Param::optional(
                    "allow",
                    ParamKind::TextList,
                    Value::List(vec![]),
                    "Who may connect.",
                ),
            ]),
            outbound: Some(vec![
                Param::required("host", ParamKind::Text, "The partner."),
                port(),
                Param::optional(
                    "timeout",
                    ParamKind::Seconds,
                    Duration::from_secs(30),
                    "For the reply.",
                ),
                Param::optional("password", ParamKind::Text, Value::None, "A secret."),
            ]),
        },
        Spec {
            name: "file",
            summary: "Files.",
            inbound: Some(vec![
                Param::required("directory", ParamKind::Text, "Where."),
                Param::optional("after", ParamKind::Choice(&["move", "delete"]), "move", "Then."),
                Param::optional("gzip", ParamKind::Bool, false, "Packed."),
                Param::optional("batch", ParamKind::Int, 10, "How many."),
            ]),
            outbound: Some(vec![Param::required("directory", ParamKind::Text, "Where.")]),
        },
        Spec {
            name: "timer",
            summary: "Ticks.",
            inbound: Some(vec![]),
            outbound: None,
        },
        Spec {
            name: "loopback",
            summary: "Replies.",
            inbound: Some(vec![]),
            outbound: None,
        },
        Spec {
            name: "passthrough",
            summary: "Splits.",
            inbound: Some(vec![]),
            outbound: None,
        },
    ]
}

/// A repository with these files.
pub(crate) fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(root.path().join("config")).expect("a directory");
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
    }
    own(root.path());
    root
}

/// Takes the right to write from all but the owner, whatever the umask.
#[cfg(unix)]
fn own(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            own(&entry.expect("an entry").path());
        }
    }
}

#[cfg(not(unix))]
fn own(_path: &Path) {}

/// Loads a repository for the environment `dev`.
pub(crate) fn load_at(root: &Path) -> Result<Loaded, Vec<Problem>> {
    let secrets = BTreeMap::from([("acme_password".to_owned(), "from outside".to_owned())]);
    script::load(&Request {
        root,
        environment: "dev",
        connectors: &specs(),
        secrets: &secrets,
    })
}

/// Loads these files.
pub(crate) fn load(files: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    load_at(repository(files).path())
}

/// Loads files that are right.
#[track_caller]
pub(crate) fn loaded(files: &[(&str, &str)]) -> Loaded {
    load(files).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

/// Every problem of these files, warnings too, as people see them.
pub(crate) fn problems(files: &[(&str, &str)]) -> String {
    match load(files) {
        Ok(loaded) => shown(&loaded.warnings),
        Err(problems) => shown(&problems),
    }
}

/// Problems in one line each, with their suggestions.
pub(crate) fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let problems = match load(files) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let line = |problem: &Problem| match &problem.suggestion {
        Some(suggestion) => format!("{problem} [{suggestion}]"),
        None => problem.to_string(),
    };
    problems.iter().map(line).collect()
}

fn shown(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| script::diagnostics::render(problem, false))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// An HL7 message as it comes in.
pub(crate) fn incoming(text: &str) -> Incoming {
    Incoming {
        content: Content::Hl7(formats::hl7::Message::parse(text.to_owned()).expect("a message")),
        received_at: Timestamp(1_769_848_200_000_000),
        inbound: Arc::from("IB_TEST_ADT"),
        id: "1-1".to_owned(),
    }
}

/// Raw content as it comes in.
pub(crate) fn incoming_raw(text: &str) -> Incoming {
    Incoming {
        content: Content::Raw(text.to_owned().into()),
        ..incoming(ADT)
    }
}

/// A configuration with one handler `h` of this body, two outbounds and a passthrough.
pub(crate) fn handler(body: &str) -> Loaded {
    let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "inbound(\"IB_TEST_ADT\", mllp(port = 0), router = \"r\")\n\
         inbound(\"IB_TEST_SPLIT\", passthrough(), router = \"r\")\n\
         outbound(\"OB_A\", file(directory = \"a\"))\n\
         outbound(\"OB_B\", file(directory = \"b\"))\n\
         @router\ndef r(msg):\n    return [\"h\"]\n\
         @handler\ndef h(msg):\n{indented}"
    );
    loaded(&[("config/a.star", &text)])
}

/// Runs such a handler on a message.
pub(crate) fn handle(body: &str, message: &Incoming) -> Result<Handled, script::Fault> {
    handler(body).program.handle("h", message)
}

/// What such a handler sends of [`ADT`], as text.
#[track_caller]
pub(crate) fn sent(body: &str) -> Vec<String> {
    let handled = handle(body, &incoming(ADT)).unwrap_or_else(|fault| panic!("{fault}\n{}", fault.detail));
    let text = |send: script::Send| match send.body {
        Some(body) => String::from_utf8(body.to_vec()).expect("text"),
        None => "as received".to_owned(),
    };
    handled.sends.into_iter().map(text).collect()
}
