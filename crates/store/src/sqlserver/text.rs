//! Texts inside JSON. A server reads the escapes of JSON in them. A stand-in (Babelfish) leaves them as they are: there
//! characters that need one are sent as others, which nobody uses, and put back by the statement.

/// Where in the private use area the characters of ASCII are sent from.
const PRIVATE: u32 = 0xe000;
/// Between the search keys of a message. No key holds a control character, and this one needs no escape.
const SEPARATOR: &str = "\u{7f}";

/// The search keys of a message as their column holds them.
pub(super) fn keys(keys: &str) -> String {
    keys.replace(crate::keys::SEPARATOR, SEPARATOR)
}

/// Writes a text as JSON.
pub(super) fn write(json: &mut String, text: &str, stand_in: bool) {
    json.push('"');
    for each in text.chars() {
        let code = u32::from(each);
        match each {
            '"' | '\\' | '\u{0}'..='\u{1f}' if stand_in => {
                json.extend(char::from_u32(PRIVATE + code));
            }
            '"' | '\\' => json.extend(['\\', each]),
            '\u{0}'..='\u{1f}' => json.push_str(&format!("\\u{code:04x}")),
            each => json.push(each),
        }
    }
    json.push('"');
}

/// A statement in which texts out of JSON stand in braces, `{name}`.
pub(super) fn statement(template: &str, names: &[&str], stand_in: bool) -> String {
    let mut sql = template.to_owned();
    for name in names {
        let column = name.rsplit('.').next().unwrap_or(name);
        let read = if stand_in {
            put_back(name)
        } else {
            (*name).to_owned()
        };
        sql = sql.replace(&format!("{{{column}}}"), &read);
    }
    sql
}

fn put_back(name: &str) -> String {
    let escaped = || (1..0x20).chain([u32::from('"'), u32::from('\\')]);
    let from: String = escaped()
        .filter_map(|code| char::from_u32(PRIVATE + code))
        .collect();
    let to: String = escaped().filter_map(char::from_u32).collect();
    format!("TRANSLATE({name}, N'{from}', N'{to}')")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str, stand_in: bool) -> String {
        let mut json = String::new();
        write(&mut json, text, stand_in);
        json
    }

    #[test]
    fn a_text_is_json_that_reads_back_as_it_was() {
        for text in [
            "",
            "a\"b\\c",
            "tab\tand \u{1} and \u{0}",
            "a\u{1f}b",
            "ü 𝄞 \u{7f}",
        ] {
            let read: String = serde_json::from_str(&json(text, false)).unwrap();
            assert_eq!(read, text);
            assert!(!json(text, true).contains('\\'), "{text}");
        }
        assert_eq!(keys("a=1\u{1f}b=2"), "a=1\u{7f}b=2");
    }

    #[test]
    fn a_statement_takes_texts_as_they_are_or_puts_them_back() {
        let names = ["kind", "a.entry"];
        assert_eq!(statement("{kind}, {entry}", &names, false), "kind, a.entry");
        let put_back = statement("{kind}, {entry}", &names, true);
        assert!(
            put_back.starts_with("TRANSLATE(kind, N'\u{e001}") && put_back.contains("TRANSLATE(a.entry,"),
            "{put_back}"
        );
    }
}
