//! How much memory a program holds, counted in the ways that answer different questions.

use std::fs;
use std::io;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::tree::descendants;

/// Memory in bytes, from `/proc/PID/smaps_rollup` (proc(5)). What the kernel holds for it, such as socket buffers, is not
/// in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident, with what is shared counted in full for each process.
    pub rss: u64,
    /// Resident, with what is shared divided among those who share it.
    pub pss: u64,
    /// Written by this program and shared with nobody: what it really costs.
    pub private_dirty: u64,
    /// Not from a file: heap, stacks, and rings.
    pub anonymous: u64,
}

impl Memory {
    /// That of a process with its descendants.
    ///
    /// # Errors
    /// When the process is gone, or belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Memory> {
        let mut total = Self::of_one(pid)?;
        for child in descendants(pid) {
            total += Self::of_one(child).unwrap_or_default();
        }
        Ok(total)
    }

    fn of_one(pid: u32) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        parse(&text).ok_or_else(|| io::Error::other(format!("smaps_rollup says {text:?}")))
    }
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Memory) {
        self.rss += other.rss;
        self.pss += other.pss;
        self.private_dirty += other.private_dirty;
        self.anonymous += other.anonymous;
    }
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kilobytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory {
        rss: field("Rss")?,
        pss: field("Pss")?,
        private_dirty: field("Private_Dirty")?,
        anonymous: field("Anonymous")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "55d6c0-7ffd4 ---p 00000000 00:00 0    [rollup]\nRss:    1156 kB\nPss:     400 kB\n\
                          Pss_Dirty:  100 kB\nPss_Anon:   96 kB\nShared_Dirty:  0 kB\nPrivate_Clean:  12 kB\n\
                          Private_Dirty:   104 kB\nAnonymous:   96 kB\nLazyFree:  0 kB\n";

    #[test]
    fn the_rollup_is_read_by_whole_names() {
        let memory =
            Memory { rss: 1156 << 10, pss: 400 << 10, private_dirty: 104 << 10, anonymous: 96 << 10 };
        assert_eq!(parse(ROLLUP), Some(memory));
        assert_eq!(parse("Rss: 12 MB\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_we_write_to_is_private_and_anonymous() {
        let before = Memory::of(std::process::id()).expect("we are alive");
        let written = vec![1_u8; 32 << 20];
        let after = Memory::of(std::process::id()).expect("we are alive");
        assert_eq!(written.iter().map(|&byte| usize::from(byte)).sum::<usize>(), 32 << 20);
        for (before, after) in
            [(before.private_dirty, after.private_dirty), (before.anonymous, after.anonymous)]
        {
            assert!(after >= before + (24 << 20), "{before} {after}");
        }
    }
}
