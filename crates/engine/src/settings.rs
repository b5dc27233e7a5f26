//! Settings: command line > `HOLDFAST_<SECTION>__<KEY>` > `holdfast.toml` > default. Unknown keys are
//! errors with a suggestion; a secret in the file is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Provider};
use model::problem::{Problem, Span};
use serde::{Deserialize, Serialize};

mod check;
mod variables;

const PREFIX: &str = "HOLDFAST_";
/// Environment names with this prefix are values for `env()`, not settings.
const VALUE_PREFIX: &str = "HOLDFAST_VALUE_";
/// The one setting that is a secret: it is read from the environment only, and shown nowhere.
const STORE_PASSWORD: &str = "HOLDFAST_STORE__PASSWORD";
const STORE_URL: &str = "store.url";

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
    /// How long messages are kept.
    pub retention: RetentionSettings,
    /// Several nodes, of which one leads.
    pub cluster: ClusterSettings,
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
    /// `sqlite` (embedded), `postgres` or `sqlserver` (a database server).
    pub backend: String,
    /// Folder of the embedded store.
    pub directory: PathBuf,
    /// Where the database server is: `postgres://user@host:port/database` or `sqlserver://user@host:port/database`; several
    /// hosts are parted by commas. Never with a password.
    pub url: String,
    /// A file that holds the password for the database server, such as a container's secret; relative to the
    /// config repository. Empty = none.
    pub password_file: PathBuf,
    /// A program with its arguments that prints an access token to log in to SQL Server with; empty = none.
    pub log_in_command: Vec<String>,
    /// Whether `url` may ask for a connection to another machine without TLS.
    pub plaintext: bool,
    /// `standard`: standbys that commits do not wait for are said aloud; `strict`: they are refused.
    pub durability: String,
    /// Seconds after which a commit without an answer counts as lost and is looked for on a new connection.
    pub commit_seconds: u64,
    /// A segment is sealed when it passes this size, in MiB.
    pub segment_mb: u64,
    /// Whether bodies are compressed before they are written: `on`, `off`, or `auto`, which is `on` on a server.
    /// What was written is read either way.
    pub compression: String,
}

impl StoreSettings {
    /// Whether bodies are compressed. By itself, only where they travel to a server and into its log: the embedded
    /// store is faster without (docs/adr/0006-compressed-bodies.md).
    pub fn compresses(&self) -> bool {
        match self.compression.as_str() {
            "on" => true,
            "off" => false,
            _ => self.backend != "sqlite",
        }
    }
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

/// How long messages are kept, unless their inbound says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// Days that a message is kept after it was received, once it is delivered (or filtered, or failed for good).
    /// 0 = only until then.
    pub days: u32,
    /// Days that a message is kept without its bodies, counted as `days`, when that is longer.
    pub metadata_days: u32,
    /// Days that a dead letter waits for a person; then it is given up.
    pub dead_letter_days: u32,
    /// Seconds between two looks for what may go.
    pub check_seconds: u64,
    /// MiB of disk that the store may take before an alert; 0 = no limit.
    pub max_db_mb: u64,
}

/// Several nodes, of which one leads.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// Whether this node is one of several on the same database.
    pub enabled: bool,
    /// How fast a crash is noticed: `default` (after 5 s), `fast` (1.5 s, one machine room) or `wan` (30 s). The same on
    /// all nodes.
    pub profile: String,
    /// Whether this node may lead.
    pub promotable: bool,
    /// Milliseconds that this node waits longer than others before it takes over.
    pub takeover_delay_ms: u64,
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
                password_file: PathBuf::new(),
                log_in_command: Vec::new(),
                plaintext: false,
                durability: "standard".to_owned(),
                commit_seconds: 10,
                segment_mb: 256,
                compression: "auto".to_owned(),
            },
            engine: Engine {
                code_threads: 0,
                memory_mb: 64,
                lane_rows: 4096,
                drain_seconds: 10,
            },
            retention: RetentionSettings {
                days: 30,
                metadata_days: 0,
                dead_letter_days: 90,
                check_seconds: 600,
                max_db_mb: 0,
            },
            cluster: ClusterSettings {
                enabled: false,
                profile: "default".to_owned(),
                promotable: true,
                takeover_delay_ms: 0,
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

/// The password for the database server that the environment gives, if it does.
pub fn store_password_of_environment() -> Option<String> {
    std::env::var(STORE_PASSWORD).ok()
}

/// The password for the database server: that of the environment, else the content of `store.password_file`
/// without the line's end. `root` is the config repository.
///
/// # Errors
/// When the file is named and cannot be read, or is not UTF-8.
pub fn store_password(root: &Path, settings: &StoreSettings) -> std::io::Result<Option<String>> {
    if let Some(password) = store_password_of_environment() {
        return Ok(Some(password));
    }
    if settings.password_file.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(root.join(&settings.password_file))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
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
            let hint = match key {
                "store.password" => format!("give it as the environment variable {STORE_PASSWORD}"),
                _ => SECRET_HINT.to_owned(),
            };
            return self.place(key, value, Problem::error(SECRET, message).suggest(hint));
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

    /// Addresses that hold a password: that of the store wherever it came from, others in the file.
    fn passwords(&self) -> Vec<Problem> {
        flatten(self.figment)
            .into_iter()
            .filter(|(key, value)| {
                let text = value.as_str().unwrap_or_default();
                match key.as_str() {
                    STORE_URL => check::holds_password(text),
                    _ => self.from(key, value) == FILE && script::secrets::in_address(text),
                }
            })
            .map(|(key, value)| {
                let from = self.from(&key, &value);
                let message =
                    format!("`{key}` is an address with a password in it, and {from} is no place for one");
                let hint = match key.as_str() {
                    STORE_URL => {
                        format!("leave it out, and give it as the environment variable {STORE_PASSWORD}")
                    }
                    _ => SECRET_HINT.to_owned(),
                };
                self.place(&key, &value, Problem::error(SECRET, message).suggest(hint))
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
            let wanted = match (default.as_str(), default.to_bool()) {
                _ if matches!(default, figment::value::Value::Array(..)) => "a list of texts",
                (Some(_), _) => "a text",
                (None, Some(_)) => "true or false",
                (None, None) => "a whole number, 0 or more",
            };
            let (shown, from) = (show(value), self.from(key, value));
            let message = format!("`{key}` wants {wanted}, not `{shown}` (from {from})");
            problems.push(self.place(key, value, Problem::error("bad-setting", message)));
        }
        let settings: Settings = sound.extract().unwrap_or_default();
        for (key, problem) in check::check(&settings) {
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

fn show(value: &figment::value::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
