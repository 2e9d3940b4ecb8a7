//! A connected stream socket on the ring.
//!
//! ```text
//!              connect ok            peer closed, error
//! connecting ─────────────▶ open ─────────────────────▶ ended     received chunks can still be read
//!      │                      │                           │
//!      └──────── drop ────────┴──────────── drop ─────────┘
//!                             ▼
//!                          closing    the kernel may still hold a buffer of ours: the slot lives until every
//!                             │       operation has completed, and only then is the descriptor closed
//!                             ▼
//!                           (gone)
//! ```
//!
//! Receiving is one multishot operation, as long as little comes at a time. One such operation can take every free buffer
//! in a single pass, so when more than [`BULK_MIN`] came at once it is replaced by operations of one buffer each,
//! until the stream is thin again. Nothing is armed while [`SOCKET_RECEIVED_MAX`] bytes lie unread, until half of them
//! were taken: so a slow reader stops its peer through TCP, and holds a bounded number of bytes here. Sends are collected during a turn and
//! leave in one operation at its end, straight from the buffers they were received in.

use std::cell::{Cell, Ref};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::{io, mem, ptr};

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use smallvec::SmallVec;
use socket2::{Domain, SockAddr, SockRef, Type};

use crate::limits::{RECV_BUFFER_SIZE, SOCKET_RECEIVED_MAX, SOCKET_UNSENT_MAX};

use super::buffers::{BUFFER_GROUP, Buffers, Chunk};
use super::sockets::RestingSlot;
use super::{Inner, Kind, Ring, Tag};

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Why a socket will deliver no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed its side.
    Eof,
    /// The connection broke, with this errno.
    Broken(i32),
}

/// A connected stream. Dropping it closes it; what was not sent by then is lost, see [`flushed`](Self::flushed).
pub struct Socket {
    pub(super) ring: Ring,
    pub(super) slot: u32,
}

pub(super) struct SocketSlot {
    fd: OwnedFd,
    pub(super) generation: u32,
    waker: Option<Waker>,
    /// Whether the watcher waits for bytes to leave.
    sending_watched: Cell<bool>,
    recv: Recv,
    /// Whether so much comes that each receive takes one buffer only.
    bulk: bool,
    received: VecDeque<Chunk>,
    received_bytes: usize,
    end: Option<End>,
    /// The result of connecting, once known: 0 or an errno.
    connected: Option<i32>,
    /// Whether a connect, whose address the box below holds, is in the kernel.
    connecting: Option<Box<SockAddr>>,
    send: Send,
    dirty: bool,
    /// True exactly when nothing more is to be received here: the descriptor is moving to another ring.
    detaching: bool,
    /// True exactly when the handle is gone and operations are still in the kernel.
    closing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recv {
    /// No receive is in the kernel.
    Off,
    Armed,
    /// Cancelled; the completion is still to come.
    Cancelled,
    /// Found no free buffer; in the ring's list of those to arm again.
    Parked,
}

/// What is on its way out of a socket, in order: `flight` is in the kernel, `queue` is not.
#[derive(Default)]
struct Send {
    queue: VecDeque<Piece>,
    /// Bytes of the queue's copied pieces, in order.
    copied: Vec<u8>,
    queued_bytes: usize,
    flight: SmallVec<[Chunk; 2]>,
    /// The bytes of a flight that was copied together; empty while the flight is made of chunks.
    flight_copied: Vec<u8>,
    flight_bytes: usize,
    flight_sent: usize,
    vectors: Option<Box<Vectors>>,
}

enum Piece {
    Chunk(Chunk),
    /// The next so many bytes of `copied`.
    Copied(u32),
}

struct Vectors {
    header: libc::msghdr,
    vectors: [libc::iovec; VECTORS_MAX],
}

impl Socket {
    /// Takes over a connected stream socket and starts to receive.
    pub fn new(ring: &Ring, fd: OwnedFd) -> Socket {
        let socket = Socket::register(ring, fd);
        ring.inner.borrow_mut().recv_arm(socket.slot);
        socket
    }

    fn register(ring: &Ring, fd: OwnedFd) -> Socket {
        let mut inner = ring.inner.borrow_mut();
        let generation = inner.next_generation();
        let slot = inner.sockets.insert(SocketSlot::new(fd, generation)) as u32;
        Socket { ring: ring.clone(), slot }
    }

    /// Connects. Bound it with [`Ring::deadline`]: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// What socket(2) and connect(2) say.
    pub async fn connect(ring: &Ring, address: &Address) -> io::Result<Socket> {
        let (domain, address) = match address {
            Address::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        };
        let raw = socket2::Socket::new(domain, Type::STREAM, None)?;
        let socket = Socket::register(ring, raw.into());
        ring.inner.borrow_mut().connect(socket.slot, address);
        poll_fn(|context| {
            let mut inner = ring.inner.borrow_mut();
            let slot = &mut inner.sockets[socket.slot as usize];
            match slot.connected {
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(0) => Poll::Ready(Ok(())),
                Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            }
        })
        .await?;
        ring.inner.borrow_mut().recv_arm(socket.slot);
        Ok(socket)
    }

    /// From now on `waker` is woken by what happens to this socket: received bytes, the end; and sent bytes, if they were
    /// too many or are waited for.
    pub fn watch(&self, waker: &Waker) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.sockets[self.slot as usize];
        match &mut slot.waker {
            Some(present) if present.will_wake(waker) => {}
            present => *present = Some(waker.clone()),
        }
    }

    /// The next received chunk.
    pub fn receive(&self) -> Option<Chunk> {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.sockets[self.slot as usize];
        let chunk = slot.received.pop_front()?;
        slot.received_bytes -= chunk.len();
        if slot.recv == Recv::Off && slot.end.is_none() && slot.received_bytes <= SOCKET_RECEIVED_MAX / 2 {
            inner.recv_arm(self.slot);
        }
        Some(chunk)
    }

    /// Puts back what was not used of the chunk received last.
    pub fn unreceive(&self, chunk: Chunk) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.sockets[self.slot as usize];
        slot.received_bytes += chunk.len();
        slot.received.push_front(chunk);
    }

    /// Whether received bytes wait to be taken.
    pub fn has_received(&self) -> bool {
        !self.slot().received.is_empty()
    }

    /// Whether and why nothing more will be received. Chunks received before may still wait.
    pub fn end(&self) -> Option<End> {
        self.slot().end
    }

    /// Queues a chunk to be sent, without copying it unless it is short.
    pub fn send(&self, chunk: Chunk) {
        if chunk.len() <= COPY_MAX {
            return self.send_copy(&chunk);
        }
        self.ring.inner.borrow_mut().send(self.slot, |send| {
            send.queued_bytes += chunk.len();
            let chunk = match send.queue.back_mut() {
                Some(Piece::Chunk(last)) => match last.join(chunk) {
                    Ok(()) => return,
                    Err(chunk) => chunk,
                },
                _ => chunk,
            };
            send.queue.push_back(Piece::Chunk(chunk));
        });
    }

    /// Queues a copy of `bytes` to be sent.
    pub fn send_copy(&self, bytes: &[u8]) {
        self.send_with(|out| out.extend_from_slice(bytes));
    }

    /// Queues what `write` appends to the vector it is given.
    pub fn send_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.ring.inner.borrow_mut();
        let buffers = inner.buffers.clone();
        inner.send(self.slot, |send| {
            if send.copied.capacity() == 0 {
                send.copied = buffers.spare_take();
            }
            let before = send.copied.len();
            write(&mut send.copied);
            let added = send.copied.len() - before;
            send.queued_bytes += added;
            match send.queue.back_mut() {
                Some(Piece::Copied(count)) => *count += added as u32,
                _ => send.queue.push_back(Piece::Copied(added as u32)),
            }
        });
    }

    /// Bytes queued or in the kernel's hands.
    pub fn unsent(&self) -> usize {
        self.slot().unsent()
    }

    /// Whether so much waits to be sent that nothing more should be queued; the watcher is woken when that changes.
    pub fn congested(&self) -> bool {
        let slot = self.slot();
        let congested = slot.unsent() >= SOCKET_UNSENT_MAX;
        if congested {
            slot.sending_watched.set(true);
        }
        congested
    }

    /// Takes the descriptor out of this ring, for another one. `None` when something was received, is being sent, or the
    /// connection ended meanwhile: then it is closed.
    pub async fn detach(self) -> Option<OwnedFd> {
        self.ring.inner.borrow_mut().recv_cancel(self.slot);
        poll_fn(|context| {
            self.watch(context.waker());
            match self.slot().recv {
                Recv::Off | Recv::Parked => Poll::Ready(()),
                Recv::Armed | Recv::Cancelled => Poll::Pending,
            }
        })
        .await;
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &inner.sockets[self.slot as usize];
        if !slot.received.is_empty()
            || slot.end.is_some()
            || slot.send.in_flight()
            || slot.send.queued_bytes > 0
        {
            return None;
        }
        let slot = inner.sockets.remove(self.slot as usize);
        drop(inner);
        // The slot is gone already: there is nothing left for Drop to do but to let go of the ring.
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, and never dropped; only its handle to the ring is.
        unsafe { ptr::drop_in_place(&raw mut this.ring) };
        Some(slot.fd)
    }

    /// Completes when everything queued was handed to the peer's side of the connection, or the connection is broken.
    pub async fn flushed(&self) {
        poll_fn(|context| {
            self.watch(context.waker());
            match self.unsent() == 0 || matches!(self.end(), Some(End::Broken(_))) {
                true => Poll::Ready(()),
                false => {
                    self.slot().sending_watched.set(true);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Tells the peer that nothing more will be sent.
    pub fn shutdown(&self) {
        let _ = SockRef::from(&*self.slot()).shutdown(std::net::Shutdown::Write);
    }

    /// Sends small messages at once (TCP only) and notices peers that vanished without a word.
    pub fn tune(&self) {
        tune(SockRef::from(&*self.slot()));
    }

    /// The peer's address; `None` for unix sockets and broken connections.
    pub fn peer(&self) -> Option<SocketAddr> {
        SockRef::from(&*self.slot()).peer_addr().ok().and_then(|address| address.as_socket())
    }

    /// Whether it is [tuned](Self::tune).
    #[cfg(test)]
    pub(super) fn tuned(&self) -> bool {
        let slot = self.slot();
        let socket = SockRef::from(&*slot);
        socket.tcp_nodelay().is_ok_and(|set| set)
            && socket.keepalive().is_ok_and(|set| set)
            && socket.tcp_keepalive_time().is_ok_and(|time| time == KEEPALIVE_TIME)
            && socket.tcp_keepalive_interval().is_ok_and(|interval| interval == KEEPALIVE_INTERVAL)
    }

    /// Whether each receive takes one buffer only.
    #[cfg(test)]
    pub(super) fn bulk(&self) -> bool {
        self.slot().bulk
    }

    /// The ring this socket belongs to.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    fn slot(&self) -> Ref<'_, SocketSlot> {
        Ref::map(self.ring.inner.borrow(), |inner| &inner.sockets[self.slot as usize])
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut inner = self.ring.inner.borrow_mut();
        let slot = &mut inner.sockets[self.slot as usize];
        slot.closing = true;
        slot.waker = None;
        slot.received.clear();
        slot.send.queue.clear();
        slot.send.copied = Vec::new();
        slot.send.queued_bytes = 0;
        let generation = slot.generation;
        let in_kernel = [
            (Kind::Recv, slot.recv == Recv::Armed),
            (Kind::Send, slot.send.in_flight()),
            (Kind::Connect, slot.connecting.is_some()),
        ];
        for (kind, _) in in_kernel.into_iter().filter(|(_, in_kernel)| *in_kernel) {
            inner.cancel(Tag { kind, generation, slot: self.slot });
        }
        inner.socket_release(self.slot);
    }
}

impl AsFd for SocketSlot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl SocketSlot {
    fn new(fd: OwnedFd, generation: u32) -> SocketSlot {
        SocketSlot {
            fd,
            generation,
            waker: None,
            sending_watched: Cell::new(false),
            recv: Recv::Off,
            bulk: false,
            received: VecDeque::new(),
            received_bytes: 0,
            end: None,
            connected: None,
            connecting: None,
            send: Send::default(),
            dirty: false,
            detaching: false,
            closing: false,
        }
    }

    /// Whether nothing is under way but a receive that lasts, and nothing waits to be taken.
    pub(super) fn is_quiet(&self) -> bool {
        self.recv == Recv::Armed
            && !self.bulk
            && self.received.is_empty()
            && self.end.is_none()
            && self.send.is_empty()
            && !self.dirty
            && self.connecting.is_none()
            && !self.detaching
            && !self.closing
    }

    /// What is kept of a quiet socket.
    pub(super) fn rest(self) -> (OwnedFd, u32) {
        (self.fd, self.generation)
    }

    /// As it was before its rest.
    pub(super) fn awake(resting: RestingSlot) -> SocketSlot {
        SocketSlot { recv: Recv::Armed, ..SocketSlot::new(resting.fd, resting.generation) }
    }

    fn unsent(&self) -> usize {
        self.send.queued_bytes + self.send.flight_bytes - self.send.flight_sent
    }

    fn wake(&self, woken: &mut u32) {
        if let Some(waker) = &self.waker {
            *woken += 1;
            waker.wake_by_ref();
        }
    }
}

impl Send {
    fn in_flight(&self) -> bool {
        self.flight_bytes > 0
    }

    fn is_empty(&self) -> bool {
        self.queued_bytes == 0 && !self.in_flight()
    }
}

impl Inner {
    fn send(&mut self, index: u32, queue: impl FnOnce(&mut Send)) {
        let slot = &mut self.sockets[index as usize];
        if matches!(slot.end, Some(End::Broken(_))) {
            return;
        }
        queue(&mut slot.send);
        if !slot.dirty && !slot.send.in_flight() {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Prepares a send for every socket that has something to send and none in flight.
    pub(super) fn sockets_flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            // A slot may have been closed, even reused, since it was listed.
            let Some(slot) = self.sockets.get_mut(index as usize) else { continue };
            if mem::take(&mut slot.dirty) && !slot.closing && !slot.send.in_flight() {
                self.flight_load(index);
            }
        }
    }

    /// Moves the queue into the flight and submits it.
    fn flight_load(&mut self, index: u32) {
        let low = self.buffers.low();
        let buffers = self.buffers.clone();
        let send = &mut self.sockets[index as usize].send;
        if send.queued_bytes == 0 {
            return;
        }
        let one_piece = send.queue.len() == 1;
        match send.queue.front() {
            Some(Piece::Copied(_)) if one_piece => {
                send.queue.clear();
                send.flight_copied = mem::take(&mut send.copied);
                send.flight_bytes = mem::take(&mut send.queued_bytes);
            }
            _ if send.queued_bytes <= GATHER_MAX && !one_piece => {
                // A short mixture: one copy is cheaper than gathering in the kernel.
                let mut together = buffers.spare_take();
                let mut copied = 0;
                for piece in send.queue.drain(..) {
                    match piece {
                        Piece::Chunk(chunk) => together.extend_from_slice(&chunk),
                        Piece::Copied(count) => {
                            together.extend_from_slice(&send.copied[copied..copied + count as usize]);
                            copied += count as usize;
                        }
                    }
                }
                buffers.spare_give(mem::take(&mut send.copied));
                send.flight_copied = together;
                send.flight_bytes = mem::take(&mut send.queued_bytes);
            }
            _ => {
                // The flight takes as many pieces as one operation can name; the rest stays queued.
                let mut copied = 0;
                while send.flight.len() < VECTORS_MAX
                    && let Some(piece) = send.queue.pop_front()
                {
                    let chunk = match piece {
                        Piece::Chunk(chunk) if low && chunk.in_ring() => chunk.to_heap(),
                        Piece::Chunk(chunk) => chunk,
                        Piece::Copied(count) => {
                            let bytes = send.copied[copied..copied + count as usize].to_vec();
                            copied += count as usize;
                            Chunk::from(bytes)
                        }
                    };
                    send.flight_bytes += chunk.len();
                    send.flight.push(chunk);
                }
                send.copied.drain(..copied);
                send.queued_bytes -= send.flight_bytes;
            }
        }
        send.flight_sent = 0;
        self.flight_submit(index);
    }

    /// Submits what of the flight was not sent yet.
    fn flight_submit(&mut self, index: u32) {
        let slot = &mut self.sockets[index as usize];
        let fd = types::Fd(slot.fd.as_raw_fd());
        let tag = Tag { kind: Kind::Send, generation: slot.generation, slot: index };
        let send = &mut slot.send;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let rest = match (send.flight.as_slice(), send.flight_copied.as_slice()) {
            ([], copied) => Some(&copied[send.flight_sent..]),
            ([chunk], _) => Some(&chunk[send.flight_sent..]),
            _ => None,
        };
        let entry = match rest {
            Some(rest) => opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(flags).build(),
            None => {
                // SAFETY: all-zero is a valid msghdr and a valid iovec (no pointers followed, no length).
                let vectors = send.vectors.get_or_insert_with(|| unsafe { Box::new(mem::zeroed()) });
                let mut skip = send.flight_sent;
                let mut count = 0;
                for chunk in &send.flight {
                    let part = chunk.get(skip..).unwrap_or_default();
                    skip = skip.saturating_sub(chunk.len());
                    if !part.is_empty() {
                        vectors.vectors[count] =
                            libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
                        count += 1;
                    }
                }
                vectors.header.msg_name = ptr::null_mut();
                vectors.header.msg_iov = vectors.vectors.as_mut_ptr();
                vectors.header.msg_iovlen = count as _;
                opcode::SendMsg::new(fd, &raw const vectors.header).flags(flags as u32).build()
            }
        };
        // SAFETY: the bytes lie in the flight, whose chunks are counted references and whose copied vector is not
        // touched while flying; the vectors are boxed. The slot keeps all of them until the completion, also while
        // closing (see `socket_release`).
        unsafe { self.push(entry.user_data(tag.pack())) }
    }

    pub(super) fn socket_sent(&mut self, tag: Tag, result: i32) {
        let Some(slot) = self.sockets.owner(tag) else { return };
        let send = &mut slot.send;
        if result > 0 {
            send.flight_sent += result as usize;
            if send.flight_sent < send.flight_bytes && !slot.closing {
                return self.flight_submit(tag.slot);
            }
        }
        let copied = mem::take(&mut send.flight_copied);
        send.flight.clear();
        send.flight_bytes = 0;
        send.flight_sent = 0;
        if result < 0 && !slot.closing {
            slot.end = Some(End::Broken(-result));
            slot.send.queue.clear();
            slot.send.copied.clear();
            slot.send.queued_bytes = 0;
        }
        let more = slot.send.queued_bytes > 0;
        let closing = slot.closing;
        if slot.send.queue.is_empty() {
            // An idle socket keeps no room for what it sent once.
            slot.send.queue = VecDeque::new();
            slot.send.vectors = None;
        }
        self.buffers.spare_give(copied);
        if closing {
            return self.socket_release(tag.slot);
        }
        if more {
            self.flight_load(tag.slot);
        }
        // A sent request or answer is of no interest by itself: to be woken for each would double the tasks' turns.
        let slot = &self.sockets[tag.slot as usize];
        if slot.sending_watched.take() || slot.end.is_some() {
            slot.wake(&mut self.woken);
        }
    }

    fn recv_arm(&mut self, index: u32) {
        let slot = &mut self.sockets[index as usize];
        debug_assert!(slot.recv == Recv::Off);
        slot.recv = Recv::Armed;
        let tag = Tag { kind: Kind::Recv, generation: slot.generation, slot: index };
        let fd = types::Fd(slot.fd.as_raw_fd());
        let entry = match slot.bulk {
            false => opcode::RecvMulti::new(fd, BUFFER_GROUP).build(),
            true => opcode::Recv::new(fd, ptr::null_mut(), RECV_BUFFER_SIZE as u32)
                .buf_group(BUFFER_GROUP)
                .build()
                .flags(Flags::BUFFER_SELECT),
        };
        // SAFETY: the memory is the buffer group's, which outlives the ring.
        unsafe { self.push(entry.user_data(tag.pack())) }
    }

    /// Ends receiving for good.
    fn recv_cancel(&mut self, index: u32) {
        let slot = &mut self.sockets[index as usize];
        slot.detaching = true;
        if slot.recv == Recv::Armed {
            slot.recv = Recv::Cancelled;
            let tag = Tag { kind: Kind::Recv, generation: slot.generation, slot: index };
            self.cancel(tag);
        }
    }

    /// Arms again the sockets that found no buffer, as many as there are free ones now.
    pub(super) fn sockets_unpark(&mut self) {
        for _ in 0..self.buffers.offered() {
            let Some(index) = self.parked.pop_front() else { return };
            let Some(slot) = self.sockets.get_mut(index as usize) else { continue };
            if slot.recv == Recv::Parked && !slot.closing && !slot.detaching {
                slot.recv = Recv::Off;
                self.recv_arm(index);
            }
        }
    }

    pub(super) fn socket_received(&mut self, tag: Tag, result: i32, flags: u32) {
        let length = result.max(0) as usize;
        // Taken whatever happens, so that it goes back; and put where it stays, without a stop on the stack.
        let take = |buffers: &Rc<Buffers>| buffers.take(length, flags);
        let Some(slot) = self.sockets.owner(tag) else { return drop(take(&self.buffers)) };
        if !cqueue::more(flags) {
            slot.recv = Recv::Off;
        }
        if slot.closing {
            drop(take(&self.buffers));
            return self.socket_release(tag.slot);
        }
        if result <= 0 {
            drop(take(&self.buffers));
        }
        match result {
            1.. => {
                if slot.bulk && length < BULK_MIN / 2 && !cqueue::sock_nonempty(flags) {
                    slot.bulk = false;
                }
                slot.received_bytes += length;
                match self.buffers.low() {
                    false => slot.received.extend(take(&self.buffers)),
                    true => slot.received.extend(take(&self.buffers).map(|chunk| chunk.to_heap())),
                }
            }
            0 => slot.end = slot.end.or(Some(End::Eof)),
            _ if result == -libc::ENOBUFS => {
                // A socket that has enough is armed again when some of it was taken; the others when buffers come back.
                if slot.received_bytes < SOCKET_RECEIVED_MAX && !slot.detaching {
                    slot.recv = Recv::Parked;
                    self.parked.push_back(tag.slot);
                }
                self.buffers.widen();
                return;
            }
            _ if result == -libc::ECANCELED => {}
            _ => slot.end = slot.end.or(Some(End::Broken(-result))),
        }
        let full = slot.received_bytes >= SOCKET_RECEIVED_MAX;
        let bulk = !slot.bulk && slot.received_bytes >= BULK_MIN;
        slot.bulk |= bulk;
        let wants = slot.end.is_none() && !full && !slot.detaching;
        let state = slot.recv;
        slot.wake(&mut self.woken);
        match state {
            Recv::Off if wants => self.recv_arm(tag.slot),
            Recv::Armed if full || bulk => {
                self.sockets[tag.slot as usize].recv = Recv::Cancelled;
                self.cancel(tag);
            }
            _ => {}
        }
    }

    fn connect(&mut self, index: u32, address: SockAddr) {
        let slot = &mut self.sockets[index as usize];
        let address = slot.connecting.insert(Box::new(address));
        let entry =
            opcode::Connect::new(types::Fd(slot.fd.as_raw_fd()), address.as_ptr().cast(), address.len())
                .build()
                .user_data(Tag { kind: Kind::Connect, generation: slot.generation, slot: index }.pack());
        // SAFETY: the address is boxed and kept in the slot until the completion.
        unsafe { self.push(entry) }
    }

    pub(super) fn socket_connected(&mut self, tag: Tag, result: i32) {
        let Some(slot) = self.sockets.owner(tag) else { return };
        slot.connecting = None;
        if slot.closing {
            return self.socket_release(tag.slot);
        }
        slot.connected = Some(-result);
        slot.wake(&mut self.woken);
    }

    /// Frees a closing socket's slot, and with it the descriptor, once no operation of it is in the kernel.
    fn socket_release(&mut self, index: u32) {
        let slot = &self.sockets[index as usize];
        let in_kernel = matches!(slot.recv, Recv::Armed | Recv::Cancelled)
            || slot.send.in_flight()
            || slot.connecting.is_some();
        if slot.closing && !in_kernel {
            self.sockets.remove(index as usize);
        }
    }
}

/// See [`Socket::tune`]. What a listener accepts is tuned as it is (Linux copies its options).
pub(super) fn tune(socket: SockRef<'_>) {
    // On unix sockets these fail, and mean nothing there.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(
        &socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL),
    );
}

/// Chunks up to this many bytes are copied together with their neighbours instead of being sent from where they are.
const COPY_MAX: usize = 512;
/// Mixtures of chunks up to this many bytes are copied together for sending.
const GATHER_MAX: usize = 4096;
/// Unread bytes (of one receive or of several) from which a socket receives a buffer at a time.
const BULK_MIN: usize = 32 * 1024;
/// Pieces one send can name.
const VECTORS_MAX: usize = 16;
/// How long a connection is silent before its peer is asked for a sign of life, and how often it is asked then.
const KEEPALIVE_TIME: std::time::Duration = std::time::Duration::from_secs(60);
const KEEPALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(15);
