//! The sessions of one shard as others see them: whom a cancel request means, who has been idle for too long, who has to
//! leave. Each session's task looks at its own seat when it is woken.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use rustc_hash::FxHashMap;
use subtle::ConstantTimeEq;

use crate::backend::BackendKey;
use crate::ring::{Address, Ring};
use crate::topology::NodeId;
use crate::wire::backend::Report;

use super::pins::Pinned;

/// One session's seat.
pub(super) struct Seat {
    pub id: u64,
    pub process_id: u32,
    secret: Vec<u8>,
    /// Whom to cancel: the backend that works for the session.
    pub target: RefCell<Option<Rc<Target>>>,
    /// Whether a cancel came while it waited for a backend.
    pub cancelled: Cell<bool>,
    /// Why it has to leave, once there is a reason.
    leave: RefCell<Option<Box<Report>>>,
    waker: RefCell<Option<Waker>>,
    /// When the client last sent anything, or was last answered.
    pub heard: Cell<Instant>,
    /// True exactly when it waits for its client, owing it nothing.
    pub idle: Cell<bool>,
    /// True exactly when its login is finished.
    pub admitted: Cell<bool>,
    /// True exactly when it waits for a backend.
    pub queued: Cell<bool>,
    /// Whether it has to leave the node it is at.
    pub cut: Cell<bool>,
    /// While the gate is closed: true exactly when it is in the middle of nothing.
    pub resting: Cell<bool>,
    /// Why it keeps its backend, if it does.
    pub pinned: RefCell<Option<Box<Pinned>>>,
}

/// A backend at work.
pub(super) struct Target {
    pub node: NodeId,
    /// Whether the node was the primary when a session took it last.
    pub primary: Cell<bool>,
    /// Where it was opened to.
    pub address: Address,
    pub key: BackendKey,
    /// Cancel requests under way that mean whoever has it now.
    pub cancels: Cell<u32>,
}

impl Seat {
    /// Called by the session's task whenever it goes to wait.
    pub fn watch(&self, waker: &Waker) {
        let mut present = self.waker.borrow_mut();
        match &*present {
            Some(known) if known.will_wake(waker) => {}
            _ => *present = Some(waker.clone()),
        }
    }

    /// Wakes the session's task.
    pub fn wake(&self, ring: &Ring) {
        if let Some(waker) = &*self.waker.borrow() {
            ring.wake_by_ref(waker);
        }
    }

    /// Tells the session to leave, with these words for its client.
    pub fn dismiss(&self, ring: &Ring, report: Report) {
        self.leave.borrow_mut().get_or_insert_with(|| Box::new(report));
        self.wake(ring);
    }

    /// The words of whoever told it to leave.
    pub fn dismissed(&self) -> Option<Report> {
        self.leave.borrow().as_deref().cloned()
    }

    /// The node it is at, and whether that was the primary when it came.
    pub fn node(&self) -> Option<(NodeId, bool)> {
        self.target.borrow().as_ref().map(|target| (target.node, target.primary.get()))
    }

    pub fn must_leave(&self) -> bool {
        self.leave.borrow().is_some()
    }
}

/// All seats of a shard.
#[derive(Default)]
pub(super) struct Seats {
    by_id: RefCell<FxHashMap<u64, Rc<Seat>>>,
    by_process_id: RefCell<FxHashMap<u32, Rc<Seat>>>,
}

impl Seats {
    /// A seat for a session. The process id, `preferred` if that can be, is free within the shard; the secret tells shards
    /// apart.
    pub fn take(&self, id: u64, preferred: u32, process_id: impl Fn() -> u32, secret: Vec<u8>) -> Rc<Seat> {
        let mut by_process_id = self.by_process_id.borrow_mut();
        let mut candidate = preferred;
        while candidate == 0 || by_process_id.contains_key(&candidate) {
            candidate = process_id();
        }
        let seat = Rc::new(Seat {
            id,
            process_id: candidate,
            secret,
            target: RefCell::default(),
            cancelled: Cell::default(),
            leave: RefCell::default(),
            waker: RefCell::default(),
            heard: Cell::new(Instant::now()),
            idle: Cell::default(),
            admitted: Cell::default(),
            queued: Cell::default(),
            cut: Cell::default(),
            resting: Cell::default(),
            pinned: RefCell::default(),
        });
        by_process_id.insert(candidate, seat.clone());
        self.by_id.borrow_mut().insert(id, seat.clone());
        seat
    }

    pub fn give_up(&self, seat: &Seat) {
        self.by_id.borrow_mut().remove(&seat.id);
        self.by_process_id.borrow_mut().remove(&seat.process_id);
    }

    /// The session that a cancel request means. Secrets are compared in constant time.
    pub fn meant_by(&self, process_id: u32, secret: &[u8]) -> Option<Rc<Seat>> {
        let by_process_id = self.by_process_id.borrow();
        let seat = by_process_id.get(&process_id)?;
        bool::from(seat.secret.as_slice().ct_eq(secret)).then(|| seat.clone())
    }

    /// All of them, at this moment.
    pub fn all(&self) -> Vec<Rc<Seat>> {
        self.by_id.borrow().values().cloned().collect()
    }
}

impl Seat {
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}
