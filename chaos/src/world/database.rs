//! Two PostgreSQL servers, of which the second may follow the first synchronously. They run as a user without rights,
//! offer TLS with a certificate of the run's own authority, and keep their data in the run's folder, or on a small file
//! system of their own when a fault is going to fill it.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pgtest::Authority;
use rustix::process::Signal;

use super::names::{Host, Names};
use super::net;
use crate::clean;
use crate::shell;

/// The database, and the role that the nodes use: it may do nothing special.
pub const NAME: &str = "holdfast";
const PATIENCE: Duration = Duration::from_secs(40);
/// Sessions that the server takes.
pub const CONNECTIONS_MAX: u32 = 60;

/// One server.
#[derive(Debug)]
pub struct Server {
    names: Names,
    index: usize,
    folder: PathBuf,
    child: Option<Child>,
    /// More environment, such as that of a false clock.
    pub environment: Vec<(String, String)>,
}

fn programs() -> Result<PathBuf> {
    let named = Command::new("pg_config").arg("--bindir").output().ok();
    let named = named.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut folders: Vec<PathBuf> = named.into_iter().collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.extend(shell::find("initdb").and_then(|path| Some(path.parent()?.to_owned())));
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql", "pg_basebackup"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    folders
        .into_iter()
        .find(complete)
        .context("PostgreSQL's programs are missing: install the package `postgresql`, version 13 or later")
}

/// The user that the servers run as.
///
/// # Errors
/// There is none that will do.
pub fn user() -> Result<&'static str> {
    let known = |user: &&str| shell::sh(&["id", "-u", user]).is_ok();
    ["postgres", "nobody"]
        .into_iter()
        .find(known)
        .context("there is no user `postgres` or `nobody` to run PostgreSQL as; it does not run as root")
}

fn as_user(program: &str) -> Result<Vec<String>> {
    let user = user()?;
    let group = shell::sh(&["id", "-gn", user])?;
    let path = programs()?.join(program).display().to_string();
    Ok([
        "setpriv",
        "--reuid",
        user,
        "--regid",
        &group,
        "--init-groups",
        &path,
    ]
    .map(str::to_owned)
    .to_vec())
}

impl Server {
    /// A server's place in the run's folder; nothing runs yet. With `small`, its data lies on a file system of so many
    /// MiB.
    ///
    /// # Errors
    /// The folder or the file system cannot be made.
    pub fn place(names: Names, index: usize, small: Option<u32>) -> Result<Server> {
        let folder = names.folder().join(Host::Database(index).name());
        std::fs::create_dir_all(folder.join("disk"))?;
        if let Some(mib) = small {
            let disk = folder.join("disk").display().to_string();
            shell::sh(&[
                "mount",
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m"),
                "tmpfs",
                &disk,
            ])?;
        }
        let server = Server {
            names,
            index,
            folder,
            child: None,
            environment: Vec::new(),
        };
        server.give(&server.folder)?;
        Ok(server)
    }

    fn give(&self, path: &Path) -> Result<()> {
        shell::sh(&["chown", "-R", user()?, &path.display().to_string()]).map(drop)
    }

    /// The machine it runs on.
    pub fn host(&self) -> Host {
        Host::Database(self.index)
    }

    /// The file system of its data.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn data(&self) -> PathBuf {
        self.disk().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What it logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Makes its data anew, as a primary.
    ///
    /// # Errors
    /// `initdb` fails.
    pub fn initialise(&self, authority: &Authority) -> Result<()> {
        let data = self.data().display().to_string();
        let mut words = as_user("initdb")?;
        words.extend(
            [
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
                &data,
            ]
            .map(str::to_owned),
        );
        shell::output(Command::new(&words[0]).args(&words[1..]).current_dir("/"))?;
        let addresses = [0, 1].map(|index| Host::Database(index).address().to_string());
        let certified = authority.server(&[&addresses[0], &addresses[1]]);
        self.write("server.crt", &certified.certificate)?;
        self.write("server.key", &certified.key)?;
        self.write(
            "pg_hba.conf",
            "local all all trust\nhostssl all holdfast,hog 10.77.0.0/24 trust\nhost replication postgres 10.77.0.0/24 trust\n",
        )?;
        let settings = std::fs::read_to_string(self.data().join("postgresql.conf"))?;
        let ours = format!(
            "listen_addresses = '*'\nport = 5432\nssl = on\nfsync = on\nsynchronous_commit = on\n\
             track_commit_timestamp = on\nmax_connections = {CONNECTIONS_MAX}\nwal_keep_size = 256MB\nmax_wal_size = 128MB\n\
             shared_buffers = 64MB\nwal_sender_timeout = 5s\nwal_receiver_timeout = 5s\nwal_retrieve_retry_interval = 200ms\n\
             log_line_prefix = '%m [%p] '\nlog_checkpoints = off\ndynamic_shared_memory_type = mmap\n"
        );
        self.write("postgresql.conf", &(settings + &ours))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.data().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        self.give(&path)
    }

    /// Makes its data a copy of `primary`'s that follows it under the name of this machine.
    ///
    /// # Errors
    /// `pg_basebackup` fails.
    pub fn follow(&self, primary: &Server) -> Result<()> {
        if self.data().exists() {
            std::fs::remove_dir_all(self.data())?;
        }
        let words = as_user("pg_basebackup")?;
        let mut copy = net::on(self.names, self.host());
        copy.args(&words)
            .args(["-U", "postgres", "-c", "fast", "-X", "stream", "--no-sync", "-R"]);
        copy.args(["-h", &primary.host().address().to_string(), "-D"])
            .arg(self.data());
        shell::output(&mut copy)?;
        let auto = self.data().join("postgresql.auto.conf");
        let theirs = std::fs::read_to_string(&auto)?;
        let kept = theirs.lines().filter(|line| {
            !line.starts_with("primary_conninfo") && !line.starts_with("synchronous_standby_names")
        });
        let mut settings = kept.collect::<Vec<_>>().join("\n");
        settings += &format!(
            "\nprimary_conninfo = 'host={} user=postgres application_name={}'\nsynchronous_standby_names = ''\n",
            primary.host().address(),
            self.host().name()
        );
        self.write("postgresql.auto.conf", &settings)
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// It does not answer in time: with the end of its log.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.answers()
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        self.give(&self.log())?;
        let mut command = net::on(self.names, self.host());
        // A false clock begins with the server itself: what it shares must belong to the server's user.
        let mut words = as_user("postgres")?;
        let program = words.pop().context("a command has a program")?;
        command.args(words).arg("env");
        command.args(
            self.environment
                .iter()
                .map(|(key, value)| format!("{key}={value}")),
        );
        command.arg(program).arg("-D").arg(self.data());
        command.args(["-k", &self.folder.display().to_string()]);
        command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().context("starting PostgreSQL")?);
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not in time, or has ended: with the end of its log.
    pub fn answers(&mut self) -> Result<()> {
        let waited = shell::until("the database to answer", PATIENCE, || self.sql("SELECT 1"));
        waited.map(drop).with_context(|| {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(15).collect();
            format!(
                "{} said: {}",
                self.host().name(),
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        })
    }

    /// Its first process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// All its processes, the first one first.
    pub fn processes(&self) -> Vec<u32> {
        self.pid().map(shell::family).unwrap_or_default()
    }

    /// Whether its first process runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// Ends it: `INT` in good order and at once, `QUIT` without writing anything, `KILL` with all its processes.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        let all = self.processes();
        if self.runs() {
            if signal == Signal::KILL {
                for pid in &all {
                    let _ = shell::signal(*pid, Signal::KILL);
                }
            } else if let Some(pid) = self.pid() {
                shell::signal(pid, signal)?;
            }
        }
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        shell::until("the database to end", PATIENCE, || match child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        })?;
        // Its other processes hold the shared memory until they are gone; a start before that is refused.
        shell::until("the database's processes to end", PATIENCE, || {
            match all
                .iter()
                .find(|pid| shell::state(**pid).is_some_and(|state| state != 'Z'))
            {
                Some(pid) => bail!("process {pid} is there"),
                None => Ok(()),
            }
        })?;
        all.iter().for_each(|pid| clean::forget_clock(*pid));
        self.child = None;
        Ok(())
    }

    /// Runs SQL in the nodes' database as the superuser, over the server's own socket.
    ///
    /// # Errors
    /// `psql` fails: with what it said.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL in the nodes' database.
    ///
    /// # Errors
    /// As [`Server::sql`].
    pub fn ask(&self, sql: &str) -> Result<String> {
        self.sql_in(NAME, sql)
    }

    fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        shell::output(self.psql(database, "postgres").args(["-c", sql]))
    }

    /// `psql` in a database as a role; needs `-c` and a statement.
    ///
    /// # Panics
    /// Never: the programs were found when the server was started.
    pub fn psql(&self, database: &str, role: &str) -> Command {
        let program = programs().map_or_else(|_| "psql".into(), |folder| folder.join("psql"));
        let mut command = Command::new(program);
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-U",
            role,
            "-h",
        ]);
        command.arg(&self.folder).current_dir("/");
        command
            .env("PGCONNECT_TIMEOUT", "5")
            .env("PGOPTIONS", "-c synchronous_commit=local");
        command
    }

    /// Whether it takes writes.
    pub fn leads(&self) -> bool {
        self.sql("SELECT pg_is_in_recovery()")
            .is_ok_and(|answer| answer == "f")
    }

    /// Makes it a primary that commits alone.
    ///
    /// # Errors
    /// It does not become one in time.
    pub fn promote(&self) -> Result<()> {
        self.sql("SELECT pg_promote(true, 30)")?;
        shell::until("the standby to lead", PATIENCE, || match self.leads() {
            true => Ok(()),
            false => bail!("it is in recovery"),
        })
    }

    /// From now on a commit waits for the standby of this name; none: for nobody.
    ///
    /// # Errors
    /// The standby does not follow in time.
    pub fn wait_for(&self, standby: Option<&str>) -> Result<()> {
        let named = standby.unwrap_or_default();
        if let Some(name) = standby {
            self.settles(
                &format!("SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"),
                "1",
            )?;
        }
        self.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{named}'"))?;
        self.sql("SELECT pg_reload_conf()")?;
        if let Some(name) = standby {
            let query =
                format!("SELECT sync_state FROM pg_stat_replication WHERE application_name = '{name}'");
            self.settles(&query, "sync")?;
        }
        Ok(())
    }

    fn settles(&self, query: &str, wanted: &str) -> Result<()> {
        shell::until(query, PATIENCE, || {
            let found = self.sql(query)?;
            if found == wanted {
                Ok(())
            } else {
                bail!("it answers {found}, not {wanted}")
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An immediate stop, so that it gives its shared memory back; stopped processes must run for that.
        let all = self.processes();
        for pid in &all {
            let _ = shell::signal(*pid, Signal::CONT);
        }
        if let (Some(first), Some(child)) = (all.first(), self.child.as_mut()) {
            let _ = shell::signal(*first, Signal::QUIT);
            for _ in 0..100 {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        for pid in all {
            let _ = shell::signal(pid, Signal::KILL);
            clean::forget_clock(pid);
        }
        if let Some(child) = self.child.as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
