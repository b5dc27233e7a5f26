//! A node with its API, a sender that speaks MLLP, and raw requests for what no proper client would send.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::client::Client;
use api::wire::{Connection, Connections, Message, MessageLine, Page};
use engine::{Node, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What each trigger leads to: A01 is changed and delivered, A02 delivered as it is, A03 filtered, A04 fails in
/// its handler, A05 waits for a partner that refuses the connection; all others are unrouted.
const FEED: &str = r#"
inbound("IB_ADT", mllp(port = 0), router = "by_trigger")
outbound("OB_FILES", file(directory = "{folder}", filename = "{send}.hl7"))
outbound("OB_DEAD", mllp(host = "127.0.0.1", port = {port}), retry = retry(backoff = 3600, backoff_max = 3600))

PLACES = {"A01": ["change"], "A02": ["plain"], "A03": ["mute"], "A04": ["broken"], "A05": ["stuck"]}

@router
def by_trigger(msg):
    return PLACES.get(msg.trigger, [])

@handler
def change(msg):
    msg["MSH-5"] = "LAB"
    return send("OB_FILES", msg)

@handler
def plain(msg):
    return send("OB_FILES", msg)

@handler
def mute(msg):
    return None

@handler
def broken(msg):
    fail("no bed")

@handler
def stuck(msg):
    return send("OB_DEAD", msg)
"#;

/// In whose name the tests act.
pub(super) const ACTOR: &str = "ana";
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Site {
    pub(super) node: Arc<Node>,
    pub(super) client: Client,
    /// Of the API.
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) serving: JoinHandle<std::io::Result<()>>,
    /// Holds the port of the partner that refuses: bound, never listening.
    _refusing: TcpSocket,
    _folder: TempDir,
}

/// An answer to a raw request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One node alone.
pub(super) fn seat(node: &Arc<Node>) -> Arc<api::Seat> {
    let about = api::About {
        node: "node-1".to_owned(),
        environment: "dev".to_owned(),
        posture: model::Posture::Development,
        fingerprint: String::new(),
        started_at: model::Timestamp(0),
    };
    api::Seat::alone(about, Arc::clone(node))
}

impl Site {
    pub(super) async fn start() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = refusing.local_addr().unwrap().port();
        write_repository(folder.path(), port);
        let metrics = api::telemetry::install();
        let mut settings = Settings::default();
        settings.engine.code_threads = 2;
        settings.engine.drain_seconds = 2;
        let project = engine::project::load(&folder.path().join("repository"), "dev").unwrap();
        let store = store::sqlite::open(store::sqlite::Options::new(folder.path().join("data"))).unwrap();
        let node = Node::start(settings, project, Arc::new(store)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(api::serve(listener, seat(&node), metrics, stop.clone()));
        let client = Client::new(&format!("http://{address}")).unwrap();
        Site {
            node,
            client,
            address,
            stop,
            serving,
            _refusing: refusing,
            _folder: folder,
        }
    }

    /// Sends a message with this trigger and waits for its acknowledgement.
    pub(super) async fn send(&self, trigger: &str, control_id: &str) {
        let inbound = self
            .connection("IB_ADT")
            .await
            .address
            .expect("the inbound is bound");
        let inbound = inbound.rsplit(' ').next().unwrap().to_owned();
        let mut stream = TcpStream::connect(&inbound).await.unwrap();
        stream
            .write_all(&[b"\x0b", hl7(trigger, control_id).as_bytes(), b"\x1c\r"].concat())
            .await
            .unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\x1c\r") {
            assert_ne!(
                stream.read_buf(&mut reply).await.unwrap(),
                0,
                "the inbound closed without an answer"
            );
        }
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.contains(&format!("MSA|AA|{control_id}")), "{reply}");
    }

    /// Sends a message and waits until it stands at `status`; its line.
    pub(super) async fn send_until(&self, trigger: &str, control_id: &str, status: &str) -> MessageLine {
        self.send(trigger, control_id).await;
        self.ends_as(control_id, status).await
    }

    /// Waits until the message stands at `status`.
    pub(super) async fn ends_as(&self, control_id: &str, status: &str) -> MessageLine {
        let path = format!("/api/v1/messages?control_id={control_id}");
        self.until(&format!("{control_id} to stand at {status}"), async || {
            let page: Page<MessageLine> = self.client.get_json(&path).await.unwrap();
            page.items
                .into_iter()
                .next()
                .filter(|line| line.status.as_str() == status)
        })
        .await
    }

    /// Sends a message to the partner that refuses, and waits until its send stands in the lane for a retry.
    pub(super) async fn send_stuck(&self, control_id: &str) -> Message {
        self.send("A05", control_id).await;
        let path = format!("/api/v1/messages?control_id={control_id}");
        let page: Page<MessageLine> = self.client.get_json(&path).await.unwrap();
        let line = &page.items[0]; // acknowledged, so it is listed
        self.until("the send to wait for a retry", async || {
            let waits = self.connection("OB_DEAD").await.state == "waiting";
            let message = self.message(&line.id.to_string()).await;
            (waits && !message.sends.is_empty()).then_some(message)
        })
        .await
    }

    pub(super) async fn message(&self, id: &str) -> Message {
        self.client
            .get_json(&format!("/api/v1/messages/{id}"))
            .await
            .unwrap()
    }

    pub(super) async fn connection(&self, name: &str) -> Connection {
        let connections: Connections = self.client.get_json("/api/v1/connections").await.unwrap();
        let found = connections
            .items
            .into_iter()
            .find(|connection| connection.name == name);
        found.unwrap_or_else(|| panic!("{name} is not listed"))
    }

    /// Asks again and again until there is an answer.
    pub(super) async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(answer) = ask().await {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// A GET with the right Host header.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    /// A command as it should be sent.
    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        let headers = format!("content-type: application/json\r\nx-holdfast-actor: {ACTOR}\r\n");
        self.post_with(path, &headers, body).await
    }

    /// A command with these headers.
    pub(super) async fn post_with(&self, path: &str, headers: &str, body: &str) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.raw(&(head + body)).await
    }

    /// Any bytes; the answer until the server closes.
    pub(super) async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
            .await
            .expect("an answer")
            .unwrap();
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        self.node.stop().await;
    }
}

/// The message that [`Site::send`] sends.
pub(super) fn hl7(trigger: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|REG|HOSP|HF|HF|20260201083000||ADT^{trigger}|{control_id}|P|2.5\rPID|1||4711^^^H||DOE^JANE\r"
    )
}

fn write_repository(folder: &Path, port: u16) {
    let root = folder.join("repository");
    let files = folder.join("files");
    for directory in [&root.join("config"), &root.join("environments"), &files] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let feed = FEED
        .replace("{folder}", &files.display().to_string())
        .replace("{port}", &port.to_string());
    std::fs::write(root.join("config/feed.star"), feed).unwrap();
    std::fs::write(root.join("environments/dev.toml"), "").unwrap();
}
