//! The settings that the files for operators give a node are settings that a node knows, with values that it takes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::binary;
use tests::repository::Repository;

use crate::house;

/// Settings in a file, as name and value: `HOLDFAST_A__B=value`, `HOLDFAST_A__B: value`, or Kubernetes' `name:` and `value:`.
/// A value that comes from elsewhere is left out.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line
            .trim()
            .trim_start_matches('#')
            .trim_start_matches("- {name: ");
        let Some(name) = house::deployment::names(line, "HOLDFAST_").pop_first() else {
            continue;
        };
        let Some(value) = line.strip_prefix(&name) else {
            continue;
        };
        let value = value
            .trim_start_matches(", value")
            .trim_start_matches(['=', ':'])
            .trim_end_matches('}')
            .trim()
            .trim_matches('"');
        if name.contains("__") && !value.is_empty() {
            found.insert(name, value.to_owned());
        }
    }
    found
}

#[test]
fn a_node_knows_every_setting_that_the_files_for_operators_give_it() -> Result<()> {
    let repository = Repository::new("")?;
    for (path, least) in [
        ("deploy/systemd/holdfast.env.example", 9),
        ("deploy/kubernetes/holdfast.yaml", 7),
        ("docker-compose.yml", 6),
        ("docker-compose.cluster.yml", 7),
    ] {
        let text = std::fs::read_to_string(house::root().join(path)).with_context(|| path.to_owned())?;
        let mut settings = settings(&text);
        ensure!(settings.len() >= least, "{path}: only {settings:?}");
        // A file with a secret is not here; that a node reads it is shown elsewhere.
        let secret = repository.write("secret", "x\n")?;
        if settings.contains_key("HOLDFAST_STORE__PASSWORD_FILE") {
            settings.insert(
                "HOLDFAST_STORE__PASSWORD_FILE".to_owned(),
                secret.display().to_string(),
            );
        }
        let answer = binary::command()
            .args(["--json", "settings", "--config"])
            .arg(repository.root())
            .envs(&settings)
            .output()?;
        let said = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "{path}: {said}");
    }
    let refused = binary::command()
        .args(["settings", "--config"])
        .arg(repository.root())
        .env("HOLDFAST_CLUSTER__PROFIL", "fast")
        .output()?;
    ensure!(!refused.status.success(), "a misspelt setting must be refused");
    Ok(())
}
