//! What a person is told about a configuration that is wrong.

use crate::support::{lines, problems};

/// One file's problems, one line each.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(lines(&[("config/a.star", text)]), expected, "{text}");
}

#[test]
fn all_problems_are_shown_at_once_with_carets() {
    let text = r#"inbound("IB_ACME_ADT", mllp(prot = 2600), router = "acme_adt_ruoter")
outbound("OB_ACME_ADT", mllp(host = env("acme_host"), port = 70000))

@router
def acme_adt_router(msg):
    return ["acme_adt_handlr"]

@handler
def acme_adt_handler(msg):
    return send("OB_ACME_ADR", msg)
"#;
    insta::assert_snapshot!(problems(&[("config/adt.star", text)]), @"");
}

#[test]
fn names_that_nobody_carries_are_found() {
    check("inbound(\"IB_A\", timer(), router = \"x\")\n", &[]);
}

#[test]
fn python_that_starlark_lacks_is_explained() {
    for (text, expected) in [
        (
            "def f(m):\n    while True:\n        pass\n",
            "there is no `while`",
        ),
        (
            "def f(m):\n    try:\n        pass\n    except: pass\n",
            "there are no exceptions",
        ),
        ("import re\n", "there is no `import`"),
        ("from re import match\n", "there is no `import`"),
        ("class A:\n    pass\n", "there are no classes"),
        ("def f(m):\n    if m is None: pass\n", "write `== None`"),
        ("def f(m):\n    assert m\n", "there is no `assert`"),
        ("def f(m):\n    with open(m): pass\n", "no `with`"),
        ("def f(m):\n    global x\n", "keep no state"),
    ] {
        let found = lines(&[("config/a.star", text)]);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{text}: {found:?}"
        );
    }
}
