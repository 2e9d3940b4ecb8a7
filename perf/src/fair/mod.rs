//! `perf fair`: what happens when more clients ask than there are backends.
//!
//! Servers take a fixed time for each answer, so a pool of N backends has a known throughput; once it is reached, more
//! clients may only make the waiting longer, for all of them alike. Below saturation a client waits for its answer;
//! beyond, nearly all of its time is waiting for a backend, and p99 / p50 says how evenly that is shared out.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::measure::{self, CPU, ERRORS, Load, MAX, Mode, P50, P99, QPS};
use crate::nodes::{Canned, Shape};
use crate::process;
use crate::proxies::{self, Proxy, Task};
use crate::report::{Metric, Report, Summary};

/// Measure throughput and fairness with more clients than backends
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Backends per node; clients are this number - 1, + 0, + 1, and its multiples
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=500))]
    pool: u32,
    /// The multiples
    #[arg(long, value_delimiter = ',', default_values_t = [2, 10, 100],
        value_parser = clap::value_parser!(u32).range(2..=1000))]
    times: Vec<u32>,
    /// How long a server takes for an answer
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration)]
    delay: Duration,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or nothing can be measured.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options)?;
    let found = proxies::find(&lab, &["pgweir", "pgbouncer"], |proxy| proxy.takes_canned() && proxy.pools())?;
    let servers = Canned::start(&lab, Shape { delay: arguments.delay, ..Shape::default() })?;
    // One server is enough to be overloaded, and the same for a proxy that balances as for one that does not.
    let node = &servers.ports[..1];
    let mut report = Report::new("fair", COLUMNS);
    let counts = counts(arguments.pool, &arguments.times);
    for &clients in &counts {
        process::raise_descriptor_limit(u64::from(clients) * 2 + 100)?;
        for round in 1..=lab.options.rounds {
            for proxy in in_turn(&found.proxies, round) {
                let mut task = Task::new(node, clients);
                task.pool = arguments.pool;
                let running = proxy.start(&lab, &task)?;
                let case = title(clients, arguments.pool);
                let load = Load::new(Mode::Simple, clients);
                let mut sample = measure::load(&lab, &running, &case, round, &load)?;
                let spread = sample.figures[P99] / sample.figures[P50];
                sample.figures.insert(SPREAD, spread);
                eprintln!("{case}, round {round}, {}: {:.0} queries/s", proxy.name, sample.figures[QPS]);
                report.add(sample);
            }
        }
    }
    let most = *counts.last().context("there is no number of clients")?;
    for proxy in &found.proxies {
        if let Some(line) = kept(&report, proxy, arguments.pool, most) {
            report.remark(line);
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

/// The numbers of clients, ascending.
fn counts(pool: u32, times: &[u32]) -> Vec<u32> {
    let mut counts = vec![pool - 1, pool, pool + 1];
    counts.extend(times.iter().map(|times| pool * times));
    counts.sort_unstable();
    counts.dedup();
    counts
}

fn title(clients: u32, pool: u32) -> String {
    format!("{clients} clients, pool {pool}")
}

/// The throughput under the greatest overload beside that of a pool just full, in one line.
fn kept(report: &Report, proxy: &Proxy, pool: u32, most: u32) -> Option<String> {
    let full = title(pool, pool);
    let over = title(most, pool);
    let of_full: Vec<f64> = figures(report, &full, &proxy.name);
    let of_over: Vec<f64> = figures(report, &over, &proxy.name);
    let ratio = Summary::of(of_over.iter().zip(&of_full).map(|(over, full)| over / full))?;
    Some(format!("{}: {most} clients get {} of the throughput of {pool}.", proxy.name, ratio.show(1.0, 3)))
}

/// The throughput of each round.
fn figures(report: &Report, case: &str, proxy: &str) -> Vec<f64> {
    let samples = report.samples().iter().filter(|sample| sample.case == case && sample.proxy == proxy);
    samples.map(|sample| sample.figures[QPS]).collect()
}

const SPREAD: &str = "p99_over_p50";
const COLUMNS: &[Metric] = &[
    Metric::new(QPS, "queries/s", 0),
    Metric::new(P50, "p50 µs", 0),
    Metric::new(P99, "p99 µs", 0),
    Metric::new(SPREAD, "p99 / p50", 2).not_compared(),
    Metric::new(MAX, "longest µs", 0),
    Metric::new(CPU, "CPU µs/query", 1),
    Metric::new(ERRORS, "errors", 0).not_compared(),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Sample;

    #[test]
    fn clients_lie_around_the_pool_and_far_beyond() {
        assert_eq!(counts(8, &[2, 10, 100]), [7, 8, 9, 16, 80, 800]);
        assert_eq!(counts(2, &[2]), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_kept_is_compared_round_by_round() {
        let mut report = Report::new("fair", COLUMNS);
        for (clients, round, qps) in [(8, 1, 100.0), (800, 1, 90.0), (8, 2, 200.0), (800, 2, 180.0)] {
            let figures = [(QPS, qps)].into();
            let (case, proxy) = (title(clients, 8), "pgweir".to_owned());
            report.add(Sample { case, proxy, round, figures, ..Sample::default() });
        }
        let pgweir = Proxy::known("pgweir").expect("perf knows it");
        let line = kept(&report, &pgweir, 8, 800).expect("both were measured");
        assert_eq!(line, "pgweir: 800 clients get 0.900 of the throughput of 8.");
    }
}
