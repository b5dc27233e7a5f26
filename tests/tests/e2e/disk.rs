//! A disk that fills up, and gets room again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::payload::Pool;
use bench::reconcile::{Expect, reconcile};
use bench::sender::{self, Pace, Sender};
use tests::node::Plan;
use tests::wait::{self, PATIENCE};

use super::site::{Site, stop};

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: PathBuf, mib: u32) -> Result<Option<SmallDisk>> {
        std::fs::create_dir(&at)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(&at)
            .output();
        Ok(mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk(at)))
    }

    fn resize(&self, mib: u32) -> Result<()> {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={mib}m")])
            .arg(&self.0)
            .status()?;
        ensure!(status.success(), "remount: {status}");
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_acknowledgements_loses_nothing_and_ends_when_there_is_room() -> Result<()> {
    let site = Site::relay().await?;
    let Some(disk) = SmallDisk::mount(site.repository.beside("small"), 12)? else {
        // Said in the output, so that nobody takes this for a pass of the real thing.
        return nothing_run("this user may not mount a small file system: the full-disk test was NOT run");
    };
    let plan = Plan::new(&site.repository).data(disk.path().join("data"));
    let node = plan.start().await?;
    // Hex digits without a pattern: compression cannot make room.
    let mut state = 1_u32;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"0123456789abcdef"[(state >> 28) as usize]
    };
    let text: Vec<u8> = (0..16 * 1024).map(|_| digit()).collect();
    let big = [&tests::mllp::adt("X")[..], b"NTE|1||", &text, b"\r"].concat();
    let mut options = sender::Options::new(format!("127.0.0.1:{}", site.inbound), Pool::of([big.into()])?);
    options.lanes = 4;
    options.pace = Pace::Closed { window: 4 };
    options.ack_timeout = Duration::from_secs(5);
    let sender = Sender::start(options)?;

    let mut last = (0, std::time::Instant::now());
    let full = wait::until(
        "acknowledgements to stop on a full disk",
        Duration::from_secs(60),
        || {
            let acknowledged = sender.progress().acknowledged;
            if acknowledged != last.0 {
                last = (acknowledged, std::time::Instant::now());
            }
            let still = last.1.elapsed();
            async move {
                ensure!(
                    acknowledged > 0 && still > Duration::from_secs(2),
                    "{acknowledged} so far"
                );
                Ok(acknowledged)
            }
        },
    );
    let full = full
        .await
        .with_context(|| format!("the node said:\n{}", plan.said()))?;
    ensure!(
        tests::http::get(plan.api(), "/health").await?.status == 200,
        "the node lives on a full disk"
    );

    disk.resize(512)?;
    let more = wait::until("acknowledgements to go on", PATIENCE, || {
        let acknowledged = sender.progress().acknowledged;
        async move {
            ensure!(
                acknowledged > full + 100,
                "{acknowledged} acknowledged, {full} when it was full"
            );
            Ok(())
        }
    });
    more.await
        .with_context(|| format!("the node said:\n{}", plan.said()))?;
    sender.stop();
    let sent = sender.finish().await;
    let judged = wait::until("everything acknowledged to arrive", PATIENCE, || async {
        let judged = reconcile(&sent, &site.sink.received(), &Expect::Ports(1));
        ensure!(judged.totals.missing == 0, "{:?}", judged.totals);
        Ok(judged)
    });
    let judged = judged
        .await
        .with_context(|| format!("the node said:\n{}", plan.said()))?;
    ensure!(
        judged.is_complete() && judged.is_in_order(),
        "{:?}",
        judged.totals
    );
    stop(node).await
}

#[allow(clippy::print_stderr, reason = "a test that could not run must say so")]
fn nothing_run(why: &str) -> Result<()> {
    eprintln!("{why}");
    Ok(())
}
