//! `holdfast send`: sends messages from a file and prints the answers.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bench::client::{Answer, Client};
use bench::wire;
use bytes::Bytes;
use serde::Serialize;

use super::values;
use crate::cli;
use crate::output::{self, Advice, Output};

/// Send messages from a file over MLLP, one at a time, and print each answer.
///
/// A file may hold one message, several, or FHS/BHS batches. Line feeds become carriage returns,
/// as HL7 wants them, unless --raw is given.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file; `-` reads the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The receiver.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::host_port)]
    to: String,
    /// Send the whole file this many times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// How long to wait for the connection and for each answer.
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s")]
    timeout: Duration,
    /// How to send a file of several messages.
    #[arg(long, value_enum, default_value_t = Batch::Split)]
    batch: Batch,
    /// Send the bytes as they are.
    #[arg(long)]
    raw: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Batch {
    /// Each message by itself.
    Split,
    /// The file as one frame.
    Whole,
}

/// One exchange, for machines.
#[derive(Serialize)]
struct Exchange {
    control_id: String,
    message_type: String,
    code: String,
    accepted: bool,
    text: String,
    took_ms: f64,
}

/// Runs the command.
pub(crate) async fn run(args: Args, out: &Output) -> anyhow::Result<ExitCode> {
    let messages = messages(&args, out)?;
    let mut client = Client::connect(&args.to, args.timeout).await.map_err(|error| {
        let hint = "is the receiver running, and is this its host and port?";
        anyhow::Error::new(error).context(Advice::new(format!("nothing was sent to {}", args.to), hint))
    })?;
    let mut refused = 0;
    for _ in 0..args.repeat {
        for message in &messages {
            let control_id = field(message, 10);
            let exchanged = client.exchange(message).await;
            let answer = exchanged.with_context(|| format!("no usable answer to message `{control_id}`"))?;
            refused += u64::from(!answer.accepts());
            show(out, control_id, field(message, 9), &answer);
        }
    }
    Ok(if refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(cli::FAILED)
    })
}

fn messages(args: &Args, out: &Output) -> anyhow::Result<Vec<Bytes>> {
    let content = read(&args.file)?;
    let content = if args.raw {
        content
    } else {
        carriage_returns(&content)
    };
    if args.batch == Batch::Whole {
        return Ok(vec![content.into()]);
    }
    let batch = formats::hl7::batch::split(content).map_err(|fault| {
        let hint = "a file of messages begins with MSH, FHS or BHS; --batch whole --raw sends any bytes";
        anyhow::Error::new(fault).context(Advice::usage(
            format!("{} holds no messages", args.file.display()),
            hint,
        ))
    })?;
    for mismatch in &batch.mismatches {
        out.remark(&format!("{}: {mismatch}", args.file.display()));
    }
    Ok(batch.messages)
}

fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut content = Vec::new();
        std::io::stdin()
            .read_to_end(&mut content)
            .context("the standard input cannot be read")?;
        return Ok(content);
    }
    std::fs::read(file).map_err(|error| {
        let advice = Advice::usage(
            format!("{} cannot be read", file.display()),
            "give the path of an HL7 file, or -",
        );
        anyhow::Error::new(error).context(advice)
    })
}

/// CRLF and LF become CR.
fn carriage_returns(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for (place, &byte) in content.iter().enumerate() {
        match byte {
            b'\n' if place > 0 && content[place - 1] == b'\r' => {}
            b'\n' => out.push(b'\r'),
            other => out.push(other),
        }
    }
    out
}

fn field(message: &[u8], number: usize) -> String {
    String::from_utf8_lossy(wire::header_field(message, number).unwrap_or_default()).into_owned()
}

fn show(out: &Output, control_id: String, message_type: String, answer: &Answer) {
    let accepted = answer.accepts();
    let took_ms = answer.took.as_secs_f64() * 1000.0;
    if out.is_json() {
        let (code, text) = (answer.code.clone(), answer.text.clone());
        out.json_line(&Exchange {
            control_id,
            message_type,
            code,
            accepted,
            text,
            took_ms,
        });
        return;
    }
    let code = if answer.code.is_empty() {
        "not an HL7 answer"
    } else {
        &answer.code
    };
    let style = if accepted { output::GOOD } else { output::BAD };
    let code = output::paint(style, code);
    out.line(
        format!(
            "{code}  {control_id}  {message_type}  {took_ms:.1} ms  {}",
            answer.text
        )
        .trim_end(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_become_carriage_returns() {
        for (given, sent) in [
            ("a\nb\n", "a\rb\r"),
            ("a\r\nb", "a\rb"),
            ("a\rb\r", "a\rb\r"),
            ("\n\n", "\r\r"),
            ("", ""),
        ] {
            assert_eq!(carriage_returns(given.as_bytes()), sent.as_bytes(), "{given:?}");
        }
    }
}
