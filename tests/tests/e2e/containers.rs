//! A node with the environment that the compose file gives it, as far as that is possible without containers.

use anyhow::Result;

use super::site::{Site, stop};
use crate::house::containers;

/// A server for a node in this test, reached the way the compose file says: by its socket.
fn url(given: &str, database: &pgtest::Database<'_>) -> String {
    let (server, port) = (database.server(), database.server().port());
    let folder = server.socket_folder().display().to_string();
    given
        .replace(
            "holdfast@localhost/holdfast",
            &format!("postgres@localhost:{port}/{}", database.name()),
        )
        .replace("/run/postgresql", &folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_runs_with_the_environment_of_the_compose_file() -> Result<()> {
    let database = pgtest::server().database();
    let mut site = Site::relay().await?;
    let secret = site.repository.beside("store_password");
    std::fs::write(&secret, "of no use to a server that trusts its socket\n")?;
    for (name, value) in containers::of_the_node() {
        let value = match name.as_str() {
            "HOLDFAST_STORE__URL" => url(&value, &database),
            "HOLDFAST_STORE__PASSWORD_FILE" => secret.display().to_string(),
            _ => value,
        };
        site.plan = site.plan.setting(&name, &value);
    }
    let node = site.plan.start().await?;
    site.still_works().await?;
    stop(node).await?;
    std::fs::remove_file(&secret)?;
    let (_, said) = site.plan.refused().await?;
    assert!(said.contains("password cannot be read"), "{said}");
    Ok(())
}
