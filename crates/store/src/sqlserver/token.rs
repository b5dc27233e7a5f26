//! Access tokens to log in with (Microsoft Entra ID): a command of the operator's prints them.
//!
//! One thread runs the command, for all connections of a store and of its lease, and never twice at a time. It asks
//! ahead of a token's end, so that a connection finds one that is there; only while there is none, or the server has just
//! refused the one that is there, does a connection wait, and then no longer than it may. What the command prints is kept in
//! memory alone and repeated nowhere.

use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::Error;

/// More bytes than any token has.
const TOKEN_MAX: usize = 64 << 10;
/// Bytes of what the command complains that are looked at, and characters that are told.
const COMPLAINT_MAX: usize = 8 << 10;
const TOLD_MAX: usize = 200;
/// What a command left running may still write once it has ended itself.
const GRACE: Duration = Duration::from_millis(200);
/// So many characters without a break are a secret, or might be.
const SECRET_MIN: usize = 40;

/// When the command is run.
#[derive(Clone, Copy)]
struct Policy {
    /// It may take so long.
    patience: Duration,
    /// A token whose end cannot be read is renewed after this.
    unread: Duration,
    /// A token is not renewed sooner than this, nor later.
    least: Duration,
    most: Duration,
    /// After a failure, or a refusal by the server: the first pause, which doubles up to the other.
    pause: Duration,
    pause_most: Duration,
}

const POLICY: Policy = Policy {
    patience: Duration::from_secs(30),
    unread: Duration::from_secs(4 * 60),
    least: Duration::from_secs(5),
    most: Duration::from_secs(60 * 60),
    pause: Duration::from_secs(1),
    pause_most: Duration::from_secs(60),
};

/// A token as it was printed. Tells nobody what it is.
#[derive(Clone)]
pub(super) struct Token {
    text: Arc<str>,
    /// Which one it is: they are counted.
    number: u64,
}

impl Token {
    /// To be handed to the driver.
    pub(super) fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.number)
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// For a person; says what to do.
    pub(super) text: String,
    /// It takes a person to change it.
    pub(super) lasting: bool,
}

/// The tokens of one store and its lease. The thread behind them ends with the last of the clones, and the command with it.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Owner>);

/// Where the clones of an embedder's options find the same tokens: the store and its lease do, and an attempt to open the store
/// that comes after one that took too long for the command.
#[derive(Clone, Default)]
pub(super) struct Shelf(Arc<Mutex<Option<Tokens>>>);

impl Shelf {
    /// The tokens that `command` prints.
    pub(super) fn tokens(&self, command: &[String]) -> Result<Tokens, Error> {
        let mut shelf = self.0.lock();
        if let Some(tokens) = &*shelf
            && tokens.0.shared.command == command
        {
            return Ok(tokens.clone());
        }
        let tokens = Tokens::start(command, POLICY)?;
        *shelf = Some(tokens.clone());
        Ok(tokens)
    }
}

struct Owner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    command: Vec<String>,
    policy: Policy,
    state: Mutex<State>,
    /// A token came, or a failure.
    changed: Condvar,
    /// Wakes the thread: something is due, or it is over.
    wake: Notify,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// How many tokens there were.
    count: u64,
    /// The command runs.
    asking: bool,
    /// It is not run before then.
    not_before: Option<Instant>,
    /// Failures and refusals since a log-in worked with a token, or a token came that was not asked for by a refusal.
    setbacks: u32,
    /// Why it failed last; `None` once it worked.
    trouble: Option<Trouble>,
    ended: bool,
}

struct Held {
    token: Token,
    renew_at: Instant,
    /// When it is of no use any more, by its own words.
    end: Option<Instant>,
    /// The server has refused it.
    refused: bool,
}

impl Held {
    fn is_good(&self, now: Instant) -> bool {
        !self.refused && self.end.is_none_or(|end| now < end)
    }
}

impl State {
    /// When the command is to be run next.
    fn due(&self, now: Instant) -> Instant {
        let wanted = match &self.held {
            Some(held) if !held.refused => held.renew_at,
            _ => now,
        };
        self.not_before.map_or(wanted, |pause| wanted.max(pause))
    }

    fn set_back(&mut self, policy: &Policy, now: Instant) {
        let factor = 1_u32 << self.setbacks.min(16);
        self.setbacks += 1;
        self.not_before = Some(now + (policy.pause.saturating_mul(factor)).min(policy.pause_most));
    }
}

impl Tokens {
    fn start(command: &[String], policy: Policy) -> Result<Tokens, Error> {
        let shared = Arc::new(Shared {
            command: command.to_vec(),
            policy,
            state: Mutex::default(),
            changed: Condvar::new(),
            wake: Notify::new(),
        });
        let failed = |source: std::io::Error| Error::Database {
            doing: "starting the thread that asks for tokens",
            source: Box::new(source),
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-token".to_owned())
            .spawn(move || runtime.block_on(keep(&working)))
            .map_err(failed)?;
        Ok(Tokens(Arc::new(Owner {
            shared,
            thread: Some(thread),
        })))
    }

    /// Whether both are the same.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Tokens) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A token to log in with. At once, where there is a good one; otherwise when the command has printed one, at most so
    /// much later. Where it prints none, a token that was refused or has ended is better than nothing: the server says why it
    /// will not do.
    pub(super) fn get(&self, patience: Duration) -> Result<Token, Trouble> {
        let shared = &self.0.shared;
        let begun = Instant::now();
        let until = begun + patience;
        let mut state = shared.state.lock();
        loop {
            let now = Instant::now();
            if let Some(held) = state.held.as_ref().filter(|held| held.is_good(now)) {
                return Ok(held.token.clone());
            }
            let soon = state.asking || state.due(now) <= now;
            if !soon || shared.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        if let Some(held) = &state.held {
            return Ok(held.token.clone());
        }
        Err(state.trouble.clone().unwrap_or_else(|| Trouble {
            text: format!(
                "the program `{}` has printed no token within {} s; it goes on",
                shared.command[0],
                begun.elapsed().as_secs_f32()
            ),
            lasting: false,
        }))
    }

    /// A server let somebody in with it.
    pub(super) fn accepted(&self, token: &Token) {
        let mut state = self.0.shared.state.lock();
        if state.count == token.number && state.trouble.is_none() {
            state.setbacks = 0;
        }
    }

    /// A server refused it: another one is asked for. Soon, and later when that happens again and again, for it may be the
    /// user that is refused, not the token.
    pub(super) fn refused(&self, token: &Token) {
        let shared = &self.0.shared;
        let mut state = shared.state.lock();
        let Some(held) = state
            .held
            .as_mut()
            .filter(|held| held.token.number == token.number)
        else {
            return; // there is another one already
        };
        if std::mem::replace(&mut held.refused, true) {
            return;
        }
        if state.setbacks == 0 {
            state.not_before = None;
            state.setbacks = 1;
        } else {
            state.set_back(&shared.policy, Instant::now());
        }
        drop(state);
        shared.wake.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it ends the command, which takes no time
        }
    }
}

/// The thread: runs the command whenever a token is due.
async fn keep(shared: &Shared) {
    loop {
        let due = {
            let mut state = shared.state.lock();
            if state.ended {
                return;
            }
            let now = Instant::now();
            let due = state.due(now);
            state.asking = due <= now;
            (!state.asking).then_some(due)
        };
        if let Some(due) = due {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = shared.wake.notified() => {}
            }
            continue;
        }
        let answer = ask(shared).await;
        let now = Instant::now();
        let mut state = shared.state.lock();
        state.asking = false;
        let told = state.trouble.clone();
        match answer {
            Some(Ok(text)) => {
                state.count += 1;
                let left = left(&text, SystemTime::now());
                let again = left.map_or(shared.policy.unread, |left| left / 4 * 3);
                state.held = Some(Held {
                    token: Token {
                        text: text.into(),
                        number: state.count,
                    },
                    renew_at: now + again.clamp(shared.policy.least, shared.policy.most),
                    end: left.and_then(|left| now.checked_add(left)),
                    refused: false,
                });
                state.not_before = None;
                state.trouble = None;
                if told.is_some() {
                    state.setbacks = 0;
                    tracing::info!("store.log_in_command prints tokens again");
                }
            }
            Some(Err(trouble)) => {
                state.set_back(&shared.policy, now);
                if told.as_ref() != Some(&trouble) {
                    tracing::warn!(
                        reason = trouble.text,
                        "store.log_in_command gave no token; it is run again"
                    );
                }
                state.trouble = Some(trouble);
            }
            None => state.ended = true,
        }
        shared.changed.notify_all();
    }
}

/// Runs the command once; `None` when it is over before it has ended.
async fn ask(shared: &Shared) -> Option<Result<String, Trouble>> {
    let program = &shared.command[0];
    let mut command = Command::new(program);
    command
        .args(&shared.command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0); // what it starts itself is ended with it
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            use std::io::ErrorKind::{NotFound, PermissionDenied};
            return Some(Err(Trouble {
                text: format!("the program `{program}` cannot be run ({error})"),
                lasting: matches!(error.kind(), NotFound | PermissionDenied),
            }));
        }
    };
    let (mut printed, mut said) = (Vec::new(), Vec::new());
    let whole = tokio::select! {
        whole = tokio::time::timeout(shared.policy.patience, run(&mut child, &mut printed, &mut said)) => Some(whole),
        () = over(shared) => None,
    };
    if !matches!(whole, Some(Ok(Ok(_)))) {
        end(&mut child).await;
    }
    let complaint = told(&said, &printed);
    let fault = |what: &str| {
        Some(Err(Trouble {
            text: format!("the program `{program}` {what}{complaint}"),
            lasting: false,
        }))
    };
    let status = match whole? {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return fault(&error.to_string()),
        Err(_) => {
            return fault(&format!(
                "took longer than {} s and was ended",
                shared.policy.patience.as_secs_f32()
            ));
        }
    };
    if !status.success() {
        return fault(&format!("ended with {status}"));
    }
    let text = std::str::from_utf8(&printed).unwrap_or("?").trim();
    let belongs = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.is_empty() {
        return fault("printed nothing");
    }
    if !text.bytes().all(belongs) {
        return fault(
            "printed something else than a token: it is to print the bare token and nothing beside it",
        );
    }
    Some(Ok(text.to_owned()))
}

/// Waits until nobody wants a token any more.
async fn over(shared: &Shared) {
    loop {
        shared.wake.notified().await;
        if shared.state.lock().ended {
            return;
        }
    }
}

/// Reads what the command prints until it has ended.
async fn run(
    child: &mut Child,
    printed: &mut Vec<u8>,
    said: &mut Vec<u8>,
) -> std::io::Result<std::process::ExitStatus> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut reading = std::pin::pin!(async {
        let out = async {
            let Some(out) = out else { return Ok(()) };
            out.take(TOKEN_MAX as u64 + 1).read_to_end(printed).await?;
            if printed.len() > TOKEN_MAX {
                let text = format!("printed more than {TOKEN_MAX} bytes, which no token has,");
                return Err(std::io::Error::other(text));
            }
            Ok(())
        };
        let err = async {
            match err {
                Some(err) => beginning(err, said).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(out, err)
    });
    tokio::select! {
        read = &mut reading => {
            read?;
            child.wait().await
        }
        status = child.wait() => {
            // Something that it started may hold the pipe open for ever.
            if let Ok(read) = tokio::time::timeout(GRACE, reading).await {
                read?;
            }
            status
        }
    }
}

/// Keeps the beginning and reads the rest, so that nobody waits for a full pipe.
async fn beginning(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let room = COMPLAINT_MAX.saturating_sub(into.len());
        into.extend_from_slice(&buffer[..count.min(room)]);
    }
}

/// Ends a command, and what it started, and waits for its end.
async fn end(child: &mut Child) {
    // A number only for as long as it was not waited for: no other process goes by it.
    #[cfg(unix)]
    if let Some(group) = child
        .id()
        .and_then(|group| i32::try_from(group).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.start_kill();
    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
}

/// The first line of what a command complained, without anything that might be a secret.
fn told(said: &[u8], printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return String::new();
    };
    let secret = String::from_utf8_lossy(printed);
    let line = match secret.trim() {
        secret if secret.len() >= 8 => line.replace(secret, "***"),
        _ => line.to_owned(),
    };
    let belongs = |letter: char| letter.is_ascii_alphanumeric() || "-._~+=".contains(letter);
    let mut shown = String::new();
    for piece in line.split_inclusive(|letter| !belongs(letter)) {
        let word = piece.trim_end_matches(|letter| !belongs(letter));
        let hidden = word.len() >= SECRET_MIN;
        shown.push_str(if hidden { "***" } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    let shown: String = shown
        .chars()
        .filter(|letter| !letter.is_control())
        .take(TOLD_MAX)
        .collect();
    format!("; it said: {shown}")
}

/// How long a token is good from now on, where it is one that says so (a JWT with `exp`) and that is not in the past.
fn left(token: &str, now: SystemTime) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: serde_json::Value = serde_json::from_slice(&decoded(claims)?).ok()?;
    let end = claims.get("exp")?.as_f64().filter(|end| *end > 0.0)?;
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    let left = Duration::try_from_secs_f64(end).ok()?.checked_sub(now)?;
    (!left.is_zero()).then_some(left)
}

/// Base64 as URLs have it.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
