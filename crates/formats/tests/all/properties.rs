//! What holds for all bytes and all messages.

use bytes::{BufMut, Bytes, BytesMut};
use formats::hl7::{FieldPath, Message, Path, Separators, ack, batch, escape, peek};
use formats::mllp;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use crate::oracles::message;

/// Bytes in which separators, line breaks and segment names are frequent.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["|", "^", "~", "\\", "&", "\r", "\n", "\r\n", "MSH", "MSH|^~\\&|", "PID|", "OBX", "BHS|^~\\&", "BTS|1", "FTS", "\u{feff}", "\x0b", "\x1c\r", "8859/1", "UNICODE UTF-8", "\\T\\"]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => "[a-zA-Z0-9 ]{0,8}".prop_map(String::into_bytes),
    ];
    (any::<bool>(), prop::collection::vec(piece, 0..60)).prop_map(|(headed, pieces)| {
        let mut bytes = if headed {
            b"MSH|^~\\&|".to_vec()
        } else {
            Vec::new()
        };
        bytes.extend(pieces.concat());
        bytes
    })
}

fn place() -> impl Strategy<Value = FieldPath> {
    // MSH-18 is left out: it takes the name of a character set and nothing else.
    let field = prop_oneof![3u16..18, 19u16..30];
    (field, 0u16..4, 0u16..5, 0u16..4).prop_map(|(field, repetition, component, sub)| {
        let path = FieldPath::new(field).with_repetition(repetition);
        match (component, sub) {
            (0, _) => path,
            (c, 0) => path.with_component(c),
            (c, s) => path.with_component(c).with_subcomponent(s),
        }
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in hostile()) {
        let _ = ack::parse(&bytes);
        let _ = batch::is_batch(&bytes);
        let header = peek(&bytes).ok();
        ack::build(header.as_ref(), ack::Code::AA, None, "1", "20260101");
        if let Ok(batch) = batch::split(bytes.clone()) {
            for message in batch.messages {
                let _ = Message::parse(message);
            }
        }
        if let Ok(message) = Message::parse(bytes.clone()) {
            prop_assert!(header.is_some());
            prop_assert_eq!(message.encode().expect("unedited"), bytes);
            for segment in message.segments() {
                for field in 0..=message.field_count(segment.index) + 1 {
                    let path = FieldPath::new(u16::try_from(field).expect("small"));
                    message.get_at(segment.index, &path);
                    message.get_at(segment.index, &path.with_component(2).with_subcomponent(2));
                    message.repetitions_at(segment.index, &path);
                }
            }
        }
    }

    #[test]
    fn a_set_value_reads_back_and_changes_nothing_else(raw in message(), segment in 0usize..6, path in place(), value in "[ -~\u{e9}\u{4e2d}\r\n]{0,12}") {
        let before = Message::parse(raw).expect("well formed");
        let segment = segment % before.segment_count(None);
        let mut after = before.clone();
        after.set_at(segment, &path, &value).expect("UTF-8 holds everything");
        let read = after.get_at(segment, &path).expect("it was set").into_owned();
        let s = after.separators();
        // What the value has below the addressed level is structure; the deepest level is plain text.
        if path.subcomponent().is_some() && !value.contains('\\') {
            let plain = escape::unescape(&read, &s).into_owned();
            prop_assert_eq!(&plain, &value);
        }
        let again = Message::parse(after.encode().expect("encodes")).expect("still well formed");
        prop_assert_eq!(again.segment_count(None), before.segment_count(None));
        let reread = again.get_at(segment, &path).expect("it was set").into_owned();
        prop_assert_eq!(reread, read);
        for other in before.segments() {
            for field in 1..=before.field_count(other.index) {
                let number = u16::try_from(field).expect("small");
                if (other.index, number) != (segment, path.field()) {
                    let whole = FieldPath::new(number);
                    prop_assert_eq!(again.get_at(other.index, &whole), before.get_at(other.index, &whole));
                }
            }
        }
    }

    #[test]
    fn edits_in_a_row_equal_edits_with_a_parse_between(raw in message(), edits in prop::collection::vec((0usize..6, place(), "[a-z^~&|]{0,6}", 0u8..5), 1..12)) {
        let mut row = Message::parse(raw + "\r").expect("well formed");
        let mut stepwise = row.clone();
        for (segment, path, value, kind) in edits {
            for message in [&mut row, &mut stepwise] {
                let segment = segment % message.segment_count(None);
                match kind {
                    0 => { message.delete_at(segment, &path).expect("allowed"); }
                    1 => { message.add_segment("NTE|1||added", Some(segment + 1)).expect("allowed"); }
                    2 if segment > 0 => message.remove_segment(segment).expect("allowed"),
                    _ => message.set_at(segment, &path, &value).expect("allowed"),
                }
            }
            stepwise = Message::parse(stepwise.encode().expect("encodes")).expect("well formed");
            prop_assert_eq!(row.encode().expect("encodes"), stepwise.raw());
        }
    }

    #[test]
    fn what_is_escaped_is_plain_and_unescapes_to_itself(text in any::<String>()) {
        let s = Separators::default();
        let escaped = escape::escape(&text, &s).into_owned();
        let structure = ['|', '^', '~', '&', '\r', '\n', '\x0b', '\x1c'];
        prop_assert!(!escaped.contains(structure));
        let back = escape::unescape(&escaped, &s).into_owned();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn a_path_survives_writing_and_any_text_is_answered(text in "\\PC{0,20}", path in "[A-Z][A-Z0-9]{2}(\\([1-9][0-9]?\\))?(-[1-9][0-9]?(\\([1-9]\\))?(\\.[1-9](\\.[1-9])?)?)?") {
        let _ = text.parse::<Path>();
        prop_assert_eq!(path.parse::<Path>().expect("in the grammar").to_string(), path);
    }

    #[test]
    fn frames_survive_any_cut(bodies in prop::collection::vec(prop::collection::vec(prop::num::u8::ANY.prop_filter("framing", |b| *b != 0x0b && *b != 0x1c), 0..40), 0..6), cuts in prop::collection::vec(1usize..20, 1..8)) {
        let wire: Vec<u8> = bodies.iter().flat_map(|b| mllp::frame(b).to_vec()).collect();
        let (mut codec, mut buffer, mut frames) = (mllp::Codec::new(64), BytesMut::new(), Vec::new());
        let (mut rest, mut cuts) = (&wire[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().expect("a cycle")).min(rest.len()));
            buffer.put_slice(now);
            rest = later;
            while let Some(item) = codec.decode(&mut buffer).expect("never fails") {
                frames.push(item);
            }
        }
        let expected: Vec<_> = bodies.into_iter().map(|b| mllp::Item::Frame(Bytes::from(b))).collect();
        prop_assert_eq!(frames, expected);
    }
}
