//! Processes on this machine: run one to its end, signal some, ask how one is.
//!
//! Nothing here is specific to PostgreSQL. Signals go through the shell's own `kill`, since the system call has no safe
//! form in the standard library and `unsafe` belongs to the ring's room alone. What `/proc` says is read as text.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A wish, from outside, that the work under way ends soon. Clones share the one wish.
///
/// Long steps look at it between two short pauses, so that Ctrl-C is answered in any phase of a start.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    wishes: Arc<AtomicUsize>,
}

impl Interrupt {
    /// One that nobody has raised yet, and that nobody will unless a clone is kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an end, once more if that was done before.
    pub fn raise(&self) {
        self.wishes.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether anybody has asked for an end.
    pub fn raised(&self) -> bool {
        self.count() > 0
    }

    /// Waits for `within`, or less when an end is asked for meanwhile. Returns whether it was.
    pub fn wait(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.raised() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(LONG_PAUSE));
        }
        true
    }

    /// How many times an end was asked for: the second time means "now".
    pub fn count(&self) -> usize {
        self.wishes.load(Ordering::SeqCst)
    }
}

/// A signal that this program sends, by its POSIX name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Cont,
    Hup,
    Int,
    Kill,
    Quit,
    Stop,
    Term,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cont => "CONT",
            Self::Hup => "HUP",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Quit => "QUIT",
            Self::Stop => "STOP",
            Self::Term => "TERM",
        })
    }
}

/// Sends `signal` to each of `pids`. A process that has already gone is not an error: the sender cannot know.
///
/// # Errors
/// When no shell can be started.
pub fn signal(signal: Signal, pids: &[u32]) -> io::Result<()> {
    let targets: Vec<String> = pids.iter().map(u32::to_string).collect();
    kill(signal, &targets)
}

/// Sends `signal` to every process of the group that `leader` leads.
///
/// # Errors
/// When no shell can be started.
pub fn signal_group(signal: Signal, leader: u32) -> io::Result<()> {
    kill(signal, &[format!("-{leader}")])
}

/// The direct children of a process that exist now, by what `/proc` says of every process's parent.
pub fn children(parent: u32) -> Vec<u32> {
    processes(|stat| stat.parent == parent)
}

/// Whether a process runs (or is stopped): one that has ended and only waits to be reaped does not.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// Looks every few milliseconds whether `done` holds, until it does or `within` has passed. Returns whether it held.
pub fn await_until(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Why a step did not end well.
#[derive(Debug)]
pub enum StepError {
    /// It ended with another status than 0; the text holds the last lines it said.
    Failed(ExitStatus, String),
    /// The interrupt was raised and the step was ended.
    Interrupted,
    /// It was still running when its time was over and was ended; the text holds the last lines it said.
    Overdue(Duration, String),
    /// It could not be started.
    Unstarted(io::Error),
}

/// What bounds a step.
pub struct Bounds<'a> {
    /// How long it may take.
    pub within: Duration,
    /// How long the processes it leaves behind when it is killed may take to end by themselves.
    pub rest_within: Duration,
    /// Ends it early when raised.
    pub interrupt: &'a Interrupt,
}

/// Runs `command` to its end, with what it says on either stream going to `log`.
///
/// The command becomes the leader of a process group of its own: a Ctrl-C at the terminal then reaches us alone, and
/// we end the whole group in our own order. Its standard input is the caller's to choose. `started` learns its id.
///
/// # Errors
/// See [`StepError`]. Whatever the error, nothing of the command runs any more on return.
pub fn run_to_end(
    command: &mut Command,
    log: &Path,
    bounds: &Bounds<'_>,
    started: impl FnOnce(u32),
) -> Result<(), StepError> {
    let said = File::create(log).map_err(StepError::Unstarted)?;
    let said_too = said.try_clone().map_err(StepError::Unstarted)?;
    command.stdout(said).stderr(said_too).process_group(0);
    let mut child = command.spawn().map_err(StepError::Unstarted)?;
    started(child.id());
    let mut ended = None;
    let in_time = await_until(bounds.within, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some() || bounds.interrupt.raised()
    });
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(StepError::Failed(status, tail(log, TAIL_LINES))),
        None => {
            end_group(&mut child, bounds.rest_within);
            if in_time {
                Err(StepError::Interrupted)
            } else {
                Err(StepError::Overdue(bounds.within, tail(log, TAIL_LINES)))
            }
        }
    }
}

/// The last `lines` lines of a text file, joined; empty when it cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes), lines)
}

/// A number of random bytes, written as twice as many hexadecimal digits.
///
/// # Errors
/// When the system has no random numbers to give.
pub fn random_hex(bytes: usize) -> io::Result<String> {
    let mut drawn = vec![0u8; bytes];
    getrandom::fill(&mut drawn).map_err(io::Error::other)?;
    Ok(drawn.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Kills the leader of a group, lets the others end by themselves if they do so soon, and reaps the leader.
fn end_group(child: &mut Child, rest_within: Duration) {
    let leader = child.id();
    let _ = child.kill();
    if !await_until(rest_within, || group(leader).is_empty()) {
        let _ = signal_group(Signal::Kill, leader);
    }
    let _ = child.wait();
}

/// The members of the group that `leader` leads or has led.
fn group(leader: u32) -> Vec<u32> {
    processes(|stat| stat.group == leader)
}

/// All processes that fit, without those that have ended and only wait to be reaped.
fn processes(fits: impl Fn(&Stat) -> bool) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| stat(pid).is_some_and(|stat| stat.state != 'Z' && fits(&stat)))
        .collect()
}

fn kill<S: AsRef<OsStr>>(signal: Signal, targets: &[S]) -> io::Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    Command::new("sh")
        .args(["-c", r#"signal=$1; shift; kill -s "$signal" -- "$@""#, "kill"])
        .arg(signal.to_string())
        .args(targets)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// What one line of `/proc/PID/stat` tells.
struct Stat {
    state: char,
    parent: u32,
    group: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command's name stands in parentheses and may itself hold some (proc(5)), so the reading starts after the last.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?.chars().next()?;
    let parent = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    Some(Stat { state, parent, group })
}

fn last_lines(text: &str, lines: usize) -> String {
    let mut kept = VecDeque::with_capacity(lines + 1);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        kept.push_back(line);
        if kept.len() > lines {
            kept.pop_front();
        }
    }
    Vec::from(kept).join("\n")
}

/// The pause between two looks: short beside anything awaited here, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause of who may wait for a second: a person does not notice it, and a measurement under way neither.
const LONG_PAUSE: Duration = Duration::from_millis(50);
/// How many of a failed step's last lines are worth showing.
const TAIL_LINES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_reading_of_stat() {
        let stat = parse_stat("42 (a) R 9 (b) S 7 41 42 0 -1").expect("a line of the usual form");
        assert_eq!((stat.state, stat.parent, stat.group), ('S', 7, 41));
        assert!(parse_stat("").is_none());
        assert!(parse_stat("42 (x) S").is_none());
    }

    #[test]
    fn the_last_lines_skip_empty_ones() {
        assert_eq!(last_lines("a\n\nb\n  \nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn we_are_alive_and_the_process_with_the_largest_number_is_not() {
        assert!(alive(std::process::id()));
        assert!(!alive(u32::MAX));
    }

    #[test]
    fn a_child_is_listed_until_it_is_killed() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat starts");
        assert!(children(std::process::id()).contains(&child.id()));
        signal(Signal::Kill, &[child.id()]).expect("a shell is there");
        child.wait().expect("the child is ours");
        assert!(!children(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn an_interrupted_step_ends_at_once_and_a_failed_one_tells_its_last_words() {
        let log =
            std::env::temp_dir().join(format!("pgweir-step-{}", random_hex(8).expect("random numbers")));
        let interrupt = Interrupt::new();
        let minute = Duration::from_secs(60);
        let bounds = Bounds { within: minute, rest_within: Duration::ZERO, interrupt: &interrupt };
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo first; echo last >&2; exit 3"]).stdin(Stdio::null());
        let failed = run_to_end(&mut failing, &log, &bounds, |_| ());
        assert!(matches!(failed, Err(StepError::Failed(status, said))
            if status.code() == Some(3) && said == "first\nlast"));
        interrupt.raise();
        let ended = run_to_end(Command::new("sleep").arg("600"), &log, &bounds, |_| ());
        assert!(matches!(ended, Err(StepError::Interrupted)));
        fs::remove_file(&log).expect("the log was written");
    }
}
