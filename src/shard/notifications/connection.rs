//! The connection to the primary that listens for the sessions of a hub: opened with the first of them, opened again when
//! it is lost or the primary is another one, closed a moment after the last.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::{Owed, Verdict};
use crate::door::Suspicion;
use crate::topology::NodeId;
use crate::wire::backend::read_notification;
use crate::wire::{Frame, Violation, frontend};

use super::super::Shard;
use super::super::link::{Link, OpenError};
use super::super::pools::Slot;
use super::hub::{Hub, Request};

/// Runs until nobody needs the hub.
pub(super) async fn run(shard: Rc<Shard>, hub: Rc<Hub>) {
    loop {
        if hub.unused() {
            shard.ring.deadline(Instant::now() + UNUSED_MAX, woken(&hub)).await;
        }
        if hub.unused() {
            break;
        }
        let mut pause = RETRY_PAUSE;
        let primary = shard.topology.borrow().primary().map(|node| node.id);
        if let Some(node) = primary {
            let place = Place::take(&shard, &hub, node);
            match connect(&shard, &place).await {
                Ok(link) => {
                    let mut connection =
                        Connection { shard: &shard, hub: &hub, link, sent: VecDeque::new(), failed: false };
                    hub.connected();
                    connection.serve().await;
                    let Connection { link, sent, .. } = connection;
                    hub.lost(sent.into_iter().flatten());
                    shard.close(link);
                }
                Err(OpenError::Unreachable(reason)) => shard.suspect(node, Suspicion::Broken, &reason),
                Err(OpenError::Login(error)) => {
                    tracing::warn!(
                        %node, database = &*hub.key.database, user = &*hub.key.user, %error,
                        "cannot log in to listen"
                    );
                    hub.refuse();
                    pause = REFUSED_PAUSE;
                }
            }
        }
        if !hub.unused() {
            shard.ring.sleep_until(Instant::now() + pause).await;
        }
    }
    shard.hubs.borrow_mut().remove(&hub.key);
}

async fn connect(shard: &Rc<Shard>, place: &Place) -> Result<Box<Link>, OpenError> {
    let timeout = shard.policy.borrow().config.pool.connect_timeout;
    let opened = shard.ring.deadline(Instant::now() + timeout, shard.open(&place.slot.key)).await;
    let link = opened
        .unwrap_or_else(|| Err(OpenError::Unreachable(format!("it did not answer within {timeout:?}"))))?;
    shard.node_counters(link.key.node, |node| node.backends.add(1));
    Ok(link)
}

/// A connection's place among those of its pool. It is none of the backends that `pool.size` bounds: sessions that listen
/// must not keep others from theirs.
struct Place {
    slot: Rc<Slot>,
}

impl Place {
    fn take(shard: &Rc<Shard>, hub: &Hub, node: NodeId) -> Place {
        let slot = shard.slot(node, &hub.key.database, &hub.key.user);
        slot.listening.set(slot.listening.get() + 1);
        Place { slot }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slot.listening.set(self.slot.listening.get() - 1);
    }
}

struct Connection<'a> {
    shard: &'a Rc<Shard>,
    hub: &'a Hub,
    link: Box<Link>,
    /// What was sent and not answered; `None`: what the connection begins with.
    sent: VecDeque<Option<Request>>,
    /// Whether the request at the front got an error.
    failed: bool,
}

impl Connection<'_> {
    /// Listens until the connection is lost, is not to the primary any more, or is of no use.
    async fn serve(&mut self) {
        self.begin();
        let mut unused = None;
        loop {
            self.send();
            if !matches!(self.receive(), Ok(true)) || !self.is_to_the_primary() {
                return;
            }
            if !self.hub.unused() || !self.sent.is_empty() {
                unused = None;
                self.pause().await;
                continue;
            }
            let until = *unused.get_or_insert_with(|| Instant::now() + UNUSED_MAX);
            if Instant::now() >= until {
                return;
            }
            self.shard.ring.deadline(until, self.pause()).await;
        }
    }

    /// What the connection needs itself, and the channels that sessions listen to already.
    fn begin(&mut self) {
        // Nobody wants it closed because it is silent.
        let mut sql = b"SELECT pg_catalog.set_config('application_name', 'pgweir listens', false); \
            SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
            WHERE name = 'idle_session_timeout'"
            .to_vec();
        let encoding = &self.hub.key.encoding;
        if self.link.backend.parameters.get(b"client_encoding") != Some(encoding) {
            sql.extend_from_slice(b"; SET client_encoding TO ");
            put_name(&mut sql, encoding);
        }
        put_listens(&mut sql, self.hub.listened().iter().map(AsRef::as_ref));
        self.link.socket.send_with(|out| self.link.backend.own_query(&sql, out));
        self.sent.push_back(None);
    }

    /// Sends what was asked.
    fn send(&mut self) {
        while let Some(request) = { self.hub.requests.borrow_mut().pop_front() } {
            let (socket, backend) = (&self.link.socket, &mut self.link.backend);
            match &request {
                Request::Join { channels, .. } => {
                    let mut sql = Vec::new();
                    put_listens(&mut sql, channels.iter().map(AsRef::as_ref));
                    socket.send_with(|out| backend.own_query(&sql, out));
                }
                Request::Leave(channel) => {
                    let mut sql = b"UNLISTEN ".to_vec();
                    put_name(&mut sql, channel);
                    socket.send_with(|out| backend.own_query(&sql, out));
                }
                Request::Echo { .. } => {
                    socket.send_with(frontend::put_sync);
                    backend.ledger.owe(Owed::OwnSync);
                }
            }
            self.sent.push_back(Some(request));
        }
    }

    /// Takes what came. False when the connection is of no use any more.
    fn receive(&mut self) -> Result<bool, Violation> {
        while let Some(chunk) = self.link.socket.receive() {
            self.link.incoming.held.extend_from_slice(&chunk);
        }
        let held = std::mem::take(&mut self.link.incoming.held);
        let mut at = 0;
        while let Some((frame, size)) = Frame::read(&held[at..])? {
            if !self.take(frame)? {
                return Ok(false);
            }
            at += size;
        }
        self.link.incoming.held.extend_from_slice(&held[at..]);
        Ok(self.link.socket.end().is_none())
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<bool, Violation> {
        let verdict = self.link.backend.handle(frame.tag, frame.body)?;
        match verdict {
            Verdict::Notice if frame.tag == b'A' => {
                let (from, channel, payload) = read_notification(frame.body)?;
                let process = &self.shard.shared.process;
                self.hub.heard(from, channel, payload, |from| process.lent_to(from));
            }
            Verdict::OwnFailed => self.failed = true,
            Verdict::OwnReady(_) => {
                let failed = std::mem::take(&mut self.failed);
                match self.sent.pop_front() {
                    Some(Some(request)) => self.hub.answered(request, !failed),
                    // Without its beginning it does not listen for those who believe that it does.
                    _ if failed => return Ok(false),
                    _ => {}
                }
            }
            // The server says goodbye.
            Verdict::Failed { .. } => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn is_to_the_primary(&self) -> bool {
        let topology = self.shard.topology.borrow();
        let node = topology.node(self.link.key.node);
        topology.primary == Some(self.link.key.node)
            && node.is_some_and(|node| node.incarnation == self.link.incarnation)
    }

    async fn pause(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.link.socket.watch(context.waker());
            self.hub.watch(context.waker());
            Poll::Pending
        })
        .await;
    }
}

/// Completes when something is asked of the hub.
async fn woken(hub: &Hub) {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        hub.watch(context.waker());
        Poll::Pending
    })
    .await;
}

/// Appends LISTEN for each channel, behind what is there.
pub(super) fn put_listens<'c>(sql: &mut Vec<u8>, channels: impl Iterator<Item = &'c [u8]>) {
    for channel in channels {
        if !sql.is_empty() {
            sql.extend_from_slice(b"; ");
        }
        sql.extend_from_slice(b"LISTEN ");
        put_name(sql, channel);
    }
}

/// Appends a name in quotes.
fn put_name(sql: &mut Vec<u8>, name: &[u8]) {
    sql.push(b'"');
    for &byte in name {
        if byte == b'"' {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'"');
}

/// How long a connection is kept that nobody needs.
const UNUSED_MAX: Duration = Duration::from_secs(1);
/// How long after a failure the next connection is tried, and after the node did not let us in.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_so_that_they_mean_what_was_folded() {
        let mut sql = b"SELECT 1".to_vec();
        put_listens(&mut sql, [&b"plain"[..], b"With \"quotes\""].into_iter());
        assert_eq!(sql, b"SELECT 1; LISTEN \"plain\"; LISTEN \"With \"\"quotes\"\"\"");
    }
}
