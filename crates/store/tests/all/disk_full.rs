//! A full disk stops writing, loses nothing, and writing goes on once there is room.

use std::path::Path;
use std::process::Command;

use model::MessageId;
use store::{CommitError, Store, Unit};

use crate::support::{Led, block_on, options};

/// A small file system, gone with this value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<SmallDisk<'a>> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        // The only way to a truly full file system; said aloud, so that nobody takes it for tested.
        use std::io::Write;
        writeln!(
            std::io::stderr(),
            "disk_full: not run, this user may not mount a tmpfs"
        )
        .unwrap();
        return;
    };
    // As much again as the log may hold: giving room back means that the log fits into the file.
    let ballast = directory.path().join("ballast");
    std::fs::write(&ballast, vec![0; 5 << 20]).unwrap();
    let data = directory.path().join("data");
    block_on(async {
        let led = Led::open(options(&data, None)).await;
        let (kept, error) = fill(&led).await;
        assert!(
            matches!(&error, CommitError::Unavailable(text) if text.contains("full")),
            "{error}"
        );
        // Still full: still refused, and what is there can be read.
        assert!(matches!(
            write(&led, 100_000).await,
            Err(CommitError::Unavailable(_))
        ));
        assert_eq!(count(&led, &kept).await, kept.len());

        std::fs::remove_file(&ballast).unwrap();
        let later = write(&led, 4_000).await.expect("there is room again");
        led.store.close().await.unwrap();
        drop(led);

        let led = Led::open(options(&data, None)).await;
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        assert_eq!(led.store.census().await.unwrap().messages, kept.len() as u64 + 1);
        assert_eq!(count(&led, &[later]).await, 1);
    });
}

async fn write(led: &Led, size: usize) -> Result<MessageId, CommitError> {
    let unit = Unit::one(led.message(1, size));
    led.store
        .submit(led.term, vec![unit])
        .await
        .remove(0)
        .map(|receipt| MessageId(receipt.rows[0]))
}

/// Writes until the store refuses.
async fn fill(led: &Led) -> (Vec<MessageId>, CommitError) {
    let mut kept = Vec::new();
    loop {
        match write(led, 20_000).await {
            Ok(id) => kept.push(id),
            Err(error) => return (kept, error),
        }
        assert!(kept.len() < 1_000, "the disk is larger than it was made");
    }
}

async fn count(led: &Led, ids: &[MessageId]) -> usize {
    led.store
        .messages_for_work(ids)
        .await
        .unwrap()
        .into_iter()
        .flatten()
        .count()
}
