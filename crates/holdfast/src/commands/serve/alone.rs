//! One node alone: it leads from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;

use engine::Node;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Serving;
use crate::output::Output;
use crate::problems;

pub(super) async fn run(serving: Serving, out: &Output) -> anyhow::Result<ExitCode> {
    let (tell, why) = watch::channel(super::STARTING.to_owned());
    let started = serving.meanwhile(why, async {
        let store = serving.place.open(&tell).await?;
        tell.send_replace("this node goes through what is open in its store".to_owned());
        serving.enter_repository()?;
        Ok(Node::start(serving.settings.clone(), serving.project.clone(), store).await)
    });
    let node = match started.await? {
        Ok(node) => node,
        Err(engine::StartError::Config(found)) => return Ok(problems::refuse(out, &found)),
        Err(error) => return Err(error.into()),
    };
    let about = serving.about();
    let drain = serving.settings.drain();
    let Serving {
        listener, metrics, ..
    } = serving;
    tracing::info!(address = %listener.local_addr()?, "the API answers");
    let stop = CancellationToken::new();
    let seat = api::Seat::alone(about, Arc::clone(&node));
    let api = tokio::spawn(api::serve(listener, seat, metrics, stop.clone()));
    let failure = wait_for_end(&node).await?;
    tracing::info!(
        bound_seconds = drain.as_secs(),
        "stopping: listeners close, messages in flight end"
    );
    let report = tokio::select! {
        report = node.stop() => report,
        () = second_signal() => anyhow::bail!("stopped at once by a second signal; what was acknowledged is in the store"),
    };
    stop.cancel();
    let _ = api.await;
    if report.left_open > 0 {
        tracing::warn!(
            left_open = report.left_open,
            "messages are left in flight; the next start goes on with them"
        );
    }
    match failure {
        Some(reason) => anyhow::bail!("{reason}"),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Waits for a signal (`None`) or for the node's own failure (its reason).
async fn wait_for_end(node: &Node) -> anyhow::Result<Option<String>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = node.failed() => Some(reason),
    })
}

async fn second_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
