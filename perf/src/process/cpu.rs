//! CPU time as the scheduler counts it, to the nanosecond.

use std::fs;
use std::io;
use std::time::Duration;

use super::tree::descendants;

/// The CPU time of a process, of all its threads and of all its descendants, user and kernel together, since each began.
///
/// Threads and children that have ended are no longer counted, so a difference of two readings is only right for a
/// program that keeps its threads and processes between them; all proxies here do.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut total = of_one(pid)?;
    for child in descendants(pid) {
        // One that has ended between the listing and the reading cost what it cost before.
        total += of_one(child).unwrap_or_default();
    }
    Ok(total)
}

fn of_one(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        total += parse(&text).ok_or_else(|| io::Error::other(format!("schedstat says {text:?}")))?;
    }
    Ok(total)
}

/// The first of the numbers in `/proc/PID/task/TID/schedstat`: nanoseconds on a CPU (Linux, sched-stats.rst).
fn parse(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Instant;

    #[test]
    fn schedstat_begins_with_the_time_on_a_cpu() {
        assert_eq!(parse("1234567890 42 17\n"), Some(Duration::from_nanos(1_234_567_890)));
        assert_eq!(parse(""), None);
        assert_eq!(parse("x 1 2"), None);
    }

    #[test]
    fn work_of_a_grandchild_counts() {
        // The shell itself only waits.
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'while :; do :; done' & read line; kill $!"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("every system has a shell");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut spent = Duration::ZERO;
        while spent < Duration::from_millis(50) && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
            spent = cpu_time(shell.id()).expect("it is alive");
        }
        let own = of_one(shell.id()).expect("it is alive");
        drop(shell.stdin.take());
        shell.wait().expect("it ends at the end of its input");
        assert!(spent >= Duration::from_millis(50) && own < spent / 2, "{spent:?} {own:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(cpu_time(u32::MAX).is_err());
    }
}
