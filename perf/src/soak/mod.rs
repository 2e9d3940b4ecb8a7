//! `perf soak`: every kind of load in turn, for hours if need be, through one process of the proxy that must neither
//! grow, nor leak a descriptor, nor fail a query.

mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Options};
use crate::measure::{self, CPU, ERRORS, Load, MAX, MB, Mode, P50, P99, P99_9, PRIVATE, QPS, RSS};
use crate::nodes::{Canned, Shape};
use crate::plot::{Axis, Line, chart};
use crate::process;
use crate::proxies::{self, Proxy, Running, Task};
use crate::report::{Metric, Report, Sample};

use verdict::{Rest, verdict};

/// Run every kind of load in turn for a long time; fails when memory or descriptors grow, or a query fails
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// How long all of it lasts; each turn lasts --duration
    #[arg(long, default_value = "10min", value_parser = humantime::parse_duration)]
    total: Duration,
    /// Connections of the load
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Backends per node
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pool: u32,
    /// Draw memory over time into this folder, as SVG
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// Measures, prints, writes what was asked for, and judges.
///
/// # Errors
/// When a proxy or a server fails, and when the proxy does not pass.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options.clone())?;
    let found = proxies::find(&lab, &["pgweir"], |proxy| proxy.takes_canned() && proxy.is_process())?;
    process::raise_descriptor_limit(u64::from(arguments.connections) * 4 + 1000)?;
    let servers = Canned::start(&lab, Shape::default())?;
    let mut report = Report::new("soak", COLUMNS);
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for proxy in &found.proxies {
        let rests = soak(&lab, proxy, &servers.ports, &arguments, &mut report)?;
        let points =
            rests.iter().map(|rest| (rest.at.as_secs_f64() / 60.0, rest.private as f64 / MB)).collect();
        lines.push(Line { name: proxy.name.clone(), points });
        let errors: f64 = report
            .samples()
            .iter()
            .filter(|sample| sample.proxy == proxy.name)
            .filter_map(|sample| sample.figures.get(ERRORS))
            .sum();
        match verdict(&rests, errors as u64) {
            Ok(line) => report.remark(format!("{} passed: {line}.", proxy.name)),
            Err(line) => {
                report.remark(format!("{} FAILED: {line}.", proxy.name));
                failures.push(proxy.name.clone());
            }
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())?;
    if let Some(folder) = &arguments.plots {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let title = "Private memory at rest";
        chart(&folder.join("soak.svg"), title, &Axis::from_zero("minutes"), &Axis::from_zero("MB"), &lines)?;
    }
    ensure!(failures.is_empty(), "{} did not pass", failures.join(", "));
    Ok(())
}

/// One proxy for the whole time. Returns how it was at rest after each turn of all modes.
fn soak(
    lab: &Lab,
    proxy: &Proxy,
    ports: &[u16],
    arguments: &Arguments,
    report: &mut Report,
) -> Result<Vec<Rest>> {
    let mut task = Task::new(ports, arguments.connections * 2);
    (task.pool, task.prepared) = (arguments.pool, true);
    let running = proxy.start(lab, &task)?;
    let begun = Instant::now();
    let mut rests = Vec::new();
    for round in 1.. {
        for mode in MODES {
            let load = Load::new(mode, arguments.connections);
            let case = format!("{mode}, {}", arguments.connections);
            report.add(measure::load(lab, &running, &case, round, &load)?);
        }
        let rest = rest(&running, begun)?;
        eprintln!(
            "round {round}, {}: {:.1} MB, {} descriptors",
            proxy.name,
            rest.private as f64 / MB,
            rest.descriptors
        );
        report.add(sample(&rest, proxy, round));
        rests.push(rest);
        if begun.elapsed() >= arguments.total {
            break;
        }
    }
    Ok(rests)
}

/// How the proxy is once the clients of the last turn are gone.
fn rest(running: &Running, begun: Instant) -> Result<Rest> {
    std::thread::sleep(SETTLE);
    let memory = running.memory()?.context("there is no process")?;
    Ok(Rest { at: begun.elapsed(), private: memory.private_dirty, descriptors: running.descriptors() })
}

fn sample(rest: &Rest, proxy: &Proxy, round: u32) -> Sample {
    Sample {
        case: "at rest after each round".to_owned(),
        proxy: proxy.name.clone(),
        round,
        figures: [(PRIVATE, rest.private as f64), (DESCRIPTORS, rest.descriptors as f64)].into(),
        ..Sample::default()
    }
}

/// One turn of each makes a round.
const MODES: [Mode; 5] = [Mode::Simple, Mode::Extended, Mode::Prepared, Mode::Pipelined, Mode::Connect];
/// How long the proxy has to see that its clients have gone.
const SETTLE: Duration = Duration::from_millis(500);
const DESCRIPTORS: &str = "descriptors";
const COLUMNS: &[Metric] = &[
    Metric::new(QPS, "queries/s", 0),
    Metric::new(CPU, "CPU µs/query", 1),
    Metric::new(P50, "p50 µs", 0),
    Metric::new(P99, "p99 µs", 0),
    Metric::new(P99_9, "p99.9 µs", 0),
    Metric::new(MAX, "longest µs", 0),
    Metric::new(PRIVATE, "private MB", 2).per(MB),
    Metric::new(RSS, "RSS MB", 1).per(MB),
    Metric::new(DESCRIPTORS, "descriptors", 0).not_compared(),
    Metric::new(ERRORS, "errors", 0).not_compared(),
];
