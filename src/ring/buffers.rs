//! The receive buffers of one ring and the chunks that share them.
//!
//! The kernel picks a buffer out of a ring shared with it (io_uring_register_buf_ring(3)) at the moment bytes arrive, so
//! an idle socket owns none. A [`Chunk`] is a counted reference to a part of such a buffer, or to bytes on the heap; the
//! last chunk of a buffer to be dropped frees it.
//!
//! Two things keep the bytes in the nearest cache, which decides what bulk results cost. The kernel fills one buffer after
//! the other up to its end (where it can: since Linux 6.12), so that small messages lie side by side. And it is offered
//! only some of the buffers, those used last: it takes them in the order it was given them, and would go through all the
//! memory in turn. Where some are not enough, twice as many are offered from then on, for a while.

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{io, slice};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue};

use crate::limits::{RECV_BUFFER_SIZE, RECV_BUFFERS, RECV_BUFFERS_LOW};

/// Bytes that were received or are to be sent: a view into a ring buffer or into the heap. Cloning counts a reference,
/// nothing is copied.
#[derive(Clone)]
pub struct Chunk {
    memory: Memory,
    start: u32,
    end: u32,
}

#[derive(Clone)]
enum Memory {
    Ring(Lease),
    Heap(Rc<Vec<u8>>),
    Static(&'static [u8]),
}

impl Chunk {
    /// The part `range` of this chunk, sharing its memory. Panics when out of bounds, like slicing.
    pub fn slice(&self, range: Range<usize>) -> Chunk {
        assert!(range.start <= range.end && range.end <= self.len());
        Chunk {
            memory: self.memory.clone(),
            start: self.start + range.start as u32,
            end: self.start + range.end as u32,
        }
    }

    /// Drops the first `count` bytes from the view.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len());
        self.start += count as u32;
    }

    /// Takes `next` into this view when it continues it in the same memory; otherwise gives it back.
    pub fn join(&mut self, next: Chunk) -> Result<(), Chunk> {
        let adjacent = self.end == next.start
            && match (&self.memory, &next.memory) {
                (Memory::Ring(a), Memory::Ring(b)) => a.id == b.id,
                (Memory::Heap(a), Memory::Heap(b)) => Rc::ptr_eq(a, b),
                _ => false,
            };
        if adjacent {
            self.end = next.end;
            Ok(())
        } else {
            Err(next)
        }
    }

    /// Whether the bytes lie in one of the ring's buffers.
    pub(super) fn in_ring(&self) -> bool {
        matches!(self.memory, Memory::Ring(_))
    }

    /// The same bytes on the heap, so that a ring buffer can go back.
    pub(super) fn to_heap(&self) -> Chunk {
        Chunk::from(self.to_vec())
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let range = self.start as usize..self.end as usize;
        match &self.memory {
            Memory::Ring(lease) => lease.bytes(range),
            Memory::Heap(bytes) => &bytes[range],
            Memory::Static(bytes) => &bytes[range],
        }
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Chunk {
        let end = u32::try_from(bytes.len()).expect("a chunk is smaller than 4 GB");
        Chunk { memory: Memory::Heap(Rc::new(bytes)), start: 0, end }
    }
}

impl From<&'static [u8]> for Chunk {
    fn from(bytes: &'static [u8]) -> Chunk {
        let end = u32::try_from(bytes.len()).expect("a chunk is smaller than 4 GB");
        Chunk { memory: Memory::Static(bytes), start: 0, end }
    }
}

/// The buffers of one ring, shared by its sockets and by every chunk that still points into them.
pub(super) struct Buffers {
    /// [`RECV_BUFFERS`] × [`RECV_BUFFER_SIZE`] bytes, page aligned.
    memory: NonNull<u8>,
    /// The entries shared with the kernel; the tail lies in the first one's reserved field.
    entries: NonNull<BufRingEntry>,
    /// Our copy of the tail: the number of buffers ever handed to the kernel, wrapping.
    tail: Cell<u16>,
    /// Whether the kernel fills a buffer up to its end before it takes the next.
    incremental: bool,
    states: Box<[State]>,
    /// The buffers that nobody has, the one used last first: [`State::next`] leads to the others.
    idle: Cell<Option<u16>>,
    idle_count: Cell<usize>,
    /// How many buffers the kernel has, and how many it is to have.
    offered: Cell<usize>,
    window: Cell<usize>,
    /// Turns since the window was last changed.
    turns: Cell<u32>,
    /// Spare vectors for bytes on their way out, so that sending does not allocate.
    spare: RefCell<Vec<Vec<u8>>>,
}

/// What is known of one buffer. It is idle, or the kernel has it, or chunks point into it, or both of these.
#[derive(Default)]
struct State {
    /// How many chunks point into it.
    references: Cell<u32>,
    /// Bytes from its start that were received into, since it was last handed to the kernel.
    filled: Cell<u32>,
    /// True exactly while the kernel may receive into the rest of it.
    offered: Cell<bool>,
    /// While it is idle: the one that was idle before it.
    next: Cell<Option<u16>>,
}

impl Buffers {
    /// Allocates the buffers and registers them with `ring`, to be filled incrementally if that is wanted. They live until
    /// the process ends or the last chunk is gone, whichever is later; the ring must be dropped before them.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the kernel does not fill buffers incrementally; what io_uring_register_buf_ring(3) says.
    pub(super) fn register(ring: &IoUring, incremental: bool) -> io::Result<Rc<Buffers>> {
        // SAFETY: both layouts have a size greater than zero.
        let (memory, entries) = unsafe {
            (
                NonNull::new(alloc::alloc_zeroed(memory_layout())),
                NonNull::new(alloc::alloc_zeroed(entries_layout()).cast::<BufRingEntry>()),
            )
        };
        let (Some(memory), Some(entries)) = (memory, entries) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let buffers = Rc::new(Buffers {
            memory,
            entries,
            tail: Cell::new(0),
            incremental,
            states: (0..RECV_BUFFERS).map(|_| State::default()).collect(),
            idle: Cell::new(None),
            idle_count: Cell::new(0),
            offered: Cell::new(0),
            window: Cell::new(WINDOW_MIN),
            turns: Cell::new(0),
            spare: RefCell::default(),
        });
        // SAFETY: `entries` is page aligned, holds RECV_BUFFERS entries and outlives the ring: the ring's owner keeps
        // this Rc and drops the ring first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                RECV_BUFFERS as u16,
                BUFFER_GROUP,
                if incremental { IOU_PBUF_RING_INC } else { 0 },
            )?;
        }
        for id in (0..RECV_BUFFERS as u16).rev() {
            buffers.rest(id);
        }
        buffers.offer();
        Ok(buffers)
    }

    /// The chunk that a receive completion with these flags delivered, of `length` bytes, if it used a buffer.
    pub(super) fn take(self: &Rc<Self>, length: usize, flags: u32) -> Option<Chunk> {
        let id = cqueue::buffer_select(flags)?;
        let state = &self.states[id as usize];
        debug_assert!(state.offered.get());
        let start = state.filled.get();
        let end = start + length as u32;
        debug_assert!(end as usize <= RECV_BUFFER_SIZE);
        state.filled.set(end);
        state.references.set(state.references.get() + 1);
        // An incremental buffer is not used up by nothing, whatever the flags say: kernels before 7.0 get that wrong.
        let used_up = !self.incremental
            || end as usize == RECV_BUFFER_SIZE
            || length > 0 && !cqueue::buffer_more(flags);
        if used_up {
            state.offered.set(false);
            self.offered.set(self.offered.get() - 1);
        }
        Some(Chunk { memory: Memory::Ring(Lease { buffers: self.clone(), id }), start, end })
    }

    /// Hands the kernel buffers until it has as many as it is to have, or none is idle. Once per turn.
    pub(super) fn offer(&self) {
        self.turns.set(self.turns.get() + 1);
        if self.turns.get() >= WINDOW_TURNS {
            self.turns.set(0);
            self.window.set((self.window.get() / 2).max(WINDOW_MIN));
        }
        while self.offered.get() < self.window.get()
            && let Some(id) = self.idle.get()
        {
            let state = &self.states[id as usize];
            self.idle.set(state.next.take());
            self.idle_count.set(self.idle_count.get() - 1);
            self.give(id);
        }
    }

    /// How many buffers the kernel is offered at most. Incremental ones are few enough to stay in the core's cache: small
    /// messages share them, and a stream that takes all of them in one pass is not to be given more.
    fn window_max(&self) -> usize {
        if self.incremental { WINDOW_INCREMENTAL_MAX } else { RECV_BUFFERS }
    }

    /// The kernel had no buffer for somebody.
    pub(super) fn widen(&self) {
        if self.offered.get() == 0 && self.idle_count.get() > 0 {
            self.turns.set(0);
            self.window.set((2 * self.window.get()).min(self.window_max()));
            self.offer();
        }
    }

    /// Whether so few buffers are free that bytes must leave them at once; see [`RECV_BUFFERS_LOW`].
    pub(super) fn low(&self) -> bool {
        self.free() < RECV_BUFFERS_LOW
    }

    /// How many buffers the kernel has, or can be given.
    pub(super) fn free(&self) -> usize {
        self.offered.get() + self.idle_count.get()
    }

    /// Whether the kernel fills a buffer up to its end before it takes the next.
    #[cfg(test)]
    pub(super) fn incremental(&self) -> bool {
        self.incremental
    }

    /// How many buffers the kernel is to have.
    #[cfg(test)]
    pub(super) fn window(&self) -> usize {
        self.window.get()
    }

    /// How many buffers the kernel has to receive into.
    pub(super) fn offered(&self) -> usize {
        self.offered.get()
    }

    /// An empty vector, with capacity if one is spare.
    pub(super) fn spare_take(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps `vector` for [`spare_take`](Self::spare_take), unless it grew large or enough are kept.
    pub(super) fn spare_give(&self, mut vector: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if vector.capacity() > 0 && vector.capacity() <= SPARE_SIZE_MAX && spare.len() < SPARE_MAX {
            vector.clear();
            spare.push(vector);
        }
    }

    /// Hands buffer `id` to the kernel.
    fn give(&self, id: u16) {
        let tail = self.tail.get();
        let slot = tail as usize & (RECV_BUFFERS - 1);
        // SAFETY: `slot` is within the entries; an entry behind the published tail belongs to us until the store below;
        // `memory` holds RECV_BUFFERS buffers and nobody references buffer `id`, which was idle. The tail field of the
        // first entry is written only through the atomic, the setters do not touch it.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(id as usize * RECV_BUFFER_SIZE) as u64);
            entry.set_len(RECV_BUFFER_SIZE as u32);
            entry.set_bid(id);
            let shared = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(shared).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.states[id as usize].offered.set(true);
        self.offered.set(self.offered.get() + 1);
    }

    /// Nobody has buffer `id` any more.
    fn rest(&self, id: u16) {
        let state = &self.states[id as usize];
        state.filled.set(0);
        state.next.set(self.idle.replace(Some(id)));
        self.idle_count.set(self.idle_count.get() + 1);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with these layouts; the ring that could write into them was dropped before
        // (its owner holds an Rc of this), and no chunk is left, each holds an Rc too.
        unsafe {
            alloc::dealloc(self.memory.as_ptr(), memory_layout());
            alloc::dealloc(self.entries.as_ptr().cast(), entries_layout());
        }
    }
}

/// One counted reference to a ring buffer.
struct Lease {
    buffers: Rc<Buffers>,
    id: u16,
}

impl Lease {
    /// Bytes that a chunk may see: those in front of what the buffer is filled to.
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        debug_assert!(range.end <= self.buffers.states[self.id as usize].filled.get() as usize);
        // SAFETY: a chunk's range lies within what `take` found received, so within the buffer and within `memory`, which
        // was zeroed at allocation. It is not written while this lease lives: the kernel goes on only behind what it has
        // filled, and from the start only when it is given the buffer anew, which happens when no lease is left.
        unsafe {
            slice::from_raw_parts(
                self.buffers.memory.as_ptr().add(self.id as usize * RECV_BUFFER_SIZE + range.start),
                range.len(),
            )
        }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Lease {
        let count = &self.buffers.states[self.id as usize].references;
        count.set(count.get() + 1);
        Lease { buffers: self.buffers.clone(), id: self.id }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let state = &self.buffers.states[self.id as usize];
        state.references.set(state.references.get() - 1);
        if state.references.get() == 0 && !state.offered.get() {
            self.buffers.rest(self.id);
        }
    }
}

fn memory_layout() -> Layout {
    Layout::from_size_align(RECV_BUFFERS * RECV_BUFFER_SIZE, PAGE).expect("a constant that fits")
}

fn entries_layout() -> Layout {
    Layout::from_size_align(RECV_BUFFERS * size_of::<BufRingEntry>(), PAGE).expect("a constant that fits")
}

/// The group that receives name; one per ring.
pub(super) const BUFFER_GROUP: u16 = 0;
/// Of io_uring.h; the crate does not export it.
const IOU_PBUF_RING_INC: u16 = 2;
/// Buffers that the kernel is offered at least.
const WINDOW_MIN: usize = 8;
/// Incremental buffers that the kernel is offered at most: half a core's usual 1 MB of second-level cache.
const WINDOW_INCREMENTAL_MAX: usize = 16;
/// Turns after which half as many are tried again.
const WINDOW_TURNS: u32 = 16 * 1024;
/// Alignment of the shared entries that the kernel asks for.
const PAGE: usize = 4096;
/// How many spare vectors are kept per ring.
const SPARE_MAX: usize = 256;
/// Largest spare vector worth keeping (bytes).
const SPARE_SIZE_MAX: usize = 64 * 1024;
