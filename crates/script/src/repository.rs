//! Reads the files of a config repository that make up a configuration, within limits, and gives their
//! fingerprint. Nothing outside the repository is read; links are refused.

use std::fs;
use std::path::{Path, PathBuf};

use model::problem::{Problem, Span};
use sha2::{Digest, Sha256};

use crate::language::guard::{FILE_BYTES_MAX, FILES_MAX};

/// One file as read.
#[derive(Debug)]
pub(crate) struct File {
    /// Path relative to the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// All files that matter.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    /// `config/*.star`, sorted.
    pub(crate) scripts: Vec<File>,
    /// `config/connections.toml`.
    pub(crate) connections: Option<File>,
    /// `config/codesets/*`, sorted.
    pub(crate) codesets: Vec<File>,
    /// `environments/<env>.toml`.
    pub(crate) environment: Option<File>,
    /// The names of all environments that have a file.
    pub(crate) environments: Vec<String>,
}

impl Repository {
    /// Reads a repository; problems go into `problems`.
    pub(crate) fn read(root: &Path, environment: &str, problems: &mut Vec<Problem>) -> Repository {
        let mut reader = Reader { root, problems };
        let mut repository = Repository::default();
        let config = root.join("config");
        if !config.is_dir() {
            reader.problems.push(
                Problem::error("no-config", "there is no `config` directory here")
                    .suggest("give the root of a config repository, or make one with `holdfast init`"),
            );
            return repository;
        }
        for part in [
            "",
            "config",
            "config/codesets",
            "environments",
            "messages",
            "holdfast.toml",
        ] {
            reader.check_writers(&root.join(part));
        }
        repository.scripts = reader.files("config", &["star"]);
        repository.codesets = reader.files("config/codesets", &["csv", "toml"]);
        repository.connections = config
            .join("connections.toml")
            .exists()
            .then(|| reader.file("config/connections.toml"))
            .flatten();
        repository.environments = reader
            .names("environments", &["toml"])
            .iter()
            .filter_map(|path| Some(Path::new(path).file_stem()?.to_str()?.to_owned()))
            .collect();
        if repository.environments.iter().any(|name| name == environment) {
            repository.environment = reader.file(&format!("environments/{environment}.toml"));
        }
        repository
    }

    /// SHA-256 over every file and the environment, in hex.
    pub(crate) fn fingerprint(&self, environment: &str) -> String {
        let mut files: Vec<&File> = self
            .scripts
            .iter()
            .chain(&self.codesets)
            .chain(self.connections.as_ref())
            .chain(self.environment.as_ref())
            .collect();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            // Lengths keep `ab` + `c` apart from `a` + `bc`.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        add(environment);
        for file in files {
            add(&file.path);
            add(&file.text);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

struct Reader<'a> {
    root: &'a Path,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// The paths of a directory's files with one of these endings, sorted.
    fn names(&mut self, directory: &str, endings: &[&str]) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(directory)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .filter(|name| {
                Path::new(name)
                    .extension()
                    .is_some_and(|ending| endings.iter().any(|e| ending == *e))
            })
            .map(|name| format!("{directory}/{name}"))
            .collect();
        names.sort();
        if names.len() > FILES_MAX {
            self.problems.push(Problem::error(
                "too-many-files",
                format!("{directory} has more than {FILES_MAX} files"),
            ));
            names.truncate(FILES_MAX);
        }
        names
    }

    fn files(&mut self, directory: &str, endings: &[&str]) -> Vec<File> {
        self.names(directory, endings)
            .iter()
            .filter_map(|path| self.file(path))
            .collect()
    }

    fn file(&mut self, path: &str) -> Option<File> {
        match self.read(&self.root.join(path)) {
            Ok(text) => Some(File {
                path: path.to_owned(),
                text,
            }),
            Err(why) => {
                let span = Span {
                    file: path.to_owned(),
                    line: 1,
                    column: 1,
                    width: 1,
                };
                self.problems
                    .push(Problem::error("unreadable-file", format!("{path} {why}")).at(span));
                None
            }
        }
    }

    fn read(&mut self, path: &PathBuf) -> Result<String, String> {
        let metadata = fs::symlink_metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
        if !metadata.is_file() {
            return Err("is not a plain file: links and directories are not read".to_owned());
        }
        if metadata.len() > FILE_BYTES_MAX as u64 {
            return Err(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20));
        }
        self.check_writers(path);
        let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())?;
        Ok(text
            .strip_prefix('\u{feff}')
            .map(ToOwned::to_owned)
            .unwrap_or(text))
    }

    /// Whoever can write here can run code in the service, so only the owner may.
    #[cfg(unix)]
    fn check_writers(&mut self, path: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        if metadata.permissions().mode() & 0o022 != 0 {
            let shown = path
                .strip_prefix(self.root)
                .ok()
                .filter(|rest| !rest.as_os_str().is_empty());
            let shown = shown.map_or_else(|| ".".to_owned(), |rest| rest.display().to_string());
            self.problems.push(
                Problem::error(
                    "writable-by-others",
                    format!("`{shown}` can be written by other users than its owner"),
                )
                .suggest(format!("run `chmod go-w {shown}` in the config repository")),
            );
        }
    }

    #[cfg(not(unix))]
    fn check_writers(&mut self, _path: &Path) {}
}
