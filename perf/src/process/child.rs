//! One program that perf runs: started on its cores and under its account, stopped by its process id.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;
use super::{cores, registry, tree};

/// How a program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What PostgreSQL and pgpool-II call the fast shutdown.
    Interrupt,
    Terminate,
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Stop::Interrupt => Signal::INT,
            Stop::Terminate => Signal::TERM,
        }
    }

    /// The name setpriv(1) takes.
    fn name(self) -> &'static str {
        match self {
            Stop::Interrupt => "INT",
            Stop::Terminate => "TERM",
        }
    }
}

/// A program with all that is to be decided before it starts.
pub struct Unstarted {
    program: PathBuf,
    arguments: Vec<OsString>,
    cores: Vec<usize>,
    account: Option<Account>,
    stop: Stop,
    log: PathBuf,
}

impl Unstarted {
    /// What it says on standard error goes to the file `log`.
    pub fn new(program: impl Into<PathBuf>, cores: &[usize], log: PathBuf) -> Unstarted {
        Unstarted {
            program: program.into(),
            arguments: Vec::new(),
            cores: cores.to_vec(),
            account: None,
            stop: Stop::Terminate,
            log,
        }
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Unstarted {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Unstarted {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn account(mut self, account: Option<Account>) -> Unstarted {
        self.account = account;
        self
    }

    pub fn stop(mut self, stop: Stop) -> Unstarted {
        self.stop = stop;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the program is not there, or its cores or account cannot be had.
    pub fn start(self) -> Result<Child> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut process = cores::during(&self.cores, || {
            command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
        })?;
        let pid = Pid::from_child(&process);
        registry::remember(pid, self.stop.signal());
        let output = process.stdout.take().map(BufReader::new);
        Ok(Child { name, process, output, stop: self.stop, log: self.log })
    }

    /// The command line. setpriv(1) makes the kernel stop the child when perf dies without having been able to; it keeps
    /// its process id through it. Where there is no setpriv, the standard library switches the account.
    fn command(&self) -> Command {
        let mut command = if Path::new(SETPRIV).is_file() {
            let mut command = Command::new(SETPRIV);
            command.arg("--pdeathsig").arg(self.stop.name());
            if let Some(Account { uid, gid }) = self.account {
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}")).arg("--clear-groups");
            }
            command.arg("--").arg(&self.program);
            command
        } else {
            let mut command = Command::new(&self.program);
            if let Some(Account { uid, gid }) = self.account {
                command.uid(uid).gid(gid);
            }
            command
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        // A program of another account cannot enter the folder perf was called in.
        command.args(&self.arguments).env("LC_ALL", "C").current_dir("/");
        command
    }
}

/// A running program, stopped when dropped.
pub struct Child {
    name: String,
    process: std::process::Child,
    output: Option<BufReader<ChildStdout>>,
    stop: Stop,
    log: PathBuf,
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line of its standard output without its end; `None` when it has closed it.
    ///
    /// # Errors
    /// Those of reading a pipe.
    pub fn line(&mut self) -> Result<Option<String>> {
        let Some(output) = &mut self.output else { return Ok(None) };
        let mut line = String::new();
        if output.read_line(&mut line).with_context(|| format!("the output of {}", self.name))? == 0 {
            return Ok(None);
        }
        line.truncate(line.trim_end().len());
        Ok(Some(line))
    }

    /// Waits for its end, which must be a success.
    ///
    /// # Errors
    /// When it fails: with what it said last.
    pub fn finish(mut self) -> Result<()> {
        // A pipe that nobody reads would stop it.
        while self.line()?.is_some() {}
        let status = self.process.wait()?;
        registry::forget(Pid::from_child(&self.process));
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, self.said());
        }
        Ok(())
    }

    /// The end of what it wrote to standard error.
    pub fn said(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    /// Fails when it has ended, which a server does only for a reason it says.
    ///
    /// # Errors
    /// See above.
    pub fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.said()),
        }
    }
}

impl Child {
    /// SIGKILL to it and to all its descendants.
    pub fn kill_tree(&mut self) {
        // First itself, so that it starts no more of them; they are found before, since they lose their parent with it.
        let below = tree::descendants(self.pid());
        let _ = self.process.kill();
        for pid in below.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.process);
        // Until it is waited for, its number is nobody else's.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill_process(pid, self.stop.signal());
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.process.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    let _ = self.process.kill();
                    let _ = self.process.wait();
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        registry::forget(pid);
    }
}

const SETPRIV: &str = "/usr/bin/setpriv";
/// How long a program may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
const LINES_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::{cores_allowed, registry::Folder};
    use super::*;

    fn shell(script: &str, folder: &Folder) -> Unstarted {
        let cores = cores_allowed().expect("Linux says");
        Unstarted::new("/bin/sh", &cores[..1], folder.path().join("log")).arguments(["-c", script])
    }

    #[test]
    fn it_runs_on_its_core_and_its_lines_are_read() {
        let folder = Folder::new(None).expect("a folder");
        let script = "grep Cpus_allowed_list /proc/self/status; echo hello";
        let mut child = shell(script, &folder).start().expect("a shell");
        let cores = child.line().expect("a pipe").expect("grep found it");
        let first = cores_allowed().expect("Linux says")[0].to_string();
        assert_eq!(cores.split_ascii_whitespace().last(), Some(&*first));
        assert_eq!(child.line().expect("a pipe").as_deref(), Some("hello"));
        assert_eq!(child.line().expect("a pipe"), None);
        child.finish().expect("it succeeds");
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let folder = Folder::new(None).expect("a folder");
        let child = shell("echo out of luck >&2; exit 3", &folder).start().expect("a shell");
        let error = child.finish().expect_err("it failed").to_string();
        assert!(error.contains("out of luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn dropping_it_ends_it() {
        let folder = Folder::new(None).expect("a folder");
        let mut child = shell("echo up; exec sleep 600", &folder).start().expect("a shell");
        assert_eq!(child.line().expect("a pipe").as_deref(), Some("up"));
        let pid = child.pid();
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
