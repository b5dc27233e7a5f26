//! A site for one test: a config repository, a store, partners that receive, a node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bench::sink::{self, Behaviour, Sink};
use bytes::{Bytes, BytesMut};
use engine::{MessageQuery, MessageView, Node, Settings};
use model::{Disposition, MessageId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Site {
    folder: TempDir,
    pub(crate) sink: Sink,
    node: Option<Arc<Node>>,
    /// Nothing is kept longer than it must be, in segments of a few rows.
    pub(crate) forgetful: bool,
    /// Days that all but bodies is kept.
    pub(crate) metadata_days: u32,
}

impl Site {
    /// `config` is Starlark; `{port0}`, `{port1}`, ... stand for the sink's ports.
    pub(crate) async fn start(config: &str, ports: usize) -> Site {
        Site::start_with(config, ports, Behaviour::default()).await
    }

    pub(crate) async fn start_with(config: &str, ports: usize, behaviour: Behaviour) -> Site {
        let options = sink::Options {
            keep_bodies: 10_000,
            ..sink::Options::local(ports)
        };
        let sink = Sink::start(options.behaving(behaviour)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut site = Site {
            folder,
            sink,
            node: None,
            forgetful: false,
            metadata_days: 0,
        };
        site.configure(config);
        site.boot().await;
        site
    }

    /// Writes the configuration; takes effect at the next boot.
    pub(crate) fn configure(&self, config: &str) {
        let mut text = config.to_owned();
        for (index, port) in self.sink.ports().iter().enumerate() {
            text = text.replace(&format!("{{port{index}}}"), &port.to_string());
        }
        let root = self.folder.path();
        for folder in ["config", "environments"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(root.join("config"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(root.join("config/feed.star"), text).unwrap();
        std::fs::write(root.join("environments/dev.toml"), "").unwrap();
    }

    pub(crate) async fn boot(&mut self) {
        let root = self.folder.path();
        let project = engine::project::load(root, "dev").unwrap_or_else(|problems| {
            panic!(
                "{}",
                problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        });
        let mut settings = Settings::default();
        settings.engine.drain_seconds = 2;
        let mut options = store::sqlite::Options::new(root.join("data"));
        if self.forgetful {
            settings.retention.days = 0;
            settings.retention.dead_letter_days = 0;
            settings.retention.check_seconds = 1;
            settings.retention.metadata_days = self.metadata_days;
            options.segment_rows_max = 20;
        }
        let store = tokio::task::spawn_blocking(|| store::sqlite::open(options))
            .await
            .unwrap()
            .unwrap();
        self.node = Some(Node::start(settings, project, Arc::new(store)).await.unwrap());
    }

    pub(crate) async fn halt(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
    }

    pub(crate) async fn reboot(&mut self) {
        self.halt().await;
        self.boot().await;
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        self.node.as_ref().expect("the node was started")
    }

    pub(crate) fn address(&self, inbound: &str) -> SocketAddr {
        let view = self
            .node()
            .connections()
            .into_iter()
            .find(|view| view.name == inbound)
            .unwrap();
        view.address
            .unwrap_or_else(|| panic!("{inbound} is not bound: {:?}", view.reason))
            .parse()
            .unwrap()
    }

    /// Sends one message and returns the reply.
    pub(crate) async fn send(&self, inbound: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(self.address(inbound)).await.unwrap();
        exchange(&mut socket, body).await
    }

    /// The messages, oldest first.
    pub(crate) async fn messages(&self) -> Vec<engine::MessageLine> {
        let query = MessageQuery {
            limit: 1000,
            ..MessageQuery::default()
        };
        let mut items = self.node().messages(&query).await.unwrap().items;
        items.reverse();
        items
    }

    /// Waits until every message that came by `inbound` stands at `expected`, in order of arrival.
    pub(crate) async fn settled(&self, inbound: &str, expected: &[Disposition]) -> Vec<MessageId> {
        let mut seen = Vec::new();
        for _ in 0..PATIENCE.as_millis() / 20 {
            let lines = self.messages().await;
            let lines: Vec<_> = lines.into_iter().filter(|line| line.inbound == inbound).collect();
            seen = lines.iter().map(|line| line.status).collect();
            if seen == expected {
                return lines.into_iter().map(|line| line.id).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{inbound}: expected {expected:?}, found {seen:?}");
    }

    /// Waits until the sink's port `index` accepted `count` messages; their control ids in order.
    pub(crate) async fn arrived(&self, index: usize, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..PATIENCE.as_millis() / 20 {
            ids = self.bodies(index).iter().map(|body| control_id(body)).collect();
            if ids.len() >= count {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("port {index}: expected {count} messages, got {ids:?}");
    }

    pub(crate) fn bodies(&self, index: usize) -> Vec<Bytes> {
        self.sink.received()[index].bodies.clone()
    }

    pub(crate) async fn view(&self, id: MessageId) -> MessageView {
        self.node()
            .message(id)
            .await
            .unwrap()
            .expect("the message exists")
    }

    pub(crate) async fn trail(&self, id: MessageId) -> Vec<String> {
        self.view(id)
            .await
            .trail
            .into_iter()
            .map(|entry| entry.what)
            .collect()
    }

    /// Waits until a connection shows this state.
    pub(crate) async fn state(&self, name: &str, state: &str) {
        let mut seen = String::new();
        for _ in 0..PATIENCE.as_millis() / 20 {
            let view = self
                .node()
                .connections()
                .into_iter()
                .find(|view| view.name == name)
                .unwrap();
            if view.state == state {
                return;
            }
            seen = format!("{} ({:?})", view.state, view.reason);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name}: expected {state}, found {seen}");
    }
}

/// An ADT message of our own making.
pub(crate) fn adt(control_id: &str, trigger: &str, patient: &str) -> String {
    format!(
        "MSH|^~\\&|REG|HOSP|HF|HF|20260105083000||ADT^{trigger}|{control_id}|P|2.5.1\rEVN|{trigger}|20260105083000\rPID|1||{patient}^^^HOSP^MR||Lindqvar^Toma||19610412|M\r"
    )
}

pub(crate) fn control_id(body: &[u8]) -> String {
    String::from_utf8_lossy(bench::wire::header_field(body, 10).unwrap_or_default()).into_owned()
}

pub(crate) async fn exchange(socket: &mut TcpStream, body: &str) -> String {
    let mut frame = Vec::new();
    bench::wire::push_frame(&mut frame, body.as_bytes());
    socket.write_all(&frame).await.unwrap();
    let mut frames = bench::wire::Frames::new(1 << 20);
    let mut buffer = BytesMut::new();
    loop {
        if let Some(reply) = frames.next(&mut buffer).unwrap() {
            return String::from_utf8_lossy(&reply).into_owned();
        }
        let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut buffer)).await;
        assert_ne!(
            read.expect("a reply in time").unwrap(),
            0,
            "the connection was closed without a reply"
        );
    }
}
