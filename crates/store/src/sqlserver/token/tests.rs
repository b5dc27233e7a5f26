use std::path::Path;

use super::*;

/// Quick, so that a test sees what takes hours.
const QUICK: Policy = Policy {
    patience: Duration::from_millis(1_500),
    unread: Duration::from_millis(600),
    least: Duration::from_millis(300),
    most: Duration::from_secs(60),
    pause: Duration::from_millis(100),
    pause_most: Duration::from_secs(1),
};
const LONG: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

fn start(script: &str, policy: Policy) -> Tokens {
    Tokens::start(&shell(script), policy).unwrap()
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

fn text(tokens: &Tokens, patience: Duration) -> Result<String, String> {
    let got = tokens.get(patience);
    got.map(|token| token.reveal().to_owned())
        .map_err(|trouble| trouble.text)
}

/// Waits, ten seconds at most.
fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A JWT that ends so many seconds from now. Its signature is nobody's.
fn jwt(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let end = now.checked_add_signed(seconds).unwrap();
    format!(
        "eyJhbGciOiJub25lIn0.{}.c2ln",
        coded(&format!(r#"{{"exp":{end}}}"#))
    )
}

fn coded(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let whole = three
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        for place in 0..=three.len() {
            out.push(char::from(LETTERS[whole >> (18 - 6 * place) & 63]));
        }
    }
    out
}

#[test]
fn a_token_is_asked_for_once_and_given_to_all() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = start(&counting(folder.path(), "sleep 0.3; echo token-$n"), POLICY);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| text(&tokens, LONG))).collect();
        for answer in asked {
            assert_eq!(answer.join().unwrap().as_deref(), Ok("token-1"));
        }
    });
    let begun = Instant::now();
    assert_eq!(text(&tokens, Duration::ZERO).as_deref(), Ok("token-1"));
    assert!(begun.elapsed() < Duration::from_millis(200));
    assert_eq!(runs(folder.path()), 1);
    let shown = format!("{:?}", tokens.get(LONG).unwrap());
    assert!(!shown.contains("token-1"), "{shown}");
}

#[test]
fn who_waits_for_the_first_token_waits_no_longer_than_he_may() {
    let tokens = start("sleep 1; echo late", POLICY);
    let begun = Instant::now();
    let error = text(&tokens, Duration::from_millis(150)).unwrap_err();
    assert!(
        begun.elapsed() < Duration::from_millis(800),
        "{:?}",
        begun.elapsed()
    );
    assert!(error.contains("printed no token within"), "{error}");
    assert_eq!(text(&tokens, LONG).as_deref(), Ok("late"));
}

#[test]
fn a_token_is_renewed_before_its_end_and_a_slow_renewal_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (jwt(4), jwt(3_000));
    let script = format!("if [ $n = 1 ]; then echo {first}; else sleep 0.6; echo {second}; fi");
    let tokens = start(&counting(folder.path(), &script), QUICK);
    assert_eq!(text(&tokens, LONG).as_deref(), Ok(first.as_str()));
    until("the renewal began", || runs(folder.path()) == 2);
    let begun = Instant::now();
    assert_eq!(text(&tokens, LONG).as_deref(), Ok(first.as_str()));
    assert!(
        begun.elapsed() < Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    until("the new token came", || {
        text(&tokens, LONG).as_deref() == Ok(second.as_str())
    });
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(runs(folder.path()), 2, "it is good for longer");
}

#[test]
fn a_token_that_does_not_say_when_it_ends_is_renewed_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = start(&counting(folder.path(), "echo opaque-$n"), QUICK);
    assert_eq!(text(&tokens, LONG).as_deref(), Ok("opaque-1"));
    until("it was renewed", || {
        text(&tokens, LONG).as_deref() == Ok("opaque-2")
    });
    // One that had ended when it came, by the clock here, is used: the clock may be wrong.
    let ended = jwt(-60);
    let tokens = start(&format!("echo {ended}"), QUICK);
    assert_eq!(text(&tokens, LONG).as_deref(), Ok(ended.as_str()));
}

#[test]
fn a_refused_token_is_replaced_at_once_and_refusals_without_end_cost_ever_fewer_runs() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = start(&counting(folder.path(), "echo token-$n"), POLICY);
    let first = tokens.get(LONG).unwrap();
    tokens.refused(&first);
    let second = tokens.get(LONG).unwrap();
    assert_eq!(second.reveal(), "token-2");
    tokens.refused(&first); // told late, of one that is gone
    assert_eq!(tokens.get(LONG).unwrap().reveal(), "token-2");
    // From now on each one is refused: the old one is handed out meanwhile, and the command is left alone.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        tokens.refused(&tokens.get(Duration::from_millis(10)).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(runs(folder.path()) <= 3, "{} runs", runs(folder.path()));
    // One that is let in ends that.
    tokens.accepted(&tokens.get(LONG).unwrap());
    assert_eq!(tokens.0.shared.state.lock().setbacks, 0);
}

#[test]
fn whatever_goes_wrong_is_told_with_what_to_do_and_without_the_token() {
    let secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
    let cases = [
        ("exit 3", "exit status: 3"),
        (
            "echo; echo 'Please run az login' >&2; echo more >&2; exit 1",
            "; it said: Please run az login",
        ),
        ("true", "printed nothing"),
        ("echo '\"quoted-token\"'", "the bare token"),
        ("echo one; echo two", "the bare token"),
        ("head -c 70000 /dev/zero | tr '\\0' a", "more than 65536 bytes"),
        ("printf '\\377\\376'", "the bare token"),
        ("sleep 20", "longer than 1.5 s"),
    ];
    for (script, said) in cases {
        let tokens = start(script, QUICK);
        let error = text(&tokens, LONG).unwrap_err();
        assert!(
            error.contains(said) && error.contains("`sh`"),
            "{script}: {error}"
        );
        assert!(
            !error.contains("more\n") && !error.contains("quoted-token"),
            "{error}"
        );
    }
    for script in [
        format!("echo {secret}; echo 'got {secret}, and then?' >&2; exit 1"),
        format!("echo 'Authorization: Bearer {secret}' >&2; exit 1"),
        "echo short-secret; echo 'got short-secret' >&2; exit 1".to_owned(),
    ] {
        let error = text(&start(&script, QUICK), LONG).unwrap_err();
        assert!(
            !error.contains(secret) && !error.contains("short-secret"),
            "{error}"
        );
        assert!(error.contains("***"), "{error}");
    }
    let tokens = Tokens::start(&["/nowhere/at/all".to_owned()], QUICK).unwrap();
    let trouble = tokens.get(LONG).unwrap_err();
    assert!(
        trouble.lasting && trouble.text.contains("`/nowhere/at/all` cannot be run"),
        "{trouble:?}"
    );
}

#[test]
fn a_command_that_works_again_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = counting(folder.path(), "[ $n -gt 2 ] || exit 1; echo token-$n");
    let tokens = start(&script, QUICK);
    assert!(text(&tokens, LONG).is_err());
    until("it works again", || text(&tokens, LONG).is_ok());
    assert_eq!(runs(folder.path()), 3);
}

#[test]
fn as_much_as_a_token_may_have_fits_and_complaints_without_end_hold_nothing_up() {
    let tokens = start(
        "yes complaint | head -c 300000 >&2; head -c 65000 /dev/zero | tr '\\0' a",
        POLICY,
    );
    assert_eq!(text(&tokens, LONG).map(|text| text.len()), Ok(65_000));
}

#[test]
fn something_left_running_does_not_keep_the_token_back() {
    let tokens = start("sleep 5 & echo token", POLICY);
    let begun = Instant::now();
    assert_eq!(text(&tokens, LONG).as_deref(), Ok("token"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn the_thread_and_the_command_end_with_the_last_who_wants_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let script = format!("sleep 60 & echo $$ $! >{}; wait", file.display());
    let tokens = start(&script, POLICY);
    let pids = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the command runs", || pids().split_whitespace().count() == 2);
    let alive = |pid: &str| {
        // Of one that ended and that nobody waits for yet, only its name is left.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = state.rsplit(") ").next().unwrap_or_default().to_owned();
        !state.is_empty() && !state.starts_with('Z')
    };
    let pids = pids();
    assert!(pids.split_whitespace().all(alive));
    let shared = Arc::downgrade(&tokens.0.shared);
    let begun = Instant::now();
    drop(tokens.clone());
    assert!(
        pids.split_whitespace().all(alive),
        "somebody else still wants them"
    );
    drop(tokens);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(shared.strong_count(), 0, "the thread has ended");
    until("the command and what it started are gone", || {
        !pids.split_whitespace().any(alive)
    });
    let own = pids.split_whitespace().next().unwrap();
    assert!(!Path::new(&format!("/proc/{own}")).exists(), "it was waited for");
}

#[test]
fn when_a_token_ends_stands_in_it() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let token = |claims: &str| format!("e30.{}.sig", coded(claims));
    let left = |claims: &str| left(&token(claims), at(1_000));
    assert_eq!(
        left(r#"{"aud":"https://x","exp":1600}"#),
        Some(Duration::from_secs(600))
    );
    assert_eq!(left(r#"{"exp":1000}"#), None);
    assert_eq!(left(r#"{"exp":900}"#), None);
    for claims in [
        "",
        "{}",
        "[1]",
        r#"{"exp":"1600"}"#,
        r#"{"exp":-5}"#,
        r#"{"exp":1e300}"#,
        r#"{"exp":null}"#,
    ] {
        assert_eq!(left(claims), None, "{claims}");
    }
    assert!(left(r#"{"exp":1e19}"#).is_some());
    for text in ["", "abc", "a.b", "a.!.c", "....."] {
        assert_eq!(super::left(text, at(0)), None, "{text}");
    }
}
