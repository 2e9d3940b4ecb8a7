//! Kernels that refuse io_uring, lack it, or are too old for it: pgweir ends with one sentence that says which of these
//! it is and how to allow it. The refusals are those of a seccomp filter, as a container's are.

use std::collections::BTreeMap;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use tempfile::TempDir;

use super::{folder_with, path};
use crate::harness::{Background, Namespace, PROGRAM, Run, shared};

#[test]
fn io_uring_refused_by_a_container_is_said_with_how_to_allow_it() {
    for errno in [libc::EPERM, libc::EACCES] {
        let sentence = refusal(Refused::Setup(errno), None);
        for part in ["io_uring is refused", "seccomp", "io_uring_setup", "--security-opt"] {
            assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
        }
    }
}

#[test]
fn a_kernel_without_io_uring_is_said_to_be_one() {
    let sentence = refusal(Refused::Setup(libc::ENOSYS), None);
    for part in ["has no io_uring", "CONFIG_IO_URING", "sandbox"] {
        assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
    }
}

#[test]
fn a_ring_that_gets_no_memory_or_descriptor_names_the_limit() {
    for (errno, part) in [(libc::ENOMEM, "ulimit -l"), (libc::EMFILE, "ulimit -n")] {
        let sentence = refusal(Refused::Setup(errno), None);
        assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
    }
}

#[test]
fn a_limit_of_locked_memory_that_is_too_low_is_named() {
    let folder = configuration();
    let config = path(&folder, "pgweir.toml");
    let arguments = ["--memlock=65536:65536", PROGRAM, "run", "--config", &config];
    let sentence = sentence(Background::start(Path::new("prlimit"), &arguments, &[], "").wait());
    assert!(sentence.contains("ulimit -l"), "{sentence}");
}

#[test]
fn a_kernel_that_lacks_what_the_ring_needs_is_named() {
    let sentence = refusal(Refused::BufferRings, None);
    for part in ["lacks", "6.1", release().as_str()] {
        assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
    }
}

#[test]
fn a_kernel_that_is_too_old_is_said_to_be_so() {
    let old = "5.10.0-30-amd64";
    let folder = folder_with(&[("osrelease", &format!("{old}\n"))]);
    let osrelease = folder.path().join("osrelease");
    let Some(namespace) = Namespace::with(&osrelease, "/proc/sys/kernel/osrelease") else { return };
    for refused in [Refused::Setup(libc::EINVAL), Refused::BufferRings] {
        let sentence = refusal(refused, Some(&namespace));
        for part in ["too old", "6.1", old] {
            assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
        }
    }
}

#[test]
fn io_uring_switched_off_is_said_with_the_setting_that_does_it() {
    for (value, part) in [("1", "kernel.io_uring_group"), ("2", "sysctl kernel.io_uring_disabled=0")] {
        let folder = folder_with(&[("disabled", &format!("{value}\n"))]);
        let disabled = folder.path().join("disabled");
        let Some(namespace) = Namespace::with(&disabled, "/proc/sys/kernel/io_uring_disabled") else {
            return;
        };
        let sentence = refusal(Refused::Setup(libc::EPERM), Some(&namespace));
        for part in [part, &format!("kernel.io_uring_disabled = {value}")] {
            assert!(sentence.contains(part), "{part:?} is missing: {sentence}");
        }
    }
}

/// What the kernel does not do for pgweir.
#[derive(Clone, Copy)]
enum Refused {
    /// Any ring, with this errno.
    Setup(i32),
    /// Only the buffer rings that came with 5.19, as a kernel before that.
    BufferRings,
}

/// Starts pgweir under such a kernel and returns the one sentence that it says before it ends, with status 2.
#[track_caller]
fn refusal(refused: Refused, namespace: Option<&Namespace>) -> String {
    let folder = configuration();
    let config = path(&folder, "pgweir.toml");
    let before = namespace.map_or(&[][..], Namespace::words);
    sentence(run_under(&filter(refused), before, &["run", "--config", &config]))
}

/// The one sentence of a run that was refused.
#[track_caller]
fn sentence(run: Run) -> String {
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "not one sentence: {}", run.stderr);
    assert!(run.stdout.is_empty(), "{}", run.stdout);
    run.stderr
}

/// Runs pgweir from a thread that has the filter, which its children inherit (seccomp(2)) and the other tests do not.
#[track_caller]
fn run_under(filter: &BpfProgram, before: &[String], arguments: &[&str]) -> Run {
    let words: Vec<&str> =
        before.iter().map(String::as_str).chain([PROGRAM]).chain(arguments.iter().copied()).collect();
    let run = std::thread::scope(|scope| {
        let start = || {
            seccompiler::apply_filter(filter).expect("a process may filter its own calls");
            Background::start(Path::new(words[0]), &words[1..], &[], "").wait()
        };
        scope.spawn(start).join()
    });
    run.expect("the program can be started")
}

fn filter(refused: Refused) -> BpfProgram {
    let (call, rules, errno) = match refused {
        Refused::Setup(errno) => (libc::SYS_io_uring_setup, Vec::new(), errno),
        Refused::BufferRings => {
            let equal = SeccompCmpOp::Eq;
            let operation = SeccompCondition::new(1, SeccompCmpArgLen::Dword, equal, REGISTER_PBUF_RING);
            let rule = operation.and_then(|operation| SeccompRule::new(vec![operation]));
            (libc::SYS_io_uring_register, vec![rule.expect("one condition")], libc::EINVAL)
        }
    };
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into().expect("a machine that seccomp knows");
    SeccompFilter::new(BTreeMap::from([(call, rules)]), SeccompAction::Allow, errno, machine)
        .and_then(BpfProgram::try_from)
        .expect("a filter of one call")
}

fn configuration() -> TempDir {
    let port = pgweir::demo::port::free_port().expect("a free port");
    let text = format!(
        "[listen]\nport = {port}\n[shards]\ncount = 1\npin = false\n[auth]\nmethod = \"trust\"\n\
         [[node]]\nhost = \"127.0.0.1\"\nport = {}\n",
        shared().node(0).port()
    );
    folder_with(&[("pgweir.toml", &text)])
}

/// What this kernel calls itself.
fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is mounted");
    release.trim().to_owned()
}

/// `IORING_REGISTER_PBUF_RING` (io_uring_register(2)).
const REGISTER_PBUF_RING: u64 = 22;
