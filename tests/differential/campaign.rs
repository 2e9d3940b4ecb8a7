//! Plays seed after seed, and tells what differed.

use std::collections::BTreeMap;
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Cluster;

use super::grammar::stage_of;
use super::play::{Difference, Record, compare, record, write};
use super::script::Script;
use super::shrink::shrink;
use super::switches::Switches;
use super::world::{Side, World};

/// Which seeds are played, and how long.
pub struct Campaign {
    first: u64,
    /// How many, unless time runs out before.
    count: u64,
    time: Option<Duration>,
    /// How many steps a play has.
    steps: usize,
    switches: Switches,
}

/// A seed whose play came out otherwise on the other side.
pub struct Failure {
    pub seed: u64,
    /// As short as it could be made.
    pub script: Script,
    pub difference: Difference,
    /// Whether the short script failed once more.
    steady: bool,
}

impl Campaign {
    /// What the environment asks for; see the text of the test.
    pub fn from_environment(cluster: &Cluster) -> Self {
        let number = |variable: &str| -> Option<u64> {
            let text = env::var(variable).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number, but {text:?}")))
        };
        let time = number("PGWEIR_DIFF_MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
        let seed = number("PGWEIR_DIFF_SEED");
        let usual = if time.is_some() {
            u64::MAX / 2
        } else if seed.is_some() {
            1
        } else {
            SEEDS
        };
        Self {
            first: seed.unwrap_or(1),
            count: number("PGWEIR_DIFF_COUNT").unwrap_or(usual),
            time,
            steps: STEPS,
            switches: Switches::from_environment(cluster),
        }
    }

    /// Plays them all, and returns what failed, at most one of each kind.
    pub fn run(&self, world: &World<'_>) -> Vec<Failure> {
        let next = AtomicU64::new(self.first);
        let unplayable = AtomicU64::new(0);
        let end = self.first + self.count;
        let deadline = self.time.map(|time| Instant::now() + time);
        let found: Mutex<BTreeMap<String, (u64, Option<Failure>)>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..PLAYERS {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= end || deadline.is_some_and(|deadline| Instant::now() > deadline) {
                            return;
                        }
                        let Some((script, difference)) = self.play(seed, world, &unplayable) else {
                            continue;
                        };
                        let kind = difference.kind();
                        let mut known = found.lock().expect("nobody panics with it");
                        let seen = known.entry(kind.clone()).or_default();
                        seen.0 += 1;
                        if seen.0 > 1 {
                            continue;
                        }
                        drop(known);
                        let failure = shortened(seed, script, difference, world);
                        println!("{}", failure.told());
                        found.lock().expect("nobody panics with it").entry(kind).or_default().1 =
                            Some(failure);
                    }
                });
            }
        });
        let found = found.into_inner().expect("nobody panics with it");
        for (kind, (count, _)) in &found {
            println!("{count} × {kind}");
        }
        let played = next.load(Ordering::SeqCst).min(end) - self.first;
        println!("{played} seeds were played with PostgreSQL {}", self.switches.version);
        let unplayable = unplayable.into_inner();
        assert!(unplayable <= 1 + played / 100, "{unplayable} of {played} plays could not be played at all");
        found.into_values().filter_map(|(_, failure)| failure).collect()
    }

    /// Plays one seed, and returns the script when it comes out otherwise on the other side.
    /// What the server itself left without an answer, because the author asked what cannot be answered, is counted.
    fn play(&self, seed: u64, world: &World<'_>, unplayable: &AtomicU64) -> Option<(Script, Difference)> {
        let stage = stage_of(seed, &self.switches);
        let sides = world.sides(stage);
        let (script, record) = write(seed, self.steps, &self.switches, &sides.0);
        if !record.valid {
            println!("seed {seed}: the server itself left a session without an answer");
            unplayable.fetch_add(1, Ordering::SeqCst);
            world.leave(sides);
            return None;
        }
        let difference = compare(&script, &record, &sides.1);
        world.leave(sides);
        difference.map(|difference| (script, difference))
    }
}

impl Failure {
    pub fn told(&self) -> String {
        let Self { seed, script, difference, steady } = self;
        let steady = if *steady { "" } else { " (not every time)" };
        format!("seed {seed}, shortened{steady}: {}\n{script}{difference}", difference.kind())
    }
}

/// Plays one script on fresh sides, and returns in what they differ, if it can be played at all.
pub fn replay(script: &Script, sides: &(Side, Side)) -> Option<Difference> {
    let record: Record = record(script, &sides.0);
    if record.valid { compare(script, &record, &sides.1) } else { None }
}

fn shortened(seed: u64, mut script: Script, difference: Difference, world: &World<'_>) -> Failure {
    // Nothing behind the difference has a part in it.
    if let Some(step) = difference.step {
        script.steps.truncate(step + 1);
    }
    let kind = difference.kind();
    let play = |script: &Script| {
        let sides = world.sides(script.stage);
        let difference = replay(script, &sides);
        world.leave(sides);
        difference
    };
    let mut last = difference;
    let script = shrink(script, SHRINKING_MAX, |candidate| match play(candidate) {
        Some(difference) if difference.kind() == kind => {
            last = difference;
            true
        }
        _ => false,
    });
    let steady = play(&script).is_some_and(|difference| difference.kind() == kind);
    Failure { seed, script, difference: last, steady }
}

/// How many seeds are played unless told otherwise.
const SEEDS: u64 = 40;
/// How many steps a play has.
const STEPS: usize = 40;
/// How many plays go on at once.
const PLAYERS: usize = 2;
/// How long a failing script is made shorter.
pub const SHRINKING_MAX: Duration = Duration::from_secs(20);
