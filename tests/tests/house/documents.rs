//! Documents: links that lead somewhere, a README that is read to its end, records that can be held in mind.

use super::{File, files, root, settle};

const README_LINES_MAX: usize = 120;
const RECORD_LINES_MAX: usize = 60;

/// Targets of the links in a text, `[words](target)`, outside code blocks.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            if let Some(end) = rest.find(')') {
                found.push(rest[..end].to_owned());
            }
        }
    }
    found
}

/// Relative links of `file` that lead nowhere; `exists` answers for a path from the root.
fn dead_links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let relative =
        |link: &String| !link.contains("://") && !link.starts_with('#') && !link.starts_with("mailto:");
    let target = |link: String| {
        let path = link.split('#').next().unwrap_or_default();
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        (link.clone(), parts.join("/"))
    };
    links(&file.text)
        .into_iter()
        .filter(relative)
        .map(target)
        .filter(|(_, path)| !exists(path))
        .map(|(link, path)| format!("{}: links to `{link}`, but there is no `{path}`", file.path))
        .collect()
}

/// Documents of the repository.
fn all() -> Vec<File> {
    let mut all = files("docs", ".md");
    all.extend(files("runbooks", ".md"));
    all.extend(files("chaos", ".md"));
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        let text =
            std::fs::read_to_string(root().join(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        all.push(File {
            path: name.to_owned(),
            text,
        });
    }
    all
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    settle(
        all()
            .iter()
            .flat_map(|file| dead_links(file, |path| root().join(path).exists()))
            .collect(),
    );
}

#[test]
fn the_readme_and_the_decision_records_are_short() {
    let limit = |path: &str| match path {
        "README.md" => README_LINES_MAX,
        path if path.starts_with("docs/adr/") => RECORD_LINES_MAX,
        _ => usize::MAX,
    };
    let long = |file: &File| {
        let (lines, limit) = (file.text.lines().count(), limit(&file.path));
        (lines > limit).then(|| format!("{}: {lines} lines; say it in {limit}", file.path))
    };
    settle(all().iter().filter_map(long).collect());
}

#[test]
fn the_two_commands_of_the_readme_exist() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    for command in ["./verify", "cargo run --release -- demo"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
    let ci = std::fs::read_to_string(root().join(".ci/run")).expect("there is a .ci/run");
    assert!(
        ci.contains("exec ./verify"),
        ".ci/run must call ./verify, so that CI and people run the same"
    );
}

#[test]
fn a_dead_link_is_named_with_its_target() {
    let file = |text: &str| File {
        path: "docs/how-to/a.md".to_owned(),
        text: text.to_owned(),
    };
    let cases = [
        ("see [b](../b.md)", Some("no `docs/b.md`")),
        ("see [b](b.md#part)", Some("no `docs/how-to/b.md`")),
        ("see [there](here.md)", None),
        ("see [there](#part) and [site](https://example.org/x)", None),
        ("```\n[b](b.md)\n```", None),
    ];
    for (text, expected) in cases {
        let found = dead_links(&file(text), |path| path == "docs/how-to/here.md");
        match expected {
            Some(expected) => assert!(
                found.len() == 1 && found[0].contains(expected),
                "{text}: {found:?}"
            ),
            None => assert!(found.is_empty(), "{text}: {found:?}"),
        }
    }
}
