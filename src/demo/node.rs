//! One running server, and what an operator may do to it.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::account::Account;
use super::binaries::Binaries;
use super::keeper::Keeper;
use super::process::{Interrupt, Signal, alive, await_until, children, signal, tail};
use super::servers::{LOG_LINES, READY_MAX, ServersError};
use super::settings::{Purpose, pg_hba_conf};
use super::sql::{Address, Connection, Rows, SqlError};

/// What all nodes of a cluster have in common.
pub(super) struct Shared {
    pub binaries: Binaries,
    pub account: Account,
    pub keeper: Keeper,
    pub purpose: Purpose,
    pub password: String,
    pub interrupt: Interrupt,
}

/// One server with its folder and its port, which it keeps whether it runs or not.
pub struct Node {
    name: String,
    parent: PathBuf,
    port: u16,
    /// The postmaster; `None` while the server is stopped.
    server: Mutex<Option<Child>>,
    shared: Arc<Shared>,
}

impl Node {
    pub(super) fn new(name: &str, parent: &Path, port: u16, shared: Arc<Shared>) -> Self {
        Self { name: name.to_owned(), parent: parent.to_owned(), port, server: Mutex::new(None), shared }
    }

    /// `node1`, `node2`, …: also its `cluster_name`, and its `application_name` as a replica.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn data_folder(&self) -> PathBuf {
        self.parent.join("data")
    }

    /// The folder of its unix socket; `None` when the path would be longer than a socket's address can be (unix(7)).
    pub fn socket_folder(&self) -> Option<&Path> {
        let path = self.socket();
        (path.as_os_str().len() < SOCKET_PATH_MAX).then_some(&*self.parent)
    }

    /// The last `lines` lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// Whether its log holds `text` anywhere.
    pub fn log_contains(&self, text: &str) -> bool {
        fs::read(self.log()).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
    }

    /// The process id of its postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Child::id).filter(|&pid| alive(pid))
    }

    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Starts the server and waits until it takes connections. Nothing happens when it runs already.
    ///
    /// # Errors
    /// When it ends instead, with the last lines of its log, is not ready within 30 s, or the interrupt is raised.
    pub fn start(&self) -> Result<(), ServersError> {
        self.spawn()?;
        self.await_ready()
    }

    /// Ends the server: a demo's in good order, a test's without ceremony. Every 10 s that it does not end, the way to
    /// tell it becomes harsher: fast shutdown, immediate shutdown, SIGKILL.
    pub fn stop(&self) {
        let mut server = self.server();
        let Some(child) = server.as_mut() else { return };
        let pid = child.id();
        // A frozen server cannot hear us.
        let _ = signal(Signal::Cont, &family(pid));
        for first in [self.first_signal(), Signal::Quit] {
            if signal(first, &[pid]).is_ok() && await_until(STOP_PATIENCE, || !alive(pid)) {
                break;
            }
        }
        if alive(pid) {
            kill_family(child);
        }
        let _ = child.wait();
        *server = None;
    }

    /// A fast shutdown (manual, section 19.5): transactions are rolled back, and all that was written is sent to the
    /// replicas first. Harsher when that takes longer than 10 s, as in [`Node::stop`].
    pub fn shut_down(&self) {
        if let Some(pid) = self.pid() {
            let _ = signal(Signal::Cont, &family(pid));
            let _ = signal(Signal::Int, &[pid]);
            await_until(STOP_PATIENCE, || !alive(pid));
        }
        self.stop();
    }

    /// Ends the server and starts it again, on the same port.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn restart(&self) -> Result<(), ServersError> {
        self.stop();
        self.start()
    }

    /// SIGKILL to the postmaster and to all its children: what a power cut does to the processes.
    pub fn kill(&self) {
        let mut server = self.server();
        if let Some(child) = server.as_mut() {
            kill_family(child);
            let _ = child.wait();
        }
        *server = None;
    }

    /// SIGSTOP to the postmaster and all its children: connections stay, nothing answers.
    pub fn freeze(&self) {
        let Some(pid) = self.pid() else { return };
        // The postmaster first, so that no child is born after we have counted them.
        let _ = signal(Signal::Stop, &[pid]);
        let _ = signal(Signal::Stop, &children(pid));
    }

    /// Undoes [`Node::freeze`].
    pub fn thaw(&self) {
        if let Some(pid) = self.pid() {
            let _ = signal(Signal::Cont, &family(pid));
        }
    }

    /// Makes a replica a primary and waits until it is one.
    ///
    /// # Errors
    /// When it is none, cannot be reached, or is not promoted within 30 s.
    pub fn promote(&self) -> Result<(), ServersError> {
        let asked = "SELECT pg_promote(true, 30)";
        let failed = |error| ServersError::Sql(asked.to_owned(), error);
        match self.sql_value(asked).map_err(failed)?.as_str() {
            "t" => Ok(()),
            _ => Err(ServersError::Overdue {
                step: format!("{} to be promoted", self.name),
                within: READY_MAX,
                said: self.log_tail(LOG_LINES),
            }),
        }
    }

    /// Replaces the TCP lines of `pg_hba.conf` and has the server read them.
    ///
    /// # Errors
    /// When the file cannot be written or the server cannot be reached.
    pub fn admit(&self, host_lines: &[&str]) -> Result<(), ServersError> {
        let lines: Vec<String> = host_lines.iter().map(|&line| line.to_owned()).collect();
        self.write_conf("pg_hba.conf", &pg_hba_conf(&lines))?;
        let asked = "SELECT pg_reload_conf()";
        self.sql(asked).map(drop).map_err(|error| ServersError::Sql(asked.to_owned(), error))
    }

    /// Runs SQL as the superuser in database `postgres`.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub fn sql(&self, sql: &str) -> Result<Rows, SqlError> {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL as the superuser in `database`.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<Rows, SqlError> {
        self.connect(database)?.rows(sql)
    }

    /// Runs SQL and returns the first column of the first row as text, empty when there is none or it is NULL.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub fn sql_value(&self, sql: &str) -> Result<String, SqlError> {
        let first = self.sql(sql)?.into_iter().flatten().next();
        Ok(first.flatten().unwrap_or_default())
    }

    /// Logs in as the superuser, over the unix socket, which no line of `pg_hba.conf` that a test chooses concerns.
    fn connect(&self, database: &str) -> Result<Connection, SqlError> {
        let address = match self.socket_folder() {
            Some(_) => Address::Socket(self.socket()),
            None => Address::Port(self.port),
        };
        Connection::open(&address, "postgres", &self.shared.password, database, ANSWER_PATIENCE)
    }

    /// Starts the server without waiting for it.
    pub(super) fn spawn(&self) -> Result<(), ServersError> {
        let mut server = self.server();
        if let Some(child) = server.as_mut() {
            if alive(child.id()) {
                return Ok(());
            }
            let _ = child.wait();
        }
        let log_path = self.log();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .and_then(|log| log.try_clone().map(|too| (log, too)))
            .map_err(|source| ServersError::file("open", &log_path, source))?;
        let program = self.shared.binaries.program("postgres");
        let child = self
            .shared
            .account
            .command(&program, &self.parent)
            .arg("-D")
            .arg(self.data_folder())
            .stdout(log.0)
            .stderr(log.1)
            .process_group(0)
            .spawn()
            .map_err(|source| ServersError::Program(program.display().to_string(), source))?;
        let pid = child.id();
        *server = Some(child);
        drop(server);
        self.shared.keeper.watch(pid, Signal::Quit)?;
        Ok(())
    }

    /// Waits until a login succeeds.
    pub(super) fn await_ready(&self) -> Result<(), ServersError> {
        let mut ended = false;
        let in_time = await_until(READY_MAX, || {
            ended = !self.is_running();
            ended || self.shared.interrupt.raised() || self.connect("postgres").is_ok()
        });
        if self.shared.interrupt.raised() {
            return Err(ServersError::Interrupted);
        }
        let said = || self.log_tail(LOG_LINES);
        if ended {
            self.stop();
            return Err(ServersError::Failed { step: format!("the start of {}", self.name), said: said() });
        }
        if !in_time {
            let step = format!("{} to take connections", self.name);
            return Err(ServersError::Overdue { step, within: READY_MAX, said: said() });
        }
        Ok(())
    }

    /// Sends the first of the signals that [`Node::stop`] would, and does not wait.
    pub(super) fn ask_to_end(&self) {
        if let Some(pid) = self.pid() {
            let _ = signal(Signal::Cont, &family(pid));
            let _ = signal(self.first_signal(), &[pid]);
        }
    }

    /// Writes one of the files in the data folder that only the server reads.
    pub(super) fn write_conf(&self, file: &str, text: &str) -> Result<(), ServersError> {
        let path = self.data_folder().join(file);
        fs::write(&path, text).map_err(|source| ServersError::file("write", &path, source))
    }

    fn first_signal(&self) -> Signal {
        match self.shared.purpose {
            Purpose::Demo => Signal::Int,
            // Nothing of it is kept, so nothing of it need be written: an immediate shutdown.
            Purpose::Test => Signal::Quit,
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.parent.join("log")
    }

    fn socket(&self) -> PathBuf {
        self.parent.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Gives back the segment of System V memory that a killed server leaves behind: a system has only so many.
///
/// The seventh line of the lock file in the data folder holds its key and number; a server that ended in good order
/// left no such file.
pub(super) fn release_memory(data_folder: &Path) {
    let lock = fs::read_to_string(data_folder.join("postmaster.pid")).unwrap_or_default();
    if let Some(number) = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        let mut command = Command::new("ipcrm");
        // Fails when somebody has released it already, which is as well.
        let _ = command.args(["-m", number]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A postmaster and its children.
fn family(postmaster: u32) -> Vec<u32> {
    let mut pids = children(postmaster);
    pids.push(postmaster);
    pids
}

/// Kills the postmaster and its children, and waits until none of them is left to write or listen.
fn kill_family(child: &mut Child) {
    let postmaster = child.id();
    // Stopped first, it bears no more children while we count them.
    let _ = signal(Signal::Stop, &[postmaster]);
    let pids = family(postmaster);
    if signal(Signal::Kill, &pids).is_err() {
        let _: io::Result<()> = child.kill();
    }
    await_until(STOP_PATIENCE, || !pids.iter().any(|&pid| alive(pid)));
}

/// How long each way of ending a server may take before the next, harsher one.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a single answer of a server may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(35);
/// The size of a unix socket's address, its closing zero included (unix(7)).
const SOCKET_PATH_MAX: usize = 108;
