//! One session that listens: what it is to be told, until it is.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::SystemTime;

use crate::limits::NOTIFICATIONS_UNTOLD_MAX;
use crate::ring::Ring;
use crate::wire::Sqlstate;
use crate::wire::backend::{Report, put_notification};
use crate::wire::frame::HEAD_SIZE;

use super::super::seats::Seat;

/// What was notified, as all sessions that hear it are told.
pub(super) struct Notification {
    frame: Box<[u8]>,
    /// Bytes of the channel's name.
    channel: usize,
}

impl Notification {
    /// `from` is the process id of who sent it.
    pub fn new(from: u32, channel: &[u8], payload: &[u8]) -> Notification {
        let mut frame = Vec::with_capacity(HEAD_SIZE + 4 + channel.len() + payload.len() + 2);
        put_notification(&mut frame, from, channel, payload);
        Notification { frame: frame.into(), channel: channel.len() }
    }

    /// The whole NotificationResponse.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub fn channel(&self) -> &[u8] {
        let start = HEAD_SIZE + 4;
        &self.frame[start..start + self.channel]
    }
}

/// See the module's text.
pub(super) struct Subscriber {
    pub seat: Rc<Seat>,
    pub since: SystemTime,
    /// What the listening connection hears for it. More than the session listens to, while transactions are under way.
    pub channels: RefCell<BTreeSet<Box<[u8]>>>,
    untold: RefCell<VecDeque<Rc<Notification>>>,
    bytes: Cell<usize>,
}

impl Subscriber {
    pub fn new(seat: Rc<Seat>) -> Subscriber {
        Subscriber {
            seat,
            since: SystemTime::now(),
            channels: RefCell::default(),
            untold: RefCell::default(),
            bytes: Cell::default(),
        }
    }

    pub fn listens(&self, channel: &[u8]) -> bool {
        self.channels.borrow().contains(channel)
    }

    /// Keeps a notification for the session, and wakes it if it is at rest. Whoever lets too much pile up has to leave.
    pub fn hear(&self, ring: &Ring, notification: &Rc<Notification>) {
        if self.seat.must_leave() {
            return;
        }
        self.bytes.set(self.bytes.get() + notification.frame().len());
        if self.bytes.get() > NOTIFICATIONS_UNTOLD_MAX {
            self.untold.take();
            self.bytes.set(0);
            let report = Report::fatal(
                Sqlstate::PROGRAM_LIMIT_EXCEEDED,
                "terminating connection because too many notifications wait for it",
            );
            return self.seat.dismiss(
                ring,
                report.hint(format!(
                    "At most {NOTIFICATIONS_UNTOLD_MAX} bytes wait for a client that does not read or whose transaction \
                     goes on."
                )),
            );
        }
        self.untold.borrow_mut().push_back(notification.clone());
        if self.seat.idle.get() {
            self.seat.wake(ring);
        }
    }

    /// The next one that the session was not told.
    pub fn next(&self) -> Option<Rc<Notification>> {
        let notification = self.untold.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get() - notification.frame().len());
        Some(notification)
    }

    /// Bytes that wait for the session.
    pub fn waiting(&self) -> usize {
        self.bytes.get()
    }
}
