//! `perf shards`: what a second shard costs, and whether backends go to where the clients are.
//!
//! The first part runs the same load through pgweir with one shard and with several. Where there are not enough cores for
//! the proxy, the shards share those there are: that shows what sharing nothing costs in work, not what it gains in
//! throughput. The second part lets all clients land on one shard: they must still be served by the whole pool.

mod skew;

use anyhow::Result;

use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::measure::{self, BUSY, CPU, Load, Mode, P50, P99, P99_9, QPS};
use crate::nodes::{Canned, Shape};
use crate::process;
use crate::proxies::{self, Proxy, Shards, Task};
use crate::report::{Metric, Report};

/// Measure pgweir with one and with several shards, and with all clients on one of them
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// How many shards, beside one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=64))]
    shards: u32,
    /// How the load asks
    #[arg(long, value_enum, default_value_t = Mode::Simple)]
    mode: Mode,
    /// Connections of the load
    #[arg(long, value_delimiter = ',', default_values_t = [64],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Backends of the pool that the skewed clients share
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pool: u32,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When pgweir or a server fails.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options)?;
    let found = proxies::find(&lab, &["pgweir"], Proxy::is_pgweir)?;
    let most = arguments.connections.iter().copied().max().unwrap_or(0);
    process::raise_descriptor_limit(u64::from(most * arguments.shards) * 2 + 1000)?;
    let servers = Canned::start(&lab, Shape::default())?;
    let mut report = Report::new("shards", COLUMNS);
    for &connections in &arguments.connections {
        for per_shard in [false, true] {
            let scale = Scale { shards: arguments.shards, mode: arguments.mode, connections, per_shard };
            run_scale(&lab, &found.proxies, &servers.ports, scale, &mut report)?;
        }
    }
    if lab.proxy_cores.len() < arguments.shards as usize {
        report.remark(format!("All shards shared {} core of the proxy.", lab.proxy_cores.len()));
    }
    for proxy in &found.proxies {
        skew::measure(&lab, proxy, arguments.shards as usize, arguments.pool, &mut report)?;
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

/// One load for one shard and for several.
#[derive(Clone, Copy)]
struct Scale {
    shards: u32,
    mode: Mode,
    connections: u32,
    /// Whether that many connections go to each shard, or to all together. A shard with fewer has fewer answers to
    /// collect at a time, and so more work for each.
    per_shard: bool,
}

/// All rounds of one and of several shards.
fn run_scale(lab: &Lab, proxies: &[Proxy], ports: &[u16], scale: Scale, report: &mut Report) -> Result<()> {
    let Scale { mode, connections, per_shard, .. } = scale;
    let case = format!("{mode}, {connections} {}", if per_shard { "per shard" } else { "in all" });
    let name = |proxy: &Proxy, count: u32| match count {
        1 => format!("{}, {ONE}", proxy.name),
        _ => format!("{}, {count} shards", proxy.name),
    };
    for round in 1..=lab.options.rounds {
        let counts = if round % 2 == 1 { [1, scale.shards] } else { [scale.shards, 1] };
        for proxy in in_turn(proxies, round) {
            for count in counts {
                let connections = if per_shard { connections * count } else { connections };
                let mut task = Task::new(ports, connections);
                task.prepared = mode == Mode::Prepared;
                task.shards = Shards::Count(count as usize);
                let running = proxy.start(lab, &task)?;
                let mut sample = measure::load(lab, &running, &case, round, &Load::new(mode, connections))?;
                sample.proxy = name(proxy, count);
                eprintln!("{case}, round {round}, {}: {:.1} µs", sample.proxy, sample.figures[CPU]);
                report.add(sample);
            }
        }
    }
    for proxy in proxies {
        let (one, many) = (name(proxy, 1), name(proxy, scale.shards));
        if let Some(ratio) = report.ratio(&case, &many, &one, CPU) {
            report.remark(format!("{case}: CPU per query of {many} to {one}: {}.", ratio.show(1.0, 3)));
        }
    }
    Ok(())
}

const ONE: &str = "1 shard";
const COLUMNS: &[Metric] = &[
    Metric::new(QPS, "queries/s", 0),
    Metric::new(CPU, "CPU µs/query", 1),
    Metric::new(P50, "p50 µs", 0),
    Metric::new(P99, "p99 µs", 0),
    Metric::new(P99_9, "p99.9 µs", 0),
    Metric::new(BUSY, "cores busy", 2).not_compared(),
    Metric::new(skew::LEASED, "backends at once", 0).not_compared(),
    Metric::new(skew::SHARE, "share of the pool", 2).not_compared(),
];
