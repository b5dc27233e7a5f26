//! `msg` in the hands of a handler.

use bytes::Bytes;

use crate::support::{self, ADT, sent};

/// Runs a body that ends in a text, and gives that text.
#[track_caller]
fn value(body: &str) -> String {
    sent(&format!("{body}\nreturn send(\"OB_A\", str(out))")).remove(0)
}

#[test]
fn values_are_read_by_path() {
    for (expression, expected) in [
        ("msg[\"PID-3.1\"]", "1001"),
        ("msg[\"PID-3(2).1\"]", "2002"),
        ("msg[\"OBX-5\", 2]", "65"),
        ("msg[\"OBX(2)-5\"]", "65"),
        ("msg[\"OBX-3.2\", 2]", "Weight"),
        ("msg[\"PID-3\", 1, 2]", "2002^^^STATE^SS"),
        ("msg[\"PID-40\"]", ""),
        ("msg[\"ZZZ-1\"]", ""),
        ("msg.get(\"PID-40\")", "None"),
        ("msg.get(\"PID-40\", \"none\")", "none"),
        ("msg.get(\"ZZZ-1\", default = \"-\")", "-"),
        (
            "msg.type + msg.trigger + msg.control_id + msg.version",
            "ADTA01C00012.5.1",
        ),
        ("msg.received_at", "2026-01-31T08:30:00.000000Z"),
        ("msg.count(\"OBX\")", "3"),
        (
            "msg.repetitions(\"PID-3\")",
            "[\"1001^^^SITE^MR\", \"2002^^^STATE^SS\"]",
        ),
        (
            "[\"PID\" in msg, \"ZZZ\" in msg, \"PID-3\" in msg, \"PID-40\" in msg]",
            "[True, False, True, False]",
        ),
        (
            "[s[\"5\"] for s in msg.segments(\"OBX\")]",
            "[\"170\", \"65\", \"plain \\\\T\\\\ simple\"]",
        ),
        (
            "[s[\"OBX-3.1\"] + s[2] for s in msg.segments(\"OBX\")][0]",
            "8302-2NM",
        ),
        ("[(s.name, s.index) for s in msg.segments()][-1]", "(\"OBX\", 6)"),
        ("msg.unescape(msg[\"OBX-5\", 3])", "plain & simple"),
        ("msg.escape(\"a&b|c\")", "a\\T\\b\\F\\c"),
        ("msg.segments(\"PV1\")[0].text", "PV1|1|I|W1^R1^B1"),
        ("msg.text == msg.encode()", "True"),
        ("msg.copy() == msg", "True"),
        ("type(msg)", "Message"),
        ("msg", "<Message>"),
        ("current_environment()", "dev"),
    ] {
        assert_eq!(value(&format!("out = {expression}")), expected, "{expression}");
    }
}

#[test]
fn messages_are_changed_by_path() {
    for (edit, expected) in [
        ("msg[\"MSH-5\"] = \"EPIC\"", ADT.replace("RECEIVER", "EPIC")),
        ("msg[\"OBX-5\", 2] = 66", ADT.replace("|65|", "|66|")),
        ("msg[\"PID-3(2).1\"] = \"9\"", ADT.replace("2002^", "9^")),
        ("del msg[\"PID-13\"]", ADT.replace("|555-0100\r", "|\r")),
        (
            "del msg[\"PID-8\"], msg[\"OBX-6\", 1]",
            ADT.replace("|F|||1 S", "||||1 S").replace("|cm|", "||"),
        ),
        ("msg.delete(\"PV1\")", ADT.replace("PV1|1|I|W1^R1^B1\r", "")),
        (
            "del msg[\"OBX\", 2]",
            ADT.replace("OBX|2|NM|29463-7^Weight||65|kg|||||F\r", ""),
        ),
        ("msg.add_segment(\"NTE|1||text\")", format!("{ADT}NTE|1||text\r")),
        (
            "msg.add_segment(\"ZP1|x\", after = \"PID\")",
            ADT.replace("PV1|", "ZP1|x\rPV1|"),
        ),
        (
            "msg.add_segment(\"NTE|1\", after = msg.segments(\"OBX\")[0])[\"3\"] = \"n\"",
            ADT.replace("OBX|2", "NTE|1||n\rOBX|2"),
        ),
        (
            "for s in msg.segments(\"OBX\"):\n    if s[\"2\"] == \"NM\":\n        msg.remove_segment(s)",
            {
                let keep = |line: &&str| !line.starts_with("OBX|1") && !line.starts_with("OBX|2");
                ADT.split_inclusive('\r').filter(keep).collect()
            },
        ),
        (
            "for i, s in enumerate(msg.segments(\"OBX\")):\n    s[\"1\"] = i + 10",
            {
                ADT.replace("OBX|1", "OBX|10")
                    .replace("OBX|2", "OBX|11")
                    .replace("OBX|3", "OBX|12")
            },
        ),
        (
            "for s in msg.segments(\"OBX\"):\n    del s[\"6\"]",
            ADT.replace("|cm|", "||").replace("|kg|", "||"),
        ),
        ("msg.set(\"PV1-2\", \"O\")", ADT.replace("|1|I|", "|1|O|")),
    ] {
        assert_eq!(
            sent(&format!("{edit}\nreturn send(\"OB_A\", msg)")),
            [expected],
            "{edit}"
        );
    }
}

#[test]
fn a_segment_stays_itself_while_others_come_and_go() {
    let body = "last = msg.segments(\"OBX\")[2]\nmsg.remove_segment(msg.segments(\"OBX\")[0])\nmsg.add_segment(\"NTE|1\", after = \"MSH\")\nlast[\"5\"] = \"mine\"\nout = (last.index, last[\"5\"], last.name)";
    assert_eq!(value(body), "(6, \"mine\", \"OBX\")");
    let body = "s = msg.segments(\"PV1\")[0]\nmsg.remove_segment(s)\nreturn s[\"1\"]";
    let fault = support::handle(body, &support::incoming(ADT)).expect_err("a fault");
    assert!(fault.text.contains("was removed"), "{fault}");
}

#[test]
fn a_send_keeps_the_message_as_it_was() {
    let body = "first = send(\"OB_A\", msg)\nmsg[\"MSH-5\"] = \"ONE\"\nsecond = send(\"OB_B\", msg, priority = 3)\nmsg[\"MSH-5\"] = \"TWO\"\nreturn [first, second, send(\"OB_A\", msg), send(\"IB_TEST_SPLIT\", msg)]";
    let expected = |to: &str| ADT.replace("RECEIVER", to);
    assert_eq!(
        sent(body),
        [
            "as received".to_owned(),
            expected("ONE"),
            expected("TWO"),
            expected("TWO")
        ]
    );
    let handled = support::handle(body, &support::incoming(ADT)).expect("an answer");
    assert_eq!(handled.sends[1].priority, 3);
    assert_eq!(&*handled.sends[3].destination, "IB_TEST_SPLIT");
}

#[test]
fn a_copy_is_changed_alone() {
    let body = "c = msg.copy()\nc[\"MSH-5\"] = \"COPY\"\nreturn [send(\"OB_A\", msg), send(\"OB_B\", c)]";
    assert_eq!(
        sent(body),
        ["as received".to_owned(), ADT.replace("RECEIVER", "COPY")]
    );
}

#[test]
fn the_message_that_came_in_is_untouched_by_a_handler() {
    let message = support::incoming(ADT);
    support::handle("msg[\"MSH-5\"] = \"X\"", &message).expect("an answer");
    let script::Content::Hl7(message) = message.content else {
        panic!("it was HL7")
    };
    assert_eq!(
        message.encode().expect("bytes"),
        Bytes::from_static(ADT.as_bytes())
    );
}

#[test]
fn raw_content_is_text_bytes_and_json() {
    for (input, expression, expected) in [
        (
            "{\"a\": [1, 2.5, \"x\", null, true], \"big\": 12345678901234567890123}",
            "msg.json()",
            "{\"a\": [1, 2.5, \"x\", None, True], \"big\": \"12345678901234567890123\"}",
        ),
        ("héllo", "msg.text", "héllo"),
        ("ab", "len(msg.bytes)", "2"),
        ("ab", "len(msg)", "2"),
        (
            "<o xmlns=\"urn:x\" id=\"7\"><l>A</l></o>",
            "[msg.xml()[\"name\"], msg.xml()[\"attributes\"], msg.xml()[\"children\"][0][\"text\"], msg.xml()[\"namespace\"]]",
            "[\"o\", {\"id\": \"7\"}, \"A\", \"urn:x\"]",
        ),
        (
            "{\"resourceType\": \"Patient\", \"id\": \"p\"}",
            "msg.fhir()[\"id\"]",
            "p",
        ),
        (
            "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260101*1200*^*00501*000000001*0*T*:~EQ*30:1~IEA*1*1~",
            "msg.x12()[\"segments\"][1] + [msg.x12()[\"component\"]]",
            "[\"EQ\", \"30:1\", \":\"]",
        ),
    ] {
        let body = format!("return send(\"OB_A\", str({expression}))");
        let handled = support::handle(&body, &support::incoming_raw(input)).expect("an answer");
        assert_eq!(
            handled.sends[0].body.as_deref(),
            Some(expected.as_bytes()),
            "{expression}"
        );
    }
    let handled =
        support::handle("return send(\"OB_A\", msg)", &support::incoming_raw("x")).expect("an answer");
    assert_eq!(handled.sends[0].body, None);
    for (input, expression, expected) in [
        ("{", "msg.json()", "not JSON (line 1, column 1)"),
        ("x", "msg[\"PID-1\"]", "not HL7"),
        ("x", "msg.xml()", "not well-formed XML (line 1"),
        ("<!DOCTYPE a><a/>", "msg.xml()", "a DOCTYPE is not accepted"),
        ("x", "msg.x12()", "does not begin with ISA"),
        ("[1]", "msg.fhir()", "no FHIR resource"),
        ("{\"resourceType\": 1}", "msg.fhir()", "no FHIR resource"),
        ("x", "msg.segments(\"PID\")", "not HL7"),
    ] {
        let fault = support::handle(&format!("return {expression}"), &support::incoming_raw(input))
            .expect_err(expression);
        assert!(fault.text.contains(expected), "{fault}");
    }
}

#[test]
fn helpers_give_what_they_say() {
    for (expression, expected) in [
        (
            "pad_left(\"7\", 3, \"0\") + pad_right(\"a\", 3) + \"|\"",
            "007a  |",
        ),
        (
            "title(\"ANNA\") + normalize_space(\" a  b \") + strip_non_digits(\"1-2\")",
            "Annaa b12",
        ),
        ("split_name(\"DOE, JOHN\")", "(\"DOE\", \"JOHN\", \"\")"),
        ("truncate(\"héllo\", 2)", "hé"),
        ("to_int(\" 42 \") + to_int(\"x\", 1) + to_int(5)", "48"),
        ("to_float(\"2.5\") + to_float(\"x\", 1)", "3.5"),
        ("sum([1, 2, 3])", "6"),
        ("sum([1, 2.5])", "3.5"),
        ("(round(2.5), round(2.345, 2))", "(3, 2.35)"),
        ("re_match(\"[A-Z]+\", \"AB1\")", "True"),
        ("re_match(\"[A-Z]+\", \"1AB\")", "False"),
        ("re_find(\"([a-z])(\\\\d)\", \"..b7\", group = 2)", "7"),
        ("re_find(\"z\", \"abc\")", "None"),
        ("re_findall(\"(\\\\d)x\", \"1x2x\")", "[\"1\", \"2\"]"),
        ("re_replace(\"(\\\\d+)\", \"<$1>\", \"a12b\")", "a<12>b"),
        ("format_ts(msg[\"PID-7\"], \"%d.%m.%Y\")", "29.02.1980"),
        ("age_years(msg[\"PID-7\"], msg.received_at)", "45"),
        ("add_days(\"20260131\", 1)", "20260201"),
        ("add_seconds(\"20260131083059\", 1)", "20260131083100"),
        ("days_between(\"20260101\", \"20260131\")", "30"),
        ("hl7_date(\"31/01/2026\", \"%d/%m/%Y\")", "20260131"),
        ("hl7_ts(msg.received_at)", "20260131083000"),
        ("parse_ts(\"202601310830+0100\")[\"offset\"]", "60"),
        ("is_ts(\"2026\") and not is_ts(\"x\")", "True"),
        ("hl7_escape(\"a|b\") + hl7_unescape(\"\\\\T\\\\\")", "a\\F\\b&"),
        (
            "uuid5(\"dns\", \"www.example.com\")",
            "2ed6657d-e927-568b-95e1-2665a8aea6a2",
        ),
        ("json.encode({\"a\": 1})", "{\"a\":1}"),
        (
            "json.encode([json.decode(\"{\\\"a\\\": [1, 2.5, null]}\"), True, (1, 1 << 80), \"\\n\"])",
            "[{\"a\":[1,2.5,null]},true,[1,1208925819614629174706176],\"\\n\"]",
        ),
    ] {
        assert_eq!(value(&format!("out = {expression}")), expected, "{expression}");
    }
}

#[test]
fn helpers_refuse_what_they_cannot_do() {
    for (expression, expected) in [
        ("to_int(\"x\")", "give a default"),
        ("to_float(\"x\")", "give a default"),
        ("format_ts(\"yesterday\", \"%Y\")", "this is no time"),
        ("format_ts(\"2026\", \"%Q\")", "is no format"),
        ("re_find(\"(\", \"x\")", "not a regular expression"),
        ("re_find(\"x{1000}{1000}{1000}\", \"x\")", "too large"),
        ("re_replace(\"\", \"y\" * 1000, \"x\" * 100000)", "too long"),
        ("pad_left(\"x\", 2000000000)", "too large"),
        ("pad_left(\"x\", 3, \"ab\")", "one character"),
        ("json.encode({1: 2})", "is a text, not `int`"),
        ("json.encode(msg)", "cannot hold a value of type `Message`"),
        ("json.decode(\"[\")", "not JSON"),
    ] {
        let fault =
            support::handle(&format!("return {expression}"), &support::incoming(ADT)).expect_err(expression);
        assert!(fault.text.contains(expected), "{expression}: {fault}");
    }
}

#[test]
fn logged_lines_come_back_with_the_answer() {
    let handled = support::handle("log(\"one\")\nlog(\"two\")\nreturn None", &support::incoming(ADT))
        .expect("an answer");
    assert_eq!(handled.log, ["one", "two"]);
}
