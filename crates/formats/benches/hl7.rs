//! Parsing, reading and editing, beside the best crates for it, in one run:
//! `cargo bench -p formats --bench hl7`. The closing table gives ratios.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints and stops at the first fault"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Criterion;
use formats::hl7::{Message, Path, ack, peek};

const READS: [&str; 5] = ["MSH-9.2", "MSH-10", "PID-3.1", "PID-5.2", "PV1-3.1"];
const SETS: [(&str, &str); 3] = [("MSH-5", "TARGET"), ("PID-19", "X1"), ("PV1-3.4", "WEST")];

/// About 1 KB, made up.
fn adt() -> String {
    [
        "MSH|^~\\&|ADMIT|NORTH|ENGINE|HUB|20260102030405||ADT^A01^ADT_A01|MSG00000001|P|2.5.1|||AL|NE||UNICODE UTF-8",
        "EVN|A01|20260102030405|||OP01^EXAMPLE^OLGA^^^^^^NORTH|20260102030000",
        "PID|1||T000123^^^NORTH^MR~X99887^^^PLAN^PI||SAMPLE^JANE^Q^^MS^^L||19800101|F||2106-3^WHITE^HL70005|1 TEST STREET^APT 2^EXAMPLETON^OH^44101^USA^H||^PRN^PH^^1^555^0100001|^WPN^PH^^1^555^0100002|EN|M|NON|T000123-1^^^NORTH^AN|||||EXAMPLETON|N|1",
        "PD1|||NORTH CLINIC^L^1001|D100^DOCTOR^DAN^^^DR^^^NORTH",
        "NK1|1|SAMPLE^JOHN^^^MR|SPO^SPOUSE^HL70063|1 TEST STREET^APT 2^EXAMPLETON^OH^44101^USA|^PRN^PH^^1^555^0100003||EC",
        "PV1|1|I|W4^401^A^NORTH^^BED|R|||D100^DOCTOR^DAN^^^DR|D200^REFERRER^RITA^^^DR||MED||||1|A0||D100^DOCTOR^DAN^^^DR|IP|V000123^^^NORTH^VN|SELF||||||||||||||||||HOME|||NORTH||ADM|||20260102030000",
        "AL1|1|DA|P01^EXAMPLICILLIN^L|MO|RASH|20200101",
        "DG1|1||I10^EXAMPLE DIAGNOSIS^I10|EXAMPLE DIAGNOSIS|20260102|A",
        "",
    ]
    .join("\r")
}

/// About 10 KB, made up.
fn oru() -> String {
    let mut text = adt().replace("ADT^A01^ADT_A01", "ORU^R01^ORU_R01");
    let mut n = 0;
    while text.len() < 10_000 {
        n += 1;
        text += &format!(
            "OBX|{n}|NM|{}-4^Made up analyte {n}^LN^{n}^Local name^L||{}.{}|mmol/L^millimole per litre^UCUM|3.5-5.1|N|||F|||20260102030000||TECH^EXAMPLE^TESS|||20260102030500\r",
            2000 + n,
            n % 7,
            n % 10
        );
    }
    text
}

struct Subject {
    raw: Bytes,
    reads: Vec<Path>,
    sets: Vec<(Path, &'static str)>,
    er7_reads: Vec<er7::Path>,
    places: Vec<(&'static str, usize, Option<usize>)>,
}

impl Subject {
    fn new(raw: String) -> Subject {
        Subject {
            raw: raw.into(),
            reads: READS.map(|p| p.parse().unwrap()).to_vec(),
            sets: SETS.map(|(p, v)| (p.parse().unwrap(), v)).to_vec(),
            er7_reads: READS.map(|p| er7::Path::parse(p).unwrap()).to_vec(),
            places: vec![
                ("MSH", 9, Some(2)),
                ("MSH", 10, None),
                ("PID", 3, Some(1)),
                ("PID", 5, Some(2)),
                ("PV1", 3, Some(1)),
            ],
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.raw).unwrap()
    }

    fn own_parse(&self) -> Message {
        Message::parse(self.raw.clone()).unwrap()
    }

    fn own_reads(&self) -> usize {
        let message = self.own_parse();
        self.reads.iter().map(|p| message.get(p).unwrap().len()).sum()
    }

    fn own_edits(&self) -> usize {
        let mut message = self.own_parse();
        let read: usize = self.reads.iter().map(|p| message.get(p).unwrap().len()).sum();
        for (path, value) in &self.sets {
            message.set(path, value).unwrap();
        }
        read + message.encode().unwrap().len()
    }

    fn er7_reads(&self) -> usize {
        let message = er7::parse(self.text()).unwrap();
        self.er7_reads
            .iter()
            .map(|p| message.query_path_raw(p)[0].len())
            .sum()
    }

    fn er7_edits(&self) -> usize {
        let mut message = er7::parse(self.text()).unwrap();
        let read: usize = self
            .er7_reads
            .iter()
            .map(|p| message.query_path_raw(p)[0].len())
            .sum();
        let separators = message.separators;
        for (name, field, value) in [("MSH", 5, "TARGET"), ("PID", 18, "X1"), ("PV1", 3, "WEST")] {
            let field = message.segment_at_mut(name, 1).unwrap().field_mut(field).unwrap();
            let component = &mut field.repetitions[0].components[0];
            component.subcomponents[0].set(value, &separators);
        }
        read + message.to_er7().len()
    }

    fn hl7_parser_reads(&self) -> usize {
        let message = hl7_parser::Message::parse(self.text()).unwrap();
        let read = |(name, field, component): (&str, usize, Option<usize>)| {
            let field = message.segment(name).unwrap().field(field).unwrap();
            match component {
                Some(c) => field.repeat(1).unwrap().component(c).unwrap().raw_value().len(),
                None => field.raw_value().len(),
            }
        };
        self.places.iter().copied().map(read).sum()
    }
}

/// The fastest of many rounds: what the code takes when nothing disturbs it.
fn best<T>(mut f: impl FnMut() -> T) -> Duration {
    let mut best = Duration::MAX;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(400) {
        let round = Instant::now();
        for _ in 0..50 {
            black_box(f());
        }
        best = best.min(round.elapsed() / 50);
    }
    best
}

fn main() {
    let subjects = [("ADT", Subject::new(adt())), ("ORU", Subject::new(oru()))];
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for (name, s) in &subjects {
        let mut group = criterion.benchmark_group(format!("{name} {} bytes", s.raw.len()));
        group.bench_function("peek", |b| {
            b.iter(|| peek(black_box(&s.raw)).unwrap().control_id().len())
        });
        group.bench_function("parse", |b| b.iter(|| s.own_parse()));
        group.bench_function("parse + 5 reads", |b| b.iter(|| s.own_reads()));
        group.bench_function("parse + 5 reads + 3 sets + encode", |b| b.iter(|| s.own_edits()));
        group.bench_function("acknowledge", |b| {
            b.iter(|| {
                ack::build(
                    peek(&s.raw).ok().as_ref(),
                    ack::Code::AA,
                    None,
                    "H1",
                    "20260102030405",
                )
            });
        });
        group.finish();
    }
    criterion.final_summary();

    println!("\nbest of many rounds, microseconds\n");
    println!(
        "{:<28}{:>10}{:>10}{:>12}{:>22}",
        "", "formats", "er7", "hl7-parser", "best crate / formats"
    );
    for (name, s) in &subjects {
        let (own, er7, hl7) = (
            best(|| s.own_reads()),
            best(|| s.er7_reads()),
            best(|| s.hl7_parser_reads()),
        );
        row(&format!("{name} {} B, 5 reads", s.raw.len()), own, er7, Some(hl7));
        row(
            &format!("{name} 5 reads 3 sets encode"),
            best(|| s.own_edits()),
            best(|| s.er7_edits()),
            None,
        );
    }
}

fn row(what: &str, own: Duration, er7: Duration, hl7: Option<Duration>) {
    let us = |d: Duration| format!("{:.2}", d.as_secs_f64() * 1e6);
    let rival = hl7.map_or(er7, |h| h.min(er7));
    let ratio = rival.as_secs_f64() / own.as_secs_f64();
    println!(
        "{what:<28}{:>10}{:>10}{:>12}{ratio:>21.1}x",
        us(own),
        us(er7),
        hl7.map(us).unwrap_or_else(|| "-".into())
    );
}
