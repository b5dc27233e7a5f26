//! The files for people with Docker: they name paths, versions, ports and settings of this repository, and
//! nothing else would notice when those change. Neither a daemon nor an image is needed here; what the node
//! makes of its environment is shown end to end.

use std::io::Write;
use std::process::Command;

use toml::Table;

use super::{files, root, settle};

/// The value of `settings` of the default API address, and the oldest server that the store takes.
const API: &str = "127.0.0.1:8765";
const POSTGRES_MIN: u32 = 13;

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// The entries below a path of keys in a YAML file that is written in block style, comments left out.
pub(crate) fn below(text: &str, path: &[&str]) -> Vec<String> {
    let lines = text.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut open: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    for line in lines {
        while open.last().is_some_and(|above| indent(line) <= *above) {
            if open.len() == path.len() {
                return found;
            }
            open.pop();
        }
        if open.len() == path.len() {
            found.push(line.trim().to_owned());
        } else if line.trim() == format!("{}:", path[open.len()]) && indent(line) == 2 * open.len() {
            open.push(indent(line));
        }
    }
    found
}

/// Variables of a service, as name and value; `${NAME:-default}` stands for its default. What is merged in (`<<`) stands
/// elsewhere.
pub(crate) fn environment(compose: &str, service: &str) -> Vec<(String, String)> {
    let parted = |line: String| {
        let (name, value) = line.split_once(": ").expect("a variable has a value");
        let value = value.trim_matches('"');
        let value = match value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(inner) => inner.split_once(":-").map_or("", |(_, default)| default),
            None => value,
        };
        (name.to_owned(), value.to_owned())
    };
    let lines = below(compose, &["services", service, "environment"]);
    let own = lines.into_iter().filter(|line| !line.starts_with("<<:"));
    own.map(parted).collect()
}

/// What the compose file gives the node, as name and value.
pub(crate) fn of_the_node() -> Vec<(String, String)> {
    environment(&read("docker-compose.yml"), "node")
}

/// The lines of a Dockerfile that begin with this instruction, without it; continued lines are joined.
pub(crate) fn instructions(dockerfile: &str, name: &str) -> Vec<String> {
    let joined = dockerfile.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|rest| rest.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The number at the start of an image's tag, as `(17, 0)` of `postgres:17-bookworm`.
fn version(tag: &str) -> (u32, u32) {
    let number = |text: Option<&str>| {
        let digits: String = text
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().unwrap_or(0)
    };
    let mut parts = tag.split(':').nth(1).unwrap_or_default().splitn(2, '.');
    (number(parts.next()), number(parts.next()))
}

/// What is wrong with the Dockerfile. `exists` answers for a path from the root.
fn dockerfile(text: &str, workspace: &Table, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let copied: Vec<String> = instructions(text, "COPY")
        .iter()
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[..words.len() - 1]
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    found.extend(
        copied
            .iter()
            .filter(|path| !exists(path))
            .map(|path| format!("copies `{path}`, which is not there")),
    );
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("members are a list");
    for member in members.iter().filter_map(toml::Value::as_str) {
        let folder = member.split('/').next().unwrap_or_default();
        if !copied.iter().any(|path| path == folder) {
            found.push(format!(
                "does not copy `{folder}`, and cargo wants every member of the workspace"
            ));
        }
    }
    let built = instructions(text, "RUN")
        .iter()
        .any(|line| line.contains("cargo build --profile dist --locked --package holdfast"));
    let profile = workspace["profile"].get("dist").is_some();
    let taken = "COPY --from=builder /build/target/dist/holdfast /usr/local/bin/holdfast";
    if !(built && profile && text.contains(taken)) {
        found.push("does not build and take the binary `holdfast` in the profile `dist`".to_owned());
    }
    let stages = instructions(text, "FROM");
    let release = |image: &String| {
        image.split(' ').next().and_then(|tag| {
            tag.split(['-', ':'])
                .find(|part| part.starts_with("book") || part.starts_with("trix"))
                .map(str::to_owned)
        })
    };
    let releases: Vec<_> = stages.iter().map(release).collect();
    if stages.len() != 2 || releases[0].is_none() || releases[0] != releases[1] {
        found.push(format!(
            "builder and runtime are not of one Debian release: {stages:?}"
        ));
    }
    let wanted = workspace["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap_or_default();
    let wanted = version(&format!("rust:{wanted}"));
    if stages
        .first()
        .is_none_or(|image| !image.starts_with("rust:") || version(image) < wanted)
    {
        found.push(format!(
            "the builder is older than Rust {}.{}",
            wanted.0, wanted.1
        ));
    }
    let user = instructions(text, "USER");
    if user
        .last()
        .is_none_or(|user| user.starts_with("root") || user.starts_with('0'))
    {
        found.push("runs the node as root".to_owned());
    }
    found
}

/// What is wrong with the compose file.
fn compose(text: &str, workspace: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let image = |service: &str| {
        below(text, &["services", service])
            .iter()
            .find_map(|line| line.strip_prefix("image: ").map(str::to_owned))
            .unwrap_or_default()
    };
    let database = image("database");
    if !database.starts_with("postgres:") || version(&database).0 < POSTGRES_MIN {
        found.push(format!("`{database}` is not PostgreSQL {POSTGRES_MIN} or later"));
    }
    let package = workspace["workspace"]["package"]["version"]
        .as_str()
        .unwrap_or_default();
    if image("node") != format!("holdfast:{package}") {
        found.push(format!(
            "the node's image is `{}`; this is version {package}",
            image("node")
        ));
    }
    for service in ["database", "node"] {
        for (name, value) in environment(text, service) {
            if name.contains("PASSWORD") && !name.ends_with("_FILE") {
                found.push(format!(
                    "{service}: `{name}` is a secret; give it as a file from `secrets`"
                ));
            }
            if value.contains("://")
                && value
                    .split('@')
                    .next()
                    .is_some_and(|user| user.matches(':').count() > 1)
            {
                found.push(format!("{service}: `{name}` holds a password"));
            }
        }
        if below(text, &["services", service])
            .iter()
            .any(|line| line == "ports:")
        {
            found.push(format!(
                "{service}: publishes ports; neither service has a network of its own to publish from"
            ));
        }
    }
    let has = |service: &str, line: &str| {
        below(text, &["services", service])
            .iter()
            .any(|found| found == line)
    };
    if !has("node", "network_mode: host") || !has("database", "network_mode: none") {
        found.push(
            "the node shares the host's network, so that loopback is the host's; the database has none"
                .to_owned(),
        );
    }
    let node = environment(text, "node");
    let given = |name: &str| {
        node.iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    };
    if given("HOLDFAST_API__BIND") != Some(API) {
        found.push(format!("the API is not at {API}, where the health check asks"));
    }
    found
}

fn workspace() -> Table {
    read("Cargo.toml")
        .parse()
        .expect("the workspace's manifest is TOML: cargo read it")
}

#[test]
fn the_dockerfile_builds_what_is_here() {
    settle(dockerfile(&read("Dockerfile"), &workspace(), |path| {
        root().join(path).exists()
    }));
    let ignored = read(".dockerignore");
    for path in ["Cargo.toml", "Cargo.lock", "crates", "tests"] {
        assert!(
            ignored.lines().any(|line| line == format!("!{path}")),
            ".dockerignore hides `{path}`"
        );
    }
    // A file that is compiled in lies inside of its crate, so it is copied with it.
    let outside = |line: &str| line.contains("include_") && line.contains("\"../../../");
    let strays: Vec<String> = files("crates", ".rs")
        .iter()
        .filter(|file| file.text.lines().any(outside))
        .map(|file| file.path.clone())
        .collect();
    assert!(
        strays.is_empty(),
        "compiled in from outside of their crates: {strays:?}"
    );
}

#[test]
fn the_compose_file_names_what_the_product_knows() {
    settle(compose(&read("docker-compose.yml"), &workspace()));
}

#[test]
fn both_compose_files_run_the_same_versions_and_give_a_node_the_same_database() {
    let (one, cluster) = (read("docker-compose.yml"), read("docker-compose.cluster.yml"));
    let same = [
        "image: postgres:",
        "image: holdfast:",
        "HOLDFAST_STORE__URL: ",
        "HOLDFAST_STORE__PASSWORD_FILE: ",
        "HOLDFAST_API__BIND: ",
        "POSTGRES_INITDB_ARGS: ",
    ];
    for start in same {
        let lines = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with(start))
                .map(str::to_owned)
                .collect();
            lines.dedup();
            lines
        };
        assert_eq!(lines(&one).len(), 1, "{start}: {:?}", lines(&one));
        assert_eq!(lines(&one), lines(&cluster));
        let third = read("docker-compose.sqlserver.yml");
        if start == "image: holdfast:" || start == "HOLDFAST_API__BIND: " {
            assert_eq!(lines(&one), lines(&third));
        }
    }
}

#[test]
fn docker_compose_accepts_the_compose_files() {
    let mut programs: Vec<Vec<&str>> = vec![vec!["docker", "compose"], vec!["docker-compose"]];
    programs.retain(|words| {
        let asked = Command::new(words[0]).args(&words[1..]).arg("version").output();
        asked.is_ok_and(|answer| answer.status.success())
    });
    let Some(words) = programs.first() else {
        // Past the test's captured output: a check that was not made is said aloud.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: neither `docker compose` nor `docker-compose` is installed here"
        );
        return;
    };
    for file in [
        "docker-compose.yml",
        "docker-compose.cluster.yml",
        "docker-compose.sqlserver.yml",
    ] {
        let answer = Command::new(words[0])
            .args(&words[1..])
            .args(["--file", file, "config", "--quiet"])
            .env("ACCEPT_EULA", "Y") // nothing is started
            .current_dir(root())
            .output()
            .expect("it answered a moment ago");
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{} {file}: {said}", words.join(" "));
    }
}

#[test]
fn a_container_file_that_breaks_a_rule_is_named() {
    let workspace = workspace();
    let good = read("docker-compose.yml");
    assert!(compose(&good, &workspace).is_empty());
    for (change, to, expected) in [
        ("postgres:15", "postgres:12", "is not PostgreSQL 13"),
        ("holdfast:0.", "holdfast:7.", "this is version"),
        (
            "network_mode: host",
            "network_mode: bridge",
            "shares the host's network",
        ),
        (
            "network_mode: none",
            "ports:\n      - 5432:5432",
            "publishes ports",
        ),
        ("127.0.0.1:8765", "0.0.0.0:8765", "the API is not at"),
        (
            "HOLDFAST_STORE__PASSWORD_FILE",
            "HOLDFAST_STORE__PASSWORD",
            "is a secret",
        ),
        (
            "postgres://holdfast@",
            "postgres://holdfast:hunter2@",
            "holds a password",
        ),
    ] {
        let found = compose(&good.replacen(change, to, 1), &workspace);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{to}: {found:?}"
        );
    }
    let good = read("Dockerfile");
    for (change, to, expected) in [
        ("COPY tests tests", "", "does not copy `tests`"),
        ("COPY crates crates", "COPY crate crates", "copies `crate`"),
        ("rust:1.95", "rust:1.60", "older than Rust"),
        ("debian:bookworm-slim", "debian:trixie-slim", "one Debian release"),
        ("USER 10001:10001", "USER root", "as root"),
        ("--profile dist", "--release", "profile `dist`"),
    ] {
        let found = dockerfile(&good.replacen(change, to, 1), &workspace, |path| {
            root().join(path).exists()
        });
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{to}: {found:?}"
        );
    }
}
