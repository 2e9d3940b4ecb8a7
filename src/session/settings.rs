//! What a session has set, kept apart from any backend: the map that follows it from backend to backend.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A value, by the way it has to be said to mean the same again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A string as the startup packet carries it, for `set_config()`.
    Plain(Box<[u8]>),
    /// SQL, for `SET name TO …`.
    Sql(Box<[u8]>),
    /// SQL, for `SET TIME ZONE …`.
    TimeZone(Box<[u8]>),
}

impl Value {
    /// The value as it was said.
    pub fn text(&self) -> &[u8] {
        match self {
            Value::Plain(text) | Value::Sql(text) | Value::TimeZone(text) => text,
        }
    }
}

/// Names (as the server folds them) and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    values: BTreeMap<Box<[u8]>, Value>,
}

impl Settings {
    /// Those of a startup packet.
    pub fn of_startup<'p>(parameters: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> Settings {
        let values = parameters.map(|(name, value)| (fold(name), Value::Plain(value.into()))).collect();
        Settings { values }
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn set(&mut self, name: &[u8], value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Back to what it is in `startup`.
    pub fn reset(&mut self, name: &[u8], startup: &Settings) {
        match startup.values.get(name) {
            Some(value) => self.values.insert(name.into(), value.clone()),
            None => self.values.remove(name),
        };
    }

    pub fn get(&self, name: &[u8]) -> Option<&Value> {
        self.values.get(name)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.values.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Forgets one name: what a backend has after `RESET name`.
    pub fn forget(&mut self, name: &[u8]) {
        self.values.remove(name);
    }

    /// Appends the SQL that brings a backend from `from` to these, as one query; false when there is nothing to do.
    ///
    /// `role` goes first when it is given up and last when it is taken, since what else may be set depends on it.
    pub fn put_switch(&self, from: &Settings, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let role: &[u8] = b"role";
        let gone = |name: &[u8]| !self.values.contains_key(name);
        if from.values.contains_key(role) && from.values.get(role) != self.values.get(role) {
            put(out, &[b"RESET role"]);
        }
        for name in from.values.keys().filter(|name| name.as_ref() != role && gone(name)) {
            put(out, &[b"RESET ", &quoted(name)]);
        }
        for (name, value) in self
            .values
            .iter()
            .filter(|(name, value)| name.as_ref() != role && from.values.get(*name) != Some(value))
        {
            put_set(out, name, value);
        }
        if let Some(value) = self.values.get(role)
            && from.values.get(role) != Some(value)
        {
            put_set(out, role, value);
        }
        out.len() > start
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    if !out.is_empty() {
        out.push(b';');
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn put_set(out: &mut Vec<u8>, name: &[u8], value: &Value) {
    match value {
        Value::Plain(value) => {
            put(out, &[b"SELECT pg_catalog.set_config(", &literal(name), b",", &literal(value), b",false)"])
        }
        Value::Sql(value) => put(out, &[b"SET ", &quoted(name), b" TO ", value]),
        Value::TimeZone(value) => put(out, &[b"SET TIME ZONE ", value]),
    }
}

/// A string literal that means `text` whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &[u8]) -> Vec<u8> {
    let mut out = b"E'".to_vec();
    for &byte in text {
        if matches!(byte, b'\'' | b'\\') {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
    out
}

/// A setting's name in SQL: each part between dots in quotes.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for (at, part) in name.split(|byte| *byte == b'.').enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.push(b'"');
        for &byte in part {
            if byte == b'"' {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out
}

/// The server compares the names of settings without regard to case (ASCII only).
fn fold(name: &[u8]) -> Box<[u8]> {
    name.to_ascii_lowercase().into()
}

/// The same settings for several holders, until one of them changes its own.
pub type SharedSettings = Rc<Settings>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_given_up_first_and_taken_last() {
        let mut old = Settings::default();
        old.set(b"role", Value::Sql((*b"a").into()));
        old.set(b"work_mem", Value::Sql((*b"1").into()));
        let mut new = Settings::default();
        new.set(b"role", Value::Sql((*b"b").into()));
        new.set(b"search_path", Value::Sql((*b"x, y").into()));
        let mut out = Vec::new();
        assert!(new.put_switch(&old, &mut out));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "RESET role;RESET \"work_mem\";SET \"search_path\" TO x, y;SET \"role\" TO b"
        );
        assert!(!new.put_switch(&new.clone(), &mut Vec::new()));
    }

    #[test]
    fn a_literal_means_the_same_under_either_reading_of_backslashes() {
        assert_eq!(literal(br"it's a \ b"), br"E'it''s a \\ b'");
    }
}
