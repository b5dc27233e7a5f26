//! Large and hostile input: bounded, answered, never a panic.

use std::fmt::Write;

use formats::hl7::{FaultKind, Message, ParseOptions, batch, peek};

#[test]
fn ten_thousand_segments_are_read_and_edited() {
    let mut raw = String::from("MSH|^~\\&|A\r");
    for n in 1..10_000 {
        write!(raw, "OBX|{n}|NM|X||{n}\r").expect("writes to memory");
    }
    let mut message = Message::parse(raw.clone()).expect("parses");
    assert_eq!(message.segment_count(None), 10_000);
    assert_eq!(
        message.get_str("OBX(9999)-5").expect("path").as_deref(),
        Some("9999")
    );
    assert_eq!(message.segments().last().map(|s| s.occurrence), Some(9_999));
    message
        .set(&"OBX(5000)-5".parse().expect("path"), "x")
        .expect("sets");
    let encoded = message.encode().expect("encodes");
    assert_eq!(
        encoded,
        raw.replace("OBX|5000|NM|X||5000\r", "OBX|5000|NM|X||x\r")
    );
}

#[test]
fn sixteen_mebibytes_in_one_field_pass() {
    let mut raw = b"MSH|^~\\&|A\rOBX|1|ED|PDF||^^^Base64^".to_vec();
    raw.resize(16 << 20, b'A');
    let mut message = Message::parse(raw.clone()).expect("parses");
    assert_eq!(
        message.get_str("OBX-5.5").expect("path").map(|v| v.len()),
        Some((16 << 20) - 35)
    );
    assert_eq!(message.encode().expect("encodes"), raw);
    message.set(&"OBX-11".parse().expect("path"), "F").expect("sets");
    assert!(message.encode().expect("encodes").ends_with(b"AA||||||F"));
}

#[test]
fn limits_are_faults_and_not_memory() {
    let limits = ParseOptions {
        max_bytes: 100,
        max_segments: 4,
        max_fields: 20,
        ..ParseOptions::default()
    };
    let header = "MSH|^~\\&|A\r";
    let cases = [
        (header.to_owned() + &"A".repeat(100), FaultKind::Limit),
        (header.to_owned() + &"PID\r".repeat(4), FaultKind::Limit),
        (header.to_owned() + "PID" + &"|".repeat(20), FaultKind::Limit),
    ];
    for (raw, kind) in cases {
        let fault = Message::parse_with(raw.clone(), &limits).expect_err(&raw);
        assert_eq!(fault.kind, kind, "{raw}");
    }
    assert!(Message::parse_with(format!("{header}PID|1\rPV1|1\rOBX|1"), &limits).is_ok());
    let pipes = [b"MSH|^~\\&|".to_vec(), vec![b'|'; 16 << 20]].concat();
    assert_eq!(
        Message::parse(pipes).expect_err("too many fields").kind,
        FaultKind::Limit
    );
}

#[test]
fn binary_is_refused_by_every_entrance() {
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    assert!(Message::parse(noise.clone()).is_err());
    assert!(peek(&noise).is_err());
    assert!(batch::split(noise.clone()).is_err());
    assert!(!batch::is_batch(&noise));
    let headed = [b"MSH|^~\\&|A\r".to_vec(), noise].concat();
    assert!(Message::parse(headed.clone()).is_err());
    assert!(peek(&headed).is_ok(), "an acknowledgement can still be addressed");
}

#[test]
fn a_message_cut_anywhere_is_read_or_refused() {
    let whole = "\u{feff}MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5|||||||UNICODE UTF-8\rPID|1||a&b^c~\u{e9}\\T\\\r\nOBX|1\r";
    for cut in 0..=whole.len() {
        if let Ok(message) = Message::parse(whole.as_bytes()[..cut].to_vec()) {
            assert_eq!(message.encode().expect("encodes"), whole.as_bytes()[..cut]);
        }
    }
}
