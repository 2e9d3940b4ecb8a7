//! Clients that all landed on one shard, and the backends that serve them.
//!
//! The system spreads connections over shards by their addresses, so a client cannot choose; but SHOW SHARDS tells where
//! each one went, and those on other shards are closed again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::{Client, Row};
use crate::lab::Lab;
use crate::measure::QPS;
use crate::nodes::{Canned, DATABASE, Shape, USER};
use crate::proxies::{CONSOLE, Proxy, Shards, Task};
use crate::report::{Report, Sample};

/// Most backends that were seen at work at the same time.
pub(super) const LEASED: &str = "backends_at_once";
/// Throughput divided by what all backends of the pool can do together.
pub(super) const SHARE: &str = "share_of_pool";

/// Runs twice as many clients as the pool has backends, all on one shard, and then spread over all.
pub(super) fn measure(lab: &Lab, proxy: &Proxy, shards: usize, pool: u32, report: &mut Report) -> Result<()> {
    let servers = Canned::start(lab, Shape { delay: ANSWER, ..Shape::default() })?;
    let clients = 2 * pool;
    for round in 1..=lab.options.rounds {
        for on_one in [true, false] {
            // One node, so that there is one pool.
            let mut task = Task::new(&servers.ports[..1], clients * OPENED_MAX);
            (task.pool, task.shards) = (pool, Shards::Count(shards));
            let running = proxy.start(lab, &task)?;
            let mut console = Client::open(running.port, USER, CONSOLE)?;
            let chosen = open(&mut console, running.port, clients as usize, on_one)?;
            let (answers, leased) = ask(&mut console, chosen, lab.options.duration)?;
            let qps = answers as f64 / lab.options.duration.as_secs_f64();
            let share = qps * ANSWER.as_secs_f64() / f64::from(pool);
            let place = if on_one { "all on one shard" } else { "on all shards" };
            let sample = Sample {
                case: format!("{clients} clients {place}, pool {pool}"),
                proxy: format!("{}, {shards} shards", proxy.name),
                round,
                figures: [(QPS, qps), (LEASED, leased as f64), (SHARE, share)].into(),
                ..Sample::default()
            };
            eprintln!("{}, round {round}: {leased} of {pool} backends", sample.case);
            report.add(sample);
        }
    }
    Ok(())
}

/// Opens so many clients, on one shard or wherever they land, but on more than one.
fn open(console: &mut Client, port: u16, count: usize, on_one: bool) -> Result<Vec<Client>> {
    let mut placed: Vec<(usize, Client)> = Vec::new();
    let mut home = None;
    for _ in 0..count * OPENED_MAX as usize {
        let before = clients_per_shard(&console.query("SHOW SHARDS")?)?;
        let client = Client::open(port, USER, DATABASE)?;
        let after = clients_per_shard(&console.query("SHOW SHARDS")?)?;
        let landed = before.iter().zip(&after).position(|(before, after)| after > before);
        let shard = landed.context("SHOW SHARDS does not show a new client")?;
        let home = *home.get_or_insert(shard);
        // The last of those who are spread is not where all others are.
        let same = placed.iter().all(|(other, _)| *other == shard);
        let wanted = if on_one { shard == home } else { placed.len() + 1 < count || !same };
        // One that is not wanted stays until all are there, so that its leaving is not taken for anything else.
        placed.push((if wanted { shard } else { UNWANTED }, client));
        if placed.iter().filter(|(shard, _)| *shard != UNWANTED).count() == count {
            placed.retain(|(shard, _)| *shard != UNWANTED);
            return Ok(placed.into_iter().map(|(_, client)| client).collect());
        }
    }
    Err(anyhow!("of {} connections too few landed where they should", count * OPENED_MAX as usize))
}

/// Lets every client ask without a pause for this long. Returns the answers, and the most backends seen at work at once.
fn ask(console: &mut Client, clients: Vec<Client>, duration: Duration) -> Result<(usize, usize)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let stop = &stop;
                scope.spawn(move || -> Result<usize> {
                    let mut answers = 0;
                    while !stop.load(Ordering::Relaxed) {
                        client.query("SELECT 1")?;
                        answers += 1;
                    }
                    Ok(answers)
                })
            })
            .collect();
        let leased = watch(console, Instant::now() + duration);
        stop.store(true, Ordering::Relaxed);
        let mut answers = 0;
        for thread in threads {
            answers += thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok((answers, leased?))
    })
}

/// The most backends at work that SHOW POOLS tells of until `deadline`.
fn watch(console: &mut Client, deadline: Instant) -> Result<usize> {
    let mut most = 0;
    while Instant::now() < deadline {
        for pool in console.query("SHOW POOLS")? {
            most = most.max(number(&pool, POOLS_SV_ACTIVE)?);
        }
        thread::sleep(PAUSE);
    }
    Ok(most)
}

fn clients_per_shard(rows: &[Row]) -> Result<Vec<usize>> {
    ensure!(!rows.is_empty(), "SHOW SHARDS has no rows");
    rows.iter().map(|row| number(row, SHARDS_CLIENTS)).collect()
}

fn number(row: &Row, column: usize) -> Result<usize> {
    let cell = row.get(column).and_then(Option::as_deref);
    cell.and_then(|cell| cell.parse().ok())
        .with_context(|| format!("no number in column {column} of {row:?}"))
}

/// How long a server takes for an answer: long beside all that a proxy does.
const ANSWER: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(20);
/// How many connections are opened for each one that is wanted, at most.
const OPENED_MAX: u32 = 50;
/// In place of a shard.
const UNWANTED: usize = usize::MAX;
/// The column `clients` of SHOW SHARDS, from 0.
const SHARDS_CLIENTS: usize = 2;
/// The column `sv_active` of SHOW POOLS, from 0.
const POOLS_SV_ACTIVE: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_for_each_shard() {
        let row = |clients: &str| ["0", "7", clients].map(|cell| Some(cell.to_owned())).to_vec();
        assert_eq!(clients_per_shard(&[row("3"), row("0")]).expect("both are numbers"), [3, 0]);
        assert!(clients_per_shard(&[row("x")]).is_err());
        assert!(clients_per_shard(&[]).is_err());
    }
}
