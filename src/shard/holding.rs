//! Sessions that wait because no node takes what they ask: while there is no primary, or its gate is closed. Each looks again
//! when another picture is observed. They are bounded in time, count and bytes; when there are too many, those that have
//! waited longest are told so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::ring::Ring;

use super::Shard;

/// Those of one shard, longest first.
#[derive(Default)]
pub(super) struct Holding {
    held: RefCell<VecDeque<Rc<Held>>>,
    bytes: Cell<usize>,
}

/// One of them.
struct Held {
    bytes: usize,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// There is another picture.
    Released,
    /// It has to make room.
    Overflowed,
}

/// Why the wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// There may be a node now.
    Look,
    /// Others need the room.
    Overflowed,
    /// Something else happened to the session.
    Interrupted,
}

/// What one shard may hold.
#[derive(Clone, Copy, Debug)]
struct Room {
    count: usize,
    bytes: usize,
}

impl Holding {
    /// Everybody looks again.
    pub fn release(&self, ring: &Ring) {
        self.bytes.set(0);
        for held in self.held.take() {
            held.end(ring, State::Released);
        }
    }

    /// Puts somebody at the end of the line; those at its front go until there is room.
    fn enter(&self, ring: &Ring, bytes: usize, room: Room) -> Rc<Held> {
        let entered = Rc::new(Held { bytes, state: Cell::new(State::Waiting), waker: RefCell::default() });
        let mut held = self.held.borrow_mut();
        held.push_back(entered.clone());
        self.bytes.set(self.bytes.get() + bytes);
        while held.len() > room.count || (self.bytes.get() > room.bytes && held.len() > 1) {
            let Some(oldest) = held.pop_front() else { break };
            self.bytes.set(self.bytes.get() - oldest.bytes);
            oldest.end(ring, State::Overflowed);
        }
        entered
    }

    fn leave(&self, left: &Rc<Held>) {
        let mut held = self.held.borrow_mut();
        let at = held.iter().position(|held| Rc::ptr_eq(held, left));
        if at.and_then(|at| held.remove(at)).is_some() {
            self.bytes.set(self.bytes.get() - left.bytes);
        }
    }
}

impl Held {
    fn end(&self, ring: &Ring, state: State) {
        self.state.set(state);
        if let Some(waker) = self.waker.borrow_mut().take() {
            ring.wake(waker);
        }
    }
}

impl Shard {
    /// Holds a session that has sent so many `bytes` until there may be a node for it, but not beyond `deadline`.
    /// `interrupted`: whether it does not wait any longer, for reasons of its own.
    pub(super) async fn hold(
        &self,
        bytes: usize,
        deadline: Instant,
        mut interrupted: impl FnMut(&Waker) -> bool,
    ) -> Wait {
        let counters = self.counters();
        let room = {
            let failover = &self.policy.borrow().config.failover;
            let share = |whole: usize| whole.div_ceil(self.shared.shards.len());
            let bytes = usize::try_from(failover.hold_bytes).unwrap_or(usize::MAX);
            Room { count: share(failover.hold_max as usize), bytes: share(bytes) }
        };
        let place = Place { shard: self, held: self.holding.enter(&self.ring, bytes, room) };
        counters.holding.add(1);
        let wait = poll_fn(|context: &mut Context<'_>| {
            *place.held.waker.borrow_mut() = Some(context.waker().clone());
            match place.held.state.get() {
                State::Released => Poll::Ready(Wait::Look),
                State::Overflowed => Poll::Ready(Wait::Overflowed),
                State::Waiting if interrupted(context.waker()) => Poll::Ready(Wait::Interrupted),
                State::Waiting => Poll::Pending,
            }
        });
        // Who may be read changes without another picture, too.
        let waited = self.ring.deadline(deadline.min(Instant::now() + LOOK_AGAIN), wait).await;
        waited.unwrap_or(Wait::Look)
    }
}

/// A place in line, given up with the wait.
struct Place<'a> {
    shard: &'a Shard,
    held: Rc<Held>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shard.holding.leave(&self.held);
        self.shard.counters().holding.sub(1);
    }
}

/// How often a session that finds no node looks again although nothing is said to have changed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
