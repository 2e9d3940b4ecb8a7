//! The control plane: one thread that keeps the picture of the cluster true and answers the operator.
//!
//! ```text
//!   nodes ◀── probe ──┐                                        ┌──▶ doors of the shards: pictures, policies, orders
//!   name servers ◀────┤   reports    ┌──────────┐   picture    │
//!                     ├─────────────▶│ cluster  ├──────────────┤
//!   shards ─ suspect ─┘              └──────────┘              └──▶ gauges of the nodes
//!   shards ─ work ────────▶ helper threads ──▶ answers
//!   shards ─ statements ──▶ admin ──▶ snapshots of all shards ──▶ answers
//!   signals, RELOAD ──────▶ reload, shutdown
//! ```
//!
//! [`failover`] decides who may be written to, and how another node comes to be it; [`cluster`] draws the picture that
//! follows from that and from the [`health`] of each [`member`], and [`acts`] does the rest of what it says. These,
//! [`caught_up`], [`conninfo`], [`shutdown`] and [`admin`] decide and do nothing else, but for [`acts`]; this file, [`probe`],
//! [`command`], [`work`], [`reload`] and [`signals`] do. It runs on glommio alone, unpinned: nothing here is on the way of
//! a query, and no shard waits for it except with a login or an admin statement.

mod acts;
mod admin;
mod bell;
mod caught_up;
mod cluster;
mod command;
mod conninfo;
pub mod failover;
mod gather;
mod handle;
mod health;
mod log;
mod lsn;
mod member;
mod orders;
mod outbox;
mod policy;
mod probe;
mod reload;
mod rules;
mod shutdown;
mod sighting;
mod signal;
mod signals;
mod tallies;
mod view;
mod work;

pub use self::bell::Bell;
pub(crate) use self::cluster::NODES_MAX;
pub use self::handle::Handle;
pub use self::log::log_to_stderr;
pub use self::lsn::Lsn;
pub use self::policy::policy;
pub use self::signals::{Caught, catch_signals, obey_signals};
pub use self::view::{NodeView, View};

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, PoolPlacement};

use self::admin::Window;
use self::cluster::{Cluster, Note, Now};
use self::failover::Event;
use self::gather::Gatherer;
use self::handle::Command;
use self::orders::Orders;
use self::outbox::Outbox;
use self::probe::Report;
use self::shutdown::{Order, Shutdown};
use self::signal::Signal;
use self::tallies::Tallies;
use self::work::Helpers;
use crate::auth::node::SaltedKeys;
use crate::config::Monitor;
use crate::counters::Latencies;
use crate::door::{Policy, ShardId, Shared, Suspicion, ToControl, ToShard};
use crate::topology::{Moment, NodeAddress, NodeId, Topology};

/// What control needs to start.
pub struct Setup {
    pub shared: Shared,
    /// The bell of `shared.control`.
    pub bell: Bell,
    pub policy: Arc<Policy>,
    /// What `policy` was made with: a reload makes another with the same.
    pub seed: [u8; 32],
    /// Where the configuration is read again from. `None`: there is no file, and a reload is refused.
    pub file: Option<PathBuf>,
}

/// A control thread that runs.
pub struct Running {
    handle: Handle,
    topology: Arc<Topology>,
    thread: ExecutorJoinHandle<()>,
}

/// Starts the thread; probing begins at once.
///
/// # Errors
///
/// Why there is no executor: most likely the kernel refuses io_uring.
pub fn start(setup: Setup) -> Result<Running, std::io::Error> {
    let handle = Handle::new(setup.bell.clone());
    let heard = handle.clone();
    let shards = setup.shared.shards.len();
    let cluster = Cluster::new(&setup.policy.config, shards, now(&setup.shared));
    let topology = cluster.picture();
    let (started, starting) = mpsc::sync_channel(1);
    let thread = LocalExecutorBuilder::default()
        .name("pgweir-control")
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(work::threads()))
        .spawn(move || {
            let _ = started.send(());
            run(setup, cluster, heard)
        })
        .map_err(std::io::Error::from)?;
    match starting.recv() {
        Ok(()) => Ok(Running { handle, topology, thread }),
        // The thread ended before its first task ran.
        Err(_) => Err(match thread.join() {
            Err(error) => error.into(),
            Ok(()) => std::io::Error::other("the control thread ended at once"),
        }),
    }
}

impl Running {
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The picture of the start, for shards to begin with: all nodes are down until a probe has told otherwise.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.clone()
    }

    /// Ends the thread. The shards have ended before.
    pub fn end(self) {
        self.handle.end();
        if self.thread.join().is_err() {
            tracing::error!("the control thread did not end in order");
        }
    }
}

/// What the tasks of the control thread share.
struct Control {
    shared: Shared,
    file: Option<PathBuf>,
    seed: [u8; 32],
    policy: RefCell<Arc<Policy>>,
    cluster: RefCell<Cluster>,
    /// By shard.
    outboxes: RefCell<Vec<Outbox>>,
    /// By shard: whether it has ended.
    ended: RefCell<Vec<bool>>,
    shutdown: RefCell<Shutdown>,
    /// By node id: asks for a probe at once.
    probes: RefCell<Vec<Rc<Signal>>>,
    /// The monitor's, as soon as they were derived.
    keys: RefCell<Option<SaltedKeys>>,
    helpers: Helpers,
    gatherer: Gatherer,
    window: RefCell<Window>,
    /// The query times up to the last view.
    viewed: RefCell<Latencies>,
    reloading: Cell<bool>,
    /// For those who run commands on threads of their own.
    handle: Handle,
    orders: Orders,
    tallies: Tallies,
}

async fn run(setup: Setup, cluster: Cluster, handle: Handle) {
    let shards = setup.shared.shards.len();
    let control = Rc::new(Control {
        shared: setup.shared,
        file: setup.file,
        seed: setup.seed,
        policy: RefCell::new(setup.policy),
        cluster: RefCell::new(cluster),
        outboxes: RefCell::new((0..shards).map(|_| Outbox::default()).collect()),
        ended: RefCell::new(vec![false; shards]),
        shutdown: RefCell::default(),
        probes: RefCell::default(),
        keys: RefCell::default(),
        helpers: Helpers::new(),
        gatherer: Gatherer::default(),
        window: RefCell::default(),
        viewed: RefCell::default(),
        reloading: Cell::new(false),
        handle: handle.clone(),
        orders: Orders::default(),
        tallies: Tallies::default(),
    });
    control.watch_nodes();
    let others = [
        glommio::spawn_local(gather::serve(control.clone())),
        glommio::spawn_local(tick(control.clone())),
        glommio::spawn_local(sample(control.clone())),
    ];
    // A task of its own: the bell knows one waker, and this one must be the same at each wait.
    let receiving = control.clone();
    glommio::spawn_local(async move { receive(&receiving, &handle, &setup.bell).await }).await;
    control.helpers.finish().await;
    for other in others {
        other.cancel().await;
    }
}

/// Takes what other threads say until one of them says to end.
async fn receive(control: &Rc<Control>, handle: &Handle, bell: &Bell) {
    loop {
        bell.rung().await;
        while let Some(command) = handle.heard() {
            match command {
                Command::Drain => control.drain(),
                Command::End => return,
                Command::Exited { attempt, code } => control.happened(Event::Exited { attempt, code }),
                Command::Reload => control.reload_and_log(),
                Command::Stop => control.stop(),
                Command::View(answer) => control.show(answer),
            }
        }
        let mut taken = 0;
        while let Some(message) = control.shared.control.receive() {
            control.clone().handle(message);
            taken += 1;
            if taken % MESSAGES_PER_TURN_MAX == 0 {
                // Probes have deadlines to keep.
                glommio::executor().yield_task_queue_now().await;
            }
        }
    }
}

/// What time does: full doors are tried again, failover goes on, a drain comes to its end.
async fn tick(control: Rc<Control>) {
    loop {
        Timer::new(TICK).await;
        for (outbox, door) in control.outboxes.borrow_mut().iter_mut().zip(control.shared.shards.iter()) {
            outbox.flush(door);
        }
        let changed = control.cluster.borrow_mut().tick(control.now());
        control.publish(changed);
        if control.cluster.borrow().failover().steady() {
            control.tallies.steady(&control.shared.counters);
        }
        let order = control.shutdown.borrow_mut().tick(Instant::now());
        if order.is_some() {
            tracing::warn!("some transactions did not finish in time: ending without them");
        }
        control.order(order);
    }
}

/// Remembers the numbers of the last minute, for rates and percentiles.
async fn sample(control: Rc<Control>) {
    control.window.borrow_mut().push(Instant::now(), admin::Totals::default());
    loop {
        Timer::new(SAMPLE_INTERVAL).await;
        let gathered = control.gather().await;
        let totals = admin::Totals::of(&control.shared, &gathered);
        control.window.borrow_mut().push(Instant::now(), totals);
    }
}

impl Control {
    fn handle(self: Rc<Self>, message: ToControl) {
        match message {
            ToControl::Acknowledged { shard, epoch, wrote } => {
                self.happened(Event::Acknowledged { shard, epoch, wrote: Some(wrote) });
            }
            ToControl::Admin { shard, ticket, statement, user } => {
                glommio::spawn_local(async move {
                    let answer = self.answer(&statement, &user).await;
                    self.send(shard, ToShard::Answer { ticket, answer });
                })
                .detach();
            }
            ToControl::Drained { shard, epoch } => self.happened(Event::Drained { shard, epoch }),
            ToControl::Ended { shard } => {
                if let Some(ended) = self.ended.borrow_mut().get_mut(shard.index()) {
                    *ended = true;
                }
                self.gatherer.ended(shard);
                self.happened(Event::Ended { shard });
            }
            ToControl::Learned { shard, user, keys } => {
                for other in self.shard_ids().filter(|other| *other != shard) {
                    self.send(other, ToShard::Learned { user: user.clone(), keys: keys.clone() });
                }
            }
            ToControl::Snapshot { shard, ticket, snapshot } => self.gatherer.take(shard, ticket, snapshot),
            ToControl::Suspect { shard, node, suspicion, reason } => {
                tracing::debug!("node {node} is suspected: {reason}");
                let counts = {
                    let failover = &self.policy.borrow().config.failover;
                    match suspicion {
                        Suspicion::Broken => failover.on_backend_error,
                        Suspicion::ShutDown => failover.on_backend_shutdown,
                    }
                };
                let changed = match counts {
                    true => self.cluster.borrow_mut().suspected(node, shard, reason, self.now()),
                    false => {
                        self.cluster.borrow_mut().doubted(node);
                        false
                    }
                };
                self.publish(changed);
                // Either way it may have something to tell.
                if let Some(probe) = self.probes.borrow().get(node.index()) {
                    probe.set();
                }
            }
            ToControl::Work { shard, ticket, work } => {
                let policy = self.policy.borrow().clone();
                glommio::spawn_local(async move {
                    let result = self.helpers.compute(move || work::compute(work, &policy)).await;
                    self.send(shard, ToShard::Worked { ticket, result });
                })
                .detach();
            }
        }
    }

    fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        let shards = u16::try_from(self.shared.shards.len()).unwrap_or(u16::MAX);
        (0..shards).map(ShardId)
    }

    /// Sends to one shard, later if its door is full.
    fn send(&self, shard: ShardId, message: ToShard) {
        let mut outboxes = self.outboxes.borrow_mut();
        if let Some((outbox, door)) =
            outboxes.get_mut(shard.index()).zip(self.shared.shards.get(shard.index()))
        {
            outbox.send(door, message);
        }
    }

    fn send_all(&self, message: impl Fn() -> ToShard) {
        for shard in self.shard_ids() {
            self.send(shard, message());
        }
    }

    fn drain(&self) {
        let timeout = self.policy.borrow().config.shutdown_timeout;
        let order = self.shutdown.borrow_mut().drain(Instant::now(), timeout);
        self.order(order);
    }

    fn stop(&self) {
        let order = self.shutdown.borrow_mut().stop();
        self.order(order);
    }

    fn order(&self, order: Option<Order>) {
        match order {
            Some(Order::Drain) => {
                tracing::info!("shutting down: running transactions may finish");
                self.send_all(|| ToShard::Drain);
            }
            Some(Order::Stop) => {
                tracing::info!("shutting down now");
                self.send_all(|| ToShard::Stop);
            }
            None => {}
        }
    }

    fn show(self: &Rc<Self>, answer: mpsc::SyncSender<View>) {
        let control = self.clone();
        glommio::spawn_local(async move {
            let gathered = control.gather().await;
            let view = view::view(
                &control.shared,
                &control.cluster.borrow(),
                &gathered,
                &mut control.viewed.borrow_mut(),
            );
            // Whoever asked may have given up.
            let _ = answer.try_send(view);
        })
        .detach();
    }

    /// Starts a probe for each configured node that has none.
    fn watch_nodes(self: &Rc<Self>) {
        let ids: Vec<NodeId> = self.cluster.borrow().members().map(|(id, _)| id).collect();
        let mut probes = self.probes.borrow_mut();
        for id in ids {
            while probes.len() <= id.index() {
                probes.push(Rc::default());
            }
            let slot = &mut probes[id.index()];
            // A probe that is running holds the other half.
            if Rc::strong_count(slot) == 1 {
                glommio::spawn_local(probe::watch(self.clone(), id, slot.clone())).detach();
            }
        }
    }

    /// Something happened to failover.
    fn happened(self: &Rc<Self>, event: Event) {
        let changed = self.cluster.borrow_mut().happened(event, self.now());
        self.publish(changed);
    }

    /// Does what follows from what the cluster was told: the picture goes out if it has `changed`.
    fn publish(self: &Rc<Self>, changed: bool) {
        let (notes, picture) = {
            let mut cluster = self.cluster.borrow_mut();
            (cluster.notes(), changed.then(|| cluster.picture()))
        };
        for note in notes {
            match note {
                Note::Info(text) => tracing::info!("{text}"),
                Note::Warning(text) => tracing::warn!("{text}"),
            }
        }
        if let Some(picture) = picture {
            self.send_all(|| ToShard::Topology(picture.clone()));
        }
        self.act();
    }

    fn now(&self) -> Now {
        now(&self.shared)
    }
}

fn now(shared: &Shared) -> Now {
    Now { at: SystemTime::now(), moment: shared.moment(Instant::now()) }
}

/// What probes say and ask.
impl Control {
    fn answered(self: &Rc<Self>, id: NodeId, report: Report) {
        let changed = self.cluster.borrow_mut().answered(id, report, self.now());
        self.publish(changed);
    }

    fn failed(self: &Rc<Self>, id: NodeId, reason: &str) {
        let changed = self.cluster.borrow_mut().failed(id, reason, self.now());
        self.publish(changed);
    }

    fn resolved(self: &Rc<Self>, id: NodeId, address: NodeAddress) {
        let changed = self.cluster.borrow_mut().resolved(id, address, self.now());
        self.publish(changed);
    }

    /// Host and port of a configured node.
    fn place(&self, id: NodeId) -> Option<(String, u16)> {
        let cluster = self.cluster.borrow();
        cluster.member(id).map(|member| (member.host.clone(), member.port))
    }

    fn address(&self, id: NodeId) -> NodeAddress {
        let cluster = self.cluster.borrow();
        let address = cluster.member(id).map(|member| member.health.address.clone());
        address.unwrap_or(NodeAddress::Tcp(Vec::new()))
    }

    fn monitor(&self) -> Monitor {
        self.policy.borrow().config.monitor.clone()
    }

    /// How one node is watched.
    fn monitor_of(&self, id: NodeId) -> Monitor {
        let monitor = self.monitor();
        let cluster = self.cluster.borrow();
        match cluster.member(id).and_then(|member| member.configured.as_ref()) {
            Some(node) => monitor.of(node),
            None => monitor,
        }
    }

    fn moment(&self) -> Moment {
        self.shared.moment(Instant::now())
    }

    fn keys(&self) -> Option<SaltedKeys> {
        self.keys.borrow().clone()
    }

    fn keep_keys(&self, keys: SaltedKeys) {
        self.keys.replace(Some(keys));
    }
}

/// Memory registered with the executor's rings, bytes: the least glommio takes. Files are not read with them.
const IO_MEMORY: usize = 64 * 1024;

/// Entries of each of the executor's three rings. Control has two operations under way per node; what does not fit
/// waits.
const RING_DEPTH: usize = 64;

/// Messages of shards that are handled before other tasks run.
const MESSAGES_PER_TURN_MAX: u32 = 256;

const TICK: Duration = Duration::from_millis(50);

/// The time between two samples of the last minute's numbers.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
