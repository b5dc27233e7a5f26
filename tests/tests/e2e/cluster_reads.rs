//! What a standby answers: reads from the store, commands through the leader.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::http;
use tests::mllp::{self, Line};
use tests::wait::{self, PATIENCE};

use super::cluster::Pair;
use super::site::stop;

async fn ask(port: u16, path: &str) -> Result<Value> {
    let answer = http::get(port, path).await?;
    ensure!(
        answer.status == 200,
        "GET {path}: {} {}",
        answer.status,
        answer.body
    );
    answer.json()
}

impl Pair {
    /// Sends messages `R0`, `R1`, ... on the first lane and waits until the leader has delivered them; their ids, newest
    /// first.
    async fn delivered(&self, count: usize) -> Result<Vec<String>> {
        let mut line = Line::connect(self.load.inbounds[0]).await?;
        for number in 0..count {
            let (code, _) = line.ask(&mllp::adt(&format!("R{number}"))).await?;
            ensure!(code == "AA", "answered {code}");
        }
        let processed = wait::until("all to be processed", PATIENCE, || async {
            let page = ask(
                self.plans[0].api(),
                "/api/v1/messages?status=PROCESSED&limit=1000",
            )
            .await?;
            let items = page["items"].as_array().context("items")?.clone();
            ensure!(items.len() == count, "{} are", items.len());
            Ok(items)
        });
        let items = processed.await.with_context(|| self.said())?;
        let id = |item: &Value| item["id"].as_str().map(str::to_owned);
        items.iter().map(id).collect::<Option<_>>().context("ids")
    }
}

fn connection<'a>(connections: &'a Value, name: &str) -> Result<&'a Value> {
    let items = connections["items"].as_array().context("items")?;
    items
        .iter()
        .find(|item| item["name"] == name)
        .context("it is not listed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_reads_the_store_and_says_what_only_the_leader_knows() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let [leader, standby] = [pair.plans[0].api(), pair.plans[1].api()];
    let ids = pair.delivered(20).await?;
    let paths = [
        "/api/v1/messages?limit=7".to_owned(),
        "/api/v1/messages?control_id=R3".to_owned(),
        format!("/api/v1/messages/{}", ids[5]),
        "/api/v1/dead-letters".to_owned(),
        "/api/v1/census".to_owned(),
    ];
    for path in &paths {
        let (here, there) = (ask(leader, path).await?, ask(standby, path).await?);
        ensure!(here == there, "{path}: {here} and {there}");
    }
    ensure!(ask(standby, &paths[1]).await?["items"][0]["id"] == ids[16].as_str());
    let body = format!("/api/v1/messages/{}/body", ids[0]);
    ensure!(http::get(leader, &body).await?.body == http::get(standby, &body).await?.body);
    let search = |port| async move {
        let answer = http::post(port, "/api/v1/messages/search", &json!({ "control_id": "R7" })).await?;
        answer.json()
    };
    ensure!(search(leader).await? == search(standby).await?);

    let connections = ask(standby, "/api/v1/connections").await?;
    ensure!(
        connections["note"]
            .as_str()
            .is_some_and(|note| note.contains("`node-a` leads")),
        "{connections}"
    );
    let lane = connection(&connections, "OB_LANE0_ADT")?;
    ensure!(
        lane["state"] == "unknown" && lane["queued"].is_null() && lane["counts"].is_null(),
        "{lane}"
    );
    let refused = http::get(standby, "/api/v1/stages").await?;
    ensure!(
        refused.status == 503 && refused.body.contains("`node-a` leads"),
        "{} {}",
        refused.status,
        refused.body
    );
    let mistyped = http::get(standby, "/api/v1/messages?inbound=IB_LANE0_AD").await?;
    ensure!(
        mistyped.status == 400 && mistyped.body.contains("did you mean `IB_LANE0_ADT`"),
        "{}",
        mistyped.body
    );
    // The role changes, the answers do not.
    pair.switch_over(1, 1).await?;
    pair.leads(1).await?;
    pair.could_lead(0).await?;
    let page = ask(leader, &paths[0]).await?;
    ensure!(page == ask(standby, &paths[0]).await?, "{page}");
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_to_a_standby_is_carried_out_by_the_leader_and_leaves_both_names() -> Result<()> {
    let database = pgtest::server().database();
    let pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.start().await?;
    pair.could_lead(1).await?;
    let [leader, standby] = [pair.plans[0].api(), pair.plans[1].api()];
    let ids = pair.delivered(3).await?;

    let hold = "/api/v1/connections/OB_LANE1_ADT/hold";
    let held = http::post(standby, hold, &json!({})).await?;
    ensure!(
        held.status == 200 && held.json()?["held"] == true,
        "{} {}",
        held.status,
        held.body
    );
    for port in [leader, standby] {
        let connections = ask(port, "/api/v1/connections").await?;
        ensure!(
            connection(&connections, "OB_LANE1_ADT")?["state"] == "held",
            "{connections}"
        );
    }
    let released = http::post(standby, "/api/v1/connections/OB_LANE1_ADT/release", &json!({})).await?;
    ensure!(released.status == 200, "{}", released.body);

    let replay = format!("/api/v1/messages/{}/replay", ids[1]);
    let replayed = http::post(standby, &replay, &json!({ "from": "outbound" })).await?;
    ensure!(
        replayed.status == 200 && replayed.json()?["rows"] == 1,
        "{}",
        replayed.body
    );
    let message = ask(leader, &format!("/api/v1/messages/{}", ids[1])).await?;
    let by: Vec<&str> = message["trail"]
        .as_array()
        .context("trail")?
        .iter()
        .filter_map(|entry| entry["by"].as_str())
        .collect();
    ensure!(by == ["e2e at node-b"], "{message}");

    // What the leader refuses, and what is no command, is refused in the same words.
    for (path, body, status, said) in [
        (
            "/api/v1/connections/OB_LANE1_AD/hold",
            json!({}),
            404,
            "did you mean `OB_LANE1_ADT`",
        ),
        (hold, json!({ "why": "rain" }), 400, "unknown field"),
        (hold, json!([]), 400, "a command is a JSON object"),
    ] {
        for port in [leader, standby] {
            let refused = http::post(port, path, &body).await?;
            ensure!(
                refused.status == status && refused.body.contains(said),
                "{path} {body}: {} {}",
                refused.status,
                refused.body
            );
        }
    }
    stop(second).await?;
    stop(first).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_no_leader_takes_up_is_withdrawn_and_nothing_comes_of_it() -> Result<()> {
    let database = pgtest::server().database();
    let mut pair = Pair::on(&database.url()).await?;
    let [first, second] = pair.plans;
    pair.plans = [first, second.setting("HOLDFAST_CLUSTER__PROMOTABLE", "false")];
    // The tables and names are there; nobody leads.
    let leader = pair.plans[0].start().await?;
    pair.leads(0).await?;
    stop(leader).await?;
    let alone = pair.plans[1].spawn()?;
    let standby = pair.plans[1].api();
    let answers = wait::until("the standby to answer", PATIENCE, || async {
        ask(standby, "/api/v1/census").await
    });
    answers.await.with_context(|| pair.said())?;
    let refused = http::post(standby, "/api/v1/connections/OB_LANE1_ADT/hold", &json!({})).await?;
    ensure!(
        refused.status == 503 && refused.body.contains("nothing was done"),
        "{} {}",
        refused.status,
        refused.body
    );
    let leader = pair.plans[0].start().await?;
    pair.leads(0).await?;
    // A command given now is taken up behind it: the one that was withdrawn is not.
    let held = http::post(standby, "/api/v1/connections/OB_LANE2_ADT/hold", &json!({})).await?;
    ensure!(held.status == 200, "{}", held.body);
    let connections = ask(pair.plans[0].api(), "/api/v1/connections").await?;
    ensure!(
        connection(&connections, "OB_LANE1_ADT")?["state"] == "running"
            && connection(&connections, "OB_LANE2_ADT")?["state"] == "held",
        "{connections}"
    );
    stop(alone).await?;
    stop(leader).await
}
