//! Running PostgreSQL's own client programs.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use pgweir::demo::process::{Signal, await_until, signal};

/// A program under way, and what it says.
pub struct Background {
    child: Child,
    name: String,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Background {
    /// Starts any program.
    #[track_caller]
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Self {
        let name = format!("{} {}", program.display(), arguments.join(" "));
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(mut pipe) = child.stdin.take() {
            let input = input.as_bytes().to_vec();
            // The program may end without having read it all.
            std::thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Self { child, name, stdout, stderr }
    }

    /// What a Ctrl-C at its terminal would do.
    pub fn interrupt(&self) {
        self.tell(Signal::Int);
    }

    /// The usual wish that it may end.
    pub fn terminate(&self) {
        self.tell(Signal::Term);
    }

    pub fn kill(&self) {
        self.tell(Signal::Kill);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that takes longer than two minutes.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let mut status = None;
        await_until(RUN_MAX, || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        let overdue = status.is_none();
        if overdue {
            let _ = self.child.kill();
        }
        let said = |reader: Option<JoinHandle<Vec<u8>>>| {
            let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (said(self.stdout.take()), said(self.stderr.take()));
        match status {
            Some(status) => Run { name: std::mem::take(&mut self.name), status, stdout, stderr },
            None => panic!("{} did not end within {RUN_MAX:?}\n{stdout}\n{stderr}", self.name),
        }
    }

    fn tell(&self, order: Signal) {
        signal(order, &[self.child.id()]).expect("a shell to send signals with");
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Run {
    name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Itself, when it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}: {}\n{}\n{}", self.name, self.status, self.stdout, self.stderr);
        self
    }

    /// The number that follows `label` in what it printed, as in pgbench's `number of failed transactions: 0 (0.000%)`.
    #[track_caller]
    pub fn number(&self, label: &str) -> f64 {
        let line = self.stdout.lines().find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|rest| rest.trim_start_matches([':', '=', ' ']).split([' ', '/']).next());
        word.and_then(|word| word.parse().ok()).unwrap_or_else(|| {
            panic!("{}: no number after {label:?} in\n{}\n{}", self.name, self.stdout, self.stderr)
        })
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // What came before a broken pipe is still worth having.
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

/// Longer than any run that a test asks for.
const RUN_MAX: Duration = Duration::from_secs(120);
