//! Working by another picture. Control promotes nobody before each shard has acknowledged a picture without a primary: by
//! then nothing of this shard runs any more where it could still write.
//!
//! ```text
//!            sessions on a node that must be left        none left
//!  observe ─────────────────────────────────────▶ cut ─────────────▶ acknowledge
//!     │      new work goes by the new picture                             ▲
//!     └── the gate is closed ──▶ wait until no transaction runs ──▶ drained
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::door::ToControl;
use crate::topology::{Epoch, Gate, Moment, Node, NodeId, NodeState, Topology};

use super::Shard;
use super::relay::Relay;
use super::seats::Seat;

/// Where a shard stands with the picture it observed last.
#[derive(Default)]
pub(super) struct Observing {
    /// Sessions that have not yet left the node they must leave.
    cutting: Cell<usize>,
    /// Whether control is being told something, again and again until its queue has room.
    telling: Cell<bool>,
    /// True exactly when the gate is closed: sessions say whether they are at rest.
    gated: Cell<bool>,
    /// Whether transactions on the primary are being waited for.
    draining: Cell<bool>,
    /// The last epoch that control was told of, as acknowledged and as drained.
    acknowledged: Cell<Epoch>,
    drained: Cell<Epoch>,
    /// When it was last passed on to a client that something was written.
    wrote: Cell<Moment>,
}

impl Observing {
    /// Whether new transactions wait, also those of sessions that keep their backend.
    pub fn gated(&self) -> bool {
        self.gated.get()
    }

    /// A client was told that something was written.
    pub fn wrote(&self, at: Moment) {
        self.wrote.set(at);
    }
}

impl Shard {
    /// Works by this picture from now on.
    pub(super) fn observe(self: &Rc<Self>, topology: Arc<Topology>) {
        self.counters().epoch.set(topology.epoch.0);
        let gated = topology.gate == Gate::Closed;
        let before = self.topology.replace(topology.clone());
        self.suspects.set(0);
        if before.primary.is_some() && before.primary != topology.primary {
            // Another server may report otherwise.
            self.logins.borrow_mut().clear();
        }
        let seats = self.seats.all();
        let left = |seat: &Seat| seat.node().filter(|(node, primary)| must_leave(&topology, *node, *primary));
        for seat in seats.iter().filter(|seat| left(seat).is_some()) {
            if !seat.cut.replace(true) {
                self.observing.cutting.set(self.observing.cutting.get() + 1);
            }
            seat.wake(&self.ring);
        }
        if self.observing.gated.replace(gated) != gated {
            // Those that keep their backend stop at the end of their transaction, or go on.
            for seat in seats.iter().filter(|seat| seat.node().is_some()) {
                seat.resting.set(false);
                seat.wake(&self.ring);
            }
        }
        self.hubs.borrow().values().for_each(|hub| hub.wake());
        let arrived = |id: usize| {
            let usable = |topology: &Topology| topology.nodes.get(id).is_some_and(Node::usable);
            usable(&topology) && !usable(&before)
        };
        let moved = topology.primary.is_some() && topology.primary != before.primary;
        if moved || (0..topology.nodes.len()).any(arrived) {
            self.pacing.begin(Instant::now());
        }
        self.reroute_waiters(before.primary);
        self.holding.release(&self.ring);
        self.pools_upkeep();
        if gated {
            self.drain_primary();
        }
        if self.observing.cutting.get() == 0 {
            self.tell_observed();
        }
    }

    /// A session has left the node it had to leave.
    pub(super) fn was_cut(self: &Rc<Self>) {
        let left = self.observing.cutting.get().saturating_sub(1);
        self.observing.cutting.set(left);
        if left == 0 {
            self.tell_observed();
        }
    }

    /// Waits until no transaction runs on the primary, for as long as the gate is closed.
    fn drain_primary(self: &Rc<Self>) {
        if self.observing.draining.replace(true) {
            return;
        }
        let shard = self.clone();
        self.ring.spawn(async move {
            while shard.observing.gated() && shard.busy_on_primary() {
                shard.ring.sleep_until(Instant::now() + DRAIN_LOOK).await;
            }
            shard.observing.draining.set(false);
            shard.tell_observed();
        });
    }

    /// Whether any session is in the middle of something on the primary. What was sent before the gate was closed counts.
    fn busy_on_primary(&self) -> bool {
        let primary = self.topology.borrow().primary;
        let seats = self.seats.all();
        seats
            .iter()
            .any(|seat| seat.node().is_some_and(|(node, _)| Some(node) == primary) && !seat.resting.get())
    }

    /// Tells control how far the shard is with the picture; again while control's queue is full.
    fn tell_observed(self: &Rc<Self>) {
        if self.try_tell_observed() || self.observing.telling.replace(true) {
            return;
        }
        let shard = self.clone();
        self.ring.spawn(async move {
            while !shard.try_tell_observed() {
                shard.ring.sleep_until(Instant::now() + TELL_AGAIN).await;
            }
            shard.observing.telling.set(false);
        });
    }

    fn try_tell_observed(&self) -> bool {
        let observing = &self.observing;
        let epoch = self.topology.borrow().epoch;
        if observing.cutting.get() == 0 && observing.acknowledged.get() < epoch {
            let wrote = observing.wrote.get();
            if self.shared.control.send(ToControl::Acknowledged { shard: self.id, epoch, wrote }).is_err() {
                return false;
            }
            observing.acknowledged.set(epoch);
        }
        if observing.gated() && !observing.draining.get() && observing.drained.get() < epoch {
            if self.shared.control.send(ToControl::Drained { shard: self.id, epoch }).is_err() {
                return false;
            }
            observing.drained.set(epoch);
        }
        true
    }
}

/// Whether a session has to leave its node: it may not be used, or was the primary when the session came, and is not now.
fn must_leave(topology: &Topology, node: NodeId, primary: bool) -> bool {
    let down = topology.node(node).is_none_or(|node| node.state == NodeState::Down);
    down || (primary && topology.primary != Some(node))
}

impl Relay {
    /// Leaves the node, if the picture says so: what is under way there is lost. What has arrived from it is still true.
    pub(super) fn leave_if_cut(&mut self) {
        if !self.seat.cut.get() {
            return;
        }
        self.downstream();
        let leave = self
            .seat
            .node()
            .is_some_and(|(node, primary)| must_leave(&self.shard.topology.borrow(), node, primary));
        if leave {
            self.lost("it is not used any more");
        }
        if self.seat.cut.replace(false) {
            self.shard.was_cut();
        }
    }

    /// Whether the next transaction of a session that keeps its backend has to wait.
    pub(super) fn at_closed_gate(&self) -> bool {
        self.shard.observing.gated()
            && !self.on_replica
            && self.link.as_ref().is_some_and(|link| link.backend.quiet())
            && self.outgoing.passing == 0
    }
}

/// How often a shard looks whether the last transaction on the primary has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

/// How soon control is told again when its queue was full.
const TELL_AGAIN: Duration = Duration::from_millis(1);
