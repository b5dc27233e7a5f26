//! The sample config repository that `init` writes and `demo` runs.

use std::io;
use std::path::{Path, PathBuf};

macro_rules! sample {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../sample/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = sample![
    "config/_patients.star",
    "config/adt.star",
    "config/oru.star",
    "config/files.star",
    "config/codesets/sex.csv",
    "environments/dev.toml",
    "messages/adt_a01.hl7",
    "messages/adt_a20.hl7",
    "messages/oru_r01.hl7",
    "holdfast.toml",
    "gitignore",
];

/// Writes the sample into `root`, with the stub file for editors. Existing files are not touched; the paths
/// written are returned.
///
/// # Errors
/// When a folder or file cannot be written.
pub(crate) fn write(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in FILES {
        let path = if *path == "gitignore" { ".gitignore" } else { path };
        put(root, Path::new(path), text, &mut written)?;
    }
    put_stub(root, &mut written)?;
    make_folder(&root.join("in"))?; // where the partner without a network drops its files
    Ok(written)
}

/// Writes (again) the stub file from which editors complete.
pub(crate) fn put_stub(root: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
    let stub = script::stub(&connectors::registry::specs());
    std::fs::write(root.join("holdfast.pyi"), stub)?;
    written.push(PathBuf::from("holdfast.pyi"));
    Ok(())
}

fn put(root: &Path, path: &Path, text: &str, written: &mut Vec<PathBuf>) -> io::Result<()> {
    let target = root.join(path);
    if let Some(folder) = target.parent() {
        make_folder(folder)?;
    }
    if !target.exists() {
        make_file(&target, text)?;
        written.push(path.to_owned());
    }
    Ok(())
}

/// Makes a file that only its owner may write to, whatever the umask.
fn make_file(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?
        .write_all(text.as_bytes())
}

/// Makes a folder that only its owner may write to, whatever the umask: the configuration is a trust
/// boundary.
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
}
