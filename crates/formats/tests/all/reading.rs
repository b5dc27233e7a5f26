//! What is read, from every shape of message that arrives.

use formats::hl7::{Charset, Fault, FaultKind, Message, ParseOptions};

const ADT: &str = "MSH|^~\\&|LAB|ACME|EHR|CLINIC|20260101||ADT^A01^ADT_A01|M1|P|2.5.1\r\
    EVN|A01|20260101\r\
    PID|1||T1^^^ACME&1.2.3&ISO^MR~T2^^^OTHER^PI||DOE^JANE^Q|\"\"|19800101|F|||\r\
    OBX|1|TX|A^B||first\\T\\line~again||||||F\r\
    OBX|2|NM|C||7\r\
    ZXX|own";

fn parse(raw: &str) -> Message {
    Message::parse(raw.to_owned()).expect(raw)
}

fn refusal(raw: &[u8]) -> Fault {
    Message::parse(raw.to_vec()).expect_err("refused")
}

#[test]
fn every_path_reads_what_stands_there() {
    let message = parse(ADT);
    let cases = [
        ("MSH-1", Some("|")),
        ("MSH-2", Some("^~\\&")),
        ("MSH-2.1", Some("^~\\&")),
        ("MSH-2.2", None),
        ("MSH-3", Some("LAB")),
        ("MSH-9", Some("ADT^A01^ADT_A01")),
        ("MSH-9.2", Some("A01")),
        ("MSH-12", Some("2.5.1")),
        ("MSH-13", None),
        ("PID-1", Some("1")),
        ("PID-2", Some("")),
        ("PID-2.1", Some("")),
        ("PID-2.2", None),
        ("PID-3", Some("T1^^^ACME&1.2.3&ISO^MR~T2^^^OTHER^PI")),
        ("PID-3(1)", Some("T1^^^ACME&1.2.3&ISO^MR")),
        ("PID-3(2)", Some("T2^^^OTHER^PI")),
        ("PID-3(3)", None),
        ("PID-3.1", Some("T1")),
        ("PID-3(2).1", Some("T2")),
        ("PID-3.4", Some("ACME&1.2.3&ISO")),
        ("PID-3.4.2", Some("1.2.3")),
        ("PID-3.4.4", None),
        ("PID-3(2).4.1", Some("OTHER")),
        ("PID-3.1.1", Some("T1")),
        ("PID-3.2", Some("")),
        ("PID-3.6", None),
        ("PID-5.1.2", None),
        ("PID-6", Some("\"\"")),
        ("PID-11", Some("")),
        ("PID-12", None),
        ("OBX-5", Some("first\\T\\line~again")),
        ("OBX(1)-5(2)", Some("again")),
        ("OBX(2)-5", Some("7")),
        ("OBX(3)-5", None),
        ("ZXX-1", Some("own")),
        ("ZXX", Some("ZXX|own")),
        ("PV1-2", None),
        ("PV1", None),
    ];
    for (path, expected) in cases {
        assert_eq!(message.get_str(path).expect(path).as_deref(), expected, "{path}");
    }
    assert!(message.get_str("PID.3").is_err());
}

#[test]
fn segments_are_listed_with_their_place_and_occurrence() {
    let listed: Vec<_> = parse(ADT)
        .segments()
        .map(|s| (s.name.as_str().to_owned(), s.index, s.occurrence))
        .collect();
    let expected = [
        ("MSH", 0, 1),
        ("EVN", 1, 1),
        ("PID", 2, 1),
        ("OBX", 3, 1),
        ("OBX", 4, 2),
        ("ZXX", 5, 1),
    ];
    assert_eq!(listed, expected.map(|(n, i, o)| (n.to_owned(), i, o)));
    let message = parse(ADT);
    assert_eq!(message.segment_count(None), 6);
    assert_eq!(message.segment_count(Some("OBX")), 2);
    assert_eq!(message.segment_count(Some("NTE")), 0);
    let field = "5".parse().expect("a field");
    assert_eq!(message.get_at(4, &field).as_deref(), Some("7"));
    assert_eq!(message.get_at(9, &field), None);
    assert_eq!(message.segment_text(5).as_deref(), Some("ZXX|own"));
    assert_eq!(
        (
            message.field_count(0),
            message.field_count(5),
            message.field_count(6)
        ),
        (12, 1, 0)
    );
}

#[test]
fn repetitions_are_counted() {
    let message = parse(ADT);
    for (path, expected) in [
        ("PID-3", 2),
        ("PID-2", 1),
        ("PID-99", 0),
        ("OBX-5", 2),
        ("MSH-2", 1),
        ("MSH-1", 1),
        ("PV1-1", 0),
        ("PID", 0),
    ] {
        assert_eq!(
            message.repetitions(&path.parse().expect(path)),
            expected,
            "{path}"
        );
    }
}

#[test]
fn every_line_ending_and_lead_in_is_understood_and_kept() {
    let lines = ["MSH|^~\\&|A", "PID|1||X", "OBX|1"];
    for raw in [
        lines.join("\r"),
        lines.join("\n"),
        lines.join("\r\n") + "\r\n",
        lines.join("\r\r"),
        lines.join("\r\n\r\n") + "\n\n",
        format!("{}\r{}\n{}\r\n", lines[0], lines[1], lines[2]),
        format!("\u{feff}{}\r", lines.join("\r")),
        format!(" \r\n\t{}", lines.join("\r")),
        lines.join("\r") + "\r\0\u{1a}",
        lines.join("\r \r"),
    ] {
        let message = parse(&raw);
        assert_eq!(message.segment_count(None), 3, "{raw:?}");
        assert_eq!(
            message.get_str("PID-3").expect("path").as_deref(),
            Some("X"),
            "{raw:?}"
        );
        assert_eq!(
            message.get_str("OBX-1").expect("path").as_deref(),
            Some("1"),
            "{raw:?}"
        );
        assert_eq!(message.encode().expect("encodes"), raw, "{raw:?}");
    }
}

#[test]
fn separators_are_the_messages_own() {
    let message = parse("MSH$%*!@$A\rPID$1$$a%b*c@d%e\r");
    for (path, expected) in [
        ("PID-3.2", "b"),
        ("PID-3(2).1.2", "d"),
        ("PID-3(2).2", "e"),
        ("MSH-1", "$"),
    ] {
        assert_eq!(
            message.get_str(path).expect(path).as_deref(),
            Some(expected),
            "{path}"
        );
    }
    // Without a subcomponent separator, & is an ordinary character; without ~ there is one repetition.
    let short = parse("MSH|^~\\|A\rPID|a&b^c~d");
    assert_eq!(short.get_str("PID-1.1.1").expect("path").as_deref(), Some("a&b"));
    let shortest = parse("MSH|^\rPID|a~b^c\\d");
    assert_eq!(
        shortest.get_str("PID-1(1)").expect("path").as_deref(),
        Some("a~b^c\\d")
    );
    assert_eq!(shortest.repetitions(&"PID-1".parse().expect("path")), 1);
    assert_eq!(parse("MSH|^~\\&#|A").separators().truncation(), Some(b'#'));
}

#[test]
fn a_header_alone_is_a_message() {
    for raw in ["MSH|^~\\&", "MSH|^~\\&|", "MSH|^~\\&\r", "MSH|^"] {
        assert_eq!(parse(raw).segment_count(None), 1, "{raw}");
    }
}

#[test]
fn segments_without_fields_are_segments() {
    let message = parse("MSH|^~\\&\rPID\rPV1|\r");
    assert_eq!(message.get_str("PID").expect("path").as_deref(), Some("PID"));
    assert_eq!(message.get_str("PID-1").expect("path"), None);
    assert_eq!(message.get_str("PV1-1").expect("path").as_deref(), Some(""));
}

#[test]
fn what_is_no_message_is_refused_with_kind_and_place() {
    let cases: [(&[u8], FaultKind, Option<usize>); 17] = [
        (b"", FaultKind::Empty, None),
        (b" \r\n\t", FaultKind::Empty, None),
        (b"hello", FaultKind::NotHl7, Some(0)),
        (b"\r\nPID|1", FaultKind::NotHl7, Some(2)),
        (b"\x00\x01\x02\xff\xfe", FaultKind::NotHl7, Some(0)),
        (b"\x89PNG\r\n\x1a\n", FaultKind::NotHl7, Some(0)),
        (b"FHS|^~\\&\rMSH|^~\\&", FaultKind::NotHl7, Some(0)),
        (b"MSH", FaultKind::Separators, Some(3)),
        (b" MSH|", FaultKind::Separators, Some(5)),
        (b"MSH||A|B", FaultKind::Separators, Some(4)),
        (b"MSH|^~\\&|A\rline of text\r", FaultKind::Segment, Some(11)),
        (b"MSH|^~\\&|A\r|1|2\r", FaultKind::Segment, Some(11)),
        (b"MSH|^~\\&|A\rPIDX|1\r", FaultKind::Segment, Some(11)),
        (b"MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B", FaultKind::Segment, Some(17)),
        (b"\xff\xfeM\0S\0H\0", FaultKind::Charset, Some(0)),
        (b"M\0S\0H\0|\0", FaultKind::Charset, Some(0)),
        (b"\0M\0S\0H\0|", FaultKind::Charset, Some(0)),
    ];
    for (raw, kind, offset) in cases {
        let fault = refusal(raw);
        assert_eq!((fault.kind, fault.offset), (kind, offset), "{raw:?}: {fault}");
    }
}

#[test]
fn a_fault_never_tells_what_the_message_holds() {
    let fault = refusal(b"MSH|^~\\&|A\rDOE JANE 555-1234\r");
    assert!(!format!("{fault} {fault:?}").contains("JANE"));
    assert!(!format!("{:?}", parse(ADT)).contains("JANE"));
}

fn with_charset(name: &str, value: &[u8]) -> Vec<u8> {
    let mut raw = format!("MSH|^~\\&|A|||||||||||||||{name}\rPID|1||").into_bytes();
    raw.extend_from_slice(value);
    raw.extend_from_slice(b"^x\rOBX|1");
    raw
}

#[test]
fn text_is_read_in_the_declared_character_set() {
    let cases: [(&str, &[u8], &str); 18] = [
        ("ASCII", b"abc", "abc"),
        ("UNICODE UTF-8", "\u{e9}\u{4e2d}".as_bytes(), "\u{e9}\u{4e2d}"),
        ("8859/1", b"M\xfcller", "M\u{fc}ller"),
        ("8859/2", b"\xa3\xf3d\xbc", "\u{141}\u{f3}d\u{17a}"),
        ("8859/4", b"\xb9", "\u{161}"),
        ("8859/5", b"\xb8\xb2", "\u{418}\u{412}"),
        ("8859/6", b"\xc7", "\u{627}"),
        ("8859/7", b"\xc1", "\u{391}"),
        ("8859/8", b"\xe0", "\u{5d0}"),
        ("8859/9", b"\xfd", "\u{131}"),
        ("8859/15", b"\xa4", "\u{20ac}"),
        ("windows-1252", b"\x80", "\u{20ac}"),
        ("", b"M\xc3\xbcller", "M\u{fc}ller"),
        ("", b"M\xfcller \x93", "M\u{fc}ller \u{201c}"),
        ("8859/1~8859/2", b"\xe9", "\u{e9}"),
        ("GB 18030-2000", b"\x81|\xd6\xd0", "\u{4e92}\u{4e2d}"),
        ("BIG-5", b"\xa4\x7c\xa4\xa4", "\u{5f0b}\u{4e2d}"),
        ("~ISO IR87", b"\x1b$BCf\x1b(B", "\u{4e2d}"),
    ];
    for (name, bytes, expected) in cases {
        let expected = match name {
            // The point of these two is that their second byte is a separator's.
            "GB 18030-2000" => encoding(name).decode(bytes).into_owned(),
            "BIG-5" => encoding(name).decode(bytes).into_owned(),
            _ => expected.to_owned(),
        };
        let raw = with_charset(name, bytes);
        let message = Message::parse(raw.clone()).expect(name);
        assert_eq!(
            message.get_str("PID-3.1").expect("path").as_deref(),
            Some(&*expected),
            "{name}"
        );
        assert_eq!(
            message.get_str("PID-3.2").expect("path").as_deref(),
            Some("x"),
            "{name}"
        );
        assert_eq!(message.encode().expect("encodes"), raw, "{name}");
    }
}

fn encoding(name: &str) -> Charset {
    Charset::by_name(name).expect(name)
}

#[test]
fn bytes_against_their_declaration_are_refused_with_a_reason() {
    let cases: [(&str, &[u8], FaultKind); 7] = [
        ("UNICODE UTF-8", b"M\xfcller", FaultKind::Undecodable),
        ("ASCII", b"M\xfcller", FaultKind::Undecodable),
        ("GB 18030-2000", b"\xff\xff", FaultKind::Undecodable),
        ("UNICODE UTF-16", b"plain", FaultKind::Charset),
        ("UTF-32", b"plain", FaultKind::Charset),
        ("EBCDIC", b"M\xfcller", FaultKind::Charset),
        ("8859/12", b"M\xfcller", FaultKind::Charset),
    ];
    for (name, value, kind) in cases {
        let fault = refusal(&with_charset(name, value));
        assert_eq!(
            (fault.kind, fault.path.as_deref()),
            (kind, Some("MSH-18")),
            "{name}: {fault}"
        );
    }
    // An unknown name matters only where the bytes depend on it.
    let message = Message::parse(with_charset("EBCDIC", b"plain")).expect("ASCII bytes");
    assert_eq!(message.charset(), Charset::Ascii);
}

#[test]
fn an_inbound_can_say_the_character_set() {
    let forced = ParseOptions {
        forced_charset: Some(Charset::Latin1),
        ..ParseOptions::default()
    };
    let message = Message::parse_with(with_charset("UNICODE UTF-8", b"M\xfcller"), &forced).expect("forced");
    assert_eq!(
        message.get_str("PID-3.1").expect("path").as_deref(),
        Some("M\u{fc}ller")
    );
    let usual = ParseOptions {
        default_charset: Some(encoding("8859/5")),
        ..ParseOptions::default()
    };
    let message = Message::parse_with(with_charset("", b"\xb8"), &usual).expect("default");
    assert_eq!(
        message.get_str("PID-3.1").expect("path").as_deref(),
        Some("\u{418}")
    );
}
