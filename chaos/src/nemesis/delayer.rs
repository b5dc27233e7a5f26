//! Holds packets back: takes them from a queue of the kernel (NFQUEUE), and lets each one go, in order, when its time has
//! come. Run as `chaos delay` on the machine whose packets are to be late.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nfq::{Queue, Verdict};

/// Packets that are held at once, at most; the kernel lets further ones pass.
const HELD_MAX: u32 = 20_000;
/// How often it says where it stands.
const SAY: Duration = Duration::from_millis(20);

/// Holds each packet of the queue back for so long, until standard output is closed; says how many so far, and how many it
/// still holds.
///
/// # Errors
/// The queue cannot be opened: it needs root.
pub fn run(number: u16, late: Duration) -> Result<()> {
    let mut queue = Queue::open().context("opening the kernel's queue of packets: is this root?")?;
    queue
        .bind(number)
        .with_context(|| format!("binding queue {number}"))?;
    queue.set_queue_max_len(number, HELD_MAX)?;
    queue.set_fail_open(number, true)?;
    queue.set_nonblocking(true);
    let mut held = VecDeque::new();
    let (mut count, mut told) = (0_u64, Instant::now());
    loop {
        while let Ok(packet) = queue.recv() {
            held.push_back((Instant::now() + late, packet));
            count += 1;
        }
        while let Some((due, _)) = held.front() {
            if *due > Instant::now() {
                break;
            }
            if let Some((_, mut packet)) = held.pop_front() {
                packet.set_verdict(Verdict::Accept);
                queue.verdict(packet)?;
            }
        }
        if told.elapsed() > SAY {
            told = Instant::now();
            if writeln!(std::io::stdout(), "{count} {}", held.len()).is_err() {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
