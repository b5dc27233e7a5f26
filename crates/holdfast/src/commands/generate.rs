//! `holdfast generate`: made-up messages for tests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::recipe::{self, Recipe};
use bench::wire;
use bytes::Bytes;

use crate::output::{Advice, Output};

/// Make synthetic messages: no real people, and the same seed gives the same messages.
///
/// Without --out they go to the standard output one after the other, which `holdfast send -` reads.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to make: a type such as ORU, a type and event such as ADT^A08, `all` for one of each in
    /// turn, or `mixed` for a day's mix. Several take turns.
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "ADT^A01")]
    kind: Vec<String>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// What content is drawn from.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Aim at about this many bytes each.
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// HL7 version of the messages.
    #[arg(long, value_name = "VERSION", default_value = recipe::VERSION)]
    hl7_version: String,
    /// The date in the messages.
    #[arg(long, value_name = "YYYYMMDDHHMMSS", default_value = "20250101120000")]
    date: String,
    /// Write each message to a file of its own in this folder; `-` is the standard output.
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,
    /// Frame each message for MLLP, to be piped into a socket.
    #[arg(long)]
    mllp: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let recipe = Recipe {
        kinds: args.kind.clone(),
        version: args.hl7_version.clone(),
        size: args.size,
        seed: args.seed,
        date: args.date.clone(),
    };
    let messages = recipe.messages().map_err(|fault| {
        anyhow::Error::new(fault).context(Advice::usage(
            "these messages cannot be made",
            "see holdfast generate --help",
        ))
    })?;
    let messages = messages
        .take(args.count)
        .map(|message| if args.mllp { framed(&message) } else { message });
    if args.out.as_os_str() == "-" {
        print(messages, out);
    } else {
        write(messages, &args.out, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn framed(message: &Bytes) -> Bytes {
    let mut frame = Vec::with_capacity(message.len() + 3);
    wire::push_frame(&mut frame, message);
    frame.into()
}

fn print(messages: impl Iterator<Item = Bytes>, out: &Output) {
    for message in messages {
        if out.is_json() {
            out.json_line(&serde_json::json!({ "message": String::from_utf8_lossy(&message) }));
        } else {
            out.bytes(&message);
        }
    }
}

fn write(messages: impl Iterator<Item = Bytes>, directory: &Path, out: &Output) -> anyhow::Result<()> {
    let advise = |error: std::io::Error, path: &Path| {
        let advice = Advice::new(
            format!("{} cannot be written", path.display()),
            "is there room, and is the folder yours?",
        );
        anyhow::Error::new(error).context(advice)
    };
    std::fs::create_dir_all(directory).map_err(|error| advise(error, directory))?;
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for (number, message) in (1_u64..).zip(messages) {
        let path = directory.join(format!("{number:06}.hl7"));
        std::fs::write(&path, &message).map_err(|error| advise(error, &path))?;
        files += 1;
        bytes += message.len() as u64;
    }
    if out.is_json() {
        out.json(&serde_json::json!({ "directory": directory, "files": files, "bytes": bytes }));
    } else {
        out.line(&format!(
            "{files} messages, {bytes} bytes, in {}",
            directory.display()
        ));
    }
    Ok(())
}
