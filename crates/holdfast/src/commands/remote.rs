//! What the commands share that talk to a running node: where it is, in whose name, and what its refusals
//! mean for a person.

use api::client::{Client, Error};

use crate::output::Advice;

/// Which node to ask.
#[derive(clap::Args, Debug)]
pub(crate) struct Node {
    /// Address of the node's HTTP API.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8765"
    )]
    pub(crate) api: String,
}

/// In whose name a command is given.
#[derive(clap::Args, Debug)]
pub(crate) struct Actor {
    /// Who gives the command; kept in the event trail. Without it, the name you are logged in by.
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
}

impl Node {
    /// A client of that node.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.api).map_err(explain)
    }
}

impl Actor {
    /// The name to give.
    pub(crate) fn name(&self) -> String {
        let logged_in = || ["USER", "LOGNAME"].iter().find_map(|key| std::env::var(key).ok());
        let name = self
            .actor
            .clone()
            .or_else(logged_in)
            .filter(|name| !name.trim().is_empty());
        name.unwrap_or_else(|| "command line".to_owned())
    }
}

/// A failed call, with what to do about it. What was asked for wrongly (400, 404, an address that is none)
/// is the caller's use of the command.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    let usage = matches!(error, Error::Address(_)) || matches!(error.status(), Some(400 | 404));
    let hint = error
        .hint()
        .unwrap_or_else(|| "see what the command takes: add --help".to_owned());
    let text = error.to_string();
    let advice = if usage {
        Advice::usage(text, hint)
    } else {
        Advice::new(text, hint)
    };
    // The causes stay below the advice, so that each is printed once.
    match std::error::Error::source(&error) {
        Some(_) => anyhow::Error::new(error).context(advice),
        None => advice.into(),
    }
}
