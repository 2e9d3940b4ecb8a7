//! Sessions without a task. One whose client has asked nothing for a while gives up all that only a session at work needs,
//! its task first, and leaves a small record in its seat; the first thing that happens to it starts a task anew.
//!
//! ```text
//!  a task ──── nothing for PARK_AFTER, nothing under way ────▶ parked
//!    ▲                                                           │
//!    └──── bytes or the end of the connection (the ring), ───────┘
//!          told to leave, drain, stop (its seat)
//! ```
//!
//! Parking and unparking cost some microseconds, so a session is parked at most once in [`PARK_AFTER`], and only by the
//! sweep: a query never pays for it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::backend::Parameters;
use crate::config::PoolMode;
use crate::ring::Resting;
use crate::session::{Pins, Rested, Want};
use crate::topology::{Moment, NodeId};

use super::Shard;
use super::login::Called;
use super::relay::{Outgoing, Relay};
use super::seats::Seat;
use super::tenants::Tenant;

/// A session without a task.
pub(super) struct Parked {
    client: Resting,
    kept: Kept,
}

/// What a session keeps whatever happens, when nothing is under way.
pub(super) struct Kept {
    pub session: Rested,
    pub tenant: Rc<Tenant>,
    /// What the client was told of its session's parameters.
    pub reported: Parameters,
    pub mode: PoolMode,
    /// The backend it had last.
    pub last_link: u64,
    /// The node that served its last read.
    pub prefer: Option<NodeId>,
    /// When its last write was answered.
    pub floor: Option<Moment>,
    /// When it logged in.
    pub since: Moment,
    /// What the log calls it at the end, if connections are logged.
    pub called: Option<Box<Called>>,
}

impl Relay {
    /// Whether nothing is under way that would be lost by parking.
    pub(super) fn may_park(&self) -> bool {
        // All by name: whoever gives sessions something new decides here whether it may be lost.
        let Relay {
            shard,
            client: _,
            seat,
            session,
            tenant: _,
            listening,
            owes_ready,
            shows_channels,
            look,
            looks: _,
            reported: _,
            mode: _,
            link,
            outgoing: Outgoing { held, passing, drop: _ },
            batch,
            batch_bytes: _,
            batch_want,
            need,
            next,
            deferred,
            skipping,
            overdue,
            leaving,
            end,
            kept,
            kept_want: _,
            told: _,
            again,
            tries: _,
            foreseen: _,
            on_replica: _,
            moving,
            restoring,
            last_link: _,
            prefer: _,
            wrote,
            lease_wrote,
            floor: _,
            asked,
            counted_pins,
            since: _,
            called: _,
        } = self;
        session.is_quiet()
            && look.is_none()
            // What listens for it tells its task.
            && listening.is_none()
            && !*owes_ready
            && !*shows_channels
            && link.is_none()
            && held.is_empty()
            && *passing == 0
            && batch.is_empty()
            && *batch_want == Want::Nothing
            && need.is_none()
            && next.is_none()
            && deferred.is_none()
            && !*skipping
            && overdue.is_none()
            && !*leaving
            && end.is_none()
            && kept.is_empty()
            && !*again
            && !*moving
            && !*restoring
            && !*wrote
            && !*lease_wrote
            && asked.is_none()
            && *counted_pins == Pins::NONE
            && !seat.must_leave()
            && !seat.cut.get()
            && !shard.draining.get()
    }

    /// Parks the session, whose task is about to end.
    pub(super) fn park(self: Box<Self>) {
        let Relay {
            shard,
            client,
            seat,
            session,
            tenant,
            reported,
            mode,
            last_link,
            prefer,
            floor,
            since,
            called,
            ..
        } = *self;
        let mut session = session.rest();
        let settings = session.settings_mut();
        *settings = shard.settings.of(settings.clone());
        let reported = shard.parameters.of(reported);
        let kept = Kept { session, tenant, reported, mode, last_link, prefer, floor, since, called };
        match client.rest(seat.process_id) {
            Ok(client) => {
                shard.counters().parked.add(1);
                seat.park(Box::new(Parked { client, kept }));
            }
            // The client has not taken all that was sent: later, then.
            Err(client) => shard.clone().start(Box::new(Relay::new(shard, client, seat, kept))),
        }
    }
}

impl Shard {
    /// Starts the task of a session.
    pub(super) fn start(self: Rc<Self>, relay: Box<Relay>) {
        self.seats.busy(&relay.seat);
        self.ring.spawn(relay.serve());
    }

    /// Asks sessions that have not been doing anything to park. Called every [`PARK_AFTER`], so that each is parked within
    /// twice that time. Whether there were any.
    pub(super) async fn park_idle(&self) -> bool {
        let Some(since) = Instant::now().checked_sub(PARK_AFTER) else { return false };
        let idle = self.seats.idle_since(since);
        for some in idle.chunks(PARKS_PER_TURN_MAX) {
            for seat in some {
                seat.may_park.set(true);
                seat.wake(&self.ring);
            }
            self.ring.sleep_until(Instant::now() + PARKS_PAUSE).await;
        }
        !idle.is_empty()
    }

    /// Gives a parked session a task again.
    fn unpark(self: &Rc<Self>, seat: Rc<Seat>) {
        if let Some(parked) = seat.unpark() {
            self.counters().parked.sub(1);
            let Parked { client, kept } = *parked;
            self.clone().start(Box::new(Relay::new(self.clone(), client.resume(), seat, kept)));
        }
    }
}

/// Unparks sessions to which something happened.
pub(super) async fn unpark(shard: Rc<Shard>) {
    loop {
        let process_id = shard.ring.stirred().await;
        // Its session may have ended since, or have got a task by something else.
        if let Some(seat) = shard.seats.of(process_id) {
            shard.unpark(seat);
        }
    }
}

/// Has the allocator give the system what has been free for a while. mimalloc looks after that only when a page of its own
/// becomes free, which may not happen again for long once everybody is idle; a block of this size has a page to itself.
pub(super) fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(OWN_PAGE)));
}

/// How long a session does nothing before it is parked.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// Sessions that are asked to park before other tasks run, and for how long these may.
const PARKS_PER_TURN_MAX: usize = 256;
const PARKS_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a block that mimalloc keeps by itself: more than its `MI_LARGE_MAX_OBJ_SIZE`, 512 KiB.
const OWN_PAGE: usize = 1 << 20;
/// For how long after a session was parked memory may be left to be given back: longer than mimalloc's purge delay, 1 s.
pub(super) const GIVE_BACK_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // Its seat, with the counts of the Rc, and its record. The rest of the kilobyte: a place in the ring's table of
        // sockets (ring::sockets) and one in the table of seats, each up to twice as large after it has grown.
        let seat = size_of::<Seat>() + 2 * size_of::<usize>();
        let parked = size_of::<Parked>();
        assert!(seat <= 128 && parked <= 128, "{seat} and {parked} bytes for every idle client");
    }
}
