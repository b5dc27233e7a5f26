//! The timer, on paused time.

use std::time::Duration;

use connectors::{Refused, Verdict};
use model::connector::Value;
use tokio::time::Instant;

use crate::support::{Recorder, Running, seconds, source};

#[tokio::test(start_paused = true)]
async fn a_timer_fires_at_each_interval() {
    let intake = Recorder::accepting();
    let begun = Instant::now();
    let timer = source("timer", &[("every", seconds(5.0)), ("text", "TICK {id}".into())]).unwrap();
    let running = Running::start(timer, &intake).await;
    let seen = intake.wait("three ticks", |seen| seen.stored.len() == 3).await;
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_secs(15) && waited < Duration::from_millis(15_100),
        "{waited:?}"
    );
    assert!(seen.texts().iter().all(|text| text.starts_with("TICK T")));
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_tick_is_offered_again_until_it_is_stored() {
    let intake = Recorder::scripted(|_, count| match count {
        0..=2 => Err(Refused("no lease".into())),
        _ => Ok(Verdict::Accept),
    });
    let timer = source("timer", &[("every", seconds(10.0)), ("text", "TICK {id}".into())]).unwrap();
    let running = Running::start(timer, &intake).await;
    let seen = intake.wait("the tick", |seen| seen.stored.len() == 1).await;
    assert_eq!(seen.refused, 3);
    assert!(running.fault().contains("no lease"));
    running.finish().await;
}

#[tokio::test]
async fn internal_inbounds_wait_for_their_stop() {
    for name in ["loopback", "passthrough"] {
        let running = Running::start(source(name, &[]).unwrap(), &Recorder::accepting()).await;
        running.finish().await;
    }
}

#[test]
fn a_timer_takes_either_an_interval_or_a_cron_expression() {
    let text = ("text", Value::from("x"));
    for (options, good) in [
        (vec![("every", seconds(1.0))], true),
        (vec![("cron", Value::from("0 2 * * *"))], true),
        (
            vec![("cron", Value::from("0 2 * * *")), ("zone", "utc".into())],
            true,
        ),
        (vec![("cron", Value::from("0 25 * * *"))], false),
        (vec![("every", seconds(0.001))], false),
        (vec![("every", seconds(1.0)), ("cron", "0 2 * * *".into())], false),
        (vec![], false),
    ] {
        let all: Vec<_> = options.iter().cloned().chain([text.clone()]).collect();
        assert_eq!(source("timer", &all).is_ok(), good, "{options:?}");
    }
}
