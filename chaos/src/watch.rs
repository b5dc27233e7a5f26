//! Who leads, and who has inbound ports bound, as seen from beside the nodes: both go on looking when a node is stopped,
//! frozen or gone.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::ask;
use crate::clock::Moment;
use crate::record::{Event, Recorder};
use crate::world::names::{self, INBOUNDS};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Asks the node of this namespace whether it leads, until standard output is closed; says and records each change. Run
/// as `chaos watch` on the node's machine.
///
/// # Errors
/// The record cannot be made.
pub fn role(node: &str, record: &Path) -> Result<()> {
    let recorder = Recorder::create(record)?;
    let mut before = None;
    loop {
        let at = Moment::now();
        let answer = ask::ask(names::api(), "/ready/leader", None, Duration::from_millis(150));
        let leads = answer.is_ok_and(|answer| answer.status == 200);
        if before != Some(leads) {
            before = Some(leads);
            recorder.note_at(
                at,
                Event::Leads {
                    node: node.to_owned(),
                    leads,
                },
            );
        }
        // Also without a change: a reader that is gone is noticed by this.
        if writeln!(std::io::stdout(), "{}", if leads { "leads" } else { "-" }).is_err() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether an inbound port is bound in the namespace of a process.
fn bound(process: u32) -> bool {
    let table = File::open(format!("/proc/{process}/net/tcp"));
    table.is_ok_and(|table| {
        listening(BufReader::with_capacity(LINE, table)).any(|port| INBOUNDS.contains(&port))
    })
}

/// The length of a line of the kernel's table. The kernel writes no more lines than are asked for, and the listening ones
/// first: for all others it would walk the whole machine's table of connections, which takes milliseconds.
const LINE: usize = 150;

/// The ports on which something listens, by the kernel's table.
fn listening(table: impl BufRead) -> impl Iterator<Item = u16> {
    let lines = table.lines().map_while(Result::ok).skip(1);
    lines.map_while(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let port = local.rsplit(':').next()?;
        (state == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// Reads, over and over, which nodes have inbound ports bound. Ends when dropped.
#[derive(Debug)]
pub struct Ports {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ports {
    /// `machines` are the nodes, each with a process that lives in its namespace for the whole run.
    ///
    /// # Errors
    /// The record cannot be made.
    pub fn watch(machines: Vec<(String, u32)>, record: &Path) -> Result<Ports> {
        let recorder = Recorder::create(record)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let look = || -> Vec<String> {
                let bound = machines.iter().filter(|(_, process)| bound(*process));
                bound.map(|(name, _)| name.clone()).collect()
            };
            let mut before = None;
            let mut written = Moment::default();
            while !asked.load(Ordering::Relaxed) {
                let at = Moment::now();
                let (first, again) = (look(), look());
                let now = Some((first.clone(), again.clone()));
                // Unchanged looks are written twice a second, to show that somebody looked.
                if now != before || at.mono > written.mono + 500_000 {
                    (before, written) = (now, at);
                    recorder.note_at(at, Event::Bound { first, again });
                }
                std::thread::sleep(LOOK);
            }
        });
        Ok(Ports {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_ports_are_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 1F4D0A0A:0A28 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n   \
             1: 0100007F:0A29 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n";
        assert_eq!(listening(table.as_bytes()).collect::<Vec<_>>(), [2600]);
    }
}
