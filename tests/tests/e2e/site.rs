//! One place with a node, a partner that sends and a partner that receives.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::sink::{self, Sink};
use serde_json::Value;
use tests::mllp::Line;
use tests::node::{Node, Plan};
use tests::repository::Repository;
use tests::wait::{self, PATIENCE};
use tests::{http, mllp, ports};

/// A router and a handler that pass everything on, with short pauses between attempts.
const RELAY: &str = r#"
inbound("IB_TEST_ADT", mllp(port = {in}{in_options}), router = "everything")
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}, ack_timeout = 1), retry = retry(backoff = 0.05, backoff_max = 0.2))

@router
def everything(msg):
    return ["relay"]

@handler
def relay(msg):
    return send("OB_TEST_ADT", msg)
"#;

/// A config repository, the plan of a node for it, and a sink as its partner.
pub(super) struct Site {
    pub(super) repository: Repository,
    pub(super) plan: Plan,
    pub(super) sink: Sink,
    /// The port of the inbound.
    pub(super) inbound: u16,
}

impl Site {
    /// A site whose node passes on everything that comes.
    pub(super) async fn relay() -> Result<Site> {
        Site::relay_with("").await
    }

    /// The same with further options of the inbound's `mllp`, such as `, max_frame_bytes = 4096`.
    pub(super) async fn relay_with(options: &str) -> Result<Site> {
        Site::new(&RELAY.replace("{in_options}", options)).await
    }

    /// A site with a feed of its own; `{in}` and `{out}` in it become the two ports.
    pub(super) async fn new(feed: &str) -> Result<Site> {
        let options = sink::Options {
            keep_bodies: 1000,
            ..sink::Options::local(1)
        };
        Site::with_sink(feed, options).await
    }

    /// A site whose partner listens on several ports: `{out}`, `{out1}`, `{out2}`, ...
    pub(super) async fn with_sink(feed: &str, options: sink::Options) -> Result<Site> {
        let sink = Sink::start(options).await?;
        let inbound = ports::free();
        let mut feed = feed.replace("{in}", &inbound.to_string());
        for (index, port) in sink.ports().into_iter().enumerate() {
            let name = if index == 0 {
                "{out}".to_owned()
            } else {
                format!("{{out{index}}}")
            };
            feed = feed.replace(&name, &port.to_string());
        }
        let repository = Repository::new(&feed)?;
        let plan = Plan::new(&repository);
        Ok(Site {
            repository,
            plan,
            sink,
            inbound,
        })
    }

    /// A connection to the inbound.
    pub(super) async fn line(&self) -> Result<Line> {
        Line::connect(self.inbound).await
    }

    /// Waits until the partner has accepted `count` messages, then shows that no more came.
    pub(super) async fn delivered(&self, count: u64) -> Result<()> {
        let counts = self
            .sink
            .wait_until(PATIENCE, |counts| counts.accepted >= count)
            .await;
        let counts = counts.map_err(|counts| anyhow::anyhow!("{count} deliveries expected, got {counts:?}"));
        let counts = counts.with_context(|| format!("the node said:\n{}", self.plan.said()))?;
        ensure!(
            counts.accepted == count,
            "{count} deliveries expected, got {counts:?}"
        );
        Ok(())
    }

    /// The lines that the API lists for a filter such as `control_id=M1`.
    pub(super) async fn messages(&self, filter: &str) -> Result<Vec<Value>> {
        let answer = http::get(self.plan.api(), &format!("/api/v1/messages?{filter}")).await?;
        ensure!(
            answer.status == 200,
            "messages?{filter}: status {}: {}",
            answer.status,
            answer.body
        );
        let page = answer.json()?;
        let items = page
            .get("items")
            .and_then(Value::as_array)
            .context("a page has items")?;
        Ok(items.clone())
    }

    /// Waits until the one message with this control id stands at `disposition`; its detail.
    pub(super) async fn ends_as(&self, control_id: &str, disposition: &str) -> Result<Value> {
        let filter = format!("control_id={control_id}");
        let what = format!("{control_id} to end as {disposition}");
        let line = wait::until(&what, PATIENCE, || async {
            let lines = self.messages(&filter).await?;
            let line = lines.first().context("it is not listed")?;
            ensure!(line["status"] == disposition, "it stands at {}", line["status"]);
            Ok(line.clone())
        });
        let line = line
            .await
            .with_context(|| format!("the node said:\n{}", self.plan.said()))?;
        let id = line["id"].as_str().context("a message has an id")?;
        let answer = http::get(self.plan.api(), &format!("/api/v1/messages/{id}")).await?;
        ensure!(
            answer.status == 200,
            "messages/{id}: status {}: {}",
            answer.status,
            answer.body
        );
        answer.json()
    }

    /// Waits until so many messages stand at `disposition`.
    pub(super) async fn count_at(&self, disposition: &str, count: usize) -> Result<()> {
        let filter = format!("status={disposition}&limit=1000");
        wait::until(
            &format!("{count} messages at {disposition}"),
            PATIENCE,
            || async {
                let lines = self.messages(&filter).await?;
                ensure!(lines.len() == count, "there are {}", lines.len());
                Ok(())
            },
        )
        .await
    }

    /// Shows that the node still takes and delivers: one more good message passes.
    pub(super) async fn still_works(&self) -> Result<()> {
        let before = self.sink.counts().accepted;
        let (code, _) = self.line().await?.ask(&mllp::adt("STILLWORKS")).await?;
        ensure!(code == "AA", "a good message afterwards was answered {code}");
        self.delivered(before + 1).await
    }
}

/// Stops a node in good order and shows that it did.
pub(super) async fn stop(node: Node<'_>) -> Result<()> {
    let status = node.stop(Duration::from_secs(30)).await?;
    ensure!(
        status.success(),
        "a node that was asked to stop ended with {status}"
    );
    Ok(())
}
