//! Reads facts from a syntax tree: where the arguments of a call stand, which names and texts a
//! top-level definition mentions, what a `send` or a router's `return` names.

use std::collections::{BTreeMap, HashMap};

use starlark::codemap::Span;
use starlark::syntax::AstModule;
use starlark::syntax::ast::{
    ArgumentP, AssignTargetP, AstExpr, AstLiteral, AstNoPayload, AstStmt, BinOp, CallArgsP, ClauseP, ExprP,
    StmtP,
};

/// Byte range in the parsed text.
pub(crate) type Range = (usize, usize);

/// One argument of a call.
#[derive(Clone, Debug)]
pub(crate) struct ArgumentPlace {
    /// Its keyword, when it has one.
    pub(crate) name: Option<String>,
    /// Where its keyword (or, without one, its value) stands.
    pub(crate) key: Range,
    /// Where its value stands.
    pub(crate) value: Range,
    /// Whether its value is a text written right here.
    pub(crate) literal: bool,
}

/// A text that names something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// The text.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) at: Range,
}

/// What one top-level definition mentions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    /// All literal texts.
    pub(crate) texts: Vec<Named>,
    /// Literal texts that are put together with others: `"edit_" + kind`, `"h%d" % i`.
    pub(crate) parts: Vec<String>,
    /// All names that it reads.
    pub(crate) reads: Vec<String>,
    /// First arguments of `send(...)`.
    pub(crate) sends: Vec<Named>,
    /// Texts that a `return` gives, alone or in a list.
    pub(crate) returns: Vec<Named>,
}

/// The facts of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Arguments by the range of their call.
    calls: HashMap<Range, Vec<ArgumentPlace>>,
    /// Top-level functions and variables.
    pub(crate) definitions: BTreeMap<String, Definition>,
    /// Loaded names: local name to (file, name there).
    pub(crate) loads: BTreeMap<String, (String, String)>,
    /// Texts and lists that are repeated too often: `"x" * 200000000`.
    pub(crate) repeats: Vec<Range>,
    /// Texts at the top level that are kept under the name of a secret.
    pub(crate) secrets: Vec<Named>,
    /// First arguments of `inbound(...)` and `outbound(...)`.
    pub(crate) connections: Vec<Named>,
}

impl Facts {
    /// Reads a file's tree.
    pub(crate) fn read(ast: &AstModule) -> Facts {
        let mut facts = Facts::default();
        facts.statement(ast.statement());
        facts
    }

    /// The arguments of the call at this range.
    pub(crate) fn arguments(&self, call: Range) -> Option<&[ArgumentPlace]> {
        self.calls.get(&call).map(Vec::as_slice)
    }

    fn statement(&mut self, statement: &AstStmt) {
        match &statement.node {
            StmtP::Statements(all) => all.iter().for_each(|one| self.statement(one)),
            StmtP::Def(def) => {
                let mut definition = Definition::default();
                self.body(&def.body, &mut definition);
                self.definitions.insert(def.name.node.ident.clone(), definition);
            }
            StmtP::Assign(assign) => {
                let mut definition = Definition::default();
                self.expression(&assign.rhs, &mut definition);
                if let AssignTargetP::Identifier(name) = &assign.lhs.node {
                    let name_text = &name.node.ident;
                    if crate::secrets::is_secret(name_text) && is_value(&assign.rhs) {
                        self.secrets.push(named(name_text, assign.rhs.span));
                    }
                    self.definitions.insert(name.node.ident.clone(), definition);
                }
            }
            StmtP::Load(load) => {
                for argument in &load.args {
                    let target = (load.module.node.clone(), argument.their.node.clone());
                    self.loads.insert(argument.local.node.ident.clone(), target);
                }
            }
            _ => self.body(statement, &mut Definition::default()),
        }
    }

    fn body(&mut self, statement: &AstStmt, into: &mut Definition) {
        match &statement.node {
            StmtP::Return(Some(value)) => {
                returned(value, &mut into.returns);
                self.expression(value, into);
            }
            StmtP::Expression(value) => self.expression(value, into),
            StmtP::Assign(assign) => {
                self.target(&assign.lhs.node, into);
                self.expression(&assign.rhs, into);
            }
            StmtP::AssignModify(target, _, value) => {
                self.target(&target.node, into);
                self.expression(value, into);
            }
            StmtP::Statements(all) => all.iter().for_each(|one| self.body(one, into)),
            StmtP::If(condition, then) => {
                self.expression(condition, into);
                self.body(then, into);
            }
            StmtP::IfElse(condition, branches) => {
                self.expression(condition, into);
                self.body(&branches.0, into);
                self.body(&branches.1, into);
            }
            StmtP::For(each) => {
                self.expression(&each.over, into);
                self.body(&each.body, into);
            }
            StmtP::Def(inner) => self.body(&inner.body, into),
            StmtP::Return(None) | StmtP::Break | StmtP::Continue | StmtP::Pass | StmtP::Load(_) => {}
        }
    }

    fn target(&mut self, target: &AssignTargetP<AstNoPayload>, into: &mut Definition) {
        match target {
            AssignTargetP::Index(pair) => {
                self.expression(&pair.0, into);
                self.expression(&pair.1, into);
            }
            AssignTargetP::Dot(of, _) => self.expression(of, into),
            AssignTargetP::Tuple(all) => all.iter().for_each(|one| self.target(&one.node, into)),
            AssignTargetP::Identifier(_) => {}
        }
    }

    fn expression(&mut self, expression: &AstExpr, into: &mut Definition) {
        match &expression.node {
            ExprP::Literal(AstLiteral::String(text)) => into.texts.push(named(&text.node, expression.span)),
            ExprP::Literal(_) => {}
            ExprP::Identifier(name) => into.reads.push(name.node.ident.clone()),
            ExprP::Call(function, arguments) => {
                self.call(expression.span, function, arguments, into);
                self.expression(function, into);
                arguments
                    .args
                    .iter()
                    .for_each(|argument| self.expression(argument.expr(), into));
            }
            ExprP::Tuple(all) | ExprP::List(all) => all.iter().for_each(|one| self.expression(one, into)),
            ExprP::Dict(all) => all.iter().for_each(|(key, value)| {
                self.expression(key, into);
                self.expression(value, into);
            }),
            ExprP::Dot(one, _)
            | ExprP::Not(one)
            | ExprP::Minus(one)
            | ExprP::Plus(one)
            | ExprP::BitNot(one) => {
                self.expression(one, into);
            }
            ExprP::Index(pair) => {
                self.expression(&pair.0, into);
                self.expression(&pair.1, into);
            }
            ExprP::Index2(three) | ExprP::If(three) => {
                self.expression(&three.0, into);
                self.expression(&three.1, into);
                self.expression(&three.2, into);
            }
            ExprP::Slice(of, from, to, step) => {
                self.expression(of, into);
                [from, to, step]
                    .into_iter()
                    .flatten()
                    .for_each(|one| self.expression(one, into));
            }
            ExprP::Lambda(lambda) => self.expression(&lambda.body, into),
            ExprP::Op(left, operator, right) => {
                if *operator == BinOp::Multiply && (is_huge(left, right) || is_huge(right, left)) {
                    self.repeats.push(range(expression.span));
                }
                if matches!(operator, BinOp::Add | BinOp::Percent) {
                    into.parts
                        .extend([left, right].into_iter().filter_map(|side| text(side)));
                }
                self.expression(left, into);
                self.expression(right, into);
            }
            ExprP::ListComprehension(item, first, rest) => {
                self.expression(item, into);
                self.clauses(&first.over, rest, into);
            }
            ExprP::DictComprehension(item, first, rest) => {
                self.expression(&item.0, into);
                self.expression(&item.1, into);
                self.clauses(&first.over, rest, into);
            }
            ExprP::FString(text) => {
                into.parts.push(text.format.node.clone());
                text.expressions.iter().for_each(|one| self.expression(one, into));
            }
        }
    }

    fn clauses(&mut self, over: &AstExpr, rest: &[ClauseP<AstNoPayload>], into: &mut Definition) {
        self.expression(over, into);
        for clause in rest {
            match clause {
                ClauseP::For(each) => self.expression(&each.over, into),
                ClauseP::If(condition) => self.expression(condition, into),
            }
        }
    }

    fn call(
        &mut self,
        span: Span,
        function: &AstExpr,
        arguments: &CallArgsP<AstNoPayload>,
        into: &mut Definition,
    ) {
        let places: Vec<ArgumentPlace> = arguments
            .args
            .iter()
            .map(|argument| place(&argument.node, argument.span))
            .collect();
        if let ExprP::Dot(of, method) = &function.node
            && method.node == "format"
        {
            into.parts.extend(text(of));
        }
        if let ExprP::Identifier(name) = &function.node {
            let first = arguments.args.iter().find(|argument| match &argument.node {
                ArgumentP::Positional(_) => true,
                ArgumentP::Named(key, _) => matches!(key.node.as_str(), "destination" | "name"),
                _ => false,
            });
            if let Some(ExprP::Literal(AstLiteral::String(text))) =
                first.map(|argument| &argument.expr().node)
            {
                match name.node.ident.as_str() {
                    "send" => into.sends.push(named(&text.node, text.span)),
                    "inbound" | "outbound" => self.connections.push(named(&text.node, text.span)),
                    _ => {}
                }
            }
        }
        self.calls.insert(range(span), places);
    }
}

/// How often a text or list that stands in the file may be repeated. The interpreter works such an expression
/// out while it loads, where nothing bounds it.
const REPEATS_MAX: u64 = 1_000_000;

fn text(expression: &AstExpr) -> Option<String> {
    match &expression.node {
        ExprP::Literal(AstLiteral::String(text)) => Some(text.node.clone()),
        _ => None,
    }
}

/// A text of its own right, not one that says where a value stands in a message.
fn is_value(expression: &AstExpr) -> bool {
    match &expression.node {
        ExprP::Literal(AstLiteral::String(text)) => {
            !text.node.trim().is_empty() && text.node.parse::<formats::hl7::Path>().is_err()
        }
        _ => false,
    }
}

fn is_huge(what: &AstExpr, times: &AstExpr) -> bool {
    let repeated = matches!(
        &what.node,
        ExprP::Literal(AstLiteral::String(_) | AstLiteral::Bytes(_)) | ExprP::List(_) | ExprP::Tuple(_)
    );
    let ExprP::Literal(AstLiteral::Int(number)) = &times.node else {
        return false;
    };
    repeated
        && number
            .node
            .to_string()
            .parse::<u64>()
            .map_or(true, |number| number > REPEATS_MAX)
}

/// Texts that a router's `return` can give: alone, in lists and tuples, on both sides of a condition,
/// a sum or an `or`.
fn returned(value: &AstExpr, into: &mut Vec<Named>) {
    match &value.node {
        ExprP::Literal(AstLiteral::String(text)) => into.push(named(&text.node, value.span)),
        ExprP::List(all) | ExprP::Tuple(all) => all.iter().for_each(|one| returned(one, into)),
        ExprP::If(three) => {
            returned(&three.1, into);
            returned(&three.2, into);
        }
        ExprP::Op(left, BinOp::Or, right) => {
            returned(left, into);
            returned(right, into);
        }
        // Only lists add up to lists of names; texts add up to names that are not known here.
        ExprP::Op(left, BinOp::Add, right) => {
            for side in [left, right]
                .into_iter()
                .filter(|side| matches!(side.node, ExprP::List(_) | ExprP::If(_)))
            {
                returned(side, into);
            }
        }
        ExprP::ListComprehension(item, ..) => returned(item, into),
        _ => {}
    }
}

fn place(argument: &ArgumentP<AstNoPayload>, span: Span) -> ArgumentPlace {
    let value = argument.expr();
    let (name, key) = match argument {
        ArgumentP::Named(name, _) => (Some(name.node.clone()), range(name.span)),
        _ => (None, range(span)),
    };
    let literal = matches!(&value.node, ExprP::Literal(AstLiteral::String(_)));
    ArgumentPlace {
        name,
        key,
        value: range(value.span),
        literal,
    }
}

fn named(text: &str, span: Span) -> Named {
    Named {
        text: text.to_owned(),
        at: range(span),
    }
}

/// A span as a byte range.
pub(crate) fn range(span: Span) -> Range {
    (span.begin().get() as usize, span.end().get() as usize)
}
