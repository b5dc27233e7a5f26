//! Waiting for a condition, bounded; when the time is over it says what was missing.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition may take before a test gives up. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// In a condition's error: waiting longer cannot help.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// Asks `condition` again and again until it gives a value. `Err` inside says what is still missing; it
/// becomes the failure's text when `limit` is over, or at once if it is [`Hopeless`].
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(missing) if started.elapsed() >= limit || missing.is::<Hopeless>() => {
                bail!(
                    "waited {:.1} s for {what}: {missing:#}",
                    started.elapsed().as_secs_f32()
                )
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
