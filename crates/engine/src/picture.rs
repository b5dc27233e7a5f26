//! The graph, drawn: as text, Mermaid, Graphviz dot or JSON. Edges out of a function are the names that
//! its code mentions; what it decides at run time may be fewer.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::connector::{Call, Value};
use model::graph::{Graph, Ordering};
use serde::Serialize;

/// A node of the drawing.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// `inbound`, `router`, `handler` or `outbound`.
    pub role: &'static str,
    /// A short text beside it, such as `mllp 2600`.
    pub label: String,
}

/// The whole drawing.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Picture {
    /// In the order of the flow.
    pub items: Vec<Item>,
    /// From, to.
    pub edges: Vec<(String, String)>,
}

/// Lays the graph out.
pub fn of(graph: &Graph) -> Picture {
    let mut items = Vec::new();
    let mut edges = BTreeSet::new();
    for inbound in graph.inbounds.values() {
        items.push(item(&inbound.name, "inbound", label(&inbound.connector)));
        if graph.routers.contains_key(&inbound.router) {
            edges.insert((inbound.name.clone(), inbound.router.clone()));
        }
    }
    for router in graph.routers.values() {
        items.push(item(&router.name, "router", String::new()));
        for name in router
            .mentions
            .iter()
            .filter(|name| graph.handlers.contains_key(*name))
        {
            edges.insert((router.name.clone(), name.clone()));
        }
    }
    for handler in graph.handlers.values() {
        items.push(item(&handler.name, "handler", String::new()));
        let known =
            |name: &&String| graph.outbounds.contains_key(*name) || graph.inbounds.contains_key(*name);
        for name in handler.mentions.iter().filter(known) {
            edges.insert((handler.name.clone(), name.clone()));
        }
    }
    for outbound in graph.outbounds.values() {
        let order = match &outbound.ordering {
            Ordering::Fifo => String::new(),
            Ordering::Partitioned { path } => format!(", order by {path}"),
            Ordering::Unordered => ", unordered".to_owned(),
            Ordering::Priority => ", by priority".to_owned(),
            Ordering::Lifo => ", newest first".to_owned(),
        };
        items.push(item(
            &outbound.name,
            "outbound",
            label(&outbound.connector) + &order,
        ));
        if let Some(reply_to) = &outbound.reply_to {
            edges.insert((outbound.name.clone(), reply_to.clone()));
        }
    }
    Picture {
        items,
        edges: edges.into_iter().collect(),
    }
}

fn item(name: &str, role: &'static str, label: String) -> Item {
    Item {
        name: name.to_owned(),
        role,
        label,
    }
}

fn label(call: &Call) -> String {
    let mut label = call.connector.clone();
    for option in ["host", "port", "directory", "every", "cron"] {
        match call.options.get(option) {
            Some(Value::Text(text)) if !text.is_empty() => write!(label, " {text}"),
            Some(Value::Int(number)) => write!(label, " {number}"),
            _ => Ok(()),
        }
        .expect("writing to a String cannot fail");
    }
    label
}

impl Picture {
    /// An indented tree from each inbound.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for item in self.items.iter().filter(|item| item.role == "inbound") {
            self.branch(&mut text, &item.name, 0, &mut Vec::new());
        }
        text
    }

    fn branch(&self, text: &mut String, name: &str, depth: usize, path: &mut Vec<String>) {
        let Some(item) = self.items.iter().find(|item| item.name == name) else {
            return;
        };
        let arrow = if depth == 0 { "" } else { "-> " };
        let label = if item.label.is_empty() {
            String::new()
        } else {
            format!("  ({})", item.label)
        };
        text.push_str(&format!(
            "{}{arrow}{} {name}{label}\n",
            "   ".repeat(depth),
            item.role
        ));
        if path.iter().any(|seen| seen == name) {
            return; // a loop through a loopback or passthrough inbound
        }
        path.push(name.to_owned());
        for (_, to) in self.edges.iter().filter(|(from, _)| from == name) {
            self.branch(text, to, depth + 1, path);
        }
        path.pop();
    }

    /// A Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for item in &self.items {
            let caption = if item.label.is_empty() {
                item.name.clone()
            } else {
                format!("{}<br/>{}", item.name, item.label)
            };
            let (open, close) = match item.role {
                "inbound" | "outbound" => ("[\"", "\"]"),
                "router" => ("{{\"", "\"}}"),
                _ => ("(\"", "\")"),
            };
            text.push_str(&format!("    {}{open}{caption}{close}\n", item.name));
        }
        for (from, to) in &self.edges {
            text.push_str(&format!("    {from} --> {to}\n"));
        }
        text
    }

    /// A Graphviz digraph.
    pub fn dot(&self) -> String {
        let mut text =
            "digraph holdfast {\n    rankdir=LR;\n    node [fontname=\"sans-serif\"];\n".to_owned();
        for item in &self.items {
            let shape = match item.role {
                "inbound" | "outbound" => "box",
                "router" => "hexagon",
                _ => "ellipse",
            };
            let caption = if item.label.is_empty() {
                item.name.clone()
            } else {
                format!("{}\\n{}", item.name, item.label)
            };
            text.push_str(&format!(
                "    \"{}\" [shape={shape}, label=\"{caption}\"];\n",
                item.name
            ));
        }
        for (from, to) in &self.edges {
            text.push_str(&format!("    \"{from}\" -> \"{to}\";\n"));
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        Picture {
            items: vec![
                item("IB_A", "inbound", "mllp 2600".into()),
                item("route_a", "router", String::new()),
                item("to_b", "handler", String::new()),
                item("OB_B", "outbound", "mllp h 1".into()),
            ],
            edges: [("IB_A", "route_a"), ("route_a", "to_b"), ("to_b", "OB_B")]
                .map(|(from, to)| (from.to_owned(), to.to_owned()))
                .to_vec(),
        }
    }

    #[test]
    fn text_follows_the_flow() {
        insta::assert_snapshot!(picture().text(), @r"
        inbound IB_A  (mllp 2600)
           -> router route_a
              -> handler to_b
                 -> outbound OB_B  (mllp h 1)
        ");
    }

    #[test]
    fn a_loop_ends_the_branch() {
        let mut looped = picture();
        looped.edges.push(("OB_B".into(), "IB_A".into()));
        assert_eq!(looped.text().matches("IB_A").count(), 2);
    }
}
