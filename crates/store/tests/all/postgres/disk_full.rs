//! A full disk under the tables, or under the log, stops writing, loses nothing, and writing goes on once
//! there is room.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use model::MessageId;
use store::{CommitError, Store, Unit};

use super::support::{Led, options, until};
use crate::support::block_on;

/// A small file system inside the server's folder, gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: u32) -> Option<SmallDisk> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0777"), "tmpfs"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(at.to_owned()));
        }
        // The only way to a truly full file system; said aloud, so that nobody takes it for tested.
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "postgres::disk_full: not run, this user may not mount a tmpfs"
        );
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_once_there_is_room() {
    let server = pgtest::Server::start("");
    let Some(disk) = SmallDisk::mount(&server.folder().join("small"), 24) else {
        return;
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let space = disk.0.join("space");
    std::fs::create_dir(&space).unwrap();
    server.give(&space);
    server.sql(
        "postgres",
        &format!("CREATE TABLESPACE small LOCATION '{}'", space.display()),
    );
    let database = server.database();
    database.sql(&format!(
        "ALTER DATABASE {} SET default_tablespace = small",
        database.name()
    ));
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let mut kept = 0;
        let error = loop {
            match led.commit(vec![led.large_message(100_000)]).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 1_000, "the disk is larger than it was made");
        };
        assert!(
            matches!(&error, CommitError::Unavailable(text) if text.contains("disk is full")),
            "{error}"
        );
        assert!(kept > 0);
        assert_eq!(led.store.census().await.unwrap().messages, kept);
        std::fs::remove_file(&ballast).unwrap();
        until("there is room again", async || {
            led.commit(vec![led.large_message(10)]).await.is_ok()
        })
        .await;
        assert_eq!(led.store.census().await.unwrap().messages, kept + 1);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        led.store.close().await.unwrap();
    });
}

/// Bytes that no compression makes fewer.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
fn a_full_disk_under_the_log_stops_the_server_and_nothing_that_was_acknowledged_is_lost() {
    let server = pgtest::Server::start("min_wal_size = 32MB\nmax_wal_size = 4GB\nwal_recycle = off");
    let Some(disk) = SmallDisk::mount(&server.folder().join("wal"), 128) else {
        return;
    };
    // The log moves to a file system of its own, as in many a data centre.
    server.crash();
    let (old, new) = (server.folder().join("data/pg_wal"), disk.0.join("pg_wal"));
    let moved = Command::new("cp").arg("-a").arg(&old).arg(&new).status();
    assert!(moved.unwrap().success());
    std::fs::remove_dir_all(&old).unwrap();
    std::os::unix::fs::symlink(&new, &old).unwrap();
    server.give(&new);
    server.start_again();
    let database = server.database();
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 32 << 20]).unwrap();
    block_on(async {
        let led = Led::open(options(&database.url(), None)).await;
        let (mut kept, mut told) = (Vec::new(), String::new());
        for number in 0..1_000 {
            let entry = led.message_of(noise(1_000_000, number));
            let answer = led.store.submit(led.term, vec![Unit::one(entry)]);
            match tokio::time::timeout(Duration::from_secs(10), answer).await {
                Ok(mut answers) => match answers.remove(0) {
                    Ok(receipt) => kept.push(MessageId(receipt.rows[0])),
                    Err(CommitError::Unavailable(text)) => told = text,
                    Err(other) => panic!("{other}"),
                },
                // In flight, and being looked for.
                Err(_) => told = "it waits".to_owned(),
            }
            if !told.is_empty() {
                break;
            }
        }
        assert!(!told.is_empty(), "the disk is larger than it was made");
        assert!(!kept.is_empty());
        std::fs::remove_file(&ballast).unwrap();
        until("it writes again", async || {
            // Where it could not even recover it ended, and an administrator starts it again.
            if !server.is_running() {
                server.start_again();
            }
            let answer = led.commit(vec![led.message(1, "again")]);
            tokio::time::timeout(Duration::from_secs(1), answer)
                .await
                .is_ok_and(|answer| answer.is_ok())
        })
        .await;
        let found = led.store.messages_for_work(&kept).await.unwrap();
        assert!(
            found.iter().all(Option::is_some),
            "an acknowledged message is lost"
        );
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        led.store.close().await.unwrap();
    });
}
