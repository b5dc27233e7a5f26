//! A cluster behind the load balancer, with the very file that sites run: `haproxy/haproxy.cfg`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bench::sender::Pace;
use tests::wait::{self, PATIENCE};
use tests::{http, ports};

use super::cluster::{NAMES, Pair, accounted};
use super::crash::Load;
use super::site::stop;

/// Where each node's inbounds listen: the same ports, on addresses of their own.
const HOSTS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// A load balancer; ended when dropped.
struct Balancer {
    child: Child,
    log: std::path::PathBuf,
    status: u16,
}

impl Balancer {
    /// In front of the two nodes; partners connect to `feeds`.
    async fn before(pair: &Pair, nodes: &[u16], feeds: &[u16]) -> Result<Balancer> {
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
        let program = program
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("haproxy");
        let log = pair.load.site.repository.beside("haproxy.log");
        let file = std::fs::File::create(&log)?;
        let status = ports::free();
        let child = Command::new(program)
            .args(["-db", "-f"])
            .arg(crate::house::root().join("haproxy/haproxy.cfg"))
            .envs([("NODE_A_HOST", HOSTS[0]), ("NODE_B_HOST", HOSTS[1])])
            .envs([("NODE_A_CHECK_HOST", "127.0.0.1"), ("NODE_B_CHECK_HOST", "127.0.0.1")])
            .env("NODE_A_CHECK_PORT", pair.plans[0].api().to_string())
            .env("NODE_B_CHECK_PORT", pair.plans[1].api().to_string())
            .env("ADT_PORT", feeds[0].to_string())
            .env("ORU_PORT", feeds[1].to_string())
            .env("ADT_NODE_PORT", nodes[0].to_string())
            .env("ORU_NODE_PORT", nodes[1].to_string())
            .env("STATUS_PORT", status.to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {program}: install haproxy, or set HOLDFAST_WITHOUT_HAPROXY=1 to do without this test"))?;
        let balancer = Balancer { child, log, status };
        let alive = wait::until("the load balancer to work", PATIENCE, || async {
            let answer = http::get(balancer.status, "/alive").await?;
            ensure!(answer.status == 200, "/alive says {}", answer.status);
            Ok(())
        });
        alive.await.with_context(|| balancer.said())?;
        Ok(balancer)
    }

    fn said(&self) -> String {
        format!(
            "haproxy said:\n{}",
            std::fs::read_to_string(&self.log).unwrap_or_default()
        )
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partners_behind_one_address_lose_nothing_whatever_becomes_of_the_leader() -> Result<()> {
    if std::env::var_os("HOLDFAST_WITHOUT_HAPROXY").is_some() {
        return Ok(()); // `verify` says so in its summary
    }
    let database = pgtest::server().database();
    let load = Load::of(2, ", host = env(\"host\")").await?;
    let url = database.url();
    let mut pair = Pair::of(load, [&url, &url])?;
    let [first, second] = pair.plans;
    pair.plans = [
        first.setting("HOLDFAST_VALUE_HOST", HOSTS[0]),
        second.setting("HOLDFAST_VALUE_HOST", HOSTS[1]),
    ];
    let inbounds = std::mem::replace(&mut pair.load.inbounds, vec![ports::free(), ports::free()]);
    let balancer = Balancer::before(&pair, &inbounds, &pair.load.inbounds).await?;
    let [first, second] = pair.start().await?;
    let sender = pair.load.sender(Pace::Closed { window: 8 })?;

    // Planned, there.
    pair.could_lead(1).await?;
    pair.load.progress(&sender, 300).await?;
    pair.switch_over(0, 1).await?;
    pair.leads(1).await?;
    pair.load.progress(&sender, 300).await?;
    // Killed: the first one takes over, the other comes back.
    pair.could_lead(0).await?;
    second.kill()?;
    pair.leads(0).await?;
    pair.load.progress(&sender, 300).await?;
    let second = pair.plans[1].start().await?;
    pair.could_lead(1).await?;
    // Stopped in its tracks, with its sockets open.
    first.signal("STOP")?;
    pair.leads(1).await?;
    let going_on = pair.load.progress(&sender, 300).await;
    going_on.with_context(|| balancer.said())?;
    let status = second.get("/cluster/status").await?;
    ensure!(
        status["node"] == NAMES[1] && status["role"] == "primary" && status["epoch"] == 4,
        "{status}"
    );
    accounted(&pair, sender, 2)
        .await
        .with_context(|| balancer.said())?;
    stop(second).await
}
