//! Real PostgreSQL servers on this machine: a primary and its streaming replicas, in a folder of their own.
//!
//! For `pgweir demo` and for the system tests. A [`Cluster`] owns its servers: when it is dropped, and also when its
//! start fails half-way, they are ended, and when the whole process is killed its keeper ends them. Servers are child
//! processes, addressed by process id and nothing else. Folders: `FOLDER/node1/data`, `FOLDER/node1/log`, and so on;
//! `node1` is the first primary.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::binaries::{Binaries, BinariesError};
use super::keeper::{Fate, Keeper};
use super::node::{Node, Shared, release_memory};
use super::port::free_port;
use super::process::{Interrupt, await_until};
use super::settings::{Purpose, conninfo, pg_hba_conf, postgresql_conf, primary_conninfo};
use super::sql::{Rows, SqlError};
use super::template::{Maker, replication_role};

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// An existing folder that is ours.
    pub folder: PathBuf,
    /// What becomes of the folder when the cluster is dropped, or ended by its keeper.
    pub fate: Fate,
    pub purpose: Purpose,
    /// How many streaming replicas follow the primary.
    pub replicas: usize,
    /// Of the superuser `postgres` and of the replication role.
    pub password: String,
    /// Settings of every server besides the usual ones, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf` for TCP connections; when empty, everybody logs in by SCRAM.
    pub hba: Vec<String>,
    /// Ends the start early when it is raised.
    pub interrupt: Interrupt,
}

/// Why servers could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    #[error("stopped before it was up")]
    Interrupted,
    #[error("{step} failed; its last lines:\n{said}")]
    Failed { step: String, said: String },
    #[error("waited {within:?} in vain for {step}; the last lines of its log:\n{said}")]
    Overdue { step: String, within: Duration, said: String },
    #[error("{0} could not be started: {1}")]
    Program(String, io::Error),
    #[error("cannot {verb} {path}: {source}")]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    #[error("the folder {0} {1}")]
    Folder(PathBuf, String),
    #[error("{0}: {1}")]
    Sql(String, SqlError),
    #[error("{0}")]
    System(#[from] io::Error),
}

impl ServersError {
    pub(super) fn file(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { verb, path: path.to_owned(), source }
    }
}

/// A primary and its replicas, running.
pub struct Cluster {
    /// In the order of their names; the first was made as the primary. Dropped before the keeper, which they use.
    nodes: Vec<Node>,
    shared: std::sync::Arc<Shared>,
    folder: PathBuf,
    fate: Fate,
}

impl Cluster {
    /// Starts the servers and waits until every replica streams.
    ///
    /// # Errors
    /// See [`ServersError`]. Whatever was started until then is ended.
    pub fn start(options: ClusterOptions) -> Result<Self, ServersError> {
        Self::start_telling(options, &|_| {})
    }

    /// As [`Cluster::start`], with a line for the user before each step.
    ///
    /// # Errors
    /// See [`ServersError`]. Whatever was started until then is ended.
    pub fn start_telling(options: ClusterOptions, tell: &dyn Fn(&str)) -> Result<Self, ServersError> {
        let binaries = Binaries::find()?;
        let account = Account::find()?;
        let folder = fs::canonicalize(&options.folder)
            .map_err(|source| ServersError::file("find", &options.folder, source))?;
        let keeper = Keeper::start(&folder, options.fate)?;
        let shared = std::sync::Arc::new(Shared {
            binaries,
            account,
            keeper,
            purpose: options.purpose,
            password: options.password.clone(),
            interrupt: options.interrupt.clone(),
        });
        // From here on an early return drops the cluster, and with it whatever it already holds.
        let mut cluster = Self { nodes: Vec::new(), shared, folder, fate: options.fate };
        cluster.fill(&options, tell)?;
        Ok(cluster)
    }

    /// Node number `index`; 0 was made as the primary.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// All nodes, in the order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The programs that the servers run.
    pub fn binaries(&self) -> &Binaries {
        &self.shared.binaries
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &str {
        &self.shared.password
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the user whose processes the servers are, when it is not the one we are.
    pub fn other_user(&self) -> Option<&str> {
        self.shared.account.is_other().then_some(self.shared.account.name.as_str())
    }

    /// Runs SQL as the superuser on node `index`, in database `postgres`.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub fn sql(&self, index: usize, sql: &str) -> Result<Rows, SqlError> {
        self.node(index).sql(sql)
    }

    /// Waits until every running replica has replayed what node `primary` has written until now.
    ///
    /// # Errors
    /// When that takes longer than 30 s, or the primary does not answer.
    pub fn await_replay(&self, primary: usize) -> Result<(), ServersError> {
        let asked = "SELECT pg_current_wal_insert_lsn()";
        let failed = |error| ServersError::Sql(asked.to_owned(), error);
        let position = self.node(primary).sql_value(asked).map_err(failed)?;
        let replayed =
            format!("SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= '{position}'::pg_lsn");
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let is_there = || matches!(node.sql_value(&replayed).as_deref(), Ok("t"));
            if !await_until(READY_MAX, is_there) {
                return Err(ServersError::Overdue {
                    step: format!("{} to replay {position}", node.name()),
                    within: READY_MAX,
                    said: node.log_tail(LOG_LINES),
                });
            }
        }
        Ok(())
    }

    /// Ends every server in good order, as dropping does, and then deals with the folder.
    pub fn end(self) {}

    fn fill(&mut self, options: &ClusterOptions, tell: &dyn Fn(&str)) -> Result<(), ServersError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let maker = Maker {
            binaries: &shared.binaries,
            account: &shared.account,
            keeper: &shared.keeper,
            password: &shared.password,
            interrupt: &shared.interrupt,
        };
        let parents = (1..=options.replicas + 1)
            .map(|number| self.make_parent(&format!("node{number}")))
            .collect::<Result<Vec<_>, _>>()?;
        let by_copying = options.purpose == Purpose::Test;
        if by_copying {
            maker.copy_template(&maker.template()?, &parents)?;
        } else {
            tell("making a new database by initdb");
            maker.initdb(&parents[0], false)?;
        }
        let mut primary_port = 0;
        for (index, parent) in parents.iter().enumerate() {
            let name = format!("node{}", index + 1);
            let is_primary = index == 0;
            tell(&format!(
                "starting {name}, {}",
                if is_primary { "the primary" } else { "a streaming replica" }
            ));
            if by_copying && !is_primary {
                self.make_standby(parent, &primary_conninfo(&name, primary_port, &shared.password))?;
            } else if !is_primary {
                let mut command = shared.account.command(shared.binaries.program("pg_basebackup"), parent);
                command
                    .args([
                        "--pgdata=data",
                        "--write-recovery-conf",
                        "--wal-method=stream",
                        "--checkpoint=fast",
                    ])
                    .arg(format!("--dbname={}", conninfo(&name, primary_port)))
                    .env("PGPASSWORD", &shared.password);
                maker.step("pg_basebackup", &mut command, parent)?;
            }
            let node = self.start_node(&name, parent, options, by_copying && !is_primary)?;
            if is_primary {
                primary_port = node.port();
            }
            self.nodes.push(node);
            if is_primary && !by_copying {
                let role = replication_role(&shared.password);
                let failed = |error| ServersError::Sql("CREATE ROLE".to_owned(), error);
                self.nodes[0].sql(&role).map_err(failed)?;
            }
        }
        self.await_streaming(options.replicas)
    }

    /// Makes the folder of one node and sees to it that its server can use it.
    fn make_parent(&self, name: &str) -> Result<PathBuf, ServersError> {
        let parent = self.folder.join(name);
        fs::create_dir(&parent)
            .and_then(|()| fs::set_permissions(&parent, fs::Permissions::from_mode(0o700)))
            .and_then(|()| self.shared.account.give(&parent))
            .map_err(|source| ServersError::file("make", &parent, source))?;
        if !self.shared.account.can_write(&parent) {
            let name = &self.shared.account.name;
            return Err(ServersError::Folder(
                parent,
                format!(
                    "is out of reach for user {name}, under which the servers run: a folder above it is closed"
                ),
            ));
        }
        Ok(parent)
    }

    fn make_standby(&self, parent: &Path, conninfo: &str) -> Result<(), ServersError> {
        let auto = parent.join("data/postgresql.auto.conf");
        let mark = parent.join("data/standby.signal");
        fs::read_to_string(&auto)
            .and_then(|text| fs::write(&auto, text + conninfo))
            .map_err(|source| ServersError::file("change", &auto, source))?;
        fs::write(&mark, "")
            .and_then(|()| self.shared.account.give(&mark))
            .map_err(|source| ServersError::file("write", &mark, source))
    }

    /// Gives the node a port and starts it, with another port if somebody was faster. A node whose readiness is
    /// awaited later together with the others is left to come up by itself.
    fn start_node(
        &self,
        name: &str,
        parent: &Path,
        options: &ClusterOptions,
        later: bool,
    ) -> Result<Node, ServersError> {
        let mut attempts = PORT_ATTEMPTS;
        loop {
            let port = free_port()?;
            let node = Node::new(name, parent, port, std::sync::Arc::clone(&self.shared));
            let socket_folder = node.socket_folder().and_then(Path::to_str);
            let conf = postgresql_conf(options.purpose, name, port, socket_folder, &options.settings);
            node.write_conf("postgresql.conf", &conf)?;
            node.write_conf("pg_hba.conf", &pg_hba_conf(&options.hba))?;
            let started = if later { node.spawn() } else { node.start() };
            attempts -= 1;
            match started {
                Ok(()) => return Ok(node),
                Err(ServersError::Failed { said, .. }) if attempts > 0 && said.contains(PORT_TAKEN) => {}
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits until every node answers and the primary sends to `replicas` of them.
    fn await_streaming(&self, replicas: usize) -> Result<(), ServersError> {
        for node in &self.nodes {
            node.await_ready()?;
        }
        let counted = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        let all = replicas.to_string();
        let interrupt = &self.shared.interrupt;
        let streaming =
            || self.nodes[0].sql_value(counted).is_ok_and(|count| count == all) || interrupt.raised();
        let in_time = replicas == 0 || await_until(READY_MAX, streaming);
        if interrupt.raised() {
            return Err(ServersError::Interrupted);
        }
        if in_time {
            return Ok(());
        }
        let said = self.nodes[1..].iter().map(|node| node.log_tail(LOG_LINES)).collect::<Vec<_>>().join("\n");
        Err(ServersError::Overdue { step: "the replicas to stream".to_owned(), within: READY_MAX, said })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // All are asked before any is awaited: a primary that shuts down waits for its replicas, and they for nobody.
        for node in &self.nodes {
            node.ask_to_end();
        }
        for node in &self.nodes {
            node.stop();
        }
        // Also of a node that never became one, because its initdb was interrupted.
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            release_memory(&entry.path().join("data"));
        }
        if self.fate == Fate::Remove {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// How long a server may take to answer, and a replica to stream.
pub(super) const READY_MAX: Duration = Duration::from_secs(30);
/// How many lines of a server's log a message shows.
pub(super) const LOG_LINES: usize = 12;
/// How often a port that somebody else took in between is replaced by another.
const PORT_ATTEMPTS: usize = 5;
/// What a server logs when its port is in use.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";
