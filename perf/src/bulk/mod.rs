//! `perf bulk`: how fast large results and COPY go through.

use anyhow::Result;

use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::measure::{self, BUSY, BYTES_IN, BYTES_OUT, Load, MB, Mode, PRIVATE, QPS};
use crate::nodes::{Canned, Shape};
use crate::proxies::{self, Proxy, Running, Task};
use crate::report::{Metric, Report, Sample};

/// Measure how many gigabytes per second of results and of COPY go through
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Bytes of a row
    #[arg(long, value_delimiter = ',', default_values_t = [100, 8192],
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    widths: Vec<u32>,
    /// What is transferred
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Results, Kind::CopyOut, Kind::CopyIn])]
    kinds: Vec<Kind>,
    /// Sessions that transfer at the same time
    #[arg(long, value_delimiter = ',', default_values_t = [4],
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: Vec<u32>,
    /// Bytes of the rows of one answer, about
    #[arg(long, default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    answer: u64,
}

/// What is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The rows of a SELECT
    Results,
    /// COPY … TO STDOUT
    CopyOut,
    /// COPY … FROM STDIN
    CopyIn,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Kind::Results => "results",
            Kind::CopyOut => "COPY out",
            Kind::CopyIn => "COPY in",
        }
    }

    /// What `perf load` is told, for so many rows of so many bytes.
    fn options(self, rows: u64, width: u32) -> Vec<String> {
        match self {
            Kind::Results => Vec::new(),
            Kind::CopyOut => vec!["--copy-out".to_owned()],
            Kind::CopyIn => {
                let (rows, width) = (rows.to_string(), width.to_string());
                ["--copy-in", "--copy-rows", &rows, "--copy-width", &width].map(str::to_owned).to_vec()
            }
        }
    }
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or nothing can be measured.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options)?;
    let found = proxies::find(&lab, &["direct", "relay", "pgweir", "pgbouncer"], Proxy::takes_canned)?;
    let mut report = Report::new("bulk", COLUMNS);
    for &width in &arguments.widths {
        let rows = (arguments.answer / u64::from(width)).max(1);
        let servers = Canned::start(&lab, Shape { rows, width: width as usize, ..Shape::default() })?;
        for &kind in &arguments.kinds {
            for &connections in &arguments.connections {
                let transfer = Transfer { kind, rows, width, connections };
                run_transfer(&lab, &found.proxies, &servers.ports, transfer, &mut report)?;
            }
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

/// What every session transfers, over and over.
#[derive(Clone, Copy)]
struct Transfer {
    kind: Kind,
    rows: u64,
    width: u32,
    connections: u32,
}

/// All rounds of one transfer.
fn run_transfer(
    lab: &Lab,
    proxies: &[Proxy],
    ports: &[u16],
    transfer: Transfer,
    report: &mut Report,
) -> Result<()> {
    let Transfer { kind, rows, width, connections } = transfer;
    let case = format!("{}, {width} B, {connections}", kind.title());
    for round in 1..=lab.options.rounds {
        for proxy in in_turn(proxies, round) {
            let running = proxy.start(lab, &Task::new(ports, connections))?;
            let idle = private(&running)?;
            let load = Load { more: kind.options(rows, width), ..Load::new(Mode::Bulk, connections) };
            let mut sample = measure::load(lab, &running, &case, round, &load)?;
            add_rates(&mut sample, kind, idle, connections);
            eprintln!("{case}, round {round}, {}: {:.2} GB/s", proxy.name, sample.figures[RATE] / GB);
            report.add(sample);
        }
    }
    Ok(())
}

/// Adds what a transfer is judged by: bytes per second in its direction, CPU per gigabyte, memory per session.
fn add_rates(sample: &mut Sample, kind: Kind, idle: Option<f64>, connections: u32) {
    let direction = if kind == Kind::CopyIn { BYTES_OUT } else { BYTES_IN };
    let rate = sample.figures[direction];
    sample.figures.insert(RATE, rate);
    if let (Some(busy), true) = (sample.figures.get(BUSY).copied(), rate > 0.0) {
        sample.figures.insert(CPU_PER_GB, busy * GB / rate);
    }
    if let (Some(idle), Some(full)) = (idle, sample.figures.get(PRIVATE).copied()) {
        sample.figures.insert(PER_SESSION, (full - idle).max(0.0) / f64::from(connections));
    }
}

fn private(running: &Running) -> Result<Option<f64>> {
    Ok(running.memory()?.map(|memory| memory.private_dirty as f64))
}

const RATE: &str = "bytes_per_second";
const CPU_PER_GB: &str = "cpu_seconds_per_gb";
const PER_SESSION: &str = "memory_per_session";
const GB: f64 = 1e9;
const COLUMNS: &[Metric] = &[
    Metric::new(RATE, "GB/s", 2).per(GB),
    Metric::new(CPU_PER_GB, "CPU s/GB", 3),
    Metric::new(PER_SESSION, "kB/session", 0).per(1e3),
    Metric::new(BUSY, "cores busy", 2).not_compared(),
    Metric::new(QPS, "transfers/s", 0).not_compared(),
    Metric::new(PRIVATE, "private MB", 1).per(MB),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_direction_that_carries_the_rows() {
        let figures = [(BYTES_IN, 10.0), (BYTES_OUT, 2e9), (BUSY, 0.5), (PRIVATE, 9000.0)].into();
        let mut sample = Sample { figures, ..Sample::default() };
        add_rates(&mut sample, Kind::CopyIn, Some(1000.0), 4);
        assert_eq!(sample.figures[RATE], 2e9);
        assert_eq!(sample.figures[CPU_PER_GB], 0.25);
        assert_eq!(sample.figures[PER_SESSION], 2000.0);
        add_rates(&mut sample, Kind::Results, None, 4);
        assert_eq!(sample.figures[RATE], 10.0);
    }
}
