//! A PostgreSQL that speaks SQL Server's protocol and language as well (Babelfish), where its programs are at hand: a
//! stand-in for SQL Server of which a second one can follow the first.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::programs;
use crate::server::{PATIENCE, SETTINGS, Server};

/// What it is told beside. Log-ins over SQL Server's protocol have a password, everything else comes by the socket.
const SPEAKS_TDS: &str = "
shared_preload_libraries = 'babelfishpg_tds'
babelfishpg_tds.listen_addresses = '127.0.0.1'
babelfishpg_tds.tds_ssl_encrypt = off
password_encryption = md5
";
const ADMITS: &str = "local replication all trust\nhost all all 127.0.0.1/32 md5";
/// Where its SQL Server side lives.
const HOME: &str = "babelfish_db";
/// Its administrator, in a server that is gone in a minute and listens on 127.0.0.1.
const USER: &str = "sa";
const PASSWORD: &str = "Stand-in-1234";

impl Server {
    /// A Babelfish of one's own, from the programs in `folder`/bin.
    pub fn babelfish(folder: &Path) -> Server {
        let programs = folder.join("bin");
        assert!(
            programs.join("pg_basebackup").is_file(),
            "{} has no bin/pg_basebackup: name the folder that Babelfish was installed to",
            folder.display()
        );
        let mut server = Server::without_data(programs);
        server.tds = Some(0);
        server.initialise(&format!("{SETTINGS}{SPEAKS_TDS}"));
        server.admit(ADMITS);
        server.launch();
        server.sql(
            "postgres",
            &format!("CREATE USER {USER} WITH SUPERUSER CREATEDB CREATEROLE PASSWORD '{PASSWORD}' INHERIT"),
        );
        server.sql("postgres", &format!("CREATE DATABASE {HOME} OWNER {USER}"));
        for sql in [
            "CREATE EXTENSION babelfishpg_tds CASCADE".to_owned(),
            format!("GRANT ALL ON SCHEMA sys TO {USER}"),
            format!("ALTER SYSTEM SET babelfishpg_tsql.database_name = '{HOME}'"),
            format!("ALTER DATABASE {HOME} SET babelfishpg_tsql.migration_mode = 'multi-db'"),
            "SELECT pg_reload_conf()".to_owned(),
        ] {
            server.sql(HOME, &sql);
        }
        let begun = Instant::now();
        while server.sql(HOME, "SHOW babelfishpg_tsql.database_name") != HOME {
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not read its settings"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server.sql(HOME, &format!("CALL sys.initialize_babelfish('{USER}')"));
        server
    }

    /// Where it speaks SQL Server's protocol, on 127.0.0.1.
    pub fn tds_port(&self) -> u16 {
        self.tds.expect("only a Babelfish does")
    }

    /// Makes a database of SQL Server's kind.
    pub fn make_tds_database(&self, name: &str) {
        let mut psql = self.psql(HOME, "SET babelfishpg_tsql.sql_dialect = 'tsql'");
        // Options that come later win, and statements are run one after the other.
        psql.args(["-U", USER, "-c", &format!("CREATE DATABASE {name}")]);
        programs::run(&mut psql);
    }

    /// `store.url` for such a database, by way of a port of 127.0.0.1, and the password that goes with it.
    pub fn tds_url(port: u16, name: &str) -> (String, &'static str) {
        (format!("sqlserver://{USER}@127.0.0.1:{port}/{name}"), PASSWORD)
    }

    /// Ends all of its processes at once with SIGKILL, as a machine that loses its power does.
    pub fn kill(&self) {
        let file = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&file).expect("the server runs");
        let first: u32 = text
            .lines()
            .next()
            .and_then(|pid| pid.trim().parse().ok())
            .expect("the file begins with the number of the server's first process");
        let mut all = vec![first];
        all.extend(children(first));
        let mut kill = Command::new("kill");
        kill.arg("-KILL").args(all.iter().map(u32::to_string));
        // One of them may have ended by itself just now.
        let _ = kill.stderr(std::process::Stdio::null()).status();
        let begun = Instant::now();
        while all.iter().any(|pid| is_alive(*pid)) {
            assert!(
                begun.elapsed() < PATIENCE,
                "a process of the server outlives SIGKILL"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        // Nobody shall look for it under a number that another process may get.
        let _ = std::fs::remove_file(file);
    }

    /// Stops it in good order: connections are ended, and whoever follows has got everything.
    pub fn stop(&self) {
        let status = self.pg_ctl("stop").args(["-m", "fast"]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the server could not be stopped"
        );
    }
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit(") ").next()?.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

fn children(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of))
        .collect()
}
