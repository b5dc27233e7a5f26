//! A message as a tree with names, for screens and dry runs.
//!
//! Empty fields and components are left out. Values are the text as it stands, escapes kept; they are
//! patient data, so whoever serialises a tree answers for where it goes. Names are those of the
//! message's version, where the dictionary has them.

use serde::Serialize;

use super::dictionary::{self, ComponentDef, DataTypeDef, FieldDef, SegmentDef, Version};
use super::{Message, Separators};

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentNode {
    /// `OBX`.
    pub name: String,
    /// What it is about, if known.
    pub title: Option<&'static str>,
    /// Position in the message, from 0.
    pub index: usize,
    /// Which of its name it is, from 1.
    pub occurrence: usize,
    /// `OBX(2)`.
    pub path: String,
    /// The fields that hold something.
    pub fields: Vec<FieldNode>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldNode {
    /// `OBX(2)-5`.
    pub path: String,
    /// What it is, if known.
    pub title: Option<&'static str>,
    /// Data type, if known; of OBX-5 the one that OBX-2 names.
    pub data_type: Option<&'static str>,
    /// The whole field.
    pub value: String,
    /// Its repetitions when there are several or they have components.
    pub repetitions: Vec<PartNode>,
}

/// A repetition, a component or a subcomponent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartNode {
    /// `PID-3(2)`, `PID-3(2).4`, `PID-3(2).4.1`; without the number of a repetition where there is one.
    pub path: String,
    /// What it is, if known.
    pub title: Option<&'static str>,
    /// Data type, if known.
    pub data_type: Option<&'static str>,
    /// Its text.
    pub value: String,
    /// What it is made of, when that is more than itself.
    pub parts: Vec<PartNode>,
}

/// The tree of a message.
pub fn build(message: &Message) -> Vec<SegmentNode> {
    let version = message
        .get_str("MSH-12.1")
        .ok()
        .flatten()
        .and_then(|text| Version::parse(&text))
        .unwrap_or(Version::V2_5_1);
    let separators = message.separators();
    message
        .segments()
        .filter_map(|place| {
            let text = message.segment_text(place.index)?;
            let name = place.name.as_str().to_owned();
            let path = if place.occurrence > 1 {
                format!("{name}({})", place.occurrence)
            } else {
                name.clone()
            };
            let definition = dictionary::segment(&name);
            let builder = Builder {
                definition,
                separators,
                version,
            };
            let fields = builder.fields(&text, &path);
            let title = definition.map(|known| known.title);
            Some(SegmentNode {
                name,
                title,
                index: place.index,
                occurrence: place.occurrence,
                path,
                fields,
            })
        })
        .collect()
}

struct Builder {
    definition: Option<&'static SegmentDef>,
    separators: Separators,
    version: Version,
}

impl Builder {
    fn fields(&self, text: &str, path: &str) -> Vec<FieldNode> {
        let separator = char::from(self.separators.field());
        let mut values: Vec<&str> = text.split(separator).skip(1).collect();
        let separator = separator.to_string();
        let header = matches!(text.get(..3), Some("MSH" | "FHS" | "BHS"));
        if header {
            values.insert(0, &separator);
        }
        let named = (text.get(..3) == Some("OBX")).then(|| values.get(1).copied().unwrap_or(""));
        let node = |(at, value): (usize, &&str)| {
            let field = self.definition.and_then(|segment| segment.field(at + 1));
            let data_type = self.data_type(field, named);
            let path = format!("{path}-{}", at + 1);
            let opaque = header && at < 2;
            FieldNode {
                title: field.map(|field| field.title),
                data_type: data_type.map(|known| known.name),
                repetitions: if opaque {
                    Vec::new()
                } else {
                    self.repetitions(value, &path, data_type)
                },
                value: (*value).to_owned(),
                path,
            }
        };
        values
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_empty())
            .map(node)
            .collect()
    }

    fn data_type(&self, field: Option<&FieldDef>, named: Option<&str>) -> Option<&'static DataTypeDef> {
        match field?.at(self.version).data_type {
            "*" => dictionary::data_type(named?),
            name => dictionary::data_type(name),
        }
    }

    fn repetitions(&self, value: &str, path: &str, data_type: Option<&'static DataTypeDef>) -> Vec<PartNode> {
        let texts: Vec<&str> = match self.separators.repetition() {
            Some(separator) => value.split(char::from(separator)).collect(),
            None => vec![value],
        };
        let several = texts.len() > 1;
        let node = |(at, text): (usize, &&str)| {
            let path = if several {
                format!("{path}({})", at + 1)
            } else {
                path.to_owned()
            };
            let parts = self.components(text, &path, data_type);
            let data_type = data_type.map(|known| known.name);
            PartNode {
                path,
                title: None,
                data_type,
                value: (*text).to_owned(),
                parts,
            }
        };
        let nodes: Vec<_> = texts.iter().enumerate().map(node).collect();
        if several || nodes.iter().any(|node| !node.parts.is_empty()) {
            nodes
        } else {
            Vec::new()
        }
    }

    fn components(&self, text: &str, path: &str, data_type: Option<&'static DataTypeDef>) -> Vec<PartNode> {
        let separator = Some(self.separators.component());
        pieces(text, separator, path, data_type, |text, path, component| {
            let known = component.and_then(|part| dictionary::data_type(part.data_type));
            pieces(text, self.separators.subcomponent(), path, known, |_, _, _| {
                Vec::new()
            })
        })
    }
}

/// The pieces of a text that hold something, named after the parts of `data_type`. A text in one piece has
/// parts only when its type does.
fn pieces(
    text: &str,
    separator: Option<u8>,
    path: &str,
    data_type: Option<&'static DataTypeDef>,
    inner: impl Fn(&str, &str, Option<&'static ComponentDef>) -> Vec<PartNode>,
) -> Vec<PartNode> {
    let Some(separator) = separator.map(char::from) else {
        return Vec::new();
    };
    if text.is_empty() || text == "\"\"" || !text.contains(separator) {
        return Vec::new();
    }
    let node = |(at, text): (usize, &str)| {
        let component = data_type.and_then(|known| known.components.get(at));
        let path = format!("{path}.{}", at + 1);
        PartNode {
            parts: inner(text, &path, component),
            title: component.map(|part| part.title),
            data_type: component.map(|part| part.data_type),
            value: text.to_owned(),
            path,
        }
    };
    text.split(separator)
        .enumerate()
        .filter(|(_, text)| !text.is_empty())
        .map(node)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line per node: path, title, value.
    fn drawn(text: &str) -> String {
        fn part(node: &PartNode, out: &mut Vec<String>) {
            out.push(format!(
                "{} [{}] {}",
                node.path,
                node.title.unwrap_or("-"),
                node.value
            ));
            node.parts.iter().for_each(|node| part(node, out));
        }
        let mut out = Vec::new();
        for segment in build(&Message::parse(text.replace('\n', "\r").into_bytes()).unwrap()) {
            out.push(format!("{} [{}]", segment.path, segment.title.unwrap_or("-")));
            for field in &segment.fields {
                out.push(format!(
                    "{} [{}] {}",
                    field.path,
                    field.title.unwrap_or("-"),
                    field.value
                ));
                field.repetitions.iter().for_each(|node| part(node, &mut out));
            }
        }
        out.join("\n")
    }

    #[test]
    fn a_message_becomes_a_tree_with_names() {
        let text =
            "MSH|^~\\&|APP|||||||1|P|2.5.1\nPID|||T1^^^F&1.2&ISO~T2||Testa\nZAB|a^b\nOBX||CE|||N^No\nOBX|2";
        let expected = r"MSH [Message header]
MSH-1 [Field separator] |
MSH-2 [Encoding characters] ^~\&
MSH-3 [Sending application] APP
MSH-10 [Message control ID] 1
MSH-11 [Processing ID] P
MSH-12 [Version ID] 2.5.1
PID [Patient identification]
PID-3 [Patient identifier list] T1^^^F&1.2&ISO~T2
PID-3(1) [-] T1^^^F&1.2&ISO
PID-3(1).1 [ID number] T1
PID-3(1).4 [Assigning authority] F&1.2&ISO
PID-3(1).4.1 [Namespace ID] F
PID-3(1).4.2 [Universal ID] 1.2
PID-3(1).4.3 [Universal ID type] ISO
PID-3(2) [-] T2
PID-5 [Patient name] Testa
ZAB [-]
ZAB-1 [-] a^b
ZAB-1 [-] a^b
ZAB-1.1 [-] a
ZAB-1.2 [-] b
OBX [Observation result]
OBX-2 [Value type] CE
OBX-5 [Observation value] N^No
OBX-5 [-] N^No
OBX-5.1 [Identifier] N
OBX-5.2 [Text] No
OBX(2) [Observation result]
OBX(2)-1 [Set ID] 2";
        assert_eq!(drawn(text), expected);
    }

    #[test]
    fn every_path_of_a_tree_reads_its_own_value() {
        let text = "MSH|^~\\&|A^B&C\nPID|1||X^Y~Z&W^V||\"\"\nPID|2||Q";
        let message = Message::parse(text.replace('\n', "\r").into_bytes()).unwrap();
        fn part(message: &Message, node: &PartNode) {
            assert_eq!(
                message.get_str(&node.path).unwrap().as_deref(),
                Some(node.value.as_str()),
                "{}",
                node.path
            );
            node.parts.iter().for_each(|node| part(message, node));
        }
        for field in build(&message).iter().flat_map(|segment| &segment.fields) {
            assert_eq!(
                message.get_str(&field.path).unwrap().as_deref(),
                Some(field.value.as_str())
            );
            field.repetitions.iter().for_each(|node| part(&message, node));
        }
    }
}
