//! A small process that ends the servers when we cannot.
//!
//! Drop handlers do not run when a process is killed with SIGKILL, and statics are never dropped. So whoever starts
//! servers also starts a keeper: a shell that waits for the end of its standard input. The system closes that pipe
//! however we end, and the keeper then ends whatever it was told to watch and, if so ordered, removes the folder.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::process::Signal;

/// What becomes of the folder once all has ended without us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Keep,
    Remove,
}

/// The running keeper of one folder.
#[derive(Debug)]
pub struct Keeper {
    child: Mutex<Child>,
}

impl Keeper {
    /// Starts a keeper for processes whose working folders lie under `folder`, which must be a canonical path.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start(folder: &Path, fate: Fate) -> io::Result<Self> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "pgweir-keeper"])
            .arg(folder)
            .arg(match fate {
                Fate::Keep => "keep",
                Fate::Remove => "remove",
            })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // A Ctrl-C at the terminal is for us, not for the keeper.
            .process_group(0)
            .spawn()?;
        Ok(Self { child: Mutex::new(child) })
    }

    /// From now on process `pid` does not outlive us; `first` is what it will be told first.
    ///
    /// Its end need not be reported: a number that means another process by then is recognised.
    ///
    /// # Errors
    /// When the keeper has itself been ended by somebody.
    pub fn watch(&self, pid: u32, first: Signal) -> io::Result<()> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        match child.stdin.as_mut() {
            Some(pipe) => pipe.write_all(format!("watch {pid} {first}\n").as_bytes()),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

const SCRIPT: &str = include_str!("keeper.sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::process::{alive, random_hex};
    use std::fs;
    use std::path::PathBuf;

    fn folder() -> PathBuf {
        let folder = fs::canonicalize(std::env::temp_dir())
            .expect("a folder for temporary files")
            .join(format!("pgweir-keeper-{}", random_hex(8).expect("random numbers")));
        fs::create_dir_all(folder.join("node1")).expect("we may write there");
        folder
    }

    fn sleeper(working_folder: &Path) -> Child {
        Command::new("sleep").arg("600").current_dir(working_folder).spawn().expect("sleep starts")
    }

    #[test]
    fn what_is_watched_ends_with_the_pipe_and_the_folder_goes() {
        let folder = folder();
        let keeper = Keeper::start(&folder, Fate::Remove).expect("a shell");
        let mut watched = sleeper(&folder.join("node1"));
        keeper.watch(watched.id(), Signal::Term).expect("it reads");
        drop(keeper);
        assert!(!alive(watched.id()), "the keeper's own end comes after those it watches");
        watched.wait().expect("our child");
        assert!(!folder.exists());
    }

    #[test]
    fn a_frozen_process_ends_too() {
        let folder = folder();
        let keeper = Keeper::start(&folder, Fate::Remove).expect("a shell");
        let mut watched = sleeper(&folder.join("node1"));
        crate::demo::process::signal(Signal::Stop, &[watched.id()]).expect("a shell");
        keeper.watch(watched.id(), Signal::Quit).expect("it reads");
        drop(keeper);
        assert!(!alive(watched.id()));
        watched.wait().expect("our child");
    }

    #[test]
    fn strangers_are_left_alone() {
        let folder = folder();
        let keeper = Keeper::start(&folder, Fate::Keep).expect("a shell");
        let mut stranger = sleeper(Path::new("/"));
        let mut unannounced = sleeper(&folder.join("node1"));
        keeper.watch(stranger.id(), Signal::Kill).expect("it reads");
        drop(keeper);
        assert!(folder.exists());
        for child in [&mut stranger, &mut unannounced] {
            assert!(alive(child.id()));
            child.kill().expect("our child");
            child.wait().expect("our child");
        }
        fs::remove_dir_all(&folder).expect("ours");
    }
}
