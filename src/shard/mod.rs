//! One pinned core: an executor, a ring, listeners, sessions and pools, sharing nothing mutable with the others. Joins
//! what the deciders decide to the ring.
//!
//! ```text
//! thread "shard-N"
//! ├─ reactor            Ring::run: the one place that waits
//! ├─ inbox              messages from control and from other shards
//! ├─ a listener each    accepts, and starts a session's task for every connection
//! ├─ a task per session login → relay → goodbye; none while its client is idle
//! ├─ a task per errand  opening a backend, making one fit, a cancel request
//! ├─ unparking          starts the task of a session that had none
//! └─ janitor            once a second: idle backends, idle clients, pools nobody uses
//! ```
//!
//! * [`login`]: a client up to its first ReadyForQuery; [`relay`], [`upstream`], [`downstream`]: from there to its end;
//! * [`console`]: what pgweir answers itself; [`cancel`]: cancel requests;
//! * [`pools`], [`link`], [`cleanup`], [`lending`]: finding, opening and cleaning backends, and lending them to other
//!   shards;
//! * [`observing`]: working by another picture, and leaving nodes that must not be used any more; [`holding`]: sessions that
//!   wait because there is no node; [`pacing`]: opening backends when there is one again;
//! * [`functions`]: what functions that a session called have left on its backend; [`pins`]: sessions that keep theirs;
//! * [`notifications`]: LISTEN without a backend for each session;
//! * [`replication`]: connections to the sender of the WAL, passed through;
//! * [`parking`]: sessions without a task; [`tenants`], [`common`]: what sessions share;
//! * [`sharing`]: what shards tell each other; [`seats`]: sessions as others see them; [`tickets`]: questions to other threads.

mod cancel;
mod cleanup;
mod common;
mod console;
mod corrections;
mod downstream;
mod functions;
mod holding;
mod lending;
mod link;
mod login;
mod notifications;
mod observing;
mod pacing;
mod parking;
mod pins;
mod pools;
mod relay;
mod replication;
mod seats;
mod sharing;
mod tenants;
mod tickets;
mod upstream;

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use rustc_hash::FxHashMap;

use crate::auth::node::SaltedKeys;
use crate::auth::scram::Verifier;
use crate::backend::{BackendKey, Parameters};
use crate::counters::{Latencies, NodeCounters, ShardCounters};
use crate::door::{Policy, PoolKey, ShardId, Shared, Snapshot, ToControl, ToShard};
use crate::limits::ACCEPTS_PER_TURN_MAX;
use crate::ring::{Chunk, Doorbell, Listener, Ring, support};
use crate::session::{Order, Pins, SharedSettings};
use crate::topology::{Moment, NodeId, Topology};
use crate::wire::Sqlstate;
use crate::wire::backend::Report;

use self::common::Common;
use self::corrections::Corrections;
use self::holding::Holding;
use self::notifications::{Hub, HubKey};
use self::observing::Observing;
use self::pacing::Pacing;
use self::pools::Slot;
use self::seats::{CancelSecret, Seat, Seats};
use self::tenants::Tenants;
use self::tickets::{Reply, Tickets};

/// What a shard needs to start.
pub struct Setup {
    pub id: ShardId,
    /// The core to stay on; `None`: wherever the system puts it.
    pub core: Option<usize>,
    /// Bound and listening; its own for TCP, shared for unix sockets.
    pub listeners: Vec<OwnedFd>,
    /// The bell of `shared.shards[id]`.
    pub doorbell: Doorbell,
    pub shared: Shared,
    pub policy: Arc<Policy>,
    pub topology: Arc<Topology>,
}

/// Starts a shard's thread. Returns once it listens.
///
/// # Errors
///
/// One sentence: why io_uring or the thread could not be set up.
pub fn start(setup: Setup) -> Result<JoinHandle<()>, String> {
    let (ready, is_ready) = mpsc::channel();
    let name = format!("shard-{}", setup.id.0);
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || run(setup, &ready))
        .map_err(|error| format!("cannot start a thread for {name}: {error}"))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(sentence)) => Err(sentence),
        Err(_) => Err(format!("{name} ended before it was ready")),
    }
}

fn run(setup: Setup, ready: &mpsc::Sender<Result<(), String>>) {
    let placement = setup.core.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name(&format!("shard-{}", setup.id.0))
        // The executor's own rings do next to nothing here; small ones start under the usual limits.
        .ring_depth(EXECUTOR_RING_DEPTH)
        .io_memory(EXECUTOR_IO_MEMORY)
        .preempt_timer(EXECUTOR_PREEMPT)
        .make();
    let executor = match executor {
        Ok(executor) => executor,
        Err(error) => {
            let error = std::io::Error::from(error);
            let _ = ready.send(Err(support::explain(&error)));
            return;
        }
    };
    executor.run(async move {
        let spin = setup.policy.config.shards.spin;
        let ring = match Ring::new(setup.doorbell.clone(), spin) {
            Ok(ring) => ring,
            Err(error) => {
                let _ = ready.send(Err(support::explain(&error)));
                return;
            }
        };
        let shard = Rc::new(Shard::new(setup.id, ring.clone(), setup.shared, setup.policy, setup.topology));
        for fd in setup.listeners {
            ring.spawn(accept(shard.clone(), Listener::new(&ring, fd)));
        }
        ring.spawn(inbox(shard.clone()));
        ring.spawn(janitor(shard.clone()));
        ring.spawn(watch_idle(shard.clone()));
        ring.spawn(parking::unpark(shard.clone()));
        let _ = ready.send(Ok(()));
        ring.run().await;
        shard.pools_close();
        let _ = shard.shared.control.send(ToControl::Ended { shard: shard.id });
    });
}

/// Everything one shard has.
struct Shard {
    id: ShardId,
    ring: Ring,
    shared: Shared,
    policy: RefCell<Arc<Policy>>,
    topology: RefCell<Arc<Topology>>,
    observing: Observing,
    holding: Holding,
    pacing: Pacing,
    pools: RefCell<FxHashMap<PoolKey, Rc<Slot>>>,
    /// By node, the one asked for last: looked at first, since most shards serve few databases and users.
    pools_recent: RefCell<Vec<Option<Rc<Slot>>>>,
    tenants: Tenants,
    /// By database: what a standby refused.
    corrections: RefCell<FxHashMap<Arc<str>, Corrections>>,
    /// Room for frames to be collected in, so that no session keeps any and none allocates for every request.
    spare_batches: RefCell<Vec<Batch>>,
    /// How often sessions were pinned so far, in the order of [`Pins::ALL`].
    pin_counts: [Cell<u64>; Pins::ALL.len()],
    /// What sessions have set, and what was reported to them.
    settings: Common<SharedSettings>,
    parameters: Common<Parameters>,
    seats: Seats,
    hubs: RefCell<FxHashMap<HubKey, Rc<Hub>>>,
    tickets: Rc<Tickets>,
    /// What servers reported to sessions that asked for these settings.
    logins: RefCell<FxHashMap<LoginKey, Parameters>>,
    /// When roles or databases were changed last.
    logins_changed: Cell<Moment>,
    /// SCRAM keys by user: derived from passwords for logins to nodes, and learned from clients' proofs.
    derived: RefCell<FxHashMap<Arc<str>, SaltedKeys>>,
    learned: RefCell<FxHashMap<Arc<str>, Arc<SaltedKeys>>>,
    /// Verifiers of plain passwords, with the password each was derived from.
    verifiers: RefCell<FxHashMap<String, (String, Verifier)>>,
    /// Nodes that failed here since control last looked, a bit each.
    suspects: Cell<u128>,
    /// Connections of clients, from accept to the last byte.
    connections: Cell<usize>,
    draining: Cell<bool>,
    stopping: Cell<bool>,
    /// Wakes the task that looks after idle backends.
    idle_waker: RefCell<Option<Waker>>,
    queries: RefCell<Latencies>,
    waits: RefCell<Latencies>,
    random: Cell<u64>,
    count: Cell<u64>,
}

/// Database, user, settings.
type LoginKey = (Rc<str>, Rc<str>, SharedSettings);

impl Shard {
    fn new(id: ShardId, ring: Ring, shared: Shared, policy: Arc<Policy>, topology: Arc<Topology>) -> Shard {
        let mut seed = [0u8; 8];
        // Without randomness, shards at least differ.
        if getrandom::fill(&mut seed).is_err() {
            seed[0] = id.0 as u8;
        }
        let shard = Shard {
            id,
            ring,
            shared,
            policy: RefCell::new(policy),
            topology: RefCell::new(topology.clone()),
            observing: Observing::default(),
            holding: Holding::default(),
            pacing: Pacing::default(),
            pools: RefCell::default(),
            pools_recent: RefCell::default(),
            tenants: Tenants::new(id),
            corrections: RefCell::default(),
            spare_batches: RefCell::default(),
            pin_counts: Default::default(),
            settings: Common::default(),
            parameters: Common::default(),
            seats: Seats::default(),
            hubs: RefCell::default(),
            tickets: Rc::default(),
            logins: RefCell::default(),
            logins_changed: Cell::new(Moment(0)),
            derived: RefCell::default(),
            learned: RefCell::default(),
            verifiers: RefCell::default(),
            suspects: Cell::default(),
            connections: Cell::default(),
            draining: Cell::default(),
            stopping: Cell::default(),
            idle_waker: RefCell::default(),
            queries: RefCell::default(),
            waits: RefCell::default(),
            random: Cell::new(u64::from_ne_bytes(seed) | 1),
            count: Cell::default(),
        };
        shard.counters().epoch.set(topology.epoch.0);
        shard
    }

    fn counters(&self) -> &ShardCounters {
        &self.shared.counters[self.id.index()]
    }

    fn node_counters(&self, node: NodeId, count: impl FnOnce(&NodeCounters)) {
        if let Some(counters) = self.counters().nodes.get(node.index()) {
            count(counters);
        }
    }

    /// Leases of this shard at a node now.
    fn leases(&self, node: NodeId) -> u64 {
        self.counters().nodes.get(node.index()).map_or(0, |counters| counters.leases.read())
    }

    /// Takes back the room of a batch.
    fn spare_batch(&self, mut batch: Batch) {
        batch.clear();
        let mut spare = self.spare_batches.borrow_mut();
        if (1..=BATCH_KEPT).contains(&batch.capacity()) && spare.len() < SPARE_BATCHES_MAX {
            spare.push(batch);
        }
    }

    /// A number that is unique within the shard.
    fn next_id(&self) -> u64 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// Random enough to balance by (xorshift64); secrets come from the system.
    fn random(&self) -> u64 {
        let mut value = self.random.get();
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        self.random.set(value);
        value
    }

    /// A seat for a new session.
    fn seat(&self, secret: CancelSecret) -> Rc<Seat> {
        self.seat_with(0, secret)
    }

    /// A seat with this secret, and with this process id unless somebody here has it.
    fn seat_like(&self, key: &BackendKey) -> Rc<Seat> {
        self.seat_with(key.process_id, CancelSecret::of(&key.secret))
    }

    fn seat_with(&self, process_id: u32, secret: CancelSecret) -> Rc<Seat> {
        // Positive as a signed number: some drivers print it as one.
        self.seats.take(self.next_id(), process_id, || (self.random() >> 33) as u32, secret)
    }

    /// A session is over.
    fn give_up_seat(self: &Rc<Self>, seat: &Seat) {
        self.seats.give_up(seat);
        if seat.cut.replace(false) {
            self.was_cut();
        }
    }

    /// A connection is gone; the last one lets a draining shard end.
    fn connection_ended(&self) {
        if self.draining.get() && self.connections.get() == 0 {
            self.ring.stop();
        }
    }

    fn adopt(self: &Rc<Self>, policy: Arc<Policy>) {
        for slot in self.pools.borrow().values() {
            slot.mode.set(policy.config.mode_for(&slot.key.database, &slot.key.user));
            slot.size.set(policy.config.size_for(&slot.key.database, &slot.key.user));
        }
        *self.policy.borrow_mut() = policy;
        self.derived.borrow_mut().clear();
        self.learned.borrow_mut().clear();
        self.verifiers.borrow_mut().clear();
        self.logins.borrow_mut().clear();
        self.pools_upkeep();
    }

    /// Nobody new comes in; everybody leaves when their transaction ends.
    fn drain(&self) {
        self.draining.set(true);
        for seat in self.seats.all() {
            match seat.admitted.get() {
                true => seat.wake(&self.ring),
                // Still logging in, perhaps waiting for a node.
                false => seat.dismiss(&self.ring, shutting_down()),
            }
        }
        if self.connections.get() == 0 {
            self.ring.stop();
        }
    }

    /// Everybody leaves now, with a word; the shard ends when they are gone, or in a moment.
    fn stop(self: &Rc<Self>) {
        self.draining.set(true);
        for seat in self.seats.all() {
            seat.dismiss(&self.ring, shutting_down());
        }
        if self.connections.get() == 0 || self.stopping.replace(true) {
            return self.ring.stop();
        }
        let shard = self.clone();
        self.ring.spawn(async move {
            shard.ring.sleep_until(Instant::now() + STOP_MAX).await;
            shard.ring.stop();
        });
    }
}

/// Takes messages from the other threads.
async fn inbox(shard: Rc<Shard>) {
    let door = shard.shared.shards[shard.id.index()].clone();
    loop {
        while let Some(message) = door.receive() {
            match message {
                ToShard::Topology(topology) => shard.observe(topology),
                ToShard::Policy(policy) => shard.adopt(policy),
                ToShard::Cancel { process_id, secret, from, ticket } => {
                    shard.cancel_offered(process_id, &secret, from, ticket);
                }
                ToShard::Cancelled { ticket } => shard.tickets.answer(&shard.ring, ticket, Reply::Cancelled),
                ToShard::Worked { ticket, result } => {
                    shard.tickets.answer(&shard.ring, ticket, Reply::Worked(result));
                }
                ToShard::Answer { ticket, answer } => {
                    shard.tickets.answer(&shard.ring, ticket, Reply::Answer(answer));
                }
                ToShard::Snapshot { ticket } => {
                    let snapshot = Box::new(Snapshot {
                        pools: shard.pools_snapshot(),
                        pins: shard.pins_snapshot(),
                        listeners: shard.listeners_snapshot(),
                        pin_counts: shard.pin_counts(),
                        queries: shard.queries.borrow().clone(),
                        waits: shard.waits.borrow().clone(),
                    });
                    let answer = ToControl::Snapshot { shard: shard.id, ticket, snapshot };
                    let _ = shard.shared.control.send(answer);
                }
                ToShard::Learned { user, keys } => {
                    shard.learned.borrow_mut().insert(user, keys);
                }
                ToShard::Greeting { database, user, settings, parameters } => {
                    shard.greeted(&database, &user, settings, &parameters);
                }
                ToShard::Accepted { database, user, text, query } => {
                    shard.accepted_elsewhere(&database, &user, &text, query);
                }
                ToShard::Vacate { database } => shard.vacate(&database),
                ToShard::LoginsChanged { at } => shard.logins_changed(at),
                ToShard::Defined { database } => shard.defined_elsewhere(&database),
                ToShard::Corrected { database, fingerprint, refusal } => {
                    shard.corrected(&database, fingerprint, refusal);
                }
                ToShard::Wanted { pool, by, held } => shard.wanted(&pool, by, held),
                ToShard::Lent { pool, lent } => shard.borrowed(&pool, *lent),
                ToShard::Drain => shard.drain(),
                ToShard::Stop => shard.stop(),
            }
        }
        shard.ring.rung().await;
    }
}

/// Frames of a client, with what is to be done with each.
type Batch = Vec<(Order, Chunk)>;

/// Frames for which room is kept.
const BATCH_KEPT: usize = 64;
/// How often it is kept: as many sessions may be at it at once.
const SPARE_BATCHES_MAX: usize = 64;

/// Accepts on one listener until the shard drains.
async fn accept(shard: Rc<Shard>, listener: Listener) {
    let mut accepted = 0usize;
    while !shard.draining.get() {
        match shard.ring.deadline(Instant::now() + ACCEPT_LOOK, listener.accept()).await {
            None => {}
            Some(Ok(socket)) => {
                accepted += 1;
                shard.ring.spawn(login::serve(shard.clone(), socket));
                if accepted.is_multiple_of(ACCEPTS_PER_TURN_MAX) {
                    shard.ring.sleep_until(Instant::now() + Duration::from_micros(1)).await;
                }
            }
            Some(Err(error)) => {
                // Out of descriptors or memory: it passes when a connection ends. Trying again at once would spin.
                tracing::error!(%error, "cannot accept a connection");
                shard.ring.sleep_until(Instant::now() + ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Notices idle backends that their server closed.
async fn watch_idle(shard: Rc<Shard>) {
    loop {
        let mut woken = false;
        std::future::poll_fn(|context| {
            *shard.idle_waker.borrow_mut() = Some(context.waker().clone());
            match std::mem::replace(&mut woken, true) {
                false => std::task::Poll::Pending,
                true => std::task::Poll::Ready(()),
            }
        })
        .await;
        shard.pools_upkeep();
    }
}

/// Upkeep once a second.
async fn janitor(shard: Rc<Shard>) {
    let mut rounds = 0u64;
    let mut parked = Instant::now();
    loop {
        shard.ring.sleep_until(Instant::now() + JANITOR_INTERVAL).await;
        rounds += 1;
        shard.suspects.set(0);
        shard.pools_upkeep();
        if rounds.is_multiple_of(SWEEP_ROUNDS) {
            shard.tenants.sweep();
            shard.settings.sweep();
            shard.parameters.sweep();
        }
        if shard.park_idle().await {
            parked = Instant::now();
        }
        if parked.elapsed() < parking::GIVE_BACK_FOR {
            parking::give_back();
        }
        let idle_max = shard.policy.borrow().config.pool.client_idle_timeout;
        if !idle_max.is_zero() {
            for seat in shard.seats.all() {
                if seat.idle.get() && seat.heard.get().elapsed() >= idle_max {
                    let report = Report::fatal(
                        Sqlstate::IDLE_SESSION_TIMEOUT,
                        "terminating connection due to idle-session timeout",
                    )
                    .hint(format!("The client sent nothing for {idle_max:?} (pool.client_idle_timeout)."));
                    seat.dismiss(&shard.ring, report);
                }
            }
        }
    }
}

/// What clients hear when pgweir ends.
fn shutting_down() -> Report {
    Report::fatal(Sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// How long the last words to a peer may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How long a shard that was told to stop waits for its sessions to leave.
const STOP_MAX: Duration = Duration::from_millis(500);
/// How often upkeep runs.
const JANITOR_INTERVAL: Duration = Duration::from_secs(1);
/// Rounds of upkeep between two looks for what nobody uses: statements, tenants, settings.
const SWEEP_ROUNDS: u64 = 60;
/// How often a listener looks whether the shard drains.
const ACCEPT_LOOK: Duration = Duration::from_millis(500);
/// How long a listener pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const EXECUTOR_RING_DEPTH: usize = 16;
const EXECUTOR_IO_MEMORY: usize = 64 * 1024;
/// The executor's housekeeping interrupts the reactor this often, not more.
const EXECUTOR_PREEMPT: Duration = Duration::from_secs(5);
