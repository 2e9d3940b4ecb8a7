//! A real primary with streaming replicas, made in a temporary folder for one command and filled by pgbench.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{DATABASE, USER};
use crate::client::Client;
use crate::lab::{Lab, find_program};
use crate::process::{Child, Folder, Stop, Unstarted, free_port};

/// The running servers, stopped when dropped.
pub struct Postgres {
    /// The primary's first.
    pub ports: Vec<u16>,
    // Replicas end before the primary, which waits for them, and the folder goes last.
    servers: Vec<Child>,
    folder: Folder,
}

impl Postgres {
    /// Starts a primary and `replicas` that follow it, with pgbench's tables at `scale`, on the cores of the load.
    ///
    /// # Errors
    /// When there is no PostgreSQL on this machine, or one of its programs fails.
    pub fn start(lab: &Lab, replicas: usize, scale: u32, connections_max: u32) -> Result<Postgres> {
        let mut cluster =
            Postgres { ports: Vec::new(), servers: Vec::new(), folder: Folder::new(lab.account)? };
        let primary = cluster.folder.path().join("node1");
        cluster
            .tool(lab, "initdb")?
            .arguments(["--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions", "--pgdata"])
            .argument(&primary)
            .arguments(["--username", USER])
            .start()?
            .finish()?;
        cluster.run(lab, &primary, connections_max)?;
        cluster
            .client(lab, "pgbench")?
            .arguments(["--initialize", "--quiet", "--scale", &scale.to_string()])
            .arguments(["--host=127.0.0.1", "--port", &cluster.ports[0].to_string(), "--username", USER])
            .argument(DATABASE)
            .start()?
            .finish()?;
        for number in 2..replicas + 2 {
            let data = cluster.folder.path().join(format!("node{number}"));
            let primary =
                format!("host=127.0.0.1 port={} user={USER} application_name=node{number}", cluster.ports[0]);
            cluster
                .tool(lab, "pg_basebackup")?
                .arguments(["--checkpoint=fast", "--write-recovery-conf", "--no-sync", "--pgdata"])
                .argument(&data)
                .arguments(["--dbname", &primary])
                .start()?
                .finish()?;
            cluster.run(lab, &data, connections_max)?;
        }
        Ok(cluster)
    }

    /// Ends node `index` as a power cut does: it and all its processes at once.
    pub fn kill(&mut self, index: usize) {
        let last = self.servers.len() - 1;
        self.servers[last - index].kill_tree();
    }

    /// Starts a server on a data folder, and waits until it lets clients in.
    fn run(&mut self, lab: &Lab, data: &Path, connections_max: u32) -> Result<()> {
        let port = free_port()?;
        let file = data.join("postgresql.auto.conf");
        let inherited = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        fs::write(&file, inherited + &settings(port, connections_max))?;
        let server =
            self.tool(lab, "postgres")?.argument("-D").argument(data).stop(Stop::Interrupt).start()?;
        self.servers.insert(0, server);
        self.ports.push(port);
        let deadline = Instant::now() + READY_MAX;
        while let Err(error) = Client::open(port, USER, DATABASE) {
            self.servers[0].check()?;
            if Instant::now() > deadline {
                bail!("PostgreSQL did not come up: {error}: {}", self.servers[0].said());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A program of the server's.
    fn tool(&self, lab: &Lab, name: &str) -> Result<Unstarted> {
        let program = server_folder()?.join(name);
        Ok(Unstarted::new(program, &lab.load_cores, lab.log(name)).account(lab.account))
    }

    /// A program of the client's.
    fn client(&self, lab: &Lab, name: &str) -> Result<Unstarted> {
        Ok(Unstarted::new(client_program(name)?, &lab.load_cores, lab.log(name)))
    }
}

/// Where a client program of PostgreSQL lies: beside the server's programs, or on `PATH`.
///
/// # Errors
/// When it is nowhere.
pub fn client_program(name: &str) -> Result<PathBuf> {
    let beside = server_folder().ok().map(|folder| folder.join(name)).filter(|program| program.is_file());
    beside.or_else(|| find_program(name)).with_context(|| format!("{name} is not installed"))
}

/// The programs of the newest PostgreSQL here: `PGWEIR_PG_BIN`, Debian's folders, or where `PATH` leads.
fn server_folder() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("PGWEIR_PG_BIN").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/postgres").is_file())
        .max_by_key(|path| version(path));
    let on_path = || find_program("postgres")?.canonicalize().ok()?.parent().map(Path::to_owned);
    newest
        .map(|path| path.join("bin"))
        .or_else(on_path)
        .context("no PostgreSQL server is installed: PGWEIR_PG_BIN names the folder of its programs")
}

/// The last word on a setting wins, so a copy of the primary's folder gets its own port behind the primary's. Nothing
/// waits for the disk: this measures proxies.
fn settings(port: u16, connections_max: u32) -> String {
    format!(
        "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
         max_connections = {connections_max}\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n\
         wal_level = replica\nhot_standby = on\nmax_wal_senders = 10\nwal_keep_size = '256MB'\n\
         max_wal_size = '4GB'\nautovacuum = off\njit = off\n"
    )
}

const READY_MAX: Duration = Duration::from_secs(30);
