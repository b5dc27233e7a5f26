//! Which crate may depend on which. Arrows point downward only; each outside library that a crate hides
//! stays in that crate.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{files, settle};

/// Our crates, and what of ours each may name. `holdfast` may name all: it is where they are wired.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("formats", &["model"]),
    ("script", &["formats", "model"]),
    ("store", &["model"]),
    ("connectors", &["formats", "model"]),
    ("engine", &["store", "connectors", "script", "formats", "model"]),
    ("cluster", &["store", "model"]),
    ("api", &["engine", "cluster", "model"]),
    ("bench", &["formats", "model"]),
    // A server for tests: nothing that ships may use it.
    ("pgtest", &[]),
    (
        "holdfast",
        &[
            "api",
            "engine",
            "cluster",
            "store",
            "connectors",
            "script",
            "formats",
            "model",
            "bench",
        ],
    ),
    // Sees the product from outside, through sockets and the command line.
    ("tests", &["bench", "formats", "model"]),
    // The same, in namespaces and with faults; its judge knows records and SQL only.
    ("chaos", &["bench", "pgtest", "tests"]),
];

/// Outside libraries that one crate hides from all others.
const HIDDEN: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("libsqlite3-sys", &["store"]),
    ("sqlx", &["store"]),
    ("sqlx-core", &["store"]),
    ("sqlx-postgres", &["store"]),
    ("tiberius", &["store"]),
    ("bb8", &["store"]),
    ("tokio-postgres", &["store"]),
    ("rustix", &["cluster", "chaos", "store"]), // the store ends a command with all that it started
    ("zstd", &["store"]),
    ("axum", &["api"]),
    ("hyper", &["api"]),
    ("metrics-exporter-prometheus", &["api"]),
    ("starlark", &["script"]),
    ("starlark_syntax", &["script"]),
    ("encoding_rs", &["formats"]),
    ("clap", &["holdfast", "chaos"]),
    ("clap_complete", &["holdfast"]),
    ("indicatif", &["holdfast"]),
    ("comfy-table", &["holdfast"]),
    ("tracing-subscriber", &["holdfast"]),
];

/// One dependency of a manifest.
struct Dependency {
    name: String,
    entry: Value,
    /// For tests and benches only.
    dev: bool,
}

/// Every dependency of a manifest.
fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut collect = |table: &Table| {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(Value::Table(entries)) = table.get(section) {
                let dev = section == "dev-dependencies";
                found.extend(entries.iter().map(|(name, entry)| Dependency {
                    name: name.clone(),
                    entry: entry.clone(),
                    dev,
                }));
            }
        }
    };
    collect(manifest);
    if let Some(Value::Table(targets)) = manifest.get("target") {
        targets.values().filter_map(Value::as_table).for_each(collect);
    }
    found
}

/// All that lies below a crate: what it may use, and what that may use.
fn below(folder: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder];
    while let Some(next) = open.pop() {
        for name in MAY_USE
            .iter()
            .find(|(name, _)| *name == next)
            .map_or(&[][..], |(_, allowed)| *allowed)
        {
            if found.insert(*name) {
                open.push(name);
            }
        }
    }
    found
}

/// What is wrong with one crate's lints. `script` restates those of the workspace with unsafe code denied, not
/// forbidden: the interpreter's own derive writes an unsafe trait's implementation.
fn lints(folder: &str, lints: Option<&Value>) -> Option<String> {
    if folder != "script" {
        let inherited = lints.and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true));
        return (!inherited).then(|| {
            "add `[lints] workspace = true`, or unsafe code and unwrap go unnoticed here".to_owned()
        });
    }
    let root =
        std::fs::read_to_string(super::root().join("Cargo.toml")).expect("the workspace has a manifest");
    let root: Table = root
        .parse()
        .expect("the workspace's manifest is TOML: cargo read it");
    let mut wanted = root["workspace"]["lints"].clone();
    wanted["rust"]["unsafe_code"] = Value::String("deny".to_owned());
    (lints != Some(&wanted))
        .then(|| "its lints must be the workspace's, with `unsafe_code = \"deny\"`".to_owned())
}

/// What is wrong with one crate's manifest. `path` is its path from the root.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let folder = path
        .trim_end_matches("/Cargo.toml")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(fault) => return vec![format!("{path}: cannot be read: {fault}")],
    };
    let mut found = Vec::new();
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(Value::as_str);
    if name != Some(folder) {
        found.push(format!(
            "{path}: the package is called {name:?}; give it its folder's name, `{folder}`"
        ));
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
        found.push(format!("{path}: a new crate; say in tests/tests/house/manifests.rs what it may use, and in ARCHITECTURE.md what it hides"));
        return found;
    };
    if let Some(fault) = lints(folder, manifest.get("lints")) {
        found.push(format!("{path}: {fault}"));
    }
    for Dependency {
        name: dependency,
        entry,
        dev,
    } in dependencies(&manifest)
    {
        let below = if dev {
            // A test may set up what its crate stands on, for instance a node with its real store, and use the
            // partners and the judge of `bench` and the database server of `pgtest`.
            below(folder).into_iter().chain(["bench", "pgtest"]).collect()
        } else {
            allowed.iter().copied().collect::<BTreeSet<_>>()
        };
        let ours = MAY_USE.iter().any(|(name, _)| *name == dependency);
        if ours && !below.contains(dependency.as_str()) {
            found.push(format!("{path}: `{folder}` may not use `{dependency}` (it may use {below:?}); move what it needs down, or pass it in from above"));
        }
        if let Some((_, homes)) = HIDDEN.iter().find(|(name, _)| *name == dependency)
            && !homes.contains(&folder)
        {
            found.push(format!(
                "{path}: `{dependency}` belongs to {homes:?} alone; ask that crate for what is needed"
            ));
        }
        if entry.get("workspace") != Some(&Value::Boolean(true)) {
            found.push(format!("{path}: take `{dependency}` from the workspace (`{dependency}.workspace = true`), so that it has one version and one place"));
        }
    }
    found
}

#[test]
fn crates_depend_downward_only_and_keep_what_they_hide() {
    let mut manifests = files("crates", "Cargo.toml");
    // The fuzz target is a package of its own, outside the workspace.
    manifests.retain(|file| !file.path.ends_with("/fuzz/Cargo.toml"));
    manifests.extend(files("tests", "Cargo.toml"));
    manifests.extend(files("chaos", "Cargo.toml"));
    assert!(
        manifests.len() >= MAY_USE.len(),
        "only {} manifests found below crates/, tests/ and chaos/",
        manifests.len()
    );
    settle(
        manifests
            .iter()
            .flat_map(|file| complaints(&file.path, &file.text))
            .collect(),
    );
}

#[test]
fn a_manifest_that_breaks_a_rule_is_named_with_its_fix() {
    let head = |name: &str| format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n");
    let cases = [
        (
            "an upward arrow",
            "crates/model",
            head("model") + "[dependencies]\nformats.workspace = true\n",
            "may not use `formats`",
        ),
        (
            "an upward arrow in tests",
            "crates/store",
            head("store") + "[dev-dependencies]\nengine.workspace = true\n",
            "may not use `engine`",
        ),
        (
            "an arrow for one platform",
            "crates/bench",
            head("bench") + "[target.'cfg(unix)'.dependencies]\nstore.workspace = true\n",
            "may not use `store`",
        ),
        (
            "a driver outside store",
            "crates/engine",
            head("engine") + "[dependencies]\nrusqlite.workspace = true\n",
            "`rusqlite` belongs to [\"store\"]",
        ),
        (
            "a web framework outside api",
            "crates/holdfast",
            head("holdfast") + "[dependencies]\naxum.workspace = true\n",
            "`axum` belongs to [\"api\"]",
        ),
        (
            "a version of its own",
            "crates/engine",
            head("engine") + "[dependencies]\nregex = \"1\"\n",
            "take `regex` from the workspace",
        ),
        (
            "a name of its own",
            "crates/api",
            head("holdfast-api"),
            "give it its folder's name, `api`",
        ),
        (
            "no lints",
            "crates/api",
            "[package]\nname = \"api\"\n".to_owned(),
            "add `[lints] workspace = true`",
        ),
        ("an unknown crate", "crates/misc", head("misc"), "a new crate"),
        ("not TOML", "crates/api", "[package".to_owned(), "cannot be read"),
    ];
    for (case, folder, text, expected) in cases {
        let found = complaints(&format!("{folder}/Cargo.toml"), &text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{case}: {found:?}"
        );
    }
    let fine = head("api") + "[dev-dependencies]\nstore.workspace = true\n";
    assert!(
        complaints("crates/api/Cargo.toml", &fine).is_empty(),
        "a test may set up what lies below"
    );
    assert!(
        complaints(
            "crates/formats/Cargo.toml",
            &(head("formats") + "[dependencies]\nmodel.workspace = true\n")
        )
        .is_empty()
    );
}
