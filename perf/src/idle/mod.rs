//! `perf idle`: what a client costs in memory while it does nothing.
//!
//! The clients log in over plain sockets, without a password, and stay. Memory is read before the first of them, when all
//! are there, and again when each has asked one query: what a session grows by in use and keeps. Each time the clients have
//! been idle for some seconds by then, since proxies may give memory back only after a while; and before the first of them
//! another one has asked many queries, so that buffers which all share do not count as theirs. Only user space is counted;
//! the kernel's sockets are the same for every proxy.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::Client;
use crate::compare::in_turn;
use crate::lab::{Lab, Options};
use crate::nodes::{Canned, DATABASE, Shape, USER};
use crate::process::{self, Memory};
use crate::proxies::{self, Proxy, Running, Task};
use crate::report::{Metric, Report, Sample};

/// Measure the memory of an idle client
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// How many clients there are
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    clients: u32,
    /// Backends per node
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pool: u32,
}

/// Measures, prints, and writes what was asked for.
///
/// # Errors
/// When a proxy or a server fails, or the system allows too few descriptors.
pub fn run(arguments: Arguments) -> Result<()> {
    let lab = Lab::new(arguments.options)?;
    let found =
        proxies::find(&lab, &["pgweir", "pgbouncer"], |proxy| proxy.takes_canned() && proxy.is_process())?;
    // A client is one descriptor here, one in a pooler, and two in what opens a backend for each.
    let each = if found.proxies.iter().all(Proxy::pools) { 1 } else { 2 };
    process::raise_descriptor_limit(u64::from(arguments.clients) * each + 1000)?;
    let servers = Canned::start(&lab, Shape::default())?;
    let mut report = Report::new("idle", COLUMNS);
    for round in 1..=lab.options.rounds {
        for proxy in in_turn(&found.proxies, round) {
            let mut task = Task::new(&servers.ports, arguments.clients);
            task.pool = arguments.pool;
            let running = proxy.start(&lab, &task)?;
            let samples = measure(&running, arguments.clients, round)
                .with_context(|| format!("{} with {} clients", proxy.name, arguments.clients))?;
            for sample in samples {
                eprintln!(
                    "{}, round {round}, {}: {:.1} kB per client",
                    sample.case,
                    proxy.name,
                    sample.figures[PRIVATE] / KB
                );
                report.add(sample);
            }
        }
    }
    found.missing.into_iter().for_each(|line| report.remark(line));
    report.print();
    report.write(lab.options.json.as_deref())
}

/// Opens the clients, lets them ask, and divides the growth among them.
fn measure(running: &Running, clients: u32, round: u32) -> Result<[Sample; 2]> {
    let mut first = Client::open(running.port, USER, DATABASE)?;
    for _ in 0..WARM_UP {
        first.query("SELECT 1")?;
    }
    drop(first);
    let before = settled(running)?;
    let begun = Instant::now();
    let mut sessions = Vec::with_capacity(clients as usize);
    for number in 0..clients {
        let session = Client::open(running.port, USER, DATABASE)
            .with_context(|| format!("the login of client {}", number + 1))?;
        sessions.push(session);
    }
    let opened = f64::from(clients) / begun.elapsed().as_secs_f64();
    let new = settled(running)?;
    for session in &mut sessions {
        session.query("SELECT 1")?;
    }
    let used = settled(running)?;
    let sample = |case: &str, memory: Memory| Sample {
        case: format!("{clients} clients, {case}"),
        proxy: running.name.clone(),
        round,
        figures: [
            (PRIVATE, grown(before.private_dirty, memory.private_dirty, clients)),
            (ANONYMOUS, grown(before.anonymous, memory.anonymous, clients)),
            (RSS, grown(before.rss, memory.rss, clients)),
            (TOTAL, memory.private_dirty as f64),
            (OPENED, opened),
        ]
        .into(),
        note: None,
        histogram: None,
    };
    Ok([sample("logged in", new), sample("after a query each", used)])
}

/// Its memory once it has stopped changing for a while.
fn settled(running: &Running) -> Result<Memory> {
    let look = || running.memory()?.context("there is no process");
    let mut last = look()?;
    for _ in 0..LOOKS_MAX {
        thread::sleep(PAUSE);
        let now = look()?;
        if now.private_dirty == last.private_dirty {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Bytes per client; negative when memory was given back.
fn grown(before: u64, after: u64, clients: u32) -> f64 {
    (after as f64 - before as f64) / f64::from(clients)
}

const PRIVATE: &str = "private_dirty_per_client";
const ANONYMOUS: &str = "anonymous_per_client";
const RSS: &str = "rss_per_client";
const TOTAL: &str = "private_dirty";
const OPENED: &str = "logins_per_second";
const KB: f64 = 1e3;
const COLUMNS: &[Metric] = &[
    Metric::new(PRIVATE, "private kB/client", 2).per(KB),
    Metric::new(ANONYMOUS, "anonymous kB/client", 2).per(KB),
    Metric::new(RSS, "RSS kB/client", 2).per(KB),
    Metric::new(TOTAL, "private MB", 1).per(1e6),
    Metric::new(OPENED, "logins/s, one by one", 0),
];
/// Queries of the client that comes before all that count: more than a proxy has buffers.
const WARM_UP: u32 = 4_000;
const PAUSE: Duration = Duration::from_secs(3);
const LOOKS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_shared_out_and_may_be_negative() {
        assert_eq!(grown(1000, 21_000, 10), 2000.0);
        assert_eq!(grown(2000, 1000, 10), -100.0);
    }
}
