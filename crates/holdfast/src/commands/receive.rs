//! `holdfast receive`: a partner that takes messages, and misbehaves when asked to.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bench::sink::{self, Answer, Counts, Observer, Received, Sink};
use bench::wire;
use parking_lot::Mutex;
use serde::Serialize;

use super::manners::Manners;
use crate::output::{self, Advice, Output};

/// Receive messages over MLLP, acknowledge them, and print a line for each.
///
/// The line tells control id, type and size; what messages say is shown only with --show and kept
/// only with --out.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The port to listen on; 0 takes a free one and prints it.
    #[arg(long, value_name = "PORT", default_value_t = 2575)]
    port: u16,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Write each accepted message to a file of its own in this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stop after this many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print no line for each message.
    #[arg(long, short)]
    quiet: bool,
    /// Print what messages say.
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    manners: Manners,
}

/// One message, for machines.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    control_id: &'a str,
    message_type: &'a str,
    bytes: usize,
    answer: &'a str,
    from: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

/// What every connection does with a message besides answering it.
struct Desk {
    out: Output,
    quiet: bool,
    show: bool,
    directory: Option<PathBuf>,
    taken: AtomicU64,
    failure: Mutex<Option<(PathBuf, std::io::Error)>>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &args.out {
        std::fs::create_dir_all(directory).map_err(|error| {
            let problem = format!("the folder {} cannot be made", directory.display());
            anyhow::Error::new(error).context(Advice::usage(problem, "choose a folder you may write to"))
        })?;
    }
    let behaviour = args.manners.behaviour();
    let desk = Arc::new(Desk {
        out: *out,
        quiet: args.quiet,
        show: args.show,
        directory: args.out,
        taken: AtomicU64::new(0),
        failure: Mutex::new(None),
    });
    let observed = Arc::clone(&desk);
    let address = SocketAddr::new(args.host, args.port);
    let options = sink::Options {
        bind: vec![address],
        record: false,
        observer: Some(Observer::new(move |received| observed.take(received))),
        ..sink::Options::local(0).behaving(behaviour)
    };
    let sink = Sink::start(options).await.map_err(|error| {
        let hint = format!(
            "another program may hold port {}; --port 0 takes a free one",
            args.port
        );
        anyhow::Error::new(error).context(Advice::new("nothing can be received", hint))
    })?;
    announce(out, sink.addresses()[0]);
    wait(&sink, args.count, &desk).await?;
    let counts = sink.counts();
    sink.stop().await;
    sum_up(out, counts);
    match desk.failure.lock().take() {
        None => Ok(ExitCode::SUCCESS),
        Some((file, error)) => {
            let advice = Advice::new(
                format!("{} cannot be written", file.display()),
                "is there room, and is the folder yours?",
            );
            Err(anyhow::Error::new(error).context(advice))
        }
    }
}

/// Until enough has come, a file cannot be written, or somebody presses Ctrl-C.
async fn wait(sink: &Sink, count: Option<u64>, desk: &Desk) -> anyhow::Result<()> {
    let enough =
        |counts: &Counts| count.is_some_and(|count| counts.arrived >= count) || desk.failure.lock().is_some();
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("Ctrl-C cannot be watched"),
        () = async { while sink.wait_until(Duration::from_secs(3600), enough).await.is_err() {} } => Ok(()),
    }
}

fn announce(out: &Output, address: SocketAddr) {
    if out.is_json() {
        out.json_line(&serde_json::json!({ "listening": address }));
    } else {
        out.remark(&format!("listening on {address}; Ctrl-C ends it"));
    }
}

fn sum_up(out: &Output, counts: Counts) {
    if out.is_json() {
        out.json_line(&serde_json::json!({ "totals": counts }));
        return;
    }
    out.line(&format!(
        "{} messages over {} connections: {} accepted, {} refused, {} unanswered",
        output::thousands(counts.arrived),
        counts.connections,
        output::thousands(counts.accepted),
        output::thousands(counts.refused),
        output::thousands(counts.unanswered),
    ));
}

impl Desk {
    fn take(&self, received: &Received<'_>) {
        let number = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let control_id = String::from_utf8_lossy(received.control_id);
        if let (Some(directory), Answer::Accepted) = (&self.directory, received.answer) {
            let file = directory.join(file_name(number, &control_id));
            if let Err(error) = std::fs::write(&file, received.body) {
                self.failure.lock().get_or_insert((file, error));
            }
        }
        if !self.quiet {
            self.print(number, &control_id, received);
        }
    }

    fn print(&self, number: u64, control_id: &str, received: &Received<'_>) {
        let message_type = wire::header_field(received.body, 9)
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        let (answer, bytes) = (answer_text(received), received.body.len());
        let body = self.show.then(|| formats::hl7::charset::text_of(received.body));
        if self.out.is_json() {
            let from = received.peer;
            let message_type = &message_type;
            self.out.json_line(&Line {
                number,
                control_id,
                message_type,
                bytes,
                answer: &answer,
                from,
                body,
            });
            return;
        }
        let style = if received.answer == Answer::Accepted {
            output::GOOD
        } else {
            output::ODD
        };
        let answer = output::paint(style, &answer);
        self.out.line(&format!(
            "{number:>6}  {answer}  {control_id}  {message_type}  {bytes} bytes"
        ));
        if let Some(body) = body {
            self.out.text(&body.replace('\r', "\n"));
        }
    }
}

fn answer_text(received: &Received<'_>) -> String {
    match received.misdeed {
        None => "AA".to_owned(),
        Some(sink::Misdeed::Nak(code)) => format!("{code:?}").to_uppercase(),
        Some(misdeed) => format!("{misdeed:?}").to_lowercase(),
    }
}

/// Unique by its number; nothing in a control id can lead out of the folder.
fn file_name(number: u64, control_id: &str) -> PathBuf {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c
        } else {
            '_'
        }
    };
    let id: String = control_id.chars().take(40).map(safe).collect();
    Path::new(&format!("{number:06}-{id}.hl7")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_id_cannot_name_a_file_elsewhere() {
        for (id, name) in [
            ("ID-7", "000001-ID-7.hl7"),
            ("../../etc", "000001-______etc.hl7"),
            ("", "000001-.hl7"),
            ("a/b\\c", "000001-a_b_c.hl7"),
        ] {
            assert_eq!(file_name(1, id), Path::new(name), "{id}");
        }
        assert!(file_name(1, &"x".repeat(5000)).as_os_str().len() < 60);
    }
}
