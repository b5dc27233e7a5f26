//! A server that misbehaves: it resets, stalls, drips, floods, says things that are no answer, sends this node on. What
//! has to hold for the wrapper of the driver, whatever comes: a call ends in its time with an error that can be read, no
//! panic gets out, memory stays within bounds, and a connection that is not clean is never used again.

mod between;
mod failover;
mod server;
mod token;
mod wire;

use std::time::{Duration, Instant};

use store::Error;
use store::board::{Board, Leadership};
use store::sqlserver::{self, Options};

pub(super) use between::Between;
use server::{Deed, Peer, Stage, answer, good, leadership};
use wire::{ANSWER, change, done, error, login_ack, message, packet, route, token};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// A call connects, which is bounded too, and asks; once more on a new connection where the old one broke. On a machine
/// with other work each bound is met late.
const LIMIT: Duration = Duration::from_secs(15);
/// Memory that any answer may cost beside what the tests themselves take, in bytes.
const MEMORY: u64 = 1_200 << 20;

/// Asks the peer for the history of leaderships.
fn ask(peer: &Peer) -> Result<Vec<Leadership>, Error> {
    let mut options = Options::new(peer.url());
    options.password = Some("secret".to_owned());
    sqlserver::board(&options, PATIENCE)?.history(10)
}

/// Bytes of this process that are in memory, at most so far.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

/// What a case says is wrong.
type Case = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Runs cases side by side; what was wrong with each.
fn all(cases: Vec<(String, Case)>) {
    let running: Vec<_> = cases
        .into_iter()
        .map(|(name, case)| (name, std::thread::spawn(case)))
        .collect();
    let wrong: Vec<String> = running
        .into_iter()
        .filter_map(|(name, thread)| {
            let outcome = thread
                .join()
                .unwrap_or_else(|_| Err("a panic got out".to_owned()));
            outcome.err().map(|what| format!("{name}: {what}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n- {}\n", wrong.join("\n- "));
}

/// One call to a peer that does this once: the call ends in time, with an error that can be read or, since it may ask once
/// more, with the right answer; and nothing more is asked on the connection.
fn one(at: Stage, deed: Deed) -> Result<(), String> {
    let peer = Peer::once(at, deed);
    let begun = Instant::now();
    let answer = ask(&peer);
    let took = begun.elapsed();
    if took > LIMIT {
        return Err(format!("it took {took:?}"));
    }
    match &answer {
        Ok(history) if history.len() == 1 && history[0].node == "node-1" => {}
        Ok(history) => return Err(format!("it believed {history:?}")),
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(inner) = source {
                text.push_str(&format!(": {inner}"));
                source = inner.source();
            }
            if text.len() < 20 || text.contains("secret") {
                return Err(format!("nobody can act on `{text}`"));
            }
        }
    }
    let records = peer.records();
    match records.first() {
        Some(first) if first.spoiled && first.after == 0 => Ok(()),
        Some(first) if first.spoiled => Err(format!("{} bytes were sent on after it", first.after)),
        _ => Err("the peer never got that far".to_owned()),
    }
}

fn spoiled(name: &str, at: Stage, deed: Deed) -> (String, Case) {
    (format!("{name} at {at:?}"), Box::new(move || one(at, deed)))
}

#[test]
fn a_peer_that_behaves_is_believed() {
    let peer = Peer::start(|_, _, _| Deed::Answer);
    let history = ask(&peer).unwrap();
    assert_eq!((history[0].epoch.0, history[0].node.as_str()), (7, "node-1"));
    let records = peer.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].asked[..], Stage::EACH);
    assert!(
        records[0].texts[2].contains("XACT_ABORT ON"),
        "{:?}",
        records[0].texts
    );
}

#[test]
fn at_each_stage_a_connection_that_ends_or_says_nothing_costs_no_more_than_itself() {
    let mut cases = Vec::new();
    for at in Stage::EACH {
        let whole = good(at);
        for (name, deed) in [
            ("a reset", Deed::Reset(Vec::new())),
            ("an end", Deed::Close(Vec::new())),
            ("an end in a header", Deed::Close(whole[..4].to_vec())),
            (
                "an end in a packet",
                Deed::Close(whole[..whole.len() - 1].to_vec()),
            ),
            (
                "a reset in a packet",
                Deed::Reset(whole[..whole.len() - 1].to_vec()),
            ),
            ("silence", Deed::Stall(Vec::new())),
            ("silence in a header", Deed::Stall(whole[..4].to_vec())),
            (
                "silence in a packet",
                Deed::Stall(whole[..whole.len() - 1].to_vec()),
            ),
        ] {
            cases.push(spoiled(name, at, deed));
        }
    }
    all(cases);
}

/// Payloads that are no answer.
fn nonsense(at: Stage) -> Vec<(&'static str, Vec<u8>)> {
    let noise = crate::support::noise(3_000);
    let mut wide = vec![0x81];
    wide.extend(0xfff0_u16.to_le_bytes());
    // One column of VARBINARY(MAX), whose value says that it has almost 2^64 bytes, or a piece of almost 2^32.
    let mut blob = vec![0x81, 1, 0, 0, 0, 0, 0, 1, 0, 0xa5, 0xff, 0xff];
    blob.extend(wire::short_text("c"));
    blob.push(0xd1);
    let long = [
        &blob[..],
        &(u64::MAX - 15).to_le_bytes(),
        &0xffff_fff0_u32.to_le_bytes(),
        &noise,
    ]
    .concat();
    let piece = [
        &blob[..],
        &(u64::MAX - 1).to_le_bytes(),
        &0x7fff_fff0_u32.to_le_bytes(),
        &noise,
    ]
    .concat();
    let mut feature = vec![0xae, 1];
    feature.extend(0xffff_fff0_u32.to_le_bytes());
    let mut session_state = vec![0xe4];
    session_state.extend(0xffff_fff0_u32.to_le_bytes());
    let mut all = vec![
        ("noise", noise.clone()),
        ("a token that there is not", [vec![0x00], noise.clone()].concat()),
        (
            "an error of 64 KiB that does not come",
            vec![0xaa, 0xff, 0xff, 1, 2, 3],
        ),
        ("an error shorter than its parts", token(0xaa, &[1, 2, 3])),
        ("65,520 columns", [wide, noise.clone()].concat()),
        ("a value of almost 2^64 bytes", long),
        ("a piece of almost 2^31 bytes", piece),
        (
            "a feature of almost 2^32 bytes",
            [feature, noise.clone()].concat(),
        ),
        (
            "a session's state of almost 2^32 bytes",
            [session_state, noise.clone()].concat(),
        ),
        ("a row before any column", [vec![0xd1], noise.clone()].concat()),
        (
            "a row with gaps before any column",
            [vec![0xd2], noise.clone()].concat(),
        ),
        (
            "packets of 8 bytes from now on",
            [change(4, "8", "4096"), login_ack(), done(0xfd)].concat(),
        ),
        (
            "packets of 0 bytes from now on",
            [change(4, "0", "4096"), login_ack(), done(0xfd)].concat(),
        ),
        (
            "packets of 10^20 bytes from now on",
            change(4, "99999999999999999999", "4096"),
        ),
        ("packets of no number of bytes", change(4, "many", "")),
        ("a change that there is not", token(0xe3, &[0x77, 0, 0])),
        ("a change shorter than its parts", token(0xe3, &[20, 1])),
        (
            "a login by another protocol",
            token(0xad, &[1, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
        ),
        (
            "a text that is no UTF-16",
            token(0xe3, &[1, 2, 0x00, 0xd8, 0x00, 0xd8, 0]),
        ),
    ];
    // To a question this is the answer that there are no rows: the driver does not tell it from one.
    if at != Stage::Question {
        all.push(("nothing but an end", Vec::new()));
    }
    all
}

#[test]
fn at_each_stage_what_is_no_answer_is_told_from_one() {
    let mut cases = Vec::new();
    for at in Stage::EACH {
        for (name, payload) in nonsense(at) {
            cases.push(spoiled(
                &format!("{name}, then an end"),
                at,
                Deed::Close(message_of(&payload)),
            ));
        }
    }
    all(cases);
    let mut cases = Vec::new();
    for at in [Stage::Login, Stage::Question] {
        for (name, payload) in nonsense(at) {
            cases.push(spoiled(
                &format!("{name}, then silence"),
                at,
                Deed::Stall(message_of(&payload)),
            ));
        }
    }
    all(cases);
}

fn message_of(payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() {
        packet(ANSWER, payload)
    } else {
        message(payload)
    }
}

#[test]
fn at_each_stage_packets_that_are_none_end_the_call() {
    let mut cases = Vec::new();
    for at in Stage::EACH {
        let whole = good(at);
        let with = |place: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[place] = value;
            bytes
        };
        for (name, bytes) in [
            ("a packet of no kind", with(0, 0x63)),
            ("a status of no kind", with(1, 0x77)),
            ("a packet that never is the last", with(1, 0)),
            ("a packet shorter than its header", with(3, 3)),
            ("a packet of no length", vec![ANSWER, 1, 0, 0, 0, 0, 1, 0]),
            ("a packet longer than what comes", with(2, 0x7f)),
        ] {
            cases.push(spoiled(
                &format!("{name}, then an end"),
                at,
                Deed::Close(bytes.clone()),
            ));
            cases.push(spoiled(&format!("{name}, then silence"), at, Deed::Stall(bytes)));
        }
    }
    all(cases);
}

#[test]
fn a_peer_that_never_comes_to_an_end_is_given_up() {
    let before = peak();
    let pause = Duration::from_millis(5);
    let row = wire::one_row(&leadership());
    let packets = |payload: Vec<u8>| {
        let mut bytes = message(&payload.repeat(1 + 3_000 / payload.len()));
        bytes[1] = 0;
        bytes
    };
    let mut first = message(&wire::columns(&leadership()));
    first[1] = 0;
    let info = token(0xab, &error(1, 1, "still here")[3..3 + 40]);
    let mut cases = Vec::new();
    for at in Stage::EACH {
        // One packet of 30,000 bytes, byte by byte; and packet by packet an answer that has no end.
        let long = [&[ANSWER, 1, 0x75, 0x30, 0, 0, 1, 0][..], &[0; 64]].concat();
        cases.push(spoiled("an answer by bytes", at, Deed::Drip(long, pause)));
        let mut change = message(&change(1, "a", "b"));
        change[1] = 0;
        cases.push(spoiled("a change now and then", at, Deed::Drip(change, pause)));
    }
    for at in [Stage::Login, Stage::Session, Stage::Question] {
        let changes = packets(change(1, "holdfast", "master"));
        cases.push(spoiled(
            "changes without end",
            at,
            Deed::Flood(Vec::new(), changes),
        ));
        cases.push(spoiled(
            "messages without end",
            at,
            Deed::Flood(Vec::new(), packets(info.clone())),
        ));
    }
    cases.push(spoiled(
        "rows without end",
        Stage::Question,
        Deed::Flood(first.clone(), packets(row)),
    ));
    let mut blob = vec![0x81, 1, 0, 0, 0, 0, 0, 1, 0, 0xa5, 0xff, 0xff];
    blob.extend(wire::short_text("c"));
    blob.push(0xd1);
    blob.extend((u64::MAX - 1).to_le_bytes());
    let mut blob = message(&blob);
    blob[1] = 0;
    let piece = [&2_996_u32.to_le_bytes()[..], &[7; 2_996]].concat();
    let mut piece = message(&piece);
    piece[1] = 0;
    cases.push(spoiled(
        "a value without end",
        Stage::Question,
        Deed::Flood(blob, piece),
    ));
    all(cases);
    let grown = peak().saturating_sub(before);
    say(&format!("{} MiB more memory at most", grown >> 20));
    assert!(grown < MEMORY, "{} MiB more memory", grown >> 20);
}

#[test]
fn an_error_of_the_server_leaves_the_connection_in_use_and_one_that_ends_the_session_does_not() {
    for (class, connections) in [(14, 1), (20, 2)] {
        let text = message(&error(50_000, class, "made up"));
        let peer = Peer::start(move |connection, stage, before| {
            if connection == 0 && stage == Stage::Question && before == 0 {
                // Not the end of the connection: what comes after it is up to the client.
                Deed::Stall(text.clone())
            } else {
                Deed::Answer
            }
        });
        let mut options = Options::new(peer.url());
        options.password = Some("secret".to_owned());
        let mut board = sqlserver::board(&options, PATIENCE).unwrap();
        let first = board.history(10);
        let again = board.history(10);
        if class < 20 {
            assert!(first.unwrap_err().to_string().len() > 10);
        }
        assert_eq!(again.unwrap().len(), 1, "class {class}");
        let records = peer.records();
        assert!(records.len() >= connections, "class {class}: {records:?}");
        if class >= 20 {
            assert_eq!(records[0].after, 0, "the session was over");
        }
    }
}

#[test]
fn a_server_that_takes_nobody_in_for_now_is_told_from_one_that_refuses_this_user() {
    for (number, class, words, lasting) in [
        (17_809, 20, "takes no more connections", false),
        (10_928, 16, "as many sessions or requests", false),
        (40_613, 17, "wait for it", false),
        (18_456, 14, "refuses the log-in", true),
        (4_060, 11, "create the database", false),
    ] {
        let refusal = message(&error(number, class, "made up"));
        let peer = Peer::start(move |_, stage, _| match stage {
            Stage::Login => Deed::Close(refusal.clone()),
            _ => Deed::Answer,
        });
        let mut options = Options::new(peer.url());
        options.password = Some("secret".to_owned());
        let text = match (sqlserver::open(options), lasting) {
            (Err(Error::Away(text)), false) | (Err(Error::Refused(text)), true) => text,
            (other, _) => panic!("{number}: {other:?}"),
        };
        assert!(text.contains(words) && text.contains("made up"), "{text}");
    }
}

#[test]
fn a_server_that_sends_this_node_on_is_followed_and_not_in_circles() {
    let there = Peer::start(|_, _, _| Deed::Answer);
    let to = |port: u16| message(&[login_ack(), route("127.0.0.1", port), done(0xfd)].concat());
    let answer = to(there.port);
    let listener = Peer::start(move |_, stage, _| match stage {
        Stage::Login => Deed::Close(answer.clone()),
        _ => Deed::Answer,
    });
    assert_eq!(ask(&listener).unwrap()[0].node, "node-1");
    assert_eq!(there.records()[0].asked[..], Stage::EACH);

    // One that names itself, one that names nobody, one whose name there is not.
    let own = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(0));
    let circle = {
        let own = std::sync::Arc::clone(&own);
        Peer::start(move |_, stage, _| match stage {
            Stage::Login => Deed::Close(to(own.load(std::sync::atomic::Ordering::Relaxed))),
            _ => Deed::Answer,
        })
    };
    own.store(circle.port, std::sync::atomic::Ordering::Relaxed);
    let begun = Instant::now();
    let error = ask(&circle).unwrap_err().to_string();
    assert!(error.contains("without end"), "{error}");
    assert!(
        begun.elapsed() < LIMIT && circle.records().len() <= 10,
        "{:?}",
        circle.records().len()
    );
    for (host, port) in [("127.0.0.1", 1), ("", 1433), ("no-such-host.invalid", 1433)] {
        let answer = message(&[login_ack(), route(host, port), done(0xfd)].concat());
        let lost = Peer::start(move |_, stage, _| match stage {
            Stage::Login => Deed::Close(answer.clone()),
            _ => Deed::Answer,
        });
        let begun = Instant::now();
        assert!(ask(&lost).is_err(), "{host}");
        assert!(begun.elapsed() < LIMIT, "{host}");
    }
}

#[test]
fn answers_with_any_byte_changed_or_cut_anywhere_end_the_call_and_nothing_else() {
    let mut seed = 0x5eed_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    for round in 0..40 {
        let mut cases = Vec::new();
        for case in 0..8 {
            let at = Stage::EACH[next(Stage::EACH.len())];
            let mut bytes = good(at);
            for _ in 0..=next(3) {
                let place = next(bytes.len());
                bytes[place] = next(256) as u8;
            }
            if next(3) == 0 {
                bytes.truncate(next(bytes.len()));
            }
            let said = format!("{bytes:02x?}");
            let name = format!("round {round}, case {case}: {said}");
            // It may have changed what nobody looks at, or the very values: what matters is that the call ends.
            let case = move || {
                let peer = Peer::once(at, Deed::Close(bytes));
                let begun = Instant::now();
                let _ = ask(&peer);
                let took = begun.elapsed();
                if took < LIMIT {
                    Ok(())
                } else {
                    Err(format!("it took {took:?}"))
                }
            };
            cases.push((name, Box::new(case) as Case));
        }
        all(cases);
    }
}

#[test]
fn a_whole_answer_is_what_the_good_one_is_made_of() {
    // The tests above spoil `good`: that it is well formed, the driver says in the first of them; that spoiling changes
    // something, this does.
    for at in Stage::EACH {
        assert!(good(at).len() > HEADER_AND_TOKEN, "{at:?}");
    }
    assert!(answer(&leadership()).len() > 60);
}

const HEADER_AND_TOKEN: usize = wire::HEADER + 1;

/// For who runs the tests with `--nocapture`.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
