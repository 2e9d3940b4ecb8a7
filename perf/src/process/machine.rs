//! What the figures were measured on, and how busy it was with other things.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The machine and its load at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The model name of the first core.
    pub cpu: String,
    pub cores: usize,
    /// Bytes.
    pub memory: u64,
    pub kernel: String,
    /// Of the last 1, 5 and 15 minutes.
    pub load_average: String,
}

impl Machine {
    /// As `/proc` describes it; what it does not say is `unknown`.
    pub fn look() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        Machine {
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory: field(&read("/proc/meminfo"), "MemTotal").and_then(kilobytes).unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} x {}, {} GB, Linux {}, load average {}",
            self.cores,
            self.cpu,
            (self.memory + (1 << 29)) >> 30,
            self.kernel,
            self.load_average
        )
    }
}

/// The value in a line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn kilobytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nMemTotal:  2048 kB\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert_eq!(field(text, "MemTotal").and_then(kilobytes), Some(2048));
        assert_eq!(field(text, "name"), None);
    }

    #[test]
    fn this_machine_has_cores_and_a_kernel() {
        let machine = Machine::look();
        assert!(machine.cores > 0 && machine.memory > 0 && !machine.kernel.is_empty(), "{machine}");
    }
}
