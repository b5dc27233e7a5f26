//! What an edit changes, and what it leaves alone.

use formats::hl7::{Charset, FaultKind, Message};

fn parse(raw: &str) -> Message {
    Message::parse(raw.to_owned()).expect(raw)
}

fn after(raw: &str, edit: impl FnOnce(&mut Message)) -> String {
    let mut message = parse(raw);
    edit(&mut message);
    String::from_utf8(message.encode().expect("encodes").to_vec()).expect("text")
}

fn set(message: &mut Message, path: &str, value: &str) {
    message.set(&path.parse().expect(path), value).expect(path);
}

fn delete(message: &mut Message, path: &str) -> bool {
    message.delete(&path.parse().expect(path)).expect(path)
}

const H: &str = "MSH|^~\\&|A\r";

#[test]
fn a_set_writes_the_place_and_creates_what_is_missing_before_it() {
    let cases = [
        ("PID|1|2|3", "PID-2", "x", "PID|1|x|3"),
        ("PID|1|2|3", "PID-3", "x", "PID|1|2|x"),
        ("PID", "PID-1", "x", "PID|x"),
        ("PID", "PID-3", "x", "PID|||x"),
        ("PID|1", "PID-4.2.3", "x", "PID|1|||^&&x"),
        ("PID|1", "PID-3(3).2", "x", "PID|1||~~^x"),
        ("PID|a^b~c", "PID-1", "x^y~z", "PID|x^y~z"),
        ("PID|a^b~c", "PID-1(1)", "x^y", "PID|x^y~c"),
        ("PID|a^b~c", "PID-1(2)", "x", "PID|a^b~x"),
        ("PID|a^b~c", "PID-1.1", "x&y", "PID|x&y^b~c"),
        ("PID|a^b~c", "PID-1.2", "", "PID|a^~c"),
        ("PID|a^b~c", "PID-1.4", "x", "PID|a^b^^x~c"),
        ("PID|a^b~c", "PID-1(2).2", "x", "PID|a^b~c^x"),
        ("PID|a^b~c", "PID-1(4)", "x", "PID|a^b~c~~x"),
        ("PID|a^b~c|z", "PID-1(4).2.2", "x", "PID|a^b~c~~^&x|z"),
        ("PID|a&b", "PID-1.1.1", "x", "PID|x&b"),
        ("PID|a&b", "PID-1.1.3", "x", "PID|a&b&x"),
        ("PID|a", "PID-1.1.2", "x", "PID|a&x"),
        ("PID|a", "PID-1", "\"\"", "PID|\"\""),
        ("PID|a", "PID-1", "", "PID|"),
        ("PID|a", "PID-2", "", "PID|a|"),
    ];
    for (segment, path, value, expected) in cases {
        let result = after(&format!("{H}{segment}\rOBX|1"), |m| set(m, path, value));
        assert_eq!(
            result,
            format!("{H}{expected}\rOBX|1"),
            "{segment} {path}={value}"
        );
    }
}

#[test]
fn header_fields_are_numbered_as_hl7_does() {
    assert_eq!(
        after("MSH|^~\\&|A|B\rPID|1", |m| set(m, "MSH-4", "x")),
        "MSH|^~\\&|A|x\rPID|1"
    );
    assert_eq!(
        after("MSH|^~\\&|A|B", |m| set(m, "MSH-6", "x")),
        "MSH|^~\\&|A|B||x"
    );
    assert_eq!(after("MSH|^~\\&", |m| set(m, "MSH-3", "x")), "MSH|^~\\&|x");
    assert_eq!(
        after("MSH|^~\\&|A|B", |m| assert!(delete(m, "MSH-3"))),
        "MSH|^~\\&||B"
    );
}

#[test]
fn values_cannot_break_out_of_their_place() {
    let cases = [
        ("PID-1", "a|b~c^d&e", r"a\F\b~c^d&e"),
        ("PID-1(1)", "a|b~c^d&e", r"a\F\b\R\c^d&e"),
        ("PID-1.1", "a|b~c^d&e", r"a\F\b\R\c\S\d&e"),
        ("PID-1.1.1", "a|b~c^d&e", r"a\F\b\R\c\S\d\T\e"),
        ("PID-1", r"a\T\b\.br\c", r"a\T\b\.br\c"),
        ("PID-1", r"C:\temp", r"C:\E\temp"),
        (
            "PID-1",
            "two\r\nlines\u{b}\u{1c}",
            r"two\X0D\\X0A\lines\X0B\\X1C\",
        ),
        ("PID-1", "x\rOBX|9|evil", r"x\X0D\OBX\F\9\F\evil"),
    ];
    for (path, value, expected) in cases {
        let result = after(&format!("{H}PID|a\rOBX|1"), |m| set(m, path, value));
        assert_eq!(result, format!("{H}PID|{expected}\rOBX|1"), "{path}={value}");
    }
}

#[test]
fn a_delete_empties_places_and_removes_repetitions_and_segments() {
    let cases = [
        ("PID|1|2|3", "PID-2", true, "PID|1||3\r"),
        ("PID|1|2|3", "PID-4", false, "PID|1|2|3\r"),
        ("PID|a^b^c", "PID-1.2", true, "PID|a^^c\r"),
        ("PID|a&b^c", "PID-1.1.1", true, "PID|&b^c\r"),
        ("PID|a~b~c", "PID-1(1)", true, "PID|b~c\r"),
        ("PID|a~b~c", "PID-1(2)", true, "PID|a~c\r"),
        ("PID|a~b~c", "PID-1(3)", true, "PID|a~b\r"),
        ("PID|a~b~c", "PID-1(4)", false, "PID|a~b~c\r"),
        ("PID|a|z", "PID-1(1)", true, "PID||z\r"),
        ("PID|a~b", "PID-1", true, "PID|\r"),
        ("PID|a", "PID", true, ""),
        ("PID|a", "PV1", false, "PID|a\r"),
        ("PID|a\rNTE|1\rNTE|2", "NTE(2)", true, "PID|a\rNTE|1\r"),
        ("PID|a\rNTE|1\rNTE|2", "NTE", true, "PID|a\rNTE|2\r"),
        ("PID|a", "PV1-3", false, "PID|a\r"),
    ];
    for (segments, path, done, expected) in cases {
        let result = after(&format!("{H}{segments}\r"), |m| {
            assert_eq!(delete(m, path), done, "{path}")
        });
        assert_eq!(result, format!("{H}{expected}"), "{segments} {path}");
    }
}

#[test]
fn a_segment_added_behind_filling_bytes_stands_on_a_line_of_its_own() {
    for filling in ["\0\0", "\r\n\0 ", " \0\r", "\n"] {
        let raw = format!("MSH|^~\\&|A\rPID|1\r{filling}");
        let mut message = parse(&raw);
        message.add_segment("NTE|1", None).expect("adds");
        message.add_segment("NTE|2", Some(2)).expect("adds");
        let again = Message::parse(message.encode().expect("encodes")).expect("a message");
        let names: Vec<String> = again.segments().map(|segment| segment.name.to_string()).collect();
        assert_eq!(names, ["MSH", "PID", "NTE", "NTE"], "{filling:?}");
    }
}

#[test]
fn segments_are_added_and_removed_in_place() {
    let base = format!("{H}PID|1\rOBX|1\r");
    let add = |text: &'static str, at| {
        move |m: &mut Message| {
            m.add_segment(text, at).expect(text);
        }
    };
    assert_eq!(
        after(&base, add("NTE|1||x", None)),
        format!("{H}PID|1\rOBX|1\rNTE|1||x\r")
    );
    assert_eq!(
        after(&base, add("NTE|1||x\r", Some(1))),
        format!("{H}NTE|1||x\rPID|1\rOBX|1\r")
    );
    assert_eq!(
        after(&base, add("ZZZ", Some(2))),
        format!("{H}PID|1\rZZZ\rOBX|1\r")
    );
    assert_eq!(
        after(&base, |m| m.remove_segment(1).expect("there")),
        format!("{H}OBX|1\r")
    );
    let chain = after(&base, |m| {
        let at = m.add_segment("NTE|1", None).expect("adds");
        m.set_at(at, &"3".parse().expect("field"), "note").expect("sets");
        m.remove_segment(1).expect("removes");
        assert_eq!(m.segment_count(Some("NTE")), 1);
        assert_eq!(m.get_str("NTE-3").expect("path").as_deref(), Some("note"));
        assert!(m.delete_at(2, &"1".parse().expect("field")).expect("deletes"));
    });
    assert_eq!(chain, format!("{H}OBX|1\rNTE|||note\r"));
}

#[test]
fn line_breaks_stay_as_they_came_and_new_segments_get_the_messages_own() {
    let cases = [
        ("MSH|^~\\&\nPID|1\n", "MSH|^~\\&\nPID|x\nNTE|1\n"),
        (
            "MSH|^~\\&\r\nPID|1\r\n\r\n",
            "MSH|^~\\&\r\nPID|x\r\n\r\nNTE|1\r\n",
        ),
        ("MSH|^~\\&\r\nPID|1", "MSH|^~\\&\r\nPID|x\r\nNTE|1\r\n"),
        (
            "\u{feff} MSH|^~\\&\rPID|1\n\nOBX",
            "\u{feff} MSH|^~\\&\rPID|x\n\nOBX\rNTE|1\r",
        ),
    ];
    for (raw, expected) in cases {
        let result = after(raw, |m| {
            set(m, "PID-1", "x");
            m.add_segment("NTE|1", None).expect("adds");
        });
        assert_eq!(result, expected, "{raw:?}");
    }
}

#[test]
fn untouched_segments_leave_byte_for_byte() {
    let raw = b"MSH|^~\\&|A|||||||||||||||8859/6\rPID|1||\xff\xdb\rOBX|1||\xa1\xa2 |||\r\rNTE|1".to_vec();
    let mut message = Message::parse(raw.clone()).expect("holes of ISO-8859-6 are no fault");
    message.set(&"NTE-3".parse().expect("path"), "x").expect("sets");
    message.set(&"PID-1".parse().expect("path"), "2").expect("sets");
    let mut expected = raw;
    expected[36] = b'2';
    expected.extend_from_slice(b"||x");
    assert_eq!(message.encode().expect("encodes"), expected);
}

#[test]
fn a_clone_is_a_snapshot() {
    let mut first = parse(&format!("{H}PID|1||a"));
    set(&mut first, "PID-3", "b");
    let second = first.clone();
    set(&mut first, "PID-3", "c");
    assert_eq!(second.get_str("PID-3").expect("path").as_deref(), Some("b"));
    assert_eq!(first.get_str("PID-3").expect("path").as_deref(), Some("c"));
    assert_eq!(second.raw(), first.raw());
}

#[test]
fn what_cannot_be_edited_says_why_and_changes_nothing() {
    let cases = [
        ("MSH-1", "x", FaultKind::Fixed),
        ("MSH-2", "x", FaultKind::Fixed),
        ("MSH-2.1", "x", FaultKind::Fixed),
        ("PID", "PID|9", FaultKind::Fixed),
        ("PV1-3", "x", FaultKind::NoSegment),
        ("PID(2)-3", "x", FaultKind::NoSegment),
        ("PID-5000", "x", FaultKind::Limit),
        ("PID-1(5000)", "x", FaultKind::Limit),
        ("PID-1.5000", "x", FaultKind::Limit),
        ("PID-1.1.5000", "x", FaultKind::Limit),
        ("PID-5000.1", "x", FaultKind::Limit),
        ("MSH-18", "UNICODE UTF-16", FaultKind::Charset),
    ];
    let raw = format!("{H}PID|1");
    for (path, value, kind) in cases {
        let mut message = parse(&raw);
        let fault = message.set(&path.parse().expect(path), value).expect_err(path);
        assert_eq!(fault.kind, kind, "{path}: {fault}");
        assert!(fault.path.is_some(), "{path}: {fault}");
        assert_eq!(message.encode().expect("encodes"), raw, "{path}");
        assert!(!message.is_edited(), "{path}");
    }
    let missing = parse(&raw)
        .set(&"PV1-3".parse().expect("path"), "x")
        .expect_err("missing");
    assert!(missing.text.contains("add_segment"), "{missing}");
    for path in ["MSH", "MSH-1", "MSH-2"] {
        assert!(parse(&raw).delete(&path.parse().expect(path)).is_err(), "{path}");
    }
    for (text, at) in [
        ("NTE|1", Some(0)),
        ("NTE|1", Some(9)),
        ("NTE|1\rNTE|2", None),
        ("note", None),
        ("MSH|^~\\&", None),
        ("", None),
    ] {
        assert!(parse(&raw).add_segment(text, at).is_err(), "{text:?} {at:?}");
    }
    for index in [0, 2] {
        assert!(parse(&raw).remove_segment(index).is_err(), "{index}");
    }
}

#[test]
fn short_separators_refuse_what_they_cannot_express() {
    let mut message = parse("MSH|^\rPID|a~b");
    let mut try_set =
        |path: &str, value: &str| message.set(&path.parse().expect(path), value).map_err(|f| f.kind);
    assert_eq!(try_set("PID-1(2)", "x"), Err(FaultKind::NoSeparator));
    assert_eq!(try_set("PID-1.1.2", "x"), Err(FaultKind::NoSeparator));
    assert_eq!(try_set("PID-1", "x|y"), Err(FaultKind::NoSeparator));
    assert_eq!(try_set("PID-1.2", "x~y&z\\"), Ok(()));
    assert_eq!(message.encode().expect("encodes"), "MSH|^\rPID|a~b^x~y&z\\");
}

fn with_charset(name: &str, value: &[u8]) -> Message {
    let head = format!("MSH|^~\\&|A|||||||||||||||{name}\rPID|1||");
    Message::parse([head.as_bytes(), value].concat()).expect(name)
}

#[test]
fn values_are_written_in_the_messages_character_set() {
    let cases: [(&str, &str, &[u8]); 6] = [
        ("8859/1", "\u{e9}", b"\xe9"),
        ("8859/15", "\u{20ac}", b"\xa4"),
        ("UNICODE UTF-8", "\u{4e2d}", b"\xe4\xb8\xad"),
        ("", "\u{e9}", b"\xc3\xa9"),
        ("GB 18030-2000", "\u{4e2d}", b"\xd6\xd0"),
        ("~ISO IR87", "\u{4e2d}", b"\x1b$BCf\x1b(B"),
    ];
    for (name, value, bytes) in cases {
        let mut message = with_charset(name, b"old");
        set(&mut message, "PID-3.2", value);
        let encoded = message.encode().expect(name);
        assert!(
            encoded.ends_with(&[b"|old^", bytes].concat()),
            "{name}: {encoded:?}"
        );
        let again = Message::parse(encoded).expect(name);
        assert_eq!(
            again.get_str("PID-3.2").expect("path").as_deref(),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn a_character_without_a_place_is_refused_where_it_is_set() {
    for name in ["ASCII", "8859/1", "8859/9", "windows-1252", "BIG-5"] {
        let mut message = with_charset(name, b"old");
        let value = "\u{1f600}";
        let fault = message
            .set(&"PID-3".parse().expect("path"), value)
            .expect_err(name);
        assert_eq!(fault.kind, FaultKind::Unencodable, "{name}");
        assert_eq!(fault.path.as_deref(), Some("PID-3"), "{name}");
        assert!(message.add_segment("NTE|1||\u{1f600}", None).is_err(), "{name}");
    }
}

#[test]
fn the_declared_character_set_is_known_after_every_edit() {
    let mut message = with_charset("8859/1~NONSENSE", b"M\xfcller");
    let first = "MSH-18(1)".parse().expect("path");
    assert_eq!(
        message.delete(&first).map_err(|f| f.kind),
        Err(FaultKind::Charset)
    );
    assert!(!message.is_edited());
    assert!(delete(&mut message, "MSH-18"), "a message may declare nothing");
    assert_eq!(message.charset(), Charset::Latin1);
}

#[test]
fn setting_msh_18_converts_the_message() {
    let cases: [(&str, &[u8], &str, &[u8]); 6] = [
        ("8859/1", b"M\xfcller", "UNICODE UTF-8", b"M\xc3\xbcller"),
        ("UNICODE UTF-8", b"M\xc3\xbcller", "8859/1", b"M\xfcller"),
        ("", b"M\xfcller", "8859/1", b"M\xfcller"),
        ("GB 18030-2000", b"\xd6\xd0", "UNICODE UTF-8", b"\xe4\xb8\xad"),
        ("UNICODE UTF-8", b"\xe4\xb8\xad", "GB 18030-2000", b"\xd6\xd0"),
        ("GB 18030-2000", b"\xa8\xbc", "8859/1", b"?"),
    ];
    for (from, value, to, expected) in cases {
        let mut message = with_charset(from, value);
        let before = message.encode().expect("encodes");
        let result = message.set(&"MSH-18".parse().expect("path"), to);
        if expected == b"?" {
            assert_eq!(result.map_err(|f| f.kind), Err(FaultKind::Unencodable));
            assert_eq!(message.encode().expect("encodes"), before);
            continue;
        }
        result.expect(to);
        assert_eq!(message.charset(), Charset::by_name(to).expect(to));
        let encoded = message.encode().expect(to);
        assert!(
            encoded.ends_with(&[b"|1||", expected].concat()),
            "{from} to {to}: {encoded:?}"
        );
        let again = Message::parse(encoded).expect(to);
        assert_eq!(
            again.get_str("PID-3").expect("path"),
            message.get_str("PID-3").expect("path")
        );
    }
}
