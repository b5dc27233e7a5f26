//! User code that goes wrong costs its own message and nobody else's.

use anyhow::{Context, Result, ensure};
use tests::mllp;

use super::site::{Site, stop};

/// MSH-4 of a message names what shall go wrong with it.
const WRONG: &str = r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "choose")
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}))

@router
def choose(msg):
    if msg["MSH-4"] == "ROUTERRAISES":
        fail("the router raises")
    if msg["MSH-4"] == "NOHANDLER":
        return ["h_" + msg["MSH-4"]]
    return ["work"]

def deeper(n):
    return deeper(n + 1)

@handler
def work(msg):
    what = msg["MSH-4"]
    if what == "LOOPS":
        n = 0
        for _a in range(1000000):
            for _b in range(1000000):
                n += 1
    if what == "EATS":
        hoard = []
        for _a in range(900000):
            hoard.append([_a] * 1000)
    if what == "RECURSES":
        deeper(0)
    if what == "RAISES":
        fail("the handler raises")
    if what == "MISTAKES":
        return send("OB_TEST_ADT", msg["MSH-4"] + 1)
    if what == "NONSENSE":
        return 42
    if what == "NOWHERE":
        return send("OB_" + what, msg)
    return send("OB_TEST_ADT", msg)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_goes_wrong_harms_its_own_message_only() -> Result<()> {
    let site = Site::new(WRONG).await?;
    let node = site.plan.start().await?;
    let mut line = site.line().await?;
    let wrongs = [
        "ROUTERRAISES",
        "NOHANDLER",
        "LOOPS",
        "EATS",
        "RECURSES",
        "RAISES",
        "MISTAKES",
        "NONSENSE",
        "NOWHERE",
    ];
    let mut good = 0;
    for wrong in wrongs {
        for facility in ["HOSPITAL", wrong, "HOSPITAL"] {
            let text = String::from_utf8(mllp::adt(wrong))?.replacen("HOSPITAL", facility, 1);
            let text = if facility == wrong {
                text
            } else {
                text.replacen(&format!("|{wrong}|"), "|GOOD|", 1)
            };
            let (code, _) = line.ask(text.as_bytes()).await?;
            ensure!(
                code == "AA",
                "{wrong}: user code has no say in the acknowledgement, it was {code}"
            );
            good += u64::from(facility != wrong);
        }
        let detail = site.ends_as(wrong, "ERROR").await?.to_string();
        ensure!(
            detail.contains("config/feed.star:"),
            "{wrong}: its trail does not say where: {detail}"
        );
        site.delivered(good)
            .await
            .with_context(|| format!("neighbours of {wrong}"))?;
    }
    site.count_at("ERROR", wrongs.len()).await?;
    stop(node).await?;
    ensure!(
        !site.plan.said().contains("TESTPATIENT"),
        "the log holds a piece of a message"
    );
    Ok(())
}

/// Shown, it overflows the stack of whoever shows it; nothing can catch that.
const BOTTOMLESS: &str = r#"
inbound("IB_TEST_ADT", mllp(port = {in}), router = "choose")
outbound("OB_TEST_ADT", mllp(host = "127.0.0.1", port = {out}))

@router
def choose(msg):
    return ["work"]

@handler
def work(msg):
    nested = []
    for _n in range(400000):
        nested = [nested]
    log(str(nested))
    return send("OB_TEST_ADT", msg)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_breaks_the_interpreter_is_told_by_dryrun() -> Result<()> {
    let site = Site::new(BOTTOMLESS).await?;
    let message = site.repository.root().join("m.hl7");
    std::fs::write(&message, "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r")?;
    let output = tests::binary::command()
        .args(["dryrun", "IB_TEST_ADT"])
        .arg(&message)
        .arg("--config")
        .arg(site.repository.root())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{:?}: {said}", output.status);
    ensure!(said.contains("the configuration broke the interpreter"), "{said}");
    Ok(())
}
