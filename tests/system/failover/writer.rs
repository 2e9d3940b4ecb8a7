//! Clients that write numbered rows, and remember what they were told about each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Proxy, eventually};

/// Some clients at work, each on a thread of its own.
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Ledger>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    next: AtomicU64,
    acknowledged: AtomicU64,
}

/// What clients were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By row: none is told twice.
    pub rows: BTreeMap<u64, Told>,
    /// How often each SQLSTATE was told.
    pub errors: BTreeMap<String, u64>,
    /// The longest time between two successes of one client.
    pub stall: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Done,
    /// Nothing was done.
    Failed,
    Unknown,
}

impl Writers {
    /// They insert into `t (i int)` of `database`, half of them each row by itself, half in transactions of two
    /// statements.
    #[track_caller]
    pub fn start(proxy: &Proxy, database: &str, clients: usize) -> Writers {
        let shared = Arc::<Shared>::default();
        let threads = (0..clients).map(|number| {
            let (shared, mut client) = (shared.clone(), proxy.client(database));
            std::thread::spawn(move || {
                let mut ledger = Ledger::default();
                let mut last = Instant::now();
                while !shared.over.load(Ordering::SeqCst) {
                    let row = shared.next.fetch_add(1, Ordering::SeqCst) + 1;
                    let insert = format!("INSERT INTO t VALUES ({row})");
                    let told = match number % 2 {
                        0 => client.try_query(&insert),
                        _ => client
                            .try_query("BEGIN")
                            .and_then(|_| client.try_query(&insert))
                            .and_then(|_| client.try_query("COMMIT")),
                    };
                    let told = match told {
                        Ok(_) => {
                            shared.acknowledged.fetch_add(1, Ordering::SeqCst);
                            ledger.stall = ledger.stall.max(last.elapsed());
                            last = Instant::now();
                            Told::Done
                        }
                        Err(error) => {
                            *ledger.errors.entry(error.sqlstate().to_owned()).or_default() += 1;
                            if client.status != 'I' {
                                // What happened inside the transaction ends with it.
                                let _ = client.try_query("ROLLBACK");
                            }
                            match error.sqlstate() {
                                "40003" => Told::Unknown,
                                _ => Told::Failed,
                            }
                        }
                    };
                    ledger.rows.insert(row, told);
                }
                ledger
            })
        });
        let threads = threads.collect();
        Writers { shared, threads }
    }

    /// Waits until more rows were acknowledged than there are clients, from now on.
    #[track_caller]
    pub fn await_some(&self) {
        let acknowledged = || self.shared.acknowledged.load(Ordering::SeqCst);
        let wanted = acknowledged() + 2 * self.threads.len() as u64;
        eventually(|| acknowledged() >= wanted, "writes flow");
    }

    /// Lets each finish what it is at.
    #[track_caller]
    pub fn stop(self) -> Ledger {
        self.shared.over.store(true, Ordering::SeqCst);
        let mut all = Ledger::default();
        for thread in self.threads {
            let ledger = thread.join().unwrap_or_else(|_| panic!("a client was disconnected"));
            all.rows.extend(ledger.rows);
            for (sqlstate, count) in ledger.errors {
                *all.errors.entry(sqlstate).or_default() += count;
            }
            all.stall = all.stall.max(ledger.stall);
        }
        all
    }
}

impl Ledger {
    /// What was acknowledged is there once, what failed is not.
    #[track_caller]
    pub fn expect_kept(&self, cluster: &Cluster, node: usize, database: &str) {
        let lost = self.lost(cluster, node, database);
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    }

    /// What was acknowledged and is not there. What failed must not be there, and nothing twice.
    #[track_caller]
    pub fn lost(&self, cluster: &Cluster, node: usize, database: &str) -> Vec<u64> {
        let rows = cluster.node(node).sql_in(database, "SELECT i FROM t").expect("the primary answers");
        let mut there: BTreeMap<u64, u64> = BTreeMap::new();
        for row in rows {
            let row = row[0].as_deref().and_then(|text| text.parse().ok()).expect("a number");
            *there.entry(row).or_default() += 1;
        }
        for (row, told) in &self.rows {
            let count = there.get(row).copied().unwrap_or(0);
            assert!(count <= 1, "row {row} is there {count} times, and was told {told:?}");
            assert!(*told != Told::Failed || count == 0, "row {row} was told to have failed, and is there");
        }
        let done = self.rows.iter().filter(|(_, told)| **told == Told::Done);
        done.map(|(row, _)| *row).filter(|row| !there.contains_key(row)).collect()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted| self.rows.values().filter(|told| **told == wanted).count();
        write!(
            f,
            "{} rows acknowledged, {} failed, {} unknown, errors {:?}, longest stall {:?}",
            count(Told::Done),
            count(Told::Failed),
            count(Told::Unknown),
            self.errors,
            self.stall
        )
    }
}
