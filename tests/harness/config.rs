//! A pgweir.toml in the making.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A configuration, with the user list that goes with it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    table: Table,
    /// Names and secrets, in PgBouncer's format once written.
    users: Vec<(String, String)>,
}

impl Config {
    /// Sets one key, named with its sections: `"pool.size"`.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let (sections, key) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = &mut self.table;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            table = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()))
                .as_table_mut()
                .unwrap_or_else(|| panic!("{section} is not a section"));
        }
        table.insert(key.to_owned(), value.into());
        self
    }

    /// Takes a key out again, which leaves it at its default.
    pub fn unset(&mut self, section: &str, key: &str) -> &mut Self {
        if let Some(table) = self.table.get_mut(section).and_then(Value::as_table_mut) {
            table.remove(key);
        }
        self
    }

    /// Adds TOML text: its keys join the sections that are there, its `[[node]]`s the nodes that are there.
    ///
    /// # Panics
    /// When it is no TOML. For a file that is to be refused, see [`super::Proxy::reload_text`].
    pub fn toml(&mut self, text: &str) -> &mut Self {
        let added = text.parse().unwrap_or_else(|error| panic!("not TOML: {error}\n{text}"));
        merge(&mut self.table, added);
        self
    }

    /// A user with a secret, added or changed.
    pub fn user(&mut self, name: &str, secret: &str) -> &mut Self {
        self.users.retain(|(known, _)| known != name);
        self.users.push((name.to_owned(), secret.to_owned()));
        self
    }

    /// Adds a node at 127.0.0.1.
    pub fn node(&mut self, port: u16) -> &mut Self {
        self.toml(&format!("[[node]]\nhost = \"127.0.0.1\"\nport = {port}\n"))
    }

    /// Takes the node with this port out.
    pub fn remove_node(&mut self, port: u16) -> &mut Self {
        if let Some(nodes) = self.table.get_mut("node").and_then(Value::as_array_mut) {
            nodes.retain(|node| node.get("port").and_then(Value::as_integer) != Some(i64::from(port)));
        }
        self
    }

    /// Sets a key of the node with this port, such as its weight.
    pub fn set_node(&mut self, port: u16, key: &str, value: impl Into<Value>) -> &mut Self {
        let nodes = self.table.get_mut("node").and_then(Value::as_array_mut);
        let node = nodes
            .into_iter()
            .flatten()
            .filter_map(Value::as_table_mut)
            .find(|node| node.get("port").and_then(Value::as_integer) == Some(i64::from(port)));
        node.unwrap_or_else(|| panic!("no node has port {port}")).insert(key.to_owned(), value.into());
        self
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        self.table.to_string()
    }

    /// Writes `pgweir.toml` and `userlist.txt` into `folder` and returns the path of the former.
    pub(super) fn write(&self, folder: &Path) -> PathBuf {
        let users: String = self
            .users
            .iter()
            .map(|(name, secret)| {
                format!("\"{}\" \"{}\"\n", name.replace('"', "\"\""), secret.replace('"', "\"\""))
            })
            .collect();
        let file = folder.join("pgweir.toml");
        for (path, text) in [(&folder.join("userlist.txt"), users), (&file, self.text())] {
            std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        file
    }
}

fn merge(into: &mut Table, added: Table) {
    for (key, value) in added {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(more)) => merge(there, more),
            (Some(Value::Array(there)), Value::Array(more)) if key == "node" => there.extend(more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
