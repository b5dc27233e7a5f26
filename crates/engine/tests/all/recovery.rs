//! What a start finds and does with it.

use model::Disposition::{Processed, Routed};

use crate::site::{Site, adt};

const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}))
outbound("OB_C_ADT", mllp(host = "127.0.0.1", port = {port1}))

@router
def route_a(msg):
    return ["to_both"]

@handler
def to_both(msg):
    return [send("OB_B_ADT", msg), send("OB_C_ADT", msg)]
"#;

const WITHOUT_C: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}))

@router
def route_a(msg):
    return ["to_both"]

@handler
def to_both(msg):
    return send("OB_B_ADT", msg)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_outbound_that_left_the_configuration_are_held_and_shown_and_go_on_when_it_returns() {
    let mut site = Site::start(FEED, 2).await;
    site.node().set_held("OB_C_ADT", true, "test").await.unwrap();
    for id in ["1", "2"] {
        site.send("IB_A_ADT", &adt(id, "A01", "P1")).await;
    }
    site.arrived(0, 2).await;
    site.settled("IB_A_ADT", &[Routed, Routed]).await;
    site.configure(WITHOUT_C);
    site.reboot().await;
    let status = site.node().cluster_status().await.unwrap();
    assert_eq!(status.held_orphans.get("OB_C_ADT"), Some(&2));
    let id = site.messages().await[0].id;
    let waiting = site.view(id).await.waiting;
    assert!(
        waiting[0].contains("OB_C_ADT is not in the configuration"),
        "{waiting:?}"
    );
    site.settled("IB_A_ADT", &[Routed, Routed]).await;
    site.configure(FEED);
    site.reboot().await;
    site.node().set_held("OB_C_ADT", false, "test").await.unwrap();
    site.settled("IB_A_ADT", &[Processed, Processed]).await;
    assert_eq!(site.arrived(1, 2).await, ["1", "2"]);
    assert_eq!(site.arrived(0, 2).await, ["1", "2"], "nothing was sent twice");
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_outbound_left_the_configuration_can_be_skipped_and_sent_elsewhere() {
    let mut site = Site::start(FEED, 2).await;
    site.node().set_held("OB_C_ADT", true, "test").await.unwrap();
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    site.arrived(0, 1).await;
    site.settled("IB_A_ADT", &[Routed]).await;
    site.configure(WITHOUT_C);
    site.reboot().await;
    let held = |site: &Site| {
        let views = site.node().connections();
        let held = views.into_iter().find(|view| view.name == "OB_C_ADT");
        held.map(|view| (view.state, view.queued))
    };
    assert_eq!(held(&site), Some(("held", 1)));
    let id = site.messages().await[0].id;
    let sends = site.view(id).await.sends;
    let send = sends
        .iter()
        .find(|send| send.destination == "OB_C_ADT")
        .unwrap()
        .id;
    let (once, twice) = tokio::join!(
        site.node().skip(send, id, "anna"),
        site.node().skip(send, id, "ben")
    );
    assert!(once.is_ok() != twice.is_ok(), "{once:?} {twice:?}");
    site.settled("IB_A_ADT", &[model::Disposition::Error]).await;
    assert_eq!(held(&site), None);
    let left = site.node().dead_letters(&Default::default()).await.unwrap();
    assert!(left.items.len() <= 1);
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_is_a_new_epoch_and_the_lease_row_says_so() {
    let mut site = Site::start(FEED, 2).await;
    let first = site.node().cluster_status().await.unwrap();
    assert!(first.lease_held);
    assert_eq!(first.lease_owner.as_deref(), Some("node-1"));
    site.reboot().await;
    let second = site.node().cluster_status().await.unwrap();
    assert_eq!(second.epoch.0, first.epoch.0 + 1);
    assert_ne!(second.term, first.term);
    site.halt().await;
}
