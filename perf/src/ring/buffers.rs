//! The receive buffers, shared with the kernel in a ring of their own (io_uring_register_buf_ring(3)): it picks one when
//! bytes arrive, so a socket that is silent owns none.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Received bytes, in a buffer that is the holder's alone until it is given back.
#[must_use = "a buffer that is not given back is lost"]
pub struct Buffer {
    id: u16,
    length: u32,
}

impl Buffer {
    pub fn len(&self) -> usize {
        self.length as usize
    }
}

/// All buffers; never freed, see [`Ring`](super::Ring).
pub(super) struct Buffers {
    memory: NonNull<u8>,
    /// Entries that the kernel reads; the number of entries written lies in the first one's reserved field.
    entries: NonNull<BufRingEntry>,
    /// How many buffers were ever given to the kernel, wrapping.
    tail: u16,
    /// How many the kernel has.
    free: usize,
}

impl Buffers {
    pub fn register(uring: &IoUring) -> io::Result<Buffers> {
        let (memory, entries) = (BUFFERS * BUFFER_SIZE, BUFFERS * size_of::<BufRingEntry>());
        let mut buffers =
            Buffers { memory: allocate(memory)?, entries: allocate(entries)?.cast(), tail: 0, free: 0 };
        // SAFETY: the entries are page aligned, BUFFERS in number and never freed.
        unsafe {
            let address = buffers.entries.as_ptr() as u64;
            uring.submitter().register_buf_ring_with_flags(address, BUFFERS as u16, BUFFER_GROUP, 0)?;
        }
        for id in 0..BUFFERS as u16 {
            buffers.give(Buffer { id, length: 0 });
        }
        buffers.free = BUFFERS;
        Ok(buffers)
    }

    /// The buffer that a completion names: the kernel has let go of it.
    pub fn take(&mut self, id: u16, length: usize) -> Buffer {
        self.free -= 1;
        Buffer { id, length: length as u32 }
    }

    pub fn bytes(&self, buffer: &Buffer) -> &[u8] {
        let start = buffer.id as usize * BUFFER_SIZE;
        // SAFETY: within the memory, which was zeroed and is never freed; ids come from the kernel, which knows those it
        // was given. Nobody writes there while a `Buffer` exists: there is one per id, and `give` consumes it.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().add(start), buffer.len()) }
    }

    /// Hands a buffer to the kernel.
    pub fn give(&mut self, buffer: Buffer) {
        let slot = self.tail as usize & (BUFFERS - 1);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `slot` is within the entries, and the kernel does not read it before the store of the tail. The buffer
        // lies within the memory and nobody else holds it. The tail is only ever written through the atomic.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(buffer.id as usize * BUFFER_SIZE) as u64);
            entry.set_len(BUFFER_SIZE as u32);
            entry.set_bid(buffer.id);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
        self.free += 1;
    }

    /// How many buffers the kernel has to receive into.
    pub fn free(&self) -> usize {
        self.free
    }
}

fn allocate(size: usize) -> io::Result<NonNull<u8>> {
    let layout = Layout::from_size_align(size, PAGE).map_err(io::Error::other)?;
    // SAFETY: both sizes that are asked for are greater than zero.
    NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or(io::ErrorKind::OutOfMemory.into())
}

/// The group that receives name.
pub(super) const BUFFER_GROUP: u16 = 0;
/// Bytes of one buffer.
pub(super) const BUFFER_SIZE: usize = 16 * 1024;
/// Buffers of a ring, a power of two. The kernel takes them in turn, so all of them are touched; 256 cost a relay with 16
/// to 500 connections the same.
pub(super) const BUFFERS: usize = 1_024;
/// Alignment of the entries that the kernel asks for.
const PAGE: usize = 4_096;

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS <= 32_768);
