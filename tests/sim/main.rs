//! Failover under a virtual clock: a cluster of nodes with their WAL, shards, clients and links, with crashes, freezes,
//! partitions and slow ways, all drawn from one seed.
//!
//! `PGWEIR_SIM_SEED=17 cargo test --test sim -- --nocapture` runs one seed and prints everything that happens in it;
//! `PGWEIR_SIM_SEEDS=100000` says how many are run.

mod check;
mod control;
mod links;
mod node;
mod operator;
mod plan;
mod random;
mod servers;
mod shard;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use world::{Bugs, World};

/// How many seeds are run: a few seconds' worth, with and without optimisation.
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// What a seed led to.
fn run(seed: u64, bugs: Bugs) -> World {
    World::new(seed, bugs, false).run()
}

#[derive(Default)]
struct Sum {
    acknowledged: AtomicU64,
    lost: AtomicU64,
    failovers: AtomicU64,
}

#[test]
fn whatever_fails_nothing_promised_is_broken() {
    if let Some(seed) = number("PGWEIR_SIM_SEED") {
        return tell(seed);
    }
    let seeds = number("PGWEIR_SIM_SEEDS").unwrap_or(SEEDS);
    let sum = Sum::default();
    let next = AtomicU64::new(0);
    let broken: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return broken;
                }
                let world = run(seed, Bugs::default());
                sum.acknowledged.fetch_add(world.check.acknowledged, Ordering::Relaxed);
                sum.lost.fetch_add(world.check.lost, Ordering::Relaxed);
                sum.failovers.fetch_add(world.failovers, Ordering::Relaxed);
                if !world.check.broken.is_empty() {
                    broken.push((seed, world.check.broken));
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it runs to its end")).collect()
    });
    let failovers = sum.failovers.load(Ordering::Relaxed);
    println!(
        "{seeds} seeds: {failovers} changes of the primary, {} rows acknowledged, {} of them lost where that is allowed",
        sum.acknowledged.load(Ordering::Relaxed),
        sum.lost.load(Ordering::Relaxed),
    );
    for (seed, reasons) in broken.iter().take(20) {
        println!("PGWEIR_SIM_SEED={seed}: {}", reasons.join("; "));
    }
    assert!(broken.is_empty(), "{} of {seeds} seeds broke a promise", broken.len());
    assert!(failovers * 3 > seeds, "too little happens to prove anything");
}

/// Runs one seed and prints it all.
fn tell(seed: u64) {
    let world = World::new(seed, Bugs::default(), true).run();
    println!("{:#?}", world.plan);
    for line in world.log.iter().flatten() {
        println!("{line}");
    }
    for record in world.failover.records().iter() {
        println!("{record}");
    }
    assert!(world.check.broken.is_empty(), "seed {seed}: {}", world.check.broken.join("; "));
}

/// The first seed that finds a planted mistake.
fn found(bugs: Bugs, sentence: &str) -> u64 {
    let hit = (0..SEEDS).find(|seed| {
        let world = run(*seed, bugs);
        world.check.broken.iter().any(|reason| reason.contains(sentence))
    });
    hit.unwrap_or_else(|| panic!("{bugs:?} is not found in {SEEDS} seeds"))
}

#[test]
fn a_fence_that_waits_for_nobody_is_found() {
    let bugs = Bugs { skips_fence_acks: true, ..Bugs::default() };
    println!("found by seed {}", found(bugs, "is the primary"));
}

#[test]
fn a_write_that_is_run_again_is_found() {
    let bugs = Bugs { reruns_writes: true, ..Bugs::default() };
    println!("found by seed {}", found(bugs, "runs 2 times"));
}

#[test]
fn a_choice_by_wrong_positions_is_found() {
    let bugs = Bugs { reports_wrong_positions: true, ..Bugs::default() };
    println!("found by seed {}", found(bugs, "has more"));
}

#[test]
fn a_seed_says_it_all() {
    for seed in 0..20 {
        let (one, other) =
            (World::new(seed, Bugs::default(), true).run(), World::new(seed, Bugs::default(), true).run());
        assert_eq!(one.log, other.log, "seed {seed}");
    }
}
