//! Two parsers by other hands read well-formed messages as this one does.

use formats::hl7::{Message, Path};
use proptest::prelude::*;

/// A well-formed message with CR line ends and the usual separators.
pub(crate) fn message() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => "[A-Za-z0-9 .:-]{0,6}",
        1 => prop::sample::select(vec!["\"\"", "\\T\\", "a\\.br\\b", "\u{e9}", "\u{4e2d}"]).prop_map(str::to_owned),
    ];
    let joined = |inner: BoxedStrategy<String>, by: &'static str| {
        prop::collection::vec(inner, 1..4)
            .prop_map(move |v| v.join(by))
            .boxed()
    };
    let component = joined(leaf.boxed(), "&");
    let repetition = joined(component, "^");
    let field = joined(repetition, "~");
    let segment = (
        prop::sample::select(vec!["PID", "PV1", "OBX", "NTE", "ZX1"]),
        prop::collection::vec(field, 0..8),
    )
        .prop_map(|(name, fields)| fields.into_iter().fold(name.to_owned(), |s, f| s + "|" + &f));
    prop::collection::vec(segment, 0..6).prop_map(|segments| {
        let header = "MSH|^~\\&|LAB|ACME|EHR|CLINIC|20260101||ADT^A01|M1|P|2.5.1".to_owned();
        std::iter::once(header)
            .chain(segments)
            .collect::<Vec<_>>()
            .join("\r")
    })
}

/// Paths to every place that could be, and some that cannot.
fn places() -> impl Iterator<Item = (&'static str, u32, u16, u16, u16, u16)> {
    let names = ["MSH", "PID", "OBX", "ZX1"];
    names.into_iter().flat_map(|name| {
        (1..=2u32).flat_map(move |occurrence| {
            (3..=9u16).flat_map(move |field| {
                (1..=3u16).flat_map(move |repetition| {
                    (1..=3u16).flat_map(move |component| {
                        (1..=3u16).map(move |sub| (name, occurrence, field, repetition, component, sub))
                    })
                })
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn er7_agrees_on_every_place(raw in message()) {
        let ours = Message::parse(raw.clone()).expect("well formed");
        let theirs = er7::parse(&raw).expect("well formed");
        for (name, occurrence, field, repetition, component, sub) in places() {
            let path: Path = format!("{name}({occurrence})-{field}({repetition}).{component}.{sub}").parse().expect("a path");
            let er7_path = er7::Path::parse(&format!("{name}[{occurrence}]-{field}[{repetition}].{component}.{sub}")).expect("a path");
            let expected = theirs.query_path_raw(&er7_path).into_iter().next();
            let found = ours.get(&path).map(std::borrow::Cow::into_owned);
            prop_assert_eq!(found.unwrap_or_default(), expected.unwrap_or_default(), "{}", path);
        }
    }

    #[test]
    fn hl7_parser_agrees_on_every_place(raw in message()) {
        // It loses what follows a segment without fields.
        prop_assume!(raw.split('\r').all(|segment| segment.len() > 3));
        let ours = Message::parse(raw.clone()).expect("well formed");
        let theirs = hl7_parser::Message::parse(&raw).expect("well formed");
        for (name, occurrence, field, repetition, component, sub) in places() {
            let path: Path = format!("{name}({occurrence})-{field}({repetition}).{component}.{sub}").parse().expect("a path");
            let expected = theirs
                .segment_n(name, occurrence as usize)
                .and_then(|s| s.field(field.into()))
                .and_then(|f| f.repeat(repetition.into()))
                .and_then(|r| r.component(component.into()))
                .and_then(|c| c.subcomponent(sub.into()))
                .map(|s| s.raw_value());
            let found = ours.get(&path).map(std::borrow::Cow::into_owned);
            prop_assert_eq!(found.unwrap_or_default(), expected.unwrap_or_default(), "{}", path);
        }
    }

    #[test]
    fn er7_reads_our_edits(raw in message(), field in 1u16..12, component in 1u16..4, value in "[a-z]{1,5}") {
        let mut ours = Message::parse(raw).expect("well formed");
        if ours.segment_count(Some("PID")) > 0 {
            let path: Path = format!("PID-{field}.{component}").parse().expect("a path");
            ours.set(&path, &value).expect("sets");
            let encoded = ours.encode().expect("encodes");
            let theirs = er7::parse(std::str::from_utf8(&encoded).expect("UTF-8")).expect("well formed");
            let er7_path = er7::Path::parse(&format!("PID[1]-{field}[1].{component}")).expect("a path");
            let read = theirs.query_path_raw(&er7_path).into_iter().next();
            prop_assert_eq!(read.as_deref(), Some(&*value));
        }
    }
}
