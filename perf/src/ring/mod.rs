//! One io_uring for one thread: accepting, connecting, receiving into buffers shared with the kernel, sending from where
//! the bytes lie. Under the canned backend, the bare relay and the load; independent of pgweir's own ring, because it is
//! what that is measured against. `unsafe` code lives here.
//!
//! ```text
//! loop {
//!     ring.turn(wait)                      submit what is queued, wait for a completion      (1 system call)
//!     while let Some(event) = ring.next()  what happened; queue what is to be sent
//! }
//! ```
//!
//! * [`buffers`]: the receive buffers; * [`socket`]: one connection's state; * [`receive`] and [`send`]: its two
//!   directions; * [`setup`]: listening, pinning, descriptors.

#![allow(unsafe_code)]

mod buffers;
mod receive;
mod send;
mod setup;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use slab::Slab;
use socket2::{Domain, SockAddr, SockRef, Type};

pub use self::buffers::Buffer;
pub use self::setup::{Listeners, pin, raise_descriptors};

use self::buffers::Buffers;
use self::socket::Socket;

/// Names an open socket; given out again after [`Ring::close`].
pub type Key = usize;

/// What happened since the last turn.
pub enum Event {
    /// Somebody connected; [`Ring::adopt`] the descriptor.
    Accepted(OwnedFd),
    /// Accepting has ended: out of descriptors, mostly.
    AcceptFailed(io::Error),
    /// A [`Ring::connect`] has come through.
    Connected(Key),
    /// The peer sent something. The buffer must be given to [`Ring::read`] or [`Ring::send`].
    Received(Key, Buffer),
    /// A send is through; [`Ring::unsent`] tells what is left.
    Sent(Key),
    /// Nothing more will be received: the peer closed its side (`None`) or the connection is broken.
    Ended(Key, Option<io::Error>),
}

/// The ring. One per process: neither its buffers nor its sockets are given back before the process ends, so the kernel
/// can never use memory that is gone.
pub struct Ring {
    uring: IoUring,
    buffers: Buffers,
    sockets: ManuallyDrop<Slab<Socket>>,
    listeners: ManuallyDrop<Vec<OwnedFd>>,
    /// Sockets with bytes to send and no send in the kernel.
    dirty: Vec<Key>,
    /// Sockets that want to receive and have no receive in the kernel.
    idle: Vec<Key>,
    /// Completions taken from the kernel, the next one last.
    completions: Vec<(u64, i32, u32)>,
}

impl Ring {
    /// A ring for the calling thread, which must be the one that uses it.
    ///
    /// # Errors
    ///
    /// What io_uring_setup(2) says: `EPERM` where io_uring is not allowed, `EINVAL` before Linux 6.1.
    pub fn new() -> io::Result<Ring> {
        let mut uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS_MAX)
            .dontfork()
            .build(SUBMISSIONS_MAX)?;
        // Saves the look-up of the ring's descriptor in every call; not vital.
        let _ = uring.submitter().register_ring_fd();
        uring.submission().sync();
        // By default a wait may end 50 µs late, which is longer than a query takes.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let buffers = Buffers::register(&uring)?;
        Ok(Ring {
            uring,
            buffers,
            sockets: ManuallyDrop::default(),
            listeners: ManuallyDrop::default(),
            dirty: Vec::new(),
            idle: Vec::new(),
            completions: Vec::with_capacity(COMPLETIONS_PER_TURN_MAX),
        })
    }

    /// Accepts from a listening socket, from now on.
    pub fn listen(&mut self, listener: OwnedFd) {
        self.listeners.push(listener);
        self.accept(self.listeners.len() - 1);
    }

    /// Takes over a connected socket; nothing is received before [`receive`](Self::receive).
    pub fn adopt(&mut self, fd: OwnedFd) -> Key {
        // Fails on unix sockets, and means nothing there.
        let _ = SockRef::from(&fd).set_tcp_nodelay(true);
        self.sockets.insert(Socket::new(fd, None))
    }

    /// Starts to connect; [`Event::Connected`] or [`Event::Ended`] tells how it went.
    ///
    /// # Errors
    ///
    /// What socket(2) says.
    pub fn connect(&mut self, address: &SockAddr) -> io::Result<Key> {
        let raw = socket2::Socket::new(address.domain(), Type::STREAM, None)?;
        if address.domain() != Domain::UNIX {
            raw.set_tcp_nodelay(true)?;
        }
        let key = self.sockets.insert(Socket::new(raw.into(), Some(Box::new(address.clone()))));
        let socket = &self.sockets[key];
        let address = socket.connecting.as_ref().expect("set in the line above");
        let entry =
            opcode::Connect::new(Fd(socket.fd.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        // SAFETY: the address is boxed and stays in the slot until the completion; the slot stays until then too.
        unsafe { self.push(entry, Kind::Connect, key) };
        Ok(key)
    }

    /// Tells the peer that nothing more will be sent. What is queued must have been sent before.
    pub fn shutdown(&mut self, key: Key) {
        // Fails when the peer is gone already.
        let _ = SockRef::from(&self.sockets[key].fd).shutdown(std::net::Shutdown::Write);
    }

    /// Closes the socket; what was not sent is lost. No event of it comes any more.
    pub fn close(&mut self, key: Key) {
        self.unqueue(key);
        self.close_when_sent(key);
    }

    /// Closes the socket as soon as everything queued was sent. No event of it comes any more.
    pub fn close_when_sent(&mut self, key: Key) {
        let socket = &mut self.sockets[key];
        debug_assert!(!socket.closing, "closed once");
        socket.closing = true;
        socket.wanted = false;
        self.release(key);
    }

    /// How many sockets are open or closing.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Submits what is queued and waits for an event, at most `wait` (forever if `None`).
    ///
    /// # Errors
    ///
    /// What io_uring_enter(2) says; it is of no use to go on.
    pub fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        if !self.completions.is_empty() {
            return Ok(());
        }
        self.flush();
        self.arm();
        let ready = !self.uring.completion().is_empty();
        let result = match wait {
            Some(Duration::ZERO) => self.enter(),
            _ if ready => self.enter(),
            None => self.uring.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::from(limit);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match result {
            Err(error) if !passing(&error) => return Err(error),
            _ => {}
        }
        let queue = self.uring.completion();
        let taken = queue.take(COMPLETIONS_PER_TURN_MAX);
        self.completions.extend(taken.map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        self.completions.reverse();
        Ok(())
    }

    /// The next thing that happened. `None`: it is time for another turn.
    pub fn next(&mut self) -> Option<Event> {
        while let Some((tag, result, flags)) = self.completions.pop() {
            let key = tag as u32 as Key;
            let event = match Kind::of(tag) {
                Kind::Ignored => None,
                Kind::Accept => self.accepted(key, result, flags),
                Kind::Connect => self.connected(key, result),
                Kind::Receive => self.received(key, result, flags),
                Kind::Send => self.sent(key, result),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn accept(&mut self, index: usize) {
        let fd = Fd(self.listeners[index].as_raw_fd());
        let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: this form of accept names no memory.
        unsafe { self.push(entry, Kind::Accept, index) }
    }

    fn accepted(&mut self, index: usize, result: i32, flags: u32) -> Option<Event> {
        // SAFETY: a result that is not negative is a new descriptor, ours alone.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        // The client was gone before it was accepted.
        let gone = matches!(-result, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN);
        if !cqueue::more(flags) && (fd.is_some() || gone) {
            self.accept(index);
        }
        match fd {
            Some(fd) => Some(Event::Accepted(fd)),
            None if gone => None,
            None => Some(Event::AcceptFailed(io::Error::from_raw_os_error(-result))),
        }
    }

    fn connected(&mut self, key: Key, result: i32) -> Option<Event> {
        let socket = &mut self.sockets[key];
        socket.connecting = None;
        if socket.closing {
            self.release(key);
            return None;
        }
        if result < 0 {
            return self.end(key, Some(io::Error::from_raw_os_error(-result)));
        }
        Some(Event::Connected(key))
    }

    /// Notes that the connection is over. The end of the stream is told once, and so is a failure, even behind it.
    fn end(&mut self, key: Key, error: Option<io::Error>) -> Option<Event> {
        let socket = &mut self.sockets[key];
        let told = std::mem::replace(&mut socket.ended, true) && (error.is_none() || socket.broken);
        socket.broken |= error.is_some();
        (!told).then_some(Event::Ended(key, error))
    }

    /// Frees a closing socket once nothing of it is queued or in the kernel.
    fn release(&mut self, key: Key) {
        let socket = &mut self.sockets[key];
        if socket.connecting.is_some() || socket.receiving.in_kernel() || socket.out.in_kernel() {
            // Ends the receive, and a send whose bytes nobody wants any more.
            if !socket.shut && (socket.out.is_empty() || socket.broken) {
                socket.shut = true;
                let _ = SockRef::from(&socket.fd).shutdown(std::net::Shutdown::Both);
            }
        } else if socket.out.is_empty() || socket.broken {
            self.unqueue(key);
            self.sockets.remove(key);
        }
    }

    /// Submits and lets the kernel post completions, without waiting.
    fn enter(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let queued = self.uring.submission().len() as u32;
        // SAFETY: no argument structure is passed, and `queued` is the length of the submission queue.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
    }

    /// Queues one operation; a full queue is submitted first.
    ///
    /// # Safety
    ///
    /// The memory that the operation names must stay valid and unmoved until its completion was seen.
    unsafe fn push(&mut self, entry: Entry, kind: Kind, key: Key) {
        let entry = entry.user_data(kind.tag(key));
        // SAFETY: the caller's promise.
        while unsafe { self.uring.submission().push(&entry) }.is_err() {
            match self.uring.submit() {
                Err(error) if !passing(&error) => panic!("io_uring_enter: {error}"),
                _ => {}
            }
        }
    }
}

/// What a completion is for: the upper half of the 64 bits that an operation carries; the lower half is the key. A slot
/// is freed only after its last completion, so a key needs no generation.
#[derive(Clone, Copy)]
enum Kind {
    Ignored = 0,
    Accept = 1,
    Connect = 2,
    Receive = 3,
    Send = 4,
}

impl Kind {
    fn tag(self, key: Key) -> u64 {
        (self as u64) << 32 | key as u64
    }

    fn of(tag: u64) -> Kind {
        match tag >> 32 {
            1 => Kind::Accept,
            2 => Kind::Connect,
            3 => Kind::Receive,
            4 => Kind::Send,
            _ => Kind::Ignored,
        }
    }
}

/// Whether the loop just goes on: the time is up, a signal came, or completions must be taken first.
fn passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}

/// Entries of the submission queue.
const SUBMISSIONS_MAX: u32 = 1_024;
/// Entries of the completion queue; the kernel keeps what does not fit.
const COMPLETIONS_MAX: u32 = 8_192;
/// Completions handled before the answers to them are submitted.
const COMPLETIONS_PER_TURN_MAX: usize = 256;
