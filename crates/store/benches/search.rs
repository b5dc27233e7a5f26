//! Searching a filled store, both backends: `cargo bench -p store --bench search`, or only one of them:
//! `... -- postgres`. `SEARCH_MESSAGES=10000000` fills it with so many (a small number unless given); ten
//! million need some 12 GB of disk beside the build, given back at the end.
//!
//! Messages are small (300 bytes), of 16 inbounds, a patient for every 50 messages, spread over 30 days; they
//! are processed, save 5 % filtered, one in 1,000 unrouted and one in 10,000 failed. Segments end after as many
//! messages as 256 MiB hold of 1 KB each, so that there are as many segments as a real store has. Each line
//! tells of one kind of search: the time of the first (on fresh connections, nothing prepared), the median and
//! the worst of all, each with other values.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use model::{Body, Disposition, MessageId, NameId, RowId, SendId, Timestamp};
use store::rows::{NewDisposition, NewMessage, NewOutcome, NewRouted, NewSend, OutcomeResult};
use store::views::MessageFilter;
use store::{Entry, Key, Keys, Store, Unit};

type Failure = Box<dyn std::error::Error>;

const MESSAGES: u64 = 100_000;
const BATCH: u64 = 2_000;
/// Of all kinds, five a message.
const SEGMENT_ROWS: u64 = 5 * 68_000;
const SPAN_MICROS: u64 = 30 * 24 * 3_600 * 1_000_000;
const BEGIN: i64 = 1_760_000_000_000_000;
const INBOUNDS: u64 = 16;
/// Searches of each kind.
const TIMES: u64 = 15;
const SEALING_MAX: Duration = Duration::from_secs(3_600);

const SERVER: &str =
    "shared_buffers = 2GB\nmax_wal_size = 4GB\nwal_compression = on\ncheckpoint_timeout = 15min";

/// What the message with a number is.
#[derive(Clone, Copy)]
struct Made {
    number: u64,
    of: u64,
}

impl Made {
    fn received_at(self) -> Timestamp {
        Timestamp(BEGIN + (u128::from(self.number) * u128::from(SPAN_MICROS) / u128::from(self.of)) as i64)
    }

    fn inbound(self) -> NameId {
        NameId((mixed(self.number) % INBOUNDS) as u32 + 1)
    }

    fn destination(self) -> NameId {
        NameId((mixed(self.number + 7) % INBOUNDS) as u32 + 101)
    }

    fn kind(self) -> &'static str {
        let kinds: [&str; 5] = match self.inbound().0 {
            1..=8 => ["ADT^A01", "ADT^A08", "ADT^A08", "ADT^A03", "ADT^A31"],
            _ => ["ORU^R01", "ORU^R01", "ORM^O01", "SIU^S12", "DFT^P03"],
        };
        match self.number % 100_000 {
            77 => "MDM^T02",
            _ => kinds[(mixed(self.number + 3) % 5) as usize],
        }
    }

    /// Of 50 messages, all over the time; the first hundred belong to nobody else.
    fn mrn(self) -> String {
        match self.number {
            0..100 => format!("OLD{}", self.number),
            number => format!("{}", 10_000_000 + mixed(number) % (self.of / 50).max(1)),
        }
    }

    fn end(self) -> Disposition {
        match mixed(self.number + 11) % 10_000 {
            0 => Disposition::Error,
            1..=10 => Disposition::Unrouted,
            11..=510 => Disposition::Filtered,
            _ => Disposition::Processed,
        }
    }
}

/// Numbers in no order (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn main() -> Result<(), Failure> {
    let messages = std::env::var("SEARCH_MESSAGES").ok();
    let messages = messages.map_or(Ok(MESSAGES), |text| text.parse())?.max(1_000);
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_asked = |word: &str| asked.is_empty() || asked.iter().any(|asked| asked == word);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if is_asked("sqlite") {
        let directory = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        let open = || {
            let mut options = store::sqlite::Options::new(directory.path());
            options.segment_rows_max = SEGMENT_ROWS;
            store::sqlite::open(options)
        };
        runtime.block_on(async {
            let store = open()?;
            filled("SQLite", &store, messages).await?;
            sealed(async || Ok((store.segment_count(), store.drained_count()))).await?;
            store.close().await?;
            drop(store);
            searched(&open()?, messages).await
        })?;
    }
    if is_asked("postgres") {
        let server = pgtest::Server::start(SERVER);
        let database = server.database();
        let open = || {
            let mut options = store::postgres::Options::new(database.url());
            options.segment_rows_max = SEGMENT_ROWS;
            store::postgres::open(options)
        };
        runtime.block_on(async {
            let store = open()?;
            filled("PostgreSQL", &store, messages).await?;
            sealed(async || Ok(store.segment_counts().await?)).await?;
            store.close().await?;
            drop(store);
            searched(&open()?, messages).await
        })?;
    }
    Ok(())
}

/// Batches of arrivals and handoffs; the next transaction ends them.
async fn filled(name: &str, store: &dyn Store, messages: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let term = store.acquire("bench").await?;
    let body = Body::from(vec![b'x'; 300]);
    let begun = Instant::now();
    let mut sent: Vec<(Disposition, MessageId, SendId)> = Vec::new();
    let mut number = 0;
    while number < messages || !sent.is_empty() {
        let fresh: Vec<Made> = (number..messages.min(number + BATCH))
            .map(|number| Made { number, of: messages })
            .collect();
        number += fresh.len() as u64;
        let mut units: Vec<Unit> = fresh.iter().map(|made| arrival(*made, &body)).collect();
        units.extend(
            sent.iter()
                .map(|(end, message, send)| ending(*end, *message, *send)),
        );
        let receipts = store.submit(term, units).await;
        sent.clear();
        for (made, receipt) in fresh.iter().zip(receipts) {
            let rows = receipt?.rows;
            sent.push((made.end(), MessageId(rows[0]), SendId(rows[2])));
        }
    }
    let rate = messages as f64 / begun.elapsed().as_secs_f64();
    writeln!(out, "{name}: {messages} messages, filled with {rate:.0} a second")?;
    Ok(())
}

/// Waits until every full segment is sealed and drained; asks for (segments, drained ones).
async fn sealed(count: impl AsyncFn() -> Result<(usize, usize), Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let (segments, drained) = count().await?;
        if drained + 1 >= segments {
            let waited = begun.elapsed().as_secs_f64();
            writeln!(
                std::io::stdout(),
                "{segments} segments, all sealed {waited:.1} s later"
            )?;
            return Ok(());
        }
        if begun.elapsed() > SEALING_MAX {
            return Err("the segments are not sealed".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn arrival(made: Made, body: &Body) -> Unit {
    let message = MessageId(RowId::ZERO);
    let mut keys = Keys::default();
    keys.add("mrn", &made.mrn());
    let arrived = NewMessage {
        inbound: made.inbound(),
        received_at: made.received_at(),
        control_id: Some(format!("MSG{:010}", made.number).into()),
        kind: Some(made.kind().into()),
        source: Some("127.0.0.1:50000".into()),
        parent: None,
        keys,
        body: body.clone(),
    };
    let routed = NewRouted {
        message,
        handlers: vec![NameId(50)],
    };
    let send = NewSend {
        message,
        handler: NameId(50),
        destination: made.destination(),
        priority: 0,
        partition: None,
        body: None,
    };
    Unit {
        entries: vec![Entry::Message(arrived), Entry::Routed(routed), Entry::Send(send)],
    }
}

fn ending(disposition: Disposition, message: MessageId, send: SendId) -> Unit {
    let outcome = NewOutcome {
        send,
        message,
        result: OutcomeResult::Delivered,
        attempts: 1,
        reply: None,
    };
    Unit {
        entries: vec![
            Entry::Outcome(outcome),
            Entry::Disposition(NewDisposition { message, disposition }),
        ],
    }
}

type Wanted = fn(Made, &mut MessageFilter);

/// The searches: what each is called, how a filter is made for some message, and whether it must find one.
const SEARCHES: &[(&str, Wanted, Option<bool>)] = &[
    ("the newest page of all", |_, _| {}, Some(true)),
    ("key", |made, f| f.key = Key::new("mrn", &made.mrn()), Some(true)),
    (
        "key of one message, in the oldest segment",
        |made, f| f.key = Key::new("mrn", &format!("OLD{}", made.number % 100)),
        Some(true),
    ),
    (
        "key that nothing has",
        |made, f| f.key = Key::new("mrn", &format!("NO{}", made.number)),
        Some(false),
    ),
    (
        "control id",
        |made, f| f.control_id = Some(format!("MSG{:010}", made.number)),
        Some(true),
    ),
    (
        "control id, in the oldest segment",
        |made, f| f.control_id = Some(format!("MSG{:010}", made.number % 1_000)),
        Some(true),
    ),
    (
        "control id that nothing has",
        |made, f| f.control_id = Some(format!("NO{}", made.number)),
        Some(false),
    ),
    (
        "type",
        |made, f| f.kind = Some(made.kind().to_owned()),
        Some(true),
    ),
    (
        "type, its beginning",
        |made, f| f.kind = Some(made.kind()[..3].to_owned()),
        Some(true),
    ),
    (
        "type, one in 100,000",
        |_, f| f.kind = Some("MDM^T02".to_owned()),
        None,
    ),
    (
        "type that nothing has",
        |_, f| f.kind = Some("ZZZ".to_owned()),
        Some(false),
    ),
    ("inbound", |made, f| f.inbound = Some(made.inbound()), Some(true)),
    (
        "inbound and a type that it never has",
        |made, f| {
            f.inbound = Some(made.inbound());
            let other = if made.inbound().0 <= 8 { "ORU" } else { "ADT" };
            f.kind = Some(other.to_owned());
        },
        Some(false),
    ),
    (
        "destination",
        |made, f| f.destination = Some(made.destination()),
        Some(true),
    ),
    (
        "status, that of most",
        |_, f| f.disposition = Some(Disposition::Processed),
        Some(true),
    ),
    (
        "status, one in 20",
        |_, f| f.disposition = Some(Disposition::Filtered),
        Some(true),
    ),
    (
        "status, one in 10,000",
        |_, f| f.disposition = Some(Disposition::Error),
        None,
    ),
    (
        "status: in flight, of which there is none",
        |_, f| f.disposition = Some(Disposition::Routed),
        Some(false),
    ),
    ("an hour", |made, f| hours(made, f, 1), Some(true)),
    (
        "an hour before the first message",
        |_, f| f.until = Some(Timestamp(BEGIN)),
        Some(false),
    ),
    (
        "a day, status one in 10,000",
        |made, f| {
            hours(made, f, 24);
            f.disposition = Some(Disposition::Error);
        },
        None,
    ),
    (
        "an hour, inbound and type",
        |made, f| {
            hours(made, f, 1);
            f.inbound = Some(made.inbound());
            f.kind = Some(made.kind().to_owned());
        },
        Some(true),
    ),
    (
        "inbound and status one in 10,000",
        |made, f| {
            f.inbound = Some(made.inbound());
            f.disposition = Some(Disposition::Error);
        },
        None,
    ),
    (
        "inbound, destination and status one in 20",
        |made, f| {
            f.inbound = Some(made.inbound());
            f.destination = Some(made.destination());
            f.disposition = Some(Disposition::Filtered);
        },
        None,
    ),
    (
        "key, a day and status",
        |made, f| {
            hours(made, f, 24);
            f.key = Key::new("mrn", &made.mrn());
            f.disposition = Some(made.end());
        },
        Some(true),
    ),
];

/// Some hours around a message.
fn hours(made: Made, filter: &mut MessageFilter, hours: i64) {
    let half = hours * 1_800 * 1_000_000;
    let at = made.received_at().0;
    filter.since = Some(Timestamp(at - half));
    filter.until = Some(Timestamp(at + half));
}

async fn searched(store: &dyn Store, messages: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<45} {:>9} {:>9} {:>9}  found",
        "", "first ms", "median", "worst"
    )?;
    for (index, (name, make, found)) in SEARCHES.iter().enumerate() {
        let mut took = Vec::new();
        let mut counts = Vec::new();
        for round in 0..TIMES {
            // Messages from all over the time, the first hundred aside, whose patients have one message each.
            let number = 100 + mixed(round * 1_000 + index as u64) % (messages - 100);
            let mut filter = MessageFilter {
                limit: 50,
                ..MessageFilter::default()
            };
            make(Made { number, of: messages }, &mut filter);
            let begun = Instant::now();
            let page = store.messages(&filter).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            if page.next.is_some() && page.items.len() < filter.limit {
                return Err(format!("{name}: the page is not full, and there is a next one").into());
            }
            counts.push(page.items.len());
            if found.is_some_and(|found| found == page.items.is_empty()) {
                return Err(format!("{name}: {} found", page.items.len()).into());
            }
        }
        let first = took[0];
        took.sort_unstable_by(f64::total_cmp);
        counts.sort_unstable();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        writeln!(
            out,
            "{name:<45} {first:>9.1} {median:>9.1} {worst:>9.1}  {} to {}",
            counts[0],
            counts[counts.len() - 1]
        )?;
    }
    Ok(())
}
