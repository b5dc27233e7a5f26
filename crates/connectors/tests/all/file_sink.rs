//! The file outbound, on real directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use connectors::{FailureClass, Sink};
use model::connector::Value;
use tempfile::TempDir;

use crate::support::{adt, delivery, sink};

fn writing(directory: &Path, filename: &str) -> Box<dyn Sink> {
    let directory = Value::Text(directory.display().to_string());
    sink("file", &[("directory", directory), ("filename", filename.into())]).unwrap()
}

fn everything(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn each_send_is_one_file_and_a_repeat_overwrites_it() {
    let root = TempDir::new().unwrap();
    let mut sink = writing(root.path(), "{send}.hl7");
    sink.deliver(&delivery(1, 1, &adt("A"))).await.unwrap();
    sink.another().deliver(&delivery(1, 2, &adt("A"))).await.unwrap();
    sink.deliver(&delivery(2, 1, &adt("B"))).await.unwrap();
    assert_eq!(everything(root.path()), ["1-1.hl7", "1-2.hl7"]);
    assert_eq!(fs::read_to_string(root.path().join("1-1.hl7")).unwrap(), adt("A"));
}

#[tokio::test]
async fn no_control_id_leads_out_of_the_directory() {
    let root = TempDir::new().unwrap();
    let inner = root.path().join("out");
    fs::create_dir(&inner).unwrap();
    let mut sink = writing(&inner, "{control_id}-{send}");
    for (number, id) in ["../../up", "/etc/passwd", "..", "a\\b", ".hidden"]
        .iter()
        .enumerate()
    {
        sink.deliver(&delivery(number as u64, 1, &adt(id))).await.unwrap();
    }
    assert_eq!(everything(root.path()), ["out"]);
    let names = everything(&inner);
    assert_eq!(names.len(), 5);
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
}

#[tokio::test]
async fn a_missing_directory_is_retried_with_advice_until_it_is_there() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("out");
    let mut sink = writing(&directory, "{send}.hl7");
    let error = sink.deliver(&delivery(1, 1, &adt("A"))).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Retry);
    assert!(error.text.contains("make the directory"), "{}", error.text);
    assert!(!directory.exists(), "a missing mount is not papered over");
    fs::create_dir(&directory).unwrap();
    sink.deliver(&delivery(1, 2, &adt("A"))).await.unwrap();
    assert_eq!(everything(&directory), ["1-1.hl7"]);
}

/// A small file system, where the machine lets us mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[tokio::test]
async fn a_full_disk_is_retried_leaves_no_half_file_and_goes_on_when_there_is_room() {
    let root = TempDir::new().unwrap();
    // Without the right to mount, a device that is always full stands for the directory's disk.
    let Some(disk) = SmallDisk::mount(root.path().join("disk")) else {
        let error = fs::write("/dev/full", "x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        return;
    };
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![0; 48 * 1024]).unwrap();
    let mut sink = writing(&disk.0, "{send}.hl7");
    let body = adt("A") + &"x".repeat(30_000);
    let error = sink.deliver(&delivery(1, 1, &body)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Retry);
    assert!(error.text.contains("full"), "{}", error.text);
    assert_eq!(everything(&disk.0), ["filler"]);
    fs::remove_file(&filler).unwrap();
    sink.deliver(&delivery(1, 2, &body)).await.unwrap();
    assert_eq!(everything(&disk.0), ["1-1.hl7"]);
}
