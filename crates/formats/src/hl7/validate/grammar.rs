//! Message structures: read from text once, compiled per version into what [`super::walk`] follows.
//!
//! A structure names at most 63 different segments, so that a set of segments is one machine word.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::hl7::dictionary::Version;

/// A set of segment names of one structure, one bit each.
pub(super) type Names = u64;

/// How many segment names one structure can hold; the bit after them stands for all others.
const MOST: usize = 63;

/// One place of a structure.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// May be left out as a whole.
    pub(super) optional: bool,
    /// May follow itself.
    pub(super) repeats: bool,
    /// What it can begin with.
    pub(super) first: Names,
    /// All that occurs in it.
    pub(super) names: Names,
    /// Can be satisfied by nothing.
    pub(super) nullable: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Segment(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    /// Everything that is left, whatever it is.
    Anything,
}

/// The structure of one message type in one version.
#[derive(Debug)]
pub(super) struct Structure {
    pub(super) name: &'static str,
    pub(super) root: Node,
    bits: HashMap<String, Names>,
}

impl Structure {
    /// The bit of a segment name. All that the structure does not know share one.
    pub(super) fn bit(&self, name: &str) -> Names {
        self.bits.get(name).copied().unwrap_or(1 << MOST)
    }
}

struct Book {
    /// By name, oldest rule first.
    rules: HashMap<&'static str, Vec<(Version, String)>>,
    /// Structure by message code and event; event `""` is any.
    events: HashMap<(&'static str, &'static str), &'static str>,
}

fn book() -> &'static Book {
    static BOOK: OnceLock<Book> = OnceLock::new();
    BOOK.get_or_init(|| {
        read(include_str!("structures.txt"))
            .expect("the embedded text is fixed at build time and a test reads it")
    })
}

fn read(text: &'static str) -> Result<Book, String> {
    let mut book = Book {
        rules: HashMap::new(),
        events: HashMap::new(),
    };
    let mut macros: Vec<(&str, String)> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let wrong = || format!("not a rule: {line}");
        if let Some(definition) = line.strip_prefix('@') {
            let (name, body) = definition.split_once(" = ").ok_or_else(wrong)?;
            macros.push((name, expand(body, &macros)?));
            continue;
        }
        let (head, body) = line.split_once(" : ").ok_or_else(wrong)?;
        let mut words = head.split(' ');
        let name = words.next().ok_or_else(wrong)?;
        if name == "=" {
            let code = words.next().ok_or_else(wrong)?;
            let mut any = true;
            for event in words {
                any = false;
                book.events.insert((code, event), body);
            }
            if any {
                book.events.insert((code, ""), body);
            }
            continue;
        }
        let since = match words.next() {
            Some(version) => Version::parse(version).ok_or_else(wrong)?,
            None => Version::V2_1,
        };
        book.rules
            .entry(name)
            .or_default()
            .push((since, expand(body, &macros)?));
    }
    Ok(book)
}

/// Puts the text of each `@NAME` in its place.
fn expand(body: &str, macros: &[(&str, String)]) -> Result<String, String> {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('@') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase() && c != '_')
            .unwrap_or(rest.len());
        let (_, text) = macros
            .iter()
            .find(|(name, _)| *name == &rest[..end])
            .ok_or_else(|| format!("@{} is not defined before its use", &rest[..end]))?;
        out.push_str(text);
        rest = &rest[end..];
    }
    out.push_str(rest);
    Ok(out)
}

/// What the events of a message code have to say about one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It has this structure.
    Structure(&'static str),
    /// All events of the code are known here, and this is none.
    Unknown,
    /// Nothing is known.
    NotListed,
}

/// The message codes of which every event stands in the text.
const COMPLETE: [&str; 1] = ["ADT"];

/// The structure of a message code and event; `named` is MSH-9.3, asked when the event is not listed.
pub(super) fn event(code: &str, trigger: &str, named: &str) -> Event {
    let book = book();
    let listed = book
        .events
        .get(&(code, trigger))
        .or_else(|| book.events.get(&(code, "")));
    if let Some(structure) = listed {
        return Event::Structure(structure);
    }
    // Local events begin with Z and are nobody's fault.
    if COMPLETE.contains(&code) && !trigger.starts_with('Z') {
        return Event::Unknown;
    }
    match book.rules.get_key_value(named) {
        Some((name, _)) => Event::Structure(name),
        None => Event::NotListed,
    }
}

/// The structure called `name` as `version` has it.
pub(super) fn structure(name: &str, version: Version) -> Option<&'static Structure> {
    type Compiled = HashMap<(&'static str, Version), Structure>;
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    let all = COMPILED.get_or_init(|| {
        let mut all = HashMap::new();
        for (name, rules) in &book().rules {
            for version in Version::ALL {
                if let Some((_, text)) = rules.iter().rev().find(|(since, _)| since <= version) {
                    let structure = compile(name, text, *version)
                        .expect("the embedded text is fixed at build time and a test compiles it");
                    all.insert((*name, *version), structure);
                }
            }
        }
        all
    });
    let (name, _) = book().rules.get_key_value(name)?;
    all.get(&(*name, version))
}

fn compile(name: &'static str, text: &str, version: Version) -> Result<Structure, String> {
    let mut compiler = Compiler {
        rest: text,
        version,
        bits: HashMap::new(),
    };
    let nodes = compiler.sequence()?;
    if !compiler.rest.is_empty() {
        return Err(format!("{name}: stopped at {}", compiler.rest));
    }
    let root = sequence_node(nodes, false, false);
    Ok(Structure {
        name,
        root,
        bits: compiler.bits,
    })
}

struct Compiler<'a> {
    rest: &'a str,
    version: Version,
    bits: HashMap<String, Names>,
}

impl Compiler<'_> {
    fn eat(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn close(&mut self, token: char) -> Result<(), String> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("{token} expected before {}", self.rest))
        }
    }

    /// Everything up to a closing bracket or the end. Places that the version does not have are left out.
    fn sequence(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None | Some(']' | '}' | ')' | '|') => return Ok(nodes),
                Some('[') => {
                    self.eat('[');
                    let inner = self.sequence()?;
                    self.close(']')?;
                    nodes.extend(group(inner, true, false));
                }
                Some('{') => {
                    self.eat('{');
                    let inner = self.sequence()?;
                    self.close('}')?;
                    nodes.extend(group(inner, false, true));
                }
                Some('(') => nodes.push(self.choice()?),
                Some('*') => {
                    self.eat('*');
                    nodes.push(Node {
                        kind: Kind::Anything,
                        optional: true,
                        repeats: false,
                        first: Names::MAX,
                        names: Names::MAX,
                        nullable: true,
                    });
                }
                Some(_) => nodes.extend(self.segment()?),
            }
        }
    }

    fn choice(&mut self) -> Result<Node, String> {
        self.eat('(');
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(sequence_node(self.sequence()?, false, false));
            if !self.eat('|') {
                break;
            }
        }
        self.close(')')?;
        Ok(Node {
            optional: false,
            repeats: false,
            first: alternatives.iter().fold(0, |all, node| all | node.first),
            names: alternatives.iter().fold(0, |all, node| all | node.names),
            nullable: alternatives.iter().any(|node| node.nullable),
            kind: Kind::Choice(alternatives),
        })
    }

    fn segment(&mut self) -> Result<Option<Node>, String> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '.');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        let (name, since) = word.split_once('+').unwrap_or((word, "2.1"));
        let since = Version::parse(since).ok_or_else(|| format!("no version: {word}"))?;
        if name.len() != 3 {
            return Err(format!("no segment: {word:?} before {rest}"));
        }
        if since > self.version {
            return Ok(None);
        }
        let next = self.bits.len();
        if next >= MOST && !self.bits.contains_key(name) {
            return Err(format!("more than {MOST} different segments"));
        }
        let bit = *self.bits.entry(name.to_owned()).or_insert_with(|| 1 << next);
        let kind = Kind::Segment(name.to_owned());
        Ok(Some(Node {
            kind,
            optional: false,
            repeats: false,
            first: bit,
            names: bit,
            nullable: false,
        }))
    }
}

/// A bracketed part; nothing when the version has nothing of it.
fn group(mut inner: Vec<Node>, optional: bool, repeats: bool) -> Option<Node> {
    match inner.len() {
        0 => None,
        // `[{x}]` and `{x}` need no level of their own.
        1 => {
            let mut node = inner.remove(0);
            node.optional |= optional;
            node.repeats |= repeats;
            node.nullable |= optional;
            Some(node)
        }
        _ => Some(sequence_node(inner, optional, repeats)),
    }
}

fn sequence_node(nodes: Vec<Node>, optional: bool, repeats: bool) -> Node {
    let mut first = 0;
    for node in &nodes {
        first |= node.first;
        if !node.nullable {
            break;
        }
    }
    Node {
        optional,
        repeats,
        first,
        names: nodes.iter().fold(0, |all, node| all | node.names),
        nullable: optional || nodes.iter().all(|node| node.nullable),
        kind: Kind::Sequence(nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_structure_compiles_in_every_version() {
        for (name, rules) in &book().rules {
            for version in Version::ALL {
                if rules.iter().any(|(since, _)| since <= version) {
                    assert_eq!(structure(name, *version).unwrap().name, *name);
                }
            }
        }
    }

    #[test]
    fn every_event_names_a_structure_that_exists() {
        let lost: Vec<_> = book()
            .events
            .values()
            .filter(|name| !book().rules.contains_key(*name))
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
    }

    #[test]
    fn an_unlisted_event_falls_back_on_the_structure_the_message_names() {
        let cases = [
            (("ADT", "A08", ""), Event::Structure("ADT_A01")),
            (("ADT", "A99", ""), Event::Unknown),
            (("ADT", "Z01", ""), Event::NotListed),
            (("ORU", "R99", "ORU_R01"), Event::Structure("ORU_R01")),
            (("ORU", "R99", ""), Event::NotListed),
            (("ACK", "A01", ""), Event::Structure("ACK")),
        ];
        for ((code, trigger, named), expected) in cases {
            assert_eq!(event(code, trigger, named), expected, "{code}^{trigger}^{named}");
        }
    }

    #[test]
    fn a_rule_with_a_loose_bracket_is_refused() {
        for text in ["MSH [PID", "MSH {PID]", "MSH PID}", "MSH P"] {
            assert!(compile("X", text, Version::V2_5).is_err(), "{text}");
        }
    }
}
