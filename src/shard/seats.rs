//! The sessions of one shard as others see them: whom a cancel request means, who has been idle for too long, who has to
//! leave. Each session's task looks at its own seat when it is woken; that of a session without a task, which is
//! [parked](super::parking), is started by it.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use rustc_hash::FxHashMap;
use subtle::ConstantTimeEq;

use crate::backend::BackendKey;
use crate::ring::{Address, Ring};
use crate::topology::NodeId;
use crate::wire::backend::Report;

use super::parking::Parked;
use super::pins::Pinned;

/// One session's seat.
pub(super) struct Seat {
    pub id: u64,
    pub process_id: u32,
    secret: CancelSecret,
    /// Whom to cancel: the backend that works for the session.
    target: Cell<Option<Rc<Target>>>,
    /// Whether a cancel came while it waited for a backend.
    pub cancelled: Cell<bool>,
    /// Why it has to leave, once there is a reason.
    leave: OnceCell<Box<Report>>,
    waker: Cell<Option<Waker>>,
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
    /// True exactly when it is to be parked as soon as that is possible.
    pub may_park: Cell<bool>,
    /// Whether it is in the list of those with a task.
    listed: Cell<bool>,
    /// The session itself, while it has no task.
    parked: Cell<Option<Box<Parked>>>,
}

/// What a cancel request must know.
pub(super) enum CancelSecret {
    /// All that clients can take before protocol 3.2.
    Short([u8; 4]),
    Long(Box<[u8]>),
}

impl CancelSecret {
    /// Bytes of random, so many.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub fn random(size: usize) -> Result<CancelSecret, getrandom::Error> {
        let mut short = [0; 4];
        if size <= short.len() {
            getrandom::fill(&mut short)?;
            return Ok(CancelSecret::Short(short));
        }
        let mut long = vec![0; size].into_boxed_slice();
        getrandom::fill(&mut long)?;
        Ok(CancelSecret::Long(long))
    }

    /// These bytes.
    pub fn of(bytes: &[u8]) -> CancelSecret {
        bytes.try_into().map_or_else(|_| CancelSecret::Long(bytes.into()), CancelSecret::Short)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            CancelSecret::Short(bytes) => bytes,
            CancelSecret::Long(bytes) => bytes,
        }
    }
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
        let present = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(present.unwrap_or_else(|| waker.clone())));
    }

    /// Wakes the session's task, or has it started.
    pub fn wake(&self, ring: &Ring) {
        if let Some(waker) = self.waker.take() {
            ring.wake_by_ref(&waker);
            self.waker.set(Some(waker));
        } else if self.is_parked() {
            ring.stir(self.process_id);
        }
    }

    /// Takes the session out of its task, which ends.
    pub fn park(&self, session: Box<Parked>) {
        self.waker.set(None);
        self.parked.set(Some(session));
        self.idle.set(true);
    }

    /// The session, if it is parked: it gets a task.
    pub fn unpark(&self) -> Option<Box<Parked>> {
        self.parked.take()
    }

    fn is_parked(&self) -> bool {
        let parked = self.parked.take();
        let is = parked.is_some();
        self.parked.set(parked);
        is
    }

    /// Whom to cancel from now on.
    pub fn aim(&self, target: Option<Rc<Target>>) {
        self.target.set(target);
    }

    /// The backend that works for the session, if one does.
    pub fn target(&self) -> Option<Rc<Target>> {
        let target = self.target.take();
        self.target.set(target.clone());
        target
    }

    /// Tells the session to leave, with these words for its client.
    pub fn dismiss(&self, ring: &Ring, report: Report) {
        self.leave.get_or_init(|| Box::new(report));
        self.wake(ring);
    }

    /// The words of whoever told it to leave.
    pub fn dismissed(&self) -> Option<Report> {
        self.leave.get().map(|report| (**report).clone())
    }

    /// The node it is at, and whether that was the primary when it came.
    pub fn node(&self) -> Option<(NodeId, bool)> {
        self.target().map(|target| (target.node, target.primary.get()))
    }

    pub fn must_leave(&self) -> bool {
        self.leave.get().is_some()
    }
}

/// All seats of a shard.
#[derive(Default)]
pub(super) struct Seats {
    by_process_id: RefCell<FxHashMap<u32, Rc<Seat>>>,
    /// Those with a task, and some that had one a moment ago.
    busy: RefCell<Vec<Rc<Seat>>>,
}

impl Seats {
    /// A seat for a session. The process id, `preferred` if that can be, is free within the shard; the secret tells shards
    /// apart.
    pub fn take(
        &self,
        id: u64,
        preferred: u32,
        process_id: impl Fn() -> u32,
        secret: CancelSecret,
    ) -> Rc<Seat> {
        let mut by_process_id = self.by_process_id.borrow_mut();
        let mut candidate = preferred;
        while candidate == 0 || by_process_id.contains_key(&candidate) {
            candidate = process_id();
        }
        let seat = Rc::new(Seat {
            id,
            process_id: candidate,
            secret,
            target: Cell::default(),
            cancelled: Cell::default(),
            leave: OnceCell::new(),
            waker: Cell::default(),
            heard: Cell::new(Instant::now()),
            idle: Cell::default(),
            admitted: Cell::default(),
            queued: Cell::default(),
            cut: Cell::default(),
            resting: Cell::default(),
            pinned: RefCell::default(),
            may_park: Cell::default(),
            listed: Cell::default(),
            parked: Cell::default(),
        });
        by_process_id.insert(candidate, seat.clone());
        seat
    }

    pub fn give_up(&self, seat: &Seat) {
        self.by_process_id.borrow_mut().remove(&seat.process_id);
    }

    /// The session with this process id.
    pub fn of(&self, process_id: u32) -> Option<Rc<Seat>> {
        self.by_process_id.borrow().get(&process_id).cloned()
    }

    /// The session that a cancel request means. Secrets are compared in constant time.
    pub fn meant_by(&self, process_id: u32, secret: &[u8]) -> Option<Rc<Seat>> {
        let seat = self.of(process_id)?;
        bool::from(seat.secret().ct_eq(secret)).then_some(seat)
    }

    /// All of them, at this moment.
    pub fn all(&self) -> Vec<Rc<Seat>> {
        self.by_process_id.borrow().values().cloned().collect()
    }

    /// A session got a task.
    pub fn busy(&self, seat: &Rc<Seat>) {
        if !seat.listed.replace(true) {
            self.busy.borrow_mut().push(seat.clone());
        }
    }

    /// Those with a task that have been doing nothing since `moment`.
    pub fn idle_since(&self, moment: Instant) -> Vec<Rc<Seat>> {
        let mut busy = self.busy.borrow_mut();
        busy.retain(|seat| {
            // Nobody but this list has a seat that was given up.
            let stays = !seat.is_parked() && Rc::strong_count(seat) > 1;
            seat.listed.set(stays);
            stays
        });
        let room = 2 * busy.len();
        busy.shrink_to(room);
        busy.iter().filter(|seat| seat.idle.get() && seat.heard.get() <= moment).cloned().collect()
    }
}

impl Seat {
    pub fn secret(&self) -> &[u8] {
        self.secret.bytes()
    }
}
