//! A store that cannot be trusted is not opened: it says why and what to do, and changes nothing.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use store::sqlite;
use store::{Error, Store};

use crate::support::{Led, block_on, options};

/// Makes a store of several segments in `directory`, closed in order.
fn make(directory: &Path) {
    block_on(async {
        let led = Led::open(options(directory, Some(20))).await;
        for _ in 0..50 {
            led.arrive(1, true).await;
        }
        led.store.close().await.unwrap();
    });
}

fn segment(directory: &Path, number: u32) -> std::path::PathBuf {
    directory.join(format!("segments/{number:06}.db"))
}

fn newest(directory: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(directory.join("segments"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "db"));
    files.into_iter().max().unwrap()
}

fn sql(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

/// What is done to a store, and what its opening must say.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    (
        "the pages of the newest segment's rows are overwritten",
        |d| {
            let file = newest(d);
            let mut bytes = fs::read(&file).unwrap();
            let rows = bytes.len() / 3..;
            bytes[rows].fill(0xa5);
            fs::write(file, bytes).unwrap();
        },
        &["segments/", "damaged", "backup"],
    ),
    (
        "the control file is overwritten",
        |d| fs::write(d.join("control.db"), vec![b'#'; 20_000]).unwrap(),
        &["control.db", "damaged", "backup"],
    ),
    (
        "the control file is cut off",
        |d| {
            fs::OpenOptions::new()
                .write(true)
                .open(d.join("control.db"))
                .unwrap()
                .set_len(50)
                .unwrap()
        },
        &["control.db", "damaged"],
    ),
    (
        "the control file is another program's",
        |d| {
            fs::remove_file(d.join("control.db")).unwrap();
            sql(&d.join("control.db"), "CREATE TABLE theirs (x)");
        },
        &["control.db", "something else"],
    ),
    (
        "a sealed segment is overwritten",
        |d| fs::write(segment(d, 2), vec![b'#'; 20_000]).unwrap(),
        &["000002.db", "damaged", "backup"],
    ),
    (
        "the open segment is cut off",
        |d| {
            fs::OpenOptions::new()
                .write(true)
                .open(newest(d))
                .unwrap()
                .set_len(8)
                .unwrap()
        },
        &["damaged", "backup"],
    ),
    (
        "pages of the open segment are overwritten, after an unclean end",
        |d| {
            sql(&d.join("control.db"), "UPDATE store SET clean = 0");
            let file = newest(d);
            let mut bytes = fs::read(&file).unwrap();
            let from = 8192 * 3;
            bytes[from..].fill(0x55);
            fs::write(&file, bytes).unwrap();
            fs::write(file.with_extension("db-wal"), "").unwrap();
        },
        &["damaged", "backup"],
    ),
    (
        "a segment is missing",
        |d| fs::remove_file(segment(d, 2)).unwrap(),
        &["000002.db", "missing", "backup"],
    ),
    (
        "two segments changed names",
        |d| {
            fs::rename(segment(d, 1), d.join("x")).unwrap();
            fs::rename(segment(d, 2), segment(d, 1)).unwrap();
            fs::rename(d.join("x"), segment(d, 2)).unwrap();
        },
        &["does not belong", "backup"],
    ),
    (
        "the control file is older than the segments",
        |d| sql(&d.join("control.db"), "DELETE FROM segment WHERE number > 1"),
        &["does not know it", "backup"],
    ),
    (
        "the control file is from a newer version",
        |d| {
            sql(
                &d.join("control.db"),
                "INSERT INTO migration VALUES (9, 'later', 'x', 0)",
            )
        },
        &["control.db", "newer version"],
    ),
    (
        "a sealed segment is from a newer version",
        |d| {
            sql(
                &segment(d, 1),
                "INSERT INTO migration VALUES (9, 'later', 'x', 0)",
            )
        },
        &["000001.db", "newer version"],
    ),
    (
        "a migration was applied from another text",
        |d| sql(&newest(d), "UPDATE migration SET checksum = 'x'"),
        &["migration 1", "another text"],
    ),
];

#[test]
fn a_damaged_foreign_or_newer_store_is_refused_with_what_to_do() {
    for (what, damage, said) in DAMAGES {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        damage(directory.path());
        match sqlite::open(options(directory.path(), Some(20))) {
            Err(Error::Refused(text) | Error::Outdated(text)) => {
                let missing: Vec<_> = said.iter().filter(|word| !text.contains(**word)).collect();
                assert!(missing.is_empty(), "{what}: {missing:?} not said in: {text}");
            }
            other => panic!("{what}: {other:?}"),
        }
        // The refusal gave the lock back: the next attempt is refused for the same reason.
        assert!(
            matches!(
                sqlite::open(options(directory.path(), Some(20))),
                Err(Error::Refused(_) | Error::Outdated(_))
            ),
            "{what}"
        );
    }
}

#[test]
fn a_refusal_changes_no_byte_of_a_damaged_file() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let file = segment(directory.path(), 1);
    let whole = fs::read(&file).unwrap();
    let damaged = vec![b'#'; whole.len()];
    fs::write(&file, &damaged).unwrap();
    assert!(sqlite::open(options(directory.path(), Some(20))).is_err());
    assert_eq!(fs::read(&file).unwrap(), damaged);
    fs::write(&file, &whole).unwrap();
    let store = sqlite::open(options(directory.path(), Some(20))).unwrap();
    assert_eq!(block_on(store.census()).unwrap().messages, 50);
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = sqlite::open(options(&file.join("data"), None)).unwrap_err();
    assert!(
        matches!(&error, Error::Refused(text) if text.contains("choose another")),
        "{error}"
    );
}

#[test]
fn a_directory_in_use_names_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let _held = sqlite::open(options(directory.path(), None)).unwrap();
    let error = sqlite::open(options(directory.path(), None)).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(
        matches!(&error, Error::Busy(text) if text.contains(&pid)),
        "{error}"
    );
}

#[test]
fn a_copy_of_a_running_store_without_its_logs_is_refused() {
    let (running, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(copy.path().join("segments")).unwrap();
    let mut kept = Vec::new();
    block_on(async {
        let led = Led::open(options(running.path(), None)).await;
        led.arrive(3, true).await;
        for entry in ["control.db", "segments/000001.db"] {
            fs::copy(running.path().join(entry), copy.path().join(entry)).unwrap();
        }
        kept.push(led); // not closed
        let error = sqlite::open(options(copy.path(), None))
            .map(|_| ())
            .expect_err("the log is missing");
        let text = error.to_string();
        assert!(matches!(error, Error::Refused(_)), "{text}");
        for word in ["000001.db-wal is missing", "Put it back", "empty file"] {
            assert!(text.contains(word), "{text}");
        }
        // The way out that it names works, and leads under a newer epoch than before.
        fs::write(copy.path().join("segments/000001.db-wal"), "").unwrap();
        let before = kept[0].store.leader().await.unwrap().unwrap().epoch;
        let again = Led::open(options(copy.path(), None)).await;
        assert_eq!(again.store.census().await.unwrap().messages, 0);
        assert!(again.store.leader().await.unwrap().unwrap().epoch > before);
    });
}

#[test]
fn the_rest_of_an_interrupted_rotation_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let number: u32 = newest(directory.path())
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let unfinished = segment(directory.path(), number + 1);
    fs::write(&unfinished, "").unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), Some(20))).await;
        assert!(!unfinished.exists());
        for _ in 0..30 {
            led.arrive(1, true).await;
        }
        assert_eq!(led.store.census().await.unwrap().messages, 80);
    });
}

#[test]
fn a_body_that_is_damaged_is_named_and_not_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let led = Led::open(options(directory.path(), None)).await;
        let mut entry = led.message(1, 0);
        if let store::Entry::Message(new) = &mut entry {
            new.body = model::Body::from(b"PID|1||4711^^^WEST^MR\r".repeat(20));
        }
        let unit = store::Unit::one(entry);
        let receipt = led.store.submit(led.term, vec![unit]).await.remove(0).unwrap();
        let message = model::MessageId(receipt.rows[0]);
        assert_eq!(led.store.check_integrity().await.unwrap(), Vec::<String>::new());
        let file = newest(directory.path());
        sql(
            &file,
            "UPDATE message SET body = CAST(substr(body, 1, length(body) - 2) AS BLOB)",
        );
        let number: u32 = file.file_stem().unwrap().to_string_lossy().parse().unwrap();
        let text =
            format!("segment {number}: the body of message {message} cannot be read: its bytes are damaged");
        let error = led
            .store
            .messages_for_work(&[message])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&text), "{error}");
        let faults = led.store.check_integrity().await.unwrap();
        assert!(faults.len() == 1 && faults[0].starts_with(&text), "{faults:?}");
        sql(&file, "UPDATE message SET enc = 99");
        let error = led.store.message(message).await.unwrap_err().to_string();
        assert!(error.contains("(99)") && error.contains("newer"), "{error}");
    });
}
