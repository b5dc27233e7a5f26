//! One message and its answer.

use std::time::Duration;

use bench::client::{Client, Fault};
use bench::sink::{Behaviour, Misdeed, NakCode, When};

use crate::support::*;

const MESSAGE: &[u8] = b"MSH|^~\\&|A|B|C|D|20260102||ADT^A01|ID1|P|2.5\r";

async fn ask(what: Misdeed) -> Result<String, Fault> {
    let sink = local(Behaviour::faulty(what, When::Always)).await;
    let to = sink.addresses()[0].to_string();
    let limit = if what == Misdeed::Silence {
        Duration::from_millis(50)
    } else {
        PATIENCE
    };
    Ok(Client::connect(&to, limit).await?.exchange(MESSAGE).await?.code)
}

#[tokio::test]
async fn an_answer_comes_with_its_code_and_its_absence_with_a_reason() {
    assert_eq!(ask(Misdeed::Twice).await.unwrap(), "AA");
    assert_eq!(ask(Misdeed::Nak(NakCode::Cr)).await.unwrap(), "CR");
    assert_eq!(
        ask(Misdeed::Garbage).await.unwrap(),
        "",
        "an answer that is no acknowledgement has no code"
    );
    assert!(matches!(ask(Misdeed::Drop).await, Err(Fault::Closed)));
    assert!(matches!(ask(Misdeed::CutShort).await, Err(Fault::Closed)));
    assert!(matches!(ask(Misdeed::Silence).await, Err(Fault::TimedOut(_))));
}

#[tokio::test]
async fn the_second_copy_of_an_answer_is_not_taken_for_the_next_message() {
    let sink = local(Behaviour::faulty(Misdeed::Twice, When::Always)).await;
    let mut client = Client::connect(&sink.addresses()[0].to_string(), PATIENCE)
        .await
        .unwrap();
    for id in ["ID1", "ID2", "ID3"] {
        let message = String::from_utf8_lossy(MESSAGE).replace("ID1", id);
        let answer = client.exchange(message.as_bytes()).await.unwrap();
        assert!(answer.accepts());
        assert_eq!(
            bench::wire::reply(&answer.body).unwrap().control_id,
            id.as_bytes()
        );
    }
}

#[tokio::test]
async fn nobody_listening_is_said_with_the_address() {
    let sink = local(Behaviour::default()).await;
    let to = sink.addresses()[0].to_string();
    sink.stop().await;
    let refused = Client::connect(&to, PATIENCE).await.expect_err("nobody listens");
    assert!(refused.to_string().contains(&to));
}
