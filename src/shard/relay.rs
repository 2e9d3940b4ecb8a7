//! One session's task: moves frames between its client and the backends that are lent to it, and decides when to ask for
//! one and when to give it back. What frames mean is decided in `session` and `backend`; here is only who goes next.
//!
//! ```text
//!            frames up to a Sync, a Query …           Ready 'I', nothing owed, not pinned
//! (no lease) ───────collected───────▶ checkout ─▶ (leased) ──────────────────────────────▶ checkin ─▶ (no lease)
//!      │ nothing in them needs a server                │ the backend is lost
//!      ▼                                               ▼
//!   answered here                                an error, and the session goes on
//! ```
//!
//! The two directions are in rooms of their own: [`super::upstream`] from the client, [`super::downstream`] to it.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::backend::Parameters;
use crate::config::{Causal, PoolMode};
use crate::counters::Refusal;
use crate::ring::{Chunk, Socket};
use crate::route::Access;
use crate::session::{Order, Pins, Session, Want};
use crate::topology::{Moment, NodeId};
use crate::wire::Sqlstate;
use crate::wire::backend::{Report, TransactionStatus, put_ready};

use super::Shard;
use super::functions::Look;
use super::login::Called;
use super::notifications::Listening;
use super::parking::Kept;
use super::pools::{Lease, Request};
use super::seats::Seat;
use super::tenants::Tenant;

/// See the module's text.
pub(super) struct Relay {
    pub(super) shard: Rc<Shard>,
    pub(super) client: Socket,
    pub(super) seat: Rc<Seat>,
    pub(super) session: Session,
    pub(super) tenant: Rc<Tenant>,
    /// What is being asked about them, and how often that was.
    pub(super) look: Option<Box<Look>>,
    pub(super) looks: u32,
    /// Its part in what listens for it.
    pub(super) listening: Option<Box<Listening>>,
    /// True exactly when the server was ready and the client will hear so behind its notifications.
    pub(super) owes_ready: bool,
    /// Whether what is sent next asks what the session listens to.
    pub(super) shows_channels: bool,
    /// What the client was told of its session's parameters.
    pub(super) reported: Parameters,
    pub(super) mode: PoolMode,
    pub(super) link: Option<Lease>,
    pub(super) outgoing: Outgoing,
    /// Frames collected until it is clear what they need.
    pub(super) batch: Vec<(Order, Chunk)>,
    pub(super) batch_bytes: usize,
    pub(super) batch_want: Want,
    /// What the collected frames wait for.
    pub(super) need: Option<Need>,
    /// A frame that comes behind the collected ones and is not collected with them.
    pub(super) next: Option<Box<(Order, Chunk, Want)>>,
    /// A frame that pgweir answers, once the server has answered all before it.
    pub(super) deferred: Option<Box<(Order, Chunk)>>,
    /// True exactly when frames are dropped up to the next Sync, because we refused one.
    pub(super) skipping: bool,
    /// What the client is told at its next request: its transaction was lost while it was not asking.
    pub(super) overdue: Option<Box<Report>>,
    /// The client said goodbye; what it asked before is still served.
    pub(super) leaving: bool,
    /// Why it is over, once it is.
    pub(super) end: Option<Box<Ending>>,
    /// The frames that were sent last, as long as they can be sent again.
    pub(super) kept: Vec<(Order, Chunk)>,
    /// What they needed.
    pub(super) kept_want: Want,
    /// Whether the client heard anything of the answer to them.
    pub(super) told: bool,
    /// True exactly when the rest of the answer is dropped, because the frames are going to be sent again.
    pub(super) again: bool,
    /// How often they were sent again.
    pub(super) tries: u32,
    /// Why the collected frames, although reads, go to the primary.
    pub(super) foreseen: Cell<Option<Refusal>>,
    /// True exactly when the lease is of a node that takes no writes.
    pub(super) on_replica: bool,
    /// True exactly when the open pipeline is being taken from a replica to the primary.
    pub(super) moving: bool,
    /// True exactly when the client waits for its ReadyForQuery until the backend has what its session started with.
    pub(super) restoring: bool,
    pub(super) last_link: u64,
    /// The node that served its last read.
    pub(super) prefer: Option<NodeId>,
    pub(super) wrote: bool,
    pub(super) lease_wrote: bool,
    /// When its last write was answered.
    pub(super) floor: Option<Moment>,
    /// When the request that is being served came.
    pub(super) asked: Option<Instant>,
    pub(super) counted_pins: Pins,
    /// When it logged in.
    pub(super) since: Moment,
    /// What the log calls it at the end, if connections are logged.
    pub(super) called: Option<Box<Called>>,
}

/// The client's stream of frames: where in it we are.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The beginning of a frame that must be seen whole.
    pub held: Vec<u8>,
    /// Bytes of a frame's body that go, or do not go, straight on to the server.
    pub passing: usize,
    pub drop: bool,
}

/// What collected frames wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A backend that can do this.
    Lease(Want),
    /// To be answered here.
    Here,
    /// To be listened to elsewhere what they may listen to.
    Channels,
}

/// How a session ends.
pub(super) enum Ending {
    /// The client is gone.
    Gone,
    /// It said goodbye, and has all its answers.
    Goodbye,
    /// With these words.
    Told(Report),
    /// It has been told already: the server's own last words went through.
    Heard,
}

impl Relay {
    /// A session at rest gets to work.
    pub(super) fn new(shard: Rc<Shard>, client: Socket, seat: Rc<Seat>, kept: Kept) -> Relay {
        let Kept { session, tenant, reported, mode, last_link, prefer, floor, since, called } = kept;
        Relay {
            tenant,
            look: None,
            looks: 0,
            listening: None,
            owes_ready: false,
            shows_channels: false,
            shard,
            client,
            seat,
            session: session.resume(),
            reported,
            mode,
            link: None,
            outgoing: Outgoing::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_want: Want::Nothing,
            need: None,
            next: None,
            deferred: None,
            skipping: false,
            overdue: None,
            leaving: false,
            end: None,
            kept: Vec::new(),
            kept_want: Want::Nothing,
            told: true,
            again: false,
            tries: 0,
            foreseen: Cell::new(None),
            on_replica: false,
            moving: false,
            restoring: false,
            last_link,
            prefer,
            wrote: false,
            lease_wrote: false,
            floor,
            asked: None,
            counted_pins: Pins::NONE,
            since,
            called,
        }
    }

    /// The task of a session: serves it to its end, or until it is parked.
    pub(super) async fn serve(mut self: Box<Self>) {
        if !self.run().await {
            return self.park();
        }
        let (shard, seat, called) = (self.shard.clone(), self.seat.clone(), self.called.take());
        let (client, reason) = self.finish();
        Box::pin(shard.goodbye(client)).await;
        shard.left(&seat, called, reason);
    }

    /// Serves the session. False when nothing happens for so long that it is to be parked.
    async fn run(&mut self) -> bool {
        while self.end.is_none() {
            self.leave_if_cut();
            let mut progressed = self.downstream();
            if self.owes_ready {
                Box::pin(self.tell()).await;
                continue;
            }
            progressed |= self.upstream();
            match self.need.take() {
                // What is rare lies in boxes, since every session has room for all that it may be waiting for.
                Some(Need::Lease(want)) => {
                    if !self.acquire_now(want) {
                        Box::pin(self.acquire(want)).await;
                    }
                    continue;
                }
                Some(Need::Here) => {
                    Box::pin(self.answer_batch()).await;
                    continue;
                }
                Some(Need::Channels) => {
                    Box::pin(self.join()).await;
                    continue;
                }
                None => {}
            }
            if let Some(next) = self.next.take() {
                let (order, frame, want) = *next;
                match self.overdue.take() {
                    _ if self.skipping => self.outgoing.drop = true,
                    // Lost while the frame waited.
                    Some(report) => self.refuse_overdue(frame[0], *report),
                    None => self.direct(order, frame, want),
                }
                continue;
            }
            if self.again && self.link.as_ref().is_none_or(|link| link.backend.quiet()) {
                self.again = false;
                self.hand_back();
                self.batch = std::mem::take(&mut self.kept);
                self.need = Some(Need::Lease(Want::Write));
                self.batch_want = Want::Write;
                continue;
            }
            if self.moving && self.link.as_ref().is_none_or(|link| link.backend.quiet()) {
                self.moving = false;
                self.hand_back();
                self.need = Some(Need::Lease(Want::Write));
                continue;
            }
            if self.deferred.is_some() && self.link.as_ref().is_none_or(|link| link.backend.ledger.is_empty())
            {
                Box::pin(self.answer_deferred()).await;
                continue;
            }
            self.look_around();
            if !progressed && self.end.is_none() {
                self.tell_idle();
                if self.seat.may_park.take() && self.may_park() {
                    return false;
                }
                self.pause().await;
            }
        }
        true
    }

    /// It is over, for this reason.
    pub(super) fn end(&mut self, ending: Ending) {
        self.end = Some(Box::new(ending));
    }

    /// Waits until something happens to the client, the backend or the seat.
    async fn pause(&self) {
        self.seat.idle.set(self.link.as_ref().is_none_or(|link| link.backend.ledger.is_empty()));
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.client.watch(context.waker());
            self.seat.watch(context.waker());
            if let Some(link) = &self.link {
                link.socket.watch(context.waker());
            }
            Poll::Pending
        })
        .await;
        self.seat.idle.set(false);
    }

    /// Notices what ends a session from outside.
    pub(super) fn look_around(&mut self) {
        if self.end.is_some() {
            return;
        }
        if self.shard.observing.gated() {
            self.seat.resting.set(self.idle());
        }
        let at_rest = self.link.as_ref().is_none_or(|link| link.backend.ledger.is_empty());
        if self.leaving && at_rest && self.deferred.is_none() {
            self.end(Ending::Goodbye);
        } else if self.client.end().is_some() && !self.client.has_received() && (at_rest || !self.leaving) {
            self.end(Ending::Gone);
        } else if let Some(report) = self.seat.dismissed() {
            self.end(Ending::Told(report));
        } else if self.shard.draining.get() && self.batch.is_empty() && self.idle() {
            self.end(Ending::Told(super::shutting_down()));
        }
    }

    /// Whether no transaction is open and nothing is under way.
    fn idle(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.backend.quiet() && !link.copy_in)
            && self.outgoing.passing == 0
    }

    /// Whether nothing is under way, on either side.
    pub(super) fn at_rest(&self) -> bool {
        self.idle()
            && self.batch.is_empty()
            && self.next.is_none()
            && self.deferred.is_none()
            && !self.skipping
            && !self.again
            && !self.moving
    }

    /// Sends the collected frames to a backend that is idle. False when there is none, or it has to be looked at first.
    fn acquire_now(&mut self, want: Want) -> bool {
        if self.listening.is_some() {
            return false;
        }
        let request = self.request(want);
        let access = request.access;
        let link = self.shard.checkout_now(&request);
        match link {
            Some(link) => self.acquired(link, access),
            None => return false,
        }
        true
    }

    /// Waits for a backend for the collected frames, and sends them.
    async fn acquire(&mut self, want: Want) {
        let request = self.request(want);
        let access = request.access;
        self.seat.cancelled.set(false);
        match self.shard.checkout(request, &self.seat, &self.client).await {
            Ok(link) => {
                let epoch = self.shard.topology.borrow().epoch;
                self.await_silence(&link).await;
                // Nothing is sent by a picture that is not the last one.
                if self.shard.topology.borrow().epoch == epoch {
                    self.acquired(link, access);
                } else {
                    self.shard.checkin(link);
                    self.need = Some(Need::Lease(want));
                }
            }
            Err(Some(report)) => self.refuse_batch(&report),
            Err(None) if self.seat.cancelled.replace(false) => {
                let report =
                    Report::error(Sqlstate::QUERY_CANCELED, "canceling statement due to user request");
                self.refuse_batch(&report);
            }
            // The client is gone or has to leave: the main loop sees which.
            Err(None) => {
                self.batch.clear();
                self.look_around();
                self.end.get_or_insert(Box::new(Ending::Gone));
            }
        }
    }

    /// What the collected frames ask for.
    fn request(&self, want: Want) -> Request<'_> {
        self.foreseen.take();
        let access = match want {
            // A session that keeps its backend keeps one that can do everything.
            _ if self.mode == PoolMode::Session || !self.session.pins().is_empty() => Access::Write,
            Want::Write => Access::Write,
            Want::Read if !self.session.reads_anywhere() => Access::Write,
            Want::Read if self.foresees() => Access::Write,
            Want::Nothing | Want::Any => Access::Any,
            Want::Read => Access::Read {
                floor: match self.shard.policy.borrow().config.route.causal {
                    Causal::Off => None,
                    Causal::Session => self.floor,
                    Causal::Global => Some(Moment(self.shard.shared.process.written())),
                },
            },
        };
        Request {
            database: &self.tenant.database,
            user: &self.tenant.user,
            access,
            last: self.last_link,
            settings: self.session.settings(),
            prefer: self.prefer,
            session: self.seat.id,
            own_writes: self.session.own_writes(),
            since: self.since,
            bytes: self.batch_bytes,
        }
    }

    /// Whether a standby would refuse the collected frames, going by what it refused before.
    fn foresees(&self) -> bool {
        self.foreseen.set(self.known_refusal());
        self.foreseen.get().is_some()
    }

    fn acquired(&mut self, link: Lease, access: Access) {
        if let Some(refusal) = self.foreseen.take() {
            self.shard.counters().refusals[refusal as usize].foreseen.add(1);
            // It may be none: then it must not be run twice, and the session must see what it wrote.
            self.batch_want = Want::Write;
        }
        if matches!(access, Access::Read { .. }) {
            self.prefer = Some(link.key.node);
        }
        self.session.take_own_writes();
        self.seat.cancelled.set(false);
        self.on_replica = self.shard.topology.borrow().primary != Some(link.key.node);
        link.target.primary.set(!self.on_replica);
        self.seat.aim(Some(link.target.clone()));
        if !self.on_replica {
            self.shard.shared.process.lend(link.target.key.process_id, self.seat.process_id);
        }
        self.link = Some(link);
        self.begin();
        self.send_batch();
    }

    /// Brings the backend to the session's settings, in the same send as what comes next. If that fails, the transaction
    /// it runs in stays open and failed, so that nothing behind it can take effect.
    ///
    /// True when there was something to set.
    pub(super) fn begin(&mut self) -> bool {
        let Some(link) = self.link.as_deref_mut() else { return false };
        if !link.backend.quiet() {
            return false;
        }
        if self.shows_channels {
            self.begin_channels();
        }
        let Some(link) = self.link.as_deref_mut() else { return false };
        let settings = self.session.settings();
        if Rc::ptr_eq(&link.settings, settings) {
            return false;
        }
        let mut sql = b"BEGIN;".to_vec();
        let mut switch = Vec::new();
        let any = settings.put_switch(&link.settings, &mut switch);
        if any {
            sql.extend_from_slice(&switch);
            sql.extend_from_slice(b";COMMIT");
            link.socket.send_with(|out| link.backend.own_query(&sql, out));
        }
        link.settings = settings.clone();
        any
    }

    /// The collected frames are refused as a whole.
    pub(super) fn refuse_batch(&mut self, report: &Report) {
        // Each of these is answered by a ReadyForQuery; behind anything else a Sync is still to come.
        let synced =
            matches!(self.batch.last().and_then(|(_, frame)| frame.first()), Some(b'S' | b'Q' | b'F'));
        self.batch.clear();
        self.batch_bytes = 0;
        self.batch_want = Want::Nothing;
        // What of a long frame is still to come is refused with it.
        self.outgoing.drop = self.outgoing.passing > 0;
        self.session.refused();
        self.say(report);
        match synced {
            true => self.say_ready(TransactionStatus::Idle),
            false => self.skipping = true,
        }
        self.asked = None;
    }

    /// Tells the client an error of our own.
    pub(super) fn say(&self, report: &Report) {
        self.shard.counters().errors.add(1);
        self.client.send_with(|out| report.put(out));
    }

    pub(super) fn say_ready(&mut self, status: TransactionStatus) {
        self.session.answered_by_us();
        self.shard.counters().queries.add(1);
        self.client.send_with(|out| put_ready(out, status));
    }

    /// The same, outside a transaction, behind what the session is to be told of first.
    pub(super) fn ready_told_later(&mut self) {
        self.session.answered_by_us();
        self.shard.counters().queries.add(1);
        self.owes_ready = true;
    }

    /// The client got a ReadyForQuery from its server.
    pub(super) fn answered(&mut self, status: TransactionStatus) {
        let counters = self.shard.counters();
        counters.queries.add(1);
        if status == TransactionStatus::Idle {
            counters.transactions.add(1);
        }
        let settled = self.link.as_ref().is_some_and(|link| link.backend.ledger.is_empty());
        let now = self.shard.ring.now();
        self.seat.heard.set(now);
        if settled && let Some(asked) = self.asked.take() {
            self.shard.queries.borrow_mut().record(now.saturating_duration_since(asked));
        }
        if self.wrote && status == TransactionStatus::Idle {
            self.wrote = false;
            let moment = self.shard.shared.moment(now);
            self.floor = Some(moment);
            self.shard.observing.wrote(moment);
            self.shard.shared.process.wrote(moment.0);
        }
    }

    /// Whether nothing keeps the backend here any longer.
    pub(super) fn releasable(&mut self) -> bool {
        self.count_pins();
        let Some(link) = &self.link else { return false };
        let keep = !link.backend.quiet()
            || link.copy_in
            || (self.mode == PoolMode::Session && !self.shard.draining.get())
            || self.deferred.is_some()
            || self.owes_ready
            || self.outgoing.passing > 0
            || !self.batch.is_empty();
        if keep {
            return false;
        }
        let free = self.mode == PoolMode::Session
            || (self.calls_left_nothing() && self.unpinned() && self.listens_no_more());
        self.count_pins();
        free
    }

    /// Gives the backend back.
    pub(super) fn hand_back(&mut self) {
        self.seat.aim(None);
        if let Some(mut link) = self.link.take() {
            self.last_link = link.id;
            // What was called and could not be judged any more.
            link.reset_owed |= self.session.take_called() && self.mode != PoolMode::Session;
            link.reset_owed |= link.listens;
            self.look = None;
            self.looks = 0;
            if std::mem::take(&mut self.lease_wrote) {
                link.last_writer = self.seat.id;
                link.wrote = Some(self.shard.ring.now());
            }
            self.shard.checkin(link);
        }
    }

    /// What was sent to the server may have written.
    pub(super) fn will_write(&mut self) {
        self.wrote = true;
        self.lease_wrote = true;
    }

    /// The backend is gone while the session had it, or is given up for this `reason`.
    pub(super) fn lost(&mut self, reason: &'static str) {
        let Some(mut link) = self.link.take() else { return };
        self.seat.aim(None);
        let torn = link.incoming.passing > 0 && link.incoming.forward;
        let restoring = std::mem::take(&mut self.restoring);
        let readies = link.backend.ledger.readies() + usize::from(restoring);
        let unsynced = link.backend.ledger.unsynced() || std::mem::take(&mut self.moving);
        let owed = !link.backend.ledger.is_empty() || restoring;
        let in_transaction = self.session.status() != TransactionStatus::Idle;
        let pins = self.session.pins();
        let node = link.key.node;
        link.backend.spoil(reason);
        self.shard.checkin(link);
        self.lease_wrote = false;
        self.look = None;
        self.looks = 0;
        if self.wrote && self.told {
            // In a pipeline, a commit may have been passed on before the end of the answer.
            self.shard.observing.wrote(self.shard.shared.moment(self.shard.ring.now()));
        }
        // A read of which the client has heard nothing is run again elsewhere.
        let unheard = !self.told && !torn && !self.kept.is_empty() && !unsynced;
        if unheard
            && self.kept_want == Want::Read
            && !in_transaction
            && pins.is_empty()
            && self.tries < TRIES_MAX
        {
            self.tries += 1;
            self.shard.counters().rerun.add(1);
            self.again = false;
            self.batch = std::mem::take(&mut self.kept);
            self.batch_want = Want::Read;
            self.need = Some(Need::Lease(Want::Read));
            return;
        }
        self.outgoing.drop = self.outgoing.passing > 0;
        self.batch.clear();
        self.batch_bytes = 0;
        self.batch_want = Want::Nothing;
        // Without a word about its end, a transaction has not been committed.
        let unknown = self.wrote && owed && (!in_transaction || self.session.ending());
        match unknown {
            true => self.shard.counters().unknown.add(1),
            false if owed || unsynced || in_transaction => self.shard.counters().cut.add(1),
            false => {}
        }
        let report = match unknown {
            true => Report::error(
                Sqlstate::STATEMENT_COMPLETION_UNKNOWN,
                format!(
                    "the connection to node {node} was lost, and whether the statement took effect is unknown"
                ),
            ),
            false => Report::error(
                Sqlstate::SERIALIZATION_FAILURE,
                format!("the connection to node {node} was lost, and the transaction with it"),
            )
            .hint("Run the transaction again."),
        };
        self.wrote = false;
        self.asked = None;
        self.tries = 0;
        let deferred = self.deferred.take();
        self.kept.clear();
        let readies = readies.max(usize::from(std::mem::take(&mut self.again)));
        let keeps = !pins.is_empty() || self.mode == PoolMode::Session;
        self.session.lost();
        if torn {
            // Half a row cannot be taken back; nothing more can be said on this connection.
            self.end(Ending::Heard);
        } else if keeps {
            let why = match pins.is_empty() {
                true => "it keeps one backend for the whole session (pool.mode = \"session\")".to_owned(),
                false => format!("it had left state there ({pins})"),
            };
            self.end(Ending::Told(Report::fatal(
                Sqlstate::ADMIN_SHUTDOWN,
                format!("terminating the session: the connection to node {node} was lost, and {why}"),
            )));
        } else if owed || unsynced || deferred.is_some() {
            for _ in 0..readies {
                self.say(&report);
                self.say_ready(TransactionStatus::Idle);
            }
            if unsynced {
                self.say(&report);
                self.skipping = true;
            }
        } else if in_transaction {
            self.overdue = Some(Box::new(report));
        }
    }

    /// Ends the session: what it leaves behind is put in order elsewhere. What is left of it: the connection to its client,
    /// with the last words on their way, and how it ended.
    fn finish(mut self: Box<Self>) -> (Socket, &'static str) {
        if !self.counted_pins.is_empty() {
            self.shard.counters().pinned.sub(1);
        }
        if let Some(link) = &mut self.link {
            link.reset_owed = !self.session.pins().is_empty() || self.mode == PoolMode::Session;
            if self.outgoing.passing > 0 && !self.outgoing.drop {
                link.backend.spoil("its client left in the middle of a message");
            }
            if link.incoming.passing > 0 && link.incoming.forward {
                link.incoming.forward = false;
            }
        }
        self.hand_back();
        let Relay { shard, client, end, .. } = *self;
        let reason = match end.map(|end| *end) {
            Some(Ending::Told(report)) => {
                shard.counters().errors.add(1);
                client.send_with(|out| report.put(out));
                "told to leave"
            }
            Some(Ending::Goodbye) => "said goodbye",
            Some(Ending::Heard) => "its server ended the session",
            Some(Ending::Gone) | None => "connection closed",
        };
        (client, reason)
    }

    /// A statement of this session was accepted by a server.
    pub(super) fn parsed(&mut self) {
        if let Some(statement) = self.session.parsed() {
            self.shard.accepted(&self.tenant, &statement);
        }
    }

    /// What was sent may have changed functions, and was answered.
    pub(super) fn defined(&self) {
        self.shard.defined(&self.tenant.database);
    }

    /// What was sent may have changed how logins turn out, and its transaction is over.
    pub(super) fn change_logins(&self) {
        self.shard.change_logins();
    }

    /// The database this session belongs to.
    pub(super) fn database(&self) -> &str {
        &self.tenant.database
    }

    /// The user this session belongs to.
    pub(super) fn user(&self) -> &str {
        &self.tenant.user
    }

    /// Whether another message may be sent to the server.
    pub(super) fn may_send(&self) -> bool {
        self.link.as_ref().is_none_or(|link| {
            !link.socket.congested() && link.backend.ledger.len() < crate::limits::REPLIES_OWED_MAX
        })
    }
}

/// How often one batch is sent again.
pub(super) const TRIES_MAX: u32 = 3;
