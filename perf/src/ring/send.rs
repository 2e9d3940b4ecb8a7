//! Sending: what is queued during a turn leaves in one operation per socket at its end, from where it lies.

use std::os::fd::AsRawFd;
use std::{io, mem, ptr};

use io_uring::opcode;
use io_uring::types::Fd;

use super::buffers::Buffers;
use super::socket::{Out, VECTORS_MAX, Vectors};
use super::{Buffer, Event, Key, Kind, Ring};

impl Ring {
    /// Queues a received buffer, of any socket, to be sent here; it goes back to the kernel afterwards.
    pub fn send(&mut self, key: Key, buffer: Buffer) {
        let socket = &mut self.sockets[key];
        debug_assert!(socket.out.bytes.is_empty(), "a socket sends either buffers or bytes");
        if socket.broken {
            return self.buffers.give(buffer);
        }
        let length = buffer.len();
        socket.out.buffers.push_back(buffer);
        self.queued(key, length);
    }

    /// Queues what `write` appends.
    pub fn write<R>(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let out = &mut self.sockets[key].out;
        let before = out.bytes.len();
        let result = write(&mut out.bytes);
        let added = out.bytes.len() - before;
        self.queued(key, added);
        result
    }

    /// Bytes queued here or in the kernel's hands.
    pub fn unsent(&self, key: Key) -> usize {
        self.sockets[key].out.unsent
    }

    /// Received buffers queued here or in the kernel's hands.
    pub fn unsent_buffers(&self, key: Key) -> usize {
        self.sockets[key].out.buffers.len()
    }

    /// Notes that `added` bytes were queued.
    pub(super) fn queued(&mut self, key: Key, added: usize) {
        let socket = &mut self.sockets[key];
        if socket.broken {
            return socket.out.bytes.clear();
        }
        let out = &mut socket.out;
        out.unsent += added;
        if added > 0 && !out.dirty && !out.in_kernel() {
            out.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Lets go of all that is queued and not in the kernel's hands.
    pub(super) fn unqueue(&mut self, key: Key) {
        let out = &mut self.sockets[key].out;
        for buffer in out.buffers.drain(out.buffers_flying..) {
            self.buffers.give(buffer);
        }
        out.bytes.clear();
        // What is left of the flight counts as lost, too: closing does not wait for it.
        out.unsent = 0;
    }

    /// Submits a send for every socket with something to send and none in the kernel.
    pub(super) fn flush(&mut self) {
        while let Some(key) = self.dirty.pop() {
            // A slot may have been closed, even reused, since it was listed.
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            let out = &mut socket.out;
            out.dirty = false;
            if out.in_kernel() || out.unsent == 0 {
                continue;
            }
            out.flight_sent = 0;
            if out.buffers.is_empty() {
                mem::swap(&mut out.bytes, &mut out.bytes_flying);
                out.flight = out.bytes_flying.len();
            } else {
                out.buffers_flying = out.buffers.len().min(VECTORS_MAX);
                out.flight = out.buffers.iter().take(out.buffers_flying).map(Buffer::len).sum();
            }
            self.submit_flight(key);
        }
    }

    /// Submits what of the flight is not through yet.
    fn submit_flight(&mut self, key: Key) {
        let socket = &mut self.sockets[key];
        let (fd, out) = (Fd(socket.fd.as_raw_fd()), &mut socket.out);
        // All of it or an error: the kernel goes on by itself when there is room again.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match out.buffers_flying {
            0 | 1 => {
                let bytes = match out.buffers.front() {
                    Some(buffer) if out.buffers_flying == 1 => self.buffers.bytes(buffer),
                    _ => &out.bytes_flying,
                };
                let rest = &bytes[out.flight_sent..];
                opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(flags).build()
            }
            _ => {
                let header = name_parts(out, &self.buffers);
                opcode::SendMsg::new(fd, header).flags(flags as u32).build()
            }
        };
        // SAFETY: the bytes lie in buffers that the queue holds, or in a vector that nobody touches while it is flying;
        // the vectors are boxed. The slot keeps all of them until the completion, also while closing.
        unsafe { self.push(entry, Kind::Send, key) }
    }

    pub(super) fn sent(&mut self, key: Key, result: i32) -> Option<Event> {
        let socket = &mut self.sockets[key];
        let out = &mut socket.out;
        if result > 0 {
            let count = result as usize;
            out.flight_sent += count;
            // Closing may have forgotten it.
            out.unsent = out.unsent.saturating_sub(count);
            if out.flight_sent < out.flight && !socket.shut {
                self.submit_flight(key);
                return None;
            }
        }
        for buffer in out.buffers.drain(..mem::take(&mut out.buffers_flying)) {
            self.buffers.give(buffer);
        }
        out.bytes_flying.clear();
        out.flight = 0;
        if result < 0 {
            self.unqueue(key);
            let told = self.end(key, Some(io::Error::from_raw_os_error(-result)));
            if self.sockets[key].closing {
                self.release(key);
                return None;
            }
            return told;
        }
        if out.unsent > 0 && !out.dirty {
            out.dirty = true;
            self.dirty.push(key);
        }
        if socket.closing {
            self.release(key);
            return None;
        }
        Some(Event::Sent(key))
    }
}

/// Names the flying buffers, from the first byte that is not through; the header to send with.
fn name_parts(out: &mut Out, buffers: &Buffers) -> *const libc::msghdr {
    // SAFETY: all zeros are a valid msghdr and valid iovecs: no pointers, no lengths.
    let vectors = out.vectors.get_or_insert_with(|| Box::new(unsafe { mem::zeroed::<Vectors>() }));
    let mut skip = out.flight_sent;
    let mut count = 0;
    for buffer in out.buffers.iter().take(out.buffers_flying) {
        let part = buffers.bytes(buffer).get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(buffer.len());
        if !part.is_empty() {
            vectors.parts[count] =
                libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            count += 1;
        }
    }
    vectors.header.msg_name = ptr::null_mut();
    vectors.header.msg_iov = vectors.parts.as_mut_ptr();
    vectors.header.msg_iovlen = count as _;
    &raw const vectors.header
}
