//! Settings: command line > `HOLDFAST_<SECTION>__<KEY>` > `holdfast.toml` > default. Unknown keys are
//! errors with a suggestion; a secret in the file is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Provider};
use model::problem::{Problem, Span};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "HOLDFAST_";
/// Environment names with this prefix are values for `env()`, not settings.
const VALUE_PREFIX: &str = "HOLDFAST_VALUE_";
/// The one setting that is a secret: it is read from the environment only, and shown nowhere.
const STORE_PASSWORD: &str = "HOLDFAST_STORE__PASSWORD";

/// All settings, checked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This node.
    pub node: Node,
    /// Where messages are kept.
    pub store: StoreSettings,
    /// How the graph runs.
    pub engine: Engine,
    /// The HTTP API.
    pub api: Api,
    /// What is logged.
    pub log: Log,
}

/// This node.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its id in the lease row and on screens.
    pub id: String,
}

/// Where messages are kept.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite` (embedded) or `postgres` (a database server).
    pub backend: String,
    /// Folder of the embedded store.
    pub directory: PathBuf,
    /// Where the database server is: `postgres://user@host:port/database`. Never with a password.
    pub url: String,
    /// A segment is sealed when it passes this size, in MiB.
    pub segment_mb: u64,
}

/// How the graph runs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Threads that run user code at once; 0 = four per core.
    pub code_threads: usize,
    /// MiB of message bodies held in memory by all lanes together; beyond it they are read back.
    pub memory_mb: usize,
    /// Rows that a lane holds in memory; beyond it they are only counted, and read back in pages.
    pub lane_rows: usize,
    /// Seconds that a graceful stop waits for messages in flight.
    pub drain_seconds: u64,
}

/// The HTTP API.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Address and port; loopback only in this release.
    pub bind: String,
}

/// What is logged.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,engine=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node: Node {
                id: "node-1".to_owned(),
            },
            store: StoreSettings {
                backend: "sqlite".to_owned(),
                directory: PathBuf::from(".holdfast"),
                url: String::new(),
                segment_mb: 256,
            },
            engine: Engine {
                code_threads: 0,
                memory_mb: 64,
                lane_rows: 4096,
                drain_seconds: 10,
            },
            api: Api {
                bind: "127.0.0.1:8765".to_owned(),
            },
            log: Log {
                level: "info".to_owned(),
                format: "text".to_owned(),
            },
        }
    }
}

impl Settings {
    /// How long a graceful stop waits for messages in flight.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.engine.drain_seconds)
    }
}

/// Settings from the command line, as `section.key` and value.
pub type Overrides = BTreeMap<String, figment::value::Value>;

/// A setting, its value and where it came from, for `holdfast settings`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Origin {
    /// `store.segment_mb`.
    pub key: String,
    /// As text.
    pub value: String,
    /// `default`, `holdfast.toml`, the name of an environment variable, or `command line`.
    pub from: String,
}

/// Loads the settings of the config repository at `root`. Reports all problems at once.
pub fn load(root: &Path, overrides: &Overrides) -> Result<(Settings, Vec<Origin>), Vec<Problem>> {
    let file = root.join("holdfast.toml");
    let figment = layers(&file, overrides);
    let problems = unknown_keys(&figment, &file);
    if !problems.is_empty() {
        return Err(problems);
    }
    let settings: Settings = figment.extract().map_err(|error| {
        error
            .into_iter()
            .map(|error| Problem::error("bad-setting", error.to_string()))
            .collect::<Vec<_>>()
    })?;
    let problems = check(&settings);
    if problems.is_empty() {
        Ok((settings, origins(&figment)))
    } else {
        Err(problems)
    }
}

fn layers(file: &Path, overrides: &Overrides) -> Figment {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if file.exists() {
        figment = figment.merge(Toml::file_exact(file));
    }
    // Only `HOLDFAST_<SECTION>__<KEY>`: HOLDFAST_ENV and HOLDFAST_VALUE_... are not settings.
    figment = figment.merge(
        Env::prefixed(PREFIX)
            .filter(|key| key.as_str().contains("__") && !is_value(key.as_str()) && !is_secret(key.as_str()))
            .split("__"),
    );
    for (key, value) in overrides {
        figment = figment.merge(CommandLine(key.clone(), value.clone()));
    }
    figment
}

fn is_value(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with("value_")
}

fn is_secret(key: &str) -> bool {
    key.eq_ignore_ascii_case(STORE_PASSWORD.trim_start_matches(PREFIX))
}

struct CommandLine(String, figment::value::Value);

impl Provider for CommandLine {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named("command line")
    }

    fn data(&self) -> figment::Result<figment::value::Map<figment::Profile, figment::value::Dict>> {
        let value = figment::util::nest(&self.0, self.1.clone());
        let dict = value.into_dict().unwrap_or_default();
        Ok(figment::Profile::Default.collect(dict))
    }
}

/// The password for the database server, if the environment gives one.
pub fn store_password() -> Option<String> {
    std::env::var(STORE_PASSWORD).ok()
}

/// Values for `env()` by lower-case key: `HOLDFAST_VALUE_<KEY>`.
pub fn secret_values() -> BTreeMap<String, String> {
    std::env::vars()
        .filter_map(|(name, value)| Some((name.strip_prefix(VALUE_PREFIX)?.to_ascii_lowercase(), value)))
        .collect()
}

fn known_keys() -> Vec<String> {
    let figment = Figment::from(Serialized::defaults(Settings::default()));
    flatten(&figment).into_iter().map(|(key, _)| key).collect()
}

/// All leaves as `section.key`.
fn flatten(figment: &Figment) -> Vec<(String, figment::value::Value)> {
    let mut leaves = Vec::new();
    let Ok(data) = figment.data() else { return leaves };
    for (section, value) in data.into_values().flatten() {
        match value.as_dict() {
            Some(dict) => leaves.extend(
                dict.iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value.clone())),
            ),
            None => leaves.push((section, value)),
        }
    }
    leaves
}

fn unknown_keys(figment: &Figment, file: &Path) -> Vec<Problem> {
    let known = known_keys();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut problems: Vec<Problem> = flatten(figment)
        .into_iter()
        .filter(|(key, _)| !known.contains(key))
        .map(|(key, value)| unknown_key(figment, &known, &key, &value, &text))
        .collect();
    if let Err(error) = text.parse::<toml::Table>() {
        problems.push(Problem::error(
            "bad-toml",
            format!("holdfast.toml is not valid TOML: {}", error.message()),
        ));
    }
    problems
}

fn unknown_key(
    figment: &Figment,
    known: &[String],
    key: &str,
    value: &figment::value::Value,
    text: &str,
) -> Problem {
    let leaf = key.rsplit('.').next().unwrap_or(key);
    let secret = ["password", "secret", "token", "private_key"]
        .iter()
        .any(|word| leaf.contains(word));
    let from = figment
        .get_metadata(value.tag())
        .map_or("?".to_owned(), |metadata| metadata.name.to_string());
    let mut problem = if secret {
        Problem::error(
            "secret-in-file",
            format!("`{key}` looks like a secret, and {from} is no place for one"),
        )
        .suggest(match key {
            "store.password" => format!("give it as the environment variable {STORE_PASSWORD}"),
            _ => format!(
                "give it as the environment variable {VALUE_PREFIX}{}",
                leaf.to_ascii_uppercase()
            ),
        })
    } else {
        Problem::error(
            "unknown-setting",
            format!("`{key}` (from {from}) is not a setting"),
        )
    };
    if !secret {
        let near = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        if let Some(near) = near.filter(|near| strsim::jaro_winkler(near, key) > 0.8) {
            problem = problem.suggest(format!("did you mean `{near}`?"));
        }
    }
    let line = text.lines().position(|line| line.trim_start().starts_with(leaf));
    if let Some(line) = line {
        let number = u32::try_from(line + 1).unwrap_or(1);
        let source = text.lines().nth(line).unwrap_or_default().to_owned();
        let column = source.len() - source.trim_start().len() + 1;
        problem.source_line = (!secret).then_some(source); // a secret's line is not echoed
        problem = problem.at(Span {
            file: "holdfast.toml".to_owned(),
            line: number,
            column: u32::try_from(column).unwrap_or(1),
            width: u32::try_from(leaf.len()).unwrap_or(1),
        });
    }
    problem
}

fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |bad: bool, text: String, advice: &str| {
        if bad {
            problems.push(Problem::error("bad-setting", text).suggest(advice));
        }
    };
    let id = &settings.node.id;
    refuse(
        id.is_empty() || id.len() > 63 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
        format!("node.id `{id}` is not an id"),
        "use 1 to 63 letters, digits, `-`, `_` or `.`",
    );
    let backend = settings.store.backend.as_str();
    refuse(
        !["sqlite", "postgres"].contains(&backend),
        format!("store.backend `{backend}` is not in this release"),
        "use `sqlite` or `postgres`",
    );
    refuse(
        backend == "postgres" && settings.store.url.is_empty(),
        "store.backend is `postgres`, but store.url does not say where the database is".to_owned(),
        "write postgres://user@host:port/database",
    );
    refuse(
        holds_password(&settings.store.url),
        "store.url holds a password, and it is no place for one".to_owned(),
        "leave it out, and give it as the environment variable HOLDFAST_STORE__PASSWORD",
    );
    refuse(
        settings.store.segment_mb < 8,
        "store.segment_mb is too small".to_owned(),
        "use at least 8",
    );
    refuse(
        settings.engine.memory_mb < 8,
        "engine.memory_mb is too small".to_owned(),
        "use at least 8",
    );
    refuse(
        settings.engine.lane_rows < 64,
        "engine.lane_rows is too small".to_owned(),
        "use at least 64",
    );
    let loopback = settings
        .api
        .bind
        .parse::<std::net::SocketAddr>()
        .is_ok_and(|address| address.ip().is_loopback());
    refuse(
        !loopback,
        format!(
            "api.bind `{}` is not a loopback address with a port",
            settings.api.bind
        ),
        "use 127.0.0.1:<port>: this release serves its API on loopback only, because it has no sign-in yet",
    );
    refuse(
        !["text", "json"].contains(&settings.log.format.as_str()),
        format!("log.format `{}` is not known", settings.log.format),
        "use `text` or `json`",
    );
    problems
}

/// Whether a URL has a password in front of its host or among its options.
fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.contains("password=")
}

fn origins(figment: &Figment) -> Vec<Origin> {
    let mut origins: Vec<Origin> = flatten(figment)
        .into_iter()
        .map(|(key, value)| {
            let from = figment
                .get_metadata(value.tag())
                .map_or("default".to_owned(), |metadata| {
                    if metadata.name.contains("Settings") {
                        "default".to_owned()
                    } else if metadata.name.contains("environment") {
                        format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
                    } else if metadata.name.contains("TOML") {
                        "holdfast.toml".to_owned()
                    } else {
                        metadata.name.to_string()
                    }
                });
            Origin {
                key,
                value: show(&value),
                from,
            }
        })
        .collect();
    origins.sort_by(|a, b| a.key.cmp(&b.key));
    origins
}

fn show(value: &figment::value::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<(Settings, Vec<Origin>), Vec<Problem>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holdfast.toml"), text).unwrap();
        load(folder.path(), &Overrides::new())
    }

    #[test]
    fn a_file_overrides_a_default_and_says_so() {
        let (settings, origins) = load_text("[store]\nsegment_mb = 64\n").unwrap();
        assert_eq!(settings.store.segment_mb, 64);
        let origin = origins
            .iter()
            .find(|origin| origin.key == "store.segment_mb")
            .unwrap();
        assert_eq!(
            (origin.value.as_str(), origin.from.as_str()),
            ("64", "holdfast.toml")
        );
        let origin = origins.iter().find(|origin| origin.key == "node.id").unwrap();
        assert_eq!(origin.from, "default");
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holdfast.toml"), "[store]\nsegment_mb = 64\n").unwrap();
        let overrides = Overrides::from([("store.segment_mb".to_owned(), 32u64.into())]);
        let (settings, origins) = load(folder.path(), &overrides).unwrap();
        assert_eq!(settings.store.segment_mb, 32);
        assert!(
            origins
                .iter()
                .any(|origin| origin.key == "store.segment_mb" && origin.from == "command line")
        );
    }

    #[test]
    fn a_repository_without_a_settings_file_has_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            load(folder.path(), &Overrides::new()).unwrap().0,
            Settings::default()
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place_and_a_suggestion() {
        let problems = load_text("[store]\nsegment_md = 64\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].span.as_ref().unwrap().line, 2);
        assert_eq!(
            problems[0].suggestion.as_deref(),
            Some("did you mean `store.segment_mb`?")
        );
    }

    #[test]
    fn a_secret_in_the_file_is_refused() {
        let problems = load_text("[store]\npassword = \"hunter2\"\n").unwrap_err();
        assert_eq!(problems[0].code, "secret-in-file");
        assert!(!format!("{problems:?}").contains("hunter2"));
    }

    #[test]
    fn a_password_in_the_stores_url_is_refused_and_not_repeated() {
        for url in [
            "postgres://app:hunter2@db/holdfast",
            "postgres://app@db/holdfast?password=hunter2",
        ] {
            let text = format!("[store]\nbackend = \"postgres\"\nurl = \"{url}\"\n");
            let problems = load_text(&text).unwrap_err();
            assert!(problems[0].message.contains("store.url"), "{url}");
            assert!(!format!("{problems:?}").contains("hunter2"), "{url}");
        }
        let fine =
            "[store]\nbackend = \"postgres\"\nurl = \"postgres://app@db:5432/holdfast?sslmode=require\"\n";
        assert_eq!(load_text(fine).unwrap().0.store.backend, "postgres");
    }

    #[test]
    fn a_backend_needs_what_it_is_reached_by() {
        let problems = load_text("[store]\nbackend = \"postgres\"\n").unwrap_err();
        assert!(problems[0].message.contains("store.url"));
        let problems = load_text("[store]\nbackend = \"oracle\"\n").unwrap_err();
        assert!(problems[0].suggestion.as_deref().unwrap().contains("postgres"));
    }

    #[test]
    fn the_password_of_the_store_belongs_into_the_environment() {
        let problems = load_text("[store]\npassword = \"hunter2\"\n").unwrap_err();
        assert!(
            problems[0]
                .suggestion
                .as_deref()
                .unwrap()
                .contains(STORE_PASSWORD)
        );
        assert!(is_secret("store__password") && is_secret("STORE__PASSWORD") && !is_secret("store__url"));
    }

    #[test]
    fn an_api_off_loopback_is_refused() {
        let problems = load_text("[api]\nbind = \"0.0.0.0:8765\"\n").unwrap_err();
        assert!(problems[0].message.contains("0.0.0.0:8765"));
    }
}
