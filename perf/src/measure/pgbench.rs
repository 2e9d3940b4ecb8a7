//! A measurement with PostgreSQL's own pgbench, against real servers.
//!
//! pgbench does not say when its connections are up, so the proxy's cost is read around the whole run: sixteen logins
//! among tens of thousands of transactions do not show. There is no warm-up either.

use std::fmt;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::{ERRORS, MAX, Mode, P50, P99, P99_9, QPS, Reading, add_cost};
use crate::lab::Lab;
use crate::nodes::{DATABASE, USER, client_program};
use crate::process::{Folder, Unstarted};
use crate::proxies::Running;
use crate::report::Sample;

/// One of pgbench's own scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// One SELECT per transaction, `pgbench -S`.
    Select,
    /// The one like TPC-B: seven statements per transaction.
    TpcB,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Script::Select => "pgbench -S",
            Script::TpcB => "TPC-B",
        })
    }
}

/// Runs pgbench against the proxy for the lab's duration, rounded up to whole seconds. A transaction counts as a query.
///
/// # Errors
/// When pgbench fails, or the proxy ends.
pub fn pgbench(
    lab: &Lab,
    running: &Running,
    case: &str,
    round: u32,
    (script, mode, connections): (Script, Mode, u32),
) -> Result<Sample> {
    let folder = Folder::new(None)?;
    let prefix = folder.path().join("transactions");
    let seconds = lab.options.duration.as_secs_f64().ceil().max(1.0);
    let program = client_program("pgbench")?;
    let mut command = Unstarted::new(program, &lab.load_cores, folder.path().join("said"))
        .arguments(["--no-vacuum", "--jobs=1", "--client", &connections.to_string()])
        .arguments(["--protocol", &mode.to_string(), "--time", &seconds.to_string()])
        .arguments(["--log", "--log-prefix"])
        .argument(&prefix)
        .arguments(["--host=127.0.0.1", "--port", &running.port.to_string(), "--username", USER]);
    if script == Script::Select {
        command = command.argument("--select-only");
    }
    let context = || format!("{} at \"{case}\", round {round}", running.name);
    let begin = Reading::take(running)?;
    let mut child = command.argument(DATABASE).start()?;
    let mut processed = None;
    while let Some(line) = child.line()? {
        processed = processed.or_else(|| parse_processed(&line));
    }
    let (end, memory) = (Reading::take(running)?, running.memory()?);
    child.finish().with_context(context)?;
    let transactions = processed.context("pgbench did not say how many transactions it ran")?;
    let mut latencies = Vec::new();
    for file in fs::read_dir(folder.path())? {
        let path = file?.path();
        if path.to_string_lossy().starts_with(&*prefix.to_string_lossy()) {
            latencies.extend(fs::read_to_string(&path)?.lines().filter_map(parse_latency));
        }
    }
    ensure!(transactions > 0 && !latencies.is_empty(), "no transaction succeeded: {}", context());
    latencies.sort_unstable();
    let figures = [
        (QPS, transactions as f64 / seconds),
        (P50, quantile(&latencies, 0.5)),
        (P99, quantile(&latencies, 0.99)),
        (P99_9, quantile(&latencies, 0.999)),
        (MAX, quantile(&latencies, 1.0)),
        (ERRORS, 0.0),
    ];
    let mut sample = Sample {
        case: case.to_owned(),
        proxy: running.name.clone(),
        round,
        figures: figures.into(),
        note: running.note.clone(),
        histogram: None,
    };
    add_cost(&mut sample, &begin, &end, memory, transactions as f64);
    Ok(sample)
}

/// Reads `number of transactions actually processed: 12345`, with `/LIMIT` behind it where there was one.
fn parse_processed(line: &str) -> Option<u64> {
    let number = line.strip_prefix("number of transactions actually processed:")?.trim();
    number.split('/').next()?.parse().ok()
}

/// The third column of pgbench's log is the latency in microseconds (manual, "Per-Transaction Logging").
fn parse_latency(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// The least of the ascending `sorted` that a share of at least `quantile` of them does not exceed.
fn quantile(sorted: &[u64], quantile: f64) -> f64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1] as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_read() {
        assert_eq!(parse_processed("number of transactions actually processed: 4711"), Some(4711));
        assert_eq!(parse_processed("number of transactions actually processed: 10/10"), Some(10));
        assert_eq!(parse_processed("number of clients: 16"), None);
        assert_eq!(parse_latency("0 199 2241 0 1175850568 995598"), Some(2241));
        assert_eq!(parse_latency("0 1 failed 0 1 2"), None);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<u64> = (1..=1000).collect();
        assert_eq!(quantile(&sorted, 0.5), 500.0);
        assert_eq!(quantile(&sorted, 0.999), 999.0);
        assert_eq!(quantile(&sorted, 1.0), 1000.0);
        assert_eq!(quantile(&[7], 0.01), 7.0);
    }
}
