//! Small durable steps on a file system. Blocking.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file so that it appears whole and durable under its name, or not at all.
/// `temporary` must stand in the same directory.
pub(crate) fn write_whole(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_new(temporary, bytes).and_then(|()| fs::rename(temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_parent(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A left-over of a crash, or a planted link: never written through.
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a rename or removal in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Moves a file into a directory under a name that is not taken there yet; also across file systems.
/// Returns where it went.
pub(crate) fn move_into(path: &Path, directory: &Path) -> io::Result<PathBuf> {
    let target = free_name(directory, path)?;
    match fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let temporary = directory.join(format!(".{}.moving", file_name(path)));
            write_whole(&temporary, &target, &fs::read(path)?)?;
            fs::remove_file(path)?;
        }
        other => other?,
    }
    Ok(target)
}

fn free_name(directory: &Path, path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let plain = directory.join(name);
    let numbered = (1..100_000).map(|number| {
        let mut name = name.to_owned();
        name.push(format!(".{number}"));
        directory.join(name)
    });
    std::iter::once(plain)
        .chain(numbered)
        .find(|candidate| fs::symlink_metadata(candidate).is_err())
        .ok_or_else(|| io::Error::other("100000 files of this name are there already"))
}

/// The last part of a path, for people.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// What probably is wrong with a path, and what to do.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it is not there; make the directory, or mount the share that holds it",
        io::ErrorKind::PermissionDenied => {
            "the service's user may not do this; give it the right to read, write and rename in the directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk or quota is full; free some space, delivery goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; mount it for writing",
        io::ErrorKind::NotADirectory => "a part of the path is not a directory; correct the path",
        _ => "look at the file system and its mount",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_never_overwrites_one_of_the_same_name() {
        let root = tempfile::tempdir().unwrap();
        let done = root.path().join("done");
        fs::create_dir(&done).unwrap();
        let names: Vec<String> = (0..3)
            .map(|number| {
                let path = root.path().join("a.hl7");
                fs::write(&path, number.to_string()).unwrap();
                file_name(&move_into(&path, &done).unwrap())
            })
            .collect();
        assert_eq!(names, ["a.hl7", "a.hl7.1", "a.hl7.2"]);
        assert_eq!(fs::read_to_string(done.join("a.hl7")).unwrap(), "0");
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        assert!(write_whole(&root.path().join(".t"), &path, b"body").is_err());
        assert!(!root.path().join(".t").exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_at_the_temporary_name_is_not_written_through() {
        let root = tempfile::tempdir().unwrap();
        let victim = root.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, root.path().join(".t")).unwrap();
        write_whole(&root.path().join(".t"), &root.path().join("out"), b"body").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_to_string(root.path().join("out")).unwrap(), "body");
    }
}
