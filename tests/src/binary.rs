//! Finds the `holdfast` binary, built from this very source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary's path. Built by cargo first, which is quick when nothing changed, so a test never runs
/// against a stale one. `HOLDFAST_BIN` names another binary instead, such as a release build.
pub fn path() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("HOLDFAST_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// A command that runs the binary, with none of our own settings in its environment.
pub fn command() -> Command {
    command_of(path())
}

/// The same with another build.
pub fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(key);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies below the root");
    let test = std::env::current_exe().expect("a running test has a path");
    // target/<profile>/deps/all-<hash>
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run from <profile>/deps");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--package", "holdfast"]);
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo
        .status()
        .expect("cargo can be started: it started this test");
    assert!(
        status.success(),
        "`cargo build -p holdfast` failed; the end-to-end tests need the binary"
    );
    let binary = profile.join(format!("holdfast{}", std::env::consts::EXE_SUFFIX));
    assert!(
        binary.exists(),
        "cargo built holdfast, but not at {}; set HOLDFAST_BIN",
        binary.display()
    );
    binary
}
