//! A proxy that serves clients.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Task, WHO};
use crate::client::Client;
use crate::lab::Lab;
use crate::nodes::listening;
use crate::process::{self, Child, Folder, Memory};

/// The process, or nothing where clients go straight to the server. Stopped when dropped.
pub struct Running {
    pub name: String,
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    /// What makes this run of it special.
    pub note: Option<String>,
    child: Option<Child>,
    // Dropped after the process, which may still write into it.
    _folder: Option<Folder>,
}

impl Running {
    /// No proxy: the server itself.
    pub(super) fn direct(name: &str, port: u16) -> Running {
        Running { name: name.to_owned(), port, note: None, child: None, _folder: None }
    }

    pub(super) fn new(name: &str, port: u16, child: Child, folder: Option<Folder>) -> Running {
        Running { name: name.to_owned(), port, note: None, child: Some(child), _folder: folder }
    }

    /// Waits until `is_ready`.
    ///
    /// # Errors
    /// When the process ends, or takes too long.
    pub(super) fn await_ready(mut self, is_ready: impl Fn(u16) -> bool) -> Result<Running> {
        let deadline = Instant::now() + READY_MAX;
        while !is_ready(self.port) {
            if let Some(child) = &mut self.child {
                child.check()?;
            }
            if Instant::now() > deadline {
                let said = self.child.as_ref().map(Child::said).unwrap_or_default();
                bail!("{} was not ready within {READY_MAX:?}: {said}", self.name);
            }
            thread::sleep(PAUSE);
        }
        Ok(self)
    }

    /// Its CPU time until now, with all threads and children; `None` when there is no process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> io::Result<Option<Duration>> {
        self.child.as_ref().map(|child| process::cpu_time(child.pid())).transpose()
    }

    /// Its memory, with all children; `None` when there is no process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> io::Result<Option<Memory>> {
        self.child.as_ref().map(|child| Memory::of(child.pid())).transpose()
    }

    /// How many descriptors it holds open.
    pub fn descriptors(&self) -> usize {
        self.child.as_ref().map_or(0, |child| process::descriptors_open(child.pid()))
    }
}

/// Whether a client that logs in at this port is answered.
pub(super) fn answers(port: u16) -> bool {
    Client::answers(port, WHO.0, WHO.1)
}

/// Starts `perf relay` in front of the primary.
pub(super) fn relay(name: &str, lab: &Lab, task: &Task) -> Result<Running> {
    let mut child = lab
        .part("relay", &lab.proxy_cores)
        .arguments(["--listen", "127.0.0.1:0", "--to", &format!("127.0.0.1:{}", task.primary())])
        .start()?;
    let port = listening(&mut child)?;
    Running::new(name, port, child, None).await_ready(answers)
}

/// How long a proxy may take to come up.
const READY_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
