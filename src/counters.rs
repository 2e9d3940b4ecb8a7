//! What each shard counts, written without sharing and summed by whoever asks.
//!
//! One shard writes its own numbers with plain stores; every other thread may read them at any time. So counting costs a
//! load and a store, and nobody ever waits. The few numbers that all shards share ([`Process`]) are bounds, not
//! statistics: they are touched when a client or a backend comes or goes, never per query.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only the owning thread may.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes from it (gauges). Only the owning thread may.
    pub fn sub(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// One shard's numbers.
#[derive(Debug)]
pub struct ShardCounters {
    /// The epoch this shard routes by.
    pub epoch: Counter,
    /// Clients connected now.
    pub clients: Counter,
    /// Clients that logged in so far.
    pub logins: Counter,
    /// Logins refused so far, for whatever reason.
    pub logins_refused: Counter,
    /// Transactions finished so far.
    pub transactions: Counter,
    /// Queries answered so far: each ReadyForQuery a client got for what it sent.
    pub queries: Counter,
    /// Errors that pgweir itself said, so far.
    pub errors: Counter,
    /// Bytes received from clients, and sent to them.
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Cancel requests received.
    pub cancels: Counter,
    /// Sessions that hold a backend beyond their transaction now.
    pub pinned: Counter,
    /// Sessions whose clients have been idle for so long that they are parked: without a task.
    pub parked: Counter,
    /// Clients that wait now because there is no node for what they ask.
    pub holding: Counter,
    /// How often a client had to wait because there was no node for it, so far.
    pub held: Counter,
    /// Reads that were run again elsewhere, unseen by their clients, because their node was lost, so far.
    pub rerun: Counter,
    /// Transactions lost with their backend, of which the client was told so: they may be run again, so far.
    pub cut: Counter,
    /// Statements lost with their backend of which nobody knows whether they took effect, so far.
    pub unknown: Counter,
    /// By reason, in the order of [`Refusal::ALL`].
    pub refusals: [RefusalCounters; Refusal::ALL.len()],
    /// By node id.
    pub nodes: Vec<NodeCounters>,
}

/// Why a standby did not do what it was asked, and the primary was asked instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It would have written (25006).
    Write,
    /// What a standby has not, such as unlogged tables (0A000).
    Unsupported,
    /// The session's transactions are SERIALIZABLE (0A000). No property of the statement.
    Serializable,
    /// It would have numbered something new (XX000).
    Number,
    /// Recovery removed what was read, or waited for it (40001, 40P01). No property of the statement.
    Recovery,
}

impl Refusal {
    /// With the names that SHOW CORRECTIONS gives them.
    pub const ALL: [(Refusal, &str); 5] = [
        (Refusal::Write, "write"),
        (Refusal::Unsupported, "unsupported"),
        (Refusal::Serializable, "serializable"),
        (Refusal::Number, "number"),
        (Refusal::Recovery, "recovery"),
    ];

    /// Whether it would refuse another session's statement like this, too.
    pub fn lasts(self) -> bool {
        !matches!(self, Refusal::Serializable | Refusal::Recovery)
    }
}

/// One shard's numbers of reads that a standby refused for one reason: so far, where nothing else is said.
#[derive(Debug, Default)]
pub struct RefusalCounters {
    /// Sent again to the primary.
    pub refused: Counter,
    /// Sent to the primary at once, since one like it had been refused.
    pub foreseen: Counter,
    /// Fingerprints of such reads that are known now.
    pub known: Counter,
}

/// One shard's numbers for one node.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// Backends open, and leased to a session now.
    pub backends: Counter,
    pub leases: Counter,
    /// Leases given so far, for reads and for everything else.
    pub reads: Counter,
    pub writes: Counter,
    /// Backends lost without our closing them, so far.
    pub broken: Counter,
    /// Backends opened so far.
    pub opened: Counter,
}

impl ShardCounters {
    /// All zero, for up to `nodes` nodes.
    pub fn new(nodes: usize) -> ShardCounters {
        ShardCounters {
            epoch: Counter::default(),
            clients: Counter::default(),
            logins: Counter::default(),
            logins_refused: Counter::default(),
            transactions: Counter::default(),
            queries: Counter::default(),
            errors: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            cancels: Counter::default(),
            pinned: Counter::default(),
            parked: Counter::default(),
            holding: Counter::default(),
            held: Counter::default(),
            rerun: Counter::default(),
            cut: Counter::default(),
            unknown: Counter::default(),
            refusals: Default::default(),
            nodes: (0..nodes).map(|_| NodeCounters::default()).collect(),
        }
    }
}

/// What the whole process bounds.
#[derive(Debug, Default)]
pub struct Process {
    clients: AtomicU32,
    replications: AtomicU32,
    budgets: Budgets,
    /// Which session had a backend of the primary last, by the process ids of both; see [`Process::lend`].
    lent: Lent,
    /// When the last write of any session was answered, in nanoseconds since the process started.
    written: AtomicU64,
}

/// How many backends exist for one (node, database, user) in all shards together.
#[derive(Debug, Default)]
pub struct Budget {
    /// The pool's hash; 0 while the place is free.
    pool: AtomicU64,
    taken: AtomicU32,
}

impl Budget {
    /// Takes the credit to open one backend, unless `size` are taken.
    pub fn take(&self, size: u32) -> bool {
        enter(&self.taken, size)
    }

    /// Gives a credit back.
    pub fn give(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }
}

/// The budgets by pool: an open-addressing table in which places are taken once and never given up, so that it needs no
/// lock. Its places are as many as a process may have pools.
#[derive(Debug)]
struct Budgets(Box<[Budget]>);

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets((0..BUDGETS_MAX).map(|_| Budget::default()).collect())
    }
}

/// A table with a place for each process id modulo its size: a later one takes the place of an earlier one.
#[derive(Debug)]
struct Lent(Box<[AtomicU64]>);

impl Default for Lent {
    fn default() -> Lent {
        Lent((0..LENT_PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Lent {
    fn place(&self, backend: u32) -> &AtomicU64 {
        &self.0[backend as usize % LENT_PLACES]
    }
}

impl Process {
    /// Notes that the backend with this process id is lent to the session with that one.
    pub fn lend(&self, backend: u32, session: u32) {
        self.lent.place(backend).store(u64::from(backend) << 32 | u64::from(session), Ordering::Release);
    }

    /// The session that has this backend, or had it last. `None` when there is none, or the place was needed.
    pub fn lent_to(&self, backend: u32) -> Option<u32> {
        let lent = self.lent.place(backend).load(Ordering::Acquire);
        (backend > 0 && lent >> 32 == u64::from(backend)).then_some(lent as u32)
    }

    /// The backend is closed: its process id may become that of somebody else.
    pub fn forget_lent(&self, backend: u32) {
        if self.lent_to(backend).is_some() {
            self.lent.place(backend).store(0, Ordering::Release);
        }
    }

    /// Counts one client in, unless there are `max` already.
    pub fn client_enter(&self, max: u32) -> bool {
        enter(&self.clients, max)
    }

    /// Counts one client out.
    pub fn client_leave(&self) {
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts one replication connection in, unless there are `max` already.
    pub fn replication_enter(&self, max: u32) -> bool {
        enter(&self.replications, max)
    }

    /// Counts one replication connection out.
    pub fn replication_leave(&self) {
        self.replications.fetch_sub(1, Ordering::AcqRel);
    }

    /// Says that a write was answered at `moment` (nanoseconds since the process started).
    pub fn wrote(&self, moment: u64) {
        self.written.fetch_max(moment, Ordering::AcqRel);
    }

    /// When the last write of any session was answered; 0 if none was.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub fn clients(&self) -> u32 {
        self.clients.load(Ordering::Acquire)
    }

    /// The budget of the pool with this hash (not 0); the same for every shard. `None` when there are [`BUDGETS_MAX`]
    /// pools already.
    pub fn budget(&self, pool: u64) -> Option<&Budget> {
        let places = &self.budgets.0;
        (0..places.len()).find_map(|step| {
            let place = &places[(pool as usize).wrapping_add(step) % places.len()];
            let owner = match place.pool.load(Ordering::Acquire) {
                0 => place
                    .pool
                    .compare_exchange(0, pool, Ordering::AcqRel, Ordering::Acquire)
                    .map_or_else(|other| other, |_| pool),
                owner => owner,
            };
            (owner == pool).then_some(place)
        })
    }
}

/// Counts one more, unless there are `max` already.
fn enter(count: &AtomicU32, max: u32) -> bool {
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < max).then_some(count + 1))
        .is_ok()
}

/// How long things took, in microseconds: 1 µs to 1 h, to two significant digits. About 15 kB.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, 2).expect("constant bounds that fit");
        Latencies { histogram }
    }
}

impl Latencies {
    pub fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MICROSECONDS_MAX));
    }

    /// Adds what another one recorded.
    pub fn add(&mut self, other: &Latencies) {
        // Same bounds, so nothing can be outside them.
        let _ = self.histogram.add(&other.histogram);
    }

    /// What was recorded here and not in `earlier`, a former state of the same.
    pub fn since(&self, earlier: &Latencies) -> Latencies {
        let mut difference = self.clone();
        let _ = difference.histogram.subtract(&earlier.histogram);
        difference
    }

    /// The time that `quantile` (0 to 1) of the recorded ones did not exceed; zero when none was recorded.
    pub fn quantile(&self, quantile: f64) -> Duration {
        if self.histogram.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(self.histogram.value_at_quantile(quantile))
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }
}

/// Pools one process may have: different (node, database, user).
pub const BUDGETS_MAX: usize = 8_192;
/// Backends that are told apart; 8 bytes each.
const LENT_PLACES: usize = 16_384;
/// Longest time told apart: one hour.
const MICROSECONDS_MAX: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_bound_holds_and_is_given_back() {
        let process = Process::default();
        assert!(process.client_enter(2) && process.client_enter(2));
        assert!(!process.client_enter(2));
        process.client_leave();
        assert!(process.client_enter(2));
    }

    #[test]
    fn a_budget_is_one_for_all_shards_and_never_overdrawn() {
        let process = std::sync::Arc::new(Process::default());
        let taken: u32 = (0..4)
            .map(|_| {
                let process = process.clone();
                std::thread::spawn(move || {
                    (0..100).filter(|_| process.budget(7).unwrap().take(50)).count() as u32
                })
            })
            .collect::<Vec<_>>()
            .into_iter()
            .map(|shard| shard.join().unwrap())
            .sum();
        assert_eq!(taken, 50);
        assert!(process.budget(8).unwrap().take(1), "another pool has its own");
        process.budget(7).unwrap().give();
        assert!(process.budget(7).unwrap().take(50));
    }

    #[test]
    fn a_backend_is_known_by_the_session_that_had_it_last() {
        let process = Process::default();
        let same_place = 5 + LENT_PLACES as u32;
        assert_eq!((process.lent_to(0), process.lent_to(5)), (None, None));
        process.lend(5, 77);
        process.lend(5, 78);
        assert_eq!((process.lent_to(5), process.lent_to(same_place)), (Some(78), None));
        process.lend(same_place, 79);
        process.forget_lent(5);
        assert_eq!((process.lent_to(5), process.lent_to(same_place)), (None, Some(79)));
        process.forget_lent(same_place);
        assert_eq!(process.lent_to(same_place), None);
    }

    #[test]
    fn pools_whose_hashes_meet_find_places_of_their_own() {
        let process = Process::default();
        let (one, other) = (1u64, 1 + BUDGETS_MAX as u64);
        assert!(process.budget(one).unwrap().take(1));
        assert!(process.budget(other).unwrap().take(1));
        assert!(!process.budget(one).unwrap().take(1));
    }

    #[test]
    fn quantiles_of_an_interval_leave_out_what_was_before() {
        let mut all = Latencies::default();
        assert_eq!(all.quantile(0.5), Duration::ZERO);
        all.record(Duration::from_secs(10));
        let before = all.clone();
        all.record(Duration::from_micros(100));
        let interval = all.since(&before);
        assert_eq!(interval.count(), 1);
        assert!(interval.quantile(0.99) <= Duration::from_micros(101));
        assert!(all.quantile(0.99) >= Duration::from_secs(9));
    }
}
