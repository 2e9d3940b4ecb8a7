//! pgpool-II: a process for each client, in front of the primary and its replicas.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::running::{Running, answers};
use super::{Task, WHO, folder};
use crate::lab::{Lab, find_program};
use crate::nodes::client_program;
use crate::process::{Stop, Unstarted, free_port};

pub(super) fn program() -> Option<PathBuf> {
    find_program("pgpool")
}

pub(super) fn start(name: &str, lab: &Lab, task: &Task) -> Result<Running> {
    let program = program().context("pgpool is not installed")?;
    let port = free_port()?;
    let empty = folder(lab, &[("pcp.conf", ""), ("pool_hba.conf", "")], true)?;
    let path = |name: &str| empty.path().join(name);
    let psql = task.fails_over.then(|| client_program("psql")).transpose()?;
    std::fs::write(path("pgpool.conf"), config(task, port, free_port()?, empty.path(), psql.as_deref()))?;
    if let Some(account) = lab.account {
        account.give(&path("pgpool.conf"))?;
    }
    let child = Unstarted::new(program, &lab.proxy_cores, lab.log(name))
        .account(lab.account)
        .stop(Stop::Interrupt)
        .arguments(["-n", "-D", "-f"])
        .argument(path("pgpool.conf"))
        .argument("-F")
        .argument(path("pcp.conf"))
        .argument("-a")
        .argument(path("pool_hba.conf"))
        .start()?;
    Running::new(name, port, child, Some(empty)).await_ready(answers)
}

/// Streaming replication mode with load balancing, which is what pgweir does too.
/// `psql`: for promoting a replica; without it nothing is ever promoted.
fn config(task: &Task, port: u16, pcp_port: u16, folder: &Path, psql: Option<&Path>) -> String {
    let (user, database) = WHO;
    let flag = if psql.is_some() { "ALLOW_TO_FAILOVER" } else { "DISALLOW_TO_FAILOVER" };
    let mut text = format!(
        "backend_clustering_mode = 'streaming_replication'\nlisten_addresses = '127.0.0.1'\nport = {port}\n\
         unix_socket_directories = '{folder}'\nsocket_dir = '{folder}'\npcp_listen_addresses = ''\n\
         pcp_port = {pcp_port}\npcp_socket_dir = '{folder}'\nnum_init_children = {children}\nmax_pool = 1\n\
         enable_pool_hba = off\npool_passwd = ''\nload_balance_mode = on\nsr_check_user = '{user}'\n\
         sr_check_database = '{database}'\nhealth_check_period = {health}\nlogdir = '{folder}'\n\
         pid_file_name = '{folder}/pgpool.pid'\nwork_dir = '{folder}'\n",
        // One more asks whether it is up.
        children = task.clients + 2,
        health = u8::from(task.fails_over),
        folder = folder.display(),
    );
    for (number, node) in task.nodes.iter().enumerate() {
        let _ = write!(
            text,
            "backend_hostname{number} = '127.0.0.1'\nbackend_port{number} = {node}\nbackend_weight{number} = 1\n\
             backend_flag{number} = '{flag}'\n"
        );
    }
    if let Some(psql) = psql {
        // As its own samples do: nothing to promote when a replica is lost.
        let _ = write!(
            text,
            "health_check_user = '{user}'\nhealth_check_database = '{database}'\nsr_check_period = 1\n\
             failover_command = 'test %d != %P || {psql} -X -h %H -p %r -U {user} -d {database} -c \"SELECT \
             pg_promote()\"'\n",
            psql = psql.display()
        );
    }
    text
}
