//! The partners: senders and sinks of `bench` in a process of their own, in the partners' namespace. Told what to do on
//! its standard input, it says on its standard output, ten times a second, how far it has come.

use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::control_id::{ControlId, RunId};
use bench::payload::Pool;
use bench::sender::{self, Fate, Pace, Sender};
use bench::sink::{self, Observer, Sink};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::record::{Event, Recorder, digest};
use crate::world::names::{INBOUNDS, SINKS};
use crate::world::site;

/// The longest pause before a lane connects again. Partners that wait longer hear nothing for that much longer.
pub const BACK_OFF_MAX: Duration = Duration::from_millis(100);

/// What partners are to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where senders connect.
    pub to: IpAddr,
    /// Where sinks listen.
    pub own: IpAddr,
    /// Lanes of the sender.
    pub lanes: u16,
    /// Messages a second over all lanes.
    pub per_second: f64,
    /// The run's number, which control ids carry.
    pub run: u64,
}

/// How far the partners have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Messages answered AA.
    pub acknowledged: u64,
    /// Messages written at least once.
    pub sent: u64,
    /// Messages that sinks took.
    pub arrived: u64,
    /// How long nothing has arrived, in milliseconds.
    pub quiet_ms: u64,
    /// Whether the senders have ended and their records are written.
    pub ended: bool,
}

/// Runs partners until standard input ends. `stop` on it ends the senders.
///
/// # Errors
/// A sink cannot listen, or a record cannot be written.
pub fn run(plan: &Plan, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(act(plan.clone(), folder))
}

async fn act(plan: Plan, folder: &Path) -> Result<()> {
    let sink = listen(&plan, folder).await?;
    let pool = Pool::of([tests::mllp::adt("X").into()])?;
    let mut options = sender::Options::new("", pool.clone());
    options.to = INBOUNDS
        .iter()
        .map(|port| SocketAddr::new(plan.to, *port).to_string())
        .collect();
    options.lanes = plan.lanes;
    options.pace = Pace::Open {
        per_second: plan.per_second,
    };
    options.run = RunId::from_number(plan.run);
    options.ack_timeout = Duration::from_secs(5);
    options.give_up_after = Duration::from_secs(120);
    options.back_off_max = BACK_OFF_MAX;
    let begun = Moment::now();
    let sender = Sender::start(options)?;
    let mut orders = orders();
    let mut open = Some(sender);
    let mut ended: Option<Progress> = None;
    loop {
        let counts = sink.counts();
        let mut progress = Progress {
            arrived: counts.arrived,
            quiet_ms: u64::try_from(sink.quiet_for().as_millis()).unwrap_or(u64::MAX),
            ..ended.unwrap_or_default()
        };
        if let Some(sender) = &open {
            let now = sender.progress();
            (progress.acknowledged, progress.sent) = (now.acknowledged, now.sent);
        }
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&progress)?)?;
        tokio::select! {
            order = orders.recv() => match order.as_deref() {
                Some("stop") => {
                    if let Some(sender) = open.take() {
                        sender.stop();
                        let record = sender.finish().await;
                        write(&plan, &pool, &record, begun, folder)?;
                        ended = Some(Progress {
                            acknowledged: record.acknowledged(),
                            sent: record.sent(),
                            ended: true,
                            ..Progress::default()
                        });
                    }
                }
                Some(_) => {}
                None => break,
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    sink.stop().await;
    Ok(())
}

/// Lines of standard input.
fn orders() -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (into, from) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if into.send(line).is_err() {
                return;
            }
        }
    });
    from
}

/// One recorder for each sink.
async fn listen(plan: &Plan, folder: &Path) -> Result<Sink> {
    let names = site::sinks(plan.lanes);
    let mut recorders = Vec::new();
    for name in &names {
        recorders.push(Recorder::create(&folder.join(format!("sink-{name}.jsonl")))?);
    }
    let recorders = Arc::new(recorders);
    let observer = Observer::new(move |received| {
        let index = usize::from(received.port.saturating_sub(SINKS));
        if let (Some(recorder), Some(name)) = (recorders.get(index), names.get(index)) {
            recorder.note(Event::Arrived {
                sink: name.clone(),
                id: String::from_utf8_lossy(received.control_id).into_owned(),
                body: digest(received.body),
                peer: received.peer.to_string(),
            });
        }
    });
    let bind = (0..=plan.lanes).map(|index| SocketAddr::new(plan.own, SINKS + index));
    let options = sink::Options {
        bind: bind.collect(),
        observer: Some(observer),
        record: false,
        ..sink::Options::local(0)
    };
    Sink::start(options).await.context("the sinks cannot listen")
}

/// What each lane of the sender remembers, in a file of its own.
fn write(plan: &Plan, pool: &Pool, record: &sender::Record, begun: Moment, folder: &Path) -> Result<()> {
    for lane in &record.lanes {
        let recorder = Recorder::create(&folder.join(format!("sender-{:02}.jsonl", lane.lane)))?;
        for (sequence, fate) in (0_u32..).zip(&lane.fates) {
            let place = sequence as usize;
            let id = ControlId {
                run: RunId::from_number(plan.run),
                lane: lane.lane,
                sequence,
                part: 0,
            };
            let mut body = Vec::new();
            pool.render(&id, &mut body);
            let intended = lane.intended_us[place];
            let answered = begun.plus(intended + u64::from(lane.latency_us[place]));
            let event = Event::Sent {
                lane: lane.lane,
                id: id.to_string(),
                acknowledged: (*fate == Fate::Accepted).then_some(answered),
                refused: *fate == Fate::Refused,
                owed: site::owed(lane.lane, &body),
            };
            recorder.note_at(begun.plus(intended), event);
        }
        if let Some(why) = &lane.failure {
            recorder.note(Event::LaneFailed {
                lane: lane.lane,
                why: why.clone(),
            });
        }
    }
    Ok(())
}
