//! The clients' sockets, and the answers that `--delay` holds back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::canned::Canned;
use super::connection::{Connection, Flow};
use crate::ring::{Buffer, Event, Key, Ring};

/// Serves until accepting or the ring fails.
pub(super) fn serve(ring: &mut Ring, canned: &Canned, delay: Duration) -> anyhow::Result<()> {
    let mut server =
        Server { canned, delay, clients: Vec::new(), born: 0, held: VecDeque::new(), spare: Vec::new() };
    loop {
        let wait = server.held.front().map(|held| held.due.saturating_duration_since(Instant::now()));
        ring.turn(wait)?;
        while let Some(event) = ring.next() {
            match event {
                Event::Accepted(fd) => {
                    let key = ring.adopt(fd);
                    server.welcome(key);
                    ring.receive(key);
                }
                Event::AcceptFailed(error) => return Err(error).context("accepting"),
                Event::Received(key, buffer) => server.received(ring, key, buffer),
                Event::Sent(key) => server.sent(ring, key),
                Event::Ended(key, _) => server.close(ring, key),
                Event::Connected(_) => {}
            }
        }
        server.release(ring);
    }
}

struct Server<'a> {
    canned: &'a Canned,
    delay: Duration,
    /// By key.
    clients: Vec<Option<Client>>,
    /// How many clients there have been.
    born: u64,
    /// Answers that wait, the one that is due first in front.
    held: VecDeque<Held>,
    /// Vectors to hold answers in.
    spare: Vec<Vec<u8>>,
}

struct Client {
    connection: Connection,
    /// Which client this is: keys are given out again.
    number: u64,
    /// Whether it has to read before it is answered further.
    full: bool,
}

struct Held {
    due: Instant,
    key: Key,
    number: u64,
    answer: Vec<u8>,
    flow: Flow,
}

impl Server<'_> {
    fn welcome(&mut self, key: Key) {
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.born += 1;
        self.clients[key] = Some(Client { connection: Connection::new(), number: self.born, full: false });
    }

    fn received(&mut self, ring: &mut Ring, key: Key, buffer: Buffer) {
        let Some(client) = &mut self.clients[key] else { return ring.discard(buffer) };
        let connection = &mut client.connection;
        if self.delay.is_zero() || !connection.is_ready() {
            let flow = ring.read(key, buffer, |bytes, out| connection.receive(self.canned, bytes, out));
            return self.go_on(ring, key, flow);
        }
        let mut answer = self.spare.pop().unwrap_or_default();
        let flow = ring.read(key, buffer, |bytes, _| connection.receive(self.canned, bytes, &mut answer));
        let due = Instant::now() + self.delay;
        self.held.push_back(Held { due, key, number: client.number, answer, flow });
    }

    /// Lets go of the answers that are due.
    fn release(&mut self, ring: &mut Ring) {
        while self.held.front().is_some_and(|held| held.due <= Instant::now()) {
            let Some(mut held) = self.held.pop_front() else { return };
            let there = self.clients[held.key].as_ref().is_some_and(|client| client.number == held.number);
            if there {
                ring.write(held.key, |out| out.extend_from_slice(&held.answer));
                self.go_on(ring, held.key, held.flow);
            }
            held.answer.clear();
            self.spare.push(held.answer);
        }
    }

    fn sent(&mut self, ring: &mut Ring, key: Key) {
        let Some(client) = &mut self.clients[key] else { return };
        if client.full && ring.unsent(key) == 0 {
            client.full = false;
            let flow = ring.write(key, |out| client.connection.resume(self.canned, out));
            match flow {
                Flow::Continue => ring.receive(key),
                flow => self.go_on(ring, key, flow),
            }
        }
    }

    fn go_on(&mut self, ring: &mut Ring, key: Key, flow: Flow) {
        match (flow, &mut self.clients[key]) {
            (Flow::Full, Some(client)) => {
                client.full = true;
                ring.pause(key);
            }
            (Flow::Close, client) => {
                *client = None;
                ring.close_when_sent(key);
            }
            _ => {}
        }
    }

    fn close(&mut self, ring: &mut Ring, key: Key) {
        if self.clients[key].take().is_some() {
            ring.close(key);
        }
    }
}
