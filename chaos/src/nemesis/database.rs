//! What is done to the database: restarted, crashed, paused, replaced by its standby, its disk filled, its connections
//! taken, its tables locked.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::schedule::Strike;
use super::{Begun, Open};
use crate::shell;
use crate::world::World;
use crate::world::database::CONNECTIONS_MAX;

/// Something that was over when it had begun.
struct Done {
    evidence: String,
    note: String,
}

impl Open for Done {
    fn bite(&mut self) -> Result<String> {
        Ok(self.evidence.clone())
    }

    fn mend(&mut self) -> Result<String> {
        Ok(self.note.clone())
    }
}

fn started(world: &World) -> Result<String> {
    world.primary().sql("SELECT pg_postmaster_start_time()")
}

/// A restart in good order, or a crash of all its processes; at once started again.
pub(super) fn restart(world: &Arc<World>, crash: bool) -> Result<Begun> {
    let before = started(world)?;
    let name = world.primary().host().name();
    let begun = Instant::now();
    {
        let mut primary = world.primary();
        primary.stop(if crash { Signal::KILL } else { Signal::INT })?;
        primary.start()?;
    }
    let took = begun.elapsed().as_millis();
    let after = started(world)?;
    ensure!(
        before != after,
        "the database started at {after}, and so it did before"
    );
    if crash {
        let said = world.primary().said();
        ensure!(
            said.contains("was not properly shut down"),
            "the database did not notice that it had crashed"
        );
    }
    let evidence = format!("it started at {after}, not {before}: away for {took} ms");
    Ok(Begun::new(
        name,
        Done {
            evidence,
            note: "by starting it".to_owned(),
        },
    ))
}

struct Paused {
    processes: Vec<u32>,
}

/// SIGSTOP of all its processes: connections stay, nobody answers.
pub(super) fn pause(world: &Arc<World>) -> Result<Begun> {
    let (name, processes) = {
        let primary = world.primary();
        (primary.host().name(), primary.processes())
    };
    // The first one first, so that it starts no other; then whatever it had started until then.
    for pid in &processes {
        let _ = shell::signal(*pid, Signal::STOP);
    }
    let first = processes.first().copied().context("the database does not run")?;
    let processes = shell::family(first);
    for pid in &processes {
        let _ = shell::signal(*pid, Signal::STOP);
    }
    Ok(Begun::new(name, Paused { processes }))
}

impl Open for Paused {
    fn bite(&mut self) -> Result<String> {
        let moving = self
            .processes
            .iter()
            .filter(|pid| shell::state(**pid).is_some_and(|state| !"TZ".contains(state)));
        let moving = moving.count();
        ensure!(moving == 0, "{moving} of its processes are not stopped yet");
        Ok(format!("its {} processes are in state T", self.processes.len()))
    }

    fn mend(&mut self) -> Result<String> {
        for pid in self.processes.iter().rev() {
            let _ = shell::signal(*pid, Signal::CONT);
        }
        Ok("by SIGCONT".to_owned())
    }
}

struct FailedOver {
    world: Arc<World>,
    evidence: String,
}

/// The primary is lost, its synchronous standby takes its place. Afterwards the old one is made anew as the standby.
pub(super) fn failover(world: &Arc<World>) -> Result<Begun> {
    ensure!(world.options.standby, "this run has no standby of the database");
    let timeline = "SELECT timeline_id FROM pg_control_checkpoint()";
    let before = world.primary().sql(timeline)?;
    let begun = Instant::now();
    world.primary().stop(Signal::KILL)?;
    world.swap_databases();
    let primary = world.primary();
    primary.promote()?;
    let took = begun.elapsed().as_millis();
    primary.sql("CHECKPOINT")?;
    let after = primary.sql(timeline)?;
    ensure!(before != after, "the timeline is {after} as before");
    let evidence = format!(
        "{} leads on timeline {after} after {took} ms",
        primary.host().name()
    );
    drop(primary);
    let name = world.standby().host().name();
    let failed = FailedOver {
        world: Arc::clone(world),
        evidence,
    };
    Ok(Begun::new(name, failed))
}

impl Open for FailedOver {
    fn bite(&mut self) -> Result<String> {
        Ok(self.evidence.clone())
    }

    fn mend(&mut self) -> Result<String> {
        let primary = self.world.primary();
        let mut standby = self.world.standby();
        standby.follow(&primary)?;
        standby.start()?;
        primary.wait_for(Some(&standby.host().name()))?;
        Ok(format!("by a new standby on {}", standby.host().name()))
    }
}

struct Filled {
    world: Arc<World>,
    ballast: PathBuf,
    complaints: usize,
}

const FULL: &str = "No space left on device";

/// Fills the file system of its data to the last byte.
pub(super) fn fill(world: &Arc<World>) -> Result<Begun> {
    ensure!(
        world.options.small_disk.is_some(),
        "the database has no file system of its own in this run"
    );
    let (name, ballast, complaints) = {
        let primary = world.primary();
        (
            primary.host().name(),
            primary.disk().join("ballast"),
            primary.said().matches(FULL).count(),
        )
    };
    let filled = Filled {
        world: Arc::clone(world),
        ballast,
        complaints,
    };
    filled.grow()?;
    Ok(Begun::new(name, filled))
}

impl Filled {
    /// Writes until nothing more fits.
    fn grow(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.ballast)?;
        for size in [1 << 20, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(())
    }
}

impl Open for Filled {
    fn bite(&mut self) -> Result<String> {
        // What the database gave back in the meantime is taken as well.
        self.grow()?;
        let count = self.world.primary().said().matches(FULL).count() - self.complaints;
        ensure!(count > 0, "the database has not complained yet");
        Ok(format!("the database logged `{FULL}` {count} times so far"))
    }

    fn mend(&mut self) -> Result<String> {
        std::fs::remove_file(&self.ballast)?;
        let mut primary = self.world.primary();
        shell::pause(Duration::from_millis(300))?;
        if primary.runs() {
            primary.answers()?;
            return Ok("by making room".to_owned());
        }
        primary.stop(Signal::KILL)?;
        primary.start()?;
        Ok("by making room and starting it: it had ended".to_owned())
    }
}

struct Hogged {
    world: Arc<World>,
    clients: Vec<Child>,
}

/// Takes every connection that the server has left for ordinary roles.
pub(super) fn hog(world: &Arc<World>) -> Result<Begun> {
    let (name, free) = {
        let primary = world.primary();
        let used: u32 = primary
            .sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")?
            .parse()?;
        (primary.host().name(), CONNECTIONS_MAX.saturating_sub(used) + 5)
    };
    let mut clients = Vec::new();
    for _ in 0..free {
        let mut psql = world.primary().psql("postgres", "hog");
        psql.args(["-c", "SELECT pg_sleep(120)"]);
        psql.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        clients.push(psql.spawn().context("starting a hog")?);
    }
    let hogged = Hogged {
        world: Arc::clone(world),
        clients,
    };
    Ok(Begun::new(name, hogged))
}

impl Open for Hogged {
    fn bite(&mut self) -> Result<String> {
        let mut client = self.world.primary().psql("holdfast", "holdfast");
        match shell::output(client.args(["-c", "SELECT 1"])) {
            Ok(_) => bail!("an ordinary role still gets a connection"),
            Err(error) => {
                let text = format!("{error:#}");
                let line = text
                    .lines()
                    .find(|line| line.contains("FATAL"))
                    .map(str::to_owned);
                line.with_context(|| format!("a connection was refused for another reason: {text}"))
            }
        }
    }

    fn mend(&mut self) -> Result<String> {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'hog'";
        let count = self.world.primary().sql(ended)?;
        Ok(format!("by ending {count} sessions"))
    }
}

impl Drop for Hogged {
    fn drop(&mut self) {
        for client in &mut self.clients {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

struct Locked {
    world: Arc<World>,
    client: Child,
}

/// Locks one of the tables that nodes need, against reading too.
pub(super) fn lock_table(world: &Arc<World>, strike: &Strike) -> Result<Begun> {
    let tables = ["holdfast.shard", "holdfast.lease", "holdfast.node"];
    let table = tables[usize::try_from(strike.dice % 3).unwrap_or(0)];
    let seconds = strike.stays.as_secs_f64() + 3.0;
    let client = {
        let primary = world.primary();
        let mut psql = primary.psql("holdfast", "postgres");
        let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        psql.args(["-c", "BEGIN", "-c", "SET application_name = 'lock'", "-c", &lock]);
        psql.args(["-c", &format!("SELECT pg_sleep({seconds})")]);
        psql.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        psql.spawn().context("starting who locks")?
    };
    let locked = Locked {
        world: Arc::clone(world),
        client,
    };
    Ok(Begun::new(table.to_owned(), locked))
}

impl Open for Locked {
    fn bite(&mut self) -> Result<String> {
        let waiting =
            "SELECT count(*) FROM pg_locks w JOIN pg_stat_activity h ON h.pid = ANY (pg_blocking_pids(w.pid))
            WHERE NOT w.granted AND h.application_name = 'lock'";
        let count: u32 = self.world.primary().sql(waiting)?.parse()?;
        ensure!(count > 0, "nobody waits for the lock");
        Ok(format!("{count} sessions wait for the lock"))
    }

    fn mend(&mut self) -> Result<String> {
        self.world.primary().sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'lock'",
        )?;
        Ok("by ending the session that locked".to_owned())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
