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
    insta::assert_snapshot!(problems(&[("config/adt.star", text)]), @r#"
    error[missing-option]: `mllp` needs `port`: a port (1 to 65535)
     --> config/adt.star:1:24
      |
    1 | inbound("IB_ACME_ADT", mllp(prot = 2600), router = "acme_adt_ruoter")
      |                        ^^^^^^^^^^^^^^^^^

    error[unknown-option]: `mllp` has no option `prot`
     --> config/adt.star:1:29
      |
    1 | inbound("IB_ACME_ADT", mllp(prot = 2600), router = "acme_adt_ruoter")
      |                             ^^^^
      |
      = help: did you mean `port`?

    error[unknown-router]: no router is named `acme_adt_ruoter`
     --> config/adt.star:1:52
      |
    1 | inbound("IB_ACME_ADT", mllp(prot = 2600), router = "acme_adt_ruoter")
      |                                                    ^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `acme_adt_router`?

    error[undefined-value]: `acme_host` is not defined in environments/dev.toml
     --> config/adt.star:2:37
      |
    2 | outbound("OB_ACME_ADT", mllp(host = env("acme_host"), port = 70000))
      |                                     ^^^^^^^^^^^^^^^^
      |
      = help: add `acme_host = ...` to environments/dev.toml, set HOLDFAST_VALUE_ACME_HOST, or give a default

    error[out-of-range]: `port` is 70000; a port goes from 1 to 65535
     --> config/adt.star:2:62
      |
    2 | outbound("OB_ACME_ADT", mllp(host = env("acme_host"), port = 70000))
      |                                                              ^^^^^

    warning[unused-router]: no inbound uses the router `acme_adt_router`
     --> config/adt.star:5:5
      |
    5 | def acme_adt_router(msg):
      |     ^^^^^^^^^^^^^^^

    error[unknown-handler]: no handler is named `acme_adt_handlr`
     --> config/adt.star:6:13
      |
    6 |     return ["acme_adt_handlr"]
      |             ^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `acme_adt_handler`?

    warning[unused-handler]: no router names the handler `acme_adt_handler`
     --> config/adt.star:9:5
      |
    9 | def acme_adt_handler(msg):
      |     ^^^^^^^^^^^^^^^^

    error[unknown-outbound]: no outbound is named `OB_ACME_ADR`
      --> config/adt.star:10:17
       |
    10 |     return send("OB_ACME_ADR", msg)
       |                 ^^^^^^^^^^^^^
       |
       = help: did you mean `OB_ACME_ADT`?
    "#);
}

#[test]
fn a_name_that_does_not_exist_hides_no_other_problem() {
    let text = r#"outbound("OB_1_ADT", mlpp(port = 1))
outbound("OB_2_ADT", mllp(host = "h", port = "x"))
outbound("OB_2_ADT", mllp(host = "h", port = 99999))
outbound("OB_3_ADT", mllp(host = HOST + ":", port = 1, timeoot = 2), ordering = "fife")
inbound("IB_1_ADT", mllp(port = 1), router = "ghost")
@router
def r(msg):
    return ["nobody"]
@handler
def h(msg):
    return [send("OB_9_ADT", msg), sned("OB_1_ADT", msg)]
x = undefd
handler(x.y(1)["z"], "made")
"#;
    let found = lines(&[("config/a.star", text)]);
    let places: Vec<String> = found
        .iter()
        .filter_map(|line| {
            let (place, rest) = line.strip_prefix("config/a.star:")?.split_once(':')?;
            Some(format!("{place} {}", rest.split(['[', ']']).nth(1)?))
        })
        .collect();
    assert_eq!(
        places,
        [
            "1 unknown-name",
            "2 duplicate-name",
            "2 wrong-type",
            "3 duplicate-name",
            "3 out-of-range",
            "4 unknown-name",
            "4 unknown-option",
            "4 wrong-value",
            "5 unknown-router",
            "8 unknown-handler",
            "11 unknown-outbound",
            "11 unknown-name",
            "12 unknown-name",
        ],
        "{found:#?}"
    );
    check(
        "for name in NAMES:\n    outbound(name, mllp(port = 1))\n",
        &[
            "config/a.star:1:13: error[unknown-name]: Variable `NAMES` not found [what stands after it in this file is checked once this is corrected]",
        ],
    );
}

#[test]
fn a_secret_in_a_script_is_refused() {
    for (text, refused) in [
        ("PASSWORD = \"hunter2\"\n", true),
        ("db_pwd = \"hunter2\"\n", true),
        (
            "outbound(\"OB_1_ADT\", file(directory = \"ftp://u:hunter2@h/d\"))\n",
            true,
        ),
        ("PASSWORD = env(\"acme_password\")\n", false),
        ("TOKEN_AT = \"PID-3.1\"\n", false),
        ("PASSWORD = \"\"\n", false),
    ] {
        let found = lines(&[("config/a.star", text)]);
        assert_eq!(
            found.iter().any(|line| line.contains("secret-in-file")),
            refused,
            "{text}: {found:?}"
        );
    }
}

#[test]
fn options_that_are_known_are_listed_once() {
    let found = lines(&[(
        "config/a.star",
        "outbound(\"OB_1_ADT\", file(directory = \"d\"), partition = \"PID-3.1\", ordering = \"lifo\", zzzzzzzzzzzz = 1)\n",
    )]);
    let listed = found.iter().find(|line| line.contains("unknown-option"));
    assert_eq!(
        listed.map(|line| line.matches("partition").count()),
        Some(1),
        "{found:?}"
    );
}

#[test]
fn names_that_nobody_carries_are_found() {
    let feed = "inbound(\"IB_A\", timer(), router = \"r\")\ninbound(\"IB_P\", passthrough(), router = \"r\")\noutbound(\"OB_A\", file(directory = \"d\"))\n";
    let with = |code: &str, expected: &[&str]| check(&format!("{feed}{code}"), expected);
    with(
        "@router\ndef r(msg):\n    return [\"h\"] + ([\"i\"] if msg.type == \"ADT\" else [\"g\"])\n@handler\ndef h(msg): return [send(\"OB_A\", msg), send(\"IB_P\", msg)]\n",
        &[
            "config/a.star:6:22: error[unknown-handler]: no handler is named `i` [did you mean `h`?]",
            "config/a.star:6:54: error[unknown-handler]: no handler is named `g` [did you mean `h`?]",
        ],
    );
    with(
        "@router\ndef r(msg): return \"OB_A\"\n@handler\ndef h(msg): return send(\"IB_A\", msg)\n",
        &[
            "config/a.star:5:20: error[unknown-handler]: no handler is named `OB_A` [a router names handlers; a handler sends to connections]",
            "config/a.star:7:5: warning[unused-handler]: no router names the handler `h`",
            "config/a.star:7:25: error[unknown-outbound]: `IB_A` is an inbound with the connector `timer` [a handler sends to outbounds, and to inbounds with the connector `passthrough()`]",
        ],
    );
    with(
        "@handler\ndef r(msg): pass\n",
        &[
            "config/a.star:1:35: error[unknown-router]: no router is named `r` [`r` is a handler: an inbound names a router, and the router names handlers]",
            "config/a.star:2:41: error[unknown-router]: no router is named `r` [`r` is a handler: an inbound names a router, and the router names handlers]",
            "config/a.star:5:5: warning[unused-handler]: no router names the handler `r`",
        ],
    );
}

#[test]
fn a_router_may_put_the_names_of_its_handlers_together() {
    let feed = "inbound(\"IB_A\", mllp(port = 2600), router = \"r\")\n\
                @handler\ndef edit_adt(msg): return None\n";
    let composing = "@router\ndef r(msg):\n    return [\"edit_\" + msg.type.lower()]\n";
    check(&format!("{feed}{composing}"), &[]);
    let other = "@router\ndef r(msg):\n    return [\"x_\" + msg.type.lower()]\n";
    check(
        &format!("{feed}{other}"),
        &["config/a.star:3:5: warning[unused-handler]: no router names the handler `edit_adt`"],
    );
    for short in [
        "\"e%s\" % msg.type",
        "\"e\" + msg.type",
        "\"e{}\".format(msg.type)",
        "f\"e{msg}\"",
    ] {
        check(
            &format!("{feed}@router\ndef r(msg):\n    return [{short}]\n"),
            &[],
        );
    }
    let made = "def lane(name):\n    def route(msg): return [\"edit_\" + name]\n    router(route, \"r\")\nlane(\"adt\")\n";
    check(&format!("{feed}{made}"), &[]);
}

#[test]
fn unknown_names_types_and_parameters_are_found_before_any_message() {
    check(
        "@handler\ndef h(msg):\n    return sned(\"OB_A\", msg)\n",
        &["config/a.star:3:12: error[unknown-name]: Variable `sned` not found [did you mean `send`?]"],
    );
    check(
        "@handler\ndef h(msg: Message):\n    msg.coppy()\n    return pad_left(1, 2)\n",
        &[
            "config/a.star:2:5: warning[unused-handler]: no router names the handler `h`",
            "config/a.star:3:9: error[type]: The attribute `coppy` is not available on the type `Message`",
            "config/a.star:4:21: error[type]: Expected type `str` but got `int`",
        ],
    );
    check(
        "@handler\ndef h(): pass\n@test\ndef t(msg): pass\n",
        &[
            "config/a.star:2:5: error[wrong-parameters]: the handler `h` must take one parameter, the message: `def h(msg):`",
            "config/a.star:2:5: warning[unused-handler]: no router names the handler `h`",
            "config/a.star:4:5: error[wrong-parameters]: the test `t` must take no parameter",
        ],
    );
    check(
        "print(\"x\")\n",
        &[
            "config/a.star:1:1: error[unknown-name]: Variable `print` not found [use `log(\"text\")`: it goes to the message's trail]",
        ],
    );
    check(
        "def helper(a):\n    b = 1\n    if a:\n        return 1\n",
        &[
            "config/a.star:1:1: warning[lint]: No `return` at the end, but function `helper` seems to want one due to config/a.star:4:9-17",
            "config/a.star:2:5: warning[lint]: Unused assignment of `b`",
        ],
    );
    check(
        "handler(5)\n",
        &[
            "config/a.star:1:1: error[evaluation]: `handler` wants a function, not a value of type `int` [what stands after it in this file is checked once this is corrected]",
        ],
    );
    check(
        "send(\"OB_A\", \"x\")\n",
        &[
            "config/a.star:1:1: error[evaluation]: `send` works on a message: call it in a router, handler or test [what stands after it in this file is checked once this is corrected]",
        ],
    );
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
