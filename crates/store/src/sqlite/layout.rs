//! Which file lies where, and the lock that keeps a second process out.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// What the name of a file ends in that is to replace a segment's.
const REWRITTEN: &str = "-new";

/// The files of one store.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories that are missing.
    pub(super) fn prepare(root: &Path) -> Result<Layout, Error> {
        fs::create_dir_all(root.join("segments")).map_err(|error| not_writable(root, &error))?;
        Ok(Layout {
            root: root.to_owned(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn control(&self) -> PathBuf {
        self.root.join("control.db")
    }

    pub(super) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(super) fn segment(&self, number: u32) -> PathBuf {
        self.segments().join(format!("{number:06}.db"))
    }

    /// The write-ahead log of a segment's file.
    pub(super) fn log_of(&self, number: u32) -> PathBuf {
        with_suffix(&self.segment(number), "-wal")
    }

    /// Where a segment is made anew before it replaces the old file.
    pub(super) fn rewritten(&self, number: u32) -> PathBuf {
        self.segments().join(format!("{number:06}.db{REWRITTEN}"))
    }

    /// Puts the new file of a segment in the place of the old one. Whoever reads the old one goes on reading it.
    pub(super) fn replace_segment(&self, number: u32) -> std::io::Result<()> {
        let file = self.segment(number);
        // A log that a reader left beside the old file is empty, and not the new one's.
        for suffix in ["-wal", "-shm"] {
            remove_if_there(&with_suffix(&file, suffix))?;
        }
        fs::rename(self.rewritten(number), &file)?;
        File::open(self.segments())?.sync_all()
    }

    /// Removes new files of segments that did not come to replace an old one.
    pub(super) fn remove_rewritten(&self) -> std::io::Result<()> {
        for file in fs::read_dir(self.segments())? {
            let file = file?;
            if file.file_name().to_string_lossy().contains(REWRITTEN) {
                remove_if_there(&file.path())?;
            }
        }
        Ok(())
    }

    /// Bytes of a segment's files; 0 when it is gone.
    pub(super) fn segment_bytes(&self, number: u32) -> u64 {
        let file = self.segment(number);
        ["", "-wal"]
            .iter()
            .filter_map(|suffix| with_suffix(&file, suffix).metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// Numbers of the segment files on disk, ascending. Foreign files are passed over.
    pub(super) fn segments_on_disk(&self) -> Result<Vec<u32>, Error> {
        let unreadable = |error: std::io::Error| not_writable(&self.segments(), &error);
        let mut numbers = Vec::new();
        for file in fs::read_dir(self.segments()).map_err(unreadable)? {
            let name = file.map_err(unreadable)?.file_name();
            let number: Option<u32> = name
                .to_str()
                .and_then(|name| name.strip_suffix(".db"))
                .and_then(|stem| stem.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes a segment's file and its side files; one that is missing is no fault.
    pub(super) fn remove_segment(&self, number: u32) -> std::io::Result<()> {
        let file = self.segment(number);
        for suffix in ["-wal", "-shm", ""] {
            remove_if_there(&with_suffix(&file, suffix))?;
        }
        // The unlink itself must survive a power cut before anything relies on it.
        File::open(self.segments())?.sync_all()
    }

    /// Bytes of everything in the directory.
    pub(super) fn size_bytes(&self) -> std::io::Result<u64> {
        let mut total = 0;
        for directory in [self.root.clone(), self.segments()] {
            for file in fs::read_dir(directory)? {
                // A side file may vanish between the listing and the look.
                if let Ok(metadata) = file?.metadata()
                    && metadata.is_file()
                {
                    total += metadata.len();
                }
            }
        }
        Ok(total)
    }

    /// Takes the exclusive lock; it lasts as long as the file stays open.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let path = self.root.join("lock");
        let fault = |error: std::io::Error| not_writable(&self.root, &error);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(self.held_by(&mut file))),
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        // Only a courtesy for the message of whoever is refused: a full disk must not stop the start.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(file)
    }

    fn held_by(&self, file: &mut File) -> String {
        let mut pid = String::new();
        let holder = match file.read_to_string(&mut pid) {
            Ok(_) if pid.parse::<u32>().is_ok() => format!("process {pid}"),
            _ => "another process".to_owned(),
        };
        format!(
            "the data directory {} is in use by {holder}: stop it, or choose another directory",
            self.root.display()
        )
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn remove_if_there(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn not_writable(path: &Path, error: &std::io::Error) -> Error {
    Error::Refused(format!(
        "the data directory {} cannot be used ({error}): make it readable and writable for this user, or choose another",
        path.display()
    ))
}
