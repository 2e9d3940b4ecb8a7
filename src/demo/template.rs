//! Making data folders: by initdb for the demo, by copying a template for tests.
//!
//! initdb takes a second or more; copying what it made takes a few hundredths. So the first test that needs a server
//! has a template made among the temporary files, and everybody after it, in any process, copies that. Its
//! name tells server version, user and password, and a locked file beside it lets one process at a time make it. A
//! template is a server that was shut down in good order, so a copy of it serves as a standby of another copy.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::account::Account;
use super::binaries::Binaries;
use super::folder::quick_place;
use super::keeper::Keeper;
use super::process::{Bounds, Interrupt, Signal, StepError, random_hex, run_to_end};
use super::servers::ServersError;
use super::settings::{Purpose, REPLICATION_USER, postgresql_conf};
use super::sql::literal;

/// What every data folder is made with.
pub struct Maker<'a> {
    pub binaries: &'a Binaries,
    pub account: &'a Account,
    /// Ends what is under way should we be killed.
    pub keeper: &'a Keeper,
    /// Of the superuser `postgres` and of the replication role alike.
    pub password: &'a str,
    pub interrupt: &'a Interrupt,
}

impl Maker<'_> {
    /// Makes a new data folder by initdb, with a superuser `postgres`, at `parent/data`.
    ///
    /// # Errors
    /// When initdb fails, with its last lines, or the interrupt is raised.
    pub fn initdb(&self, parent: &Path, quick: bool) -> Result<(), ServersError> {
        let password_file = parent.join("password");
        write_private(&password_file, &format!("{}\n", self.password))
            .and_then(|()| self.account.give(&password_file))
            .map_err(|source| ServersError::file("write", &password_file, source))?;
        let mut command = self.account.command(self.binaries.program("initdb"), parent);
        command.args(["--pgdata=data", "--username=postgres", "--auth=scram-sha-256", "--pwfile=password"]);
        command.args(["--encoding=UTF8", "--locale=C", "--no-instructions"]);
        if quick {
            // Small WAL segments make the template, and with it every copy, half as large.
            command.args(["--no-sync", "--wal-segsize=1"]);
        }
        // initdb feeds servers through a pipe. When it is killed they come to its end and end in good order; killed
        // themselves they would leave shared memory behind, and had initdb been asked to end, it would have removed
        // the folder from under them.
        let made = self.step_leaving("initdb", &mut command, parent, SERVERS_END_MAX);
        let removed = fs::remove_file(&password_file)
            .map_err(|source| ServersError::file("remove", &password_file, source));
        made.and(removed)
    }

    /// The folder that holds the template, as `data`; made first if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be made, or when its place is held by somebody else's folder.
    pub fn template(&self) -> Result<PathBuf, ServersError> {
        let temporary = fs::canonicalize(quick_place())
            .map_err(|source| ServersError::file("find", &quick_place(), source))?;
        let template = temporary.join(self.template_name());
        let lock_file = template.with_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_file)
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|source| ServersError::file("lock", &lock_file, source))?;
        if !template.exists() {
            self.make_template(&template)?;
        }
        drop(lock);
        // The folder for temporary files is everybody's: what somebody else put there under this name is not used.
        let owner = fs::symlink_metadata(&template).map(|found| (found.is_dir(), found.uid()));
        match owner {
            Ok((true, uid)) if uid == self.account.uid() => Ok(template),
            Ok(_) => Err(ServersError::Folder(template, "belongs to somebody else".to_owned())),
            Err(source) => Err(ServersError::file("find", &template, source)),
        }
    }

    /// Copies the template to `parent/data` for each of `parents`, all at once.
    ///
    /// # Errors
    /// When a copy fails.
    pub fn copy_template(&self, template: &Path, parents: &[PathBuf]) -> Result<(), ServersError> {
        let copies: Vec<io::Result<Child>> = parents
            .iter()
            .map(|parent| {
                let mut command = self.account.command("cp", parent);
                command.arg("-a").args([template.join("data"), parent.join("data")]);
                let copy = command.spawn()?;
                let _ = self.keeper.watch(copy.id(), Signal::Kill);
                Ok(copy)
            })
            .collect();
        // Every copy is waited for, even when one has failed: none may go on behind our back.
        let ended: Vec<io::Result<ExitStatus>> =
            copies.into_iter().map(|copy| copy.and_then(|mut copy| copy.wait())).collect();
        for (parent, ended) in parents.iter().zip(ended) {
            let status = ended.map_err(|source| ServersError::Program("cp".to_owned(), source))?;
            if !status.success() {
                let said = format!("no copy at {} ({status})", parent.display());
                return Err(ServersError::Failed { step: "copying the template".to_owned(), said });
            }
        }
        Ok(())
    }

    /// Runs one program in `folder` to its end.
    ///
    /// # Errors
    /// When it fails, with its last lines, takes longer than [`STEP_MAX`], or the interrupt is raised.
    pub fn step(&self, step: &str, command: &mut Command, folder: &Path) -> Result<(), ServersError> {
        self.step_leaving(step, command, folder, Duration::ZERO)
    }

    /// As [`Maker::step`]; should it be killed, the processes it leaves have `rest_within` to end by themselves.
    fn step_leaving(
        &self,
        step: &str,
        command: &mut Command,
        folder: &Path,
        rest_within: Duration,
    ) -> Result<(), ServersError> {
        let log = folder.join("setup.log");
        // Without the keeper the step would only go on for a while longer: no reason not to take it.
        let watch = |pid| drop(self.keeper.watch(pid, Signal::Kill));
        let bounds = Bounds { within: STEP_MAX, rest_within, interrupt: self.interrupt };
        run_to_end(command, &log, &bounds, watch).map_err(|ended| match ended {
            StepError::Failed(status, said) => {
                ServersError::Failed { step: step.to_owned(), said: format!("{said}\n({status})") }
            }
            StepError::Interrupted => ServersError::Interrupted,
            StepError::Overdue(within, said) => {
                ServersError::Overdue { step: format!("{step} to end"), within, said }
            }
            StepError::Unstarted(source) => ServersError::Program(step.to_owned(), source),
        })
    }

    fn template_name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (LAYOUT, &self.binaries.folder, self.password).hash(&mut hasher);
        let (major, minor) = self.binaries.version;
        let (own, servers) = (self.account.own_uid(), self.account.uid());
        format!("pgweir-template-{major}-{minor}-{own}-{servers}-{:016x}", hasher.finish())
    }

    /// Makes the template under another name first, so that only a complete one ever has the right name. The name is
    /// new each time: what somebody killed was making may still be written to by the program they ran.
    fn make_template(&self, template: &Path) -> Result<(), ServersError> {
        let making = template.with_extension(random_hex(6)?);
        let file = |source| ServersError::file("make", &making, source);
        fs::create_dir(&making)
            .and_then(|()| fs::set_permissions(&making, fs::Permissions::from_mode(0o700)))
            .and_then(|()| self.account.give(&making))
            .map_err(file)?;
        let made = self.fill_template(&making);
        match made {
            Ok(()) => fs::rename(&making, template).map_err(file),
            Err(error) => {
                let _ = fs::remove_dir_all(&making);
                Err(error)
            }
        }
    }

    fn fill_template(&self, making: &Path) -> Result<(), ServersError> {
        let file = |source| ServersError::file("write", making, source);
        self.initdb(making, true)?;
        let conf = making.join("data/postgresql.conf");
        fs::write(&conf, postgresql_conf(Purpose::Test, "template", 1, None, &[]))
            .map_err(|source| ServersError::file("write", &conf, source))?;
        let statement = making.join("role.sql");
        fs::write(&statement, format!("{}\n", replication_role(self.password))).map_err(file)?;
        let statement = File::open(&statement).map_err(file)?;
        // Single-user mode ends with a shutdown in good order, which is what a copy needs to serve as a standby.
        let mut command = self.account.command(self.binaries.program("postgres"), making);
        command.args(["--single", "-D", "data", "postgres"]).stdin(statement);
        self.step("postgres --single", &mut command, making)
    }
}

/// The statement that makes the role that replicas log in with.
pub fn replication_role(password: &str) -> String {
    format!("CREATE ROLE {REPLICATION_USER} LOGIN REPLICATION PASSWORD {}", literal(password))
}

/// Writes a file that nobody but its owner may read.
///
/// # Errors
/// Those of the file system; also when the file exists.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// To be changed with anything that changes what a template holds.
const LAYOUT: u32 = 1;
/// How long any single program may take while servers are being made.
const STEP_MAX: Duration = Duration::from_secs(120);
/// How long a server that initdb no longer feeds may take to end.
const SERVERS_END_MAX: Duration = Duration::from_secs(5);
