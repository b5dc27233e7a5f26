//! What becomes of a file once its messages are stored, or once it turned out unreadable. Blocking.

use std::fs;
use std::io;
use std::path::Path;

use parking_lot::Mutex;

use super::disk;
use super::inbox::Found;
use super::ledger::Ledger;
use super::settings::{After, Inbound};

/// What was found out about a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// All its messages are stored.
    Stored,
    /// It cannot be taken; the text says why.
    Failed(String),
}

/// Puts the file where it belongs. Returns false, and touches nothing, when the file has changed since
/// it was read: what it holds now has not been stored.
pub(crate) fn finish(
    settings: &Inbound,
    ledger: Option<&Mutex<Ledger>>,
    file: &Found,
    verdict: &Verdict,
) -> io::Result<bool> {
    match file.unchanged() {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    match (&settings.after, verdict, ledger) {
        (After::Keep(_), _, Some(ledger)) => ledger.lock().add(&file.name, file.stamp)?,
        (After::Keep(_), _, None) => {}
        (_, Verdict::Failed(reason), _) => set_aside(&settings.error_to, file, reason)?,
        (After::Move(place), Verdict::Stored, _) => {
            disk::move_into(&file.path, place)?;
        }
        (After::Delete, Verdict::Stored, _) => fs::remove_file(&file.path)?,
    }
    Ok(true)
}

fn set_aside(place: &Path, file: &Found, reason: &str) -> io::Result<()> {
    let target = disk::move_into(&file.path, place)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".reason");
    fs::write(target.with_file_name(name), format!("{reason}\n"))
}
