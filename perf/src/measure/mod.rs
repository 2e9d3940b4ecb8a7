//! One measurement: a load runs against a proxy that is up, and the proxy's cost is read at both ends of the window.

mod load;
mod pgbench;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Memory;
use crate::proxies::Running;
use crate::report::{Metric, Sample};

pub use load::{Load, Mode, load};
pub use pgbench::{Script, pgbench};

/// What measurements call their figures. Times are in microseconds, memory in bytes.
pub const QPS: &str = "queries_per_second";
pub const CPU: &str = "cpu_us_per_query";
pub const BUSY: &str = "cores_busy";
pub const P50: &str = "p50_us";
pub const P99: &str = "p99_us";
pub const P99_9: &str = "p99_9_us";
pub const MAX: &str = "max_us";
pub const RSS: &str = "rss";
pub const PRIVATE: &str = "private_dirty";
pub const BYTES_IN: &str = "bytes_received_per_second";
pub const BYTES_OUT: &str = "bytes_sent_per_second";
pub const ERRORS: &str = "errors";

/// The columns that most tables have.
pub const USUAL: &[Metric] = &[
    Metric::new(QPS, "queries/s", 0),
    Metric::new(CPU, "CPU µs/query", 1),
    Metric::new(P50, "p50 µs", 0),
    Metric::new(P99, "p99 µs", 0),
    Metric::new(P99_9, "p99.9 µs", 0),
    Metric::new(PRIVATE, "private MB", 1).per(MB),
    Metric::new(RSS, "RSS MB", 1).per(MB),
    Metric::new(BUSY, "cores busy", 2).not_compared(),
];

/// Bytes in what is shown as MB.
pub const MB: f64 = 1e6;

/// A proxy's cost up to one moment.
struct Reading {
    at: Instant,
    cpu: Option<Duration>,
}

impl Reading {
    fn take(running: &Running) -> Result<Reading> {
        let cpu = running.cpu_time().with_context(|| format!("the CPU time of {}", running.name))?;
        Ok(Reading { at: Instant::now(), cpu })
    }
}

/// Writes what the proxy cost between two readings into a sample, for so many queries.
fn add_cost(sample: &mut Sample, begin: &Reading, end: &Reading, memory: Option<Memory>, queries: f64) {
    if let (Some(begin_cpu), Some(end_cpu)) = (begin.cpu, end.cpu) {
        let spent = end_cpu.saturating_sub(begin_cpu).as_secs_f64();
        let passed = end.at.duration_since(begin.at).as_secs_f64();
        sample.figures.insert(BUSY, spent / passed);
        if queries > 0.0 {
            sample.figures.insert(CPU, spent * 1e6 / queries);
        }
    }
    if let Some(memory) = memory {
        sample.figures.insert(RSS, memory.rss as f64);
        sample.figures.insert(PRIVATE, memory.private_dirty as f64);
    }
}
