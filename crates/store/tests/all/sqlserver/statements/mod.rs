//! Every statement of the backend is read by a T-SQL parser that shares nothing with this project (sqlfluff, from PyPI, in
//! an environment of its own below `target/`): constants, migrations, and the script with the database's roles.
//!
//! It knows the grammar, not the schema: a column that is not there is for a server to find.

pub(crate) mod source;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use source::{constant, constants, files};

/// What it takes to run the parser; the packages are pinned, with all that they need.
const REQUIREMENTS: &str = include_str!("requirements.txt");
const PARSER: &str = include_str!("parse.py");

/// Statements that are put together of several constants, and the constants that are only parts of them. `{...}` stands
/// for the texts of an array, one after the other.
const TOGETHER: [(&str, &[&str]); 2] = [
    ("a handoff", &["APPEND_BEGIN", "APPENDS", "APPEND_END"]),
    (
        "a handoff on a server that ignores hints",
        &["APPEND_BEGIN_WITHOUT_HINTS", "APPENDS", "APPEND_END"],
    ),
];
/// Names of tables, columns and indexes, and no statements.
const NAMES: [&str; 1] = ["INDEXES"];
/// What is declared by the batch around a part of one.
const DECLARED: [(&str, &str); 1] = [("PROVE", "DECLARE @epoch int, @term uniqueidentifier;\n")];

/// Fills what is filled in at run time: prefixes of segments, a table, a column, the next value.
fn filled(text: &str) -> String {
    let mut out = String::new();
    let mut next = 20;
    let text = text
        .replace("{s}", "holdfast.s000001_")
        .replace("{n}", "holdfast.n000001_")
        .replace("{table}", "message")
        .replace("{entry}", "a.entry");
    // A text out of JSON, which is read as it is.
    let text = text.replace(['{', '}'], "");
    for letter in text.chars() {
        if letter == '?' {
            next += 1;
            out.push_str(&format!("@P{next}"));
        } else {
            out.push(letter);
        }
    }
    out
}

/// All statements by name.
fn statements() -> Vec<(String, String)> {
    let all = constants();
    let mut found = Vec::new();
    let parts: Vec<&str> = TOGETHER
        .iter()
        .flat_map(|(_, parts)| parts.iter().copied())
        .collect();
    for (name, texts) in &all {
        if parts.contains(&name.as_str()) || NAMES.contains(&name.as_str()) {
            continue;
        }
        let declared = DECLARED
            .iter()
            .find(|(of, _)| of == name)
            .map_or("", |(_, text)| text);
        for (place, text) in texts.iter().enumerate() {
            let name = if texts.len() > 1 {
                format!("{name}[{place}]")
            } else {
                name.clone()
            };
            found.push((name, format!("{declared}{}", filled(text))));
        }
    }
    for (name, parts) in TOGETHER {
        let texts = parts.iter().flat_map(|part| {
            all.get(*part)
                .unwrap_or_else(|| panic!("there is no constant {part} in src/sqlserver/sql any more"))
        });
        let text: String = texts.map(String::as_str).collect();
        found.push((name.to_owned(), filled(&text)));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = files(&root.join("migrations/sqlserver"), "sql");
    scripts.extend(files(&root.join("../../deploy/sqlserver"), "sql"));
    for path in scripts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // `GO` parts batches for the client; the parser takes them one by one, and so does a server.
        for (place, batch) in batches(&std::fs::read_to_string(&path).unwrap())
            .into_iter()
            .enumerate()
        {
            found.push((format!("{name}, batch {}", place + 1), filled(&batch)));
        }
    }
    found
}

/// The batches of a script for sqlcmd; lines that begin with a colon are for itself.
fn batches(script: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in script.lines() {
        if line.trim().eq_ignore_ascii_case("GO") {
            found.push(String::new());
        } else if !line.starts_with(':') {
            let batch = found.last_mut().unwrap();
            batch.push_str(line);
            batch.push('\n');
        }
    }
    found.retain(|batch| {
        batch
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim().starts_with("--"))
    });
    found
}

/// An environment with the parser, made once for these requirements, by one test at a time.
fn python() -> Result<PathBuf, String> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mark = REQUIREMENTS
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |mark, byte| {
            (mark ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/tools/tsql-{mark:016x}"));
    let python = folder.join("bin/python");
    if folder.join("ready").exists() {
        return Ok(python);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let answer = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        let answer = answer.map_err(|fault| format!("{}: {fault}", program.display()))?;
        if answer.status.success() {
            return Ok(());
        }
        let said =
            String::from_utf8_lossy(&answer.stderr).into_owned() + &String::from_utf8_lossy(&answer.stdout);
        Err(format!("{} {}: {said}", program.display(), arguments.join(" ")))
    };
    let _ = std::fs::remove_dir_all(&folder);
    let place = folder.to_string_lossy().into_owned();
    run(Path::new("python3"), &["-m", "venv", &place])?;
    let list = folder.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(|fault| fault.to_string())?;
    let list = list.to_string_lossy().into_owned();
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--timeout",
        "30",
        "-r",
        &list,
    ];
    run(&python, &install)?;
    std::fs::write(folder.join("ready"), "").map_err(|fault| fault.to_string())?;
    Ok(python)
}

/// What the parser says of each statement.
fn parse(python: &Path, statements: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let mut child = Command::new(python)
        .args(["-c", PARSER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = serde_json::to_vec(statements).unwrap();
    child.stdin.take().unwrap().write_all(&asked).unwrap();
    let answer = child.wait_with_output().unwrap();
    assert!(answer.status.success(), "the parser ended with {}", answer.status);
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// The parser, or `None` where it cannot be had: said aloud, and a failure where everything has to be checked.
fn parser() -> Option<PathBuf> {
    match python() {
        Ok(python) => Some(python),
        Err(fault) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("the statements for SQL Server were not checked (install python3 with its venv): {fault}")
        }
        Err(fault) => {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: the statements for SQL Server were not read by a parser (install python3 with its venv): {fault}"
            );
            None
        }
    }
}

#[test]
fn a_t_sql_parser_reads_every_statement() {
    let Some(python) = parser() else { return };
    let statements = statements();
    let faults: Vec<String> = parse(&python, &statements)
        .into_iter()
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(name, faults)| format!("{name}: {}", faults.join("; ")))
        .collect();
    assert!(
        faults.is_empty(),
        "\n{} of {} to mend:\n- {}\n",
        faults.len(),
        statements.len(),
        faults.join("\n- ")
    );
}

/// What may happen to a statement, and has to be noticed.
const SLIPS: [(&str, &str, &str); 8] = [
    ("HOLDS", "WITH (UPDLOCK", "WITH (UPDLOK"),
    ("HOLDS", "FROM ", "FORM "),
    ("HOLDS", "ROWLOCK, REPEATABLEREAD)", "ROWLOCK, REPEATABLEREAD"),
    (
        "HOLDS",
        "REPEATABLEREAD)",
        "REPEATABLEREAD) FOR UPDATE SKIP LOCKED",
    ),
    ("CLAIM", "SET session = @P3", "SET session = "),
    ("CLAIM", "WHERE", "WERE"),
    ("OPEN_SEGMENT", "END;", ""),
    ("MESSAGE_IDS", "TOP (@P3) id", "id LIMIT @P3"),
];

#[test]
fn the_parser_notices_a_statement_that_is_broken() {
    let Some(python) = parser() else { return };
    let broken: Vec<(String, String)> = SLIPS
        .iter()
        .map(|(name, from, to)| {
            let whole = filled(&constant(name));
            let text = whole.replacen(from, to, 1);
            assert_ne!(text, whole, "{name} has no `{from}` any more");
            (format!("{name} with `{to}` for `{from}`"), text)
        })
        .collect();
    let unnoticed: Vec<String> = parse(&python, &broken)
        .into_iter()
        .filter(|(_, faults)| faults.is_empty())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(unnoticed, Vec::<String>::new());
}
