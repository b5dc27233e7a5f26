//! Refusals to start: each names what is wrong and what to do, and changes nothing.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use tests::mllp::Line;
use tests::node::Plan;
use tests::repository::set_mode;
use tests::wait::{self, PATIENCE};
use tests::{binary, mllp};

use super::site::{Site, stop};

/// What a refusal must say, whatever its case.
fn says(said: &str, words: &[&str]) -> Result<()> {
    let lower = said.to_lowercase();
    for word in words {
        ensure!(
            lower.contains(&word.to_lowercase()),
            "it should mention `{word}`; it said:\n{said}"
        );
    }
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_harms_no_other_connection_and_is_taken_once_free() -> Result<()> {
    let site = Site::relay().await?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    let second = format!("inbound(\"IB_TAKEN_ADT\", mllp(port = {port}), router = \"everything\")\n");
    site.repository.write("config/second.star", &second)?;
    let node = site.plan.start().await?;
    site.still_works().await?;
    let connections = node.get("/api/v1/connections").await?.to_string();
    says(&connections, &["IB_TAKEN_ADT", &port.to_string()])?;
    says(&site.plan.said(), &["IB_TAKEN_ADT", &port.to_string()])?;
    drop(taken);
    wait::until("the connection to heal", PATIENCE, || async {
        let code = Line::connect(port).await?.ask(&mllp::adt("HEALED")).await?.0;
        ensure!(code == "AA", "answered {code}");
        Ok(())
    })
    .await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_inbounds_on_one_port_are_refused_before_anything_starts() -> Result<()> {
    let site = Site::relay().await?;
    let second = format!(
        "inbound(\"IB_SECOND_ADT\", mllp(port = {}), router = \"everything\")\n",
        site.inbound
    );
    site.repository.write("config/second.star", &second)?;
    let (_, said) = site.plan.refused().await?;
    says(
        &said,
        &["IB_TEST_ADT", "IB_SECOND_ADT", &site.inbound.to_string()],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_written_is_named() -> Result<()> {
    let site = Site::relay().await?;
    // Where even root cannot make a file.
    let plan = Plan::new(&site.repository).data("/proc/self/holdfast-data");
    let (status, said) = plan.refused().await?;
    ensure!(status.code() == Some(2), "{status}: the arguments cannot be used");
    says(&said, &["/proc/self/holdfast-data"])?;
    let file = site.repository.beside("a-file");
    fs::write(&file, "not a directory")?;
    let plan = Plan::new(&site.repository).data(&file);
    let (_, said) = plan.refused().await?;
    says(&said, &["a-file"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_on_the_same_data_is_refused() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    let other = Site::relay().await?;
    let plan = Plan::new(&other.repository).data(site.repository.data());
    let (_, said) = plan.refused().await?;
    says(&said, &["another"])?;
    site.still_works().await?;
    stop(node).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_is_refused_with_what_to_do_and_left_as_it_is() -> Result<()> {
    let site = Site::relay().await?;
    let node = site.plan.start().await?;
    for number in 0..50 {
        site.line().await?.ask(&mllp::adt(&format!("DB{number}"))).await?;
    }
    site.delivered(50).await?;
    stop(node).await?;
    let mut damaged = Vec::new();
    for entry in files_below(&site.repository.data())? {
        let mut bytes = fs::read(&entry)?;
        if bytes.starts_with(b"SQLite format 3\0") {
            bytes.iter_mut().take(4096).for_each(|byte| *byte = 0xa5);
            fs::write(&entry, &bytes)?;
            damaged.push((entry, bytes));
        }
    }
    ensure!(
        !damaged.is_empty(),
        "no database file found in the data directory"
    );
    let (_, said) = site.plan.refused().await?;
    says(&said, &["restore"])?;
    let named = damaged.iter().any(|(path, _)| {
        path.file_name()
            .is_some_and(|name| said.contains(&*name.to_string_lossy()))
    });
    ensure!(named, "it should name the damaged file; it said:\n{said}");
    for (path, bytes) in damaged {
        ensure!(
            fs::read(&path)? == bytes,
            "{} was changed: a person may still need it",
            path.display()
        );
    }
    Ok(())
}

fn files_below(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?)
        } else {
            found.push(path)
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_directory_that_others_may_write_is_refused() -> Result<()> {
    for mode in [0o777, 0o775] {
        let site = Site::relay().await?;
        set_mode(&site.repository.root().join("config"), mode)?;
        let (_, said) = site.plan.refused().await?;
        says(&said, &["config", "chmod"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_with_secrets_or_unknown_keys_are_refused_with_the_place() -> Result<()> {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "holdfast.toml",
            "[store]\nsegment_md = 64\n",
            &["holdfast.toml", "segment_md", "segment_mb"],
        ),
        (
            "holdfast.toml",
            "[api]\npassword = \"hunter2\"\n",
            &["holdfast.toml", "password"],
        ),
        ("holdfast.toml", "this is not toml\n", &["holdfast.toml"]),
        (
            "environments/dev.toml",
            "partner_password = \"hunter2\"\n",
            &["dev.toml", "HOLDFAST_VALUE_PARTNER_PASSWORD"],
        ),
        (
            "config/connections.toml",
            "[[inbound]]\nname = \"IB_X_ADT\"\nconnectr = \"mllp\"\n",
            &["connections.toml", "connectr"],
        ),
        (
            "config/more.star",
            "outbound(\"OB_X_ADT\", mlp(port = 1))\n",
            &["more.star:1", "mlp", "mllp"],
        ),
        (
            "config/more.star",
            "inbound(\"IB_X_ADT\", mllp(port = 0), router = \"evrything\")\n",
            &["more.star:1", "evrything", "everything"],
        ),
        (
            "config/more.star",
            "inbound(\"IB_X_ADT\", mllp(prt = 0), router = \"everything\")\n",
            &["more.star:1", "prt"],
        ),
        (
            "config/more.star",
            "x = env(\"not_defined\")\n",
            &["more.star:1", "not_defined"],
        ),
        ("config/more.star", "def f(:\n", &["more.star:1"]),
    ];
    for (path, text, words) in cases {
        let site = Site::relay().await?;
        site.repository.write(path, text)?;
        let (_, said) = site
            .plan
            .refused()
            .await
            .with_context(|| format!("{path}: {text}"))?;
        says(&said, words).with_context(|| format!("{path}: {text}"))?;
        ensure!(!said.contains("hunter2"), "it printed the secret:\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_setting_in_the_environment_is_refused() -> Result<()> {
    let site = Site::relay().await?;
    let plan = Plan::new(&site.repository).setting("HOLDFAST_STORE__SEGMENT_MD", "64");
    let (_, said) = plan.refused().await?;
    says(&said, &["segment_md", "segment_mb"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_nobody_reads_is_refused() -> Result<()> {
    let site = Site::relay().await?;
    let plan = Plan::new(&site.repository).setting("HOLDFAST_STORE_DIRECTORY", "elsewhere");
    let (_, said) = plan.refused().await?;
    says(&said, &["HOLDFAST_STORE_DIRECTORY", "HOLDFAST_STORE__DIRECTORY"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_settings_runs_on_the_defaults() -> Result<()> {
    let site = Site::relay().await?;
    fs::remove_file(site.repository.root().join("holdfast.toml"))?;
    stop(site.plan.start().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_the_command_line_are_not_mistaken_for_settings() -> Result<()> {
    let site = Site::relay().await?;
    let plan = Plan::new(&site.repository)
        .setting("HOLDFAST_ENV", "dev")
        .setting("HOLDFAST_VALUE_X", "1");
    stop(plan.start().await?).await
}

#[test]
fn serve_without_an_environment_is_refused() -> Result<()> {
    let output = binary::command().arg("serve").output()?;
    ensure!(!output.status.success());
    says(&String::from_utf8_lossy(&output.stderr), &["--env"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_cannot_be_used_end_with_2_and_one_json_document() -> Result<()> {
    let site = Site::relay().await?;
    let message = site.repository.beside("a.hl7");
    fs::write(&message, mllp::adt("A1"))?;
    let message = message.to_string_lossy().into_owned();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["dryrun", "NOPE", &message], 2, "no inbound named `NOPE`"),
        (
            &["dryrun", "IB_TEST_ADT", "nothing.hl7"],
            2,
            "nothing.hl7 cannot be read",
        ),
        (&["dryrun", "IB_TEST_ADT", &message], 0, "\"handlers\""),
        (&["send", &message, "--to", "bogus"], 2, "invalid value 'bogus'"),
        (&["load", "--to", "bogus"], 2, "invalid value 'bogus'"),
        (
            &["settings", "--config", "nothing-here"],
            2,
            "there is no folder nothing-here",
        ),
        (&["test", "--filter", "nothing"], 1, "no test was found"),
        (&["sned"], 2, "sned"),
    ];
    for (arguments, code, words) in cases {
        let output = binary::command()
            .current_dir(site.repository.root())
            .args(*arguments)
            .arg("--json")
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.code() == Some(*code),
            "{arguments:?}: {}; it said:\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let document: serde_json::Value =
            serde_json::from_str(&said).with_context(|| format!("{arguments:?} said:\n{said}"))?;
        ensure!(
            document.to_string().contains(&words.replace('"', "")),
            "{arguments:?}: {document}"
        );
    }
    Ok(())
}
