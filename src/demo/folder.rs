//! The demo's folder: where it is, whose it is, and what happens to it.
//!
//! A file in it stays locked while its demo runs. The system unlocks it however that demo ends, so the next one knows
//! a left-over from a folder in use and clears it away, with the servers in it if even the keeper was killed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use super::account::Account;
use super::keeper::Fate;
use super::node::release_memory;
use super::process::{Signal, alive, await_until, children, random_hex, signal};

/// A folder that is ours until it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether it was not there before, so that it goes with its contents.
    created: bool,
    /// Whether its place was ours to choose.
    temporary: bool,
    keep: bool,
    /// Held for its lock.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{0} is not empty: choose another folder with --dir, or empty this one")]
    NotEmpty(PathBuf),
    #[error("{0} belongs to another pgweir demo, which still runs: choose another folder with --dir")]
    InUse(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Folder {
    /// Takes `dir`, which must be new, empty, or left over from a demo that was killed; or makes a temporary folder.
    /// With `keep`, it stays with its contents when dropped.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn prepare(dir: Option<&Path>, keep: bool) -> Result<Self, FolderError> {
        let (path, created) = match dir {
            None => {
                clear_left_overs();
                let temporary = std::env::temp_dir();
                (new_path(&temporary, PREFIX).map_err(at(&temporary))?, true)
            }
            Some(dir) => (dir.to_owned(), !dir.exists()),
        };
        if created {
            make(&path).map_err(at(&path))?;
        }
        let path = fs::canonicalize(&path).map_err(at(&path))?;
        if !created {
            clear_left_over(&path)?;
            if fs::read_dir(&path).map_err(at(&path))?.next().is_some() {
                return Err(FolderError::NotEmpty(path));
            }
        }
        let mut lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(at(&path))?;
        lock.try_lock().map_err(|_| FolderError::InUse(path.clone()))?;
        if keep {
            lock.write_all(KEEP.as_bytes()).map_err(at(&path))?;
        }
        Ok(Self { path, created, temporary: dir.is_none(), keep, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What servers in this folder should have done with it should we be killed: a folder that the user named is left
    /// for the next demo to clear, which looks more closely at what lies in it.
    pub fn fate(&self) -> Fate {
        if self.temporary && !self.keep { Fate::Remove } else { Fate::Keep }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            let _ = fs::remove_file(self.path.join(LOCK));
        } else if self.created {
            let _ = fs::remove_dir_all(&self.path);
        } else {
            let _ = remove_contents(&self.path);
        }
    }
}

/// Where servers to be thrown away live: in memory where there is plenty of it, else among the temporary files.
///
/// A server is a thousand small files, which take ten times as long to make on a disk. Whoever sets `TMPDIR` has
/// chosen.
pub fn quick_place() -> PathBuf {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let memory = Path::new("/dev/shm");
        let in_memory = std::env::var_os("TMPDIR").is_none() && free_space(memory) >= Some(QUICK_MIN);
        if in_memory { memory.to_owned() } else { std::env::temp_dir() }
    });
    PLACE.clone()
}

/// A path in an existing folder that nobody has yet.
///
/// # Errors
/// When the folder does not exist, or there are no random numbers.
pub fn new_path(folder: &Path, prefix: &str) -> io::Result<PathBuf> {
    Ok(fs::canonicalize(folder)?.join(format!("{prefix}{}", random_hex(6)?)))
}

/// Makes a folder for the servers' folders, passable for the account that they run under and else closed.
///
/// # Errors
/// Those of the file system.
pub fn make(path: &Path) -> io::Result<()> {
    let mode = if Account::find().is_ok_and(|account| account.is_other()) { 0o711 } else { 0o700 };
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes what demos that were killed left among the temporary files. Only our own, and silently: it is a courtesy.
fn clear_left_overs() {
    let (Ok(account), Ok(temporary)) = (Account::find(), fs::canonicalize(std::env::temp_dir())) else {
        return;
    };
    let Ok(entries) = fs::read_dir(temporary) else {
        return;
    };
    for entry in entries.flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == account.own_uid());
        if is_one && clear_left_over(&entry.path()).is_ok() {
            // Fails when there is still something in it, which then is not ours.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Clears a folder if it holds what a killed demo left; a folder of any other kind is not touched.
fn clear_left_over(folder: &Path) -> Result<(), FolderError> {
    let lock_file = folder.join(LOCK);
    let Ok(lock) = OpenOptions::new().write(true).read(true).open(&lock_file) else {
        return Ok(());
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => return Err(at(folder)(source)),
    }
    if fs::read_to_string(&lock_file).map_err(at(folder))? == KEEP {
        return Ok(());
    }
    end_servers(folder);
    remove_contents(folder).map_err(at(folder))
}

/// Ends the servers whose folders lie in `folder`. A number in a lock file may by now mean another process, so it
/// counts only when that process works in the server's own data folder.
fn end_servers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let data = entry.path().join("data");
        let lock = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let Some(pid) = lock.lines().next().and_then(|line| line.trim().parse().ok()) else {
            continue;
        };
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|working| working == data) {
            let _ = signal(Signal::Stop, &[pid]);
            let mut family = children(pid);
            family.push(pid);
            let _ = signal(Signal::Kill, &family);
            await_until(Duration::from_secs(5), || !alive(pid));
            // Only of a server seen alive: an older number may by now be that of somebody else's memory.
            release_memory(&data);
        }
    }
}

/// How many kilobytes can still be written under `folder`, by what df(1) says.
fn free_space(folder: &Path) -> Option<u64> {
    let said = Command::new("df").args(["-P", "-k"]).arg(folder).stdin(Stdio::null()).output().ok()?;
    parse_free(&String::from_utf8_lossy(&said.stdout))
}

/// The fourth word of the second line (POSIX, df -P).
fn parse_free(said: &str) -> Option<u64> {
    said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

/// Removes what a demo makes in its folder, and nothing else.
fn remove_contents(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_node = name.strip_prefix("node").is_some_and(|number| number.parse::<u8>().is_ok());
        if is_node && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if OWN_FILES.contains(&&*name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path, source }
}

/// In kilobytes: room for a handful of clusters, each with what a test may write and the WAL of that.
const QUICK_MIN: u64 = 4 << 20;
const PREFIX: &str = "pgweir-demo-";
const LOCK: &str = "demo.lock";
/// What the lock file says when the folder is to stay.
const KEEP: &str = "keep";
const OWN_FILES: [&str; 3] = [LOCK, "pgweir.toml", "userlist.txt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> PathBuf {
        new_path(&std::env::temp_dir(), "pgweir-folder-").expect("a folder for temporary files")
    }

    #[test]
    fn the_free_space_is_the_fourth_column() {
        let said = "Filesystem 1024-blocks Used Available Capacity Mounted on\ntmpfs 12290000 4 12289996 1% /dev/shm\n";
        assert_eq!(parse_free(said), Some(12_289_996));
        assert_eq!(parse_free("df: no such folder\n"), None);
    }

    #[test]
    fn a_new_folder_goes_and_a_kept_one_stays() {
        let place = place();
        let folder = Folder::prepare(Some(&place), false).expect("it is new");
        assert!(place.join(LOCK).exists());
        drop(folder);
        assert!(!place.exists());
        drop(Folder::prepare(Some(&place), true).expect("it is new again"));
        assert_eq!(fs::read_dir(&place).expect("it stays").count(), 0);
        fs::remove_dir(&place).expect("it is empty");
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused_and_left_alone() {
        let place = place();
        fs::create_dir(&place).expect("it is new");
        fs::write(place.join("thesis.tex"), "").expect("it is ours");
        assert!(matches!(Folder::prepare(Some(&place), false), Err(FolderError::NotEmpty(_))));
        assert!(place.join("thesis.tex").exists());
        fs::remove_dir_all(&place).expect("it is ours");
    }

    #[test]
    fn a_folder_in_use_is_refused_and_a_left_over_taken() {
        let place = place();
        let first = Folder::prepare(Some(&place), false).expect("it is new");
        assert!(matches!(Folder::prepare(Some(&place), false), Err(FolderError::InUse(_))));
        drop(first);
        // What SIGKILL leaves: the files, without the lock.
        fs::create_dir_all(place.join("node1/data")).expect("ours");
        for file in OWN_FILES {
            fs::write(place.join(file), "").expect("ours");
        }
        let second = Folder::prepare(Some(&place), false).expect("a left-over is cleared");
        assert!(!place.join("node1").exists());
        drop(second);
        assert!(place.exists(), "a folder that was there before stays, emptied");
        fs::remove_dir(&place).expect("it is empty");
    }

    #[test]
    fn a_left_over_that_was_to_be_kept_is_not_cleared() {
        let place = place();
        fs::create_dir(&place).expect("it is new");
        fs::write(place.join(LOCK), KEEP).expect("ours");
        assert!(matches!(Folder::prepare(Some(&place), false), Err(FolderError::NotEmpty(_))));
        fs::remove_dir_all(&place).expect("ours");
    }
}
