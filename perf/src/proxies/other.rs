//! Proxies that perf does not know: the environment names them and the command that starts each.
//!
//! `PERF_PROXIES="name=command;name=command"`, or `PERF_PROXY_NAME` and `PERF_PROXY_COMMAND` for a single one whose
//! command has a semicolon in it. A command is run by the shell and must stay in the foreground.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::running::{Running, answers};
use super::{Task, WHO, folder};
use crate::lab::Lab;
use crate::process::{Unstarted, free_port};

/// A command with places in it: `{listen_port}`, `{backend_host}`, `{backend_port}` (the primary's), `{replica_ports}`
/// (with commas between), `{user}`, `{database}`, `{pool}`, `{clients}`, and `{dir}`, an empty folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    command: String,
}

/// Starts the command with all its places filled.
pub(super) fn start(name: &str, lab: &Lab, task: &Task, template: &Template) -> Result<Running> {
    let port = free_port()?;
    let folder = folder(lab, &[], false)?;
    let command = template.fill(|place| value(place, task, port, folder.path()))?;
    // With exec the process that is started is the proxy's own.
    let child = Unstarted::new("/bin/sh", &lab.proxy_cores, lab.log(name))
        .arguments(["-c", &format!("exec {command}")])
        .start()?;
    Running::new(name, port, child, Some(folder)).await_ready(answers)
}

/// The proxies that the environment names, which `read` reads.
///
/// # Errors
/// When an entry has no name or no command, or its command has a place that nobody can fill.
pub(super) fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, Template)>> {
    let list = read("PERF_PROXIES").unwrap_or_default();
    let mut found = Vec::new();
    for entry in list.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, command) = entry.split_once('=').with_context(|| format!("no = in \"{entry}\""))?;
        found.push((name.trim().to_owned(), command.trim().to_owned()));
    }
    match (read("PERF_PROXY_NAME"), read("PERF_PROXY_COMMAND")) {
        (Some(name), Some(command)) => found.push((name, command)),
        (None, None) => {}
        _ => bail!("PERF_PROXY_NAME and PERF_PROXY_COMMAND go together"),
    }
    let check = |(name, command): (String, String)| {
        ensure!(!name.is_empty() && !command.is_empty(), "a proxy needs a name and a command");
        let template = Template { command };
        template.fill(|place| PLACES.contains(&place).then(String::new)).with_context(|| name.clone())?;
        Ok((name, template))
    };
    found.into_iter().map(check).collect()
}

impl Template {
    /// Puts a value at every place. Braces around anything that is no small word, as in shell code, are left alone.
    ///
    /// # Errors
    /// When there is no value for a place.
    fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String> {
        let mut text = String::new();
        let mut rest = self.command.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            match after.split_once('}').filter(|(place, _)| is_place(place) && !before.ends_with('$')) {
                Some((place, behind)) => {
                    let value = value(place)
                        .with_context(|| format!("{{{place}}} is none of {}", PLACES.join(", ")))?;
                    text.push_str(&value);
                    rest = behind;
                }
                None => {
                    text.push('{');
                    rest = after;
                }
            }
        }
        Ok(text + rest)
    }
}

fn is_place(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn value(place: &str, task: &Task, port: u16, folder: &Path) -> Option<String> {
    let replicas = || task.nodes[1..].iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    Some(match place {
        "listen_port" => port.to_string(),
        "backend_host" => "127.0.0.1".to_owned(),
        "backend_port" => task.primary().to_string(),
        "replica_ports" => replicas(),
        "user" => WHO.0.to_owned(),
        "database" => WHO.1.to_owned(),
        "pool" => task.pool.to_string(),
        "clients" => task.clients.to_string(),
        "dir" => folder.display().to_string(),
        _ => return None,
    })
}

const PLACES: &[&str] = &[
    "listen_port",
    "backend_host",
    "backend_port",
    "replica_ports",
    "user",
    "database",
    "pool",
    "clients",
    "dir",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Vec<(String, Template)>> {
        from_environment(|name| {
            pairs.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_place_has_a_value() {
        let task = Task::new(&[5001, 5002, 5003], 16);
        for place in PLACES {
            assert!(value(place, &task, 6000, Path::new("/d")).is_some(), "{place}");
        }
        assert_eq!(value("replica_ports", &task, 6000, Path::new("/d")).as_deref(), Some("5002,5003"));
    }

    #[test]
    fn places_are_filled_and_shell_code_is_left_alone() {
        let template = Template { command: "p -l {listen_port} ${HOME} {a b} {pool}{pool} {".to_owned() };
        let filled = template.fill(|place| Some(format!("<{place}>"))).expect("all have values");
        assert_eq!(filled, "p -l <listen_port> ${HOME} {a b} <pool><pool> {");
        assert!(template.fill(|place| (place == "pool").then(String::new)).is_err());
    }

    #[test]
    fn any_number_can_be_named() {
        let found = environment(&[
            ("PERF_PROXIES", "a = run-a {listen_port}; b=run-b x=y;"),
            ("PERF_PROXY_NAME", "c"),
            ("PERF_PROXY_COMMAND", "one; two"),
        ]);
        let found = found.expect("all are well formed");
        let texts: Vec<_> = found.iter().map(|(name, template)| (&**name, &*template.command)).collect();
        assert_eq!(texts, [("a", "run-a {listen_port}"), ("b", "run-b x=y"), ("c", "one; two")]);
    }

    #[test]
    fn mistakes_are_told_before_anything_starts() {
        for wrong in ["nameless", "a=", "a=run {listen_prot}"] {
            assert!(environment(&[("PERF_PROXIES", wrong)]).is_err(), "{wrong}");
        }
        assert!(environment(&[("PERF_PROXY_NAME", "a")]).is_err());
        assert!(environment(&[]).expect("nothing is fine").is_empty());
    }
}
