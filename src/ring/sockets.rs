//! The sockets of a ring. One that nothing happens to for a while can be at rest: nobody waits for it, and of its slot only
//! the descriptor is kept, until the kernel reports something or its owner wants it back.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::{Index, IndexMut};
use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};

use slab::Slab;

use super::socket::{Socket, SocketSlot};
use super::{Inner, Ring, Tag};

/// See the module's text.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Slab<Entry>,
    /// Tokens of the sockets to whose rest something put an end, in that order.
    stirred: VecDeque<u32>,
    /// Who takes these.
    waker: Option<Waker>,
}

/// Exactly one of the two is there.
struct Entry {
    slot: Option<Box<SocketSlot>>,
    resting: Option<RestingSlot>,
}

/// What is kept of a socket at rest. Its receive is in the kernel, nothing else is.
pub(super) struct RestingSlot {
    pub fd: OwnedFd,
    pub generation: u32,
    token: u32,
}

impl Entry {
    /// Ends the rest, if it is at rest; answers the token.
    fn wake(&mut self) -> Option<u32> {
        let resting = self.resting.take()?;
        let token = resting.token;
        self.slot = Some(Box::new(SocketSlot::awake(resting)));
        Some(token)
    }
}

impl Sockets {
    pub fn insert(&mut self, slot: SocketSlot) -> usize {
        self.entries.insert(Entry { slot: Some(Box::new(slot)), resting: None })
    }

    pub fn remove(&mut self, index: usize) -> SocketSlot {
        let mut entry = self.entries.remove(index);
        entry.wake();
        *entry.slot.expect("every entry has one of the two")
    }

    /// A slot, unless it is at rest.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut SocketSlot> {
        self.entries.get_mut(index)?.slot.as_deref_mut()
    }

    /// The slot to whose operation something happened, unless that has a new owner. Its rest is over.
    pub fn owner(&mut self, tag: Tag) -> Option<&mut SocketSlot> {
        let entry = self.entries.get_mut(tag.slot as usize)?;
        if entry.resting.as_ref().is_some_and(|resting| resting.generation == tag.generation) {
            self.stirred.extend(entry.wake());
        }
        entry.slot.as_deref_mut().filter(|slot| slot.generation == tag.generation)
    }

    /// Open and closing ones, at rest or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// A socket that is not at rest.
impl Index<usize> for Sockets {
    type Output = SocketSlot;

    fn index(&self, index: usize) -> &SocketSlot {
        self.entries[index].slot.as_deref().expect("a socket at rest has no handle")
    }
}

impl IndexMut<usize> for Sockets {
    fn index_mut(&mut self, index: usize) -> &mut SocketSlot {
        self.entries[index].slot.as_deref_mut().expect("a socket at rest has no handle")
    }
}

/// A socket at rest. Dropping it closes it.
pub struct Resting {
    /// Taken when the rest is over.
    socket: Option<Socket>,
}

impl Socket {
    /// Lays the socket to rest. When something comes, or the connection ends, [`Ring::stirred`] answers `token`.
    ///
    /// # Errors
    ///
    /// Gives it back when it is not quiet: received bytes wait, something is being sent, or the connection has ended.
    pub fn rest(self, token: u32) -> Result<Resting, Socket> {
        let mut inner = self.ring.inner.borrow_mut();
        let entry = &mut inner.sockets.entries[self.slot as usize];
        let Some(slot) = entry.slot.take_if(|slot| slot.is_quiet()) else {
            drop(inner);
            return Err(self);
        };
        let (fd, generation) = slot.rest();
        entry.resting = Some(RestingSlot { fd, generation, token });
        drop(inner);
        Ok(Resting { socket: Some(self) })
    }
}

impl Resting {
    /// The socket again, with whatever has come meanwhile.
    pub fn resume(mut self) -> Socket {
        self.wake().expect("it is taken once")
    }

    fn wake(&mut self) -> Option<Socket> {
        let socket = self.socket.take()?;
        socket.ring.inner.borrow_mut().sockets.entries[socket.slot as usize].wake();
        Some(socket)
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        drop(self.wake());
    }
}

impl Ring {
    /// The token of the next socket whose rest was ended by something that happened to it, or by [`stir`](Self::stir).
    /// One task may wait for this.
    pub async fn stirred(&self) -> u32 {
        poll_fn(|context| {
            let mut inner = self.inner.borrow_mut();
            match inner.sockets.stirred.pop_front() {
                Some(token) => Poll::Ready(token),
                None => {
                    inner.sockets.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Has [`stirred`](Self::stirred) answer `token`.
    pub fn stir(&self, token: u32) {
        let mut inner = self.inner.borrow_mut();
        inner.sockets.stirred.push_back(token);
        inner.sockets_stirred();
    }
}

impl Inner {
    /// Wakes whoever takes the tokens of stirred sockets.
    pub(super) fn sockets_stirred(&mut self) {
        if !self.sockets.stirred.is_empty()
            && let Some(waker) = self.sockets.waker.take()
        {
            self.woken += 1;
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_is_small() {
        assert!(size_of::<Entry>() <= 24, "{}", size_of::<Entry>());
        assert!(size_of::<Resting>() <= 16, "{}", size_of::<Resting>());
    }
}
