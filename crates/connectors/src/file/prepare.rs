//! What a file inbound needs before it starts: its directories, the right to use them, its ledger.
//! Blocking.

use std::fs;
use std::io;
use std::path::Path;

use super::ledger::Ledger;
use super::settings::{After, Inbound};
use super::source::trouble;
use crate::contract::SourceError;

/// Checks and makes what is needed, so that a fault shows at start and not at the first file.
pub(crate) fn prepare(settings: &Inbound) -> Result<Option<Ledger>, SourceError> {
    let directory = &settings.directory;
    fs::read_dir(directory).map_err(|error| trouble("opening the directory", directory, error))?;
    if let After::Keep(path) = &settings.after {
        let present = |name: &str| directory.join(name).exists();
        return Ledger::open(path, present)
            .map(Some)
            .map_err(|error| ledger_trouble(path, error));
    }
    let writing = |error| trouble("moving files out of", directory, error);
    probe(directory).map_err(writing)?;
    let places = [
        Some(&settings.error_to),
        match &settings.after {
            After::Move(place) => Some(place),
            _ => None,
        },
    ];
    for place in places.into_iter().flatten() {
        make(place)
            .and_then(|()| probe(place))
            .map_err(|error| trouble("moving files into", place, error))?;
    }
    Ok(None)
}

fn ledger_trouble(path: &Path, error: io::Error) -> SourceError {
    let mut fault = trouble("opening the ledger", path, error);
    if let Some(error) = fault
        .source
        .as_ref()
        .filter(|error| error.kind() == io::ErrorKind::InvalidData)
    {
        fault.advice = error.to_string();
    }
    fault
}

/// Makes the last level of the path only: a missing mount must not be papered over.
fn make(place: &Path) -> io::Result<()> {
    match fs::create_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_dir() => Ok(()),
        other => other,
    }
}

fn probe(place: &Path) -> io::Result<()> {
    let path = place.join(format!(".holdfast-probe-{}", std::process::id()));
    fs::File::create(&path)?;
    fs::remove_file(&path)
}
