//! Makes the dictionary that bodies are compressed with, from made-up messages only:
//!
//! ```sh
//! cargo run --release -p store --example dictionary -- crates/store/src/packing/hl7-2.dict
//! ```
//!
//! The same generator and the same zstd give the same bytes. A dictionary that was ever written with is never changed:
//! a better one is a new file with a new number (see `packing`).
//!
//! Made from: admissions, results, orders, appointments, documents, pharmacy, in eight versions of HL7 and several sizes,
//! and acknowledgements. Not from VXU, DFT and BAR, on which a test sees whether it also serves what it does not know.

use std::fmt::Write as _;

use bench::recipe::Recipe;

type Failure = Box<dyn std::error::Error>;

const BYTES: usize = 32 << 10;
const VERSIONS: [&str; 8] = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"];
/// `mixed` draws as on a hospital's day.
const KINDS: [&str; 10] = [
    "ADT", "ORU", "ORM", "SIU", "MDM", "RDE", "OML", "mixed", "mixed", "mixed",
];
const SIZES: [Option<usize>; 3] = [None, Some(1_024), Some(2_000)];
/// Messages of each version and size.
const COUNT: usize = 250;
/// Kinds that are left out.
const KEPT_OUT: [&[u8]; 3] = [b"|VXU^", b"|DFT^", b"|BAR^"];

fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("name the file to write")?;
    if std::path::Path::new(&path).exists() {
        return Err(format!("{path} is there already: what was written with it must stay readable").into());
    }
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for (index, version) in VERSIONS.into_iter().enumerate() {
        for (nth, size) in SIZES.into_iter().enumerate() {
            let seed = 100 + (index * SIZES.len() + nth) as u64;
            let recipe = Recipe {
                kinds: KINDS.map(str::to_owned).to_vec(),
                version: version.to_owned(),
                size,
                seed,
                date: format!(
                    "20{:02}{:02}{:02}093412",
                    24 + seed % 9,
                    seed % 12 + 1,
                    seed % 27 + 1
                ),
            };
            let known = |message: &bytes::Bytes| {
                !KEPT_OUT
                    .iter()
                    .any(|kind| message.windows(kind.len()).any(|part| part == *kind))
            };
            let messages = recipe.messages()?.take(COUNT).filter(known);
            samples.extend(messages.map(|message| message.to_vec()));
        }
    }
    let replies: Vec<Vec<u8>> = samples
        .iter()
        .step_by(10)
        .enumerate()
        .map(|(index, message)| reply(message, index))
        .collect();
    samples.extend(replies);
    std::fs::write(path, zstd::dict::from_samples(&samples, BYTES)?)?;
    Ok(())
}

/// An acknowledgement of a message.
fn reply(message: &[u8], index: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    let fields: Vec<&str> = text.split('\r').next().unwrap_or_default().split('|').collect();
    let field = |number: usize| fields.get(number).copied().unwrap_or_default();
    let event = field(8).split('^').nth(1).unwrap_or_default();
    let mut reply = String::new();
    let _ = write!(
        reply,
        "MSH|^~\\&|{}|{}|{}|{}|{}||ACK^{event}^ACK|{}|{}|{}\rMSA|AA|{}\r",
        field(4),
        field(5),
        field(2),
        field(3),
        field(6),
        index * 7_919,
        field(10),
        field(11),
        field(9)
    );
    reply.into_bytes()
}
