//! Who descends from whom, and what a process holds open, as `/proc` says.

use std::fs;

/// Every living process below `pid`, nearest first, without `pid` itself.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        next += 1;
        found.extend(children(process));
    }
    found
}

/// How many descriptors the process and its descendants hold open.
pub fn descriptors_open(pid: u32) -> usize {
    let of_one = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    of_one(pid) + descendants(pid).into_iter().map(of_one).sum::<usize>()
}

/// The processes that any thread of `pid` has started. proc(5) promises a full list only while nobody ends, and nobody
/// does while a proxy is measured.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| parse(&list)).collect()
}

fn parse(list: &str) -> Vec<u32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn the_list_of_children_is_numbers_between_spaces() {
        assert_eq!(parse("12 345 \n"), [12, 345]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn a_grandchild_is_found() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & read line; kill $!"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("every system has a shell");
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut below = descendants(std::process::id());
        while below.len() < 2 && Instant::now() < deadline {
            below = descendants(std::process::id());
        }
        let grandchildren = descendants(shell.id());
        drop(shell.stdin.take());
        shell.wait().expect("it ends at the end of its input");
        assert!(below.contains(&shell.id()) && grandchildren.len() == 1, "{below:?} {grandchildren:?}");
        assert!(below.contains(&grandchildren[0]));
    }
}
