//! Logs: text for people, JSON for machines, on the error stream; never a message body.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

/// Starts logging. `level` is a level or a filter such as `info,engine=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn install(level: &str, format: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|error| anyhow::anyhow!("log.level `{level}` is not a level or filter: {error}"))?;
    // The driver repeats on every connection what the store says once, and a server's words may hold values of a message.
    let filter = match level.contains("tiberius") {
        true => filter,
        false => filter.add_directive("tiberius=off".parse()?),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(ChronoUtc::rfc_3339())
        .with_target(false);
    let done = match format {
        "json" => builder.json().flatten_event(true).try_init(),
        _ => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    done.map_err(|error| anyhow::anyhow!("logging could not start: {error}"))
}
