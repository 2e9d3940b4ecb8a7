//! Running an operator's command: in a shell, on threads of its own, since it may take as long as it likes.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts `sh -c command`, whose output, and what it says about errors, goes to `heard` line by line. How it ended goes to
/// `ended`: 0 is success, `None` that a signal ended it or that it could not be started.
///
/// It is not waited for that all its output ends: a server that the command has started may hold on to it.
pub(super) fn start(
    command: String,
    heard: impl Fn(&str) + Send + Clone + 'static,
    ended: impl FnOnce(Option<i32>) + Send + 'static,
) {
    let failed = heard.clone();
    let work = move || {
        ended(run(&command, heard.clone()).unwrap_or_else(|error| {
            heard(&format!("it could not be started: {error}"));
            None
        }));
    };
    if let Err(error) = std::thread::Builder::new().name(THREAD.to_owned()).spawn(work) {
        failed(&format!("no thread could be started for it: {error}"));
    }
}

fn run(command: &str, heard: impl Fn(&str) + Send + 'static) -> io::Result<Option<i32>> {
    let (reader, writer) = io::pipe()?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    // A Ctrl-C at our terminal is not meant for it.
    let mut child = shell.process_group(0).spawn()?;
    // With it goes our own end of the pipe.
    drop(shell);
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || read(reader, heard))?;
    Ok(child.wait()?.code())
}

fn read(pipe: PipeReader, heard: impl Fn(&str)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => heard(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

const THREAD: &str = "pgweir-command";

/// Longest line of output that is logged as one (bytes).
const LINE_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// The output, once it has ended, and the exit code.
    fn told(command: &str) -> (String, Option<i32>) {
        let (lines, heard) = mpsc::channel();
        let (code, ended) = mpsc::channel();
        start(
            command.to_owned(),
            move |line| lines.send(line.to_owned()).expect("the test waits"),
            move |exit| code.send(exit).expect("the test waits"),
        );
        let code = ended.recv().expect("it ends");
        (heard.iter().collect::<Vec<_>>().join("|"), code)
    }

    #[test]
    fn its_output_and_its_end_are_told() {
        assert_eq!(told("echo one; echo two >&2; printf three"), ("one|two|three".to_owned(), Some(0)));
        assert_eq!(told("exit 3"), (String::new(), Some(3)));
        assert_eq!(told("kill -9 $$"), (String::new(), None));
        let (said, code) = told("/nonexistent/command");
        assert!(said.contains("not found") && code == Some(127), "{said}");
    }

    #[test]
    fn what_it_leaves_running_is_not_waited_for() {
        let (lines, heard) = mpsc::channel();
        let (code, ended) = mpsc::channel();
        start(
            "echo begun; sleep 1000 & echo $!".to_owned(),
            move |line| lines.send(line.to_owned()).expect("the test waits"),
            move |exit| code.send(exit).expect("the test waits"),
        );
        assert_eq!(ended.recv(), Ok(Some(0)));
        assert_eq!(heard.recv().as_deref(), Ok("begun"));
        let left = heard.recv().expect("its process id");
        assert!(Command::new("kill").arg(&left).status().expect("there is a kill").success());
        assert_eq!(heard.recv(), Err(mpsc::RecvError));
    }
}
