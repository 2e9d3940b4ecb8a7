//! `perf storm`: how many clients can log in per second.
//!
//! Every connection logs in, asks one query, says goodbye, and the next one comes. Clients prove themselves by
//! SCRAM-SHA-256; the proxy keeps the secret, as PostgreSQL does, so it has no password hash to compute. Backends are
//! warm: the pool is as large as the number of clients at once.

use anyhow::Result;

use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::measure::{self, BUSY, CPU, Load, Mode, P50, P99, P99_9, PRIVATE, QPS};
use crate::nodes::{Canned, Shape};
use crate::process;
use crate::proxies::{self, Login, Task};
use crate::report::{Metric, Report};

/// Measure logins per second, with SCRAM-SHA-256
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Clients that log in at the same time
    #[arg(long, value_delimiter = ',', default_values_t = [16],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// Let everybody in without a password; then also proxies take part that perf cannot give secrets
    #[arg(long)]
    trust: bool,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or nothing can be measured.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options)?;
    let usual: &[&str] =
        if arguments.trust { &["relay", "pgweir", "pgbouncer"] } else { &["pgweir", "pgbouncer"] };
    let found =
        proxies::find(&lab, usual, |proxy| proxy.takes_canned() && (arguments.trust || proxy.logs_in()))?;
    let servers = Canned::start(&lab, Shape::default())?;
    let mut report = Report::new("storm", COLUMNS);
    for &connections in &arguments.connections {
        process::raise_descriptor_limit(u64::from(connections) * 2 + 100)?;
        let way = if arguments.trust { "trust" } else { "SCRAM" };
        let case = format!("{way}, {connections} at once");
        for round in 1..=lab.options.rounds {
            for proxy in in_turn(&found.proxies, round) {
                let mut task = Task::new(&servers.ports, connections);
                // Those who say goodbye are still there while the next come.
                task.clients = connections * 2;
                let mut load = Load::new(Mode::Connect, connections);
                if !arguments.trust {
                    task.login = Login::Scram { password: PASSWORD.to_owned() };
                    load.password = Some(PASSWORD.to_owned());
                }
                let running = proxy.start(&lab, &task)?;
                let sample = measure::load(&lab, &running, &case, round, &load)?;
                eprintln!("{case}, round {round}, {}: {:.0} logins/s", proxy.name, sample.figures[QPS]);
                report.add(sample);
            }
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

const COLUMNS: &[Metric] = &[
    Metric::new(QPS, "logins/s", 0),
    Metric::new(CPU, "CPU µs/login", 1),
    Metric::new(P50, "p50 µs", 0),
    Metric::new(P99, "p99 µs", 0),
    Metric::new(P99_9, "p99.9 µs", 0),
    Metric::new(PRIVATE, "private MB", 1).per(measure::MB),
    Metric::new(BUSY, "cores busy", 2).not_compared(),
];
/// Nobody's: the servers of this measurement live for its duration and let everybody in.
const PASSWORD: &str = "storm";
