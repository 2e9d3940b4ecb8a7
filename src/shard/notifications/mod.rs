//! LISTEN without a backend for each session: one connection to the primary listens for all sessions of a database and
//! user on this shard, and what it hears is handed out here.
//!
//! ```text
//! session: LISTEN x   ─▶ the hub's connection listens to x too   (Relay::join, before anything is sent that may commit it)
//!                     ─▶ the session's backend runs it, and says what there is to say about it
//!                        UNLISTEN * behind it, when the backend is given back
//! NOTIFY, anywhere    ─▶ the hub's connection hears it ─▶ each subscriber keeps it ─▶ the session is told
//! ```
//!
//! A session is told as the server would tell it: at once while it is at rest, else behind its transaction and before the
//! ReadyForQuery. That one is held back until the hub's connection has said that it heard all there was up to then
//! ([`Relay::tell`]): so a session's own notifications come before it, as they do from the server, and so do those of others
//! that were committed before.
//!
//! The backend that runs a LISTEN hears, too, as long as its session has it; what it says about channels that the hub hears
//! is dropped. When the hub cannot listen, the session keeps that backend instead.
//!
//! * [`hub`]: who hears what; [`connection`]: the one that listens; [`subscriber`]: a session's own notifications.

mod connection;
mod hub;
mod subscriber;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::door::ListenerSnapshot;
use crate::session::Pins;
use crate::wire::Sqlstate;
use crate::wire::backend::{Report, TransactionStatus, put_ready, read_notification};

use super::Shard;
use super::functions::Look;
use super::link::Link;
use super::relay::{Need, Relay};
use super::seats::Seat;

use self::hub::Reply;
pub(super) use self::hub::{Hub, HubKey};
use self::subscriber::Subscriber;

/// A session's part in a hub, given up when it is dropped.
pub(super) struct Listening {
    hub: Rc<Hub>,
    subscriber: Rc<Subscriber>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.quit(&self.subscriber);
    }
}

impl Listening {
    /// Whether what is notified there is heard by the hub.
    pub fn hears(&self, channel: &[u8]) -> bool {
        self.subscriber.listens(channel)
    }
}

impl Shard {
    /// A session's part in the hub of this name, which is opened if need be.
    fn listen(self: &Rc<Self>, key: HubKey, seat: &Rc<Seat>) -> Listening {
        let known = self.hubs.borrow().get(&key).cloned();
        let hub = known.unwrap_or_else(|| {
            let hub = Rc::new(Hub::new(key.clone(), self.ring.clone()));
            self.hubs.borrow_mut().insert(key, hub.clone());
            self.ring.spawn(connection::run(self.clone(), hub.clone()));
            hub
        });
        let subscriber = Rc::new(Subscriber::new(seat.clone()));
        hub.enter(&subscriber);
        Listening { hub, subscriber }
    }

    /// The sessions that listen now.
    pub(super) fn listeners_snapshot(&self) -> Vec<ListenerSnapshot> {
        let hubs = self.hubs.borrow();
        let all = hubs.values().flat_map(|hub| {
            let subscribers = hub.subscribers.borrow();
            let rows = subscribers.iter().map(|subscriber| ListenerSnapshot {
                process_id: subscriber.seat.process_id,
                database: hub.key.database.clone(),
                user: hub.key.user.clone(),
                channels: (subscriber.channels.borrow().iter())
                    .map(|channel| String::from_utf8_lossy(channel).into_owned())
                    .collect(),
                waiting: subscriber.waiting() as u64,
                since: subscriber.since,
            });
            rows.collect::<Vec<_>>()
        });
        all.collect()
    }
}

impl Relay {
    /// Has the hub listen to what the session is about to. What cannot be had there keeps the session's backend.
    pub(super) async fn join(&mut self) {
        let mut channels: Vec<Box<[u8]>> = Vec::new();
        for name in self.session.joining() {
            let heard = self.listening.as_ref().is_some_and(|listening| listening.hears(name));
            if !heard && !channels.iter().any(|known| **known == *name) {
                channels.push(name.into());
            }
        }
        if channels.is_empty() {
            return;
        }
        if self.listening.is_none() {
            let listening = self.shard.listen(self.hub_key(), &self.seat);
            self.listening = Some(Box::new(listening));
        }
        match self.heard_by(channels).await {
            Some(true) => {}
            // Nothing is left to keep; the main loop sees that it is gone.
            Some(false) if self.link.as_ref().is_some_and(|link| link.socket.end().is_some()) => {}
            Some(false) => {
                tracing::debug!("a session keeps its backend to listen");
                self.session.pin(Pins::LISTEN);
            }
            // Again, when what it was interrupted for is done, unless that was its end.
            None => {
                self.need = Some(Need::Channels);
                self.look_around();
            }
        }
    }

    /// Whether the hub listens to these from now on; `None` when the session has to do something else first.
    async fn heard_by(&self, channels: Vec<Box<[u8]>>) -> Option<bool> {
        let listening = self.listening.as_ref()?;
        let timeout = self.shard.policy.borrow().config.pool.connect_timeout;
        let reply = listening.hub.join(&listening.subscriber, channels);
        let answered = self.unless_cut(&reply);
        self.shard.ring.deadline(Instant::now() + timeout, answered).await.unwrap_or(Some(false))
    }

    /// Waits for a reply; `None` when the session may have to leave its node before it comes.
    async fn unless_cut(&self, reply: &Reply) -> Option<bool> {
        let mut answered = std::pin::pin!(reply.wait());
        poll_fn(|context| {
            if let Poll::Ready(well) = answered.as_mut().poll(context) {
                return Poll::Ready(Some(well));
            }
            self.seat.watch(context.waker());
            match self.seat.cut.get() || self.seat.must_leave() {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn hub_key(&self) -> HubKey {
        let encoding = self.reported.get(b"client_encoding").unwrap_or(b"UTF8");
        HubKey {
            database: self.tenant.database.clone(),
            user: self.tenant.user.clone(),
            encoding: encoding.into(),
        }
    }

    /// What the hub hears from this backend belongs to whoever has it by then: a session that listens gets none of which
    /// something may still be on its way that another session has notified.
    pub(super) async fn await_silence(&self, link: &Link) {
        if let Some(listening) = &self.listening
            && link.last_writer != self.seat.id
            && link.wrote.is_some_and(|wrote| !listening.hub.has_heard(wrote))
        {
            let reply = listening.hub.echo();
            self.shard.ring.deadline(Instant::now() + ECHO_MAX, reply.wait()).await;
        }
    }

    /// Tells the session what was notified, and then that the server is ready, which it was not told yet.
    pub(super) async fn tell(&mut self) {
        self.follow_encoding().await;
        if let Some(listening) = &self.listening {
            let reply = listening.hub.echo();
            self.shard.ring.deadline(Instant::now() + ECHO_MAX, self.unless_cut(&reply)).await;
        }
        self.put_notifications();
        self.leave_channels();
        self.owes_ready = false;
        self.client.send_with(|out| put_ready(out, TransactionStatus::Idle));
        self.say_ours(|_| {});
        if self.releasable() {
            self.hand_back();
        }
    }

    /// Tells the session what was notified while it is at rest. What the client has no room for waits.
    pub(super) fn tell_idle(&self) {
        if self.session.status() == TransactionStatus::Idle && self.at_rest() {
            while !self.client.congested() && self.put_notification() {}
        }
    }

    fn put_notifications(&self) {
        while self.put_notification() {}
    }

    /// Tells the next one that there is, unless the session does not listen there any more. False when there is none.
    fn put_notification(&self) -> bool {
        let Some(listening) = &self.listening else { return false };
        let Some(notification) = listening.subscriber.next() else { return false };
        if self.session.channels().contains(notification.channel()) {
            self.client.send_copy(notification.frame());
        }
        true
    }

    /// Gives up what the session does not listen to, unless it is about to.
    fn leave_channels(&mut self) {
        let Some(listening) = &self.listening else { return };
        if self.session.joining().next().is_some() {
            return;
        }
        let channels = self.session.channels();
        if channels.is_empty() {
            self.listening = None;
            return;
        }
        let left: Vec<Box<[u8]>> = {
            let heard = listening.subscriber.channels.borrow();
            heard.iter().filter(|name| !channels.contains(name)).cloned().collect()
        };
        for channel in left {
            listening.hub.leave(&listening.subscriber, &channel);
        }
    }

    /// A session that wants to be spoken to in another encoding changes to the hub that does.
    async fn follow_encoding(&mut self) {
        let key = self.hub_key();
        let Some(before) = self.listening.take_if(|listening| listening.hub.key != key) else { return };
        let channels: Vec<_> = before.subscriber.channels.borrow().iter().cloned().collect();
        self.listening = Some(Box::new(self.shard.listen(key, &self.seat)));
        let changed = self.heard_by(channels).await;
        let after = self.listening.replace(before);
        if changed == Some(true) {
            self.put_notifications();
            self.listening = after;
        }
    }

    /// Whether the hub hears, too, what a backend says here.
    pub(super) fn told_by_hub(&self, body: &[u8]) -> bool {
        let channel = read_notification(body).map(|(_, channel, _)| channel);
        self.listening.as_ref().zip(channel.ok()).is_some_and(|(listening, channel)| listening.hears(channel))
    }

    /// Has the backend forget what it listens to, before another session gets it. True when there is nothing to forget.
    pub(super) fn listens_no_more(&mut self) -> bool {
        let Some(link) = self.link.as_deref_mut() else { return true };
        if !std::mem::take(&mut link.listens) {
            return true;
        }
        link.shows = false;
        link.socket.send_with(|out| link.backend.look(b"UNLISTEN *", out));
        self.look = Some(Box::new(Look::Unlisten));
        false
    }

    /// Something is about to be sent that may listen on the backend itself.
    pub(super) fn note_listening(&mut self) {
        if let Some(link) = &mut self.link {
            link.listens |= self.session.take_listened();
        }
    }

    /// The session asks what it listens to. On a backend that nobody has begun to use the same is listened to, so that the
    /// server answers right; on another one that would take effect too late.
    pub(super) fn show_channels(&mut self) -> Result<(), Box<Report>> {
        let late = self.link.as_ref().is_some_and(|link| !link.shows && !link.backend.quiet());
        if late || self.session.status() != TransactionStatus::Idle {
            let message =
                "pg_listening_channels() cannot be asked inside a transaction or behind other statements";
            return Err(Box::new(
                Report::error(Sqlstate::FEATURE_NOT_SUPPORTED, message)
                    .hint("Ask it by itself, or set pool.mode = \"session\" for this database or user."),
            ));
        }
        self.shows_channels = true;
        Ok(())
    }

    /// See [`show_channels`](Self::show_channels).
    pub(super) fn begin_channels(&mut self) {
        if let Some(link) = self.link.as_deref_mut()
            && std::mem::take(&mut self.shows_channels)
            && !link.shows
        {
            let mut sql = Vec::new();
            connection::put_listens(&mut sql, self.session.channels().iter());
            link.socket.send_with(|out| link.backend.own_query(&sql, out));
            link.listens = true;
            link.shows = true;
        }
    }
}

/// How long a session waits for the hub to have heard all there is.
const ECHO_MAX: Duration = Duration::from_secs(1);
