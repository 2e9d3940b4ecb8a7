//! A configuration as TOML: the effective values, and the documented example of every key.

use super::keys::{Key, NODE, OVERRIDE, SECTIONS};
use crate::config::{Config, Node, PoolOverride};

/// What is written for a password.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Passwords {
    /// `*****`: for eyes and logs.
    Masked,
    /// The password: for a file that will be loaded.
    Written,
}

impl Config {
    /// The configuration as TOML: every key that has a value, section by section. Loads back to an
    /// equal configuration when passwords are written and the files it names are where it says. Of a pgpool.conf, `users`
    /// still names its pool_passwd, which is not in the format of a user list.
    pub fn to_toml(&self, passwords: Passwords) -> String {
        let mut out = String::new();
        for section in SECTIONS {
            print_keys(&mut out, section.name, section.keys, self, passwords);
        }
        for (kind, overrides) in [("database", &self.databases), ("user", &self.users)] {
            for (name, value) in overrides {
                let section = format!("{kind}.{}", quote(name));
                print_keys(&mut out, &section, OVERRIDE, value, passwords);
            }
        }
        for node in &self.nodes {
            print_keys(&mut out, "[node]", NODE, node, passwords);
        }
        out
    }
}

/// The documented example: every key with its doc line and its default.
pub fn reference() -> String {
    let config = Config::default();
    let mut out = String::from(HEADING);
    for section in SECTIONS {
        document(&mut out, section.name, section.keys, &config);
    }
    document(&mut out, "database.reports", OVERRIDE, &PoolOverride::default());
    document(&mut out, "user.batch", OVERRIDE, &PoolOverride::default());
    document(&mut out, "[node]", NODE, &Node::default());
    out
}

/// `[section] key = value` for a key written as `[section] key`, as far as it has a value.
pub fn written(config: &Config, path: &str) -> String {
    let (section, name) = match path.strip_prefix('[').and_then(|path| path.split_once("] ")) {
        Some((section, name)) => (section, name),
        None => ("", path),
    };
    let key = SECTIONS
        .iter()
        .filter(|other| other.name == section)
        .flat_map(|section| section.keys)
        .find(|key| key.name == name);
    key.map_or_else(|| path.to_string(), |key| line(path, key, config))
}

/// `[[node]] key = value`.
pub fn written_node(node: &Node, name: &str) -> String {
    let path = format!("[[node]] {name}");
    let key = NODE.iter().find(|key| key.name == name);
    key.map_or_else(|| path.clone(), |key| line(&path, key, node))
}

fn line<T>(path: &str, key: &Key<T>, values: &T) -> String {
    match (key.write)(values) {
        None => format!("{path}: none"),
        Some(_) if key.secret => format!("{path} = {MASK}"),
        Some(value) => format!("{path} = {value}"),
    }
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One string as itself, any other number of them as a list.
pub(super) fn quote_all(texts: &[String]) -> String {
    match texts {
        [one] => quote(one),
        many => {
            let quoted: Vec<String> = many.iter().map(|text| quote(text)).collect();
            format!("[{}]", quoted.join(", "))
        }
    }
}

fn print_keys<T>(out: &mut String, section: &str, keys: &[Key<T>], values: &T, passwords: Passwords) {
    head(out, section);
    for key in keys {
        if let Some(value) = (key.write)(values) {
            let value = match key.secret && passwords == Passwords::Masked {
                true => MASK.to_string(),
                false => value,
            };
            out.push_str(&format!("{} = {value}\n", key.name));
        }
    }
}

/// A key without a value by default stands there as a comment with an example.
fn document<T>(out: &mut String, section: &str, keys: &[Key<T>], values: &T) {
    head(out, section);
    for key in keys {
        out.push_str(&format!("# {}.\n", key.doc));
        match (key.write)(values) {
            Some(value) => out.push_str(&format!("{} = {value}\n", key.name)),
            None => {
                let path = format!("{section}.{}", key.name);
                let example = EXAMPLES.iter().find(|(key, _)| *key == path);
                let example = example.map_or("", |(_, example)| example);
                // The default method needs it, so the example would not run without.
                let hash = if path == "auth.users" { "" } else { "# " };
                out.push_str(&format!("{hash}{} = {example}\n", key.name));
            }
        }
    }
}

fn head(out: &mut String, section: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    if !section.is_empty() {
        out.push_str(&format!("[{section}]\n"));
    }
}

/// What could be written for a key that has no default.
const EXAMPLES: &[(&str, &str)] = &[
    ("shards.count", "2"),
    ("shards.cores", "[2, 3]"),
    ("auth.users", "\"userlist.txt\""),
    ("auth.hba", "\"pg_hba.conf\""),
    ("monitor.password", "\"secret\""),
    ("failover.max_data_loss", "\"0B\""),
    ("failover.failover_command", "\"/etc/pgweir/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S\""),
    ("failover.follow_primary_command", "\"/etc/pgweir/follow_primary.sh %d %h %p %D %m %H %M %P %r %R\""),
    ("failover.failback_command", "\"/etc/pgweir/failback.sh %d %h %p\""),
    ("database.reports.mode", "\"session\""),
    ("database.reports.size", "5"),
    ("user.batch.mode", "\"session\""),
    ("user.batch.size", "5"),
    ("[node].probe_interval", "\"250ms\""),
    ("[node].probe_timeout", "\"1s\""),
    ("[node].probe_retries", "1"),
    ("[node].data_directory", "\"/var/lib/postgresql/17/main\""),
    ("[node].application_name", "\"replica1\""),
];

const MASK: &str = "\"*****\"";

const HEADING: &str = "\
# Every key of pgweir.toml with its default. Behind a # stand keys without one, as examples.
# Durations take us, ms, s, min, h, d; sizes take B, kB, MB, GB, TB (1024 each).
";
