//! Questions to another thread, and the tasks that wait for the answers.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustc_hash::FxHashMap;

use crate::door::{Answer, Ticket, ToControl, ToShard, Work, Worked};
use crate::ring::Ring;

use super::Shard;

/// The open questions of one shard.
#[derive(Default)]
pub(super) struct Tickets {
    open: RefCell<FxHashMap<u64, Open>>,
    count: std::cell::Cell<u64>,
}

#[derive(Default)]
struct Open {
    reply: Option<Reply>,
    waker: Option<Waker>,
}

pub(super) enum Reply {
    Worked(Worked),
    Answer(Answer),
    Cancelled,
}

impl Tickets {
    /// Hands an answer to whoever waits for it. Nobody may: the task can be gone.
    pub fn answer(&self, ring: &Ring, ticket: Ticket, reply: Reply) {
        if let Some(open) = self.open.borrow_mut().get_mut(&ticket.0) {
            open.reply = Some(reply);
            if let Some(waker) = open.waker.take() {
                ring.wake(waker);
            }
        }
    }

    /// Opens a question.
    fn open(self: &Rc<Self>) -> Waiting {
        self.count.set(self.count.get() + 1);
        let ticket = Ticket(self.count.get());
        self.open.borrow_mut().insert(ticket.0, Open::default());
        Waiting { tickets: self.clone(), ticket }
    }
}

/// Forgets the question when the one who asked goes away.
struct Waiting {
    tickets: Rc<Tickets>,
    ticket: Ticket,
}

impl Waiting {
    async fn reply(&self) -> Option<Reply> {
        poll_fn(|context| {
            let mut open = self.tickets.open.borrow_mut();
            let Some(open) = open.get_mut(&self.ticket.0) else { return Poll::Ready(None) };
            match open.reply.take() {
                Some(reply) => Poll::Ready(Some(reply)),
                None => {
                    open.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.tickets.open.borrow_mut().remove(&self.ticket.0);
    }
}

impl Shard {
    /// Offers a cancel request to every other shard, and waits until all have dealt with it.
    pub(super) async fn offer_cancel(&self, process_id: u32, secret: &[u8]) {
        let mut offered = Vec::new();
        for (index, door) in self.shared.shards.iter().enumerate() {
            if index != self.id.index() {
                let waiting = self.tickets.open();
                let ticket = waiting.ticket;
                let secret = secret.into();
                if door.send(ToShard::Cancel { process_id, secret, from: self.id, ticket }).is_ok() {
                    offered.push(waiting);
                }
            }
        }
        for waiting in offered {
            waiting.reply().await;
        }
    }

    /// Has something slow computed off the shard. `None` when control's queue is full or control is gone.
    pub(super) async fn work(&self, work: Work) -> Option<Worked> {
        let waiting = self.tickets.open();
        let message = ToControl::Work { shard: self.id, ticket: waiting.ticket, work };
        self.shared.control.send(message).ok()?;
        match waiting.reply().await {
            Some(Reply::Worked(worked)) => Some(worked),
            _ => None,
        }
    }

    /// Has control answer a statement of the console.
    pub(super) async fn console(&self, statement: String, user: String) -> Option<Answer> {
        let waiting = self.tickets.open();
        let message = ToControl::Admin { shard: self.id, ticket: waiting.ticket, statement, user };
        self.shared.control.send(message).ok()?;
        match waiting.reply().await {
            Some(Reply::Answer(answer)) => Some(answer),
            _ => None,
        }
    }
}
