//! Where messages end, and what their trail says.

use model::Disposition::{Error, Filtered, Processed, Unrouted};

use crate::site::{Site, adt};

const FEED: &str = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}))
outbound("OB_C_ADT", mllp(host = "127.0.0.1", port = {port1}))

@router
def route_a(msg):
    if msg.trigger == "A99":
        fail("the router does not know A99")
    if msg.trigger == "A20":
        return []
    return ["to_b", "to_c"]

@handler
def to_b(msg):
    if msg.trigger == "A03":
        return None
    if msg.trigger == "A11":
        fail("cannot cancel")
    msg["MSH-5"] = "B"
    return send("OB_B_ADT", msg)

@handler
def to_c(msg):
    if msg.trigger == "A03":
        return None
    return send("OB_C_ADT", msg)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_message_ends_where_its_functions_say() {
    let mut site = Site::start(FEED, 2).await;
    ends_where_its_functions_say(&site, 0).await;
    site.halt().await;
}

/// Functions that are known to be quick run in one go, and what they lead to is written in one.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_ends_the_same_when_router_and_handlers_go_in_one_handoff() {
    let mut site = Site::start(FEED, 2).await;
    let mut before = 0;
    // How many batches so many messages make is the machine's business.
    while in_one_handoff(&site) < 20 {
        assert!(before < 800, "no message went in one handoff");
        for _ in 0..100 {
            before += 1;
            site.send("IB_A_ADT", &adt("0", "A03", "P1")).await;
        }
        site.settled("IB_A_ADT", &vec![Filtered; before]).await;
    }
    let one_by_one = in_one_handoff(&site);
    ends_where_its_functions_say(&site, before).await;
    assert!(
        in_one_handoff(&site) > one_by_one,
        "none of these went in one handoff"
    );
    site.halt().await;
}

/// Messages that did not wait between their router and their handlers.
fn in_one_handoff(site: &Site) -> u64 {
    let times = site.node().stage_times();
    let commits = times.iter().find(|times| times.stage == "route_commit").unwrap();
    commits.nanos.at_most(0)
}

/// Six messages of every kind, behind so many that were filtered.
async fn ends_where_its_functions_say(site: &Site, before: usize) {
    for (id, trigger) in [
        ("1", "A01"),
        ("2", "A20"),
        ("3", "A03"),
        ("4", "A11"),
        ("5", "A99"),
        ("6", "A01"),
    ] {
        let reply = site.send("IB_A_ADT", &adt(id, trigger, "P1")).await;
        assert!(reply.contains(&format!("MSA|AA|{id}")), "{reply}");
    }
    let ids = site
        .settled(
            "IB_A_ADT",
            &[
                vec![Filtered; before],
                vec![Processed, Unrouted, Filtered, Error, Error, Processed],
            ]
            .concat(),
        )
        .await
        .split_off(before);
    assert_eq!(site.arrived(0, 2).await, ["1", "6"]);
    assert_eq!(
        site.arrived(1, 3).await,
        ["1", "4", "6"],
        "a failed handler does not stop its sibling"
    );
    assert_eq!(
        site.trail(ids[0]).await,
        [
            "received",
            "routed",
            "transformed",
            "transformed",
            "delivered",
            "delivered",
            "disposition"
        ]
    );
    let failed = site.view(ids[3]).await;
    let reason = failed
        .trail
        .iter()
        .find(|entry| entry.what == "dead-lettered")
        .unwrap();
    assert!(
        reason.detail.contains("cannot cancel") && reason.detail.contains("feed.star"),
        "{}",
        reason.detail
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_message_is_delivered_byte_for_byte_and_stored_once() {
    let mut site = Site::start(FEED, 2).await;
    let body = adt("1", "A01", "P1");
    site.send("IB_A_ADT", &body).await;
    let ids = site.settled("IB_A_ADT", &[Processed]).await;
    assert_eq!(site.bodies(1)[0], body.as_bytes());
    let sends = site.view(ids[0]).await.sends;
    let mut transformed: Vec<_> = sends
        .iter()
        .map(|send| (send.destination.as_str(), send.transformed))
        .collect();
    transformed.sort(); // handlers run side by side
    assert_eq!(transformed, [("OB_B_ADT", true), ("OB_C_ADT", false)]);
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hl7_is_refused_and_still_shown() {
    let mut site = Site::start(FEED, 2).await;
    let reply = site.send("IB_A_ADT", "hello, is this the laboratory?").await;
    assert!(reply.contains("MSA|AR|"), "{reply}");
    let ids = site.settled("IB_A_ADT", &[Error]).await;
    assert_eq!(site.trail(ids[0]).await[..2], ["received", "rejected"]);
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_inbound_refuses_what_lacks_a_required_field_and_says_where() {
    let strict = FEED.replace(r#"router = "route_a")"#, r#"router = "route_a", strict = True)"#);
    let mut site = Site::start(&strict, 2).await;
    let body = adt("1", "A01", "P1").replace("||Lindqvar^Toma", "||");
    let reply = site.send("IB_A_ADT", &body).await;
    assert!(reply.contains("MSA|AE|1") && reply.contains("ERR|"), "{reply}");
    let unknown = adt("2", "A99", "P1");
    let reply = site.send("IB_A_ADT", &unknown).await;
    assert!(reply.contains("MSA|AR|2") && reply.contains("|201"), "{reply}");
    site.settled("IB_A_ADT", &[Error, Error]).await;
    site.halt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_becomes_many_through_a_passthrough_and_a_reply_feeds_a_loopback() {
    let config = r#"
inbound("IB_A_ADT", mllp(port = 0), router = "route_a")
inbound("IB_PARTS_ADT", passthrough(), router = "route_parts")
inbound("IB_REPLY_ACK", loopback(), router = "route_replies")
outbound("OB_B_ADT", mllp(host = "127.0.0.1", port = {port0}), reply_to = "IB_REPLY_ACK")

@router
def route_a(msg):
    return ["split"]

@handler
def split(msg):
    parts = []
    for number in range(3):
        part = msg.copy()
        part["MSH-10"] = msg.control_id + "." + str(number)
        parts.append(send("IB_PARTS_ADT", part))
    return parts

@router
def route_parts(msg):
    return ["to_b"]

@handler
def to_b(msg):
    return send("OB_B_ADT", msg)

@router
def route_replies(msg):
    return []
"#;
    let mut site = Site::start(config, 1).await;
    site.send("IB_A_ADT", &adt("1", "A01", "P1")).await;
    site.settled("IB_A_ADT", &[Processed]).await;
    let parts = site
        .settled("IB_PARTS_ADT", &[Processed, Processed, Processed])
        .await;
    site.settled("IB_REPLY_ACK", &[Unrouted, Unrouted, Unrouted])
        .await;
    assert_eq!(site.arrived(0, 3).await, ["1.0", "1.1", "1.2"]);
    let lines = site.messages().await;
    let reply = lines.iter().find(|line| line.inbound == "IB_REPLY_ACK").unwrap();
    assert_eq!(reply.parent, Some(parts[0]));
    site.halt().await;
}
