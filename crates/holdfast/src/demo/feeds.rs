//! What the demonstration sends, and what must come of it. The expectations are written here once more,
//! apart from the feeds' own functions, so that the account is not the node's own word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bench::control_id::{ControlId, RunId};
use bench::payload::Pool;
use bench::reconcile::{Expect, Reconciliation, Sent, reconcile};
use bench::sender::{self, Pace, Record, Sender, Until};
use bench::sink::{Answer, PortRecord, Sink};
use bytes::Bytes;
use formats::hl7::Message;
use formats::hl7::generate::{Generator, Kind};

use super::Plan;

/// The partners' ports, by place: what listens there.
pub(super) const PORTS: [&str; 4] = ["OB_EMR_ADT", "OB_EMR_ORU", "OB_LAB_ADT", "OB_ARCHIVE_ORU"];
const EMR_ADT: usize = 0;
const EMR_ORU: usize = 1;
const LAB_ADT: usize = 2;
const ARCHIVE: usize = 3;

/// What the laboratory wants to know.
const LAB_EVENTS: [&str; 9] = ["A01", "A02", "A03", "A04", "A08", "A11", "A13", "A31", "A40"];
const TRIGGERS: [&str; 12] = [
    "A01", "A02", "A03", "A04", "A05", "A08", "A11", "A13", "A20", "A28", "A31", "A40",
];

/// Messages of which each feed sends in turn.
const POOL: usize = 240;
const LANES: u16 = 4;
const PER_FILE: u64 = 100;

/// The ports of one demonstration.
pub(super) struct Ports {
    partners: Vec<u16>,
    adt: u16,
    oru: u16,
    pub(super) api: u16,
}

impl Ports {
    /// Takes free ones for the node's listeners.
    pub(super) fn choose(partners: &[u16]) -> anyhow::Result<Ports> {
        // Held together, so that they differ; free again a moment later.
        let held: Vec<std::net::TcpListener> = (0..3)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
            .collect::<Result<_, _>>()?;
        let port = |index: usize| anyhow::Ok(held[index].local_addr()?.port());
        Ok(Ports {
            partners: partners.to_vec(),
            adt: port(0)?,
            oru: port(1)?,
            api: port(2)?,
        })
    }

    /// `environments/dev.toml` of this demonstration.
    pub(super) fn environment(&self) -> String {
        let [emr_adt, emr_oru, lab_adt, archive] =
            [EMR_ADT, EMR_ORU, LAB_ADT, ARCHIVE].map(|place| self.partners[place]);
        let (adt, oru) = (self.adt, self.oru);
        format!(
            "reg_adt_port = {adt}\nlab_oru_port = {oru}\ndrop_folder = \"in\"\n\n\
             emr_host = \"127.0.0.1\"\nemr_adt_port = {emr_adt}\nemr_oru_port = {emr_oru}\n\
             lab_host = \"127.0.0.1\"\nlab_adt_port = {lab_adt}\narchive_host = \"127.0.0.1\"\narchive_port = {archive}\n"
        )
    }
}

/// One feed over MLLP.
struct Line {
    sender: Option<Sender>,
    record: Option<Record>,
    /// What the messages of its pool lead to: how many deliveries at each port.
    expected: Vec<[u32; PORTS.len()]>,
    last: sender::Progress,
}

/// Everything that is sent.
pub(super) struct Feeds {
    adt: Line,
    oru: Line,
    files: Files,
}

/// The file feed: batch files, each message with a control id of its own.
struct Files {
    run: RunId,
    messages: u64,
    /// The folder is empty: all files were taken.
    folder: PathBuf,
}

/// What has happened so far, for the picture.
#[derive(Clone, Copy, Default)]
pub(super) struct View {
    pub(super) adt: u64,
    pub(super) oru: u64,
    pub(super) files: u64,
    pub(super) arrived: [u64; PORTS.len()],
}

impl View {
    /// Messages that the node answered for.
    pub(super) fn acknowledged(&self) -> u64 {
        self.adt + self.oru
    }
}

impl Feeds {
    /// Writes the files and starts the senders.
    pub(super) fn start(plan: &Plan, ports: &Ports) -> anyhow::Result<Feeds> {
        let files = (plan.messages / 33 / PER_FILE).max(1) * PER_FILE.min(plan.messages / 10);
        let oru = plan.messages * 3 / 10;
        let adt = plan.messages - oru - files;
        let mut generator = Generator::new(20_260_105);
        let adt_pool = (0..POOL).map(|index| adt_message(&mut generator, TRIGGERS[index % TRIGGERS.len()]));
        let adt_pool = adt_pool.collect::<anyhow::Result<Vec<_>>>()?;
        let oru_pool = (0..POOL)
            .map(|index| oru_message(&mut generator, index))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Feeds {
            files: Files::write(&plan.directory.join("in"), files, &oru_pool)?,
            adt: Line::start(ports.adt, adt, adt_pool, adt_expectation)?,
            oru: Line::start(ports.oru, oru, oru_pool, oru_expectation)?,
        })
    }

    /// Takes over the records of senders that have ended.
    pub(super) async fn collect(&mut self) {
        for line in [&mut self.adt, &mut self.oru] {
            line.collect().await;
        }
    }

    /// Whether everything was sent and answered, and every file taken.
    pub(super) fn are_sent(&self) -> bool {
        self.adt.record.is_some() && self.oru.record.is_some() && self.files.are_taken()
    }

    /// What has happened so far.
    pub(super) fn view(&self, sink: &Sink) -> View {
        let (adt, oru) = (self.adt.progress(), self.oru.progress());
        let received = sink.received();
        let count = |port: usize| received.get(port).map_or(0, |port| port.arrivals.len() as u64);
        View {
            adt: adt.acknowledged,
            oru: oru.acknowledged,
            files: if self.files.are_taken() {
                self.files.messages
            } else {
                0
            },
            arrived: std::array::from_fn(count),
        }
    }

    /// Deliveries still owed.
    pub(super) fn missing(&self, sink: &Sink) -> u64 {
        let received = sink.received();
        let (adt, oru) = (self.adt.judge(&received), self.oru.judge(&received));
        let owed = |judged: Option<Reconciliation>| judged.map_or(1, |judged| judged.totals.missing);
        owed(adt) + owed(oru) + self.files.missing(&received)
    }

    /// The judgement of each feed.
    pub(super) fn judge(&self, received: &[PortRecord]) -> Vec<Judged> {
        let lines = [("ADT over MLLP", &self.adt), ("ORU over MLLP", &self.oru)];
        let mut judged: Vec<Judged> = lines
            .into_iter()
            .filter_map(|(name, line)| Some(Judged::of_line(name, &line.judge(received)?)))
            .collect();
        judged.push(self.files.judge(received));
        judged
    }
}

/// What one feed came to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Judged {
    pub(super) feed: String,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) resent: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) repeated: u64,
    pub(super) inversions: u64,
    pub(super) unexpected: u64,
    pub(super) missing: u64,
}

impl Judged {
    fn of_line(name: &str, judged: &Reconciliation) -> Judged {
        let totals = &judged.totals;
        Judged {
            feed: name.to_owned(),
            sent: totals.sent,
            acknowledged: totals.acknowledged,
            resent: totals.resent,
            expected: totals.expected,
            delivered: totals.delivered,
            repeated: totals.repeated,
            inversions: totals.inversions + totals.late_repeats,
            unexpected: totals.unexpected,
            missing: totals.missing,
        }
    }
}

impl Line {
    fn start(
        port: u16,
        count: u64,
        pool: Vec<Bytes>,
        expect: fn(&Message) -> [u32; PORTS.len()],
    ) -> anyhow::Result<Line> {
        let expected = pool
            .iter()
            .map(|body| Ok(expect(&Message::parse(body.clone())?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let options = sender::Options {
            lanes: LANES,
            pace: Pace::Closed { window: 8 },
            until: Until::Count(count),
            ..sender::Options::new(format!("127.0.0.1:{port}"), Pool::of(pool)?)
        };
        Ok(Line {
            sender: Some(Sender::start(options)?),
            record: None,
            expected,
            last: sender::Progress::default(),
        })
    }

    fn progress(&self) -> sender::Progress {
        self.sender.as_ref().map_or(self.last, Sender::progress)
    }

    async fn collect(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        let patience = std::time::Duration::from_millis(1);
        if tokio::time::timeout(patience, sender.ended()).await.is_err() {
            return;
        }
        if let Some(sender) = self.sender.take() {
            self.last = sender.progress();
            self.record = Some(sender.finish().await);
        }
    }

    fn judge(&self, received: &[PortRecord]) -> Option<Reconciliation> {
        let expected =
            |sent: Sent, port: usize| self.expected[sent.sequence as usize % self.expected.len()][port];
        self.record
            .as_ref()
            .map(|record| reconcile(record, received, &Expect::Exactly(&expected)))
    }
}

impl Files {
    fn write(folder: &Path, messages: u64, pool: &[Bytes]) -> anyhow::Result<Files> {
        let run = RunId::random();
        let mut sequence = 0_u32;
        let mut files = 0;
        while u64::from(sequence) < messages {
            let mut batch = b"FHS|^~\\&|DROP|HOSP\rBHS|^~\\&|DROP|HOSP\r".to_vec();
            let pool = Pool::of(pool.iter().cloned())?;
            let mut count = 0;
            while count < PER_FILE && u64::from(sequence) < messages {
                pool.render(
                    &ControlId {
                        run,
                        lane: 0,
                        sequence,
                        part: 0,
                    },
                    &mut batch,
                );
                sequence += 1;
                count += 1;
            }
            batch.extend_from_slice(format!("BTS|{count}\rFTS|1\r").as_bytes());
            files += 1;
            let hidden = folder.join(format!(".batch-{files:03}.part"));
            std::fs::write(&hidden, batch).context("the drop folder cannot be written")?;
            std::fs::rename(&hidden, folder.join(format!("batch-{files:03}.hl7")))?;
        }
        Ok(Files {
            run,
            messages,
            folder: folder.to_owned(),
        })
    }

    fn are_taken(&self) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return false;
        };
        !entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".hl7"))
    }

    fn judge(&self, received: &[PortRecord]) -> Judged {
        let mut copies = BTreeMap::new();
        let mut unexpected = 0;
        for (port, record) in received.iter().enumerate() {
            for arrival in record
                .arrivals
                .iter()
                .filter(|arrival| arrival.id.run == self.run)
            {
                match (port, arrival.answer) {
                    (ARCHIVE, Answer::Accepted) => *copies.entry(arrival.id.sequence).or_insert(0_u64) += 1,
                    (ARCHIVE, _) => {}
                    _ => unexpected += 1,
                }
            }
        }
        let delivered = copies.len() as u64;
        Judged {
            feed: "batch files".to_owned(),
            sent: self.messages,
            acknowledged: if self.are_taken() { self.messages } else { 0 },
            expected: self.messages,
            delivered,
            repeated: copies.values().sum::<u64>() - delivered,
            unexpected,
            missing: self.messages.saturating_sub(delivered),
            ..Judged::default()
        }
    }

    fn missing(&self, received: &[PortRecord]) -> u64 {
        self.judge(received).missing
    }
}

fn adt_message(generator: &mut Generator, trigger: &str) -> anyhow::Result<Bytes> {
    let kind = Kind::parse(&format!("ADT^{trigger}")).context("the generator knows all ADT triggers")?;
    Ok(generator.message(&kind))
}

/// A result message; every fifth is preliminary.
fn oru_message(generator: &mut Generator, index: usize) -> anyhow::Result<Bytes> {
    let kind = Kind::parse("ORU^R01").context("the generator knows ORU^R01")?;
    let mut message = Message::parse(generator.message(&kind))?;
    message.set(&"OBR-25".parse()?, if index % 5 == 4 { "P" } else { "F" })?;
    for number in 1..=message.segment_count(Some("OBX")) {
        message.set(&format!("OBX({number})-1").parse()?, &number.to_string())?;
    }
    Ok(message.encode()?)
}

fn adt_expectation(message: &Message) -> [u32; PORTS.len()] {
    let mut expected = [0; PORTS.len()];
    let header = message.header();
    let trigger = header.trigger();
    if trigger != "A20" {
        expected[EMR_ADT] = 1;
        expected[LAB_ADT] = u32::from(LAB_EVENTS.contains(&trigger));
    }
    expected
}

fn oru_expectation(message: &Message) -> [u32; PORTS.len()] {
    let mut expected = [0; PORTS.len()];
    let preliminary = message
        .get_str("OBR-25")
        .ok()
        .flatten()
        .is_some_and(|status| status == "P");
    if !preliminary {
        expected[EMR_ORU] = u32::try_from(message.segment_count(Some("OBX"))).unwrap_or(u32::MAX);
    }
    expected
}
