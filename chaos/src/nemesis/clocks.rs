//! Clocks of the wall that jump, by an hour or so, and back again. No clock of intervals is touched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::schedule::Strike;
use super::{Begun, Open};
use crate::shell;
use crate::world::names::Host;
use crate::world::{World, clock_file};

struct Jumped {
    world: Arc<World>,
    file: PathBuf,
    seconds: i64,
    /// The node, or the database.
    node: Option<usize>,
}

/// Further with each fault of a run: see [`node`].
fn jump(strike: &Strike) -> i64 {
    let seconds = i64::from(strike.number) * 600 + i64::try_from(strike.dice % 500).unwrap_or(0);
    if strike.dice.is_multiple_of(2) {
        seconds
    } else {
        -seconds
    }
}

fn set(file: &PathBuf, seconds: i64) -> Result<()> {
    // Renamed over the old one: whoever reads it finds the one or the other.
    let beside = file.with_extension("new");
    std::fs::write(&beside, format!("{seconds:+}\n"))?;
    std::fs::set_permissions(&beside, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    std::fs::rename(beside, file).context("setting a clock")
}

/// The clock of a node. Forward first: the server behind its API keeps the date that it last said until a later one
/// comes, so that only a jump forward, and further than the last one, can be seen from outside. The way back is a jump too.
pub(super) fn node(world: &Arc<World>, index: usize, strike: &Strike) -> Result<Begun> {
    begin(world, &Host::Node(index).name(), jump(strike).abs(), Some(index))
}

/// The clock of the database.
pub(super) fn database(world: &Arc<World>, strike: &Strike) -> Result<Begun> {
    let name = world.primary().host().name();
    begin(world, &name, jump(strike), None)
}

fn begin(world: &Arc<World>, name: &str, seconds: i64, node: Option<usize>) -> Result<Begun> {
    let file = clock_file(&world.names, name);
    ensure!(file.exists(), "{name} has no false clock");
    set(&file, seconds)?;
    let jumped = Jumped {
        world: Arc::clone(world),
        file,
        seconds,
        node,
    };
    Ok(Begun::new(format!("{name}, by {seconds} s"), jumped))
}

impl Jumped {
    /// What the other side's clock says, in seconds since 1970.
    fn reads(&self) -> Result<i64> {
        let said = match self.node {
            Some(index) => {
                let date = self.world.ask(index, "/health", None)?.date;
                shell::sh(&["date", "-d", &date, "+%s"])?
            }
            None => self
                .world
                .primary()
                .sql("SELECT extract(epoch FROM clock_timestamp())::bigint")?,
        };
        said.trim()
            .parse()
            .with_context(|| format!("a clock's reading: {said}"))
    }
}

impl Open for Jumped {
    fn bite(&mut self) -> Result<String> {
        let ours = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs();
        let apart = self.reads()? - i64::try_from(ours).unwrap_or(0);
        ensure!(
            (apart - self.seconds).abs() <= 5,
            "its clock is {apart} s from ours"
        );
        Ok(format!("its clock is {apart} s from ours"))
    }

    fn mend(&mut self) -> Result<String> {
        set(&self.file, 0)?;
        Ok("by setting it right".to_owned())
    }
}
