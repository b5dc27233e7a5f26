//! A whole feed, from the repository to what is sent.

use model::graph::{AckMode, Format, OnError, Ordering};

use crate::support::{self, ADT};

const FEED: &str = r#"
inbound("IB_ACME_ADT", mllp(port = 2600), router = "acme_adt_router")
outbound("OB_ACME_ADT", mllp(host = env("acme_adt_host"), port = env("acme_adt_port", int)))

@router
def acme_adt_router(msg):
    return ["acme_adt_handler"]

@handler
def acme_adt_handler(msg):
    if msg["MSH-9.2"] not in ("A01", "A04", "A08"):
        return None                      # counted and logged as filtered
    msg["MSH-5"] = "EPIC"
    return send("OB_ACME_ADT", msg)
"#;
const VALUES: &str = "acme_adt_host = \"10.0.0.1\"\nacme_adt_port = 2601\n";

fn feed() -> script::Loaded {
    support::loaded(&[("config/adt.star", FEED), ("environments/dev.toml", VALUES)])
}

#[test]
fn the_feed_of_the_specification_loads_without_a_warning() {
    let loaded = feed();
    assert_eq!(loaded.warnings, []);
    let inbound = &loaded.graph.inbounds["IB_ACME_ADT"];
    assert_eq!(inbound.router, "acme_adt_router");
    assert_eq!(
        (inbound.format, inbound.ack, inbound.strict),
        (Format::Hl7, AckMode::OnCommit, false)
    );
    assert_eq!(inbound.connector.text("host"), "127.0.0.1");
    assert_eq!(
        (inbound.span.line, inbound.span.column, inbound.span.width),
        (2, 9, 13)
    );
    let outbound = &loaded.graph.outbounds["OB_ACME_ADT"];
    assert_eq!(
        (outbound.connector.text("host"), outbound.connector.int("port")),
        ("10.0.0.1", Some(2601))
    );
    assert_eq!(
        (&outbound.ordering, outbound.concurrency, outbound.on_error),
        (&Ordering::Fifo, 1, OnError::Continue)
    );
    assert_eq!(
        loaded.graph.routers["acme_adt_router"].mentions,
        ["acme_adt_handler"]
    );
    assert_eq!(
        loaded.graph.handlers["acme_adt_handler"].mentions,
        ["OB_ACME_ADT"]
    );
    assert_eq!(loaded.graph.handlers["acme_adt_handler"].span.line, 10);
}

#[test]
fn the_feed_of_the_specification_routes_filters_and_transforms() {
    let program = feed().program;
    let message = support::incoming(ADT);
    let routed = program.route("acme_adt_router", &message).expect("an answer");
    assert_eq!(
        routed.handlers.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["acme_adt_handler"]
    );
    let handled = program.handle("acme_adt_handler", &message).expect("an answer");
    let send = &handled.sends[0];
    assert_eq!(&*send.destination, "OB_ACME_ADT");
    let expected = ADT.replace("RECEIVER", "EPIC");
    assert_eq!(send.body.as_deref(), Some(expected.as_bytes()));
    let key = send.message.as_ref().and_then(|message| {
        message
            .get_str("PID-3.1")
            .ok()
            .flatten()
            .map(|text| text.into_owned())
    });
    assert_eq!(key.as_deref(), Some("1001"));
    let other = support::incoming(&ADT.replace("ADT^A01", "ADT^A31"));
    assert!(
        program
            .handle("acme_adt_handler", &other)
            .expect("an answer")
            .sends
            .is_empty()
    );
}

#[test]
fn all_ways_to_declare_functions_work() {
    let loaded = support::loaded(&[
        (
            "config/_more.star",
            "def shared(msg):\n    return send(\"OB_A\", msg)\nTARGETS = [\"h2\", \"h3\"]\n",
        ),
        (
            "config/a.star",
            r#"load("_more.star", "shared", "TARGETS")
inbound("IB_A", timer(), router = "all")
outbound("OB_A", file(directory = "x"))

@router("all")
def any_name(msg):
    return ["h1"] + TARGETS

@handler(name = "h1")
def first(msg): return send("OB_A", msg)

def second(msg): return None
handler(second, "h2")
handler(shared, name = "h3")
"#,
        ),
    ]);
    assert_eq!(loaded.warnings, []);
    assert_eq!(
        loaded.graph.handlers.keys().collect::<Vec<_>>(),
        ["h1", "h2", "h3"]
    );
    assert_eq!(loaded.graph.routers["all"].mentions, ["h1", "h2", "h3"]);
    assert_eq!(loaded.graph.handlers["h3"].mentions, ["OB_A"]);
    let routed = loaded
        .program
        .route("all", &support::incoming(ADT))
        .expect("an answer");
    assert_eq!(routed.handlers.len(), 3);
    assert_eq!(
        loaded
            .program
            .handle("h3", &support::incoming(ADT))
            .expect("an answer")
            .sends
            .len(),
        1
    );
}

#[test]
fn connections_can_be_made_in_loops_and_by_functions() {
    let loaded = support::loaded(&[
        (
            "config/_partner.star",
            "def partner(name, port):\n    outbound(\"OB_\" + name, mllp(host = \"h\", port = port))\n",
        ),
        (
            "config/a.star",
            "load(\"_partner.star\", \"partner\")\nfor i in range(3):\n    partner(\"P%d\" % i, 2600 + i)\n",
        ),
    ]);
    let ports: Vec<_> = loaded
        .graph
        .outbounds
        .values()
        .map(|outbound| outbound.connector.int("port"))
        .collect();
    assert_eq!(ports, [Some(2600), Some(2601), Some(2602)]);
}

#[test]
fn the_same_program_runs_on_many_threads_at_once() {
    let program = feed().program;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let handled = program
                        .handle("acme_adt_handler", &support::incoming(ADT))
                        .expect("an answer");
                    assert_eq!(handled.sends.len(), 1);
                }
            });
        }
    });
}
