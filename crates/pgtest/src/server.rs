//! One server: made, started, stopped, started again, and watched.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::authority::{Authority, Certified};
use crate::database::Database;
use crate::programs;

/// How long the server may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A socket's path has room for 107 bytes, its name and that of the server's folder included.
const SOCKET_FOLDER_MAX: usize = 70;

/// What the server is told beside its defaults. Durable like a real one, small, and quick to notice things.
pub(crate) const SETTINGS: &str = "
fsync = on
full_page_writes = on
synchronous_commit = on
listen_addresses = '127.0.0.1'
max_connections = 120
shared_buffers = 128MB
max_wal_size = 2GB
min_wal_size = 256MB
log_min_messages = warning
logging_collector = off
lc_messages = 'C'
autovacuum_naptime = 10min
";

/// Waits for its standard input to end, which it does when the process that started this is gone; then
/// ends the server, by the number in its own folder, and removes the folder.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
rm -rf "$1"
"#;

/// A running server. Dropping it ends it.
pub struct Server {
    folder: PathBuf,
    /// Where the server's programs are.
    programs: PathBuf,
    port: u16,
    /// Where it speaks SQL Server's protocol too, should it be one that does.
    pub(crate) tds: Option<u16>,
    databases: AtomicU32,
    watchdog: Child,
    /// Open for as long as the server shall live.
    leash: Option<ChildStdin>,
}

/// The server that all tests of this process share. It is ended when the process is.
pub fn server() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start(""))
}

impl Server {
    /// A server of one's own, for tests that stop it or change its settings. `settings` are lines of
    /// `postgresql.conf` that come last.
    pub fn start(settings: &str) -> Server {
        let mut server = Server::without_data(programs::folder());
        server.initialise(&format!("{SETTINGS}{settings}"));
        server.launch();
        server
    }

    /// A folder that is watched; `launch` starts the server once the folder has data.
    pub(crate) fn without_data(programs: PathBuf) -> Server {
        let folder = make_folder();
        let (watchdog, leash) = watch(&folder);
        Server {
            folder,
            programs,
            port: 0,
            tds: None,
            databases: AtomicU32::new(0),
            watchdog,
            leash: Some(leash),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of the server's programs.
    pub(crate) fn command(&self, program: &str) -> Command {
        programs::command(&self.programs, program)
    }

    /// The folder of the server's programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.programs.clone()
    }

    /// Makes its data; `settings` come behind what is the default.
    pub(crate) fn initialise(&self, settings: &str) {
        let mut initdb = self.command("initdb");
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        initdb.args(["--data-checksums", "--no-sync", "--pgdata"]);
        programs::run(initdb.arg(self.data()));
        let path = self.data().join("postgresql.conf");
        let defaults = std::fs::read_to_string(&path).expect("initdb wrote its settings");
        std::fs::write(&path, format!("{defaults}{settings}\n")).expect("the settings can be written");
    }

    /// Starts it on a free port; another process may snatch that, so a few are tried.
    pub(crate) fn launch(&mut self) {
        let mut last = String::new();
        for _ in 0..5 {
            self.port = free_port();
            self.tds = self.tds.map(|_| free_port());
            match self.try_start() {
                Ok(()) => return,
                Err(said) => last = said,
            }
        }
        panic!("the server does not start: {last}");
    }

    /// Its port, and its own folder for its socket: that of a standby's settings is the primary's.
    fn options(&self) -> String {
        let tds = self.tds.map(|port| format!(" -c babelfishpg_tds.port={port}"));
        format!(
            "-p {} -k {}{}",
            self.port,
            self.folder.display(),
            tds.unwrap_or_default()
        )
    }

    fn try_start(&self) -> Result<(), String> {
        let output = self
            .pg_ctl("start")
            .args(["-o", &self.options(), "-l"])
            .arg(self.folder.join("log"))
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(std::fs::read_to_string(self.folder.join("log")).unwrap_or_default())
    }

    pub(crate) fn pg_ctl(&self, what: &str) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg(what).arg("-w").arg("-s").arg("-D").arg(self.data());
        command.args(["-t", &PATIENCE.as_secs().to_string()]);
        // What it starts must not hold these open.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Ends it the way a crash does: nothing is written any more. `start_again` recovers it.
    pub fn crash(&self) {
        let status = self.pg_ctl("stop").args(["-m", "immediate"]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the server could not be stopped"
        );
    }

    /// Starts a server that was stopped, on the same port.
    pub fn start_again(&self) {
        if let Err(said) = self.try_start() {
            panic!("the server does not start again: {said}");
        }
    }

    /// Whether it runs; one that failed may have ended by itself.
    pub fn is_running(&self) -> bool {
        self.pg_ctl("status")
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Offers TLS to all new connections. With an authority, clients may prove by its certificates who they
    /// are (see [`Server::admit`]).
    pub fn secure(&self, certified: &Certified, clients: Option<&Authority>) {
        self.write("server.crt", &certified.certificate);
        self.write("server.key", &certified.key);
        if let Some(clients) = clients {
            self.write("clients.crt", &clients.pem());
            self.set("ssl_ca_file", "clients.crt");
        }
        self.set("ssl", "on");
    }

    /// Lets in over TCP only whom these lines of `pg_hba.conf` let in; read with the next change of a setting.
    pub fn admit(&self, lines: &str) {
        self.write("pg_hba.conf", &format!("local all all trust\n{lines}\n"));
    }

    /// A file in the data folder that only the server's user can read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("the data folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        self.give(&path);
    }

    /// Makes a file or folder the server's own.
    pub fn give(&self, path: &Path) {
        if let Some(user) = programs::owner() {
            programs::run(Command::new("chown").arg("-R").arg(user).arg(path));
        }
    }

    /// Changes a setting for all sessions, and waits until the server has read it.
    pub fn set(&self, name: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.reload(name, value);
    }

    /// Takes a change back that [`Server::set`] made; `value` is what the setting was before.
    pub fn reset(&self, name: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM RESET {name}"));
        self.reload(name, value);
    }

    fn reload(&self, name: &str, value: &str) {
        let mut reload = self.command("pg_ctl");
        programs::run(reload.args(["reload", "-s", "-D"]).arg(self.data()));
        let begun = Instant::now();
        while self.sql("postgres", &format!("SHOW {name}")) != value {
            assert!(begun.elapsed() < PATIENCE, "{name} did not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs SQL in a database, over the server's own socket; answers what it selects, columns parted by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        programs::run(&mut self.psql(database, sql))
    }

    pub(crate) fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string()]);
        psql.args(["-d", database, "-c", sql]);
        psql
    }

    /// A database of one's own.
    pub fn database(&self) -> Database<'_> {
        let name = format!("case_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        Database::new(self, name)
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with its data and its log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watchdog does the work; it is waited for, so that nothing is left behind.
        self.leash = None;
        let _ = self.watchdog.wait();
    }
}

/// A folder that the server's user owns and nobody else can read. A folder for temporary files may be closed
/// to other users, and the server's is another when root runs the tests: then one that is open to all is taken.
fn make_folder() -> PathBuf {
    let parents = match std::env::var_os("PGTEST_FOLDER") {
        Some(named) => vec![PathBuf::from(named)],
        None => vec![std::env::temp_dir(), "/var/tmp".into(), "/tmp".into()],
    };
    let mut refused = Vec::new();
    for parent in parents {
        match make_folder_in(&parent) {
            Ok(folder) => return folder,
            Err(reason) => refused.push(format!("{}: {reason}", parent.display())),
        }
    }
    panic!(
        "the server's data has no place (PGTEST_FOLDER names one that its user may enter): {}",
        refused.join("; ")
    );
}

fn make_folder_in(parent: &Path) -> Result<PathBuf, String> {
    if parent.as_os_str().len() > SOCKET_FOLDER_MAX || parent.as_os_str().to_string_lossy().contains(' ') {
        return Err("the path of a socket in it would be too long, or has a space".to_owned());
    }
    let folder = tempfile::Builder::new()
        .prefix("pgtest-")
        .tempdir_in(parent)
        .map_err(|error| error.to_string())?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))
        .map_err(|error| error.to_string())?;
    if let Some(user) = programs::owner() {
        programs::run(Command::new("chown").arg(user).arg(folder.path()));
        if !programs::may_write(user, folder.path()) {
            return Err(format!("the user {user} may not enter it"));
        }
    }
    Ok(folder.keep())
}

fn watch(folder: &Path) -> (Child, ChildStdin) {
    let mut watchdog = Command::new("sh")
        .args(["-c", WATCHDOG, "pgtest-watchdog"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .expect("there is a shell");
    let leash = watchdog.stdin.take().expect("it was asked for");
    (watchdog, leash)
}

/// A port on which nothing listens, below the range of outgoing connections: a server that is stopped for a
/// while must find its own again.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 5_000;
    let start = (std::process::id() % PORTS) * 24;
    for _ in 0..PORTS {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(port).expect("they are below 65,536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 14999 on 127.0.0.1");
}
