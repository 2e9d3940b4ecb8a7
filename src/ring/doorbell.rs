//! How other threads wake a shard: an eventfd that its ring keeps reading. The messages themselves lie in a lock-free
//! queue beside it; the bell only says that there are some.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;

use io_uring::{opcode, types};

use super::{Inner, Kind, Ring, Tag};
use crate::rung::Rung;

/// Wakes one shard from any thread. Ringing twice before it was heard costs one system call, not two.
#[derive(Clone)]
pub struct Doorbell {
    shared: Arc<Shared>,
}

struct Shared {
    event: OwnedFd,
    rung: Rung,
}

impl Doorbell {
    /// # Errors
    ///
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Doorbell> {
        // SAFETY: eventfd takes no pointers; a descriptor it returns is ours alone.
        let event = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Doorbell { shared: Arc::new(Shared { event, rung: Rung::default() }) })
    }

    /// Wakes the shard. What was queued before the call is seen by it.
    pub fn ring(&self) {
        if self.shared.rung.ring() {
            let one = 1u64.to_ne_bytes();
            // SAFETY: writes 8 bytes from a live array. It cannot block: the counter holds at most one per reading.
            unsafe { libc::write(self.shared.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

/// The ring's side of the doorbell.
pub(super) struct Bell {
    doorbell: Doorbell,
    /// Where the kernel writes the counter; boxed so that it stays where it is.
    value: Box<u64>,
    waker: Option<Waker>,
    /// True exactly when the bell rang and nobody looked yet.
    ringing: bool,
}

impl Bell {
    pub(super) fn new(doorbell: Doorbell) -> Bell {
        Bell { doorbell, value: Box::new(0), waker: None, ringing: false }
    }
}

impl Ring {
    /// Waits until another thread rings. Look into the queue afterwards: bells are not counted.
    pub async fn rung(&self) {
        std::future::poll_fn(|context| {
            let mut inner = self.inner.borrow_mut();
            if std::mem::take(&mut inner.bell.ringing) {
                std::task::Poll::Ready(())
            } else {
                inner.bell.waker = Some(context.waker().clone());
                std::task::Poll::Pending
            }
        })
        .await
    }
}

impl Inner {
    pub(super) fn bell_arm(&mut self) {
        let entry = opcode::Read::new(
            types::Fd(self.bell.doorbell.shared.event.as_raw_fd()),
            (&raw mut *self.bell.value).cast(),
            size_of::<u64>() as u32,
        )
        .build()
        .user_data(Tag { kind: Kind::Bell, generation: 0, slot: 0 }.pack());
        // SAFETY: the value is boxed and lives as long as the ring, which is dropped before it.
        unsafe { self.push(entry) }
    }

    pub(super) fn bell_rang(&mut self) {
        // Before the queue is looked into: a message queued from here on rings again.
        self.bell.doorbell.shared.rung.heard();
        self.bell.ringing = true;
        if let Some(waker) = self.bell.waker.take() {
            self.woken += 1;
            waker.wake();
        }
        self.bell_arm();
    }
}
