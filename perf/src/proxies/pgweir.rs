//! pgweir: routing over a primary and its replicas, on the cores of the proxy.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::running::{Running, answers};
use super::{Login, Task, WHO, folder};
use crate::client::Client;
use crate::lab::Lab;
use crate::process::{Unstarted, free_port};

/// How many shards pgweir runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// One, whatever the number of cores.
    One,
    /// This many, each on a core of its own if there are enough, else wherever among the proxy's cores the system
    /// puts them.
    Count(usize),
}

impl Shards {
    fn count(self) -> usize {
        match self {
            Shards::One => 1,
            Shards::Count(count) => count,
        }
    }
}

/// Starts it and waits until it knows the role of every node.
pub(super) fn start(name: &str, lab: &Lab, task: &Task, spin: u32) -> Result<Running> {
    let program = lab.pgweir().context("there is no pgweir")?;
    let port = free_port()?;
    let text = config(task, port, &lab.proxy_cores, spin);
    let folder = folder(lab, &[("pgweir.toml", &text), ("userlist.txt", &task.userlist())], false)?;
    let child = Unstarted::new(program, &lab.proxy_cores, lab.log(name))
        .arguments([Path::new("run"), Path::new("--config"), &folder.path().join("pgweir.toml")])
        .start()?;
    let running = Running::new(name, port, child, Some(folder));
    match task.login {
        Login::Trust => running.await_ready(|port| knows_all_nodes(port, task.nodes.len())),
        Login::Scram { .. } => running.await_ready(answers),
    }
}

/// Its console's name as a database.
pub const CONSOLE: &str = "pgweir";

/// Whether the first node is the primary and all others are replicas that take reads, as SHOW pool_nodes says.
fn knows_all_nodes(port: u16, count: usize) -> bool {
    let Ok(rows) =
        Client::open(port, WHO.0, CONSOLE).and_then(|mut console| console.query("SHOW pool_nodes"))
    else {
        return false;
    };
    let cell = |row: &[Option<String>], column: usize| row.get(column).cloned().flatten().unwrap_or_default();
    rows.len() == count
        && rows.iter().enumerate().all(|(index, row)| {
            let role = if index == 0 { "primary" } else { "standby" };
            ["up", "waiting"].contains(&&*cell(row, STATUS)) && cell(row, ROLE) == role
        })
}

fn config(task: &Task, port: u16, cores: &[usize], spin: u32) -> String {
    let count = task.shards.count();
    let pin = count <= cores.len();
    let method = match task.login {
        Login::Trust => "trust",
        Login::Scram { .. } => "scram-sha-256",
    };
    let user = WHO.0;
    let mut text = format!(
        "[listen]\naddress = \"127.0.0.1\"\nport = {port}\n\n\
         [shards]\ncount = {count}\npin = {pin}\nspin = \"{spin}us\"\n\n\
         [pool]\nsize = {}\nclient_max = {}\n\n\
         [auth]\nmethod = \"{method}\"\nusers = \"userlist.txt\"\n\n\
         [monitor]\nuser = \"{user}\"\ndatabase = \"{}\"\n\n\
         [admin]\nusers = [\"{user}\"]\n",
        task.pool,
        task.clients + SPARE_CLIENTS,
        WHO.1,
    );
    if task.fails_over {
        text += "\n[failover]\nmode = \"promote\"\n";
    }
    for (number, node) in (1..).zip(&task.nodes) {
        let _ = write!(
            text,
            "\n[[node]]\nhost = \"127.0.0.1\"\nport = {node}\napplication_name = \"node{number}\"\n"
        );
    }
    text
}

/// Columns of SHOW pool_nodes, from 0.
const STATUS: usize = 3;
const ROLE: usize = 6;
/// Those who look at the console.
const SPARE_CLIENTS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_pinned_where_each_has_a_core() {
        let mut task = Task::new(&[5001, 5002], 16);
        task.shards = Shards::Count(2);
        let one = config(&task, 6000, &[1], 0);
        assert!(one.contains("count = 2\npin = false\n") && one.contains("size = 16\n"), "{one}");
        assert!(config(&task, 6000, &[1, 2], 0).contains("pin = true\n"));
        assert_eq!(one.matches("[[node]]").count(), 2);
        assert!(config(&task, 6000, &[1], 200).contains("spin = \"200us\""));
        assert!(!one.contains("[failover]"));
        task.fails_over = true;
        assert!(config(&task, 6000, &[1], 0).contains("[failover]\nmode = \"promote\"\n"));
    }
}
