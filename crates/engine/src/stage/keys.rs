//! Search keys: what an inbound declares to be found by, taken from each message as it is accepted.

use formats::hl7;
use model::graph::Inbound;
use store::Keys;

/// One declared key.
#[derive(Clone, Debug)]
pub(crate) struct KeyPath {
    name: Box<str>,
    path: hl7::Path,
}

/// The keys that an inbound declares.
pub(crate) fn declared(inbound: &Inbound) -> Vec<KeyPath> {
    let parsed = |(name, path): (&String, &String)| {
        Some(KeyPath {
            name: name.as_str().into(),
            path: path.parse().ok()?,
        })
    };
    inbound.keys.iter().filter_map(parsed).collect()
}

/// The values in a message, of all repetitions and of all segments of the name unless a path says which.
pub(crate) fn of(message: &hl7::Message, paths: &[KeyPath]) -> Keys {
    let mut keys = Keys::default();
    let separators = message.separators();
    for KeyPath { name, path } in paths {
        message.each(path, |text| {
            // The HL7 null says that there is no value.
            if &*text != "\"\"" {
                keys.add(name, &hl7::escape::unescape(&text, &separators));
            }
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(of_message: &str, paths: &[(&str, &str)]) -> Vec<bool> {
        let message = hl7::Message::parse(of_message.to_owned()).unwrap();
        let paths: Vec<KeyPath> = paths
            .iter()
            .map(|(name, path)| KeyPath {
                name: (*name).into(),
                path: path.parse().unwrap(),
            })
            .collect();
        let found = of(&message, &paths);
        let mut expected = Keys::default();
        for value in ["111", "222", "a&b", "O1", "O2"] {
            let name = if value.starts_with('O') { "order" } else { "mrn" };
            expected.add(name, value);
        }
        vec![found == expected, found.is_empty()]
    }

    const MESSAGE: &str = "MSH|^~\\&|A|B|C|D|20260101||ORM^O01|1|P|2.5.1\r\
        PID|1||111^^^H1~222^^^H2~~\"\"^^^H3~a\\T\\b^^^H4\rORC|NW|O1^X\rOBR|1\rORC|NW|O2\r";

    #[test]
    fn all_repetitions_and_all_segments_count() {
        assert_eq!(
            keys(MESSAGE, &[("mrn", "PID-3.1"), ("order", "ORC-2.1")]),
            [true, false]
        );
        assert_eq!(keys(MESSAGE, &[("mrn", "PID-3(2).1")]), [false, false]);
    }

    #[test]
    fn a_message_without_the_segment_has_no_key() {
        assert_eq!(
            keys(MESSAGE, &[("mrn", "PV1-19.1"), ("x", "PID-3(9).1")]),
            [false, true]
        );
        assert_eq!(keys(MESSAGE, &[]), [false, true]);
    }
}
