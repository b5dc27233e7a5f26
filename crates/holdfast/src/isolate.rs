//! Commands that run functions whose author may be a stranger do so in a child process: what breaks the
//! interpreter (a stack that overflows cannot be caught) ends as a message here, not as a core dump.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, anyhow};

use crate::output::Output;
use crate::problems;

/// Tells the child that it is the child.
const MARK: &str = "HOLDFAST_ISOLATED";

/// Runs `command` in a child of this process, which gets the same arguments, input and output.
pub(crate) fn run(
    out: &Output,
    command: impl FnOnce(&Output) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    if std::env::var_os(MARK).is_some() {
        return command(out);
    }
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .status()
        .context("no process for the configuration's functions can be started")?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        (None, signal) => {
            out.error(&anyhow!(
                "the configuration broke the interpreter{}: a function builds a value that is nested too deeply, or \
                 too large. Look at what was changed last; nothing was stored or sent",
                signal.map(|signal| format!(" (signal {signal})")).unwrap_or_default()
            ));
            Ok(ExitCode::from(problems::REFUSED))
        }
    }
}
