//! The order in which sends leave, seen by the partner.

use model::Disposition::Processed;

use crate::site::{Site, adt, exchange};

fn feed(options: &str) -> String {
    format!(
        r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {{port0}}), {options})

@router
def route_a(msg):
    return ["to_b"]

@handler
def to_b(msg):
    return send("OB_B_ADT", msg, priority = 9 if msg.trigger == "A08" else 0)
"#
    )
}

/// Sends five messages while the outbound is held, releases it, and returns the order of arrival.
async fn order(options: &str) -> Vec<String> {
    let mut site = Site::start(&feed(options), 1).await;
    site.node().set_held("OB_B_ADT", true, "test").await.unwrap();
    for (id, trigger, patient) in [
        ("1", "A01", "P1"),
        ("2", "A08", "P2"),
        ("3", "A01", "P1"),
        ("4", "A08", "P3"),
        ("5", "A01", "P2"),
    ] {
        site.send("IB_A_ADT", &adt(id, trigger, patient)).await;
    }
    for _ in 0..500 {
        let queued = site
            .node()
            .connections()
            .iter()
            .find(|view| view.name == "OB_B_ADT")
            .unwrap()
            .queued;
        if queued == 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    site.node().set_held("OB_B_ADT", false, "test").await.unwrap();
    site.settled("IB_A_ADT", &[Processed; 5]).await;
    let ids = site.arrived(0, 5).await;
    site.halt().await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn fifo_keeps_the_order_of_arrival() {
    assert_eq!(order(r#"ordering = "fifo""#).await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lifo_sends_the_newest_first() {
    assert_eq!(
        order(r#"ordering = "lifo", concurrency = 1"#).await,
        ["5", "4", "3", "2", "1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_sends_the_highest_first_and_keeps_order_within_one() {
    assert_eq!(
        order(r#"ordering = "priority", concurrency = 1"#).await,
        ["2", "4", "1", "3", "5"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unordered_sends_all() {
    let mut ids = order(r#"ordering = "unordered", concurrency = 4"#).await;
    ids.sort();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_keeps_the_order_of_each_key() {
    let ids = order(r#"partition = "PID-3.1", concurrency = 4"#).await;
    let place = |id: &str| ids.iter().position(|seen| seen == id).unwrap();
    assert!(place("1") < place("3") && place("2") < place("5"), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_many_connections_leave_in_the_order_of_their_numbers() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 60;
    let mut site = Site::start(&feed(r#"ordering = "fifo""#), 1).await;
    let address = site.address("IB_A_ADT");
    let senders = (0..CONNECTIONS).map(|connection| async move {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        for number in 0..EACH {
            exchange(&mut socket, &adt(&format!("{connection}-{number}"), "A01", "P1")).await;
        }
    });
    futures::future::join_all(senders).await;
    site.settled("IB_A_ADT", &[Processed; CONNECTIONS * EACH]).await;
    let arrived = site.arrived(0, CONNECTIONS * EACH).await;
    let accepted: Vec<String> = site
        .messages()
        .await
        .into_iter()
        .filter_map(|line| line.control_id)
        .collect();
    assert_eq!(arrived, accepted);
    site.halt().await;
}
