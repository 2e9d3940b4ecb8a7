//! Cancel requests: to the session they mean, wherever it is, and from there to the server that works for it.
//!
//! A request arrives on a connection of its own, on any shard, and is offered to all of them. The session that owns the
//! process id and secret acts: it leaves the line if it waits for a backend, and its server is asked to stop if one is
//! at work. A backend is lent to nobody else before the server has closed the connection the request went over, so a late
//! cancel cannot hit another client's query (PostgreSQL manual 55.2.8).

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::door::{ShardId, Ticket, ToShard};
use crate::ring::Socket;
use crate::wire::startup::put_cancel;

use super::Shard;
use super::seats::Target;

impl Shard {
    /// A cancel request came in here: offers it to every shard. Done when the server it concerns has taken it: clients
    /// take the end of the connection they sent it on as the sign for that.
    pub(super) async fn cancel_everywhere(self: &Rc<Self>, process_id: u32, secret: &[u8]) {
        self.counters().cancels.add(1);
        match self.cancel_here(process_id, secret) {
            Some(target) => self.cancelled(&target).await,
            None => {
                let offer = self.offer_cancel(process_id, secret);
                self.ring.deadline(Instant::now() + CANCEL_MAX, offer).await;
            }
        }
    }

    /// Another shard offers a cancel request.
    pub(super) fn cancel_offered(
        self: &Rc<Self>,
        process_id: u32,
        secret: &[u8],
        from: ShardId,
        ticket: Ticket,
    ) {
        let target = self.cancel_here(process_id, secret);
        let shard = self.clone();
        self.ring.spawn(async move {
            if let Some(target) = target {
                shard.cancelled(&target).await;
            }
            let _ = shard.shared.shards[from.index()].send(ToShard::Cancelled { ticket });
        });
    }

    /// Cancels what the session that is meant does, if it is here and does anything; answers whose cancel is under way.
    fn cancel_here(self: &Rc<Self>, process_id: u32, secret: &[u8]) -> Option<Rc<Target>> {
        let seat = self.seats.meant_by(process_id, secret)?;
        if seat.queued.get() {
            seat.cancelled.set(true);
            seat.wake(&self.ring);
            return None;
        }
        let target = seat.target()?;
        send(self.clone(), target.clone());
        Some(target)
    }

    async fn cancelled(&self, target: &Target) {
        while target.cancels.get() > 0 {
            self.ring.sleep_until(Instant::now() + CANCEL_LOOK).await;
        }
    }
}

/// Asks a server to stop what it does for a backend. One request at a time: a second one would say nothing new.
pub(super) fn send(shard: Rc<Shard>, target: Rc<Target>) {
    if target.cancels.get() > 0 {
        return;
    }
    target.cancels.set(1);
    let ring = shard.ring.clone();
    ring.spawn(async move {
        let work = async {
            if let Ok(socket) = Socket::connect(&shard.ring, &target.address).await {
                socket.send_with(|out| put_cancel(out, target.key.process_id, &target.key.secret));
                // The server closes the connection when the signal is sent.
                while shard.received(&socket).await.is_some() {}
            }
        };
        shard.ring.deadline(Instant::now() + CANCEL_MAX, work).await;
        target.cancels.set(0);
    });
}

/// How often a cancel under way is looked after.
pub(super) const CANCEL_LOOK: Duration = Duration::from_millis(1);
/// How long a cancel request may take.
const CANCEL_MAX: Duration = Duration::from_secs(5);
