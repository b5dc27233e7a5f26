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
        let said = |name: &String| !name.trim().is_empty();
        let variable = |key: &&str| std::env::var(key).ok().filter(said);
        self.actor
            .clone()
            .filter(said)
            .or_else(|| ["USER", "LOGNAME"].iter().find_map(variable))
            .or_else(process_owner)
            .unwrap_or_else(|| "command line".to_owned())
    }
}

/// Whom this process runs as; a service has no login that would tell.
fn process_owner() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(account(uid, &accounts))
}

fn account(uid: u32, accounts: &str) -> String {
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_login_still_has_an_owner() {
        let accounts = "root:x:0:0:root:/:/bin/sh\n\nbroken\nholdfast:x:990:990::/:/bin/false\n";
        for (uid, name) in [(0, "root"), (990, "holdfast"), (1000, "uid 1000")] {
            assert_eq!(account(uid, accounts), name);
        }
        assert!(process_owner().is_some_and(|name| !name.is_empty()));
    }
}
