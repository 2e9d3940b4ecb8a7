//! Accepting connections: one multishot accept per listener and shard.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Poll, Waker};

use io_uring::{cqueue, opcode, types};
use socket2::SockRef;

use super::socket::tune;
use super::{Inner, Kind, Ring, Socket, Tag};

/// A bound, listening socket, before a ring takes it.
pub type ListenerSocket = OwnedFd;

pub(super) struct ListenerSlot {
    fd: OwnedFd,
    generation: u32,
    accepted: VecDeque<OwnedFd>,
    error: Option<i32>,
    armed: bool,
    closing: bool,
    waker: Option<Waker>,
}

/// One shard's end of a listening socket. Dropping it stops accepting.
pub struct Listener {
    ring: Ring,
    slot: u32,
}

impl Listener {
    /// Starts to listen for the ring. Connections accepted from here on are [tuned](Socket::tune).
    pub fn new(ring: &Ring, socket: ListenerSocket) -> Listener {
        tune(SockRef::from(&socket));
        let mut inner = ring.inner.borrow_mut();
        let generation = inner.next_generation();
        let slot = inner.listeners.insert(ListenerSlot {
            fd: socket,
            generation,
            accepted: VecDeque::new(),
            error: None,
            armed: false,
            closing: false,
            waker: None,
        }) as u32;
        Listener { ring: ring.clone(), slot }
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// What accept(2) says: `EMFILE` and the like pass; pause before the next call.
    pub async fn accept(&self) -> io::Result<Socket> {
        let fd = std::future::poll_fn(|context| {
            let mut inner = self.ring.inner.borrow_mut();
            let slot = &mut inner.listeners[self.slot as usize];
            if let Some(fd) = slot.accepted.pop_front() {
                return Poll::Ready(Ok(fd));
            }
            if let Some(errno) = slot.error.take() {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            slot.waker = Some(context.waker().clone());
            if !slot.armed {
                inner.listener_arm(self.slot);
            }
            Poll::Pending
        })
        .await?;
        Ok(Socket::new(&self.ring, fd))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.listeners[self.slot as usize];
        slot.accepted.clear();
        slot.waker = None;
        if slot.armed {
            slot.closing = true;
            let generation = slot.generation;
            inner.cancel(Tag { kind: Kind::Accept, generation, slot: self.slot });
        } else {
            inner.listeners.remove(self.slot as usize);
        }
    }
}

impl Inner {
    fn listener_arm(&mut self, index: u32) {
        let slot = &mut self.listeners[index as usize];
        slot.armed = true;
        let tag = Tag { kind: Kind::Accept, generation: slot.generation, slot: index };
        let entry = opcode::AcceptMulti::new(types::Fd(slot.fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(tag.pack());
        // SAFETY: a multishot accept names no memory.
        unsafe { self.push(entry) }
    }

    pub(super) fn listener_accepted(&mut self, tag: Tag, result: i32, flags: u32) {
        // SAFETY: a non-negative result of accept is a descriptor that is ours alone.
        let accepted = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(slot) = self.listeners.get_mut(tag.slot as usize) else { return };
        if slot.generation != tag.generation {
            return;
        }
        if !cqueue::more(flags) {
            slot.armed = false;
        }
        if slot.closing {
            if !slot.armed {
                self.listeners.remove(tag.slot as usize);
            }
            return;
        }
        match accepted {
            Some(fd) => slot.accepted.push_back(fd),
            // The client was gone before it was accepted: nothing to tell.
            None if matches!(-result, libc::ECONNABORTED | libc::EINTR | libc::EAGAIN) => {}
            None => slot.error = Some(-result),
        }
        if let Some(waker) = slot.waker.take() {
            self.woken += 1;
            waker.wake();
        }
    }
}
