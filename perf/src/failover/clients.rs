//! Clients at work, each on a thread of its own, with a connection of its own that is opened again when it is lost.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::client::{Client, ServerError};
use crate::nodes::{DATABASE, USER};

pub struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Told>>,
}

#[derive(Default)]
struct Shared {
    /// Whether what happens counts.
    counting: AtomicBool,
    over: AtomicBool,
}

/// What they noticed.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub done: u64,
    /// Connections lost, and how often an error of each SQLSTATE came.
    pub disconnects: u64,
    pub write_errors: BTreeMap<String, u64>,
    pub read_errors: BTreeMap<String, u64>,
    /// The longest time between two successes of any one client.
    pub write_stall: Duration,
    pub read_stall: Duration,
}

impl Clients {
    /// # Errors
    /// When one of them cannot log in.
    pub fn start(port: u16, count: u32) -> Result<Clients> {
        let shared = Arc::<Shared>::default();
        let opened = (0..count).map(|number| {
            let client = Client::open(port, USER, DATABASE)?;
            let shared = shared.clone();
            Ok(thread::spawn(move || work(port, client, number, &shared)))
        });
        let threads = opened.collect::<Result<_>>();
        if threads.is_err() {
            shared.over.store(true, Ordering::Relaxed);
        }
        Ok(Clients { threads: threads?, shared })
    }

    /// From now on it counts.
    pub fn begin(&self) {
        self.shared.counting.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// When one of them has failed.
    pub fn stop(self) -> Result<Told> {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for thread in self.threads {
            all.add(thread.join().map_err(|_| anyhow!("a client failed"))?);
        }
        Ok(all)
    }
}

fn work(port: u16, client: Client, number: u32, shared: &Shared) -> Told {
    let writes = number.is_multiple_of(2);
    let mut told = Told::default();
    let mut client = Some(client);
    let mut last = Instant::now();
    let mut turn = 0u32;
    while !shared.over.load(Ordering::Relaxed) {
        turn = turn.wrapping_add(1);
        let sql = match writes {
            true => format!("INSERT INTO ledger VALUES ({number})"),
            false => format!("SELECT abalance FROM pgbench_accounts WHERE aid = {}", turn % ACCOUNTS + 1),
        };
        let Some(open) = client.as_mut() else {
            client = Client::open(port, USER, DATABASE).ok();
            if client.is_none() {
                thread::sleep(AGAIN);
            }
            continue;
        };
        let answer = open.query(&sql);
        // What was under way when it began to count may be hit by what happens then.
        let counting = shared.counting.load(Ordering::Relaxed);
        match answer {
            Ok(_) => {
                if counting {
                    let stall = if writes { &mut told.write_stall } else { &mut told.read_stall };
                    *stall = last.elapsed().max(*stall);
                    told.done += 1;
                }
                last = Instant::now();
            }
            Err(error) => {
                let sqlstate = error.downcast_ref::<ServerError>().map(|error| error.sqlstate.clone());
                if counting {
                    let errors = if writes { &mut told.write_errors } else { &mut told.read_errors };
                    if let Some(sqlstate) = &sqlstate {
                        *errors.entry(sqlstate.clone()).or_default() += 1;
                    }
                }
                if sqlstate.is_none() {
                    told.disconnects += u64::from(counting);
                    client = None;
                }
            }
        }
    }
    // Who waits still has waited.
    let stall = if writes { &mut told.write_stall } else { &mut told.read_stall };
    *stall = last.elapsed().max(*stall);
    told
}

impl Told {
    fn add(&mut self, other: Told) {
        self.done += other.done;
        self.disconnects += other.disconnects;
        for (all, own) in
            [(&mut self.write_errors, other.write_errors), (&mut self.read_errors, other.read_errors)]
        {
            for (sqlstate, count) in own {
                *all.entry(sqlstate).or_default() += count;
            }
        }
        self.write_stall = self.write_stall.max(other.write_stall);
        self.read_stall = self.read_stall.max(other.read_stall);
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "write stall {:.0?}, read stall {:.0?}, {} disconnects, write errors {:?}, read errors {:?}",
            self.write_stall, self.read_stall, self.disconnects, self.write_errors, self.read_errors
        )
    }
}

/// Rows of pgbench's accounts at scale 1.
const ACCOUNTS: u32 = 100_000;
/// How soon a lost connection is opened again.
const AGAIN: Duration = Duration::from_millis(10);
