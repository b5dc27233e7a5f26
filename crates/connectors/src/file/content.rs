//! Reads a file within its limit, unpacks it and splits it into messages. Blocking.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use formats::hl7::batch;

use super::inbox::{Found, Stamp};

/// How much of a refused file becomes its ERROR message.
const HEAD_BYTES: usize = 64 * 1024;

/// What reading a file gave.
#[derive(Debug)]
pub(crate) enum Content {
    /// Its messages, in order; a note when the counts of a batch do not fit.
    Messages {
        messages: Vec<Bytes>,
        note: Option<String>,
    },
    /// It is no longer the file that was found: look again later.
    Changed,
    /// It can never be taken as it is.
    Unusable { reason: String, head: Bytes },
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) split: bool,
}

/// Reads one file. An error is trouble of the file system, worth another try.
pub(crate) fn read(found: &Found, limits: Limits) -> io::Result<Content> {
    let file = match File::open(&found.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Changed),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(unusable("the service's user may not read it", &[]));
        }
        Err(error) => return Err(error),
    };
    let same = |file: &File| -> io::Result<bool> {
        let metadata = file.metadata()?;
        Ok(metadata.is_file() && Stamp::of(&metadata) == found.stamp && found.unchanged()?)
    };
    if !same(&file)? {
        return Ok(Content::Changed);
    }
    let content = if found.name.to_ascii_lowercase().ends_with(".gz") {
        unpack(&file, limits)
    } else {
        let bytes = read_up_to(&file, limits.max_bytes)?;
        check(bytes, "", limits)
    };
    if same(&file)? {
        Ok(content)
    } else {
        Ok(Content::Changed)
    }
}

fn unpack(file: &File, limits: Limits) -> Content {
    let mut bytes = Vec::new();
    let limit = limits.max_bytes as u64 + 1;
    // A multi-member file unpacks to all of its members; the limit holds for their sum.
    match MultiGzDecoder::new(io::BufReader::new(file))
        .take(limit)
        .read_to_end(&mut bytes)
    {
        Ok(_) => check(bytes, " when unpacked", limits),
        Err(error) => unusable(&format!("not a whole gzip file: {error}"), &bytes),
    }
}

/// One byte more than the limit tells that there is more.
fn read_up_to(file: &File, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(bytes: Vec<u8>, when: &str, limits: Limits) -> Content {
    if bytes.len() > limits.max_bytes {
        let reason = format!(
            "larger than max_file_bytes ({} bytes){when}; raise the limit of this inbound or split the file",
            limits.max_bytes
        );
        return unusable(&reason, &bytes);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return unusable("the file is empty", &bytes);
    }
    let bytes = Bytes::from(bytes);
    // What is no batch goes on byte for byte, HL7 or not: the engine says what it is.
    if limits.split && batch::is_batch(&bytes) {
        split(bytes)
    } else {
        whole(bytes)
    }
}

fn whole(bytes: Bytes) -> Content {
    Content::Messages {
        messages: vec![bytes],
        note: None,
    }
}

/// Counts that do not fit are no reason to hold good messages back: they are reported.
fn split(bytes: Bytes) -> Content {
    match batch::split(bytes.clone()) {
        Ok(batch) => {
            let notes: Vec<String> = batch.mismatches.iter().map(ToString::to_string).collect();
            let note = (!notes.is_empty()).then(|| notes.join("; "));
            Content::Messages {
                messages: batch.messages,
                note,
            }
        }
        Err(fault) => {
            let place = fault
                .offset
                .map(|offset| format!(" (at byte {offset})"))
                .unwrap_or_default();
            unusable(&format!("{fault}{place}"), &bytes)
        }
    }
}

fn unusable(reason: &str, bytes: &[u8]) -> Content {
    Content::Unusable {
        reason: reason.to_owned(),
        head: Bytes::copy_from_slice(&bytes[..bytes.len().min(HEAD_BYTES)]),
    }
}
