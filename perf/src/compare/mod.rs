//! `perf compare`: the same work through every proxy, the proxies taking turns.
//!
//! Each measurement has a process of the proxy to itself, started for it and stopped behind it: what one left in memory
//! or holds open cannot touch the next, and an idle proxy cannot disturb the one at work. In every other round the order
//! is turned round, so that a drift of the machine hits all alike.

mod cases;
mod plots;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use crate::lab::{Lab, Options};
use crate::measure::{self, Load, Mode, QPS, USUAL};
use crate::nodes::{Canned, Postgres, Shape};
use crate::process;
use crate::proxies::{self, Proxy, Task};
use crate::report::{Report, Sample};

use cases::{Case, cases};

/// Compare the cost of a query through pgweir, a bare relay and other proxies
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// What is asked: canned servers with perf's own load, or real PostgreSQL with pgbench
    #[arg(long, value_enum, default_value_t = Workload::Canned)]
    workload: Workload,
    /// How the load asks
    #[arg(long, value_delimiter = ',', default_values_t = [Mode::Simple, Mode::Prepared, Mode::Extended])]
    modes: Vec<Mode>,
    /// Connections of the load; several make a plot of throughput over connections
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Backends per node; default: as many as connections, so that pooling makes no difference
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pool: Option<u32>,
    /// Add an open loop: queries arrive at this percentage of what the slowest proxy can do, and latency counts from
    /// when they should have been sent; only with canned servers
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=99))]
    open: Option<u32>,
    /// Rows of each answer of the canned servers
    #[arg(long, default_value_t = 1)]
    rows: u64,
    /// Bytes of each row of the canned servers
    #[arg(long, default_value_t = 8)]
    width: usize,
    /// Scale of pgbench's tables
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    scale: u32,
    /// Draw the latencies and the throughput into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// What is asked, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    Canned,
    /// `pgbench -S`
    Select,
    /// pgbench's own script like TPC-B
    TpcB,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or nothing can be measured.
pub fn run(arguments: Arguments) -> Result<()> {
    let cases = cases(&arguments)?;
    let lab = Lab::new(arguments.options.clone())?;
    let canned = arguments.workload == Workload::Canned;
    let found = proxies::find(&lab, &["relay", "pgweir", "pgbouncer", "pgpool"], |proxy| {
        !canned || proxy.takes_canned()
    })?;
    let most = arguments.connections.iter().copied().max().unwrap_or(0);
    process::raise_descriptor_limit(u64::from(most) * 2 + 100)?;
    let servers = Servers::start(&lab, &arguments, most.max(arguments.pool.unwrap_or(0)))?;
    let mut report = Report::new("compare", USUAL);
    for case in &cases {
        run_case(&lab, &found.proxies, servers.ports(), &arguments, case, &mut report)?;
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())?;
    arguments.plots.as_deref().map_or(Ok(()), |folder| plots::draw(&report, &cases, folder))
}

/// All rounds of one case.
fn run_case(
    lab: &Lab,
    proxies: &[Proxy],
    ports: &[u16],
    arguments: &Arguments,
    case: &Case,
    report: &mut Report,
) -> Result<()> {
    let rate = case.open_percent.and_then(|percent| {
        let closed = case.closed_title();
        let slowest = proxies.iter().filter_map(|proxy| report.summary(&closed, &proxy.name, QPS));
        slowest
            .map(|qps| qps.median)
            .min_by(f64::total_cmp)
            .map(|qps| (qps * f64::from(percent) / 100.0).floor())
    });
    for round in 1..=lab.options.rounds {
        for proxy in in_turn(proxies, round) {
            let mut task = Task::new(ports, case.connections);
            task.pool = arguments.pool.unwrap_or(case.connections);
            task.prepared = case.mode == Mode::Prepared;
            let running = proxy.start(lab, &task)?;
            let title = case.title();
            let sample: Sample = match case.script {
                Some(script) => {
                    let work = (script, case.mode, case.connections);
                    measure::pgbench(lab, &running, &title, round, work)?
                }
                None => {
                    let load = Load { rate, ..Load::new(case.mode, case.connections) };
                    measure::load(lab, &running, &title, round, &load)?
                }
            };
            eprintln!("{title}, round {round}, {}: {:.0} queries/s", proxy.name, sample.figures[QPS]);
            report.add(sample);
        }
    }
    Ok(())
}

/// The proxies forwards in odd rounds, backwards in even ones.
pub fn in_turn(proxies: &[Proxy], round: u32) -> Vec<&Proxy> {
    match round % 2 {
        0 => proxies.iter().rev().collect(),
        _ => proxies.iter().collect(),
    }
}

/// The servers behind the proxies.
enum Servers {
    Canned(Canned),
    Real(Postgres),
}

impl Servers {
    fn start(lab: &Lab, arguments: &Arguments, backends: u32) -> Result<Servers> {
        if arguments.workload == Workload::Canned {
            let shape = Shape { rows: arguments.rows, width: arguments.width, ..Shape::default() };
            return Ok(Servers::Canned(Canned::start(lab, shape)?));
        }
        eprintln!("making a primary and two replicas");
        // Beside the backends of a pool there are probes, replicas, and those of a proxy that is just ending.
        Ok(Servers::Real(Postgres::start(lab, 2, arguments.scale, 2 * backends + 30)?))
    }

    fn ports(&self) -> &[u16] {
        match self {
            Servers::Canned(servers) => &servers.ports,
            Servers::Real(servers) => &servers.ports,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_runs_backwards() {
        let proxies = ["direct", "relay", "pgweir"].map(|name| Proxy::known(name).expect("perf knows it"));
        let names =
            |round| in_turn(&proxies, round).iter().map(|proxy| proxy.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(1), ["direct", "relay", "pgweir"]);
        assert_eq!(names(2), ["pgweir", "relay", "direct"]);
    }
}
