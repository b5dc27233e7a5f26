//! Settings: command line > `HOLDFAST_<SECTION>__<KEY>` > `holdfast.toml` > default. Unknown keys are
//! errors with a suggestion; a secret in the file is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Provider};
use model::problem::{Problem, Span};
use serde::{Deserialize, Serialize};

mod variables;

const PREFIX: &str = "HOLDFAST_";
/// Environment names with this prefix are values for `env()`, not settings.
const VALUE_PREFIX: &str = "HOLDFAST_VALUE_";

/// The file of settings, at the root of a config repository.
const FILE: &str = "holdfast.toml";
/// The code of a problem whose line holds a secret.
const SECRET: &str = "secret-in-file";
const SECRET_HINT: &str = "remove it, and change the secret where it is used: no setting takes one. A connection reads its own \
                           with `env(\"...\")`, from the environment variable HOLDFAST_VALUE_<KEY>";

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
    /// Only `sqlite` in this release.
    pub backend: String,
    /// Folder of the embedded store.
    pub directory: PathBuf,
    /// A segment file is sealed when it passes this size, in MiB.
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
    let file = root.join(FILE);
    let mut problems = Vec::new();
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let message = format!("holdfast.toml cannot be read: {error}");
            problems.push(Problem::error("unreadable-file", message));
            String::new()
        }
    };
    if let Err(error) = text.parse::<toml::Table>() {
        let message = format!("holdfast.toml is not valid TOML: {}", error.message());
        problems.push(Problem::error("bad-toml", message));
    }
    // What is wrong with the file itself hides nothing of the other sources.
    let usable = file.exists() && problems.is_empty();
    let figment = layers(usable.then_some(&file), overrides);
    let sources = Sources {
        figment: &figment,
        text: &text,
    };
    problems.extend(variables::unknown(std::env::vars(), &known_keys()));
    problems.extend(sources.unknown_keys());
    problems.extend(sources.passwords());
    let (settings, found) = sources.settings();
    problems.extend(found);
    if problems.is_empty() {
        Ok((settings, sources.origins()))
    } else {
        Err(problems)
    }
}

fn layers(file: Option<&PathBuf>, overrides: &Overrides) -> Figment {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    // Only `HOLDFAST_<SECTION>__<KEY>`: HOLDFAST_ENV and HOLDFAST_VALUE_... are not settings.
    figment = figment.merge(
        Env::prefixed(PREFIX)
            .filter(|key| key.as_str().contains("__") && !is_value(key.as_str()))
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
            Some(dict) if !dict.is_empty() => leaves.extend(
                dict.iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value.clone())),
            ),
            _ => leaves.push((section, value)),
        }
    }
    leaves
}

/// All that was given, and the text of `holdfast.toml`.
struct Sources<'a> {
    figment: &'a Figment,
    text: &'a str,
}

impl Sources<'_> {
    fn unknown_keys(&self) -> Vec<Problem> {
        let known = known_keys();
        // An empty section of ours is no leaf, and no fault.
        let is_section = |key: &str| known.iter().any(|known| known.split('.').next() == Some(key));
        flatten(self.figment)
            .into_iter()
            .filter(|(key, value)| !(known.contains(key) || (is_section(key) && value.as_dict().is_some())))
            .map(|(key, value)| self.unknown_key(&known, &key, &value))
            .collect()
    }

    fn unknown_key(&self, known: &[String], key: &str, value: &figment::value::Value) -> Problem {
        let from = self.from(key, value);
        let leaf = key.rsplit('.').next().unwrap_or(key);
        if script::secrets::is_secret(leaf) {
            let message = format!("`{key}` looks like a secret, and {from} is no place for one");
            return self.place(key, value, Problem::error(SECRET, message).suggest(SECRET_HINT));
        }
        let mut problem = Problem::error(
            "unknown-setting",
            format!("`{key}` (from {from}) is not a setting"),
        );
        let near = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        if let Some(near) = near.filter(|near| strsim::jaro_winkler(near, key) > 0.8) {
            problem = problem.suggest(format!("did you mean `{near}`?"));
        }
        self.place(key, value, problem)
    }

    /// Addresses in the file that hold a password.
    fn passwords(&self) -> Vec<Problem> {
        flatten(self.figment)
            .into_iter()
            .filter(|(key, value)| self.from(key, value) == FILE)
            .filter(|(_, value)| value.as_str().is_some_and(script::secrets::in_address))
            .map(|(key, value)| {
                let message =
                    format!("`{key}` is an address with a password in it, and {FILE} is no place for one");
                self.place(&key, &value, Problem::error(SECRET, message).suggest(SECRET_HINT))
            })
            .collect()
    }

    /// The settings, with the default in place of each value that cannot be used.
    fn settings(&self) -> (Settings, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut sound = Figment::from(Serialized::defaults(Settings::default()));
        let defaults: BTreeMap<String, figment::value::Value> = flatten(&sound).into_iter().collect();
        let given = flatten(self.figment);
        for (key, value) in &given {
            let Some(default) = defaults.get(key) else {
                continue;
            };
            let with = sound.clone().merge(CommandLine(key.clone(), value.clone()));
            if with.extract::<Settings>().is_ok() {
                sound = with;
                continue;
            }
            let wanted = match default.as_str() {
                Some(_) => "a text",
                None => "a whole number, 0 or more",
            };
            let (shown, from) = (show(value), self.from(key, value));
            let message = format!("`{key}` wants {wanted}, not `{shown}` (from {from})");
            problems.push(self.place(key, value, Problem::error("bad-setting", message)));
        }
        let settings: Settings = sound.extract().unwrap_or_default();
        for (key, problem) in check(&settings) {
            problems.push(match given.iter().find(|(given, _)| given == key) {
                Some((key, value)) => self.place(key, value, problem),
                None => problem,
            });
        }
        (settings, problems)
    }

    /// Where a value came from, in words.
    fn from(&self, key: &str, value: &figment::value::Value) -> String {
        let Some(metadata) = self.figment.get_metadata(value.tag()) else {
            return "default".to_owned();
        };
        if metadata.name.contains("Settings") {
            "default".to_owned()
        } else if metadata.name.contains("environment") {
            format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
        } else if metadata.name.contains("TOML") {
            FILE.to_owned()
        } else {
            metadata.name.to_string()
        }
    }

    /// The problem with its place in the file, when it came from there. A secret's line is not quoted.
    fn place(&self, key: &str, value: &figment::value::Value, mut problem: Problem) -> Problem {
        if self.from(key, value) != FILE {
            return problem;
        }
        let Some((line, column, width)) = locate(self.text, key) else {
            return problem;
        };
        let quoted = self.text.lines().nth(line).map(str::to_owned);
        problem.source_line = quoted.filter(|_| problem.code != SECRET);
        let number = |at: usize| u32::try_from(at).unwrap_or(1);
        problem.at(Span {
            file: FILE.to_owned(),
            line: number(line + 1),
            column: number(column + 1),
            width: number(width),
        })
    }

    fn origins(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = flatten(self.figment)
            .into_iter()
            .filter(|(_, value)| value.as_dict().is_none())
            .map(|(key, value)| Origin {
                value: show(&value),
                from: self.from(&key, &value),
                key,
            })
            .collect();
        origins.sort_by(|a, b| a.key.cmp(&b.key));
        origins
    }
}

/// Where a key (or a section without keys) stands in the file: line and column from 0, and its width.
fn locate(text: &str, key: &str) -> Option<(usize, usize, usize)> {
    let mut section = String::new();
    for (number, line) in text.lines().enumerate() {
        let column = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim().to_owned();
            if section == key {
                return Some((number, column + 1, key.len()));
            }
            continue;
        }
        let name = line.split('=').next().unwrap_or_default().trim();
        if name == key || (!section.is_empty() && format!("{section}.{name}") == key) {
            return Some((number, column, name.len().max(1)));
        }
    }
    None
}

/// What cannot be used, by its key.
fn check(settings: &Settings) -> Vec<(&'static str, Problem)> {
    let mut problems = Vec::new();
    let mut refuse = |key: &'static str, bad: bool, text: String, advice: &str| {
        if bad {
            problems.push((key, Problem::error("bad-setting", text).suggest(advice)));
        }
    };
    let id = &settings.node.id;
    refuse(
        "node.id",
        id.is_empty() || id.len() > 63 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
        format!("node.id `{id}` is not an id"),
        "use 1 to 63 letters, digits, `-`, `_` or `.`",
    );
    refuse(
        "store.backend",
        settings.store.backend != "sqlite",
        format!(
            "store.backend `{}` is not in this release",
            settings.store.backend
        ),
        "use `sqlite`",
    );
    refuse(
        "store.segment_mb",
        settings.store.segment_mb < 8,
        "store.segment_mb is too small".to_owned(),
        "use at least 8",
    );
    refuse(
        "engine.memory_mb",
        settings.engine.memory_mb < 8,
        "engine.memory_mb is too small".to_owned(),
        "use at least 8",
    );
    refuse(
        "engine.lane_rows",
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
        "api.bind",
        !loopback,
        format!(
            "api.bind `{}` is not a loopback address with a port",
            settings.api.bind
        ),
        "use 127.0.0.1:<port>: this release serves its API on loopback only, because it has no sign-in yet",
    );
    refuse(
        "log.format",
        !["text", "json"].contains(&settings.log.format.as_str()),
        format!("log.format `{}` is not known", settings.log.format),
        "use `text` or `json`",
    );
    problems
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
    fn an_api_off_loopback_is_refused() {
        let problems = load_text("[api]\nbind = \"0.0.0.0:8765\"\n").unwrap_err();
        assert!(problems[0].message.contains("0.0.0.0:8765"));
    }

    #[test]
    fn all_that_is_wrong_with_the_file_is_told_at_once_with_its_place() {
        let text =
            "[nodee]\n[node]\nid = \"a b\"\n[store]\nsegment_mb = \"abc\"\n[api]\nbind = \"0.0.0.0:80\"\n";
        let mut found: Vec<String> = load_text(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "holdfast.toml:1:2: error[unknown-setting]: `nodee` (from holdfast.toml) is not a setting",
                "holdfast.toml:3:1: error[bad-setting]: node.id `a b` is not an id",
                "holdfast.toml:5:1: error[bad-setting]: `store.segment_mb` wants a whole number, 0 or more, not `abc` (from holdfast.toml)",
                "holdfast.toml:7:1: error[bad-setting]: api.bind `0.0.0.0:80` is not a loopback address with a port",
            ]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_told_in_plain_words() {
        let folder = tempfile::tempdir().unwrap();
        let overrides = Overrides::from([("store.segment_mb".to_owned(), (-5i64).into())]);
        let problems = load(folder.path(), &overrides).unwrap_err();
        assert_eq!(
            problems[0].message,
            "`store.segment_mb` wants a whole number, 0 or more, not `-5` (from command line)"
        );
    }

    #[test]
    fn an_empty_section_is_no_fault() {
        assert_eq!(load_text("[store]\n").unwrap().0, Settings::default());
    }

    #[test]
    fn secrets_are_told_by_name_and_in_addresses_and_the_advice_can_be_followed() {
        for text in [
            "[store]\npassword = \"hunter2\"\n",
            "[store]\ndb_pwd = \"hunter2\"\n",
            "[store]\ndirectory = \"postgres://u:hunter2@h/db\"\n",
        ] {
            let problems = load_text(text).unwrap_err();
            assert_eq!(problems[0].code, "secret-in-file", "{text}");
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
            assert!(
                !format!("{problems:?}").contains("HOLDFAST_VALUE_PASSWORD"),
                "{problems:?}"
            );
        }
    }
}
