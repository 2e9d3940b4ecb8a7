//! The receive buffers of one ring and the chunks that share them.
//!
//! The kernel picks a buffer out of a ring shared with it (io_uring_register_buf_ring(3)) at the moment bytes arrive, so
//! an idle socket owns none. A [`Chunk`] is a counted reference to a part of such a buffer, or to bytes on the heap; the
//! last chunk of a buffer to be dropped hands it back to the kernel.

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
        let whole = match &self.memory {
            Memory::Ring(lease) => lease.bytes(),
            Memory::Heap(bytes) => bytes.as_slice(),
            Memory::Static(bytes) => bytes,
        };
        &whole[self.start as usize..self.end as usize]
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
    /// How many chunks point into each buffer; 0 while the kernel has it.
    references: Box<[Cell<u32>]>,
    /// How many buffers the kernel has.
    free: Cell<usize>,
    /// Spare vectors for bytes on their way out, so that sending does not allocate.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Allocates the buffers and registers them with `ring`. They live until the process ends or the last chunk is gone,
    /// whichever is later; the ring must be dropped before them.
    pub(super) fn register(ring: &IoUring) -> io::Result<Rc<Buffers>> {
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
            references: vec![Cell::new(0); RECV_BUFFERS].into_boxed_slice(),
            free: Cell::new(0),
            spare: RefCell::default(),
        });
        // SAFETY: `entries` is page aligned, holds RECV_BUFFERS entries and outlives the ring: the ring's owner keeps
        // this Rc and drops the ring first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                RECV_BUFFERS as u16,
                BUFFER_GROUP,
                0,
            )?;
        }
        for id in 0..RECV_BUFFERS as u16 {
            buffers.give(id);
        }
        Ok(buffers)
    }

    /// The chunk that a receive completion delivered: buffer `id`, `length` bytes. The kernel has let go of the buffer.
    pub(super) fn take(self: &Rc<Self>, id: u16, length: usize) -> Chunk {
        debug_assert!(length <= RECV_BUFFER_SIZE);
        debug_assert_eq!(self.references[id as usize].get(), 0);
        self.references[id as usize].set(1);
        self.free.set(self.free.get() - 1);
        Chunk { memory: Memory::Ring(Lease { buffers: self.clone(), id }), start: 0, end: length as u32 }
    }

    /// Whether so few buffers are free that bytes must leave them at once; see [`RECV_BUFFERS_LOW`].
    pub(super) fn low(&self) -> bool {
        self.free.get() < RECV_BUFFERS_LOW
    }

    /// How many buffers the kernel has to receive into.
    pub(super) fn free(&self) -> usize {
        self.free.get()
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
        // `memory` holds RECV_BUFFERS buffers and nobody references buffer `id` (its count is 0). The tail field of the
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
        self.free.set(self.free.get() + 1);
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
    fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer lies within `memory`, was zeroed at allocation, and is not written while referenced: the
        // kernel writes only into buffers it was given, and this one is given back by the last Lease.
        unsafe {
            slice::from_raw_parts(
                self.buffers.memory.as_ptr().add(self.id as usize * RECV_BUFFER_SIZE),
                RECV_BUFFER_SIZE,
            )
        }
    }
}

impl Clone for Lease {
    fn clone(&self) -> Lease {
        let count = &self.buffers.references[self.id as usize];
        count.set(count.get() + 1);
        Lease { buffers: self.buffers.clone(), id: self.id }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let count = &self.buffers.references[self.id as usize];
        count.set(count.get() - 1);
        if count.get() == 0 {
            self.buffers.give(self.id);
        }
    }
}

/// The buffer that a completion used, if it used one.
pub(super) fn buffer_of(flags: u32) -> Option<u16> {
    cqueue::buffer_select(flags)
}

fn memory_layout() -> Layout {
    Layout::from_size_align(RECV_BUFFERS * RECV_BUFFER_SIZE, PAGE).expect("a constant that fits")
}

fn entries_layout() -> Layout {
    Layout::from_size_align(RECV_BUFFERS * size_of::<BufRingEntry>(), PAGE).expect("a constant that fits")
}

/// The group that receives name; one per ring.
pub(super) const BUFFER_GROUP: u16 = 0;
/// Alignment of the shared entries that the kernel asks for.
const PAGE: usize = 4096;
/// How many spare vectors are kept per ring.
const SPARE_MAX: usize = 256;
/// Largest spare vector worth keeping (bytes).
const SPARE_SIZE_MAX: usize = 64 * 1024;
