//! Which cores a program runs on. A child inherits the affinity of the thread that starts it, so that thread takes it on
//! for the moment of the start: no code between fork and exec is needed.

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, in ascending order.
///
/// # Errors
/// Those of sched_getaffinity(2).
pub fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("sched_getaffinity")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Moves the calling thread, and all that it starts from now on, to these cores.
///
/// # Errors
/// When none of them may be used.
pub fn own(cores: &[usize]) -> Result<()> {
    ensure!(!cores.is_empty(), "there is no core to run on");
    let mut set = CpuSet::new();
    for &core in cores {
        ensure!(core < CpuSet::MAX_CPU, "core {core} is beyond the {} there can be", CpuSet::MAX_CPU);
        set.set(core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cores {cores:?}"))
}

/// Runs `start` with the calling thread on `cores`, then puts it back.
///
/// # Errors
/// Those of `start`, and of moving there and back.
pub(super) fn during<T>(cores: &[usize], start: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = allowed()?;
    own(cores)?;
    let started = start();
    own(&before)?;
    started
}

/// Reads `3`, `0,2` or `1-3,5`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number =
            |text: &str| text.trim().parse::<usize>().map_err(|_| format!("\"{part}\" is no core or range"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= CpuSet::MAX_CPU {
            return Err(format!("\"{part}\" is no range of cores below {}", CpuSet::MAX_CPU));
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(parse("3"), Ok(vec![3]));
        assert_eq!(parse("5, 1-3,2"), Ok(vec![1, 2, 3, 5]));
        for wrong in ["", "a", "1-", "3-1", "0-99999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_thread_returns_to_its_cores() {
        let before = allowed().expect("Linux says");
        let last = *before.last().expect("we run on some core");
        let within = during(&[last], allowed).expect("the core is ours");
        assert_eq!((within, allowed().expect("Linux says")), (vec![last], before));
    }
}
