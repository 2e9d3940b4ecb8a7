//! The clients and their backends.
//!
//! Back-pressure: a side whose peer has [`BUFFERS_HIGH`] buffers to send is not received from until no more than
//! [`BUFFERS_LOW`] are left, so a reader that stalls stops its writer through TCP.

use std::os::fd::OwnedFd;

use socket2::SockAddr;

use crate::ring::{Event, Key, Ring};

pub(super) struct Pairs {
    to: SockAddr,
    /// By key.
    sides: Vec<Option<Side>>,
}

/// One end of a pair.
#[derive(Clone, Copy)]
struct Side {
    peer: Key,
    /// Whether nothing more is received here until the peer has sent some.
    paused: bool,
    /// Whether nothing more will be received here.
    ended: bool,
}

impl Pairs {
    pub fn new(to: SockAddr) -> Pairs {
        Pairs { to, sides: Vec::new() }
    }

    pub fn handle(&mut self, ring: &mut Ring, event: Event) {
        match event {
            Event::Received(key, buffer) => {
                let Some(side) = self.side(key) else { return ring.discard(buffer) };
                let peer = side.peer;
                ring.send(peer, buffer);
                if !side.paused && ring.unsent_buffers(peer) >= BUFFERS_HIGH {
                    side.paused = true;
                    ring.pause(key);
                }
            }
            Event::Sent(key) => self.sent(ring, key),
            Event::Accepted(fd) => self.pair(ring, fd),
            Event::Connected(key) => {
                let Some(side) = self.side(key) else { return };
                ring.receive(side.peer);
                ring.receive(key);
            }
            Event::Ended(key, None) => {
                let Some(side) = self.side(key) else { return };
                side.ended = true;
                let peer = side.peer;
                self.pass_end(ring, peer);
            }
            Event::Ended(key, Some(_)) => self.close(ring, key),
            // The caller ends with it.
            Event::AcceptFailed(_) => {}
        }
    }

    /// Makes a pair of a new client and a backend. Where none can be had, the client is let go.
    fn pair(&mut self, ring: &mut Ring, fd: OwnedFd) {
        let Ok(backend) = ring.connect(&self.to) else { return };
        let client = ring.adopt(fd);
        let length = self.sides.len().max(client + 1).max(backend + 1);
        self.sides.resize(length, None);
        for (key, peer) in [(client, backend), (backend, client)] {
            self.sides[key] = Some(Side { peer, paused: false, ended: false });
        }
    }

    fn sent(&mut self, ring: &mut Ring, key: Key) {
        let Some(peer) = self.side(key).map(|side| side.peer) else { return };
        let Some(side) = self.side(peer) else { return };
        if side.paused && ring.unsent_buffers(key) <= BUFFERS_LOW {
            side.paused = false;
            ring.receive(peer);
        }
        if side.ended {
            self.pass_end(ring, key);
        }
    }

    /// Tells `key` that its peer has ended, once all that came from there was sent.
    fn pass_end(&mut self, ring: &mut Ring, key: Key) {
        if ring.unsent(key) > 0 {
            return;
        }
        ring.shutdown(key);
        let ended = self.side(key).is_some_and(|side| side.ended);
        let peer = self.side(key).map(|side| side.peer);
        if ended && peer.is_some_and(|peer| ring.unsent(peer) == 0) {
            self.close(ring, key);
        }
    }

    fn close(&mut self, ring: &mut Ring, key: Key) {
        let Some(side) = self.sides[key].take() else { return };
        self.sides[side.peer] = None;
        ring.close(key);
        ring.close(side.peer);
    }

    fn side(&mut self, key: Key) -> Option<&mut Side> {
        self.sides.get_mut(key).and_then(Option::as_mut)
    }
}

/// Buffers to be sent to one side that stop receiving from the other, and that let it go on.
const BUFFERS_HIGH: usize = 16;
const BUFFERS_LOW: usize = 4;
