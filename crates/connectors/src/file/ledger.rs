//! Which files of a `keep` directory were taken: a text file of one line each, appended and flushed to
//! disk per file, rewritten whole (and pruned of files that are gone) when it is opened.
//!
//! A file that changes counts as new. A half-written last line, left by a crash, is dropped: its file
//! is read again. Any other broken line is refused, as a lost ledger would read everything again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk;
use super::inbox::Stamp;

const HEADER: &str = "holdfast file ledger 1: size, mtime in ns, name\n";
/// Entries of files that are gone, which may gather before the ledger is rewritten.
const SPARE: usize = 1000;

/// The open ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    taken: HashMap<String, Stamp>,
}

impl Ledger {
    /// Opens or makes it. `present` says whether a file is still in the directory.
    pub(crate) fn open(path: &Path, present: impl Fn(&str) -> bool) -> io::Result<Ledger> {
        let mut taken = match std::fs::read_to_string(path) {
            Ok(text) => parse(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error),
        };
        taken.retain(|name, _| present(name));
        let file = rewrite(path, &taken)?;
        Ok(Ledger {
            path: path.to_owned(),
            file,
            taken,
        })
    }

    /// Forgets files that are gone, once they are more than those that are there.
    pub(crate) fn prune(&mut self, there: usize, present: impl Fn(&str) -> bool) -> io::Result<()> {
        if self.taken.len() > 2 * there + SPARE {
            self.taken.retain(|name, _| present(name));
            self.file = rewrite(&self.path, &self.taken)?;
        }
        Ok(())
    }

    /// Whether this version of the file was taken.
    pub(crate) fn holds(&self, name: &str, stamp: Stamp) -> bool {
        self.taken.get(name) == Some(&stamp)
    }

    /// Remembers a file, durably.
    pub(crate) fn add(&mut self, name: &str, stamp: Stamp) -> io::Result<()> {
        self.file.write_all(line(name, stamp).as_bytes())?;
        self.file.sync_data()?;
        self.taken.insert(name.to_owned(), stamp);
        Ok(())
    }
}

/// Writes the ledger whole and opens it for appending.
fn rewrite(path: &Path, taken: &HashMap<String, Stamp>) -> io::Result<File> {
    let mut text = HEADER.to_owned();
    for (name, stamp) in taken {
        text.push_str(&line(name, *stamp));
    }
    disk::write_whole(&temporary(path), path, text.as_bytes())?;
    OpenOptions::new().append(true).open(path)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.new", disk::file_name(path)))
}

fn line(name: &str, stamp: Stamp) -> String {
    format!(
        "{}\t{}\t{}\n",
        stamp.bytes,
        stamp.modified_ns,
        name.escape_default()
    )
}

fn parse(text: &str) -> io::Result<HashMap<String, Stamp>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    if whole.is_empty() {
        return Ok(HashMap::new());
    }
    let body = whole.strip_prefix(HEADER).ok_or_else(|| broken(1))?;
    body.lines()
        .enumerate()
        .map(|(index, line)| parse_line(line).ok_or_else(|| broken(index + 2)))
        .collect()
}

fn parse_line(line: &str) -> Option<(String, Stamp)> {
    let mut parts = line.splitn(3, '\t');
    let bytes = parts.next()?.parse().ok()?;
    let modified_ns = parts.next()?.parse().ok()?;
    Some((unescape(parts.next()?)?, Stamp { bytes, modified_ns }))
}

/// The inverse of `str::escape_default`.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'u' => {
                let hex: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

fn broken(line: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "line {line} of the ledger is broken; mend that line, or remove the ledger to read every file again"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        bytes: 7,
        modified_ns: 1_700_000_000_000_000_001,
    };

    #[test]
    fn a_taken_file_is_remembered_after_a_restart_until_it_changes_or_goes() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".ledger");
        let names = ["a.hl7", "tab\there", "new\nline", "\u{e9}'\"\\.hl7"];
        let mut ledger = Ledger::open(&path, |_| true).unwrap();
        for name in names {
            ledger.add(name, STAMP).unwrap();
        }
        let again = Ledger::open(&path, |_| true).unwrap();
        for name in names {
            assert!(again.holds(name, STAMP), "{name:?}");
            assert!(!again.holds(name, Stamp { bytes: 8, ..STAMP }));
        }
        Ledger::open(&path, |name| name != "a.hl7").unwrap();
        assert!(!Ledger::open(&path, |_| true).unwrap().holds("a.hl7", STAMP));
    }

    #[test]
    fn entries_of_files_that_are_gone_do_not_gather_without_bound() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".ledger");
        let mut ledger = Ledger::open(&path, |_| true).unwrap();
        for number in 0..SPARE + 3 {
            ledger.taken.insert(number.to_string(), STAMP);
        }
        ledger.prune(2, |name| name == "7").unwrap();
        assert_eq!(ledger.taken.len(), SPARE + 3, "not yet");
        ledger.prune(1, |name| name == "7").unwrap();
        assert_eq!(ledger.taken.len(), 1);
        ledger.add("new", STAMP).unwrap();
        let again = Ledger::open(&path, |_| true).unwrap();
        assert!(again.holds("7", STAMP) && again.holds("new", STAMP) && !again.holds("8", STAMP));
    }

    #[test]
    fn a_torn_last_line_costs_that_line_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".ledger");
        std::fs::write(&path, format!("{HEADER}7\t{}\ta.hl7\n7\t17", STAMP.modified_ns)).unwrap();
        let ledger = Ledger::open(&path, |_| true).unwrap();
        assert!(ledger.holds("a.hl7", STAMP));
    }

    #[test]
    fn a_broken_ledger_is_refused_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".ledger");
        std::fs::write(&path, format!("{HEADER}7\t1\ta.hl7\nnonsense\n")).unwrap();
        let error = Ledger::open(&path, |_| true).unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }
}
