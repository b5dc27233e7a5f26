//! One partner of many hangs: the others get everything meanwhile, and it gets everything, in order, when it is back.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use bench::sink::{self, Behaviour, Misdeed, When};
use bytes::Bytes;
use tests::mllp;
use tests::wait::PATIENCE;

use super::site::{Site, stop};

const PARTNERS: usize = 50;
const MESSAGES: usize = 40;

/// Every message goes to every partner.
fn feed() -> String {
    let mut feed = format!("PARTNERS = {PARTNERS}\n");
    feed.push_str(
        r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "everything")

@router
def everything(msg):
    return ["to_all"]

@handler
def to_all(msg):
    return [send("OB_TEST%d_ADT" % number, msg) for number in range(PARTNERS)]

"#,
    );
    for number in 0..PARTNERS {
        let port = match number {
            0 => "{out}".to_owned(),
            number => format!("{{out{number}}}"),
        };
        let _ = writeln!(
            feed,
            r#"outbound("OB_TEST{number}_ADT", mllp(host = "127.0.0.1", port = {port}, ack_timeout = 1), retry = retry(backoff = 0.05, backoff_max = 0.2))"#
        );
    }
    feed
}

async fn site() -> Result<Site> {
    let options = sink::Options {
        keep_bodies: 10 * MESSAGES,
        ..sink::Options::local(PARTNERS)
    };
    Site::with_sink(&feed(), options).await
}

/// Control ids in the order of their first arrival.
fn first_seen(bodies: &[Bytes]) -> Vec<String> {
    let mut seen = Vec::new();
    for body in bodies {
        let text = String::from_utf8_lossy(body);
        let id = text.split('|').nth(9).unwrap_or_default().to_owned();
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}

async fn one_partner_hangs(site: &Site) -> Result<()> {
    let node = site.plan.start().await?;
    site.sink
        .behave(0, Behaviour::faulty(Misdeed::Hang, When::Always));
    let mut line = site.line().await?;
    let sent: Vec<String> = (0..MESSAGES).map(|number| format!("ISO{number}")).collect();
    for id in &sent {
        ensure!(line.ask(&mllp::adt(id)).await?.0 == "AA", "{id}");
    }
    // Nobody but the one that hangs is owed anything: all that were accepted are the others'.
    let others = ((PARTNERS - 1) * MESSAGES) as u64;
    site.delivered(others).await.context("the other partners")?;
    let received = site.sink.received();
    for port in &received[1..] {
        let order = first_seen(&port.bodies);
        ensure!(order == sent, "port {} got {order:?}", port.port);
    }
    ensure!(
        first_seen(&received[0].bodies).len() <= 1,
        "a fifo lane offers its first message only, until that is taken"
    );
    site.ends_as("ISO0", "ROUTED").await?;

    site.sink.behave(0, Behaviour::default());
    let all = others + MESSAGES as u64;
    let reached = site
        .sink
        .wait_until(PATIENCE, |counts| counts.accepted >= all)
        .await;
    reached.map_err(|counts| anyhow::anyhow!("{counts:?}\n{}", site.plan.said()))?;
    let order = first_seen(&site.sink.received()[0].bodies);
    ensure!(order == sent, "the partner that came back got {order:?}");
    site.count_at("PROCESSED", MESSAGES).await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_hangs_among_fifty_holds_nobody_else_up_and_loses_nothing() -> Result<()> {
    one_partner_hangs(&site().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_hangs_among_fifty_holds_nobody_else_up_on_postgresql() -> Result<()> {
    let database = pgtest::server().database();
    let mut site = site().await?;
    site.plan = site
        .plan
        .setting("HOLDFAST_STORE__BACKEND", "postgres")
        .setting("HOLDFAST_STORE__URL", &database.url());
    one_partner_hangs(&site).await
}
