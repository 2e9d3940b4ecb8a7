//! A unix socket's file and the lock file beside it, by PostgreSQL's rules (`CreateLockFile`): the lock names the process
//! that has the socket; one of a process that is gone is taken over.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, getpid, getppid, test_kill_process};
use socket2::{Domain, SockAddr, Socket, Type};

use super::listeners::{LET_GO, LOOK_AGAIN, ListenError, plain};

/// The files of a socket; removed when dropped.
#[derive(Debug)]
pub(super) struct UnixSocket {
    path: PathBuf,
    lock: PathBuf,
}

impl UnixSocket {
    /// Takes `FOLDER/.s.PGSQL.PORT`, and listens.
    ///
    /// # Errors
    ///
    /// When another process has it, or the folder cannot be written to.
    pub fn bind(
        folder: &Path,
        port: u16,
        mode: u32,
        backlog: u32,
    ) -> Result<(UnixSocket, Socket), ListenError> {
        let path = folder.join(format!(".s.PGSQL.{port}"));
        let lock = folder.join(format!(".s.PGSQL.{port}.lock"));
        let wrong = |reason: String| ListenError::new(path.display(), reason);
        take_lock(&lock, folder, port).map_err(wrong)?;
        // From here on the lock is ours, and goes when anything fails.
        let files = UnixSocket { path: path.clone(), lock };
        let deadline = Instant::now() + LET_GO;
        while answers(&path) {
            if Instant::now() < deadline {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            // Whoever listens there has lost its lock file, not its socket; neither may be taken away.
            let files = std::mem::ManuallyDrop::new(files);
            let _ = fs::remove_file(&files.lock);
            return Err(wrong("another program answers there; change [listen] port".into()));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(wrong(format!("the old socket cannot be removed: {}", plain(&error))));
            }
            _ => {}
        }
        let socket = listen(&path, mode, backlog).map_err(|error| wrong(reason(&error, folder)))?;
        Ok((files, socket))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.lock);
    }
}

/// Whether somebody listens at this socket. Does not wait: a listener whose queue is full is one all the same.
fn answers(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn listen(path: &Path, mode: u32, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: nobody gets in with other permissions.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Makes the lock file ours.
fn take_lock(lock: &Path, folder: &Path, port: u16) -> Result<(), String> {
    for _ in 0..ATTEMPTS_MAX {
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(lock) {
            Ok(mut file) => {
                let process = getpid().as_raw_nonzero();
                let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
                // The lines of PostgreSQL's own: process, data folder, start, port, socket folder.
                let lines = format!("{process}\n\n{started}\n{port}\n{}\n", folder.display());
                return file.write_all(lines.as_bytes()).map_err(|error| reason(&error, folder));
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(reason(&error, folder)),
        }
        match fs::read_to_string(lock) {
            Ok(text) => {
                if let Some(process) = holder(&text) {
                    return Err(format!(
                        "process {process} has it; change [listen] port, or remove {} if that process is another \
                         program",
                        lock.display()
                    ));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{} cannot be read: {}", lock.display(), plain(&error))),
        }
        match fs::remove_file(lock) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(format!("the old {} cannot be removed: {}", lock.display(), plain(&error)));
            }
            _ => {}
        }
    }
    Err(format!("{} keeps coming back", lock.display()))
}

/// The process that a lock file names, if it lives. Our own number and our parent's are those of former processes that
/// had them before us, as it is after every start of a container.
fn holder(text: &str) -> Option<i32> {
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    let process = Pid::from_raw(number.checked_abs()?)?;
    if process == getpid() || Some(process) == getppid() {
        return None;
    }
    match test_kill_process(process) {
        Err(rustix::io::Errno::SRCH) => None,
        // Alive, or alive and somebody else's.
        Ok(()) | Err(_) => Some(number),
    }
}

fn reason(error: &io::Error, folder: &Path) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("the folder {} does not exist; create it", folder.display()),
        ErrorKind::PermissionDenied => format!("no permission to write to {}", folder.display()),
        _ => plain(error),
    }
}

/// How often a lock file is tried that vanishes and returns while we look.
const ATTEMPTS_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 6432;

    fn bind(folder: &Path) -> Result<(UnixSocket, Socket), ListenError> {
        UnixSocket::bind(folder, PORT, 0o700, 8)
    }

    #[test]
    fn the_files_come_with_their_mode_and_go_with_the_socket() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (files, _socket) = bind(folder.path()).expect("nobody else is there");
        let mode = fs::metadata(files.path()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(std::os::unix::net::UnixStream::connect(files.path()).is_ok());
        drop(files);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (files, socket) = bind(folder.path()).expect("nobody else is there");
        std::mem::forget(files);
        drop(socket);
        bind(folder.path()).expect("the lock names this very process, which does not have it");
        fs::write(folder.path().join(".s.PGSQL.6432.lock"), "nonsense").expect("it is ours");
        bind(folder.path()).expect("the lock names nobody");
    }

    #[test]
    fn what_a_living_process_has_is_left_to_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let lock = folder.path().join(".s.PGSQL.6432.lock");
        // Process 1 always lives; when it is our parent, the rule above takes it for a former one.
        if getppid().is_some_and(|parent| parent.as_raw_nonzero().get() != 1)
            && getpid().as_raw_nonzero().get() != 1
        {
            fs::write(&lock, "1\n").expect("the folder is ours");
            let error = bind(folder.path()).expect_err("process 1 has it").to_string();
            assert!(error.contains("process 1 has it"), "{error}");
            fs::remove_file(&lock).expect("it is still there");
        }
        let (files, _socket) = bind(folder.path()).expect("nobody else is there");
        fs::remove_file(&lock).expect("it is there");
        let error = bind(folder.path()).expect_err("somebody answers").to_string();
        assert!(error.contains("another program answers there"), "{error}");
        assert!(files.path().exists(), "the socket is not taken away");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = bind(Path::new("/nonexistent/folder")).expect_err("it is not there").to_string();
        assert!(error.contains("the folder /nonexistent/folder does not exist"), "{error}");
    }
}
