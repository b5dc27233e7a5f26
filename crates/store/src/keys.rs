//! Search keys: values out of a message under names of the site's choosing (`mrn`, `order`), noted when it
//! arrives and found again by name and value. What is stored of a value and what is looked for come from
//! one function, [`entry`]: whatever is done to values (cutting now, hashing one day) is done there, for both.
//!
//! Values are patients' identifiers: nothing here prints one.

use std::fmt;

/// Values that are kept of one message, all names together.
pub const VALUES_MAX: usize = 16;
/// Bytes that are kept of one value, and compared.
pub const VALUE_BYTES_MAX: usize = 128;
/// Stands between the entries of one message; no entry holds a control character.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// What is kept of a value under a name, and what is compared: spaces around it do not count, control
/// characters neither, and it ends after [`VALUE_BYTES_MAX`] bytes. `None` when nothing is left.
fn entry(name: &str, value: &str) -> Option<String> {
    let mut entry = String::with_capacity(name.len() + 1 + value.len().min(VALUE_BYTES_MAX));
    entry.push_str(name);
    entry.push('=');
    let begin = entry.len();
    for each in value.trim().chars().filter(|each| !each.is_control()) {
        if entry.len() - begin + each.len_utf8() > VALUE_BYTES_MAX {
            break;
        }
        entry.push(each);
    }
    entry.truncate(entry.trim_end().len());
    (entry.len() > begin).then_some(entry)
}

/// The keys of one message, at most [`VALUES_MAX`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Entries with the separator between them.
    text: String,
    count: usize,
}

impl Keys {
    /// Notes a value, unless there are enough or it is noted already. `name` is one that
    /// [`model::graph::key_name_fault`] finds nothing wrong with.
    pub fn add(&mut self, name: &str, value: &str) {
        if self.count == VALUES_MAX {
            return;
        }
        let Some(entry) = entry(name, value) else { return };
        if self.count == 0 {
            self.text = entry;
        } else {
            if entries(&self.text).any(|known| known == entry) {
                return;
            }
            self.text.push(SEPARATOR);
            self.text.push_str(&entry);
        }
        self.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// As the store keeps it; `None` = none.
    pub(crate) fn as_text(&self) -> Option<&str> {
        (self.count > 0).then_some(&self.text)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.count)
    }
}

/// The entries of a stored text.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR)
}

/// A key to look for.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    name: Box<str>,
    entry: Box<str>,
}

impl Key {
    /// `None` when nothing of the value is left to look for.
    pub fn new(name: &str, value: &str) -> Option<Key> {
        Some(Key {
            name: name.into(),
            entry: entry(name, value)?.into(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the store keeps it.
    pub(crate) fn entry(&self) -> &str {
        &self.entry
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}=…)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_alike_when_it_is_stored_and_when_it_is_looked_for() {
        let long = "ü".repeat(100);
        for value in [" 12345 ", "1\u{1f}2\0", &long, &format!("{}  x", "a".repeat(127))] {
            let mut keys = Keys::default();
            keys.add("mrn", value);
            let key = Key::new("mrn", value).unwrap();
            assert_eq!(keys.as_text(), Some(key.entry()));
            assert!(key.entry().len() <= "mrn=".len() + VALUE_BYTES_MAX);
            assert!(!key.entry().contains(char::is_control) && key.entry().trim() == key.entry());
        }
        assert_eq!(Key::new("mrn", " \u{1f}\t "), None);
    }

    #[test]
    fn a_message_has_so_many_keys_and_each_once() {
        let mut keys = Keys::default();
        assert_eq!(keys.as_text(), None);
        for number in 0..100 {
            keys.add("mrn", &format!("{}", number / 2));
            keys.add("mrn", "");
        }
        assert_eq!(keys.len(), VALUES_MAX);
        let text = keys.as_text().unwrap();
        assert_eq!(entries(text).count(), VALUES_MAX);
        assert_eq!(entries(text).nth(1), Some("mrn=1"));
    }

    #[test]
    fn no_value_is_printed() {
        let mut keys = Keys::default();
        keys.add("mrn", "4711");
        let printed = format!("{keys:?} {:?}", Key::new("mrn", "4711"));
        assert!(printed.contains("mrn") && !printed.contains("4711"), "{printed}");
    }
}
