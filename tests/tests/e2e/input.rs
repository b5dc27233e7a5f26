//! Bad input at the door: a clear answer or none, nothing dropped in silence, and the next message passes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::mllp::{self, Heard};
use tests::wait::{self, PATIENCE};

use super::site::{Site, stop};

/// What a sender must hear for what it sent in one frame.
enum Answer {
    /// AA, and it is delivered.
    Taken,
    /// AR, and it is stored as ERROR.
    Refused,
}

fn segments(count: usize) -> Vec<u8> {
    let mut body = mllp::adt("SEGMENTS");
    for number in 1..=count {
        body.extend_from_slice(format!("NTE|{number}||made up\r").as_bytes());
    }
    body
}

fn of_size(bytes: usize) -> Vec<u8> {
    let mut body = mllp::adt("BIG");
    body.extend_from_slice(b"OBX|1|ED|PDF||");
    body.resize(bytes - 1, b'A');
    body.push(b'\r');
    body
}

fn charset(name: &str, surname: &[u8]) -> Vec<u8> {
    let head = format!(
        "MSH|^~\\&|SENDER|HOSPITAL|HOLDFAST|HOLDFAST|20260101120000||ADT^A01^ADT_A01|CHARSET|P|2.5.1||||||{name}\rPID|1||T000001||"
    );
    [head.as_bytes(), surname, b"^ALPHA\r"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_of_any_kind_gets_a_clear_answer_and_a_place_in_the_store() -> Result<()> {
    let cases: Vec<(&str, Vec<u8>, Answer)> = vec![
        (
            "binary",
            (0..=255u8).filter(|byte| ![0x0b, 0x1c].contains(byte)).collect(),
            Answer::Refused,
        ),
        ("empty", Vec::new(), Answer::Refused),
        (
            "text that is not HL7",
            b"GET / HTTP/1.1".to_vec(),
            Answer::Refused,
        ),
        ("half a header", b"MSH|".to_vec(), Answer::Refused),
        (
            "a segment before the header",
            b"PID|1\rMSH|^~\\&|A\r".to_vec(),
            Answer::Refused,
        ),
        (
            "two headers in one frame",
            [mllp::adt("TWICE"), mllp::adt("TWICE")].concat(),
            Answer::Refused,
        ),
        (
            "a line that is no segment",
            [&mllp::adt("STRAY")[..], b"line of text\r"].concat(),
            Answer::Refused,
        ),
        ("UTF-16 by name", charset("UNICODE UTF-16", b"X"), Answer::Refused),
        (
            "an unknown character set",
            charset("EBCDIC", b"M\xfcller"),
            Answer::Refused,
        ),
        (
            "a header alone",
            b"MSH|^~\\&|SENDER|HOSPITAL|HOLDFAST|HOLDFAST|20260101120000||ADT^A01|ALONE|P|2.5.1\r".to_vec(),
            Answer::Taken,
        ),
        (
            "Latin-1 that says it is UTF-8",
            charset("UNICODE UTF-8", b"M\xfcller"),
            Answer::Refused,
        ),
        ("Latin-1 by name", charset("8859/1", b"M\xfcller"), Answer::Taken),
        ("10,000 segments", segments(10_000), Answer::Taken),
        (
            "16 MiB less its frame",
            of_size(16 * 1024 * 1024 - 64),
            Answer::Taken,
        ),
    ];
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let (mut taken, mut refused) = (0, 0);
    for (case, body, answer) in cases {
        let mut line = site.line().await?;
        let (code, _) = line
            .ask(&body)
            .await
            .with_context(|| format!("{case}; the node said:\n{}", site.plan.said()))?;
        match answer {
            Answer::Taken => {
                ensure!(code == "AA", "{case}: answered {code}");
                taken += 1;
                site.delivered(taken).await.context(case)?;
            }
            Answer::Refused => {
                ensure!(code == "AR", "{case}: answered {code}");
                refused += 1;
                site.count_at("ERROR", refused).await.context(case)?;
            }
        }
        // The same connection goes on: one bad message is no reason to hang up.
        ensure!(
            line.ask(&mllp::adt("NEXT")).await.context(case)?.0 == "AA",
            "{case}: the next message"
        );
        taken += 1;
        site.delivered(taken).await.context(case)?;
    }
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_cut_short_is_neither_stored_nor_answered() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    let frame = mllp::frame(&mllp::adt("CUT"));
    line.raw(&frame[..frame.len() / 2]).await?;
    line.finish().await?;
    ensure!(
        line.hear().await? == Heard::Closed,
        "half a message must not be answered"
    );
    site.still_works().await?;
    ensure!(
        site.messages("control_id=CUT").await?.is_empty(),
        "half a message must not be stored as one"
    );
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_frame_is_refused_recorded_and_the_connection_closed() -> Result<()> {
    let site = Site::relay_with(", max_frame_bytes = 65536").await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    // The far side may close while this is being written.
    let _ = line.raw(&mllp::frame(&of_size(1024 * 1024))).await;
    let heard = line.hear().await?;
    if let Heard::Frame(_) = heard {
        ensure!(heard.acknowledgement()?.0 == "AR", "{heard:?}");
        ensure!(line.hear().await? == Heard::Closed);
    }
    site.count_at("ERROR", 1).await?;
    site.still_works().await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_between_frames_and_a_dribble_of_bytes_do_no_harm() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    line.raw(b"\r\n\r\nHELLO\0\xff").await?;
    ensure!(line.ask(&mllp::adt("AFTERJUNK")).await?.0 == "AA");
    for byte in mllp::frame(&mllp::adt("DRIBBLE")) {
        line.raw(&[byte]).await?;
    }
    ensure!(line.hear().await?.acknowledgement()? == ("AA".to_owned(), "DRIBBLE".to_owned()));
    site.delivered(2).await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_without_its_trailer_does_not_swallow_the_next_one() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    let unfinished = [&[0x0b][..], &mllp::adt("UNFINISHED")].concat();
    line.raw(&[unfinished, mllp::frame(&mllp::adt("WHOLE"))].concat())
        .await?;
    let mut answers = vec![line.hear().await?.acknowledgement()?];
    if answers[0].1 != "WHOLE" {
        answers.push(line.hear().await?.acknowledgement()?);
        ensure!(
            answers[0].0 != "AA",
            "a message without its end was accepted: {answers:?}"
        );
    }
    ensure!(
        answers.last() == Some(&("AA".to_owned(), "WHOLE".to_owned())),
        "{answers:?}"
    );
    site.delivered(1).await?;
    site.count_at("ERROR", 1).await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_stalls_in_mid_frame_is_let_go() -> Result<()> {
    let site = Site::relay_with(", read_timeout = 0.3").await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    line.raw(b"\x0bMSH|^~\\&|SLOW").await?;
    ensure!(line.hear().await? == Heard::Closed, "a stalled frame must end");
    site.still_works().await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_closed_and_the_others_go_on() -> Result<()> {
    let site = Site::relay_with(", max_connections = 2").await?;
    let node = site.plan.start().await?;
    let (mut first, mut second) = (site.line().await?, site.line().await?);
    ensure!(first.ask(&mllp::adt("C1")).await?.0 == "AA");
    ensure!(second.ask(&mllp::adt("C2")).await?.0 == "AA");
    let mut third = site.line().await?;
    ensure!(
        third.hear().await? == Heard::Closed,
        "the third connection must be closed"
    );
    ensure!(first.ask(&mllp::adt("C3")).await?.0 == "AA");
    drop(second);
    wait::until("a place to become free", PATIENCE, || async {
        ensure!(site.line().await?.ask(&mllp::adt("C4")).await?.0 == "AA");
        Ok(())
    })
    .await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbound_that_does_not_acknowledge_says_nothing() -> Result<()> {
    let feed = r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "everything", ack = "none")
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}))

@router
def everything(msg):
    return ["relay"]

@handler
def relay(msg):
    return send("OB_TEST_ADT", msg)
"#;
    let site = Site::new(feed).await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    line.send(&mllp::adt("MUTE")).await?;
    site.delivered(1).await?;
    ensure!(line.silent(Duration::from_millis(100)).await, "it answered");
    stop(node).await
}
