//! A full disk under the tables stops writing, loses nothing, and writing goes on once there is room.

use std::path::{Path, PathBuf};
use std::process::Command;

use store::{CommitError, Store};

use super::support::{Led, options, until};
use crate::support::block_on;

/// A small file system inside the server's folder, gone with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| SmallDisk(at.to_owned()))
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
    let Some(disk) = SmallDisk::mount(&server.folder().join("small")) else {
        // The only way to a truly full file system; said aloud, so that nobody takes it for tested.
        use std::io::Write;
        writeln!(
            std::io::stderr(),
            "postgres::disk_full: not run, this user may not mount a tmpfs"
        )
        .unwrap();
        return;
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let space = disk.0.join("space");
    std::fs::create_dir(&space).unwrap();
    let owned = Command::new("chown")
        .arg("--reference")
        .arg(server.folder())
        .arg(&space)
        .status();
    assert!(owned.unwrap().success());
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
