//! The file inbound, on real directories.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use connectors::{Refused, Verdict};
use flate2::Compression;
use flate2::write::GzEncoder;
use model::connector::Value;
use tempfile::TempDir;

use crate::support::{Recorder, Running, adt, eventually, seconds, source};

const NOW: f64 = 0.005;

fn options<'a>(root: &TempDir, more: &[(&'a str, Value)]) -> Vec<(&'a str, Value)> {
    let mut all = vec![
        ("directory", Value::Text(root.path().display().to_string())),
        ("poll_interval", seconds(NOW)),
        ("stable_for", seconds(0.0)),
    ];
    all.extend_from_slice(more);
    all
}

async fn reading(root: &TempDir, more: &[(&str, Value)], intake: &Arc<Recorder>) -> Running {
    Running::start(source("file", &options(root, more)).unwrap(), intake).await
}

/// Puts a file in place whole, as a well-behaved sender does.
fn put(root: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let temporary = root.path().join(format!(".{name}.part"));
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, root.path().join(name)).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Names in a directory, sorted, without those that start with a dot.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_stored_and_then_moved() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
    put(&root, "a.hl7", adt("F1"));
    let running = reading(&root, &[], &intake).await;
    eventually("the moved file", || {
        names(&root.path().join(".done")) == ["a.hl7"]
    })
    .await;
    assert_eq!(names(root.path()), [""; 0]);
    let seen = intake.seen();
    assert_eq!(
        (seen.texts(), seen.sources),
        (vec![adt("F1")], vec!["a.hl7".to_owned()])
    );
    running.finish().await;
}

#[tokio::test]
async fn a_file_stays_until_its_last_message_is_stored() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::gated());
    put(
        &root,
        "a.hl7",
        (0..65)
            .map(|number| adt(&format!("F{number}")))
            .collect::<String>(),
    );
    let running = reading(&root, &[], &intake).await;
    intake.open(1);
    intake.wait("the second batch", |seen| seen.waiting == 2).await;
    assert_eq!(intake.seen().stored.len(), 64);
    assert_eq!(names(root.path()), ["a.hl7"]);
    intake.open(1);
    eventually("the moved file", || {
        names(&root.path().join(".done")) == ["a.hl7"]
    })
    .await;
    assert_eq!(intake.seen().stored.len(), 65);
    running.finish().await;
}

#[tokio::test]
async fn batches_rows_of_messages_and_gzip_become_single_messages() {
    let (one, two) = (adt("B1"), adt("B2"));
    let batch = format!("FHS|^~\\&|X\rBHS|^~\\&|X\r{one}{two}BTS|2\rFTS|1\r");
    let row = format!("{one}{two}");
    for (name, bytes) in [
        ("batch.hl7", batch.clone().into_bytes()),
        ("row.hl7", row.clone().into_bytes()),
        ("wrong_count.hl7", batch.replace("BTS|2", "BTS|3").into_bytes()),
        ("batch.hl7.gz", gzip(batch.as_bytes())),
    ] {
        let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
        put(&root, name, bytes);
        let running = reading(&root, &[("glob", "*.hl7*".into())], &intake).await;
        eventually(name, || names(&root.path().join(".done")) == [name]).await;
        assert_eq!(intake.seen().texts(), [one.clone(), two.clone()], "{name}");
        running.finish().await;
    }
    let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
    put(&root, "row.hl7", &row);
    let running = reading(&root, &[("split", "none".into())], &intake).await;
    let seen = intake.wait("the message", |seen| !seen.stored.is_empty()).await;
    assert_eq!(seen.texts(), [row]);
    running.finish().await;
}

#[tokio::test]
async fn what_cannot_be_taken_is_set_aside_with_its_reason_and_recorded() {
    let bomb = gzip(&vec![b'x'; 5_000_000]);
    let torn = &gzip(adt("X").as_bytes())[..20];
    let cases: [(&str, &[u8], &str); 5] = [
        ("big.hl7", &[b'x'; 2001], "max_file_bytes (2000 bytes)"),
        ("bomb.hl7.gz", &bomb, "when unpacked"),
        ("torn.hl7.gz", torn, "gzip"),
        ("empty.hl7", b"", "empty"),
        ("lost.hl7", b"BHS|^~\\&\rgarbage here\r", "outside any message"),
    ];
    for (name, bytes, says) in cases {
        let bytes = if name.starts_with("bomb") {
            &bomb[..]
        } else {
            bytes
        };
        let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
        put(&root, name, bytes);
        // The bomb is larger than the limit only when unpacked.
        let limit = if name.starts_with("bomb") { 20_000 } else { 2000 };
        let more = [
            ("glob", Value::from("*.hl7*")),
            ("max_file_bytes", Value::Int(limit)),
        ];
        let running = reading(&root, &more, &intake).await;
        let aside = root.path().join(".error");
        let reason = aside.join(format!("{name}.reason"));
        eventually(name, || reason.exists() && names(root.path()).is_empty()).await;
        assert_eq!(fs::read(aside.join(name)).unwrap(), bytes, "{name}");
        let seen = intake.seen();
        assert_eq!((seen.stored.len(), seen.rejected.len()), (0, 1), "{name}");
        assert!(
            seen.rejected[0].1.contains(says),
            "{name}: {}",
            seen.rejected[0].1
        );
        assert!(seen.rejected[0].0.len() <= 65_536, "{name}");
        eventually("the reason", || {
            fs::read_to_string(&reason).is_ok_and(|text| text.contains(says))
        })
        .await;
        running.finish().await;
    }
}

#[tokio::test]
async fn a_refused_message_keeps_the_file_and_the_next_look_goes_on_there() {
    let root = TempDir::new().unwrap();
    let intake = Recorder::scripted(|_, count| match count {
        1..=3 => Err(Refused("no lease".into())),
        _ => Ok(Verdict::Accept),
    });
    put(&root, "a.hl7", adt("R1") + &adt("R2"));
    let running = reading(&root, &[], &intake).await;
    eventually("the moved file", || {
        names(&root.path().join(".done")) == ["a.hl7"]
    })
    .await;
    let seen = intake.seen();
    assert_eq!(
        (seen.texts(), seen.refused),
        (vec![adt("R1"), adt("R2")], 3),
        "none twice, none lost"
    );
    running.finish().await;
}

#[tokio::test]
async fn files_can_be_deleted_or_moved_elsewhere() {
    let (root, other, intake) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        Recorder::accepting(),
    );
    put(&root, "a.hl7", adt("D1"));
    let running = reading(&root, &[("after", "delete".into())], &intake).await;
    eventually("the deletion", || names(root.path()).is_empty()).await;
    running.finish().await;
    put(&root, "a.hl7", adt("D2"));
    let place = other.path().join("taken").display().to_string();
    let running = reading(&root, &[("move_to", Value::Text(place))], &intake).await;
    eventually("the move", || names(&other.path().join("taken")) == ["a.hl7"]).await;
    assert_eq!(intake.seen().texts(), [adt("D1"), adt("D2")]);
    running.finish().await;
}

#[tokio::test]
async fn kept_files_are_remembered_over_a_restart_and_read_again_when_they_change() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
    let keep = [("after", Value::from("keep"))];
    put(&root, "a.hl7", adt("K1"));
    put(&root, "b.hl7", "");
    let running = reading(&root, &keep, &intake).await;
    intake
        .wait("both files", |seen| {
            seen.stored.len() == 1 && seen.rejected.len() == 1
        })
        .await;
    let ledger = root.path().join(".holdfast-ledger");
    eventually("both entries", || {
        fs::read_to_string(&ledger).is_ok_and(|text| text.lines().count() == 3)
    })
    .await;
    running.finish().await;
    put(&root, "c.hl7", adt("K2"));
    let running = reading(&root, &keep, &intake).await;
    intake.wait("the new file", |seen| seen.stored.len() == 2).await;
    put(&root, "a.hl7", adt("K1-changed"));
    let seen = intake
        .wait("the changed file", |seen| seen.stored.len() == 3)
        .await;
    assert_eq!(seen.texts(), [adt("K1"), adt("K2"), adt("K1-changed")]);
    assert_eq!(seen.rejected.len(), 1);
    assert_eq!(names(root.path()), ["a.hl7", "b.hl7", "c.hl7"]);
    running.finish().await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_directories_hidden_and_other_files_are_never_read() {
    let (root, outside, intake) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        Recorder::accepting(),
    );
    fs::write(outside.path().join("secret.hl7"), adt("SECRET")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.hl7"), root.path().join("1.hl7")).unwrap();
    fs::create_dir(root.path().join("2.hl7")).unwrap();
    fs::write(root.path().join("2.hl7").join("deep.hl7"), adt("DEEP")).unwrap();
    fs::write(root.path().join(".3.hl7"), adt("HIDDEN")).unwrap();
    fs::write(root.path().join("4.txt"), adt("TEXT")).unwrap();
    put(&root, "5.hl7", adt("PLAIN"));
    let running = reading(&root, &[], &intake).await;
    eventually("the plain file", || {
        names(&root.path().join(".done")) == ["5.hl7"]
    })
    .await;
    running.finish().await;
    assert_eq!(intake.seen().texts(), [adt("PLAIN")]);
    assert_eq!(names(root.path()), ["1.hl7", "2.hl7", "4.txt"]);
}

#[tokio::test]
async fn files_come_in_the_order_that_was_asked_for() {
    for (order, expected) in [("name", ["a", "b", "c"]), ("mtime", ["c", "a", "b"])] {
        let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
        for (name, age) in [("a", 20), ("b", 10), ("c", 30)] {
            put(&root, &format!("{name}.hl7"), adt(name));
            let file = fs::File::options()
                .write(true)
                .open(root.path().join(format!("{name}.hl7")))
                .unwrap();
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(then).unwrap();
        }
        let running = reading(&root, &[("order", order.into())], &intake).await;
        let seen = intake.wait("three files", |seen| seen.stored.len() == 3).await;
        assert_eq!(seen.texts(), expected.map(adt), "{order}");
        running.finish().await;
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_stored_is_not_put_away_but_read_again() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::gated());
    put(&root, "a.hl7", adt("C1"));
    let running = reading(&root, &[("after", "delete".into())], &intake).await;
    intake.wait("the first accept", |seen| seen.waiting == 1).await;
    put(&root, "a.hl7", adt("C1-and-more"));
    intake.open(2);
    eventually("the deletion", || names(root.path()).is_empty()).await;
    assert_eq!(intake.seen().texts(), [adt("C1"), adt("C1-and-more")]);
    running.finish().await;
}

#[tokio::test]
async fn a_stored_file_that_cannot_be_moved_is_not_stored_twice() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::gated());
    put(&root, "a.hl7", adt("M1"));
    let running = reading(&root, &[], &intake).await;
    intake.wait("the accept", |seen| seen.waiting == 1).await;
    fs::remove_dir(root.path().join(".done")).unwrap();
    intake.open(1);
    running.wait_fault("cannot be put away").await;
    fs::create_dir(root.path().join(".done")).unwrap();
    eventually("the moved file", || {
        names(&root.path().join(".done")) == ["a.hl7"]
    })
    .await;
    assert_eq!(intake.seen().stored.len(), 1);
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_once_it_has_not_changed_for_the_set_time() {
    let (root, intake) = (TempDir::new().unwrap(), Recorder::accepting());
    put(&root, "a.hl7", adt("S1"));
    let begun = tokio::time::Instant::now();
    let more = [("stable_for", seconds(5.0)), ("poll_interval", seconds(1.0))];
    let running = reading(&root, &more, &intake).await;
    intake.wait("the file", |seen| seen.stored.len() == 1).await;
    let waited = begun.elapsed().as_secs_f64();
    assert!((5.0..7.0).contains(&waited), "{waited}");
    running.finish().await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_or_a_broken_ledger_shows_at_start() {
    let root = TempDir::new().unwrap();
    let missing = root.path().join("missing").display().to_string();
    let mut absent = source("file", &[("directory", Value::Text(missing.clone()))]).unwrap();
    let fault = absent.bind().await.unwrap_err().to_string();
    assert!(
        fault.contains(&missing) && fault.contains("make the directory"),
        "{fault}"
    );
    fs::write(root.path().join(".holdfast-ledger"), "not a ledger\n").unwrap();
    let mut broken = source("file", &options(&root, &[("after", "keep".into())])).unwrap();
    let fault = broken.bind().await.unwrap_err().to_string();
    assert!(fault.contains("line 1 of the ledger"), "{fault}");
}
