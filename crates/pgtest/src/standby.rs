//! A second server that follows the first.

use std::time::{Duration, Instant};

use crate::programs;
use crate::server::{PATIENCE, Server};

impl Server {
    /// A standby that follows this server under a name, once it has caught up. Nothing waits for it before
    /// [`Server::wait_for_standby`].
    pub fn standby(&self, name: &str) -> Server {
        let mut standby = Server::without_data(self.programs());
        standby.tds = self.tds;
        let mut copy = self.command("pg_basebackup");
        copy.args(["-U", "postgres", "-c", "fast", "-X", "stream", "--no-sync", "-R"]);
        copy.arg("-h").arg(self.folder());
        copy.args(["-p", &self.port().to_string(), "-D"])
            .arg(standby.data());
        programs::run(&mut copy);
        let settings = standby.data().join("postgresql.conf");
        let theirs = std::fs::read_to_string(&settings).expect("the copy has settings");
        let own = format!("unix_socket_directories = '{}'\n", standby.folder().display());
        standby.write("postgresql.conf", &format!("{theirs}{own}"));
        let settings = standby.data().join("postgresql.auto.conf");
        let theirs = std::fs::read_to_string(&settings).expect("the copy has settings");
        let leader = format!(
            "primary_conninfo = 'host={} port={} user=postgres application_name={name}'\n",
            self.folder().display(),
            self.port()
        );
        standby.write("postgresql.auto.conf", &format!("{theirs}{leader}"));
        standby.launch();
        self.until(
            &format!("SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"),
            "1",
        );
        standby
    }

    /// From now on a commit waits until the standby of this name has it on disk (`level` = `on`) or shows it
    /// to its readers (`remote_apply`).
    pub fn wait_for_standby(&self, name: &str, level: &str) {
        self.set("synchronous_standby_names", name);
        self.set("synchronous_commit", level);
        self.until(
            &format!("SELECT sync_state FROM pg_stat_replication WHERE application_name = '{name}'"),
            "sync",
        );
    }

    /// Makes a standby a primary, and lets it commit alone.
    pub fn promote(&self) {
        let status = self.pg_ctl("promote").status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "the standby could not be promoted"
        );
        self.until("SELECT pg_is_in_recovery()", "f");
        self.set("synchronous_standby_names", "");
    }

    /// Waits until a query answers so.
    fn until(&self, query: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let found = self.sql("postgres", query);
            if found == wanted {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{query} answers {found}, not {wanted}; the server said:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
