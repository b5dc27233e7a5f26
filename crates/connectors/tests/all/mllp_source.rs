//! The MLLP listener.

use connectors::{Fault, Refused, Verdict};
use model::connector::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{Peer, Recorder, Running, adt, eventually, framed, seconds, source};

async fn listening(options: &[(&str, Value)], intake: &std::sync::Arc<Recorder>) -> Running {
    let mut all = vec![("port", Value::Int(0))];
    all.extend_from_slice(options);
    Running::start(source("mllp", &all).unwrap(), intake).await
}

#[tokio::test]
async fn a_frame_is_stored_and_then_answered() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(&framed(&adt("A1"))).await;
    assert_eq!(peer.answer().await, "AA A1");
    assert_eq!(intake.seen().texts(), [adt("A1")]);
    assert_eq!(intake.seen().sources, [peer.0.local_addr().unwrap().to_string()]);
    running.finish().await;
}

#[tokio::test]
async fn no_answer_leaves_before_the_store_has_the_message() {
    let intake = Recorder::gated();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(&framed(&adt("A1"))).await;
    intake.wait("the accept", |seen| seen.waiting == 1).await;
    let mut byte = [0];
    assert!(
        peer.0
            .try_read(&mut byte)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    );
    intake.open(1);
    assert_eq!(peer.answer().await, "AA A1");
    running.finish().await;
}

#[tokio::test]
async fn pipelined_frames_are_stored_in_one_go_and_answered_in_order() {
    let intake = Recorder::accepting();
    let running = listening(&[("pipeline", Value::Int(3))], &intake).await;
    let mut peer = running.connect().await;
    let stream: Vec<u8> = (0..5)
        .flat_map(|number| framed(&adt(&format!("P{number}"))))
        .collect();
    peer.send(&stream).await;
    for number in 0..5 {
        assert_eq!(peer.answer().await, format!("AA P{number}"));
    }
    assert_eq!(intake.seen().batches, [3, 2]);
    running.finish().await;
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_one_message() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.0.set_nodelay(true).unwrap();
    for byte in framed(&adt("SLOW")) {
        peer.send(&[byte]).await;
    }
    assert_eq!(peer.answer().await, "AA SLOW");
    assert_eq!(intake.seen().texts(), [adt("SLOW")]);
    running.finish().await;
}

#[tokio::test]
async fn junk_between_frames_is_survived_and_reported() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(b"GET / HTTP/1.1").await;
    peer.send(&framed(&adt("J1"))).await;
    peer.send(b"\x1c\x1c???\r\n").await;
    peer.send(&framed(&adt("J2"))).await;
    assert_eq!(peer.answer().await, "AA J1");
    assert_eq!(peer.answer().await, "AA J2");
    assert!(running.fault().contains("between frames"), "{}", running.fault());
    running.finish().await;
}

#[tokio::test]
async fn verdicts_become_aa_ae_and_ar() {
    let fault = |text: &str| Fault {
        code: 101,
        location: Some("PID-3".into()),
        text: text.into(),
    };
    let intake = Recorder::scripted(move |_, count| {
        Ok([
            Verdict::Accept,
            Verdict::Error(fault("bad")),
            Verdict::Reject(fault("worse")),
        ][count]
            .clone())
    });
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    for (id, expected) in [("V1", "AA V1"), ("V2", "AE V2"), ("V3", "AR V3")] {
        peer.send(&framed(&adt(id))).await;
        assert_eq!(peer.answer().await, expected);
    }
    running.finish().await;
}

#[tokio::test]
async fn enhanced_mode_gets_a_commit_answer_and_ne_gets_none() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    let with_mode = |id: &str, mode: &str| adt(id).replacen("|2.5\r", &format!("|2.5|||{mode}\r"), 1);
    peer.send(&framed(&with_mode("E1", "NE|NE"))).await;
    peer.send(&framed(&with_mode("E2", "AL|NE"))).await;
    assert_eq!(peer.answer().await, "CA E2");
    assert_eq!(intake.seen().stored.len(), 2);
    running.finish().await;
}

#[tokio::test]
async fn what_is_no_hl7_is_stored_and_gets_a_plain_answer() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(&framed("{\"no\": \"hl7\"}")).await;
    assert_eq!(peer.answer().await, "AA ");
    running.finish().await;
}

#[tokio::test]
async fn without_acknowledgement_nothing_is_answered() {
    let intake = Recorder::accepting();
    let source = source("mllp", &[("port", Value::Int(0))]).unwrap();
    let running = Running::start_with(source, &intake, false).await;
    let mut peer = running.connect().await;
    peer.send(&framed(&adt("N1"))).await;
    peer.send(&framed(&adt("N2"))).await;
    intake.wait("both messages", |seen| seen.stored.len() == 2).await;
    running.stop();
    assert_eq!(peer.rest().await, b"");
    running.ended().await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_not_stored_is_not_answered_and_the_socket_closes() {
    let intake = Recorder::scripted(|_, count| match count {
        2 => Err(Refused("no lease".into())),
        _ => Ok(Verdict::Accept),
    });
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    let stream: Vec<u8> = (0..4)
        .flat_map(|number| framed(&adt(&format!("R{number}"))))
        .collect();
    peer.send(&stream).await;
    assert_eq!(peer.answer().await, "AA R0");
    assert_eq!(peer.answer().await, "AA R1");
    assert_eq!(
        peer.rest().await,
        b"",
        "neither the refused one nor the one behind it is answered"
    );
    assert!(running.fault().contains("no lease"));
    let mut again = running.connect().await;
    again.send(&framed(&adt("R9"))).await;
    assert_eq!(again.answer().await, "AA R9");
    running.finish().await;
}

#[tokio::test]
async fn an_oversized_frame_is_recorded_refused_and_ends_the_socket() {
    let intake = Recorder::accepting();
    let running = listening(&[("max_frame_bytes", Value::Int(1000))], &intake).await;
    let mut peer = running.connect().await;
    let mut stream = framed(&adt("O1"));
    let big = adt("O2") + &"X".repeat(200_000);
    stream.extend(framed(&big));
    peer.send(&stream).await;
    assert_eq!(peer.answer().await, "AA O1");
    assert_eq!(peer.answer().await, "AR O2");
    peer.0.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
    let seen = intake.seen();
    assert_eq!(seen.texts(), [adt("O1")]);
    let (head, reason) = &seen.rejected[0];
    assert!(big.as_bytes().starts_with(head) && head.len() <= 64 * 1024);
    assert!(reason.contains("max_frame_bytes (1000 bytes)"), "{reason}");
    running.finish().await;
}

#[tokio::test]
async fn a_frame_without_trailer_is_recorded_and_the_next_one_goes_on() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    let mut stream = vec![0x0b];
    stream.extend(adt("U1").bytes());
    stream.extend(framed(&adt("U2")));
    peer.send(&stream).await;
    assert_eq!(peer.answer().await, "AR U1");
    assert_eq!(peer.answer().await, "AA U2");
    let seen = intake.seen();
    assert_eq!(seen.texts(), [adt("U2")]);
    assert_eq!(seen.rejected[0].0, adt("U1").into_bytes());
    running.finish().await;
}

#[tokio::test]
async fn a_socket_that_ends_inside_a_frame_leaves_nothing() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(b"\x0bMSH|^~\\&|half").await;
    peer.0.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
    let seen = intake.seen();
    assert_eq!((seen.stored.len(), seen.rejected.len()), (0, 0));
    running.finish().await;
}

#[tokio::test]
async fn a_sender_that_closes_its_side_still_gets_its_answers() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    peer.send(&framed(&adt("H1"))).await;
    peer.0.shutdown().await.unwrap();
    assert_eq!(peer.answer().await, "AA H1");
    assert_eq!(peer.rest().await, b"");
    running.finish().await;
}

#[tokio::test]
async fn a_frame_that_does_not_end_in_time_closes_the_socket() {
    let intake = Recorder::accepting();
    let running = listening(&[("read_timeout", seconds(0.05))], &intake).await;
    let mut peer = running.connect().await;
    peer.send(b"\x0bMSH|^~\\&|never ends").await;
    assert_eq!(peer.rest().await, b"");
    assert!(running.fault().contains("read_timeout"));
    assert_eq!(intake.seen().stored.len(), 0);
    drop(peer);
    running.finish().await;
}

#[tokio::test]
async fn an_idle_socket_is_closed_only_where_a_time_out_is_set() {
    let intake = Recorder::accepting();
    let idle = listening(&[("idle_timeout", seconds(0.05))], &intake).await;
    let patient = listening(&[], &intake).await;
    let mut kept = patient.connect().await;
    assert_eq!(idle.connect().await.rest().await, b"");
    kept.send(&framed(&adt("I1"))).await;
    assert_eq!(kept.answer().await, "AA I1");
    idle.finish().await;
    patient.finish().await;
}

#[tokio::test]
async fn junk_does_not_keep_an_idle_socket_open() {
    let intake = Recorder::accepting();
    let running = listening(&[("idle_timeout", seconds(0.1))], &intake).await;
    let Peer(stream) = running.connect().await;
    let (read, mut write) = stream.into_split();
    let junk = tokio::spawn(async move { while write.write_all(b"junk").await.is_ok() {} });
    crate::support::within("the writer to be cut off", junk)
        .await
        .unwrap();
    drop(read);
    running.finish().await;
}

#[tokio::test]
async fn one_partner_too_many_is_turned_away_and_the_others_stay() {
    let intake = Recorder::accepting();
    let running = listening(&[("max_connections", Value::Int(2))], &intake).await;
    let (mut one, mut two) = (running.connect().await, running.connect().await);
    for (peer, id) in [(&mut one, "C1"), (&mut two, "C2")] {
        peer.send(&framed(&adt(id))).await;
        assert_eq!(peer.answer().await, format!("AA {id}"));
    }
    assert_eq!(running.connect().await.rest().await, b"");
    assert!(running.fault().contains("max_connections"));
    drop(one);
    eventually("a free place", || {
        running.status.peers.load(std::sync::atomic::Ordering::Relaxed) == 1
    })
    .await;
    let mut three = running.connect().await;
    three.send(&framed(&adt("C3"))).await;
    assert_eq!(three.answer().await, "AA C3");
    running.finish().await;
}

#[tokio::test]
async fn only_allowed_addresses_come_in() {
    for (allow, comes_in) in [("127.0.0.0/8", true), ("127.0.0.1", true), ("10.0.0.0/8", false)] {
        let intake = Recorder::accepting();
        let running = listening(&[("allow", Value::List(vec![allow.into()]))], &intake).await;
        let mut peer = running.connect().await;
        let _ = peer.0.write_all(&framed(&adt("L1"))).await;
        let answered = !peer_answer(&mut peer, comes_in).await.is_empty();
        assert_eq!(answered, comes_in, "{allow}");
        running.finish().await;
    }
}

async fn peer_answer(peer: &mut Peer, comes_in: bool) -> Vec<u8> {
    if comes_in {
        peer.frame().await.unwrap_or_default()
    } else {
        peer.rest().await
    }
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_way_to_find_its_holder() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut source = source("mllp", &[("port", Value::Int(port.into()))]).unwrap();
    let fault = source.bind().await.unwrap_err().to_string();
    assert!(
        fault.contains(&format!("127.0.0.1:{port}")) && fault.contains("ss -ltnp"),
        "{fault}"
    );
    drop(holder);
    source.bind().await.unwrap();
}

#[tokio::test]
async fn at_a_stop_accepts_under_way_end_and_later_frames_are_dropped_unanswered() {
    let intake = Recorder::gated();
    let running = listening(&[("pipeline", Value::Int(1))], &intake).await;
    let mut peer = running.connect().await;
    let mut idle = running.connect().await;
    peer.send(&[framed(&adt("S1")), framed(&adt("S2"))].concat())
        .await;
    intake.wait("the first accept", |seen| seen.waiting == 1).await;
    running.stop();
    assert_eq!(idle.rest().await, b"", "sockets at rest close at once");
    let address = running.address.clone();
    eventually("a closed listener", || {
        std::net::TcpStream::connect(&address).is_err()
    })
    .await;
    intake.open(2);
    assert_eq!(peer.answer().await, "AA S1");
    assert_eq!(peer.rest().await, b"");
    running.ended().await.unwrap();
    assert_eq!(intake.seen().texts(), [adt("S1")]);
}

#[tokio::test]
async fn a_source_that_was_stopped_can_be_bound_and_run_again_on_its_port() {
    let intake = Recorder::accepting();
    let first = listening(&[], &intake).await;
    let port = first.address.rsplit(':').next().unwrap().parse().unwrap();
    let mut peer = first.connect().await;
    peer.send(&framed(&adt("B1"))).await;
    assert_eq!(peer.answer().await, "AA B1");
    first.finish().await;
    let second = listening(&[("port", Value::Int(port))], &intake).await;
    let mut peer = second.connect().await;
    peer.send(&framed(&adt("B2"))).await;
    assert_eq!(peer.answer().await, "AA B2");
    second.finish().await;
}

#[tokio::test]
async fn a_16_mib_message_and_10000_segments_pass() {
    let intake = Recorder::accepting();
    let running = listening(&[], &intake).await;
    let mut peer = running.connect().await;
    let long = adt("BIG") + "OBX|1|ED|" + &"A".repeat(16_777_216 - 200) + "\r";
    let many = adt("MANY") + &"NTE|1||x\r".repeat(10_000);
    for (id, body) in [("BIG", &long), ("MANY", &many)] {
        peer.send(&framed(body)).await;
        assert_eq!(peer.answer().await, format!("AA {id}"));
    }
    assert!(intake.seen().stored == [long.into_bytes(), many.into_bytes()]);
    running.finish().await;
}
