use super::*;

fn parse(text: &str) -> Message {
    Message::parse(text.replace('\n', "\r").into_bytes()).unwrap()
}

fn codes(text: &str, options: &Options) -> String {
    let all = check(&parse(text), options);
    all.iter()
        .map(|found| format!("{} {}", found.code, found.path))
        .collect::<Vec<_>>()
        .join(", ")
}

const HEAD: &str = "MSH|^~\\&|APP|FAC|TO|THERE|20240229120000||ADT^A01^ADT_A01|1|P|2.5.1";

fn adt(rest: &str) -> String {
    format!("{HEAD}\nEVN||20240229120000\n{rest}")
}

#[test]
fn a_right_message_has_no_violation() {
    let text = adt("PID|1||T1^^^FAC^MR||Testa^Tess||19700101|F\nPV1|1|I|W^1^A");
    assert_eq!(codes(&text, &Options::default()), "");
}

#[test]
fn each_kind_of_fault_has_its_code_and_place() {
    let good_pv1 = "PV1|1|I";
    let cases = [
        (adt("PID|1||T1||A^B"), "100 PV1"),
        (
            adt(&format!("PID|1||T1||A^B\nNK1|1\nNK1|2\n{good_pv1}\nNK1|3")),
            "100 NK1(3)",
        ),
        (adt(&format!("PID|1||||A^B\n{good_pv1}")), "101 PID-3"),
        (
            adt(&format!("PID|1||T1||A^B||1970-01-01\n{good_pv1}")),
            "102 PID-7.1",
        ),
        (adt(&format!("PID|x||T1||A^B\n{good_pv1}")), "102 PID-1"),
        (
            adt(&format!("PID|1||T1||A^B||19700101~19710101\n{good_pv1}")),
            "102 PID-7",
        ),
        (adt(&format!("PID|1||T1||A^B|||Q\n{good_pv1}")), "103 PID-8"),
        (
            adt(&format!(
                "PID|1||T1||A^B||||||||||||||12345678901234567\n{good_pv1}"
            )),
            "104 PID-19",
        ),
        (adt("PID|1||T1||A^B\nPV1|1|I\nOBX|1||X||5||||||F"), "101 OBX-2"),
        (
            adt("PID|1||T1||A^B\nPV1|1|I\nOBX|1|NM|X||5~x||||||F"),
            "102 OBX-5(2)",
        ),
        (
            adt("PID|1||T1||A^B\nPV1|1|I\nOBX|1|NM|X||5||||||F\nOBX|2|NM|X||5||||||?"),
            "103 OBX(2)-11",
        ),
        (adt("PID|1||T1~T2||A^B\nPV1|1|I\nZXX|anything"), ""),
        (adt("PID|1||T1||A^B|||\"\"\nPV1|1|I"), ""),
    ];
    for (text, expected) in cases {
        assert_eq!(codes(&text, &Options::default()), expected, "{text}");
    }
}

#[test]
fn the_header_alone_can_be_reason_enough() {
    let with = |from: &str, to: &str| adt("PID|1||T1||A^B\nPV1|1|I").replace(from, to);
    let cases = [
        (with("|2.5.1", "|3.0"), "203 MSH-12"),
        (with("|2.5.1", "|"), "101 MSH-12"),
        (with("|P|", "|X|"), "202 MSH-11.1"),
        (with("ADT^A01^ADT_A01", "ADT^A99"), "201 MSH-9.2"),
        (with("ADT^A01^ADT_A01", "ADT"), "101 MSH-9.2"),
        (with("ADT^A01^ADT_A01", "something^A01"), "200 MSH-9.1"),
        (with("ADT^A01^ADT_A01", "ADT^Z99"), ""),
        (with("ADT^A01^ADT_A01", "XYZ^X01"), ""),
        (with("|2.5.1", "|2.2"), ""),
    ];
    for (text, expected) in cases {
        assert_eq!(codes(&text, &Options::default()), expected, "{text}");
    }
    let rejected = check(&parse(&with("|2.5.1", "|3.0")), &Options::default());
    assert!(rejected[0].rejects());
}

#[test]
fn what_is_not_known_is_said_and_not_faulted() {
    let text = format!(
        "{}\nQQQ|1\nZAB|2\nZAB|3",
        HEAD.replace("ADT^A01^ADT_A01", "XYZ^X01")
    );
    let report = report(&parse(&text), &Options::default());
    assert_eq!(report.violations, vec![]);
    let expected = Coverage {
        version: Some("2.5.1"),
        structure: None,
        unknown_segments: vec!["QQQ".to_owned(), "ZAB".to_owned()],
    };
    assert_eq!(report.coverage, expected);
}

#[test]
fn the_version_decides_and_can_be_pinned() {
    let text = adt("PID|1||T1||A^B\nPV1|1|I")
        .replace("|20240229120000||ADT", "|||ADT")
        .replace("EVN|", "EVN|A01");
    assert_eq!(codes(&text, &Options::default()), "101 MSH-7");
    assert_eq!(codes(&text.replace("|2.5.1", "|2.3"), &Options::default()), "");
    let pinned = Options {
        version: Some(Version::V2_3),
        ..Options::default()
    };
    assert_eq!(codes(&text, &pinned), "");
}

#[test]
fn each_check_can_be_left_out() {
    let text = adt("PID|x||||A^B|||Q||||||||||12345678901234567^^^12345678901234567\nNK1|1");
    let all = Options::default();
    assert_eq!(codes(&text, &all), "100 PV1, 102 PID-1, 101 PID-3, 103 PID-8");
    assert_eq!(
        codes(
            &text,
            &Options {
                structure: false,
                ..all.clone()
            }
        ),
        "102 PID-1, 101 PID-3, 103 PID-8"
    );
    assert_eq!(
        codes(
            &text,
            &Options {
                required: false,
                ..all.clone()
            }
        ),
        "100 PV1, 102 PID-1, 103 PID-8"
    );
    assert_eq!(
        codes(
            &text,
            &Options {
                types: false,
                ..all.clone()
            }
        ),
        "100 PV1, 101 PID-3, 103 PID-8"
    );
    assert_eq!(
        codes(
            &text,
            &Options {
                tables: Tables::Fixed,
                ..all.clone()
            }
        ),
        "100 PV1, 102 PID-1, 101 PID-3"
    );
    assert_eq!(codes(&text, &Options { limit: 1, ..all }), "100 PV1");
}

#[test]
fn separators_are_those_of_the_message() {
    let text = adt("PID|1||T1^^^F||A^B||19700101|Q\nPV1|1|I")
        .replace('|', "!")
        .replace('^', "+");
    assert_eq!(codes(&text, &Options::default()), "103 PID-8");
}

#[test]
fn no_violation_repeats_what_the_message_says() {
    let secret = "Geheimwort";
    let text = adt(&format!(
        "PID|{secret}||T1||A^B||{secret}|{secret}\nPV1|{secret}|{secret}\nOBX|1|NM|X||{secret}||||||F"
    ));
    let found = check(&parse(&text), &Options::default());
    assert!(found.len() >= 6);
    assert!(
        found
            .iter()
            .all(|one| !one.text.contains(secret) && !one.path.contains(secret))
    );
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn line() -> impl Strategy<Value = String> {
        let names = prop::sample::select(vec![
            "EVN", "PID", "PV1", "OBX", "OBR", "ORC", "MSH2", "NTE", "IN1", "Z01", "é",
        ]);
        let field = prop::string::string_regex("[0-9A-Z^~&\\\\.é\"+-]{0,12}").unwrap();
        (names, prop::collection::vec(field, 0..14))
            .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")))
    }

    proptest! {
        #[test]
        fn whatever_parses_can_be_checked(
            kind in prop::sample::select(vec!["ADT^A01", "ADT^A17", "ORU^R01", "OML^O21", "RDE^O11", "RSP^K11", "?^?"]),
            version in prop::sample::select(vec!["2.3", "2.5.1", "2.8.2", "2.1", "9"]),
            lines in prop::collection::vec(line(), 0..20),
        ) {
            let text = format!("MSH|^~\\&|||||||{kind}|1|P|{version}\r{}", lines.join("\r"));
            if let Ok(message) = Message::parse(text.into_bytes()) {
                let found = check(&message, &Options::default());
                prop_assert!(found.len() <= 100);
                for violation in found {
                    let path: Result<crate::hl7::Path, _> = violation.path.parse();
                    prop_assert!(path.is_ok(), "{}", violation.path);
                }
            }
        }

        #[test]
        fn any_bytes_that_parse_can_be_checked(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut text = b"MSH|^~\\&|||||||ADT^A01|1|P|2.5\r".to_vec();
            text.extend(bytes);
            if let Ok(message) = Message::parse(text) {
                check(&message, &Options::default());
            }
        }
    }
}
