//! One schema, three ways to write it: the tables, columns, nullability and keys of the backends' migrations are the
//! same, but for a list of differences, each with its reason. For the two servers the kinds of values are the same too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::statements::source::files;

/// What may differ from PostgreSQL's, and why. A difference that is gone is to be struck out.
const SQL_SERVER: [&str; 1] = [
    // Stands for an index of the rows with one disposition: which editions know, and the stand-in does not.
    "table {s}put_back is here alone",
];
const SQLITE: [&str; 31] = [
    // One node, one process: the lease is a lock on a file, and nobody else is told anything.
    "lease: column renewals is not here",
    "lease: column renewed_at is not here",
    "lease: column expires_at is not here",
    "lease: column ttl is not here",
    "lease: column fingerprint is not here",
    "lease: column approved is not here",
    "lease: column handoff_to is not here",
    "lease: column handoff_until is not here",
    "lease: column asked_by is not here",
    "lease: column asked_at is not here",
    "lease: column asked_to is not here",
    "table node is not here",
    "table leadership is not here",
    "table command is not here",
    // A segment is a file: it bears its own number, its store's and its own claim, and is not made ahead as a row.
    "table store is here alone",
    "table shard is not here",
    "table {s}shard is here alone",
    "table {s}segment is here alone",
    "segment: column made_at is not here",
    "segment: column first_row may not be NULL here",
    "segment: column opened_at may not be NULL here",
    // The epoch is written beside each row; on the servers it is the upper part of its number.
    "{s}message: column epoch is here alone",
    "{s}routed: column epoch is here alone",
    "{s}handled: column epoch is here alone",
    "{s}outbound: column epoch is here alone",
    "{s}outcome: column epoch is here alone",
    "{s}disposition: column epoch is here alone",
    "{s}dead_letter: column epoch is here alone",
    "{s}resolved: column epoch is here alone",
    "{s}event: column epoch is here alone",
    // The table is its own index.
    "{s}key: the primary key is (entry, message), not ()",
];

/// Made and kept by the migrators themselves.
const OF_THE_MIGRATOR: &str = "migration";

#[derive(Default, PartialEq, Debug)]
struct Table {
    columns: BTreeMap<String, Column>,
    primary: Vec<String>,
    unique: BTreeSet<Vec<String>>,
}

#[derive(PartialEq, Debug)]
struct Column {
    kind: String,
    nullable: bool,
}

type Schema = BTreeMap<String, Table>;

/// Parts of a text between commas that stand in no bracket.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|part| !part.is_empty());
    found
}

/// What stands in the first bracket of a text, which may hold others.
fn bracket(text: &str) -> &str {
    let start = text.find('(').map_or(text.len(), |at| at + 1);
    let mut depth = 1;
    for (at, letter) in text[start..].char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[start..start + at];
        }
    }
    ""
}

fn name(word: &str) -> String {
    let bare = word.trim_matches(['[', ']', '"', '(']);
    bare.strip_prefix("holdfast.").unwrap_or(bare).to_owned()
}

fn names(list: &str) -> Vec<String> {
    parts(list).into_iter().map(name).collect()
}

/// One of few words for what a column holds.
fn kind(column: &str, type_name: &str) -> String {
    let bare = type_name.split('(').next().unwrap_or_default();
    match bare.to_ascii_lowercase().as_str() {
        "bigint" => "64 bits",
        "int" | "integer" => "32 bits",
        "smallint" => "16 bits",
        "bit" | "boolean" => "yes or no",
        "uuid" | "uniqueidentifier" => "id",
        "text" | "nvarchar" => "text",
        "bytea" | "varbinary" => "bytes",
        "varchar" | "integer[]" if column == "handlers" => "numbers",
        other => return other.to_owned(),
    }
    .to_owned()
}

impl Table {
    /// A column or a constraint, as it stands in a list.
    fn add(&mut self, item: &str) {
        let upper = item.to_ascii_uppercase();
        let words: Vec<&str> = item.split_whitespace().collect();
        match upper.split([' ', '(']).next().unwrap_or_default() {
            "CHECK" => {}
            "CONSTRAINT" => self.add(words[2..].join(" ").as_str()),
            "PRIMARY" => self.primary = names(bracket(item)),
            "UNIQUE" => drop(self.unique.insert(names(bracket(item)))),
            _ => {
                let column = name(words[0]);
                let primary = upper.contains("PRIMARY KEY");
                if primary {
                    self.primary = vec![column.clone()];
                }
                let kind = kind(&column, words.get(1).copied().unwrap_or_default());
                let nullable = !primary && !upper.contains("NOT NULL");
                self.columns.insert(column, Column { kind, nullable });
            }
        }
    }
}

/// Adds what a script makes; `prefix` stands before its tables' names.
fn read(schema: &mut Schema, script: &str, prefix: &str) {
    let bare: Vec<&str> = script
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(before, _)| before))
        .filter(|line| line.trim() != "GO")
        .collect();
    for statement in bare.join("\n").split(';') {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let table = |rest: &str| {
            format!(
                "{prefix}{}",
                name(rest.split([' ', '(']).next().unwrap_or_default())
            )
        };
        if let Some(rest) = statement.strip_prefix("CREATE TABLE ") {
            let mut made = Table::default();
            parts(bracket(rest)).into_iter().for_each(|item| made.add(item));
            let before = schema.insert(table(rest), made);
            assert!(before.is_none(), "made twice: {rest}");
        } else if let Some(rest) = statement.strip_prefix("ALTER TABLE ") {
            let (Some((of, _)), Some((_, added))) = (rest.split_once(' '), rest.split_once(" ADD ")) else {
                continue;
            };
            let of = table(of);
            if of == OF_THE_MIGRATOR {
                continue;
            }
            let changed = schema
                .get_mut(&of)
                .unwrap_or_else(|| panic!("{of} is changed before it is made"));
            for item in parts(added) {
                changed.add(item.strip_prefix("ADD ").unwrap_or(item));
            }
        } else if let Some(rest) = statement.strip_prefix("CREATE UNIQUE ") {
            let (_, of) = rest.split_once(" ON ").expect("an index is on a table");
            let columns = names(bracket(of));
            schema.entry(table(of)).or_default().unique.insert(columns);
        }
    }
}

/// The schema of a backend: the scripts of a folder of its migrations, with the prefix of the tables they make.
fn schema(folders: &[(&str, &str)]) -> Schema {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut found = Schema::new();
    for (folder, prefix) in folders {
        for path in files(&root.join(folder), "sql") {
            read(&mut found, &std::fs::read_to_string(&path).unwrap(), prefix);
        }
    }
    found
}

/// What is different here from how it is in `other`; kinds of values only where both are servers.
fn differences(here: &Schema, other: &Schema, kinds: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for table in other.keys().filter(|table| !here.contains_key(*table)) {
        found.insert(format!("table {table} is not here"));
    }
    for (name, table) in here {
        let Some(theirs) = other.get(name) else {
            found.insert(format!("table {name} is here alone"));
            continue;
        };
        for (column, it) in &table.columns {
            match theirs.columns.get(column) {
                None => drop(found.insert(format!("{name}: column {column} is here alone"))),
                Some(their) => {
                    if it.nullable != their.nullable {
                        let may = if it.nullable { "may" } else { "may not" };
                        found.insert(format!("{name}: column {column} {may} be NULL here"));
                    }
                    if kinds && it.kind != their.kind {
                        found.insert(format!(
                            "{name}: column {column} holds {}, not {}",
                            it.kind, their.kind
                        ));
                    }
                }
            }
        }
        for column in theirs
            .columns
            .keys()
            .filter(|column| !table.columns.contains_key(*column))
        {
            found.insert(format!("{name}: column {column} is not here"));
        }
        if table.primary != theirs.primary {
            let list = |columns: &[String]| columns.join(", ");
            found.insert(format!(
                "{name}: the primary key is ({}), not ({})",
                list(&table.primary),
                list(&theirs.primary)
            ));
        }
        if table.unique != theirs.unique {
            found.insert(format!(
                "{name}: unique are {:?}, not {:?}",
                table.unique, theirs.unique
            ));
        }
    }
    found
}

fn postgres() -> Schema {
    schema(&[("postgres", "")])
}

#[track_caller]
fn allowed(found: &BTreeSet<String>, allowed: &[&str]) {
    let allowed: BTreeSet<String> = allowed.iter().map(|line| (*line).to_owned()).collect();
    let new: Vec<_> = found.difference(&allowed).collect();
    let gone: Vec<_> = allowed.difference(found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "\nnot allowed: {new:#?}\nallowed, and not there any more: {gone:#?}"
    );
}

#[test]
fn the_schema_for_sql_server_is_that_for_postgresql() {
    let here = schema(&[("sqlserver", "")]);
    assert!(here.len() > 15 && here["lease"].columns.len() > 15, "{here:#?}");
    allowed(&differences(&here, &postgres(), true), &SQL_SERVER);
}

#[test]
fn the_schema_for_sqlite_is_that_for_postgresql_but_for_what_one_node_needs_not() {
    let here = schema(&[("sqlite/control", ""), ("sqlite/segment", "{s}")]);
    allowed(&differences(&here, &postgres(), false), &SQLITE);
}

#[test]
fn a_difference_between_schemas_is_named() {
    let good = "CREATE TABLE holdfast.t (a bigint NOT NULL PRIMARY KEY, b nvarchar(10) COLLATE X NULL, UNIQUE (a, b))";
    let of = |script: &str| {
        let mut made = Schema::new();
        read(&mut made, script, "");
        made
    };
    let other = of("CREATE TABLE t (a bigint PRIMARY KEY, b text, UNIQUE (a, b));");
    assert_eq!(differences(&of(good), &other, true), BTreeSet::new());
    for (change, to, expected) in [
        (
            "b nvarchar(10) COLLATE X NULL",
            "b nvarchar(10) NOT NULL",
            "t: column b may not be NULL here",
        ),
        ("b nvarchar(10)", "c nvarchar(10)", "t: column b is not here"),
        ("b nvarchar(10)", "b int", "t: column b holds 32 bits, not text"),
        (" PRIMARY KEY", "", "t: the primary key is (), not (a)"),
        (", UNIQUE (a, b)", "", "t: unique are"),
        ("holdfast.t", "holdfast.u", "table u is here alone"),
    ] {
        let found = differences(&of(&good.replacen(change, to, 1)), &other, true);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{to}: {found:?}"
        );
    }
}
