//! One run: a world, a load, a schedule of faults from a seed, and the judgement.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::clean;
use crate::clock::micros;
use crate::dump::{self, Dump};
use crate::judge::{self, History, Judgement};
use crate::nemesis::{self, schedule};
use crate::record::{self, Recorder};
use crate::shell;
use crate::world::{self, Options, PATIENCE, World};
use schedule::{Episode, Kind};

/// How long an episode and what follows takes, about.
const EPISODE: u64 = 6;
/// Load before the first fault, and after the last.
const STEADY: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The seed.
    pub seed: u64,
    /// About how long faults go on.
    pub seconds: u64,
    /// Kinds of fault.
    pub kinds: Vec<Kind>,
    /// What the world is made of; what the schedule needs is added.
    pub options: Options,
    /// Whether the folder stays although nothing was wrong.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The judgement.
    pub judgement: Judgement,
    /// The shortest story of a violation, if there is one.
    pub counter_example: Option<String>,
    /// Why the run ended before its time, if it did.
    pub failure: Option<String>,
    /// The folder with records and logs.
    pub folder: PathBuf,
}

impl Outcome {
    /// Whether everything is as it must be.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.judgement.is_clean()
    }
}

/// The schedule of an order.
pub fn schedule_of(order: &Order) -> Vec<Episode> {
    let episodes = usize::try_from(order.seconds / EPISODE).unwrap_or(1).max(1);
    schedule::schedule(order.seed, episodes, order.options.nodes, &order.kinds)
}

/// Writes a line for people.
///
/// # Errors
/// Nobody reads any more.
pub fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing to standard output")
}

/// Runs it. Prints the schedule as it goes.
///
/// # Errors
/// The world could not be built, or the run was interrupted: then nothing was judged.
pub fn run(order: &Order) -> Result<Outcome> {
    let episodes = schedule_of(order);
    let has = |wanted: &dyn Fn(Kind) -> bool| episodes.iter().flatten().any(|strike| wanted(strike.kind));
    let mut options = order.options.clone();
    options.run = order.seed;
    options.standby = true;
    options.small_disk = has(&|kind| kind == Kind::DiskFull).then_some(600);
    options.false_clocks = has(&Kind::needs_clock);
    say(&format!("seed {}: {} episodes", order.seed, episodes.len()))?;
    let lease = micros(options.lease());
    let outcome = world::with(options, |world| {
        let failure = play(world, &episodes).err();
        shell::check()?;
        finish(world, lease, failure.map(|error| format!("{error:#}")))
    })?;
    if outcome.passed() && !order.keep {
        clean::remove_folder(&outcome.folder);
    }
    Ok(outcome)
}

fn play(world: &Arc<World>, episodes: &[Episode]) -> Result<()> {
    let recorder = Recorder::create(&world.names.folder().join("records/nemesis.jsonl"))?;
    let begun = Instant::now();
    world.offer()?;
    world.progress_by(50, PATIENCE)?;
    shell::pause(STEADY)?;
    for episode in episodes {
        for strike in episode {
            say(&format!("  {:5.1} s  {strike}", begun.elapsed().as_secs_f32()))?;
        }
        nemesis::play(world, &recorder, episode)?;
        world.wait_whole(PATIENCE).context("after all was mended")?;
        world.progress_by(50, PATIENCE).context("after all was mended")?;
    }
    shell::pause(STEADY)?;
    world.drain(&recorder)
}

/// Dumps the database and judges. Public so that figures are judged in the same way.
///
/// # Errors
/// The records or the database cannot be read.
pub fn finish(world: &Arc<World>, lease: u64, failure: Option<String>) -> Result<Outcome> {
    let folder = world.names.folder();
    if failure.is_some() {
        // What the senders remember is written when they end.
        let _ = world.drain(&Recorder::create(&folder.join("records/end.jsonl"))?);
    }
    let primary = world.primary();
    let dump = dump::take(&primary).context("reading the database at the end")?;
    dump.write(&folder.join("dump.json"))?;
    drop(primary);
    let (judgement, counter_example) = judged(&folder, dump, lease)?;
    Ok(Outcome {
        judgement,
        counter_example,
        failure,
        folder,
    })
}

/// Judges the records of a folder.
///
/// # Errors
/// They cannot be read.
pub fn judged(folder: &std::path::Path, dump: Dump, lease: u64) -> Result<(Judgement, Option<String>)> {
    let history = History {
        lines: record::read(&folder.join("records"))?,
        dump,
        lease,
    };
    let judgement = judge::judge(&history);
    let story = judge::counter_example(&history, &judgement);
    let text = serde_json::to_string_pretty(&judgement)?;
    std::fs::write(folder.join("judgement.json"), text + "\n")?;
    if let Some(story) = &story {
        std::fs::write(folder.join("counter-example.txt"), story)?;
    }
    Ok((judgement, story))
}

/// Says what came of a run.
///
/// # Errors
/// Nobody reads any more.
pub fn report(outcome: &Outcome) -> Result<()> {
    let counts = &outcome.judgement.counts;
    say(&format!(
        "  {} acknowledged, {} of {} owed deliveries, {} repeated, {} changes of leader, {} faults bit, {} looks at ports",
        counts.acknowledged,
        counts.owed.min(counts.delivered),
        counts.owed,
        counts.repeated,
        counts.changes,
        counts.faults,
        counts.looks
    ))?;
    for why in &outcome.judgement.unchecked {
        say(&format!("  not checked: {why}"))?;
    }
    if let Some(failure) = &outcome.failure {
        say(&format!("  the run did not come to its end: {failure}"))?;
    }
    if outcome.passed() {
        return say("  passed");
    }
    for violation in outcome.judgement.violations.iter().take(10) {
        say(&format!("  {}: {}", violation.kind, violation.what))?;
    }
    let more = outcome.judgement.violations.len().saturating_sub(10);
    if more > 0 {
        say(&format!("  and {more} more"))?;
    }
    if let Some(story) = &outcome.counter_example {
        say(&format!("the shortest counter-example:\n{story}"))?;
    }
    say(&format!(
        "  FAILED; records and logs: {}",
        outcome.folder.display()
    ))
}
