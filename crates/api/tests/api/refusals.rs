//! What is refused before it reaches the node, each with a status, an error and what to do.

use super::site::{Site, hl7};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_question_is_answered_with_what_is_wrong() {
    let site = Site::start().await;
    for (path, status, part) in [
        ("/api/v1/messages/nonsense", 400, "3-1042"),
        ("/api/v1/messages/1-999999", 404, "1-999999"),
        ("/api/v1/messages/1-999999/body", 404, "1-999999"),
        ("/api/v1/messages/1-999999/sends/1-1/body", 404, "1-999999"),
        ("/api/v1/messages/1-1/sends/x/body", 400, "3-1042"),
        ("/api/v1/messages/1-1/../..", 404, "nothing at"),
        ("/api/v1/messages?status=NONSENSE", 400, "RECEIVED"),
        ("/api/v1/messages?limit=x", 400, "1 to 1000"),
        ("/api/v1/messages?limit=0", 400, "1 to 1000"),
        ("/api/v1/messages?limit=1001", 400, "1 to 1000"),
        ("/api/v1/messages?limit=1&limit=2", 400, "twice"),
        ("/api/v1/messages?before=7", 400, "3-1042"),
        ("/api/v1/messages?since=yesterday", 400, "RFC 3339"),
        ("/api/v1/messages?contol_id=1", 400, "did you mean `control_id`?"),
        ("/api/v1/messages?inbound=IB_ADT1", 400, "did you mean `IB_ADT`?"),
        ("/api/v1/messages?%ff=%ff", 400, "not a key"),
        ("/api/v1/messages/1-1?verbose=1", 400, "verbose"),
        (
            "/api/v1/dead-letters?stage=nowhere",
            400,
            "ingress, routed or outbound",
        ),
        ("/api/v1/dead-letters?at=nobody", 400, "nobody"),
        ("/api/v1/dead-letters?message=x", 400, "3-1042"),
        ("/api/v1/connections?x=1", 400, "`x`"),
        ("/api/v1/census?x=1", 400, "`x`"),
        ("/cluster/status?x=1", 400, "`x`"),
        ("/api/v1/mesages", 404, "did you mean `/api/v1/messages`?"),
        ("/", 404, "nothing at /"),
        ("/api/v1/dead-letters/replay", 405, "POST"),
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(
            answer.json().to_string().contains(part),
            "{path}: {}",
            answer.json()
        );
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_request_that_names_loopback_is_answered() {
    let site = Site::start().await;
    let port = site.address.port();
    for (headers, status) in [
        (format!("host: 127.0.0.1:{port}\r\n"), 200),
        (format!("host: localhost:{port}\r\n"), 200),
        ("host: [::1]\r\n".to_owned(), 200),
        (format!("host: evil.example:{port}\r\n"), 403),
        (format!("host: 127.0.0.1.evil.example:{port}\r\n"), 403),
        (format!("host: 127.0.0.1:{port}\r\nhost: evil.example\r\n"), 403),
        (String::new(), 403),
    ] {
        for path in ["/health", "/metrics", "/api/v1/messages", "/nowhere"] {
            let answer = site
                .raw(&format!(
                    "GET {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n"
                ))
                .await;
            let expected = if status == 200 && path == "/nowhere" {
                404
            } else {
                status
            };
            assert_eq!(answer.status, expected, "{path} {headers}: {answer:?}");
        }
    }
    let absolute = format!(
        "GET http://evil.example/health HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(site.raw(&absolute).await.status, 403);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_must_be_json_and_say_who_gives_it() {
    let site = Site::start().await;
    let json = "content-type: application/json\r\n";
    let actor = "x-holdfast-actor: ana\r\n";
    let long = format!("x-holdfast-actor: {}\r\n", "x".repeat(65));
    for (headers, body, status, part) in [
        (format!("{json}{actor}"), "{}".to_owned(), 200, "held"),
        (
            "content-type: Application/JSON; charset=utf-8\r\nX-Holdfast-Actor: ana\r\n".to_owned(),
            "{}".to_owned(),
            200,
            "held",
        ),
        (json.to_owned(), "{}".to_owned(), 400, "x-holdfast-actor"),
        (
            format!("{json}x-holdfast-actor:  \r\n"),
            "{}".to_owned(),
            400,
            "x-holdfast-actor",
        ),
        (format!("{json}{long}"), "{}".to_owned(), 400, "x-holdfast-actor"),
        (actor.to_owned(), "{}".to_owned(), 415, "application/json"),
        (
            format!("content-type: text/plain\r\n{actor}"),
            "{}".to_owned(),
            415,
            "application/json",
        ),
        (
            format!("content-type: application/x-www-form-urlencoded\r\n{actor}"),
            "a=1".to_owned(),
            415,
            "JSON",
        ),
        (
            format!("{json}{actor}"),
            "{\"x\": 1}".to_owned(),
            400,
            "unknown field",
        ),
        (format!("{json}{actor}"), "{".to_owned(), 400, "cannot be read"),
        (format!("{json}{actor}"), "[]".to_owned(), 400, "JSON object"),
        (
            format!("{json}{actor}"),
            format!("\"{}\"", "x".repeat(70_000)),
            413,
            "64 KiB",
        ),
    ] {
        let answer = site
            .post_with("/api/v1/connections/OB_FILES/release", &headers, &body)
            .await;
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        assert!(
            String::from_utf8_lossy(&answer.body).contains(part),
            "{headers}: {answer:?}"
        );
    }
    // A bulk replay without a word on `preview` must not replay everything.
    let answer = site.post("/api/v1/dead-letters/replay", "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("preview"));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_sent_here_by_mistake_is_not_quoted_back() {
    let site = Site::start().await;
    let message = hl7("A01", "OOPS");
    for body in [
        message.clone(),
        serde_json::to_string(&message).unwrap(),
        format!("{{\"preview\": {message:?}}}"),
    ] {
        let answer = site.post("/api/v1/dead-letters/replay", &body).await;
        assert_eq!(answer.status, 400);
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("DOE"),
            "{answer:?}"
        );
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_http_is_refused_and_harms_nobody() {
    let site = Site::start().await;
    for bytes in [
        "nonsense\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(40_000)),
    ] {
        let answer = site.raw(&bytes).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(site.get("/health").await.status, 200);
    site.end().await;
}
