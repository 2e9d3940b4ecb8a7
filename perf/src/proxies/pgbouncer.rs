//! PgBouncer: one process on one core, in front of the primary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::running::{Running, answers};
use super::{Login, Task, WHO, folder};
use crate::lab::{Lab, find_program};
use crate::process::{Unstarted, free_port};

pub(super) fn program() -> Option<PathBuf> {
    find_program("pgbouncer")
}

pub(super) fn start(name: &str, lab: &Lab, task: &Task) -> Result<Running> {
    let program = program().context("pgbouncer is not installed")?;
    let mode = match task.prepared && version(&program).is_none_or(|version| version < PREPARES_SINCE) {
        true => "session",
        false => "transaction",
    };
    let port = free_port()?;
    let empty = folder(lab, &[("userlist.txt", &task.userlist())], true)?;
    let file = empty.path().join("pgbouncer.ini");
    std::fs::write(&file, config(task, port, mode, empty.path()))?;
    if let Some(account) = lab.account {
        account.give(&file)?;
    }
    // Quiet: what it logs to its file it would otherwise also write to standard error.
    let child = Unstarted::new(program, &lab.proxy_cores, lab.log(name))
        .account(lab.account)
        .argument("-q")
        .argument(&file)
        .start()?;
    let mut running = Running::new(name, port, child, Some(empty)).await_ready(answers)?;
    running.note = (mode == "session").then(|| "session pooling".to_owned());
    Ok(running)
}

/// Limits are set so that none is met; nothing is logged per client, as pgweir does not either.
fn config(task: &Task, port: u16, mode: &str, folder: &Path) -> String {
    let method = match task.login {
        Login::Trust => "trust",
        Login::Scram { .. } => "scram-sha-256",
    };
    // Unknown before the version that brings it.
    let prepared =
        if task.prepared && mode == "transaction" { "max_prepared_statements = 200\n" } else { "" };
    format!(
        "[databases]\n{database} = host=127.0.0.1 port={node}\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = {method}\nauth_file = {folder}/userlist.txt\nadmin_users = {user}\n\
         pool_mode = {mode}\ndefault_pool_size = {pool}\nmax_client_conn = {clients}\n\
         server_tls_sslmode = disable\nignore_startup_parameters = extra_float_digits\n\
         log_connections = 0\nlog_disconnections = 0\nlogfile = {folder}/log\n{prepared}",
        database = WHO.1,
        user = WHO.0,
        node = task.primary(),
        pool = task.pool,
        clients = task.clients + SPARE_CLIENTS,
        folder = folder.display(),
    )
}

/// What `pgbouncer --version` says.
fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("PgBouncer ")?.split(['.', '\n', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The first version with protocol-level prepared statements in transaction pooling (its NEWS.md).
const PREPARES_SINCE: (u32, u32) = (1, 21);
/// Those who look whether it is up.
const SPARE_CLIENTS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_decides_how_statements_are_prepared() {
        assert_eq!(parse_version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert_eq!(parse_version("PgBouncer 1.24.1\n"), Some((1, 24)));
        assert_eq!(parse_version("pgpool"), None);
        let task = Task { prepared: true, ..Task::new(&[5001], 4) };
        assert!(config(&task, 1, "transaction", Path::new("/x")).contains("max_prepared_statements"));
        assert!(!config(&task, 1, "session", Path::new("/x")).contains("max_prepared_statements"));
    }
}
