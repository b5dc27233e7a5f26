//! How fast functions run, alone and with the parse and encode around them, on one core.
//! `cargo bench -p script` prints messages per second.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use formats::hl7;
use model::Timestamp;
use model::connector::{Param, ParamKind, Spec};
use script::{Content, Incoming, Loaded, Request};

const FEED: &str = r#"
inbound("IB_ACME_ADT", tcp(port = 2600), router = "route")
outbound("OB_ACME_ADT", tcp(port = 2601))

@router
def route(msg):
    return ["five_edits"] if msg.type == "ADT" else []

@handler
def nothing(msg):
    return None

@handler
def five_edits(msg):
    if msg["MSH-9.2"] not in ("A01", "A04", "A08"):
        return None
    msg["MSH-5"] = "EPIC"
    msg["MSH-6"] = "NORTH"
    msg["PID-8"] = "U"
    msg["PID-11.5"] = "00000"
    msg["PV1-2"] = "O"
    return send("OB_ACME_ADT", msg)
"#;

/// About 1 KB, synthetic.
fn adt() -> String {
    let mut text = String::from(
        "MSH|^~\\&|SENDER|SITE|RECEIVER|PLACE|20260131083000||ADT^A01^ADT_A01|C000001|P|2.5.1|||AL|NE\r\
EVN|A01|20260131083000|||USER^Synthetic\r\
PID|1||1001^^^SITE^MR~2002^^^STATE^SS||Testa^Anna^B^^Ms||19800229|F||2106-3|1 Sample Street^^Town^ST^99999^USA||555-0100|555-0101|en|S|NON|ACC1001\r\
PD1||||1234^Sample^Doctor\r\
NK1|1|Testa^Bruno|SPO|1 Sample Street^^Town^ST^99999|555-0102\r\
PV1|1|I|W1^R1^B1^SITE||||1234^Sample^Doctor|5678^Other^Doctor||MED||||1|||1234^Sample^Doctor|INP|V1001|||||||||||||||||||||||||20260131083000\r",
    );
    for n in 1..=4 {
        text.push_str(&format!(
            "OBX|{n}|NM|8302-2^Body height^LN||17{n}|cm|150-200|N|||F|||20260131083000\r"
        ));
    }
    text.push_str("AL1|1|DA|1545^Penicillin^L|MO|Rash\rDG1|1||J10.1^Influenza^I10||20260131|A\r");
    text
}

fn load(feed: &str) -> Loaded {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("config");
    std::fs::create_dir(&path).expect("a directory");
    std::fs::write(path.join("a.star"), feed).expect("a file");
    let port = || Some(vec![Param::required("port", ParamKind::Port, "The port.")]);
    let specs = [Spec {
        name: "tcp",
        summary: "Bytes.",
        inbound: port(),
        outbound: port(),
    }];
    let secrets = BTreeMap::new();
    let request = Request {
        root: root.path(),
        environment: "dev",
        connectors: &specs,
        secrets: &secrets,
    };
    script::load(&request).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn incoming(text: &str) -> Incoming {
    Incoming {
        content: Content::Hl7(hl7::Message::parse(text.to_owned()).expect("a message")),
        received_at: Timestamp(1_769_848_200_000_000),
        inbound: Arc::from("IB_ACME_ADT"),
        id: "1-1".to_owned(),
    }
}

fn calls(criterion: &mut Criterion) {
    let text = adt();
    let program = load(FEED).program;
    let message = incoming(&text);
    let mut group = criterion.benchmark_group(format!("adt_{}_bytes", text.len()));
    group.throughput(Throughput::Elements(1));
    group.bench_function("router", |b| {
        b.iter(|| black_box(program.route("route", &message)))
    });
    group.bench_function("empty handler", |b| {
        b.iter(|| black_box(program.handle("nothing", &message)))
    });
    group.bench_function("handler with five edits, encoded", |b| {
        b.iter(|| black_box(program.handle("five_edits", &message)));
    });
    let bytes = bytes::Bytes::from(text.clone());
    group.bench_function("parse + handler with five edits, encoded", |b| {
        b.iter(|| {
            let content = Content::Hl7(hl7::Message::parse(bytes.clone()).expect("a message"));
            black_box(program.handle(
                "five_edits",
                &Incoming {
                    content,
                    ..message.clone()
                },
            ))
        });
    });
    group.finish();
}

/// Nanoseconds that this thread has spent on a core, where the system tells.
fn cpu_nanos() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Calls per second of processor time: what one core does, however busy the machine is.
fn cpu_rates(_criterion: &mut Criterion) {
    let text = adt();
    let program = load(FEED).program;
    let message = incoming(&text);
    let bytes = bytes::Bytes::from(text);
    let handled = || drop(black_box(program.handle("five_edits", &message)));
    let parsed = || {
        let content = Content::Hl7(hl7::Message::parse(bytes.clone()).expect("a message"));
        drop(black_box(program.handle(
            "five_edits",
            &Incoming {
                content,
                ..message.clone()
            },
        )));
    };
    let cases: [(&str, &dyn Fn()); 4] = [
        ("router", &|| drop(black_box(program.route("route", &message)))),
        ("empty handler", &|| {
            drop(black_box(program.handle("nothing", &message)))
        }),
        ("handler with five edits, encoded", &handled),
        ("parse + handler with five edits, encoded", &parsed),
    ];
    for (name, call) in cases {
        const CALLS: u32 = 200_000;
        let Some(start) = cpu_nanos() else { return };
        (0..CALLS).for_each(|_| call());
        let spent = cpu_nanos().unwrap_or(start).saturating_sub(start).max(1);
        let rate = u64::from(CALLS) * 1_000_000_000 / spent;
        let _ = writeln!(std::io::stdout(), "{name}: {rate} calls per CPU-second");
    }
}

/// 1,000 connections with their functions, in 100 files.
fn loading(criterion: &mut Criterion) {
    let root = tempfile::tempdir().expect("a directory");
    let config = root.path().join("config");
    std::fs::create_dir(&config).expect("a directory");
    for file in 0..100 {
        let mut text = String::new();
        for n in 0..5 {
            let number = file * 5 + n;
            let (inbound, outbound) = (10_000 + number, 20_000 + number);
            text.push_str(
                &FEED
                    .replace("five_edits", "handle")
                    .replace("@handler\ndef nothing(msg):\n    return None\n", "")
                    .replace("2600", &inbound.to_string())
                    .replace("2601", &outbound.to_string())
                    .replace("ACME", &format!("P{number}"))
                    .replace("route\"", &format!("route_{number}\""))
                    .replace("def route", &format!("def route_{number}"))
                    .replace("[\"handle\"]", &format!("[\"handle_{number}\"]"))
                    .replace("def handle", &format!("def handle_{number}")),
            );
        }
        std::fs::write(config.join(format!("f{file}.star")), text).expect("a file");
    }
    let port = || Some(vec![Param::required("port", ParamKind::Port, "The port.")]);
    let specs = [Spec {
        name: "tcp",
        summary: "Bytes.",
        inbound: port(),
        outbound: port(),
    }];
    let secrets = BTreeMap::new();
    let request = Request {
        root: root.path(),
        environment: "dev",
        connectors: &specs,
        secrets: &secrets,
    };
    let load = || script::load(&request).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(load().graph.inbounds.len() + load().graph.outbounds.len(), 1_000);
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("1000 connections", |b| {
        b.iter_batched(|| (), |()| load(), BatchSize::PerIteration)
    });
    group.finish();
}

criterion_group!(benches, cpu_rates, calls, loading);
criterion_main!(benches);
