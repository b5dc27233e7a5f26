//! Logging in with a token that a command prints: what the server gets is what was printed, and nobody waits for a command
//! but where there is no token. Shown against the scripted peer, which lets in whom it is told to.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store::Error;
use store::board::Board;
use store::sqlserver::{self, Options, SqlServerBoard};

use super::server::{Deed, Peer, Stage};
use super::wire::{error, message};

/// A lease's attempt by the profile for one site.
const ATTEMPT: Duration = Duration::from_millis(600);
/// What a call takes at most that waits for nothing: it connects and asks on this machine, beside other work.
const AT_ONCE: Duration = Duration::from_millis(500);

fn options(peer: &Peer, script: &str) -> Options {
    let mut options = Options::new(format!("sqlserver://127.0.0.1:{}/holdfast", peer.port));
    options.token_command = ["sh", "-c", script].map(str::to_owned).into();
    options
}

/// A script that counts its runs in a file, as `$n`, before it does the rest.
fn counting(folder: &Path, rest: &str) -> String {
    let file = folder.join("runs");
    let file = file.display();
    format!("n=$(cat {file} 2>/dev/null || echo 0); n=$((n+1)); echo $n >{file}; {rest}")
}

fn runs(folder: &Path) -> u32 {
    let text = std::fs::read_to_string(folder.join("runs")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn ask(board: &mut SqlServerBoard) -> Result<(), Error> {
    board.history(1).map(drop)
}

/// The tokens of all connections, in order.
fn tokens(peer: &Peer) -> Vec<Option<String>> {
    let records = peer.records();
    let logged_in = records
        .into_iter()
        .filter(|record| record.asked.contains(&Stage::Login));
    logged_in.map(|record| record.token).collect()
}

#[test]
fn the_token_in_the_log_in_is_what_the_command_printed_and_one_run_serves_all() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(|_, _, _| Deed::Answer);
    // As long as one of Entra's, which say who and what for.
    let long = "eyJ0eXAi.".to_owned() + &"abcDEF012-_".repeat(180) + ".c2ln";
    let script = counting(folder.path(), &format!("echo {long}"));
    let options = options(&peer, &script);
    let mut lease = sqlserver::board(&options, ATTEMPT).unwrap();
    let mut other = sqlserver::board(&options.clone(), Duration::from_secs(5)).unwrap();
    ask(&mut lease).or_else(|_| ask(&mut lease)).unwrap(); // the first may have come before the token
    ask(&mut other).unwrap();
    assert_eq!(tokens(&peer), [Some(long.clone()), Some(long.clone())]);
    assert_eq!(runs(folder.path()), 1);
    let texts = peer.records().into_iter().flat_map(|record| record.texts);
    assert_eq!(texts.filter(|text| text.contains(&long[..40])).count(), 2);
    let shown = format!("{options:?}");
    assert!(!shown.contains("abcDEF") && !shown.contains("runs"), "{shown}");
}

#[test]
fn a_password_is_no_token() {
    let peer = Peer::start(|_, _, _| Deed::Answer);
    let mut options = Options::new(peer.url());
    options.password = Some("secret".to_owned());
    ask(&mut sqlserver::board(&options, Duration::from_secs(2)).unwrap()).unwrap();
    assert_eq!(tokens(&peer), [None]);
}

#[test]
fn an_attempt_of_the_lease_waits_no_longer_for_the_first_token_than_it_may() {
    let peer = Peer::start(|_, _, _| Deed::Answer);
    let mut lease = sqlserver::board(&options(&peer, "sleep 2; echo token"), ATTEMPT).unwrap();
    let begun = Instant::now();
    let Err(Error::Away(text)) = ask(&mut lease) else {
        panic!("there is no token yet");
    };
    assert!(begun.elapsed() < ATTEMPT + AT_ONCE, "{:?}", begun.elapsed());
    assert!(
        text.contains("store.log_in_command") && text.contains("printed no token"),
        "{text}"
    );
    assert!(peer.records().is_empty(), "it connected with nothing to say");
    while begun.elapsed() < Duration::from_millis(2_300) {
        std::thread::sleep(Duration::from_millis(20));
    }
    ask(&mut lease).unwrap();
}

#[test]
fn a_command_that_takes_longer_than_a_connection_may_is_not_begun_again_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = message(&error(
        40613,
        17,
        "Database 'holdfast' is not currently available.",
    ));
    let peer = Peer::start(move |_, stage, _| match stage {
        Stage::Login => Deed::Close(refusal.clone()),
        _ => Deed::Answer,
    });
    let options = options(&peer, &counting(folder.path(), "sleep 6; echo token-$n"));
    for said in ["printed no token", "40613"] {
        let Err(Error::Away(text)) = sqlserver::open(options.clone()) else {
            panic!("the store was opened");
        };
        assert!(text.contains(said), "{text}");
    }
    assert_eq!(tokens(&peer), [Some("token-1".to_owned())]);
    assert_eq!(runs(folder.path()), 1);
}

#[test]
fn a_slow_renewal_delays_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // The first one is good for seven to eight seconds, and renewed when a quarter of that is left; that takes a second.
    let (first, second) = (now + 8, now + 3_600);
    let script = format!(
        "end={second}; [ $n != 1 ] || end={first}; [ $n = 1 ] || sleep 1; \
         echo run-$n.$(printf '{{\"exp\":%s}}' $end | base64 -w0 | tr -d =).sig"
    );
    let peer = Peer::start(|_, _, _| Deed::Answer);
    let options = options(&peer, &counting(folder.path(), &script));
    let board = || sqlserver::board(&options, ATTEMPT).unwrap();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut during = 0;
    while begun.elapsed() < Duration::from_secs(12) && !last(&peer).starts_with("run-2") {
        let one = Instant::now();
        let asked = ask(&mut board());
        if begun.elapsed() > Duration::from_secs(1) {
            asked.unwrap();
            slowest = slowest.max(one.elapsed());
            during += usize::from(runs(folder.path()) == 2);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(last(&peer).starts_with("run-2"), "{}", last(&peer));
    assert!(during > 5, "{during} connections while the command ran");
    super::say(&format!(
        "{during} connections while the command ran for a second, the slowest of all {slowest:?}"
    ));
    assert!(slowest < AT_ONCE, "{slowest:?}");
}

fn last(peer: &Peer) -> String {
    tokens(peer).pop().flatten().unwrap_or_default()
}

#[test]
fn a_refused_log_in_makes_the_next_attempt_use_a_fresh_token() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = message(&error(
        18456,
        14,
        "Login failed for user '<token-identified principal>'.",
    ));
    let peer = Peer::start(move |connection, stage, _| match (connection, stage) {
        (0, Stage::Login) => Deed::Close(refusal.clone()),
        _ => Deed::Answer,
    });
    let options = options(&peer, &counting(folder.path(), "echo token-$n"));
    let mut board = sqlserver::board(&options, Duration::from_secs(5)).unwrap();
    let Err(Error::Away(text)) = ask(&mut board) else {
        panic!("it was let in");
    };
    assert!(
        text.contains("refuses the token") && text.contains("18456"),
        "{text}"
    );
    assert!(!text.contains("token-1"), "{text}");
    ask(&mut board).unwrap();
    assert_eq!(
        tokens(&peer),
        [Some("token-1".to_owned()), Some("token-2".to_owned())]
    );
}

#[test]
fn a_command_that_fails_says_why_and_ends_no_node() {
    let peer = Peer::start(|_, _, _| Deed::Answer);
    let script = "echo 'ERROR: Please run az login to setup account.' >&2; exit 1";
    let mut board = sqlserver::board(&options(&peer, script), Duration::from_secs(5)).unwrap();
    let Err(Error::Away(text)) = ask(&mut board) else {
        panic!("there is no token");
    };
    assert!(text.contains("Please run az login"), "{text}");
    let mut options = options(&peer, "");
    options.token_command = vec!["/nowhere/at/all".to_owned()];
    let Err(Error::Refused(text)) = ask(&mut sqlserver::board(&options, ATTEMPT).unwrap()) else {
        panic!("there is no such program");
    };
    assert!(text.contains("/nowhere/at/all"), "{text}");
}
