use bench::recipe::Recipe;
use model::{MessageId, NameId, SendId, Timestamp};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::rows::{NewMessage, NewOutcome, NewSend, OutcomeResult};

const PLACE: Place = Place::Message(7);

fn messages(kinds: &[&str], version: &str, count: usize) -> Vec<Vec<u8>> {
    let recipe = Recipe {
        kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
        version: version.to_owned(),
        size: None,
        seed: 987_654_321,
        date: "20310921010203".to_owned(),
    };
    recipe
        .messages()
        .unwrap()
        .take(count)
        .map(|message| message.to_vec())
        .collect()
}

/// Packed length as a share of the whole, after reading each one back.
fn share(bodies: &[Vec<u8>]) -> f64 {
    let (mut raw, mut stored) = (0, 0);
    for body in bodies {
        raw += body.len();
        stored += match pack(body) {
            None => body.len(),
            Some(packed) => {
                assert_eq!(unpack(PLACE, 1, packed.to_vec()).unwrap().unwrap()[..], body[..]);
                packed.len()
            }
        };
    }
    stored as f64 / raw as f64
}

/// Bodies written with a dictionary can be read with no other.
#[test]
fn the_dictionary_is_the_one_that_bodies_were_written_with() {
    let digest: String = Sha256::digest(frame::DICTIONARY_1)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        digest,
        "7de179132ba4f05eb478addd92e2a646b4ba8f2318e426aa24b052666b3963ae"
    );
    assert!(frame::DICTIONARY_1.len() <= 64 << 10);
}

/// A frame as the first release wrote it.
#[test]
fn a_frame_of_the_first_dictionary_is_read() {
    let frame = unhex(
        "28b52ffd24a5f502002305101b95941aac2c190b6f9964958676fc57551e0b0492b1a64f0c8c4a4a0d56d65a77ad7d395853\
         4b433bb334ac4c66c828a93c702052a9a4d460a5529951f2212308fc8905997d423f6a0bf1a24c916e60b714c69545d0bcf9\
         2597540d1a6ffc",
    );
    let body = unpack(PLACE, 1, frame).unwrap().unwrap();
    assert_eq!(&body[..], SAMPLE.as_bytes());
}

const SAMPLE: &str = "MSH|^~\\&|ADMIT|WEST|HUB|MAIN|20300102030405||ADT^A01^ADT_A01|X17|P|2.5.1\rEVN|A01|20300102030405\r\
                      PID|1||4711^^^WEST^MR||Sample^Ann^B||19610203|F\rPV1|1|I|3N^12^A^WEST\r";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn messages_of_kinds_that_the_dictionary_was_not_made_from_get_shorter() {
    // examples/dictionary.rs says what it was made from.
    for (kinds, most) in [
        (["ADT^A01", "ORU"], 0.50),
        (["VXU", "DFT"], 0.50),
        (["BAR", "ADT^A40"], 0.50),
    ] {
        for version in ["2.3", "2.5.1", "2.8"] {
            let share = share(&messages(&kinds, version, 200));
            assert!(share < most, "{kinds:?} {version}: {share:.2}");
        }
    }
    // Written by hand, in nobody's dictionary.
    let share = share(&[SAMPLE.as_bytes().to_vec()]);
    assert!(share < 0.70, "{share:.2}");
}

#[test]
fn a_body_that_would_not_get_shorter_is_left_as_it_is() {
    let noise: Vec<u8> = (0..200u32)
        .flat_map(|index| Sha256::digest(index.to_le_bytes()))
        .collect();
    assert_eq!(pack(&noise), None);
    assert_eq!(pack(b""), None);
    assert_eq!(pack(&[b'x'; LENGTH_MIN - 1]), None);
    assert!(pack(&[b'x'; LENGTH_MIN]).is_some());
}

#[test]
fn an_unknown_number_is_said() {
    let fault = unpack(Place::Send(12), 9, b"whatever".to_vec()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the body of send 0-12 cannot be read: it is packed in a way (9) that this version does not know; it was written by \
         a newer one"
    );
    assert_eq!(size(Place::Send(12), 9, b"whatever", 8).unwrap_err(), fault);
}

#[test]
fn a_frame_that_claims_to_be_huge_is_not_unpacked() {
    // A header that speaks of 2^40 bytes, and one of 255 MiB with nothing behind it.
    let frame = |length: u64| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
        frame.extend(length.to_le_bytes());
        frame
    };
    let fault = unpack(PLACE, 1, frame(1 << 40)).unwrap_err();
    assert!(fault.to_string().contains("1099511627776 bytes long"), "{fault}");
    let fault = unpack(PLACE, 1, frame(255 << 20)).unwrap_err();
    assert!(fault.to_string().contains("damaged"), "{fault}");
}

#[test]
fn a_frame_that_holds_more_than_it_says_is_not_unpacked_further() {
    let long = pack(&vec![b'x'; 1 << 20]).unwrap();
    let short = pack(&[b'y'; 100]).unwrap();
    let both = [&short[..], &long[..]].concat();
    let fault = unpack(PLACE, 1, both).unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with("the body of message 0-7 cannot be read: its bytes are damaged"),
        "{fault}"
    );
}

#[test]
fn each_body_of_a_unit_is_packed_by_itself() {
    let body = |text: &str, times: usize| Body::from(text.repeat(times).into_bytes());
    let unit = Unit {
        entries: vec![
            Entry::Message(NewMessage {
                inbound: NameId(1),
                received_at: Timestamp(1),
                control_id: None,
                kind: None,
                source: None,
                parent: None,
                keys: crate::Keys::default(),
                body: body("abc", 1),
            }),
            Entry::Send(NewSend {
                message: MessageId::from_raw(0),
                handler: NameId(2),
                destination: NameId(3),
                priority: 0,
                partition: None,
                body: Some(body("PID|1||4711^^^WEST^MR", 40)),
            }),
            Entry::Outcome(NewOutcome {
                send: SendId::from_raw(5),
                message: MessageId::from_raw(4),
                result: OutcomeResult::Delivered,
                attempts: 1,
                reply: Some(body("MSA|AA|4711", 20)),
            }),
        ],
    };
    let plain = Packed::new(unit.clone(), false);
    assert_eq!(plain.weight(), unit.weight());
    let packed = Packed::new(unit.clone(), true);
    assert!(packed.weight() < unit.weight() / 2);
    let encodings: Vec<i16> = packed.entries().map(|(_, enc)| enc).collect();
    assert_eq!(encodings, [0, 1, 1]);
    for ((entry, enc), mut original) in packed.entries().zip(unit.entries) {
        let mut entry = entry.clone();
        let stored = body_of(&mut entry).unwrap().to_vec();
        let length = stored.len() as u64;
        let original = body_of(&mut original).unwrap();
        let head = &stored[..stored.len().min(HEAD_BYTES)];
        assert_eq!(
            size(PLACE, enc.into(), head, length).unwrap(),
            original.len() as u64
        );
        assert_eq!(&unpack(PLACE, enc.into(), stored).unwrap().unwrap(), original);
    }
}

/// Bytes of all kinds: noise, repetition, parts of messages.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..2_000);
    let few = prop::collection::vec(prop::sample::select(b"|^~\\&\r MSHPID01".to_vec()), 0..4_000);
    let repeated = (prop::collection::vec(any::<u8>(), 1..20), 1usize..20_000)
        .prop_map(|(part, times)| part.repeat(times.min(200_000 / part.len())));
    let known: Vec<Vec<u8>> = messages(&["all"], "2.5.1", 40);
    let cut = (
        prop::sample::select(known),
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(|(mut message, at, byte)| {
            let at = at.index(message.len());
            message[at] = byte;
            message
        });
    prop_oneof![noise, few, repeated, cut]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_body_comes_back_byte_for_byte_and_never_longer(body in bodies()) {
        match pack(&body) {
            None => {}
            Some(packed) => {
                prop_assert!(packed.len() < body.len());
                let head = &packed[..packed.len().min(HEAD_BYTES)];
                prop_assert_eq!(size(PLACE, 1, head, packed.len() as u64).unwrap(), body.len() as u64);
                prop_assert_eq!(&unpack(PLACE, 1, packed.to_vec()).unwrap().unwrap()[..], &body[..]);
            }
        }
    }

    #[test]
    fn a_changed_or_cut_frame_is_never_taken_for_another_body(
        body in bodies(), at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>(),
    ) {
        if let Some(packed) = pack(&body) {
            let mut bytes = packed.to_vec();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            if let Ok(Some(found)) = unpack(PLACE, 1, bytes) {
                prop_assert_eq!(&found[..], &body[..]);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_frame_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpack(PLACE, 1, bytes);
    }
}

#[test]
fn of_a_removed_body_its_length_is_left_and_nothing_else() {
    for length in [0, 17, 300, u64::from(u32::MAX) + 5] {
        let left = remnant(length);
        let stored = left.len() as u64;
        assert_eq!(size(PLACE, i64::from(REMOVED), &left, stored), Ok(length));
        assert_eq!(unpack(PLACE, i64::from(REMOVED), left), Ok(None));
    }
    let cut = size(PLACE, i64::from(REMOVED), &[1, 2], 2).unwrap_err();
    assert!(cut.to_string().contains("its length is not there"), "{cut}");
}
