//! Any bytes, through every door of the crate: parse, read every path, edit, encode, split, answer, frame.
//! Besides the absence of panics it checks what must always hold.
#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use formats::hl7::{FieldPath, Message, ParseOptions, ack, batch, escape, peek};
use formats::mllp;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    header(data);
    envelope(&bytes);
    wire(data);
    let options = ParseOptions {
        max_segments: 200,
        max_fields: 5_000,
        ..ParseOptions::default()
    };
    if let Ok(message) = Message::parse_with(bytes.clone(), &options) {
        assert_eq!(message.encode().expect("unedited"), bytes);
        read(&message);
        edit(message, data);
    }
});

fn header(data: &[u8]) {
    let header = peek(data).ok();
    let answer = ack::build(header.as_ref(), ack::Code::AE, None, "H1", "20260101");
    let reply = ack::parse(&answer).expect("our own answers are readable");
    assert_eq!(reply.code, ack::Code::AE);
    let _ = ack::parse(data);
}

fn envelope(bytes: &Bytes) {
    let _ = batch::is_batch(bytes);
    if let Ok(batch) = batch::split(bytes.clone()) {
        assert!(batch.messages.iter().all(|m| m.starts_with(b"MSH")));
    }
}

/// The wire, cut at places that the data itself chooses.
fn wire(data: &[u8]) {
    let whole = items(&[data]);
    let step = usize::from(data.first().copied().unwrap_or(1) % 7) + 1;
    let chunks: Vec<&[u8]> = data.chunks(step).collect();
    let oversized = |items: &[mllp::Item]| items.iter().any(|i| matches!(i, mllp::Item::Oversized { .. }));
    let dribbled = items(&chunks);
    if !oversized(&whole) && !oversized(&dribbled) {
        assert_eq!(whole, dribbled);
    }
}

fn items(chunks: &[&[u8]]) -> Vec<mllp::Item> {
    let (mut codec, mut buffer, mut items) = (mllp::Codec::new(256), BytesMut::new(), Vec::new());
    for chunk in chunks {
        buffer.put_slice(chunk);
        while let Some(item) = codec.decode(&mut buffer).expect("never fails") {
            items.push(item);
        }
    }
    while let Some(item) = codec.decode_eof(&mut buffer).expect("never fails") {
        items.push(item);
    }
    items
}

fn read(message: &Message) {
    let separators = message.separators();
    for segment in message.segments() {
        for field in 1..=message.field_count(segment.index).min(40) + 1 {
            let path = FieldPath::new(u16::try_from(field).unwrap_or(1));
            for path in [
                path,
                path.with_repetition(2),
                path.with_component(2).with_subcomponent(2),
            ] {
                if let Some(text) = message.get_at(segment.index, &path) {
                    let _ = escape::unescape(&text, &separators);
                }
            }
            message.repetitions_at(segment.index, &path);
        }
    }
}

/// Edits that the data chooses; a message that took them is still one, and says what was set.
fn edit(mut message: Message, data: &[u8]) {
    let value = String::from_utf8_lossy(&data[data.len() / 2..])
        .chars()
        .take(20)
        .collect::<String>();
    for choice in data.chunks_exact(4).take(16) {
        let segment = usize::from(choice[0]) % message.segment_count(None);
        let path = FieldPath::new(u16::from(choice[1] % 24) + 1)
            .with_repetition(u16::from(choice[2] % 3))
            .with_component(u16::from(choice[2] / 64));
        match choice[3] % 5 {
            0 => drop(message.delete_at(segment, &path)),
            1 => drop(message.add_segment(&value, Some(segment + 1))),
            2 => drop(message.remove_segment(segment)),
            _ => {
                if message.set_at(segment, &path, &value).is_ok() {
                    assert!(message.get_at(segment, &path).is_some());
                }
            }
        }
    }
    // Values are checked when they are set. Where a separator's byte can be part of a character, MSH-18 itself
    // can be hidden by MSH-3 to MSH-17, and some characters can be read but not written (Big5).
    if !message.charset().keeps_ascii() {
        let _ = message.encode();
        return;
    }
    let encoded = message.encode().expect("all values fit");
    // Without MSH-18 (its first repetition) nobody can know the character set of the bytes any more.
    let first = FieldPath::new(18).with_repetition(1);
    let declared = message.get_at(0, &first).unwrap_or_default();
    match Message::parse(encoded) {
        Ok(again) => assert_eq!(again.segment_count(None), message.segment_count(None)),
        Err(fault) => assert!(declared.is_empty(), "{fault:?} {message:?}"),
    }
}
