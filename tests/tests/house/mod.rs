//! The style of the house as tests. Each rule is a pure function from text to complaints; a complaint
//! names the place and the fix. Each rule is shown to complain about a made-up offender, so that no
//! rule can rot into one that never fails.

pub(crate) mod containers;
pub(crate) mod deployment;
mod documents;
mod manifests;
mod sources;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies below the root")
        .to_owned()
}

/// One file of the repository: its path from the root, with `/`, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files below `folder` whose name ends with `ending`, in path order.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "corpus", "snapshots"].contains(&name.as_str()) {
                    open.push(path);
                }
            } else if name.ends_with(ending)
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).expect("found below the root");
                let path = path.to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with every complaint at once.
#[track_caller]
fn settle(complaints: Vec<String>) {
    assert!(
        complaints.is_empty(),
        "\n{} to mend:\n- {}\n",
        complaints.len(),
        complaints.join("\n- ")
    );
}
