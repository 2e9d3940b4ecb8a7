//! Whether a long run was good.

use std::time::Duration;

/// A proxy at rest between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Since the start.
    pub at: Duration,
    /// Bytes of memory written and shared with nobody.
    pub private: u64,
    pub descriptors: usize,
}

/// Judges by the greatest rest of the second quarter and the greatest of the last: what grows all the time is larger at
/// the end, while the first quarter is for caches and pools to fill.
///
/// # Errors
/// A sentence without its full stop, as is a pass.
pub(super) fn verdict(rests: &[Rest], errors: u64) -> Result<String, String> {
    if errors > 0 {
        return Err(format!("{errors} queries failed"));
    }
    let quarter = rests.len() / 4;
    let (early, late) = match quarter {
        // Too short to tell growth from warming up.
        0 => return Ok(format!("no query failed; {} rounds are too few to judge growth", rests.len())),
        _ => (&rests[quarter..2 * quarter], &rests[rests.len() - quarter..]),
    };
    let private = |rests: &[Rest]| rests.iter().map(|rest| rest.private).max().unwrap_or(0);
    let descriptors = |rests: &[Rest]| rests.iter().map(|rest| rest.descriptors).max().unwrap_or(0);
    let (memory, files) = ([private(early), private(late)], [descriptors(early), descriptors(late)]);
    let [before, after] = memory.map(|bytes| format!("{:.1}", bytes as f64 / 1e6));
    if memory[1] > memory[0] + memory[0] / GROWTH_PART + GROWTH_SLACK {
        return Err(format!("memory grew from {before} to {after} MB"));
    }
    if files[1] > files[0] {
        return Err(format!("open descriptors grew from {} to {}", files[0], files[1]));
    }
    let counted = format!("{} and {} descriptors", files[0], files[1]);
    Ok(format!("no query failed, {before} MB early and {after} MB late, {counted}"))
}

/// Memory may grow by one in so many parts, and by so many bytes: an allocator's noise.
const GROWTH_PART: u64 = 20;
const GROWTH_SLACK: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn rests(private: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Vec<Rest> {
        let rest = |minute| Rest {
            at: Duration::from_secs(60 * minute),
            private: private(minute),
            descriptors: descriptors(minute) as usize,
        };
        (0..40).map(rest).collect()
    }

    #[test]
    fn warming_up_is_no_growth() {
        let warming = rests(|minute| if minute < 5 { 1 << 20 } else { 50 << 20 }, |_| 40);
        assert!(verdict(&warming, 0).is_ok());
    }

    #[test]
    fn a_leak_is_seen() {
        let memory = rests(|minute| (20 << 20) + minute * (200 << 10), |_| 40);
        assert!(verdict(&memory, 0).expect_err("it leaks").contains("memory"));
        let files = rests(|_| 20 << 20, |minute| 40 + minute / 10);
        assert!(verdict(&files, 0).expect_err("it leaks").contains("descriptors"));
    }

    #[test]
    fn one_failed_query_is_too_many() {
        assert!(verdict(&rests(|_| 1, |_| 1), 1).is_err());
        assert!(verdict(&rests(|_| 1, |_| 1)[..2], 0).expect("nothing is wrong").contains("too few"));
    }
}
