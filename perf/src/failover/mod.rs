//! `perf failover`: what clients notice when a node dies.
//!
//! A cluster of three is made anew for each run, half of the clients write and half read, and after a while the primary (or a
//! replica) is killed as by a power cut. Clients that lose their connection open another one. Told is how long anybody had to
//! wait between two successes, how many connections were lost, and which errors there were.

mod clients;

use std::thread;
use std::time::Duration;

use anyhow::Result;

use self::clients::{Clients, Told};
use crate::client::Client;
use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::nodes::{DATABASE, Postgres, USER};
use crate::proxies::{self, CONSOLE, Shards, Task};
use crate::report::{Metric, Report, Sample};

/// Kill a node under load, and see what clients notice
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Clients: half of them write, half read
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    clients: u32,
    /// Which node is killed
    #[arg(long, value_enum, default_value_t = Victim::Primary)]
    victim: Victim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Victim {
    Primary,
    Replica,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or nothing can be measured.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options.clone())?;
    let found = proxies::find(&lab, &["pgweir", "pgpool"], |proxy| proxy.fails_over())?;
    let mut report = Report::new("failover", COLUMNS);
    let (name, index) = match arguments.victim {
        Victim::Primary => ("the primary", 0),
        Victim::Replica => ("a replica", 1),
    };
    let case = format!("{name} is killed under {} clients", arguments.clients);
    for round in 1..=lab.options.rounds {
        for proxy in in_turn(&found.proxies, round) {
            let mut servers = Postgres::start(&lab, 2, 1, arguments.clients * 2 + 40)?;
            let mut task = Task::new(&servers.ports, arguments.clients);
            task.shards = Shards::Count(2);
            task.fails_over = true;
            Client::open(servers.ports[0], USER, DATABASE)?.query("CREATE TABLE ledger (i bigint)")?;
            let running = proxy.start(&lab, &task)?;
            let clients = Clients::start(running.port, arguments.clients)?;
            thread::sleep(lab.options.warmup);
            clients.begin();
            servers.kill(index);
            thread::sleep(lab.options.duration);
            let told = clients.stop()?;
            let note = phases(running.port).filter(|_| proxy.is_pgweir());
            let phases = note.as_deref().unwrap_or("no phases known");
            eprintln!("{case}, round {round}, {}: {told}; {phases}", proxy.name);
            report.add(sample(&case, &proxy.name, round, &told, note));
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

fn sample(case: &str, proxy: &str, round: u32, told: &Told, note: Option<String>) -> Sample {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let figures = [
        (WRITE_STALL, milliseconds(told.write_stall)),
        (READ_STALL, milliseconds(told.read_stall)),
        (DISCONNECTS, told.disconnects as f64),
        (WRITE_ERRORS, told.write_errors.values().sum::<u64>() as f64),
        (READ_ERRORS, told.read_errors.values().sum::<u64>() as f64),
        (DONE, told.done as f64),
    ];
    Sample {
        case: case.to_owned(),
        proxy: proxy.to_owned(),
        round,
        figures: figures.into_iter().collect(),
        note,
        histogram: None,
    }
}

/// How long each phase took, as pgweir's console says.
fn phases(port: u16) -> Option<String> {
    let mut console = Client::open(port, USER, CONSOLE).ok()?;
    let rows = console.query("SHOW FAILOVERS").ok()?;
    rows.first()?.get(PHASES)?.clone()
}

const WRITE_STALL: &str = "write_stall_ms";
const READ_STALL: &str = "read_stall_ms";
const DISCONNECTS: &str = "disconnects";
const WRITE_ERRORS: &str = "write_errors";
const READ_ERRORS: &str = "read_errors";
const DONE: &str = "done";

const COLUMNS: &[Metric] = &[
    Metric::new(WRITE_STALL, "write stall ms", 0),
    Metric::new(READ_STALL, "read stall ms", 0),
    Metric::new(DISCONNECTS, "disconnects", 0).not_compared(),
    Metric::new(WRITE_ERRORS, "write errors", 0).not_compared(),
    Metric::new(READ_ERRORS, "read errors", 0).not_compared(),
    Metric::new(DONE, "done", 0).not_compared(),
];

/// The column of SHOW FAILOVERS, from 0.
const PHASES: usize = 9;
