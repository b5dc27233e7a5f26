//! A config repository, loaded and checked against everything that is known without running it: the
//! functions and wiring (by `script`), the connectors' own options, and what two connections claim both.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::Posture;
use model::graph::Graph;
use model::problem::{Problem, Severity, Span};
use script::Program;

use crate::settings::secret_values;

/// The code of a problem whose line holds a secret.
const SECRET_IN_FILE: &str = "secret-in-file";

/// A configuration that can run.
#[derive(Clone)]
pub struct Project {
    /// What it declares.
    pub graph: Graph,
    /// Its functions.
    pub program: Arc<dyn Program>,
    /// Warnings only.
    pub warnings: Vec<Problem>,
    /// Equal on nodes that run the same configuration.
    pub fingerprint: String,
    /// The environment it was loaded for.
    pub environment: String,
    /// What that environment is for.
    pub posture: Posture,
}

/// Loads the repository at `root` for an environment. All problems at once; warnings are in `Ok` too.
pub fn load(root: &Path, environment: &str) -> Result<Project, Vec<Problem>> {
    let specs = connectors::registry::specs();
    let secrets = secret_values();
    let request = script::Request {
        root,
        environment,
        connectors: &specs,
        secrets: &secrets,
    };
    let loaded = script::load(&request).map_err(|problems| with_source_lines(root, problems))?;
    let problems = check_connectors(&loaded.graph);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        let mut all = loaded.warnings;
        all.extend(problems);
        return Err(with_source_lines(root, all));
    }
    let mut warnings = loaded.warnings;
    warnings.extend(problems);
    Ok(Project {
        graph: loaded.graph,
        program: loaded.program,
        warnings: with_source_lines(root, warnings),
        fingerprint: loaded.fingerprint,
        environment: environment.to_owned(),
        posture: loaded.posture,
    })
}

fn check_connectors(graph: &Graph) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut claims: BTreeMap<String, (String, Span)> = BTreeMap::new();
    for inbound in graph.inbounds.values() {
        let call = &inbound.connector;
        let Some(connector) = connectors::registry::find(&call.connector) else {
            continue;
        };
        problems.extend(
            connector
                .source(call)
                .err()
                .into_iter()
                .flatten()
                .map(|found| placed(found, &call.span)),
        );
        for claim in connector.claims(call) {
            if let Some((other, _)) = claims.get(&claim) {
                let text = format!(
                    "`{}` and `{other}` both want {}",
                    inbound.name,
                    describe_claim(&claim)
                );
                let problem = Problem::error("collision", text).at(call.span.clone());
                problems.push(problem.suggest("give one of them another"));
            } else {
                claims.insert(claim, (inbound.name.clone(), call.span.clone()));
            }
        }
    }
    for outbound in graph.outbounds.values() {
        let call = &outbound.connector;
        let Some(connector) = connectors::registry::find(&call.connector) else {
            continue;
        };
        problems.extend(
            connector
                .sink(call)
                .err()
                .into_iter()
                .flatten()
                .map(|found| placed(found, &call.span)),
        );
    }
    problems
}

fn placed(problem: Problem, span: &Span) -> Problem {
    if problem.span.is_some() {
        problem
    } else {
        problem.at(span.clone())
    }
}

fn describe_claim(claim: &str) -> String {
    match claim.split_once(':') {
        Some(("tcp", port)) => format!("TCP port {port}"),
        Some((kind, rest)) => format!("{kind} {rest}"),
        None => claim.to_owned(),
    }
}

/// Puts the text of the line beside each problem that names a place; never that of a secret.
fn with_source_lines(root: &Path, mut problems: Vec<Problem>) -> Vec<Problem> {
    for problem in &mut problems {
        if problem.code == SECRET_IN_FILE {
            problem.source_line = None;
            continue;
        }
        let (None, Some(span)) = (&problem.source_line, &problem.span) else {
            continue;
        };
        let Ok(text) = std::fs::read_to_string(root.join(&span.file)) else {
            continue;
        };
        let line = usize::try_from(span.line.saturating_sub(1)).unwrap_or(0);
        problem.source_line = text.lines().nth(line).map(str::to_owned);
    }
    problems
}
