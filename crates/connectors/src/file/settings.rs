//! Checked settings of both directions.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use model::connector::Call;
use model::problem::Problem;

use super::name::Pattern;
use crate::options::Options;

/// Which file comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Name,
    Modified,
}

/// What becomes of a file whose messages are all stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Move(PathBuf),
    Delete,
    /// Stays; the ledger at this path remembers it.
    Keep(PathBuf),
}

/// A file inbound.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) directory: PathBuf,
    pub(crate) glob: GlobMatcher,
    pub(crate) poll_interval: Duration,
    pub(crate) stable_for: Duration,
    pub(crate) order: Order,
    pub(crate) after: After,
    pub(crate) error_to: PathBuf,
    pub(crate) max_file_bytes: usize,
    pub(crate) split: bool,
}

/// A file outbound.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) directory: PathBuf,
    pub(crate) pattern: Pattern,
}

impl Inbound {
    pub(crate) fn read(call: &Call) -> Result<Inbound, Vec<Problem>> {
        let mut options = Options::of(call);
        let directory = lexical(&options.text("directory"));
        let glob = glob(&mut options);
        let beside = |text: &str, default: &str| {
            if text.is_empty() {
                directory.join(default)
            } else {
                lexical(text)
            }
        };
        let after = match call.text("after") {
            "delete" => After::Delete,
            "keep" => After::Keep(beside(call.text("ledger"), ".holdfast-ledger")),
            _ => After::Move(beside(call.text("move_to"), ".done")),
        };
        let error_to = beside(call.text("error_to"), ".error");
        for (name, place) in [("move_to", moved_to(&after)), ("error_to", Some(&error_to))] {
            if place == Some(&directory) {
                options.problem(
                    format!("`{name}` of file() is the directory that is read"),
                    "choose another directory, or the file would be read again and again",
                );
            }
        }
        let poll_interval = options.duration("poll_interval");
        let stable_for = options.duration_or_off("stable_for").unwrap_or_default();
        let max_file_bytes = options.number("max_file_bytes", 1, 4 << 30);
        let order = if call.text("order") == "mtime" {
            Order::Modified
        } else {
            Order::Name
        };
        let split = call.text("split") != "none";
        options.finish(glob.map(|glob| Inbound {
            directory,
            glob,
            poll_interval,
            stable_for,
            order,
            after,
            error_to,
            max_file_bytes,
            split,
        }))
    }
}

impl Outbound {
    pub(crate) fn read(call: &Call) -> Result<Outbound, Vec<Problem>> {
        let mut options = Options::of(call);
        let directory = lexical(&options.text("directory"));
        let pattern = match Pattern::parse(&options.text("filename")) {
            Ok(pattern) => Some(pattern),
            Err(fault) => {
                options.problem(
                    format!("`filename` of file(): {fault}"),
                    "for example \"{send}.hl7\"",
                );
                None
            }
        };
        options.finish(pattern.map(|pattern| Outbound { directory, pattern }))
    }
}

fn glob(options: &mut Options<'_>) -> Option<GlobMatcher> {
    let text = options.text("glob");
    if text.contains(['/', '\\']) {
        options.problem(
            "`glob` of file() names files, not directories".to_owned(),
            "put the directory into `directory`, and leave only the file name pattern",
        );
        return None;
    }
    match GlobBuilder::new(&text).literal_separator(true).build() {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => {
            options.problem(
                format!("`glob` of file() is wrong: {}", error.kind()),
                "for example \"*.hl7\"",
            );
            None
        }
    }
}

fn moved_to(after: &After) -> Option<&PathBuf> {
    match after {
        After::Move(place) => Some(place),
        After::Delete | After::Keep(_) => None,
    }
}

/// The path without `.` and trailing separators, so that two spellings of one directory look alike.
/// `..` stays: only the file system knows what it means behind a symbolic link.
pub(crate) fn lexical(text: &str) -> PathBuf {
    let path: PathBuf = Path::new(text)
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path
    }
}
