//! Who hears what: the sessions of one database and user that listen, by channel, and what is asked of the connection that
//! listens for them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::ring::Ring;

use super::subscriber::{Notification, Subscriber};

/// Names a hub. Sessions that are spoken to in different encodings have different ones.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct HubKey {
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub encoding: Box<[u8]>,
}

/// See the module's text.
pub(in super::super) struct Hub {
    pub key: HubKey,
    ring: Ring,
    channels: RefCell<FxHashMap<Box<[u8]>, Channel>>,
    pub(super) subscribers: RefCell<Vec<Rc<Subscriber>>>,
    /// What is to be sent.
    pub(super) requests: RefCell<VecDeque<Request>>,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
    /// True exactly while there is a connection.
    connected: Cell<bool>,
    /// What was committed before this has been heard.
    heard: Cell<Option<Instant>>,
}

/// Who listens to one channel, and how many are about to.
#[derive(Default)]
struct Channel {
    subscribers: Vec<Rc<Subscriber>>,
    joining: usize,
}

/// What is asked of the connection.
pub(super) enum Request {
    Join {
        subscriber: Rc<Subscriber>,
        channels: Vec<Box<[u8]>>,
        asked: Instant,
        reply: Rc<Reply>,
    },
    Leave(Box<[u8]>),
    /// To say that all is heard that was committed until now.
    Echo {
        asked: Instant,
        reply: Rc<Reply>,
    },
}

/// Whether what was asked came to pass, once that is known.
#[derive(Default)]
pub(super) struct Reply {
    outcome: Cell<Option<bool>>,
    waker: RefCell<Option<Waker>>,
}

impl Reply {
    pub async fn wait(&self) -> bool {
        poll_fn(|context| match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    pub fn resolve(&self, ring: &Ring, outcome: bool) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.borrow_mut().take() {
            ring.wake(waker);
        }
    }
}

impl Hub {
    pub fn new(key: HubKey, ring: Ring) -> Hub {
        Hub {
            key,
            ring,
            channels: RefCell::default(),
            subscribers: RefCell::default(),
            requests: RefCell::default(),
            waker: RefCell::default(),
            connected: Cell::default(),
            heard: Cell::default(),
        }
    }

    /// A session is about to listen.
    pub(super) fn enter(&self, subscriber: &Rc<Subscriber>) {
        self.subscribers.borrow_mut().push(subscriber.clone());
    }

    /// A session listens no more.
    pub(super) fn quit(&self, subscriber: &Rc<Subscriber>) {
        for channel in subscriber.channels.take() {
            self.leave(subscriber, &channel);
        }
        self.subscribers.borrow_mut().retain(|known| !Rc::ptr_eq(known, subscriber));
        self.wake();
    }

    /// Has channels listened to; what is committed behind the reply is heard. Whoever drops the reply has changed his mind.
    pub(super) fn join(&self, subscriber: &Rc<Subscriber>, channels: Vec<Box<[u8]>>) -> Rc<Reply> {
        for channel in &channels {
            self.channels.borrow_mut().entry(channel.clone()).or_default().joining += 1;
        }
        let reply = Rc::<Reply>::default();
        let subscriber = subscriber.clone();
        self.ask(Request::Join { subscriber, channels, asked: self.ring.now(), reply: reply.clone() });
        reply
    }

    /// One channel less for a session. Nothing of it is heard any more when nobody else listens to it.
    pub(super) fn leave(&self, subscriber: &Rc<Subscriber>, channel: &[u8]) {
        subscriber.channels.borrow_mut().remove(channel);
        let mut channels = self.channels.borrow_mut();
        let Some(known) = channels.get_mut(channel) else { return };
        known.subscribers.retain(|known| !Rc::ptr_eq(known, subscriber));
        if known.subscribers.is_empty() && known.joining == 0 {
            channels.remove(channel);
            drop(channels);
            self.ask(Request::Leave(channel.into()));
        }
    }

    /// Asks for a reply behind all that is committed by now. Without a connection there is none to wait for.
    pub(super) fn echo(&self) -> Rc<Reply> {
        let reply = Rc::<Reply>::default();
        match self.connected.get() {
            true => self.ask(Request::Echo { asked: self.ring.now(), reply: reply.clone() }),
            false => reply.resolve(&self.ring, false),
        }
        reply
    }

    /// Whether all is heard that was committed before `moment`.
    pub(super) fn has_heard(&self, moment: Instant) -> bool {
        self.heard.get().is_some_and(|heard| moment < heard)
    }

    fn ask(&self, request: Request) {
        self.requests.borrow_mut().push_back(request);
        self.wake();
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            self.ring.wake(waker);
        }
    }

    pub(super) fn watch(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// Whether nobody needs it.
    pub(super) fn unused(&self) -> bool {
        self.subscribers.borrow().is_empty() && self.requests.borrow().is_empty()
    }

    /// The channels to listen to on a new connection. Those that somebody is about to join are asked for by them.
    pub(super) fn listened(&self) -> Vec<Box<[u8]>> {
        let channels = self.channels.borrow();
        let listened = channels.iter().filter(|(_, channel)| !channel.subscribers.is_empty());
        listened.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn connected(&self) {
        self.connected.set(true);
    }

    /// The connection is gone, and these were sent over it and not answered. Who wanted to listen still does.
    pub(super) fn lost(&self, sent: impl DoubleEndedIterator<Item = Request>) {
        self.connected.set(false);
        let asked: Vec<_> = sent.chain(self.requests.take()).collect();
        for request in asked {
            match request {
                Request::Join { .. } => self.requests.borrow_mut().push_back(request),
                // A new connection does not listen to it.
                Request::Leave(_) => {}
                Request::Echo { reply, .. } => reply.resolve(&self.ring, false),
            }
        }
    }

    /// There will be no connection soon: who waits to listen need not.
    pub(super) fn refuse(&self) {
        for request in self.requests.take() {
            self.answered(request, false);
        }
    }

    /// What was asked came to pass, or failed.
    pub(super) fn answered(&self, request: Request, well: bool) {
        match request {
            Request::Leave(_) => {}
            Request::Echo { asked, reply } => {
                if well {
                    self.heard.set(Some(asked));
                }
                reply.resolve(&self.ring, well);
            }
            Request::Join { subscriber, channels, asked, reply } => {
                let well = well && Rc::strong_count(&reply) > 1;
                for channel in channels {
                    self.joined(&subscriber, channel, well);
                }
                if well {
                    self.heard.set(Some(asked));
                }
                reply.resolve(&self.ring, well);
            }
        }
    }

    fn joined(&self, subscriber: &Rc<Subscriber>, name: Box<[u8]>, well: bool) {
        let mut channels = self.channels.borrow_mut();
        let Some(channel) = channels.get_mut(&name) else { return };
        channel.joining -= 1;
        if well && subscriber.channels.borrow_mut().insert(name.clone()) {
            channel.subscribers.push(subscriber.clone());
        }
        if channel.subscribers.is_empty() && channel.joining == 0 {
            channels.remove(&name);
            drop(channels);
            self.ask(Request::Leave(name));
        }
    }

    /// Something was notified by the backend with the process id `from`; `known` says what to call that.
    pub(super) fn heard(
        &self,
        from: u32,
        channel: &[u8],
        payload: &[u8],
        known: impl Fn(u32) -> Option<u32>,
    ) {
        let channels = self.channels.borrow();
        let Some(channel_of) = channels.get(channel).filter(|channel| !channel.subscribers.is_empty()) else {
            return;
        };
        let notification = Rc::new(Notification::new(known(from).unwrap_or(from), channel, payload));
        for subscriber in &channel_of.subscribers {
            subscriber.hear(&self.ring, &notification);
        }
    }
}
