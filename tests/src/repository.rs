//! A config repository in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A config repository with its data directory beside it. Gone when dropped.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    /// A repository with this `config/feed.star` and empty `environments/dev.toml` and `holdfast.toml`.
    pub fn new(feed: &str) -> Result<Repository> {
        let repository = Repository {
            folder: TempDir::with_prefix("holdfast-e2e-")?,
        };
        repository.write("config/feed.star", feed)?;
        repository.write("environments/dev.toml", "")?;
        repository.write("holdfast.toml", "")?;
        fs::create_dir(repository.data())?;
        Ok(repository)
    }

    /// Its root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// The data directory, beside it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Any other place in the same temporary directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the repository, readable by all and writable by its owner only.
    pub fn write(&self, path: &str, text: &str) -> Result<PathBuf> {
        let path = self.root().join(path);
        let parent = path.parent().context("a file lies in a folder")?;
        fs::create_dir_all(parent)?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        set_mode(&path, 0o644)?;
        let mut folder = parent;
        while folder.starts_with(self.root()) {
            set_mode(folder, 0o755)?;
            folder = folder.parent().context("below the root")?;
        }
        Ok(path)
    }
}

/// Sets the permission bits of a file or folder.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("chmod {}", path.display()))
}
