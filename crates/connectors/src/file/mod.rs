//! `file()`: reads messages from the files of a directory, or writes one file per send.
//!
//! Reading promises: a file is moved or deleted only after *all* its messages are stored; a file that
//! cannot be read as messages is moved to `error_to` beside a `.reason` text, and shows as an ERROR
//! message. A crash between storing and moving reads the file again: at least once, never less.
//! Writing promises: a file appears whole and durable under its name or not at all, and each attempt of
//! a send uses the same name, so that a repeat overwrites instead of doubling.

mod content;
mod disk;
mod finish;
mod inbox;
mod ledger;
mod name;
mod prepare;
mod settings;
mod sink;
mod source;

use model::connector::{Call, Param, ParamKind, Spec};
use model::problem::Problem;
use std::time::Duration;

use crate::contract::{Connector, Sink, Source};

/// The connector.
pub struct File;

impl Connector for File {
    fn spec(&self) -> Spec {
        Spec {
            name: "file",
            summary: "Reads messages from the files of a directory; writes one file per send.",
            inbound: Some(inbound()),
            outbound: Some(outbound()),
        }
    }

    fn source(&self, call: &Call) -> Result<Box<dyn Source>, Vec<Problem>> {
        Ok(Box::new(source::FileSource::new(settings::Inbound::read(call)?)))
    }

    fn sink(&self, call: &Call) -> Result<Box<dyn Sink>, Vec<Problem>> {
        Ok(Box::new(sink::FileSink::new(settings::Outbound::read(call)?)))
    }

    fn claims(&self, call: &Call) -> Vec<String> {
        vec![format!(
            "file:{}",
            settings::lexical(call.text("directory")).display()
        )]
    }
}

fn inbound() -> Vec<Param> {
    use ParamKind::{Choice, Int, Seconds, Text};
    vec![
        Param::required(
            "directory",
            Text,
            "Where to look for files; not in directories below it.",
        ),
        Param::optional(
            "glob",
            Text,
            "*.hl7",
            "Which file names to take. Names that start with a dot are never taken.",
        ),
        Param::optional(
            "poll_interval",
            Seconds,
            Duration::from_secs(1),
            "How often to look.",
        ),
        Param::optional(
            "stable_for",
            Seconds,
            Duration::from_secs(1),
            "Size and time of change must stay the same this long before a file is read; 0 when files are moved in whole.",
        ),
        Param::optional(
            "order",
            Choice(&["name", "mtime"]),
            "name",
            "Which file comes first.",
        ),
        Param::optional(
            "after",
            Choice(&["move", "delete", "keep"]),
            "move",
            "What becomes of a file whose messages are all stored. `keep` remembers it in a ledger.",
        ),
        Param::optional(
            "move_to",
            Text,
            "",
            "Where `move` puts it; default `.done` in the directory.",
        ),
        Param::optional(
            "error_to",
            Text,
            "",
            "Where files go that cannot be read; default `.error` in the directory.",
        ),
        Param::optional(
            "ledger",
            Text,
            "",
            "The ledger file of `keep`; default `.holdfast-ledger` in the directory.",
        ),
        Param::optional(
            "max_file_bytes",
            Int,
            67_108_864,
            "A larger file goes to `error_to`; holds for the unpacked size of a .gz too.",
        ),
        Param::optional(
            "split",
            Choice(&["hl7", "none"]),
            "hl7",
            "`hl7`: a batch (FHS/BHS) or several messages in a row become one message each. `none`: a file is a message.",
        ),
    ]
}

fn outbound() -> Vec<Param> {
    use ParamKind::Text;
    vec![
        Param::required("directory", Text, "Where to write; must exist."),
        Param::optional(
            "filename",
            Text,
            "{send}.hl7",
            "Name of each file; must hold {send}, and may hold {message}, {control_id} and {connection}.",
        ),
    ]
}
