//! XML documents as trees: no DTD and so no entities of a document's own, bounded in nodes and depth.

/// Elements, texts and attributes of one document.
const NODES_MAX: u32 = 100_000;
/// How deep elements may be nested.
const DEPTH_MAX: usize = 100;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its name without a prefix.
    pub name: String,
    /// The namespace that its name belongs to.
    pub namespace: Option<String>,
    /// Names and values, in the order given; a name without its prefix.
    pub attributes: Vec<(String, String)>,
    /// All text directly in it, without the white space round it.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Element>,
}

/// Why a text is no document. Never quotes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} (line {line}, column {column})")]
pub struct Fault {
    /// What is wrong.
    pub text: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// Reads a document.
pub fn parse(text: &str) -> Result<Element, Fault> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(text, options).map_err(|error| {
        let place = error.pos();
        let text = match error {
            roxmltree::Error::DtdDetected => "a DOCTYPE is not accepted: entities could expand without end",
            roxmltree::Error::NodesLimitReached => "more than 100,000 nodes",
            _ => "not well-formed XML",
        };
        Fault {
            text: text.to_owned(),
            line: place.row,
            column: place.col,
        }
    })?;
    element(&document, document.root_element(), 1)
}

fn element(
    document: &roxmltree::Document<'_>,
    node: roxmltree::Node<'_, '_>,
    depth: usize,
) -> Result<Element, Fault> {
    if depth > DEPTH_MAX {
        let place = document.text_pos_at(node.range().start);
        return Err(Fault {
            text: format!("elements nested deeper than {DEPTH_MAX}"),
            line: place.row,
            column: place.col,
        });
    }
    let text: String = node
        .children()
        .filter(roxmltree::Node::is_text)
        .filter_map(|child| child.text())
        .collect();
    let attributes = node
        .attributes()
        .map(|attribute| (attribute.name().to_owned(), attribute.value().to_owned()));
    let children = node.children().filter(roxmltree::Node::is_element);
    Ok(Element {
        name: node.tag_name().name().to_owned(),
        namespace: node.tag_name().namespace().map(str::to_owned),
        attributes: attributes.collect(),
        text: text.trim().to_owned(),
        children: children
            .map(|child| element(document, child, depth + 1))
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_tree() {
        let found = parse("<?xml version=\"1.0\"?><a:Order xmlns:a=\"urn:x\" id=\"7\"> A &amp; B <Line n=\"1\"/><!-- no --><Line><![CDATA[<raw>]]></Line> C</a:Order>")
            .expect("a document");
        assert_eq!(
            (found.name.as_str(), found.namespace.as_deref()),
            ("Order", Some("urn:x"))
        );
        assert_eq!(found.attributes, [("id".to_owned(), "7".to_owned())]);
        assert_eq!(found.text, "A & B  C");
        assert_eq!(found.children.len(), 2);
        assert_eq!(found.children[1].text, "<raw>");
    }

    #[test]
    fn what_is_no_safe_document_is_refused_with_its_place() {
        let deep = "<a>".repeat(101) + &"</a>".repeat(101);
        let wide = format!("<a>{}</a>", "<b/>".repeat(100_001));
        for (text, says) in [
            ("", "not well-formed XML (line 1"),
            ("<a><b></a>", "not well-formed XML (line 1"),
            (
                "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                "a DOCTYPE is not accepted",
            ),
            ("<a>\n&unknown;</a>", "not well-formed XML (line 2, column 1)"),
            (&deep, "nested deeper than 100"),
            (&wide, "more than 100,000 nodes"),
        ] {
            let fault = parse(text).expect_err(says).to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }
}
