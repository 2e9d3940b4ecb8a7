//! The difference between two configurations, for a reload to print and to apply.

use super::keys::{Key, NODE, OVERRIDE, SECTIONS};
use super::print::quote;
use crate::config::{Config, Node};

/// One difference between two configurations.
///
/// Prints as `[pool] size: 20 -> 30`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// As a user writes it: `[pool] size`, `node 127.0.0.1:5433 weight`.
    pub key: String,
    /// As TOML; `none` when it had no value; secrets masked.
    pub old: String,
    pub new: String,
    /// Whether a reload applies it; otherwise it needs a restart.
    pub live: bool,
}

/// Every difference from `old` to `new`, in the order of the documented keys. Nodes are matched
/// by host and port, whatever their order.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut found = Vec::new();
    for section in SECTIONS {
        let title = match section.name {
            "" => String::new(),
            name => format!("[{name}] "),
        };
        compare(&mut found, &title, section.keys, old, new);
    }
    secrets(&mut found, old, new);
    if old.auth.hba.as_ref().map(|hba| &hba.text) != new.auth.hba.as_ref().map(|hba| &hba.text) {
        found.push(Change::of("[auth] hba", "its lines", "other lines"));
    }
    for (kind, old, new) in [("database", &old.databases, &new.databases), ("user", &old.users, &new.users)] {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let old = old.get(name).copied().unwrap_or_default();
            let new = new.get(name).copied().unwrap_or_default();
            compare(&mut found, &format!("[{kind}.{name}] "), OVERRIDE, &old, &new);
        }
    }
    nodes(&mut found, &old.nodes, &new.nodes);
    found
}

impl Change {
    fn of(key: &str, old: &str, new: &str) -> Change {
        Change { key: key.to_string(), old: old.to_string(), new: new.to_string(), live: true }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.old, self.new)?;
        match self.live {
            true => Ok(()),
            false => write!(f, " (needs a restart)"),
        }
    }
}

fn compare<T>(found: &mut Vec<Change>, title: &str, keys: &[Key<T>], old: &T, new: &T) {
    for key in keys {
        let (old, new) = ((key.write)(old), (key.write)(new));
        if old == new {
            continue;
        }
        let show = |value: Option<String>| match value {
            None => "none".to_string(),
            Some(_) if key.secret => "*****".to_string(),
            Some(value) => value,
        };
        found.push(Change {
            key: format!("{title}{}", key.name),
            old: show(old),
            new: show(new),
            live: key.live,
        });
    }
}

/// Users that came, went, or have another secret.
fn secrets(found: &mut Vec<Change>, old: &Config, new: &Config) {
    let (old, new) = (&old.auth.users, &new.auth.users);
    for user in new.keys().filter(|user| !old.contains_key(*user)) {
        found.push(Change::of(&format!("user {}", quote(user)), "none", "*****"));
    }
    for (user, secret) in old {
        let key = format!("user {}", quote(user));
        match new.get(user) {
            None => found.push(Change::of(&key, "*****", "none")),
            Some(other) if other != secret => {
                found.push(Change::of(&key, "*****", "another secret"));
            }
            Some(_) => {}
        }
    }
}

fn nodes(found: &mut Vec<Change>, old: &[Node], new: &[Node]) {
    for node in old {
        let key = format!("node {}:{}", node.host, node.port);
        match new.iter().find(|other| same(node, other)) {
            Some(other) => compare(found, &format!("{key} "), NODE, node, other),
            None => found.push(Change::of(&key, "there", "gone")),
        }
    }
    for node in new {
        if !old.iter().any(|other| same(node, other)) {
            let key = format!("node {}:{}", node.host, node.port);
            found.push(Change::of(&key, "none", "added"));
        }
    }
    let kept = |these: &[Node], those: &[Node]| -> Vec<(String, u16)> {
        these
            .iter()
            .filter(|node| those.iter().any(|other| same(node, other)))
            .map(|node| (node.host.clone(), node.port))
            .collect()
    };
    if kept(old, new) != kept(new, old) {
        found.push(Change::of("order of the nodes", "as it was", "another"));
    }
}

fn same(a: &Node, b: &Node) -> bool {
    a.host == b.host && a.port == b.port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_have_no_difference() {
        assert_eq!(changes(&Config::default(), &Config::default()), []);
    }

    #[test]
    fn each_difference_is_one_line_and_passwords_are_masked() {
        let node = |host: &str, weight| Node { host: host.to_string(), weight, ..Node::default() };
        let mut old = Config { nodes: vec![node("a", 1.0), node("b", 1.0)], ..Config::default() };
        old.auth.users.insert("ann".into(), "one".into());
        old.auth.users.insert("bob".into(), "two".into());
        let mut new = old.clone();
        new.listen.port = 7000;
        new.pool.size = 30;
        new.monitor.password = Some("hidden".into());
        new.auth.users.insert("ann".into(), "three".into());
        new.auth.users.insert("cid".into(), "four".into());
        new.auth.users.remove("bob");
        new.databases.entry("app".into()).or_default().size = Some(5);
        new.nodes = vec![node("b", 2.0), node("c", 1.0)];
        let lines: Vec<String> = changes(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            lines,
            [
                "[listen] port: 6432 -> 7000 (needs a restart)",
                "[pool] size: 20 -> 30",
                "[monitor] password: none -> *****",
                "user \"cid\": none -> *****",
                "user \"ann\": ***** -> another secret",
                "user \"bob\": ***** -> none",
                "[database.app] size: none -> 5",
                "node a:5432: there -> gone",
                "node b:5432 weight: 1 -> 2",
                "node c:5432: none -> added",
            ]
        );
    }

    #[test]
    fn another_order_of_nodes_is_a_difference() {
        let node = |host: &str| Node { host: host.to_string(), ..Node::default() };
        let config = |hosts: [&str; 2]| Config { nodes: hosts.map(node).to_vec(), ..Config::default() };
        let found = changes(&config(["a", "b"]), &config(["b", "a"]));
        assert_eq!(found[0].to_string(), "order of the nodes: as it was -> another");
    }
}
