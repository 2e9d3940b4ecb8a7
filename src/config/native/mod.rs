//! pgweir.toml: text in, draft out. Opens no file: what `[auth] users` and `hba` name is only
//! noted here.

mod changes;
mod failover;
mod keys;
mod print;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use changes::{Change, changes};
pub use print::{Passwords, reference};
pub(super) use print::{written, written_node};

use self::keys::{Key, NODE, OVERRIDE, SECTIONS};
use super::draft::{Draft, Place};
use super::nearest::nearest;
use super::{Config, Node, PoolOverride};

/// Reads the text of a pgweir.toml named `file`.
pub(super) fn draft(text: &str, file: &Path) -> Draft {
    let mut reader = Reader { file, text, draft: Draft::new(file, Config::default()) };
    let (root, faults) = DeTable::parse_recoverable(text);
    reader.root(root.get_ref());
    if !faults.is_empty() {
        reader.syntax(&faults);
    }
    reader.draft
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    draft: Draft,
}

impl Reader<'_> {
    /// Puts what the TOML parser refused in place of what was made of those lines.
    fn syntax(&mut self, faults: &[toml::de::Error]) {
        self.draft.torn = true;
        let faults: Vec<(usize, &str)> = faults
            .iter()
            .map(|fault| {
                let at = fault.span().map_or(self.text.len(), |span| span.start);
                (self.line(at), fault.message())
            })
            .collect();
        self.draft.errors.retain(|error| !faults.iter().any(|(line, _)| error.line == Some(*line)));
        for (line, message) in faults {
            let place = Place::bare(self.file, Some(line));
            self.draft.error(place, format!("this is not TOML: {message}"));
        }
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (name, value) in root.iter() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("database", DeValue::Table(table)) => {
                    self.draft.config.databases = self.overrides("database", table);
                }
                ("user", DeValue::Table(table)) => {
                    self.draft.config.users = self.overrides("user", table);
                }
                ("node", DeValue::Array(nodes)) => {
                    for node in nodes.iter() {
                        self.node(node);
                    }
                }
                ("node", _) => {
                    let place = self.place(name, "[node]");
                    self.draft.error(place, "write it with two brackets: [[node]]");
                }
                (section @ ("database" | "user"), _) => {
                    let place = self.place(name, section);
                    let text = format!("it is a section: write [{section}.NAME]");
                    self.draft.error(place, text);
                }
                (other, value) => self.root_entry(other, name, value),
            }
        }
    }

    fn root_entry(&mut self, name: &str, at: &Spanned<impl Sized>, value: &DeValue<'_>) {
        match (SECTIONS.iter().find(|section| section.name == name), value) {
            (Some(section), DeValue::Table(table)) => {
                let mut config = std::mem::take(&mut self.draft.config);
                let title = format!("[{name}]");
                self.keys(&title, section.keys, table, &mut config);
                self.draft.config = config;
            }
            (Some(_), _) => {
                let place = self.place(at, name);
                let text = format!("it is a section: write [{name}] on a line of its own");
                self.draft.error(place, text);
            }
            (None, value) => match top_keys().iter().find(|key| key.name == name) {
                Some(key) => {
                    let place = self.place(at, name);
                    if let Err(text) = (key.read)(&mut self.draft.config, value) {
                        self.draft.error(place.clone(), text);
                    }
                    self.draft.written(name, place);
                }
                None if matches!(value, DeValue::Table(_) | DeValue::Array(_)) => {
                    let place = self.place(at, &format!("[{name}]"));
                    let sections = SECTIONS.iter().map(|section| section.name);
                    let sections = sections.chain(["database", "user", "node"]);
                    let near = nearest(name, sections.filter(|section| !section.is_empty()));
                    let text = format!("there is no such section: did you mean [{near}]?");
                    self.draft.error(place, text);
                }
                None => {
                    let place = self.place(at, name);
                    let text = format!("there is no such key {}", elsewhere(name, "", top_keys()));
                    self.draft.error(place, text);
                }
            },
        }
    }

    fn overrides(&mut self, kind: &str, table: &DeTable<'_>) -> BTreeMap<String, PoolOverride> {
        let mut overrides = BTreeMap::new();
        for (name, value) in table.iter() {
            let title = format!("[{kind}.{}]", name.get_ref());
            let DeValue::Table(keys) = value.get_ref() else {
                let place = self.place(name, &format!("[{kind}] {}", name.get_ref()));
                let text = format!("write the {kind}'s name first: [{kind}.NAME]");
                self.draft.error(place, text);
                continue;
            };
            let mut values = PoolOverride::default();
            self.keys(&title, OVERRIDE, keys, &mut values);
            overrides.insert(name.get_ref().to_string(), values);
        }
        overrides
    }

    fn node(&mut self, entry: &Spanned<DeValue<'_>>) {
        let mut place = self.place(entry, "[[node]] host");
        let DeValue::Table(table) = entry.get_ref() else {
            place.key = Some("[[node]]".to_string());
            self.draft.error(place, "write it as a section: [[node]] and its keys below");
            return;
        };
        let mut node = Node::default();
        self.keys("[[node]]", NODE, table, &mut node);
        match table.iter().find(|(name, _)| name.get_ref() == "host") {
            Some((name, _)) => place = self.place(name, "[[node]] host"),
            None => {
                let text = "is missing: write the node's name or address, such as \"127.0.0.1\"";
                self.draft.error(place.clone(), text);
            }
        }
        self.draft.config.nodes.push(node);
        self.draft.node_places.push(place);
    }

    /// Reads the keys of one section into `values`.
    fn keys<T>(&mut self, title: &str, keys: &[Key<T>], table: &DeTable<'_>, values: &mut T) {
        for (name, value) in table.iter() {
            let place = self.place(name, &format!("{title} {}", name.get_ref()));
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => {
                    if let Err(text) = (key.read)(values, value.get_ref()) {
                        self.draft.error(place.clone(), text);
                    }
                    if let Some(key) = place.key.clone() {
                        self.draft.written(&key, place);
                    }
                }
                None => {
                    let hint = elsewhere(name.get_ref(), title, keys);
                    let text = format!("there is no such key {hint}");
                    self.draft.error(place, text);
                }
            }
        }
    }

    fn place(&self, at: &Spanned<impl Sized>, key: &str) -> Place {
        Place::line(self.file, self.line(at.span().start), key)
    }

    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// Where a misplaced key belongs, or which key was meant.
fn elsewhere<T>(name: &str, title: &str, keys: &[Key<T>]) -> String {
    let home = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name));
    match home {
        Some(section) if section.name.is_empty() => {
            format!("in {title}: it stands above the first section")
        }
        Some(section) => format!("here: it belongs in [{}]", section.name),
        None => {
            let near = nearest(name, keys.iter().map(|key| key.name));
            format!("here: did you mean {near:?}?")
        }
    }
}

/// The keys above the first section.
fn top_keys() -> &'static [Key<Config>] {
    SECTIONS.iter().find(|section| section.name.is_empty()).map_or(&[], |section| section.keys)
}
