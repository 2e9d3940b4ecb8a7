//! Receiving: one multishot operation per socket, as long as little comes at a time.
//!
//! Such an operation can take every free buffer in one pass (liburing issue 758), so a socket that filled some buffers in
//! a row receives one buffer per operation until its stream is thin again. An operation that finds no free buffer ends
//! although nothing has arrived (1275): its socket waits in `idle` until buffers have come back.

use std::os::fd::AsRawFd;
use std::{io, ptr};

use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use super::buffers::{BUFFER_GROUP, BUFFER_SIZE};
use super::socket::Receiving;
use super::{Buffer, Event, Key, Kind, Ring};

impl Ring {
    /// Receives from now on, until [`pause`](Self::pause).
    pub fn receive(&mut self, key: Key) {
        let socket = &mut self.sockets[key];
        if !std::mem::replace(&mut socket.wanted, true) && socket.receiving == Receiving::Off {
            self.idle.push(key);
        }
    }

    /// Stops receiving. Some buffers may still come: what the kernel has received already.
    pub fn pause(&mut self, key: Key) {
        self.sockets[key].wanted = false;
        self.cancel(key);
    }

    /// Lets `read` see what was received and append to what is to be sent on the same socket; then the buffer goes back
    /// to the kernel.
    pub fn read<R>(&mut self, key: Key, buffer: Buffer, read: impl FnOnce(&[u8], &mut Vec<u8>) -> R) -> R {
        let bytes = self.buffers.bytes(&buffer);
        let out = &mut self.sockets[key].out.bytes;
        let before = out.len();
        let result = read(bytes, out);
        let added = out.len() - before;
        self.buffers.give(buffer);
        self.queued(key, added);
        result
    }

    /// Gives a buffer back unread.
    pub fn discard(&mut self, buffer: Buffer) {
        self.buffers.give(buffer);
    }

    /// Receives on all sockets that want to, as far as there are buffers for it.
    pub(super) fn arm(&mut self) {
        let count = self.idle.len().min(self.buffers.free());
        for index in 0..count {
            let key = self.idle[index];
            // A slot may have been closed, even reused, since it was listed.
            let Some(socket) = self.sockets.get_mut(key) else { continue };
            if !socket.wanted || socket.ended || socket.closing || socket.receiving != Receiving::Off {
                continue;
            }
            socket.receiving = Receiving::Armed;
            let fd = Fd(socket.fd.as_raw_fd());
            let entry = match socket.full < FULL_MAX {
                true => opcode::RecvMulti::new(fd, BUFFER_GROUP).build(),
                false => opcode::Recv::new(fd, ptr::null_mut(), BUFFER_SIZE as u32)
                    .buf_group(BUFFER_GROUP)
                    .build()
                    .flags(Flags::BUFFER_SELECT),
            };
            // SAFETY: the memory is that of the buffers, which are never freed.
            unsafe { self.push(entry, Kind::Receive, key) }
        }
        self.idle.drain(..count);
    }

    pub(super) fn received(&mut self, key: Key, result: i32, flags: u32) -> Option<Event> {
        let buffer = cqueue::buffer_select(flags).map(|id| self.buffers.take(id, result.max(0) as usize));
        let socket = &mut self.sockets[key];
        let armed_before = socket.receiving == Receiving::Armed;
        if !cqueue::more(flags) {
            socket.receiving = Receiving::Off;
        }
        if socket.closing {
            if let Some(buffer) = buffer {
                self.buffers.give(buffer);
            }
            self.release(key);
            return None;
        }
        if result > 0 {
            let was_bulk = socket.full >= FULL_MAX;
            socket.full = match result as usize {
                BUFFER_SIZE => (socket.full + 1).min(FULL_MAX),
                length if was_bulk && length >= BUFFER_SIZE / 2 => socket.full,
                _ => 0,
            };
            let turned_bulk = socket.full >= FULL_MAX && !was_bulk;
            if socket.receiving == Receiving::Off {
                self.idle.push(key);
            } else if turned_bulk && armed_before {
                self.cancel(key);
            }
            return buffer.map(|buffer| Event::Received(key, buffer));
        }
        if let Some(buffer) = buffer {
            self.buffers.give(buffer);
        }
        match -result {
            0 => self.end(key, None),
            libc::ENOBUFS | libc::ECANCELED => {
                self.idle.push(key);
                None
            }
            errno => self.end(key, Some(io::Error::from_raw_os_error(errno))),
        }
    }

    /// Ends the receive in the kernel, if there is one.
    fn cancel(&mut self, key: Key) {
        let socket = &mut self.sockets[key];
        if socket.receiving == Receiving::Armed {
            socket.receiving = Receiving::Cancelled;
            let entry = opcode::AsyncCancel::new(Kind::Receive.tag(key)).build();
            // SAFETY: a cancel names no memory.
            unsafe { self.push(entry, Kind::Ignored, key) }
        }
    }
}

/// Full buffers in a row after which a socket receives one buffer per operation.
const FULL_MAX: u8 = 2;
