//! The `holdfast` binary: reads its arguments, runs one command, prints what came of it.

mod child;
mod cli;
mod commands;
mod demo;
mod isolate;
mod output;
mod problems;
mod profile;
mod sample;
mod telemetry;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use cli::{Cli, Colour, Command};
use output::{Advice, Output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match cli.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    let out = Output::new(cli.json);
    match run(cli.command, &out) {
        Ok(code) => code,
        Err(error) => {
            out.error(&error);
            ExitCode::from(if Advice::is_usage(&error) {
                cli::USAGE
            } else {
                cli::FAILED
            })
        }
    }
}

/// Arguments that cannot be taken, and what is not a refusal at all: `--help`, `--version`.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os()
        .take_while(|word| word != "--")
        .any(|word| word == "--json");
    if json && error.exit_code() != 0 {
        let text = error.render().to_string();
        Output::new(true).error(&cli::refusal(&text));
        return ExitCode::from(cli::USAGE);
    }
    // Nobody is left to tell when this cannot be printed.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(cli::USAGE))
}

fn run(command: Command, out: &Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => runtime()?.block_on(commands::demo::run(args, out)),
        Command::Init(args) => commands::init::run(&args, out),
        Command::Check(args) => isolate::run(out, |out| commands::check::run(&args, out)),
        Command::Graph(args) => isolate::run(out, |out| commands::graph::run(&args, out)),
        Command::Dryrun(args) => isolate::run(out, |out| commands::dryrun::run(&args, out)),
        Command::Test(args) => isolate::run(out, |out| commands::test::run(&args, out)),
        Command::Serve(args) => runtime()?.block_on(commands::serve::run(args, out)),
        Command::Settings(args) => commands::settings::run(&args, out),
        Command::Connections(args) => runtime()?.block_on(commands::connections::run(args, out)),
        Command::Cluster(args) => runtime()?.block_on(commands::cluster::run(args, out)),
        Command::Drill(args) => runtime()?.block_on(commands::drill::run(args, out)),
        Command::Fencer(args) => commands::fencer::run(&args, out),
        Command::Messages(args) => runtime()?.block_on(commands::messages::run(args, out)),
        Command::Replay(args) => runtime()?.block_on(commands::replay::run(args, out)),
        Command::Skip(args) => runtime()?.block_on(commands::skip::run(args, out)),
        Command::Retention(args) => runtime()?.block_on(commands::retention::run(args, out)),
        Command::Completions(args) => commands::completions::run(&args, out),
        Command::Send(args) => runtime()?.block_on(commands::send::run(args, out)),
        Command::Receive(args) => runtime()?.block_on(commands::receive::run(args, out)),
        Command::Generate(args) => commands::generate::run(&args, out),
        Command::Load(args) => runtime()?.block_on(commands::load::run(*args, out)),
    }
}

/// The runtime of the commands that talk to somebody.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(script::CALL_STACK_BYTES) // user code runs here; reserved, not used
        .build()
        .context("the system gives no threads or timers")
}
