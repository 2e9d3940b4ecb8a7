//! What is known about one connection.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use socket2::SockAddr;

use super::Buffer;

pub(super) struct Socket {
    pub fd: OwnedFd,
    /// Where a connect in the kernel leads to.
    pub connecting: Option<Box<SockAddr>>,
    pub receiving: Receiving,
    /// Whether the owner wants to receive.
    pub wanted: bool,
    /// Full buffers received in a row; see [`receive`](super::receive).
    pub full: u8,
    pub out: Out,
    /// True exactly when the owner was told that nothing more will be received.
    pub ended: bool,
    /// Whether the connection failed, so that nothing can be sent either.
    pub broken: bool,
    /// True exactly when the owner has let go of it; the slot lives on until the kernel has too.
    pub closing: bool,
    /// Whether both directions were shut down to end what is in the kernel.
    pub shut: bool,
}

/// Where the receive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Not in the kernel.
    Off,
    Armed,
    /// In the kernel, about to end.
    Cancelled,
}

/// What is on its way out. A socket sends either buffers or bytes; mixed, their order would be lost.
#[derive(Default)]
pub(super) struct Out {
    /// Received buffers to be sent, and how many of them are in the kernel's hands.
    pub buffers: VecDeque<Buffer>,
    pub buffers_flying: usize,
    /// Bytes to be sent, and those in the kernel's hands.
    pub bytes: Vec<u8>,
    pub bytes_flying: Vec<u8>,
    /// Bytes of the send in the kernel, 0 without one, and how many of them are through.
    pub flight: usize,
    pub flight_sent: usize,
    /// All bytes not sent yet.
    pub unsent: usize,
    /// Whether the socket is in the ring's list of those with something to send.
    pub dirty: bool,
    /// What a send of several buffers names.
    pub vectors: Option<Box<Vectors>>,
}

pub(super) struct Vectors {
    pub header: libc::msghdr,
    pub parts: [libc::iovec; VECTORS_MAX],
}

impl Socket {
    pub fn new(fd: OwnedFd, connecting: Option<Box<SockAddr>>) -> Socket {
        Socket {
            fd,
            connecting,
            receiving: Receiving::Off,
            wanted: false,
            full: 0,
            out: Out::default(),
            ended: false,
            broken: false,
            closing: false,
            shut: false,
        }
    }
}

impl Receiving {
    pub fn in_kernel(self) -> bool {
        self != Receiving::Off
    }
}

impl Out {
    pub fn in_kernel(&self) -> bool {
        self.flight > 0
    }

    pub fn is_empty(&self) -> bool {
        self.unsent == 0
    }
}

/// Buffers that one send can name.
pub(super) const VECTORS_MAX: usize = 16;
