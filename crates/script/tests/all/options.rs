//! Options of connections and connectors: checked one by one, each fault with its place.

use std::time::Duration;

use model::connector::Value;
use model::graph::{AckMode, Format, OnError, Ordering};

use crate::support::{self, lines};

const ROUTER: &str = "@router\ndef r(msg): pass\n";

/// The problems of one more line under a router; unused routers aside.
#[track_caller]
fn check(line: &str, expected: &[&str]) {
    let text = format!("{ROUTER}inbound(\"IB_X\", timer(), router = \"r\")\n{line}\n");
    let found = lines(&[("config/a.star", &text)]);
    let found: Vec<String> = found
        .iter()
        .map(|line| line.replace("config/a.star:", ""))
        .collect();
    assert_eq!(found, expected, "{line}");
}

#[test]
fn every_option_is_checked_against_its_connector() {
    check(
        "outbound(\"OB_A\", mllp(host = \"h\", prot = 1))",
        &[
            "4:18: error[missing-option]: `mllp` needs `port`: a port (1 to 65535)",
            "4:35: error[unknown-option]: `mllp` has no option `prot` [did you mean `port`?]",
        ],
    );
    check(
        "outbound(\"OB_A\", mllp(host = 5, port = \"x\"))",
        &[
            "4:30: error[wrong-type]: `host` wants a text, not a whole number",
            "4:40: error[wrong-type]: `port` wants a port (1 to 65535), not a text",
        ],
    );
    check(
        "outbound(\"OB_A\", mllp(host = \"h\", port = 65536))",
        &["4:42: error[out-of-range]: `port` is 65536; a port goes from 1 to 65535"],
    );
    check(
        "inbound(\"IB_A\", file(directory = \"d\", after = \"mov\"), router = \"r\")",
        &["4:47: error[wrong-value]: `after` is one of move, delete [did you mean `move`?]"],
    );
    check(
        "inbound(\"IB_A\", mllp(port = 1, allow = [\"a\", 2]), router = \"r\")",
        &["4:40: error[wrong-type]: `allow` wants a list of texts only"],
    );
    check(
        "inbound(\"IB_A\", mllp(port = 1, idle = -1), router = \"r\")",
        &["4:39: error[out-of-range]: `idle` is no time"],
    );
    check(
        "outbound(\"OB_A\", timer())",
        &[
            "4:18: error[wrong-direction]: the connector `timer` cannot send: it does not go with `outbound` [use one of mllp, file]",
        ],
    );
    check(
        "outbound(\"OB_A\", mllp(host = \"h\", port = 1, password = \"hunter2\"))",
        &[
            "4:56: error[secret-in-file]: `password` looks like a secret and has its value in this file [put it in HOLDFAST_VALUE_PASSWORD (an environment variable of the service) and remove it here]",
        ],
    );
    check(
        "outbound(\"OB_A\", mllp(host = \"h\", port = 1, password = env(\"acme_password\")))",
        &[],
    );
    check(
        "outbound(\"OB_A\", mllp(\"h\", 1))",
        &[
            "4:18: error[evaluation]: `mllp` takes its options by name: `mllp(option = value)` [what stands after it in this file is checked once this is corrected]",
        ],
    );
}

#[test]
fn every_option_of_a_connection_is_checked() {
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), orderin = \"fifo\", on_error = \"halt\", concurrency = 0)",
        &[
            "4:41: error[unknown-option]: `outbound` has no option `orderin` [did you mean `ordering`?]",
            "4:70: error[wrong-value]: `on_error` of `outbound` is one of continue, stop [known: continue, stop]",
            "4:92: error[out-of-range]: `concurrency` of `outbound` is 0; it goes from 1 to 4096",
        ],
    );
    check(
        "inbound(\"IB_A\", timer())",
        &["4:1: error[missing-option]: `inbound` needs `router`: the name of a router"],
    );
    check(
        "inbound(\"IB_A\", 5, router = \"r\", strict = 1)",
        &[
            "4:17: error[wrong-type]: `connector` of `inbound` wants a connector, such as `mllp(...)`, not a whole number",
            "4:43: error[wrong-type]: `strict` of `inbound` wants True or False, not a whole number",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), retry = retry(0, backof = 1, jitter = 2))",
        &[
            "4:55: error[out-of-range]: `max_attempts` of `retry` is 0; it goes from 1 to 1000000",
            "4:58: error[unknown-option]: `retry` has no option `backof` [did you mean `backoff`?]",
            "4:79: error[out-of-range]: `jitter` of `retry` is 2; it goes from 0 to 1",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), partition = \"PID-3\", ordering = \"lifo\")",
        &[
            "4:53: error[wrong-value]: `partition` does not go with the order `lifo` [remove one of the two: a partition is order per key]",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), concurrency = 4)",
        &[
            "4:55: error[wrong-value]: `concurrency` above 1 does not go with the order `fifo` [add `partition = \"PID-3.1\"` to keep order per patient, or `ordering = \"unordered\"`]",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), partition = \"PID\")",
        &[
            "4:53: error[bad-path]: `PID` is a whole segment; a partition is one value [name a field, such as `PID-3.1`]",
        ],
    );
    check(
        "outbound(\"PARTNER\", file(directory = \"d\"))",
        &[
            "4:10: warning[naming]: `PARTNER` does not follow the naming of connections: OB_PARTNER_TYPE [call it `OB_PARTNER`]",
        ],
    );
    check(
        "outbound(\"OB A\", file(directory = \"d\"))",
        &["4:10: error[bad-name]: a connection's name has 1 to 64 letters, digits, `_`, `-` or `.`"],
    );
    check(
        "handler(lambda msg: None, \"change \")",
        &[
            "4:1: error[bad-name]: a handler's name has 1 to 64 letters, digits, `_`, `-` or `.`",
            "4:1: warning[unused-handler]: no router names the handler `change `",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), reply_to = \"IB_X\")",
        &[
            "4:52: error[bad-reply]: replies go to an inbound with the connector `loopback()`; `IB_X` has `timer` [declare `inbound(\"IB_X\", loopback(), router = \"...\")`]",
        ],
    );
    check(
        "outbound(\"OB_A\", file(directory = \"d\"), reply_to = \"IB_Y\")",
        &["4:52: error[unknown-inbound]: no inbound is named `IB_Y` [did you mean `IB_X`?]"],
    );
    check(
        "outbound(\"OB_A\", file(directory = env(\"folder\")))",
        &[
            "4:35: error[undefined-value]: `folder` is not defined in environments/dev.toml [add `folder = ...` to environments/dev.toml, set HOLDFAST_VALUE_FOLDER, or give a default]",
        ],
    );
}

#[test]
fn what_is_left_of_a_message_is_not_kept_for_a_shorter_time_than_its_bodies() {
    check(
        "inbound(\"IB_A\", timer(), router = \"r\", retention_days = 30, metadata_days = 7)",
        &[
            "4:77: error[out-of-range]: `metadata_days` is shorter than `retention_days` [`retention_days` says when bodies go, and `metadata_days`, if it is longer, when the rest does]",
        ],
    );
    let text = format!(
        "{ROUTER}
inbound(\"IB_A\", loopback(), router = \"r\", retention_days = 7, metadata_days = 365)
inbound(\"IB_B\", loopback(), router = \"r\", metadata_days = 0)
"
    );
    let toml = "[[inbound]]\nname = \"IB_C\"\nloopback = {}\nrouter = \"r\"\nretention_days = 7\nmetadata_days = 8\n";
    let graph = support::loaded(&[("config/a.star", &text), ("config/connections.toml", toml)]).graph;
    let days = |name: &str| {
        let inbound = &graph.inbounds[name];
        (inbound.retention_days, inbound.metadata_days)
    };
    assert_eq!(days("IB_A"), (Some(7), Some(365)));
    assert_eq!(days("IB_B"), (None, Some(0)));
    assert_eq!(days("IB_C"), (Some(7), Some(8)));
}

#[test]
fn search_keys_are_names_and_paths() {
    for (keys, expected) in [
        ("{\"mrn\": \"PID-3.1\", \"order\": \"ORC(2)-2.1\"}", ""),
        ("{}", ""),
        (
            "{\"mrn\": \"PID\"}",
            "error[bad-path]: the key `mrn`: `PID` is a whole segment; a key is one value [name a field, such as `PID-3.1`]",
        ),
        (
            "{\"MRN\": \"PID-3.1\"}",
            "error[wrong-value]: `MRN` is no name for a search key: it is 1 to 32 of the characters a-z, 0-9 and _, and begins with a letter [write `mrn`]",
        ),
        (
            "{\"mrn\": 3}",
            "error[wrong-type]: the key `mrn` wants an HL7 path, not a whole number",
        ),
        (
            "[\"PID-3.1\"]",
            "error[wrong-type]: `keys` of `inbound` wants a dict of names and HL7 paths, such as `{\"mrn\": \"PID-3.1\"}`, not a list",
        ),
        (
            "{\"k%d\" % n: \"PID-3.1\" for n in range(9)}",
            "error[out-of-range]: `keys` has 9 entries; it may have 8",
        ),
    ] {
        let problem = match expected {
            "" => vec![],
            text => vec![format!("4:47: {text}")],
        };
        let problem: Vec<&str> = problem.iter().map(String::as_str).collect();
        check(
            &format!("inbound(\"IB_A\", timer(), router = \"r\", keys = {keys})"),
            &problem,
        );
    }
    let line = "inbound(\"IB_A\", timer(), router = \"r\", keys = {\"mrn\": \"PID3.1\"})";
    let found = lines(&[("config/a.star", &format!("{ROUTER}{line}\n"))]).join("\n");
    assert!(
        found.contains("error[bad-path]: the key `mrn`") && found.contains("[did you mean `PID-3.1`?]"),
        "{found}"
    );
}

#[test]
fn search_keys_are_the_patients_number_unless_said_otherwise() {
    let text = format!(
        "{ROUTER}
inbound(\"IB_A\", loopback(), router = \"r\")
inbound(\"IB_B\", loopback(), router = \"r\", format = \"raw\")
inbound(\"IB_C\", loopback(), router = \"r\", keys = {{}})
"
    );
    let toml =
        "[[inbound]]\nname = \"IB_D\"\nloopback = {}\nrouter = \"r\"\nkeys = { order = \"ORC-2.1\" }\n";
    let graph = support::loaded(&[("config/a.star", &text), ("config/connections.toml", toml)]).graph;
    let keys = |name: &str| {
        let keys = graph.inbounds[name].keys.iter();
        keys.map(|(name, path)| format!("{name}={path}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys("IB_A"), ["mrn=PID-3.1"]);
    assert!(keys("IB_B").is_empty() && keys("IB_C").is_empty());
    assert_eq!(keys("IB_D"), ["order=ORC-2.1"]);
}

#[test]
fn given_options_and_defaults_fill_the_graph() {
    let text = format!(
        "{ROUTER}\
inbound(\"IB_A\", mllp(port = 0, idle = 2.5, allow = [\"10.0.0.1\"]), router = \"r\", strict = True, ack = \"none\", partition = \"PID-3.1\")
inbound(\"IB_R\", loopback(), router = \"r\", format = \"raw\")
outbound(\"OB_A\", mllp(host = \"h\", port = 1), partition = \"PID-3.1\", reply_to = \"IB_R\", on_error = \"stop\",
    retry = retry(max_attempts = 5, backoff = 0.5, backoff_max = 10, factor = 1.5, jitter = 0))
outbound(\"OB_U\", file(directory = \"d\"), ordering = \"unordered\", concurrency = 4)
outbound(\"OB_P\", file(directory = \"d\"), ordering = \"priority\")
"
    );
    let graph = support::loaded(&[("config/a.star", &text)]).graph;
    let inbound = &graph.inbounds["IB_A"];
    assert_eq!(
        (inbound.strict, inbound.ack, inbound.format),
        (true, AckMode::None, Format::Hl7)
    );
    assert_eq!(
        inbound.ordering,
        Ordering::Partitioned {
            path: "PID-3.1".into()
        }
    );
    assert_eq!(
        inbound.connector.duration("idle"),
        Some(Duration::from_millis(2_500))
    );
    assert_eq!(inbound.connector.list("allow"), ["10.0.0.1"]);
    assert_eq!(graph.inbounds["IB_R"].format, Format::Raw);
    let outbound = &graph.outbounds["OB_A"];
    assert_eq!((outbound.concurrency, outbound.on_error), (16, OnError::Stop));
    assert_eq!(outbound.reply_to.as_deref(), Some("IB_R"));
    assert_eq!(outbound.retry.max_attempts, Some(5));
    assert_eq!(
        (outbound.retry.backoff, outbound.retry.backoff_max),
        (Duration::from_millis(500), Duration::from_secs(10))
    );
    assert_eq!(
        (outbound.retry.factor_permille, outbound.retry.jitter_permille),
        (1_500, 0)
    );
    assert_eq!(outbound.connector.options.get("password"), Some(&Value::None));
    assert_eq!(
        (
            &graph.outbounds["OB_U"].ordering,
            graph.outbounds["OB_U"].concurrency
        ),
        (&Ordering::Unordered, 4)
    );
    assert_eq!(
        (
            &graph.outbounds["OB_P"].ordering,
            graph.outbounds["OB_P"].concurrency
        ),
        (&Ordering::Priority, 1)
    );
}

#[test]
fn connections_in_toml_go_through_the_same_checks() {
    let star = ("config/a.star", ROUTER);
    let values = ("environments/dev.toml", "partner = \"10.0.0.9\"\nport = 2700\n");
    let good = r#"
[[inbound]]
name = "IB_T"
router = "r"
mllp = { port = { env = "port" } }

[[outbound]]
name = "OB_T"
retry = { max_attempts = 3 }

[outbound.mllp]
host = { env = "partner" }
port = 2600
timeout = 2.5
"#;
    let graph = support::loaded(&[star, values, ("config/connections.toml", good)]).graph;
    assert_eq!(graph.inbounds["IB_T"].connector.int("port"), Some(2700));
    assert_eq!(graph.outbounds["OB_T"].connector.text("host"), "10.0.0.9");
    assert_eq!(
        graph.outbounds["OB_T"].connector.duration("timeout"),
        Some(Duration::from_millis(2_500))
    );
    assert_eq!(graph.outbounds["OB_T"].retry.max_attempts, Some(3));

    let bad = "[[inbond]]\nname = 1\n[[outbound]]\nname = \"OB_T\"\nmllp = { hosts = \"h\", port = 1, password = \"x\" }\nconnector = \"mllp\"\n";
    let found = lines(&[star, values, ("config/connections.toml", bad)]);
    let found: Vec<String> = found
        .iter()
        .filter(|line| line.starts_with("config/conn"))
        .map(|line| line.replace("config/connections.toml:", ""))
        .collect();
    assert_eq!(
        found,
        [
            "1:3: error[unknown-key]: `inbond` is neither `inbound` nor `outbound` [did you mean `inbound`?]",
            "5:8: error[missing-option]: `mllp` needs `host`: a text",
            "5:10: error[unknown-option]: `mllp` has no option `hosts` [did you mean `host`?]",
            "5:44: error[secret-in-file]: `password` looks like a secret and has its value in this file [put it in HOLDFAST_VALUE_PASSWORD (an environment variable of the service) and remove it here]",
            "6:1: error[unknown-option]: a connector is a key of its own: `mllp = { port = 2600 }`",
        ]
    );
}
