//! A node on a feed of the benchmark's own: the built binary, started in a temporary folder, and what it used.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::payload::Pool;
use bench::recipe::{self, Recipe};
use tempfile::TempDir;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// How long a node may take to start, and a backlog to drain.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node that runs. Dropping it ends it and removes its folder.
pub(crate) struct Node {
    child: Child,
    folder: TempDir,
}

impl Node {
    /// Starts the node and waits until its first inbound takes connections. Settings come from the
    /// environment, so that HOLDFAST_STORE__BACKEND and HOLDFAST_STORE__URL choose the store.
    pub(crate) fn start(feed: &str, api: u16, first_inbound: u16) -> Result<Node, Failure> {
        Node::start_with(feed, api, first_inbound, &[])
    }

    /// The same with further settings, as environment variables.
    pub(crate) fn start_with(
        feed: &str,
        api: u16,
        first_inbound: u16,
        settings: &[(&str, &str)],
    ) -> Result<Node, Failure> {
        let folder = tempfile::tempdir()?;
        let site = folder.path().join("site");
        for (path, text) in [("config/feed.star", feed), ("environments/dev.toml", "")] {
            write(site.join(path), text)?;
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = Command::new(binary())
            .args(["serve", "--env", "dev", "--log", "error"])
            .args(["--api", &format!("127.0.0.1:{api}")])
            .arg("--config")
            .arg(&site)
            .arg("--data")
            .arg(folder.path().join("data"))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|fault| {
                format!(
                    "{}: {fault}; run `cargo build --release` first",
                    binary().display()
                )
            })?;
        let mut node = Node { child, folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", first_inbound)).is_err() {
            if node.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err(format!("the node does not start:\n{}", node.said()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(node)
    }

    /// CPU seconds that it used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let ticks = |at: usize| text.split(' ').nth(at).and_then(|word| word.parse::<f64>().ok());
        (ticks(13).unwrap_or(0.0) + ticks(14).unwrap_or(0.0)) / 100.0
    }

    /// What it logged.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/holdfast");
    std::env::var_os("HOLDFAST_BIN").map_or_else(|| PathBuf::from(root), PathBuf::from)
}

/// A file that only its owner may write to, as a config repository must be.
fn write(path: PathBuf, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode =
        |path: &std::path::Path, bits| std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
        for folder in folder.ancestors().take(2) {
            mode(folder, 0o755)?;
        }
    }
    std::fs::write(&path, text)?;
    mode(&path, 0o644)
}

/// Messages of about `size` bytes.
pub(crate) fn messages(size: usize) -> Result<Pool, Failure> {
    Ok(Pool::generated(&Recipe {
        kinds: vec!["ADT^A01".to_owned()],
        version: recipe::VERSION.to_owned(),
        size: Some(size),
        seed: 1,
        date: bench::stamp(std::time::SystemTime::now()),
    })?)
}

/// The arguments of the program as `name=value`, without those that cargo adds.
pub(crate) fn argument<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::args()
        .find_map(|word| word.strip_prefix(&format!("{name}="))?.parse().ok())
        .unwrap_or(default)
}
