//! Finding a node and a backend for a session, and taking it back: the pools of one shard, the budgets of the process,
//! and the tasks that open, reset and close backends.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::backend::LoginError;
use crate::config::{Balance, PoolMode};
use crate::counters::Budget;
use crate::door::{PoolKey, PoolSnapshot, Suspicion, ToControl};
use crate::limits::CONNECTS_MAX;
use crate::pool::{Checkin, Fit, Pool};
use crate::ring::{End, Socket};
use crate::route::{Access, Choice, route};
use crate::topology::{Moment, NodeId};
use crate::wire::Sqlstate;
use crate::wire::backend::{ErrorFields, Report};

use super::holding::Wait;
use super::lending::Lending;
use super::link::{Link, OpenError};
use super::seats::Seat;
use super::{Shard, cleanup};

/// One pool of this shard.
pub(super) struct Slot {
    pub key: Rc<PoolKey>,
    pub mode: Cell<PoolMode>,
    /// Backends for the whole process.
    pub size: Cell<u32>,
    /// Backends are boxed: they come and go with every transaction, and are large.
    pub pool: RefCell<Pool<Box<Link>, Rc<Waiter>>>,
    /// Connections of this shard that listen for sessions.
    pub listening: Cell<u32>,
    /// Its place in the table of budgets.
    pub hash: u64,
    /// What is lent to and borrowed from other shards.
    pub lending: Lending,
    /// Until when no backend is opened, after a failure.
    pause_until: Cell<Option<Instant>>,
    /// Whether its turn to open one is awaited.
    pub turn_awaited: Cell<bool>,
}

/// A backend lent to a session, until it is handed to [`Shard::checkin`].
pub(super) struct Lease {
    link: Box<Link>,
    /// Where it goes back to.
    slot: Rc<Slot>,
}

impl Deref for Lease {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Somebody in line.
pub(super) struct Waiter {
    /// When it logged in.
    since: Moment,
    grant: RefCell<Option<Grant>>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    fn of(since: Moment) -> Waiter {
        Waiter { since, grant: RefCell::default(), waker: RefCell::default() }
    }
}

enum Grant {
    Link(Box<Link>),
    /// This pool will not have a backend for them.
    Failed(Report),
    /// The node is gone: look for another one.
    Reroute,
}

/// Who asks for a backend, and how.
pub(super) struct Request<'a> {
    pub database: &'a std::sync::Arc<str>,
    pub user: &'a std::sync::Arc<str>,
    pub access: Access,
    /// The backend it had last.
    pub last: u64,
    pub settings: &'a crate::session::SharedSettings,
    /// The node it keeps its reads to, under balance = "session".
    pub prefer: Option<NodeId>,
    /// The session's number.
    pub session: u64,
    /// Whether only the backend that served its last write will do.
    pub own_writes: bool,
    /// When it logged in.
    pub since: Moment,
    /// Bytes of what it has sent and that is kept for it.
    pub bytes: usize,
}

impl Shard {
    /// A backend for this request, if one is idle where it belongs.
    pub(super) fn checkout_now(self: &Rc<Self>, request: &Request<'_>) -> Option<Lease> {
        let node = self.choose(request, 0)?;
        let slot = self.slot(node, request.database, request.user);
        let link = self.take_idle(&slot, request)?;
        Some(self.lease(slot, link, request.access, Duration::ZERO))
    }

    /// A backend for this request: at once, or when its turn comes.
    ///
    /// # Errors
    ///
    /// What to tell the client: nobody could be found in time, or the node refused the login. `None`: the client left, or
    /// cancelled, or was told to leave; its seat says which.
    pub(super) async fn checkout(
        self: &Rc<Self>,
        request: Request<'_>,
        seat: &Seat,
        client: &Socket,
    ) -> Result<Lease, Option<Report>> {
        let started = Instant::now();
        let deadline = started + self.policy.borrow().config.pool.checkout_timeout;
        // Until when it may be held because there is no node, once it is.
        let mut held_until = None;
        let mut avoid = 0u128;
        loop {
            let Some(node) = self.choose(&request, avoid) else {
                let until = *held_until.get_or_insert_with(|| {
                    self.counters().held.add(1);
                    deadline.min(Instant::now() + self.policy.borrow().config.failover.hold_time)
                });
                if Instant::now() >= until {
                    return Err(Some(self.no_node(&request)));
                }
                let interrupted = |waker: &Waker| self.interrupted(seat, client, waker);
                match self.hold(request.bytes, until, interrupted).await {
                    Wait::Look => avoid = 0,
                    Wait::Overflowed => return Err(Some(overflowed())),
                    Wait::Interrupted => return Err(None),
                }
                continue;
            };
            let slot = self.slot(node, request.database, request.user);
            if let Some(link) = self.take_idle(&slot, &request) {
                return Ok(self.lease(slot, link, request.access, started.elapsed()));
            }
            if request.own_writes {
                return Err(Some(
                    Report::error(
                        Sqlstate::FEATURE_NOT_SUPPORTED,
                        "the session's sequences were used on a backend that served others since",
                    )
                    .hint(
                        "Ask currval() and lastval() in the same transaction, use INSERT … RETURNING, \
                         or set pool.mode = \"session\" for this database or user.",
                    ),
                ));
            }
            let place =
                Place { shard: self.clone(), slot: slot.clone(), waiter: Rc::new(Waiter::of(request.since)) };
            slot.pool.borrow_mut().wait(place.waiter.clone(), started);
            self.replenish(&slot);
            let granted = poll_fn(|context| {
                if let Some(grant) = place.waiter.grant.borrow_mut().take() {
                    return Poll::Ready(Some(grant));
                }
                *place.waiter.waker.borrow_mut() = Some(context.waker().clone());
                match self.interrupted(seat, client, context.waker()) {
                    true => Poll::Ready(None),
                    false => Poll::Pending,
                }
            });
            seat.queued.set(true);
            let granted = self.ring.deadline(deadline, granted).await;
            seat.queued.set(false);
            match granted {
                Some(Some(Grant::Link(link))) if !self.fits(&link, request.access) => {
                    // Another picture was observed since it was granted.
                    slot.pool.borrow_mut().discard();
                    self.retire(&slot, link);
                }
                Some(Some(Grant::Link(link))) => {
                    return Ok(self.lease(slot, link, request.access, started.elapsed()));
                }
                Some(Some(Grant::Failed(report))) => return Err(Some(report)),
                Some(Some(Grant::Reroute)) => avoid |= 1 << node.0,
                Some(None) => return Err(None),
                None => {
                    let waited = started.elapsed().as_secs_f64();
                    return Err(Some(
                        Report::error(
                            Sqlstate::TOO_MANY_CONNECTIONS,
                            format!("no backend became free within {waited:.1} s (checkout_timeout)"),
                        )
                        .detail(format!(
                            "All {} backends of node {node} for database \"{}\" and user \"{}\" are in use.",
                            slot.size.get(),
                            request.database,
                            request.user
                        ))
                        .hint("Raise pool.size, or let transactions end sooner."),
                    ));
                }
            }
        }
    }

    /// Whether the client left, cancelled, or has to leave; otherwise its task is woken when one of these happens.
    fn interrupted(&self, seat: &Seat, client: &Socket, waker: &Waker) -> bool {
        client.watch(waker);
        seat.watch(waker);
        // A client that sent its query, said goodbye and closed still gets the query run, as from a server.
        let gone = match client.end() {
            Some(End::Eof) => !client.has_received(),
            Some(End::Broken(_)) => true,
            None => false,
        };
        gone || seat.cancelled.get() || seat.must_leave() || (self.draining.get() && !seat.admitted.get())
    }

    fn choose(&self, request: &Request<'_>, avoid: u128) -> Option<NodeId> {
        let policy = self.policy.borrow();
        let topology = self.topology.borrow();
        let leases = |node: NodeId| self.leases(node);
        let prefer = request.prefer.filter(|_| policy.config.route.balance == Balance::Session);
        route(
            &topology,
            request.access,
            Choice {
                reads: policy.config.route.reads,
                prefer,
                avoid: avoid | self.suspects.get(),
                leases: &leases,
                random: [self.random(), self.random()],
            },
        )
    }

    fn no_node(&self, request: &Request<'_>) -> Report {
        let topology = self.topology.borrow();
        let states: Vec<String> = topology
            .nodes
            .iter()
            .map(|node| {
                let reason = node.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
                format!("{}:{} {} {}{reason}", node.host, node.port, node.role.name(), node.state.name())
            })
            .collect();
        let what = match request.access {
            Access::Write => "no primary is reachable",
            Access::Any | Access::Read { .. } => "no node is reachable",
        };
        Report::error(Sqlstate::CANNOT_CONNECT_NOW, what)
            .detail(states.join("; "))
            .hint("Nothing was begun: it may be sent again. How long it waits is failover.hold_time.")
    }

    /// The pool of this node, database and user; it opens on first use.
    pub(super) fn slot(
        &self,
        node: NodeId,
        database: &std::sync::Arc<str>,
        user: &std::sync::Arc<str>,
    ) -> Rc<Slot> {
        let recent = self.pools_recent.borrow().get(node.index()).cloned().flatten();
        if let Some(slot) = recent
            && slot.key.database == *database
            && slot.key.user == *user
        {
            return slot;
        }
        let key = PoolKey { node, database: database.clone(), user: user.clone() };
        let slot = self.slot_of(key);
        let mut recent = self.pools_recent.borrow_mut();
        if recent.len() <= node.index() {
            recent.resize(node.index() + 1, None);
        }
        recent[node.index()] = Some(slot.clone());
        slot
    }

    fn slot_of(&self, key: PoolKey) -> Rc<Slot> {
        if let Some(slot) = self.pools.borrow().get(&key) {
            return slot.clone();
        }
        let policy = self.policy.borrow();
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let slot = Rc::new(Slot {
            key: Rc::new(key.clone()),
            mode: Cell::new(policy.config.mode_for(&key.database, &key.user)),
            size: Cell::new(policy.config.size_for(&key.database, &key.user)),
            pool: RefCell::default(),
            listening: Cell::default(),
            hash: hasher.finish().max(1),
            lending: Lending::default(),
            pause_until: Cell::default(),
            turn_awaited: Cell::default(),
        });
        self.pools.borrow_mut().insert(key, slot.clone());
        slot
    }

    /// An idle backend of the pool that is alive, the fittest first.
    fn take_idle(self: &Rc<Self>, slot: &Rc<Slot>, request: &Request<'_>) -> Option<Box<Link>> {
        loop {
            let taken = slot.pool.borrow_mut().checkout(|link| {
                if self.logged_in_too_early(link, request.since) {
                    None
                } else if link.id == request.last {
                    Some(Fit::Best)
                } else if Rc::ptr_eq(&link.settings, request.settings) || link.settings == *request.settings {
                    Some(Fit::Good)
                } else {
                    Some(Fit::Any)
                }
            });
            let Some(mut link) = taken else {
                // Those that logged in too early make room for others.
                if slot.pool.borrow().counts().idle > 0 {
                    self.close_idle(slot, |link| self.logged_in_too_early(link, request.since));
                }
                return None;
            };
            if request.own_writes && link.last_writer != request.session {
                self.settle(slot, |pool, now| pool.checkin(link, now));
                return None;
            }
            if !link.stirred() || link.calm() {
                return Some(link);
            }
            self.broken(slot, link, "it was closed while idle");
        }
    }

    /// Whether the node of a backend is still one for this access.
    fn fits(&self, link: &Link, access: Access) -> bool {
        let topology = self.topology.borrow();
        match access {
            Access::Write => topology.open_primary().is_some_and(|primary| primary.id == link.key.node),
            Access::Any | Access::Read { .. } => {
                topology.node(link.key.node).is_some_and(|node| topology.takes_new(node))
            }
        }
    }

    /// Counts a lease.
    fn lease(&self, slot: Rc<Slot>, link: Box<Link>, access: Access, waited: Duration) -> Lease {
        self.node_counters(link.key.node, |node| {
            node.leases.add(1);
            match access {
                Access::Read { .. } => node.reads.add(1),
                Access::Any | Access::Write => node.writes.add(1),
            }
        });
        self.waits.borrow_mut().record(waited);
        Lease { link, slot }
    }

    /// Takes a leased backend back.
    pub(super) fn checkin(self: &Rc<Self>, lease: Lease) {
        let Lease { link, slot } = lease;
        self.node_counters(link.key.node, |node| node.leases.sub(1));
        if let Some(reason) = link.backend.unfit() {
            return self.broken(&slot, link, reason);
        }
        if link.socket.end().is_some() {
            return self.broken(&slot, link, "the connection broke");
        }
        if !link.backend.quiet() || link.reset_owed || link.target.cancels.get() > 0 {
            slot.pool.borrow_mut().reset();
            let shard = self.clone();
            return self.ring.spawn(cleanup::run(shard, slot, link));
        }
        if self.unwanted(&slot, &link) || self.too_early_for_the_next(&slot, &link) {
            slot.pool.borrow_mut().discard();
            return self.retire(&slot, link);
        }
        if let Some(needy) = self.lends_to(&slot) {
            slot.pool.borrow_mut().discard();
            return self.lend(&slot, link, needy);
        }
        self.settle(&slot, |pool, now| pool.checkin(link, now));
    }

    /// A backend that was being made fit is.
    pub(super) fn was_reset(self: &Rc<Self>, slot: &Rc<Slot>, link: Box<Link>) {
        if self.unwanted(slot, &link) || self.too_early_for_the_next(slot, &link) {
            slot.pool.borrow_mut().reset_failed();
            return self.retire(slot, link);
        }
        self.settle(slot, |pool, now| pool.was_reset(link, now));
    }

    /// A backend could not be made fit.
    pub(super) fn reset_failed(self: &Rc<Self>, slot: &Rc<Slot>, link: Box<Link>) {
        slot.pool.borrow_mut().reset_failed();
        self.retire(slot, link);
    }

    /// A leased backend is of no use any more.
    fn broken(self: &Rc<Self>, slot: &Rc<Slot>, link: Box<Link>, reason: &str) {
        slot.pool.borrow_mut().discard();
        self.node_counters(link.key.node, |node| node.broken.add(1));
        if link.socket.end().is_some() || link.shut_down {
            self.suspect(link.key.node, link.suspicion(), reason);
        }
        self.retire(slot, link);
    }

    /// Whether a backend that is free now should not be kept: too old, opened to what the node was before, one too many.
    fn unwanted(&self, slot: &Slot, link: &Link) -> bool {
        let topology = self.topology.borrow();
        let node = topology.node(link.key.node);
        let outdated = node.is_none_or(|node| node.incarnation != link.incarnation || !node.usable());
        let expired = link.expires.is_some_and(|at| self.ring.now() >= at);
        let surplus = self.budget(slot).is_some_and(|budget| budget.taken() > slot.size.get());
        outdated || expired || surplus || link.stirred()
    }

    /// Closes a backend, and lets another one be opened where somebody waits.
    pub(super) fn retire(self: &Rc<Self>, slot: &Rc<Slot>, link: Box<Link>) {
        self.close(link);
        self.give_credit(slot);
        self.replenish(slot);
    }

    pub(super) fn settle(
        self: &Rc<Self>,
        slot: &Rc<Slot>,
        place: impl FnOnce(&mut Pool<Box<Link>, Rc<Waiter>>, Instant) -> Checkin<Box<Link>, Rc<Waiter>>,
    ) {
        let now = self.ring.now();
        let checkin = place(&mut slot.pool.borrow_mut(), now);
        match checkin {
            Checkin::Handed(waiter, link) => self.grant(&waiter, Grant::Link(link)),
            Checkin::Kept => {
                // Somebody must notice when the server closes it.
                if let Some(waker) = &*self.idle_waker.borrow() {
                    slot.pool.borrow().newest_idle(|link| link.socket.watch(waker));
                }
            }
        }
    }

    fn grant(&self, waiter: &Waiter, grant: Grant) {
        *waiter.grant.borrow_mut() = Some(grant);
        if let Some(waker) = waiter.waker.borrow_mut().take() {
            self.ring.wake(waker);
        }
    }

    /// Opens backends while more are wanted and the budget allows.
    pub(super) fn replenish(self: &Rc<Self>, slot: &Rc<Slot>) {
        while slot.pool.borrow().wants_backend() && slot.pool.borrow().counts().connecting < CONNECTS_MAX {
            if slot.pause_until.get().is_some_and(|until| Instant::now() < until) {
                return;
            }
            if !self.take_credit(slot) {
                return self.ask(slot);
            }
            if !self.may_open(slot) {
                return self.give_credit(slot);
            }
            slot.pool.borrow_mut().connect();
            let (shard, slot) = (self.clone(), slot.clone());
            self.ring.spawn(async move {
                let timeout = shard.policy.borrow().config.pool.connect_timeout;
                let opened = shard.ring.deadline(Instant::now() + timeout, shard.open(&slot.key)).await;
                shard.opened(
                    &slot,
                    opened.unwrap_or_else(|| {
                        Err(OpenError::Unreachable(format!("it did not answer within {timeout:?}")))
                    }),
                );
            });
        }
    }

    fn opened(self: &Rc<Self>, slot: &Rc<Slot>, opened: Result<Box<Link>, OpenError>) {
        let error = match opened {
            Ok(link) => {
                slot.pause_until.set(None);
                self.node_counters(slot.key.node, |node| node.backends.add(1));
                self.settle(slot, |pool, now| pool.connected(link, now));
                return self.replenish(slot);
            }
            Err(error) => error,
        };
        slot.pool.borrow_mut().connect_failed();
        self.give_credit(slot);
        let node = slot.key.node;
        match error {
            OpenError::Unreachable(reason) => {
                tracing::debug!(%node, reason, "cannot connect");
                self.suspect(node, Suspicion::Broken, &reason);
                self.dismiss(slot, || Grant::Reroute);
            }
            OpenError::Login(error) => {
                let sqlstate = error.sqlstate();
                tracing::warn!(
                    %node, database = &*slot.key.database, user = &*slot.key.user, %error, "login to the node failed"
                );
                match sqlstate {
                    // Starting up, shutting down, in recovery.
                    Some(Sqlstate::CANNOT_CONNECT_NOW) => {
                        self.suspect(node, Suspicion::Broken, &error.to_string());
                        self.dismiss(slot, || Grant::Reroute);
                    }
                    // The node has no room. Those who wait may still get a backend that others use now.
                    Some(Sqlstate::TOO_MANY_CONNECTIONS) if slot.pool.borrow().counts().leased > 0 => {}
                    _ => {
                        let report = login_report(&error, slot.key.node, &slot.key.user);
                        self.dismiss(slot, || Grant::Failed(report.clone()));
                    }
                }
            }
        }
        if slot.pool.borrow().counts().waiting > 0 {
            slot.pause_until.set(Some(Instant::now() + RETRY_PAUSE));
            let (shard, slot) = (self.clone(), slot.clone());
            self.ring.spawn(async move {
                shard.ring.sleep_until(Instant::now() + RETRY_PAUSE).await;
                shard.replenish(&slot);
            });
        }
    }

    fn dismiss(&self, slot: &Slot, grant: impl Fn() -> Grant) {
        let waiters: Vec<_> = slot.pool.borrow_mut().dismiss().collect();
        for waiter in waiters {
            self.grant(&waiter, grant());
        }
    }

    /// Sends everybody who waits at a node that takes nothing new, or is not the primary any more, to look for another
    /// one. `former`: the primary before.
    pub(super) fn reroute_waiters(&self, former: Option<NodeId>) {
        let slots: Vec<_> = self.pools.borrow().values().cloned().collect();
        for slot in slots {
            let topology = self.topology.borrow().clone();
            let takes = topology.node(slot.key.node).is_some_and(|node| topology.takes_new(node));
            let demoted = former == Some(slot.key.node) && topology.primary != former;
            if !takes || demoted {
                self.dismiss(&slot, || Grant::Reroute);
            }
        }
    }

    pub(super) fn budget(&self, slot: &Slot) -> Option<&Budget> {
        self.shared.process.budget(slot.hash)
    }

    pub(super) fn take_credit(&self, slot: &Slot) -> bool {
        match self.budget(slot) {
            Some(budget) => budget.take(slot.size.get()),
            // More pools than places: each shard keeps to its part.
            None => {
                let counts = slot.pool.borrow().counts();
                let here = counts.idle + counts.leased + counts.connecting + counts.resetting;
                let part = (slot.size.get() as usize / self.shared.shards.len()).max(1);
                here < part
            }
        }
    }

    pub(super) fn give_credit(&self, slot: &Slot) {
        if let Some(budget) = self.budget(slot) {
            budget.give();
        }
    }

    /// Tells control that a node may be gone, and keeps away from it for a moment.
    pub(super) fn suspect(&self, node: NodeId, suspicion: Suspicion, reason: &str) {
        self.suspects.set(self.suspects.get() | 1 << node.0);
        let _ = self.shared.control.send(ToControl::Suspect {
            shard: self.id,
            node,
            suspicion,
            reason: reason.to_owned(),
        });
    }

    /// Upkeep: closes idle backends that are too old, unused for too long or not usable any more, forgets empty pools.
    pub(super) fn pools_upkeep(self: &Rc<Self>) {
        let idle_timeout = self.policy.borrow().config.pool.idle_timeout;
        let slots: Vec<_> = self.pools.borrow().values().cloned().collect();
        for slot in slots {
            let gone = slot.pool.borrow_mut().expire(Instant::now(), |link, idle| {
                (!idle_timeout.is_zero() && idle >= idle_timeout) || self.unwanted(&slot, link)
            });
            for mut link in gone {
                let closed_by_server = link.stirred() && !link.calm();
                if closed_by_server {
                    self.node_counters(link.key.node, |node| node.broken.add(1));
                    self.suspect(link.key.node, link.suspicion(), "an idle connection was closed");
                }
                self.retire(&slot, link);
            }
            self.replenish(&slot);
            if slot.pool.borrow().is_empty() && slot.listening.get() == 0 {
                self.pools.borrow_mut().remove(&slot.key);
                self.pools_recent.borrow_mut().clear();
            }
        }
    }

    /// Whether a backend logged in before logins changed, and who logged in at `since` did so afterwards.
    fn logged_in_too_early(&self, link: &Link, since: Moment) -> bool {
        let changed = self.logins_changed.get();
        link.opened < changed && changed <= since
    }

    /// Whether the first in line must not get this backend, because it logged in before logins changed.
    pub(super) fn too_early_for_the_next(&self, slot: &Slot, link: &Link) -> bool {
        slot.pool.borrow().first_waiting().is_some_and(|first| self.logged_in_too_early(link, first.since))
    }

    /// Closes the idle backends of a pool that this is true of.
    fn close_idle(self: &Rc<Self>, slot: &Rc<Slot>, is: impl Fn(&Link) -> bool) {
        let gone = slot.pool.borrow_mut().expire(self.ring.now(), |link, _| is(link));
        for link in gone {
            self.retire(slot, link);
        }
    }

    /// Closes all idle backends of a database, since a server refuses to drop, rename or copy one that anybody is
    /// connected to.
    pub(super) fn vacate(self: &Rc<Self>, database: &str) {
        let pools = self.pools.borrow();
        let slots: Vec<_> = pools.values().filter(|slot| *slot.key.database == *database).cloned().collect();
        drop(pools);
        for slot in slots {
            self.close_idle(&slot, |_| true);
        }
    }

    /// Closes all idle backends.
    pub(super) fn pools_close(self: &Rc<Self>) {
        let slots: Vec<_> = self.pools.borrow().values().cloned().collect();
        for slot in slots {
            let gone = slot.pool.borrow_mut().expire(Instant::now(), |_, _| true);
            for link in gone {
                self.close(link);
                self.give_credit(&slot);
            }
        }
    }

    pub(super) fn pools_snapshot(&self) -> Vec<PoolSnapshot> {
        let now = Instant::now();
        self.pools
            .borrow()
            .values()
            .map(|slot| {
                let pool = slot.pool.borrow();
                let counts = pool.counts();
                PoolSnapshot {
                    key: (*slot.key).clone(),
                    mode: slot.mode.get(),
                    size: slot.size.get(),
                    idle: counts.idle as u32,
                    leased: counts.leased as u32,
                    connecting: counts.connecting as u32,
                    resetting: counts.resetting as u32,
                    listening: slot.listening.get(),
                    waiting: counts.waiting as u32,
                    waiting_longest: pool.waiting_longest(now).as_micros() as u64,
                }
            })
            .collect()
    }
}

/// A place in line, given up when the one who waits goes away: with it goes whatever was granted meanwhile.
struct Place {
    shard: Rc<Shard>,
    slot: Rc<Slot>,
    waiter: Rc<Waiter>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (shard, slot) = (&self.shard, &self.slot);
        slot.pool.borrow_mut().leave(|waiter| Rc::ptr_eq(waiter, &self.waiter));
        if let Some(Grant::Link(link)) = self.waiter.grant.borrow_mut().take() {
            shard.settle(slot, |pool, now| pool.checkin(link, now));
        }
    }
}

/// What a client is told that has to make room for others.
fn overflowed() -> Report {
    Report::error(
        Sqlstate::CANNOT_CONNECT_NOW,
        "too many transactions wait because there is no node for them",
    )
    .hint(
        "Nothing was begun: it may be sent again. The limits are failover.hold_max and failover.hold_bytes.",
    )
}

/// What a client is told when the node does not let us in on its behalf.
pub(super) fn login_report(error: &LoginError, node: NodeId, user: &str) -> Report {
    match error {
        // The server's own words and code.
        LoginError::Refused(body) => Report::of(ErrorFields::new(body)),
        error => Report::error(
            error.sqlstate().unwrap_or(Sqlstate::CONNECTION_FAILURE),
            format!("cannot log in to node {node} as \"{user}\": {error}"),
        ),
    }
}

/// How often a client that finds no node looks again.
pub(super) const NODE_WAIT: Duration = Duration::from_millis(20);
/// How long after a failed opening the next one is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
