//! The MLLP client, against partners that behave well and badly.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use connectors::{DeliverError, FailureClass, Sink};
use formats::hl7::ack::Code;
use model::connector::Value;
use tokio::net::TcpListener;

use crate::support::{Peer, adt, delivery, framed, reply, seconds, sink, within};

/// A partner whose behaviour is a function of the socket and its number.
struct Partner {
    port: u16,
    sockets: Arc<AtomicUsize>,
}

impl Partner {
    async fn new<F: Future<Output = ()> + Send + 'static>(
        behave: impl Fn(Peer, usize) -> F + Send + 'static,
    ) -> Partner {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sockets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(behave(Peer(stream), number));
            }
        });
        Partner { port, sockets }
    }

    /// One that answers each frame with what the function makes of it and its number on the socket.
    async fn answering(answer: impl Fn(&[u8], usize) -> Vec<u8> + Send + Clone + 'static) -> Partner {
        Partner::new(move |mut peer, _| {
            let answer = answer.clone();
            async move {
                let mut number = 0;
                while let Some(frame) = peer.frame().await {
                    peer.send(&answer(&frame, number)).await;
                    number += 1;
                }
            }
        })
        .await
    }

    fn sink(&self, options: &[(&str, Value)]) -> Box<dyn Sink> {
        let mut all = vec![
            ("port", Value::Int(self.port.into())),
            ("ack_timeout", seconds(10.0)),
        ];
        all.extend_from_slice(options);
        sink("mllp", &all).unwrap()
    }

    fn sockets(&self) -> usize {
        self.sockets.load(Ordering::SeqCst)
    }
}

async fn send(sink: &mut Box<dyn Sink>, id: &str) -> Result<Option<String>, DeliverError> {
    let delivery = delivery(1, 1, &adt(id));
    let delivered = within("the delivery", sink.deliver(&delivery)).await?;
    Ok(delivered
        .reply
        .map(|body| String::from_utf8_lossy(&body).into_owned()))
}

fn accept(frame: &[u8], _: usize) -> Vec<u8> {
    reply(Code::AA, frame)
}

/// An AA for another message.
fn accept_other(id: &str) -> Vec<u8> {
    reply(Code::AA, adt(id).as_bytes())
}

#[tokio::test]
async fn an_accepted_message_is_delivered_with_its_reply_over_one_lasting_socket() {
    let partner = Partner::answering(accept).await;
    let mut sink = partner.sink(&[]);
    for id in ["M1", "M2", "M3"] {
        let reply = send(&mut sink, id).await.unwrap().unwrap();
        assert!(reply.contains(&format!("MSA|AA|{id}")), "{id}");
    }
    assert_eq!(partner.sockets(), 1);
    let mut other = sink.another();
    send(&mut other, "M4").await.unwrap();
    assert_eq!(partner.sockets(), 2);
    sink.close().await;
}

#[tokio::test]
async fn a_socket_is_reset_where_its_message_was_given_up_and_closed_where_it_was_answered() {
    for answered in [true, false] {
        let (say, ended) = tokio::sync::oneshot::channel();
        let say = Arc::new(std::sync::Mutex::new(Some(say)));
        let partner = Partner::new(move |mut peer, _| {
            let say = Arc::clone(&say);
            async move {
                let Some(frame) = peer.frame().await else { return };
                if answered {
                    peer.send(&reply(Code::AA, &frame)).await;
                }
                let end = peer.end().await;
                say.lock().unwrap().take().unwrap().send(end).unwrap();
            }
        })
        .await;
        let mut sink = partner.sink(&[("ack_timeout", seconds(0.1))]);
        assert_eq!(send(&mut sink, "M1").await.is_ok(), answered);
        sink.close().await;
        let end = within("the end", ended).await.unwrap();
        match answered {
            true => assert_eq!(end.unwrap(), 0),
            false => assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[tokio::test]
async fn the_answers_code_says_whether_to_try_again() {
    for (code, class) in [
        (Code::AE, FailureClass::Retry),
        (Code::CE, FailureClass::Retry),
        (Code::AR, FailureClass::Reject),
        (Code::CR, FailureClass::Reject),
    ] {
        let partner = Partner::answering(move |frame, _| reply(code, frame)).await;
        let error = send(&mut partner.sink(&[]), "M1").await.unwrap_err();
        assert_eq!(error.class, class, "{code}");
        assert!(
            error.reply.is_some() && error.text.contains(code.as_str()),
            "{}",
            error.text
        );
    }
    let partner = Partner::answering(|frame, _| reply(Code::CA, frame)).await;
    send(&mut partner.sink(&[]), "M1").await.unwrap();
}

#[tokio::test]
async fn an_answer_to_another_message_is_passed_over() {
    let partner = Partner::answering(|frame, _| [accept_other("OLD"), reply(Code::AA, frame)].concat()).await;
    let reply = send(&mut partner.sink(&[]), "M1").await.unwrap().unwrap();
    assert!(reply.contains("MSA|AA|M1"));
}

#[tokio::test]
async fn an_answer_to_another_message_alone_never_delivers() {
    let partner = Partner::answering(|_, _| accept_other("OLD")).await;
    let mut sink = partner.sink(&[("ack_timeout", seconds(0.1))]);
    let error = send(&mut sink, "M1").await.unwrap_err();
    assert_eq!(error.class, FailureClass::Retry);
    assert!(error.text.contains("for another message"), "{}", error.text);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_cannot_meet_the_next_message() {
    // The first socket answers its message only when the second has been opened; both frames carry the
    // same id, as a retry does, so that the socket alone keeps the answers apart.
    let (release, gate) = tokio::sync::watch::channel(false);
    let release = Arc::new(release);
    let partner = Partner::new(move |mut peer, number| {
        let (release, mut gate) = (Arc::clone(&release), gate.clone());
        async move {
            let Some(frame) = peer.frame().await else { return };
            if number == 0 {
                gate.wait_for(|open| *open).await.unwrap();
                assert_eq!(
                    peer.rest().await,
                    b"",
                    "the sender has closed the socket it gave up"
                );
            } else {
                release.send_replace(true);
                peer.send(&reply(Code::AR, &frame)).await;
                peer.rest().await;
            }
        }
    })
    .await;
    let mut sink = partner.sink(&[("ack_timeout", seconds(0.1))]);
    assert_eq!(
        send(&mut sink, "M1").await.unwrap_err().class,
        FailureClass::Retry
    );
    assert_eq!(
        send(&mut sink, "M1").await.unwrap_err().class,
        FailureClass::Reject
    );
    assert_eq!(partner.sockets(), 2);
}

#[tokio::test]
async fn a_second_answer_that_waits_on_the_socket_is_drained_before_the_next_message() {
    for matching in [true, false] {
        let partner = Partner::answering(|frame, number| match number {
            0 => [reply(Code::AA, frame), reply(Code::AA, frame)].concat(),
            _ => reply(Code::AR, frame),
        })
        .await;
        let mut sink = partner.sink(&[("match_reply", Value::Bool(matching))]);
        send(&mut sink, "M1").await.unwrap();
        let error = send(&mut sink, "M2").await.unwrap_err();
        assert_eq!(
            error.class,
            FailureClass::Reject,
            "the AA of M1 was not taken for M2"
        );
        assert_eq!(partner.sockets(), 1);
    }
}

#[tokio::test]
async fn half_an_unasked_answer_makes_a_new_socket() {
    let partner = Partner::answering(|frame, _| {
        let answer = reply(Code::AA, frame);
        [&answer[..], &answer[..10]].concat()
    })
    .await;
    let mut sink = partner.sink(&[]);
    send(&mut sink, "M1").await.unwrap();
    send(&mut sink, "M2").await.unwrap();
    assert_eq!(partner.sockets(), 2);
}

#[tokio::test]
async fn answers_that_are_none_are_tried_again_on_a_new_socket_and_not_quoted() {
    type Answer = fn(&[u8], usize) -> Vec<u8>;
    let cases: [(&str, Answer, &str); 5] = [
        ("no hl7", |_, _| framed("SECRET nonsense"), "no acknowledgement"),
        ("no msa", |_, _| framed(&adt("SECRET")), "no acknowledgement"),
        (
            "unknown code",
            |_, _| framed("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|ZZ|SECRET\r"),
            "no acknowledgement",
        ),
        (
            "no id",
            |_, _| framed("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA\r"),
            "match_reply",
        ),
        (
            "too long",
            |_, _| framed(&"SECRET".repeat(1000)),
            "max_reply_bytes",
        ),
    ];
    for (name, answer, says) in cases {
        let partner = Partner::answering(answer).await;
        let mut sink = partner.sink(&[("max_reply_bytes", Value::Int(1000))]);
        let error = send(&mut sink, "M1").await.unwrap_err();
        assert_eq!(error.class, FailureClass::Retry, "{name}");
        assert!(
            error.text.contains(says) && !error.text.contains("SECRET"),
            "{name}: {}",
            error.text
        );
        send(&mut sink, "M1").await.unwrap_err();
        assert_eq!(partner.sockets(), 2, "{name}");
    }
}

#[tokio::test]
async fn unframed_bytes_are_no_answer() {
    let partner = Partner::answering(|_, _| b"HTTP/1.1 400 Bad Request".to_vec()).await;
    let error = send(&mut partner.sink(&[("ack_timeout", seconds(0.1))]), "M1")
        .await
        .unwrap_err();
    assert_eq!(error.class, FailureClass::Retry);
    assert!(error.text.contains("24 bytes came"), "{}", error.text);
}

#[tokio::test]
async fn without_matching_an_answer_that_names_none_counts() {
    let partner = Partner::answering(|_, _| framed("MSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA\r")).await;
    send(&mut partner.sink(&[("match_reply", Value::Bool(false))]), "M1")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_partner_that_closes_is_tried_again() {
    for (answer, says) in [
        (&b""[..], "before it answered"),
        (&b"\x0bMSH|^~"[..], "within its answer (6 bytes came)"),
    ] {
        let partner = Partner::new(move |mut peer, _| async move {
            peer.frame().await;
            peer.send(answer).await;
        })
        .await;
        let error = send(&mut partner.sink(&[]), "M1").await.unwrap_err();
        assert_eq!(error.class, FailureClass::Retry);
        assert!(error.text.contains(says), "{}", error.text);
    }
}

#[tokio::test]
async fn a_partner_that_refuses_is_named_with_advice() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut sink = sink("mllp", &[("port", Value::Int(port.into()))]).unwrap();
    let error = send(&mut sink, "M1").await.unwrap_err();
    assert_eq!(error.class, FailureClass::Retry);
    assert!(
        error.text.contains(&port.to_string()) && error.text.contains("nothing listens"),
        "{}",
        error.text
    );
}

#[tokio::test]
async fn a_socket_that_the_partner_closed_while_idle_is_replaced_without_a_failure() {
    let (closed, mut gate) = tokio::sync::watch::channel(0);
    let closed = Arc::new(closed);
    let partner = Partner::new(move |mut peer, _| {
        let closed = Arc::clone(&closed);
        async move {
            let frame = peer.frame().await.unwrap();
            peer.send(&reply(Code::AA, &frame)).await;
            drop(peer);
            closed.send_modify(|count| *count += 1);
        }
    })
    .await;
    let mut sink = partner.sink(&[]);
    for round in 1..=5 {
        send(&mut sink, "M1").await.unwrap();
        within("the close", gate.wait_for(|count| *count == round))
            .await
            .unwrap();
    }
    assert_eq!(partner.sockets(), 5);
}

#[tokio::test]
async fn a_delivery_that_is_dropped_half_way_leaves_a_clean_start() {
    let partner = Partner::new(|mut peer, number| async move {
        while let Some(frame) = peer.frame().await {
            // The first socket never answers.
            if number > 0 {
                peer.send(&reply(Code::AA, &frame)).await;
            }
        }
    })
    .await;
    let mut sink = partner.sink(&[]);
    let first = delivery(1, 1, &adt("M1"));
    tokio::time::timeout(std::time::Duration::from_millis(50), sink.deliver(&first))
        .await
        .unwrap_err();
    let reply = send(&mut sink, "M2").await.unwrap().unwrap();
    assert!(reply.contains("MSA|AA|M2"));
    assert_eq!(partner.sockets(), 2);
}

#[tokio::test]
async fn without_persistence_each_message_has_its_socket() {
    let partner = Partner::answering(accept).await;
    let mut sink = partner.sink(&[("persistent", Value::Bool(false))]);
    send(&mut sink, "M1").await.unwrap();
    send(&mut sink, "M2").await.unwrap();
    assert_eq!(partner.sockets(), 2);
}

#[tokio::test]
async fn without_an_expected_answer_handing_over_delivers() {
    let (sender, mut frames) = tokio::sync::mpsc::unbounded_channel();
    let partner = Partner::new(move |mut peer, _| {
        let sender = sender.clone();
        async move {
            while let Some(frame) = peer.frame().await {
                sender.send(frame).unwrap();
            }
        }
    })
    .await;
    let mut sink = partner.sink(&[("expect_ack", Value::Bool(false))]);
    assert_eq!(send(&mut sink, "M1").await.unwrap(), None);
    assert_eq!(
        within("the frame", frames.recv()).await.unwrap(),
        adt("M1").into_bytes()
    );
}

#[tokio::test]
async fn a_body_that_would_break_the_framing_is_our_own_fault() {
    let partner = Partner::answering(accept).await;
    let broken = delivery(1, 1, "MSH|^~\\&|\x1c\r");
    let error = partner.sink(&[]).deliver(&broken).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Internal);
    assert_eq!(partner.sockets(), 0);
}

#[tokio::test]
async fn a_body_without_control_id_takes_the_next_answer() {
    let partner = Partner::answering(|_, _| accept_other("ANY")).await;
    let raw = delivery(1, 1, "{\"no\": \"hl7\"}");
    partner.sink(&[]).deliver(&raw).await.unwrap();
}
