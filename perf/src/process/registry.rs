//! What must not outlive perf: the processes it started and the folders it made.
//!
//! Values clean up after themselves when they are dropped, also when a panic unwinds. A signal runs no destructors, so a
//! thread waits for signals and cleans up by this list. A `kill -9` of perf is met by the death signal that each child
//! asks for (see `child.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::account::Account;

/// On SIGINT, SIGTERM and SIGHUP: stops every child, removes every folder, exits.
///
/// # Errors
/// When the signals cannot be caught.
pub fn stop_everything_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals")?;
    let body = move || {
        if let Some(signal) = signals.forever().next() {
            stop_everything();
            std::process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(body).context("a thread for signals")?;
    Ok(())
}

/// A temporary folder, removed when dropped or when a signal ends perf.
pub struct Folder {
    dir: Option<tempfile::TempDir>,
}

impl Folder {
    /// A new one, which belongs to `account` if there is one and can be entered by nobody else.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(account: Option<Account>) -> Result<Folder> {
        let dir = tempfile::Builder::new().prefix("pgweir-perf-").tempdir().context("a temporary folder")?;
        if let Some(account) = account {
            account.give(dir.path())?;
        }
        list().folders.push(dir.path().to_owned());
        Ok(Folder { dir: Some(dir) })
    }

    pub fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), tempfile::TempDir::path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let path = self.path().to_owned();
        // What a server still writes while it ends may make the first attempt fail.
        drop(self.dir.take());
        let _ = fs::remove_dir_all(&path);
        list().folders.retain(|other| *other != path);
    }
}

/// Remembers a child until [`forget`].
pub(super) fn remember(pid: Pid, stop: Signal) {
    list().processes.push((pid, stop));
}

/// The child has been waited for: from here on its number may be another process's.
pub(super) fn forget(pid: Pid) {
    list().processes.retain(|(other, _)| *other != pid);
}

fn stop_everything() {
    let mut list = list();
    for (pid, stop) in &list.processes {
        let _ = kill_process(*pid, *stop);
    }
    let deadline = Instant::now() + PATIENCE;
    // Nobody reaps them now, so a zombie still "exists": its state tells.
    while list.processes.iter().any(|(pid, _)| is_running(*pid)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    for (pid, _) in list.processes.drain(..) {
        if is_running(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    for folder in list.folders.drain(..) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether the process exists and is no zombie. In `/proc/PID/stat` the state follows the name in parentheses.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    test_kill_process(pid).is_ok() && state.is_some_and(|state| state != 'Z')
}

#[derive(Default)]
struct List {
    processes: Vec<(Pid, Signal)>,
    folders: Vec<PathBuf>,
}

fn list() -> MutexGuard<'static, List> {
    static LIST: Mutex<List> = Mutex::new(List { processes: Vec::new(), folders: Vec::new() });
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long children may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);
