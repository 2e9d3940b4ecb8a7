//! The io_uring data plane of one shard: sockets, timers and wake-ups from other threads, all through one ring and one
//! system call per turn. No other room names a submission entry, and `unsafe` code lives here.
//!
//! ```text
//! loop {                                                        Ring::run, a task of the shard's executor
//!     submit what is queued, wait for a completion or the next timer      (1 system call)
//!     hand each completion to its socket, wake that socket's task
//!     yield until every woken task has run
//! }
//! ```
//!
//! What wakes a task on a shard must come through here ([`Ring::wake`], [`Ring::spawn`], sockets, timers, the doorbell):
//! the ring counts wake-ups and only sleeps when there are none left, since the executor's own reactor does not run
//! while it sleeps.
//!
//! * [`buffers`]: the receive buffers shared with the kernel, and [`Chunk`], a counted view into them;
//! * [`socket`]: a connected stream: received chunks, queued sends, the end, closing; [`sockets`]: all of them, and those
//!   at rest;
//! * [`listener`]: accepting; [`timers`]: sleeping and deadlines; [`doorbell`]: being woken by other threads;
//! * [`support`]: whether this kernel lets us, and the sentence to say when it does not.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use slab::Slab;

use crate::limits::{COMPLETIONS_MAX, COMPLETIONS_PER_TURN_MAX, SUBMISSIONS_MAX};

use self::buffers::Buffers;
pub use self::buffers::Chunk;
use self::doorbell::Bell;
pub use self::doorbell::Doorbell;
use self::listener::ListenerSlot;
pub use self::listener::{Listener, ListenerSocket};
pub use self::socket::{Address, End, Socket};
pub use self::sockets::Resting;
use self::sockets::Sockets;
use self::timers::Timers;

mod buffers;
mod doorbell;
mod listener;
mod socket;
mod sockets;
pub mod support;
mod timers;

/// One shard's ring. Cloning gives another handle to the same ring; it never leaves its thread.
#[derive(Clone)]
pub struct Ring {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    // Dropped first: the kernel must let go of the buffers before they go.
    uring: IoUring,
    buffers: Rc<Buffers>,
    sockets: Sockets,
    listeners: Slab<ListenerSlot>,
    bell: Bell,
    timers: Timers,
    /// Sockets with bytes to send and no send in flight, to be prepared before the next submission.
    dirty: Vec<u32>,
    /// Sockets that want to receive and found no free buffer, who waited longest first.
    parked: VecDeque<u32>,
    /// Tasks woken since the executor last came round.
    woken: u32,
    /// Numbers operations' owners, so that a completion for a slot's former owner is recognised.
    generation: u32,
    /// How long to poll before sleeping.
    spin: Duration,
    stopped: bool,
    /// When the completions of this turn were taken.
    now: Instant,
    completions: Vec<(u64, i32, u32)>,
}

impl Ring {
    /// A ring for the calling thread, which must be the one that runs it. `doorbell` is rung by other threads.
    ///
    /// # Errors
    ///
    /// What the kernel says: `EPERM` when io_uring is forbidden, `EINVAL` when it is too old, `ENOMEM` when memory
    /// cannot be locked; [`support::explain`] says which and what to do.
    pub fn new(doorbell: Doorbell, spin: Duration) -> io::Result<Ring> {
        Ring::with(doorbell, spin, true)
    }

    fn with(doorbell: Doorbell, spin: Duration, incremental: bool) -> io::Result<Ring> {
        let (mut uring, buffers) = create(incremental)?;
        uring.submission().sync();
        let ring = Ring {
            inner: Rc::new(RefCell::new(Inner {
                uring,
                buffers,
                sockets: Sockets::default(),
                listeners: Slab::new(),
                bell: Bell::new(doorbell),
                timers: Timers::default(),
                dirty: Vec::new(),
                parked: VecDeque::new(),
                woken: 0,
                generation: 0,
                spin,
                stopped: false,
                now: Instant::now(),
                completions: Vec::with_capacity(COMPLETIONS_PER_TURN_MAX),
            })),
        };
        ring.inner.borrow_mut().bell_arm();
        Ok(ring)
    }

    /// The reactor: runs until [`stop`](Self::stop). Spawned once per shard.
    pub async fn run(&self) {
        while !self.inner.borrow().stopped {
            let woken = {
                let mut inner = self.inner.borrow_mut();
                inner.turn();
                inner.woken
            };
            if woken == 0 {
                continue;
            }
            // The executor runs tasks in the order they were woken: when we come round again, all woken before the
            // yield have run. Those that they woke stand behind us, so yield again until a round wakes nobody.
            while std::mem::take(&mut self.inner.borrow_mut().woken) > 0 {
                yield_once().await;
            }
        }
    }

    /// Lets [`run`](Self::run) return after its current turn.
    pub fn stop(&self) {
        self.inner.borrow_mut().stopped = true;
    }

    /// Starts a task on this shard.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.inner.borrow_mut().woken += 1;
        glommio::spawn_local(future).detach();
    }

    /// Wakes a task of this shard.
    pub fn wake(&self, waker: Waker) {
        self.inner.borrow_mut().woken += 1;
        waker.wake();
    }

    /// Wakes a task of this shard, keeping its waker.
    pub fn wake_by_ref(&self, waker: &Waker) {
        self.inner.borrow_mut().woken += 1;
        waker.wake_by_ref();
    }

    /// When this turn began: what is to be done was known by then. For whoever need not know the time more exactly, or
    /// asks too often to ask the system.
    pub fn now(&self) -> Instant {
        self.inner.borrow().now
    }

    /// Receive buffers that are free at the moment, of [`RECV_BUFFERS`](crate::limits::RECV_BUFFERS).
    pub fn buffers_free(&self) -> usize {
        self.inner.borrow().buffers.free()
    }

    /// Sockets that are open or closing.
    pub fn sockets(&self) -> usize {
        self.inner.borrow().sockets.len()
    }
}

impl Inner {
    /// One turn: prepare sends, submit, wait, hand out completions, fire timers.
    fn turn(&mut self) {
        self.sockets_flush();
        self.buffers.offer();
        self.sockets_unpark();
        let wait = self.timers.next().map(|at| at.saturating_duration_since(Instant::now()));
        self.submit_and_wait(wait);
        let mut completions = std::mem::take(&mut self.completions);
        {
            let mut queue = self.uring.completion();
            completions.extend(
                queue
                    .by_ref()
                    .take(COMPLETIONS_PER_TURN_MAX)
                    .map(|entry| (entry.user_data(), entry.result(), entry.flags())),
            );
        }
        for (tag, result, flags) in completions.drain(..) {
            self.complete(Tag::unpack(tag), result, flags);
        }
        self.completions = completions;
        self.sockets_stirred();
        self.now = Instant::now();
        while let Some(waker) = self.timers.expired(self.now) {
            self.woken += 1;
            waker.wake();
        }
    }

    /// Submits what is queued and waits for one completion, at most `wait` (forever if `None`).
    fn submit_and_wait(&mut self, wait: Option<Duration>) {
        let ready = !self.uring.completion().is_empty();
        if self.spin > Duration::ZERO
            && !ready
            && wait != Some(Duration::ZERO)
            && self.spin_for_completion(wait)
        {
            return;
        }
        let want = usize::from(!ready && wait != Some(Duration::ZERO));
        let result = match wait {
            Some(limit) if want == 1 => {
                let limit = Timespec::from(limit);
                let arguments = SubmitArgs::new().timespec(&limit);
                self.uring.submitter().submit_with_args(want, &arguments)
            }
            _ if want == 1 => self.uring.submit_and_wait(want),
            _ => self.enter_without_waiting(),
        };
        match result {
            Ok(_) => {}
            // The timer is due, a signal came, or the completion queue must be emptied first: all go on with the turn.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => panic!("io_uring_enter: {error}"),
        }
    }

    /// Polls for completions for the time set by `spin` before sleeping. True when there are some.
    fn spin_for_completion(&mut self, wait: Option<Duration>) -> bool {
        let until = Instant::now() + self.spin.min(wait.unwrap_or(self.spin));
        loop {
            if self.enter_without_waiting().is_err() {
                return false;
            }
            if !self.uring.completion().is_empty() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// Submits and lets the kernel post deferred completions, without waiting.
    fn enter_without_waiting(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let queued = self.uring.submission().len() as u32;
        // SAFETY: no argument structure is passed; `queued` is the length of our own submission queue.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
    }

    /// Queues one operation. When the queue is full it is submitted first.
    ///
    /// # Safety
    ///
    /// Whatever memory the operation names must stay valid and unmoved until its completion was seen.
    unsafe fn push(&mut self, entry: Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            match self.uring.submit() {
                Ok(_) => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(error) => panic!("io_uring_enter: {error}"),
            }
        }
    }

    /// Asks the kernel to end the operation with this tag; its completion still comes.
    fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.pack()).build().user_data(Tag::IGNORED.pack());
        // SAFETY: a cancel names no memory.
        unsafe { self.push(entry) }
    }

    /// Hands one completion to its owner.
    fn complete(&mut self, tag: Tag, result: i32, flags: u32) {
        match tag.kind {
            Kind::Recv => self.socket_received(tag, result, flags),
            Kind::Send => self.socket_sent(tag, result),
            Kind::Connect => self.socket_connected(tag, result),
            Kind::Accept => self.listener_accepted(tag, result, flags),
            Kind::Bell => self.bell_rang(),
            Kind::Ignored => {}
        }
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = (self.generation + 1) & GENERATION_MAX;
        self.generation
    }
}

/// What each ring is made of. The first is to be dropped before the second. `incremental`: whether its buffers are to be
/// filled incrementally if the kernel can.
fn create(incremental: bool) -> io::Result<(IoUring, Rc<Buffers>)> {
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(COMPLETIONS_MAX)
        .dontfork()
        .build(SUBMISSIONS_MAX)?;
    // Saves the look-up of the ring's descriptor in every enter. Not vital: old kernels go without.
    let _ = uring.submitter().register_ring_fd();
    let buffers = match Buffers::register(&uring, incremental) {
        // Before Linux 6.12.
        Err(error) if incremental && error.raw_os_error() == Some(libc::EINVAL) => {
            Buffers::register(&uring, false)?
        }
        registered => registered?,
    };
    Ok((uring, buffers))
}

/// What a completion is for: packed into the 64 bits that an operation carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    kind: Kind,
    /// Tells a slot's present owner from a former one; 24 bits.
    generation: u32,
    slot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Ignored = 0,
    Accept = 1,
    Bell = 2,
    Connect = 3,
    Recv = 4,
    Send = 5,
}

impl Tag {
    const IGNORED: Tag = Tag { kind: Kind::Ignored, generation: 0, slot: 0 };

    fn pack(self) -> u64 {
        (self.kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    fn unpack(packed: u64) -> Tag {
        let kind = match (packed >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Bell,
            3 => Kind::Connect,
            4 => Kind::Recv,
            5 => Kind::Send,
            _ => Kind::Ignored,
        };
        Tag { kind, generation: (packed >> 32) as u32 & GENERATION_MAX, slot: packed as u32 }
    }
}

/// Lets every task that was woken before run once.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

const GENERATION_MAX: u32 = 0x00ff_ffff;

#[cfg(test)]
mod tests;
