//! Replication connections: each is passed through to a connection of its own to the sender of the WAL on the primary, and
//! never pooled. pgweir proves who the client is and logs in for it; from there on the bytes are theirs.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::door::Suspicion;
use crate::ring::{Chunk, Socket};
use crate::session::startup::{Replication, Request};
use crate::topology::NodeId;
use crate::wire::Sqlstate;
use crate::wire::backend::{Report, Severity};
use crate::wire::frame::Walk;

use super::Shard;
use super::link::{Greeted, OpenError};
use super::login::{Guest, Refusal};
use super::pools::{NODE_WAIT, login_report};
use super::seats::{Seat, Target};

/// A server's end of a replication connection.
pub(super) struct Server {
    shard: Rc<Shard>,
    seat: Rc<Seat>,
    node: NodeId,
    socket: Socket,
    /// What it sent behind its login.
    rest: Vec<u8>,
    _place: Place,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shard.node_counters(self.node, |node| node.backends.sub(1));
    }
}

/// One of the replication connections that the process may have.
struct Place(Rc<Shard>);

impl Place {
    fn take(shard: &Rc<Shard>) -> Result<Place, Report> {
        let max = shard.policy.borrow().config.pool.replication_max;
        match shard.shared.process.replication_enter(max) {
            true => Ok(Place(shard.clone())),
            false => Err(Report::fatal(
                Sqlstate::TOO_MANY_CONNECTIONS,
                "sorry, too many replication connections already",
            )
            .hint(format!("Raise pool.replication_max ({max})."))),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.process.replication_leave();
    }
}

impl Guest {
    /// Logs in to the primary for a client that has proved who it is.
    pub(super) async fn replicate(
        &mut self,
        request: &Request,
        asked: &Replication,
    ) -> Result<Server, Refusal> {
        let place = Place::take(&self.shard)?;
        let node = self.shard.await_primary().await?;
        let user: Arc<str> = (&*request.user).into();
        let parameters: Vec<(&[u8], &[u8])> =
            asked.parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let timeout = self.shard.policy.borrow().config.pool.connect_timeout;
        let greeting = self.shard.greet(node, &user, &parameters);
        let greeting = self.shard.ring.deadline(Instant::now() + timeout, greeting).await;
        let Greeted { socket, address, key, parameters, rest, .. } = match greeting {
            Some(Ok(greeted)) => greeted,
            Some(Err(OpenError::Login(error))) => {
                let mut report = login_report(&error, node, &request.user);
                report.severity = Severity::Fatal;
                return Err(report.into());
            }
            failed => {
                let why = match failed {
                    Some(Err(OpenError::Unreachable(reason))) => reason,
                    _ => format!("it did not answer within {timeout:?}"),
                };
                self.shard.suspect(node, Suspicion::Broken, &why);
                let message = format!("cannot connect to the primary, node {node}: {why}");
                return Err(Report::fatal(Sqlstate::CONNECTION_FAILURE, message).into());
            }
        };
        // It is called what the server calls it, so that it is found in pg_stat_replication.
        let seat = self.shard.seat_like(&key);
        seat.aim(Some(Rc::new(Target {
            node,
            primary: Cell::new(true),
            address,
            key,
            cancels: Cell::default(),
        })));
        self.shard.node_counters(node, |node| node.backends.add(1));
        self.greet(&parameters, &seat);
        Ok(Server { shard: self.shard.clone(), seat, node, socket, rest, _place: place })
    }
}

impl Shard {
    /// The primary, as soon as there is one.
    async fn await_primary(&self) -> Result<NodeId, Report> {
        let deadline = Instant::now() + self.policy.borrow().config.pool.checkout_timeout;
        loop {
            if let Some(primary) = self.topology.borrow().open_primary() {
                return Ok(primary.id);
            }
            if Instant::now() >= deadline {
                return Err(Report::fatal(
                    Sqlstate::CANNOT_CONNECT_NOW,
                    "there is no primary to replicate from",
                ));
            }
            self.ring.sleep_until(Instant::now() + NODE_WAIT).await;
        }
    }
}

/// A client and its server, and the bytes between them.
pub(super) struct Passage {
    pub shard: Rc<Shard>,
    pub seat: Rc<Seat>,
    client: Socket,
    server: Server,
    /// Where in its stream of frames the server is.
    walk: Walk,
}

impl Passage {
    pub fn new(shard: Rc<Shard>, client: Socket, held: Vec<u8>, mut server: Server) -> Passage {
        // What came behind the logins is the first of what comes now.
        if !held.is_empty() {
            client.unreceive(Chunk::from(held));
        }
        let rest = std::mem::take(&mut server.rest);
        if !rest.is_empty() {
            server.socket.unreceive(Chunk::from(rest));
        }
        let seat = server.seat.clone();
        seat.admitted.set(true);
        Passage { shard, seat, client, server, walk: Walk::default() }
    }

    /// Passes bytes on until either side ends. The client, with what is left to be sent to it, and how it ended.
    pub async fn run(mut self) -> (Socket, &'static str) {
        let reason = self.pass().await;
        let Passage { shard, seat, client, server, .. } = self;
        // Nothing runs at the server any more by the time this is said.
        seat.aim(None);
        drop(server);
        if seat.cut.replace(false) {
            shard.was_cut();
        }
        (client, reason)
    }

    async fn pass(&mut self) -> &'static str {
        loop {
            let upstream = self.upstream();
            let downstream = self.downstream();
            // A switchover ends it as it ends: with the server.
            self.seat.resting.set(true);
            if self.client.end().is_some() && !self.client.has_received() {
                // Its goodbye lets the server end in good order.
                let flushed = self.server.socket.flushed();
                self.shard.ring.deadline(Instant::now() + super::GOODBYE_MAX, flushed).await;
                return "connection closed";
            }
            if self.server.socket.end().is_some() && !self.server.socket.has_received() {
                return "its server ended the connection";
            }
            if let Some(report) = self.told_to_leave() {
                if self.walk.between_frames() {
                    self.shard.counters().errors.add(1);
                    self.client.send_with(|out| report.put(out));
                }
                return "told to leave";
            }
            if !upstream && !downstream {
                self.pause().await;
            }
        }
    }

    /// Whether anything was passed on to the server.
    fn upstream(&self) -> bool {
        let mut passed = false;
        while !self.server.socket.congested()
            && let Some(chunk) = self.client.receive()
        {
            self.shard.counters().bytes_in.add(chunk.len() as u64);
            self.server.socket.send(chunk);
            passed = true;
        }
        passed
    }

    /// Whether anything was passed on to the client.
    fn downstream(&mut self) -> bool {
        let mut passed = false;
        while !self.client.congested()
            && let Some(chunk) = self.server.socket.receive()
        {
            self.shard.counters().bytes_out.add(chunk.len() as u64);
            // A stream that makes no sense is for the client to judge.
            let _ = self.walk.pass(&chunk);
            self.client.send(chunk);
            passed = true;
        }
        passed
    }

    /// The reason for which it has to end, if there is one. It is never between two transactions, so a shutdown that waits
    /// for these does not wait for it.
    fn told_to_leave(&self) -> Option<Report> {
        if let Some(report) = self.seat.dismissed() {
            return Some(report);
        }
        if self.shard.draining.get() {
            return Some(super::shutting_down());
        }
        self.seat.cut.get().then(|| {
            let message = format!("node {} is not the primary any more", self.server.node);
            Report::fatal(Sqlstate::ADMIN_SHUTDOWN, message)
        })
    }

    async fn pause(&self) {
        let mut waited = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return std::task::Poll::Ready(());
            }
            self.client.watch(context.waker());
            self.server.socket.watch(context.waker());
            self.seat.watch(context.waker());
            std::task::Poll::Pending
        })
        .await;
    }
}
