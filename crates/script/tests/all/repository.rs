//! The files of a config repository: what is read, what is refused, what the fingerprint covers.

use crate::support::{self, lines};

const FEED: &str = "SEX = code_set(\"sex\")\n@handler\ndef h(msg):\n    return send(\"OB_A\", SEX.get(msg[\"PID-8\"], \"?\"))\n@router\ndef r(msg):\n    return [\"h\"]\ninbound(\"IB_A\", timer(), router = \"r\")\noutbound(\"OB_A\", file(directory = \"d\"))\n";
const SEX: (&str, &str) = ("config/codesets/sex.csv", "key,value\nF,female\nM,male\n");

#[test]
fn code_sets_serve_functions() {
    let loaded = support::loaded(&[("config/a.star", FEED), SEX]);
    let handled = loaded
        .program
        .handle("h", &support::incoming(support::ADT))
        .expect("an answer");
    assert_eq!(handled.sends[0].body.as_deref(), Some(&b"female"[..]));
    let found = lines(&[("config/a.star", FEED), ("config/codesets/sexes.csv", SEX.1)]);
    assert_eq!(
        found,
        [
            "config/a.star:1:7: error[unknown-code-set]: there is no code set `sex`: no config/codesets/sex.csv or .toml [known: sexes]"
        ]
    );
}

#[test]
fn helpers_are_loaded_by_siblings_only() {
    for (line, expected) in [
        ("load(\"_a.star\", \"X\")", ""),
        (
            "load(\"_b.star\", \"X\")",
            "error[bad-load]: there is no helper config/_b.star [did you mean `_a.star`?]",
        ),
        (
            "load(\"../secret.star\", \"X\")",
            "error[bad-load]: only helpers beside this file can be loaded",
        ),
        (
            "load(\"other.star\", \"X\")",
            "error[bad-load]: only helpers beside this file can be loaded",
        ),
        (
            "load(\"_sub/_a.star\", \"X\")",
            "error[bad-load]: only helpers beside this file can be loaded",
        ),
        (
            "load(\"_loop.star\", \"X\")",
            "config/_loop2.star:1:6: error[load-cycle]: `_loop.star` loads itself",
        ),
        ("load(\"_a.star\", \"Y\")", "Y"),
    ] {
        let found = lines(&[
            ("config/_a.star", "X = 1\n"),
            ("config/_loop.star", "load(\"_loop2.star\", \"X\")\n"),
            ("config/_loop2.star", "load(\"_loop.star\", \"X\")\n"),
            ("config/other.star", "X = 1\n"),
            (
                "config/main.star",
                &format!("{line}\nZ = X\n")
                    .replace("Z = X", if line.contains("\"Y\"") { "Z = Y" } else { "Z = X" }),
            ),
        ]);
        let shown = found.join("\n");
        assert_eq!(found.is_empty(), expected.is_empty(), "{line}: {shown}");
        assert!(shown.contains(expected), "{line}: {shown}");
    }
}

#[test]
fn a_name_declared_twice_is_reported_at_both_places() {
    let found = lines(&[
        (
            "config/a.star",
            "outbound(\"OB_A\", file(directory = \"d\"))\n@handler\ndef h(msg): pass\n",
        ),
        (
            "config/b.star",
            "outbound(\"OB_A\", file(directory = \"d\"))\n@handler\ndef h(msg): pass\n",
        ),
        (
            "config/connections.toml",
            "[[outbound]]\nname = \"OB_A\"\nfile = { directory = \"d\" }\n",
        ),
    ]);
    let errors: Vec<&String> = found.iter().filter(|line| line.contains("error")).collect();
    assert_eq!(
        errors,
        [
            "config/a.star:1:10: error[duplicate-name]: the connection `OB_A` is declared twice: also at config/b.star:1 [give one of them another name]",
            "config/a.star:3:5: error[duplicate-name]: the handler `h` is declared twice: also at config/b.star:3 [give one of them another name]",
            "config/b.star:1:10: error[duplicate-name]: the connection `OB_A` is declared twice: also at config/a.star:1 [give one of them another name]",
            "config/b.star:3:5: error[duplicate-name]: the handler `h` is declared twice: also at config/a.star:3 [give one of them another name]",
            "config/connections.toml:2:8: error[duplicate-name]: the connection `OB_A` is declared twice: also at config/a.star:1 [give one of them another name]",
        ]
    );
}

#[test]
fn one_file_that_fails_does_not_hide_the_problems_of_others_nor_make_new_ones() {
    let found = lines(&[
        (
            "config/a.star",
            "@handler\ndef h(msg):\n    while True: pass\noutbound(\"OB_A\", file(directory = \"d\"))\n",
        ),
        (
            "config/b.star",
            "@router\ndef r(msg):\n    return [\"h\", \"hh\"]\n@handler\ndef g(msg):\n    return send(\"OB_A\", mgs)\n",
        ),
        (
            "config/c.star",
            "inbound(\"IB_A\", timer(), router = \"r\")\nx = 1 / 0\n",
        ),
    ]);
    let codes: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    assert_eq!(
        codes,
        ["syntax", "unknown-handler", "unknown-name", "evaluation"],
        "{found:#?}"
    );
}

#[test]
fn the_fingerprint_covers_what_matters_and_nothing_else() {
    let values = ("environments/dev.toml", "a = 1\n");
    let print = |files: &[(&str, &str)]| support::loaded(files).fingerprint;
    let base = print(&[("config/a.star", FEED), SEX, values]);
    assert_eq!(base.len(), 64);
    assert_eq!(
        base,
        print(&[
            ("config/a.star", FEED),
            SEX,
            values,
            ("messages/x.hl7", "x"),
            ("environments/prod.toml", "a = 2")
        ])
    );
    for other in [
        print(&[("config/a.star", &format!("{FEED}\n")), SEX, values]),
        print(&[("config/b.star", FEED), SEX, values]),
        print(&[("config/a.star", FEED), (SEX.0, "key,value\nF,woman\n"), values]),
        print(&[("config/a.star", FEED), SEX, ("environments/dev.toml", "a = 2\n")]),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn an_environment_without_a_file_is_an_error_when_others_have_one() {
    let found = lines(&[("config/a.star", ""), ("environments/deva.toml", "a = 1\n")]);
    assert_eq!(
        found,
        [
            "error[unknown-environment]: there is no environment `dev`: no file environments/dev.toml [did you mean `deva`?]"
        ]
    );
    assert_eq!(lines(&[("config/a.star", "")]), Vec::<String>::new());
}

#[test]
fn a_directory_that_is_no_repository_is_an_error() {
    let empty = tempfile::tempdir().expect("a directory");
    let found = support::load_at(empty.path()).err().unwrap_or_default();
    assert_eq!(found[0].code, "no-config");
}

#[cfg(unix)]
#[test]
fn what_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in [
        ("config", 0o775),
        ("config/a.star", 0o666),
        (".", 0o777),
        ("environments/dev.toml", 0o664),
        ("messages", 0o777),
        ("holdfast.toml", 0o666),
    ] {
        let root = support::repository(&[
            ("config/a.star", ""),
            ("environments/dev.toml", "a = 1\n"),
            ("messages/a.hl7", support::ADT),
            ("holdfast.toml", ""),
        ]);
        std::fs::set_permissions(root.path().join(path), std::fs::Permissions::from_mode(mode))
            .expect("permissions");
        let found = support::load_at(root.path()).err().unwrap_or_default();
        let text = found[0].to_string();
        assert_eq!(
            text,
            format!("error[writable-by-others]: `{path}` can be written by other users than its owner")
        );
        assert_eq!(
            found[0].suggestion.as_deref(),
            Some(&*format!("run `chmod go-w {path}` in the config repository"))
        );
    }
}

#[cfg(unix)]
#[test]
fn links_and_binary_files_are_refused() {
    let root = support::repository(&[("config/a.star", ""), ("elsewhere.star", "x = 1\n")]);
    std::os::unix::fs::symlink(
        root.path().join("elsewhere.star"),
        root.path().join("config/b.star"),
    )
    .expect("a link");
    std::fs::write(root.path().join("config/c.star"), b"x = \"\xff\"").expect("a file");
    let found = support::load_at(root.path()).err().unwrap_or_default();
    let text: Vec<String> = found.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(
        text,
        [
            "config/b.star is not a plain file: links and directories are not read",
            "config/c.star is not UTF-8: save it as UTF-8",
        ]
    );
}

#[test]
fn source_that_would_break_the_parser_is_refused() {
    for text in [
        format!("x = {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        "def f(m):\n    return \"x\" * 200000000\n".to_owned(),
        "x = 100000000 * [1]\n".to_owned(),
        format!("x = 1{}", " + 1".repeat(50_000)),
    ] {
        let found = lines(&[("config/a.star", &text)]);
        assert!(
            found.len() == 1 && found[0].contains("too-complex"),
            "{:?}",
            found.first()
        );
    }
}

#[test]
fn a_file_that_loops_at_load_is_stopped() {
    let found = lines(&[(
        "config/a.star",
        "def f():\n    for a in range(100000):\n        for b in range(100000):\n            pass\nf()\n",
    )]);
    assert!(found.len() == 1 && found[0].contains("too long"), "{found:?}");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn any_text_loads_or_gives_problems_with_places(
        text in "(@router\n|@handler\\(\"h\"\\)\n|def f\\(m\\):\n|    return send\\(\"OB_A\", m\\)\n|    del m\\[\"A-1\", 2\\]\n|outbound\\(\"OB_A\", file\\(directory = 1\\)\\)\n|env\\(\"x\", int\\)\n|load\\(\"_a.star\", \"b\"\\)\n|\"\"\"|'|é|\t|\\(|\\]|\\{|@|\\\\|\n){0,14}"
    ) {
        if let Err(problems) = support::load(&[("config/a.star", &text), ("config/connections.toml", &text)]) {
            for problem in problems {
                assert_ne!(problem.code, "load", "{text:?}: {problem}");
                assert!(problem.span.is_some(), "{text:?}: {problem}");
            }
        }
    }
}
