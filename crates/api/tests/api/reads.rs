//! Listings, details, bodies, counts.

use api::wire::{Census, Connections, DeadLetter, MessageLine, Page, Stages, Time};

use super::site::{Site, hl7};

async fn ids(site: &Site, query: &str) -> Vec<String> {
    let page: Page<MessageLine> = site
        .client
        .get_json(&format!("/api/v1/messages{query}"))
        .await
        .unwrap();
    page.items
        .into_iter()
        .map(|line| line.control_id.unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_and_handler_is_listed_with_its_role() {
    let site = Site::start().await;
    let connections: Connections = site.client.get_json("/api/v1/connections").await.unwrap();
    let listed: Vec<_> = connections
        .items
        .iter()
        .map(|item| (item.role.as_str(), item.name.as_str()))
        .collect();
    let handlers = ["broken", "change", "mute", "plain", "stuck"].map(|name| ("handler", name));
    let outbounds = [("outbound", "OB_DEAD"), ("outbound", "OB_FILES")];
    assert_eq!(
        listed,
        [&[("inbound", "IB_ADT")], &handlers[..], &outbounds[..]].concat()
    );
    site.send_until("A01", "C1", "PROCESSED").await;
    let inbound = site.connection("IB_ADT").await;
    assert_eq!(
        (
            inbound.connector.as_str(),
            inbound.state.as_str(),
            inbound.counts.unwrap().received
        ),
        ("mllp", "running", 1)
    );
    assert_eq!(site.connection("OB_FILES").await.counts.unwrap().delivered, 1);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_listed_newest_first_by_filter_and_in_pages() {
    let site = Site::start().await;
    site.send_until("A01", "M1", "PROCESSED").await;
    site.send_until("A03", "M2", "FILTERED").await;
    let third = site.send_until("A99", "M3", "UNROUTED").await;
    let (received, after) = (
        third.received_at,
        Time(model::Timestamp(third.received_at.0.0 + 1)),
    );
    for (query, expected) in [
        ("", vec!["M3", "M2", "M1"]),
        ("?status=PROCESSED", vec!["M1"]),
        ("?status=filtered", vec!["M2"]),
        ("?control_id=M3", vec!["M3"]),
        ("?control_id=M", vec![]),
        ("?type=ADT", vec!["M3", "M2", "M1"]),
        ("?type=ADT%5EA03", vec!["M2"]),
        (
            "?inbound=IB_ADT&status=UNROUTED&type=ADT%5EA99&control_id=M3",
            vec!["M3"],
        ),
        (&format!("?since={received}"), vec!["M3"]),
        (&format!("?since={}", received.0.0), vec!["M3"]),
        (&format!("?until={received}"), vec!["M2", "M1"]),
        (&format!("?since={after}"), vec![]),
    ] {
        assert_eq!(ids(&site, query).await, expected, "{query}");
    }
    let first: Page<MessageLine> = site.client.get_json("/api/v1/messages?limit=2").await.unwrap();
    let next = first.next.expect("there is one more");
    assert_eq!(ids(&site, &format!("?limit=2&before={next}")).await, ["M1"]);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_found_by_a_key_in_the_body_of_a_search() {
    let site = Site::start().await;
    site.send_until("A01", "K1", "PROCESSED").await;
    site.send_until("A03", "K2", "FILTERED").await;
    let search = async |body: &str| {
        let answer = site
            .post_with(
                "/api/v1/messages/search",
                "content-type: application/json\r\n",
                body,
            )
            .await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        let page: Page<MessageLine> = serde_json::from_slice(&answer.body).unwrap();
        page.items
            .into_iter()
            .map(|line| line.control_id.unwrap())
            .collect::<Vec<_>>()
    };
    let mrn = |rest: &str| format!("{{\"key\": {{\"name\": \"mrn\", \"value\": \" 4711\"}}{rest}}}");
    assert_eq!(search(&mrn("")).await, ["K2", "K1"]);
    assert_eq!(search(&mrn(", \"limit\": 1")).await, ["K2"]);
    assert_eq!(search(&mrn(", \"status\": \"processed\"")).await, ["K1"]);
    assert_eq!(search(&mrn(", \"destination\": \"OB_FILES\"")).await, ["K1"]);
    assert_eq!(search(&mrn(", \"destination\": \"OB_DEAD\"")).await, [""; 0]);
    assert_eq!(search(&mrn("").replace("4711", "47")).await, [""; 0]);
    assert_eq!(search("{}").await, ["K2", "K1"]);
    assert_eq!(
        search("{\"type\": \"ADT^A03\", \"control_id\": \"K2\"}").await,
        ["K2"]
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_cannot_be_meant_is_refused() {
    let site = Site::start().await;
    let json = "content-type: application/json\r\n";
    for (headers, body, status, part) in [
        (
            json,
            "{\"key\": {\"name\": \"mnr\", \"value\": \"4711\"}}",
            400,
            "the inbounds declare mrn",
        ),
        (
            json,
            "{\"key\": {\"name\": \"mrn\", \"value\": \" \"}}",
            400,
            "has no value",
        ),
        (json, "{\"mrn\": \"4711\"}", 400, "unknown field `mrn`"),
        (json, "{\"inbound\": \"IB_ADT1\"}", 400, "did you mean `IB_ADT`?"),
        (
            json,
            "{\"destination\": \"OB_FILE\"}",
            400,
            "did you mean `OB_FILES`?",
        ),
        (json, "{\"limit\": 1001}", 400, "1 to 1000"),
        (json, "{\"since\": \"yesterday\"}", 400, "RFC 3339"),
        ("", "{}", 415, "JSON"),
    ] {
        let answer = site.post_with("/api/v1/messages/search", headers, body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        let text = answer.json().to_string();
        assert!(text.contains(part) && !text.contains("4711"), "{body}: {text}");
    }
    for query in ["key=mrn:4711", "mrn=4711"] {
        let answer = site.get(&format!("/api/v1/messages?{query}")).await;
        let text = answer.json().to_string();
        assert_eq!(answer.status, 400, "{text}");
        assert!(
            text.contains("/api/v1/messages/search") && !text.contains("4711"),
            "{text}"
        );
    }
    assert_eq!(
        site.get("/api/v1/messages?destination=OB_FILES").await.status,
        200
    );
    assert_eq!(site.get("/api/v1/messages/search").await.status, 405);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_tells_its_story_with_times_that_people_read() {
    let site = Site::start().await;
    let line = site.send_until("A01", "STORY", "PROCESSED").await;
    let answer = site.get(&format!("/api/v1/messages/{}", line.id)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    let story = answer.json();
    let what: Vec<_> = story["trail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["what"].as_str().unwrap())
        .collect();
    for step in ["received", "routed", "transformed", "delivered", "disposition"] {
        assert!(what.contains(&step), "{step} is missing in {what:?}");
    }
    for time in story["trail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["at"])
        .chain([&story["received_at"]])
    {
        let time = time.as_str().expect("times are texts");
        assert!(
            time.starts_with("20") && time.ends_with('Z') && time.parse::<Time>().is_ok(),
            "{time}"
        );
    }
    assert_eq!(story["type"], "ADT^A01");
    assert_eq!(story["sends"][0]["state"], "delivered");
    assert_eq!(story["sends"][0]["transformed"], true);
    assert_eq!(story["waiting"].as_array().unwrap().len(), 0);
    assert!(
        !String::from_utf8(answer.body).unwrap().contains("DOE"),
        "bodies are asked for on their own"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_says_why() {
    let site = Site::start().await;
    let message = site.send_stuck("WAITS").await;
    assert!(
        message.waiting.iter().any(|reason| reason.contains("OB_DEAD")),
        "{message:?}"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_come_back_byte_for_byte() {
    let site = Site::start().await;
    for (trigger, control_id, sent) in [
        ("A01", "B1", hl7("A01", "B1").replace("|HF|HF|", "|LAB|HF|")),
        ("A02", "B2", hl7("A02", "B2")),
    ] {
        let id = site.send_until(trigger, control_id, "PROCESSED").await.id;
        let answer = site.get(&format!("/api/v1/messages/{id}/body")).await;
        assert_eq!(answer.body, hl7(trigger, control_id).into_bytes(), "{trigger}");
        for header in ["content-type: application/octet-stream", "attachment", "nosniff"] {
            assert!(answer.head.contains(header), "{}", answer.head);
        }
        let send = site.message(&id.to_string()).await.sends[0].id;
        let left = site
            .client
            .get_bytes(&format!("/api/v1/messages/{id}/sends/{send}/body"))
            .await
            .unwrap();
        assert_eq!(left, sent.as_bytes(), "{trigger}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_by_filter_and_counted() {
    let site = Site::start().await;
    let first = site.send_until("A04", "D1", "ERROR").await;
    site.send_until("A04", "D2", "ERROR").await;
    site.send_until("A01", "D3", "PROCESSED").await;
    for (query, count) in [
        (String::new(), 2),
        ("?stage=routed".to_owned(), 2),
        ("?stage=Outbound".to_owned(), 0),
        ("?at=broken".to_owned(), 2),
        ("?at=OB_DEAD".to_owned(), 0),
        (format!("?message={}", first.id), 1),
        ("?limit=1".to_owned(), 1),
    ] {
        let page: Page<DeadLetter> = site
            .client
            .get_json(&format!("/api/v1/dead-letters{query}"))
            .await
            .unwrap();
        assert_eq!(page.items.len(), count, "{query}");
        if let Some(next) = page.next {
            let rest: Page<DeadLetter> = site
                .client
                .get_json(&format!("/api/v1/dead-letters?after={next}"))
                .await
                .unwrap();
            assert_eq!(rest.items.len(), 1);
        }
        for dead in page.items {
            assert!(dead.at == "broken" && dead.reason.contains("no bed"), "{dead:?}");
        }
    }
    let census: Census = site.client.get_json("/api/v1/census").await.unwrap();
    assert_eq!(
        (
            census.messages,
            census.sends,
            census.delivered,
            census.dead_letters
        ),
        (3, 1, 1, 2)
    );
    assert_eq!(census.dispositions.get("ERROR"), Some(&2));
    assert_eq!(census.dispositions.get("PROCESSED"), Some(&1));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_of_a_messages_way_is_timed_once() {
    let site = Site::start().await;
    let before: Stages = site.client.get_json("/api/v1/stages").await.unwrap();
    assert!(
        before.stages.iter().all(|stage| stage.nanos.count == 0),
        "{before:?}"
    );
    site.send_until("A01", "TIMED1", "PROCESSED").await;
    let after: Stages = site.client.get_json("/api/v1/stages").await.unwrap();
    let counts: Vec<_> = after
        .stages
        .iter()
        .map(|stage| (stage.stage.as_str(), stage.nanos.count))
        .collect();
    let names = [
        "receive",
        "accept_commit",
        "route_wait",
        "route",
        "route_commit",
        "transform_wait",
        "transform",
        "transform_commit",
        "send_wait",
        "send",
        "outcome_commit",
    ];
    assert_eq!(counts, names.map(|name| (name, 1)));
    // Other tests of this process commit too.
    let commits = after.commit_units.since(&before.commit_units).count;
    assert!(commits >= 5, "{commits} commits");
    for kind in ["message", "routed", "outbound", "outcome", "disposition"] {
        assert!(after.commit_rows[kind].count >= 1, "{kind}");
    }
    site.end().await;
}
