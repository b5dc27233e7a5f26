//! What lies in the directory, and which of it has come to rest.
//!
//! Only plain files directly in the directory count: never a symbolic link, a pipe, a directory or a
//! name that starts with a dot, so that nothing outside the directory can be read through it.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use globset::GlobMatcher;
use tokio::time::Instant;

use super::settings::Order;

/// At most this many files are looked at in one pass, the first by order; the rest wait for the next.
const PASS_MAX: usize = 10_000;

/// The version of a file: what changes when it is written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    pub(crate) modified_ns: i64,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Stamp {
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let modified_ns = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Stamp {
            bytes: metadata.len(),
            modified_ns,
        }
    }
}

/// A file that fits the glob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
}

impl Found {
    /// Whether the file on disk is still this version.
    pub(crate) fn unchanged(&self) -> io::Result<bool> {
        let metadata = std::fs::symlink_metadata(&self.path)?;
        Ok(metadata.is_file() && Stamp::of(&metadata) == self.stamp)
    }
}

/// What a look into the directory gave.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// In the order in which they are to be taken.
    pub(crate) files: Vec<Found>,
    /// Entries that fit the glob but are links or other things that are never read.
    pub(crate) skipped: usize,
    /// Plain files that fit the glob, wanted or not.
    pub(crate) present: usize,
}

/// Looks into the directory. Blocking. `wanted` leaves out what is known already.
pub(crate) fn list(
    directory: &Path,
    glob: &GlobMatcher,
    order: Order,
    wanted: impl Fn(&str, Stamp) -> bool,
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || !glob.is_match(&name) {
            continue;
        }
        let metadata = match std::fs::symlink_metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match name.into_string() {
            Ok(name) if metadata.is_file() => {
                listing.present += 1;
                let stamp = Stamp::of(&metadata);
                if wanted(&name, stamp) {
                    listing.files.push(Found {
                        name,
                        path: entry.path(),
                        stamp,
                    });
                }
            }
            Ok(_) if metadata.is_dir() => {}
            _ => listing.skipped += 1,
        }
    }
    sort(&mut listing.files, order);
    listing.files.truncate(PASS_MAX);
    Ok(listing)
}

fn sort(files: &mut [Found], order: Order) {
    match order {
        Order::Name => files.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Modified => {
            files.sort_by(|a, b| (a.stamp.modified_ns, &a.name).cmp(&(b.stamp.modified_ns, &b.name)));
        }
    }
}

/// Remembers since when each file has not changed.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    since: HashMap<String, (Stamp, Instant)>,
}

impl Rest {
    /// The files that have not changed for `stable_for`, in the order given. In that order, none is
    /// taken before an earlier one that is still changing.
    pub(crate) fn at_rest(&mut self, files: Vec<Found>, now: Instant, stable_for: Duration) -> Vec<Found> {
        let mut since = HashMap::with_capacity(files.len());
        for file in &files {
            let start = match self.since.get(&file.name) {
                Some((stamp, start)) if *stamp == file.stamp => *start,
                _ => now,
            };
            since.insert(file.name.clone(), (file.stamp, start));
        }
        self.since = since;
        let rested = |file: &Found| {
            self.since
                .get(&file.name)
                .is_some_and(|(_, start)| now.duration_since(*start) >= stable_for)
        };
        files.into_iter().take_while(rested).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, bytes: u64, modified_ns: i64) -> Found {
        Found {
            name: name.into(),
            path: name.into(),
            stamp: Stamp { bytes, modified_ns },
        }
    }

    fn names(files: &[Found]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_growing_file_waits_and_holds_back_those_behind_it() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut rest = Rest::default();
        let pass = |rest: &mut Rest, at: u32, sizes: [u64; 3]| {
            let files = ["a", "b", "c"]
                .iter()
                .zip(sizes)
                .map(|(name, bytes)| found(name, bytes, 0))
                .collect();
            names(&rest.at_rest(files, start + second * at, second)).join("")
        };
        assert_eq!(pass(&mut rest, 0, [1, 1, 1]), "");
        assert_eq!(pass(&mut rest, 1, [1, 2, 1]), "a");
        assert_eq!(pass(&mut rest, 2, [1, 2, 1]), "abc");
    }

    #[test]
    fn files_come_by_name_or_by_age() {
        let mut files = vec![found("b", 1, 1), found("a", 1, 3), found("c", 1, 2)];
        sort(&mut files, Order::Name);
        assert_eq!(names(&files), ["a", "b", "c"]);
        sort(&mut files, Order::Modified);
        assert_eq!(names(&files), ["b", "c", "a"]);
    }
}
