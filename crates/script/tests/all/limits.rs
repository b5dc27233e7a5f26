//! What a function does wrong harms its own message only.

use script::FaultKind;

use crate::support::{self, ADT};

#[track_caller]
fn fails(body: &str, kind: FaultKind, text: &str) {
    let loaded = support::handler(body);
    let fault = loaded
        .program
        .handle("h", &support::incoming(ADT))
        .expect_err(body);
    assert_eq!(fault.kind, kind, "{fault}\n{}", fault.detail);
    assert!(fault.text.contains(text), "{:?} lacks {text:?}", fault.text);
    assert!(
        fault.location.starts_with("config/a.star:") && fault.location.ends_with("in `h`"),
        "{}",
        fault.location
    );
    assert!(!fault.text.contains('\n'));
    // The neighbours are untouched: the same program goes on.
    assert!(loaded.program.route("r", &support::incoming(ADT)).is_ok());
}

#[test]
fn each_limit_stops_its_function_alone() {
    fails(
        "for a in range(100000):\n    for b in range(100000):\n        pass",
        FaultKind::Limit,
        "more than 1000000 steps",
    );
    fails(
        "l = []\nx = \"x\" * 50000\nfor i in range(10000):\n    l.append(x + str(i))",
        FaultKind::Limit,
        "64 MiB",
    );
    fails(
        "x = \"x\" * 100000\nfor i in range(10):\n    x = x + x\nreturn None",
        FaultKind::Limit,
        "64 MiB",
    );
    fails(
        "def f(n):\n    return f(n + 1)\nreturn f(0)",
        FaultKind::Limit,
        "more than 50 deep",
    );
}

#[test]
fn an_error_says_where_and_what() {
    let loaded = support::handler("if True:\n    fail(\"no partner for\", msg.type)");
    let fault = loaded
        .program
        .handle("h", &support::incoming(ADT))
        .expect_err("a fault");
    assert_eq!(fault.to_string(), "config/a.star:11:9 in `h`: no partner for ADT");
    insta::assert_snapshot!(fault.detail, @r#"
    error[failed]: no partner for ADT
      --> config/a.star:11:9
       |
    11 |         fail("no partner for", msg.type)
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn every_kind_of_mistake_is_a_fault_with_its_kind() {
    for (body, kind, text) in [
        ("return 1 + msg.type", FaultKind::Raised, "not supported"),
        (
            "return {}[msg[\"PID-5\"]]",
            FaultKind::Raised,
            "the key is not in the dict",
        ),
        ("return msg.nothing", FaultKind::Raised, "no attribute"),
        ("return msg[\"PID-0\"]", FaultKind::Raised, "PID-0"),
        ("return msg[3]", FaultKind::Raised, "read by path"),
        ("msg[\"ZZZ-1\"] = \"x\"", FaultKind::Raised, "add_segment"),
        ("msg[\"PID-3\"] = None", FaultKind::Raised, "None cannot be put"),
        ("return 42", FaultKind::Nonsense, "not `int`"),
        ("return \"OB_A\"", FaultKind::Nonsense, "not `string`"),
        (
            "return [send(\"OB_A\", msg), 1]",
            FaultKind::Nonsense,
            "not `int`",
        ),
        (
            "s = send(\"OB_A\", msg)\nreturn [s, s]",
            FaultKind::Nonsense,
            "twice",
        ),
        (
            "return send(\"OB_\" + \"C\", msg)",
            FaultKind::Nonsense,
            "`OB_C`, which does not exist: did you mean `OB_A`?",
        ),
        (
            "return send(\"IB_TEST_\" + \"ADT\", msg)",
            FaultKind::Nonsense,
            "no passthrough",
        ),
        ("return send(\"OB_A\", 7)", FaultKind::Raised, "wants a message"),
        ("log(msg.text)", FaultKind::Raised, "never the message itself"),
        (
            "outbound(\"OB_Z\", file(directory = \"z\"))",
            FaultKind::Raised,
            "top level",
        ),
        ("env(\"x\")", FaultKind::Raised, "top level"),
        ("sample(\"a.hl7\")", FaultKind::Raised, "functions only"),
        ("code_set(\"none\")", FaultKind::Raised, "no code set"),
    ] {
        fails(body, kind, text);
    }
}

#[test]
fn a_router_reads_and_names_handlers_only() {
    for (body, kind, text) in [
        (
            "return [\"h\" + \"x\"]",
            FaultKind::Nonsense,
            "`hx` that does not exist: did you mean `h`?",
        ),
        ("return 3", FaultKind::Nonsense, "not `int`"),
        ("msg[\"MSH-5\"] = \"x\"", FaultKind::Raised, "a router only reads"),
        ("del msg[\"MSH-5\"]", FaultKind::Raised, "a router only reads"),
        (
            "msg.segments(\"PID\")[0][\"3\"] = \"x\"",
            FaultKind::Raised,
            "a router only reads",
        ),
        (
            "return send(\"OB_A\", msg)",
            FaultKind::Raised,
            "only a handler sends",
        ),
    ] {
        let text_of_file = format!(
            "inbound(\"IB_A\", timer(), router = \"r\")\noutbound(\"OB_A\", file(directory = \"a\"))\n@handler\ndef h(msg): pass\n@router\ndef r(msg):\n    {body}\n"
        );
        let loaded = support::loaded(&[("config/a.star", &text_of_file)]);
        let fault = loaded
            .program
            .route("r", &support::incoming(ADT))
            .expect_err(body);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.text.contains(text), "{:?} lacks {text:?}", fault.text);
    }
}

#[test]
fn functions_keep_no_state_between_messages() {
    let loaded = support::loaded(&[(
        "config/a.star",
        "SEEN = []\n@handler\ndef h(msg):\n    SEEN.append(1)\n",
    )]);
    let fault = loaded
        .program
        .handle("h", &support::incoming(ADT))
        .expect_err("a fault");
    assert!(fault.text.contains("frozen"), "{fault}");
}

#[test]
fn a_handler_that_does_not_exist_is_a_fault() {
    let fault = support::handler("pass")
        .program
        .handle("nobody", &support::incoming(ADT))
        .expect_err("a fault");
    assert_eq!(
        (fault.kind, fault.text.as_str()),
        (FaultKind::Nonsense, "there is no handler `nobody`")
    );
}

#[test]
fn neither_text_nor_detail_of_a_fault_shows_the_message() {
    for body in [
        "return {}[msg[\"PID-5\"]]",
        "return msg + 1",
        "return int(msg[\"PID-5\"] + \"x\" * 90)",
        "return msg[\"PID-5\"]",
        "return \"abc\".index(msg[\"PID-5\"])",
        "return [].index(msg[\"PID-5\"])",
        "return float(msg[\"PID-5\"])",
        "return pad_left(\"\", msg[\"PID-5\"])",
    ] {
        let fault = support::handle(body, &support::incoming(ADT)).expect_err(body);
        assert!(
            !fault.text.contains("Testa") && !fault.detail.contains("Testa"),
            "{fault} {}",
            fault.detail
        );
    }
}

#[test]
fn deeply_nested_values_can_be_shown_on_a_thread_with_the_stack_that_functions_want() {
    let run = || {
        for use_it in ["str(x)", "x == [x]", "json.encode(x)", "fail(x)"] {
            let body = format!("x = []\nfor i in range(10000):\n    x = [x]\n{use_it}\nreturn None");
            let outcome = support::handle(&body, &support::incoming(ADT));
            let text = outcome.err().map(|fault| fault.text).unwrap_or_default();
            assert!(text.chars().count() < 500, "{use_it}");
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(script::CALL_STACK_BYTES)
        .spawn(run)
        .expect("a thread");
    thread.join().expect("no panic");
}
