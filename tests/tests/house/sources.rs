//! What may stand in a source file, and where.

use super::{File, files, settle};

/// Beyond this a file holds more than one idea.
const LINES_MAX: usize = 640;

/// The lines of a file that ship: up to its test module, without comments; with their numbers from 1.
fn shipped(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let tests = is_test_file(&file.path);
    let end = if tests {
        Some(0)
    } else {
        test_module_start(&file.text)
    };
    file.text
        .lines()
        .enumerate()
        .take(end.unwrap_or(usize::MAX))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

/// Files that exist for tests only.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/fuzz/")
        || path.ends_with("/tests.rs")
}

/// The line on which the unit tests of a file begin.
fn test_module_start(text: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]"
            && pair[1]
                .trim_start()
                .trim_start_matches("pub(crate) ")
                .starts_with("mod ")
    })
}

/// A receipt may be made by the store alone: an acknowledgement is built from nothing else (I10).
fn receipts(file: &File) -> Vec<String> {
    let home = file.path.starts_with("crates/store/") || file.path == "crates/model/src/receipt.rs";
    if home {
        return Vec::new();
    }
    shipped(file)
        .filter(|(_, line)| line.contains("Committed::attest"))
        .map(|(number, _)| format!("{}:{number}: makes a receipt; only the store may, after a commit. Pass the store's receipt on", file.path))
        .collect()
}

/// SQL stays in the store, where each statement has its dialects side by side.
fn sql(file: &File) -> Vec<String> {
    const WORDS: &[(&str, &str)] = &[
        ("\"SELECT ", ""),
        ("SELECT ", " FROM "),
        ("INSERT INTO ", ""),
        ("UPDATE ", " SET "),
        ("DELETE FROM ", ""),
        ("CREATE TABLE ", ""),
        ("DROP TABLE ", ""),
        ("ALTER TABLE ", ""),
        ("PRAGMA ", ""),
    ];
    // pgtest is no part of the product: it starts servers for tests and asks them how they are. The judge of chaos
    // asks the database by SQL of its own, because it must not believe the store.
    let homes = ["crates/store/", "crates/pgtest/", "chaos/"];
    if homes.iter().any(|home| file.path.starts_with(home)) {
        return Vec::new();
    }
    shipped(file)
        .filter(|(_, line)| {
            WORDS
                .iter()
                .any(|(first, then)| line.contains(first) && line.contains(then))
        })
        .map(|(number, _)| {
            format!(
                "{}:{number}: holds SQL; make it a method of the store contract",
                file.path
            )
        })
        .collect()
}

/// A file says its contract in its first lines.
fn heads(file: &File) -> Vec<String> {
    // A file of unit tests says it in its tests' names.
    if file.text.starts_with("//! ") || file.text.starts_with("#!") || file.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    vec![format!(
        "{}:1: begin with `//! ` and say what this file promises, what it never does, what it hides",
        file.path
    )]
}

/// One idea a file.
fn lengths(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines; split it by idea before {LINES_MAX}",
        file.path
    )]
}

/// A test that is ignored, or that waits for a fixed time, tells nothing.
fn idle_tests(file: &File) -> Vec<String> {
    let complain = |(index, line): (usize, &str)| {
        let code = line.trim_start();
        let place = format!("{}:{}", file.path, index + 1);
        if code.starts_with("#[ignore") {
            Some(format!("{place}: an ignored test; mend it or delete it"))
        } else {
            None
        }
    };
    file.text.lines().enumerate().filter_map(complain).collect()
}

/// Paths of the machine the code was written on.
fn machine_paths(file: &File) -> Vec<String> {
    const PLACES: &[&str] = &["/home/", "/root/", "/Users/", "/work/", "C:\\Users"];
    if file.path.ends_with("house/sources.rs") {
        return Vec::new();
    }
    let foreign = |line: &str| PLACES.iter().any(|place| line.contains(place));
    let complain = |(index, _): (usize, &str)| {
        format!(
            "{}:{}: names a path of one machine; take it from an argument or a temporary directory",
            file.path,
            index + 1
        )
    };
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| foreign(line))
        .map(complain)
        .collect()
}

/// Every Rust file of the product and its tests.
fn all() -> Vec<File> {
    let mut all = files("crates", ".rs");
    all.extend(files("tests", ".rs"));
    all.extend(files("chaos", ".rs"));
    assert!(all.len() > 30, "only {} source files found", all.len());
    all
}

#[test]
fn receipts_are_made_by_the_store_alone() {
    settle(all().iter().flat_map(receipts).collect());
}

#[test]
fn sql_stays_in_the_store() {
    settle(all().iter().flat_map(sql).collect());
}

#[test]
fn every_file_says_its_contract_first() {
    settle(all().iter().flat_map(heads).collect());
}

#[test]
fn no_file_outgrows_one_idea() {
    settle(all().iter().flat_map(lengths).collect());
}

#[test]
fn no_test_is_ignored() {
    settle(all().iter().flat_map(idle_tests).collect());
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let endings = [".rs", ".md", ".toml", ".sh", ".star"];
    let found = ["crates", "tests", "chaos", "docs", "runbooks"]
        .into_iter()
        .flat_map(|folder| endings.into_iter().flat_map(move |ending| files(folder, ending)));
    settle(found.flat_map(|file| machine_paths(&file)).collect());
}

#[test]
fn a_source_that_breaks_a_rule_is_named_with_its_fix() {
    type Rule = fn(&File) -> Vec<String>;
    let cases: &[(&str, Rule, &str, &str, Option<&str>)] = &[
        (
            "a receipt in the engine",
            receipts,
            "crates/engine/src/intake.rs",
            "let r = Committed::attest(id, at);",
            Some(":1: makes a receipt"),
        ),
        (
            "a receipt in the store",
            receipts,
            "crates/store/src/writer.rs",
            "Committed::attest(id, at)",
            None,
        ),
        (
            "a receipt in unit tests",
            receipts,
            "crates/connectors/src/mllp/source.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n Committed::attest(id, at) }",
            None,
        ),
        (
            "a receipt before the unit tests",
            receipts,
            "crates/connectors/src/mllp/source.rs",
            "fn a() { Committed::attest(i, a) }\n#[cfg(test)]\nmod tests {}",
            Some(":1: makes a receipt"),
        ),
        (
            "a receipt in a comment",
            receipts,
            "crates/engine/src/lib.rs",
            "/// `Committed::attest` is the store's",
            None,
        ),
        (
            "a query in the api",
            sql,
            "crates/api/src/lib.rs",
            "let q = \"SELECT 1\";",
            Some(":1: holds SQL"),
        ),
        (
            "an update in the engine",
            sql,
            "crates/engine/src/lib.rs",
            "\"UPDATE lane SET head = ?\"",
            Some(":1: holds SQL"),
        ),
        (
            "a query in the store",
            sql,
            "crates/store/src/read.rs",
            "\"SELECT 1\"",
            None,
        ),
        (
            "a word that is not SQL",
            sql,
            "crates/engine/src/lib.rs",
            "\"SELECT a partner first\"",
            Some("holds SQL"),
        ),
        (
            "plain words",
            sql,
            "crates/engine/src/lib.rs",
            "\"update the settings\"",
            None,
        ),
        (
            "no head",
            heads,
            "crates/engine/src/lib.rs",
            "use std::fmt;",
            Some("begin with `//! `"),
        ),
        (
            "a head",
            heads,
            "crates/engine/src/lib.rs",
            "//! The engine.\n",
            None,
        ),
        (
            "an ignored test",
            idle_tests,
            "crates/engine/src/lib.rs",
            "#[test]\n#[ignore = \"flaky\"]",
            Some(":2: an ignored test"),
        ),
        (
            "a machine's path",
            machine_paths,
            "crates/engine/src/lib.rs",
            "let p = \"/home/me/x\";",
            Some(":1: names a path"),
        ),
    ];
    for (case, rule, path, text, expected) in cases {
        let found = rule(&File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        });
        match expected {
            Some(expected) => assert!(
                found.len() == 1 && found[0].contains(expected),
                "{case}: {found:?}"
            ),
            None => assert!(found.is_empty(), "{case}: {found:?}"),
        }
    }
    let long = File {
        path: "crates/engine/src/lib.rs".to_owned(),
        text: "x\n".repeat(LINES_MAX + 1),
    };
    assert!(lengths(&long)[0].contains("split it by idea"));
}
