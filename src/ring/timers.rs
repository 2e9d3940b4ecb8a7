//! Sleeping and deadlines. The next one bounds how long the ring waits.
//!
//! Only rare things sleep (a login, a wait for a backend, a pause after an error, upkeep once a second); what a running
//! query needs is looked at by the upkeep. So a sorted map serves, and the hot path never touches it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::Ring;

#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    count: u64,
}

impl Timers {
    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Removes one timer that is due at `now`.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Waker> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

impl Ring {
    /// Completes at `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep { ring: self.clone(), deadline, key: None }
    }

    /// `future`'s value, or `None` when `deadline` comes first.
    pub async fn deadline<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let mut sleep = std::pin::pin!(self.sleep_until(deadline));
        std::future::poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}

/// See [`Ring::sleep_until`]. Dropping it forgets the timer.
pub struct Sleep {
    ring: Ring,
    deadline: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        let key = {
            let mut inner = self.ring.inner.borrow_mut();
            let key = self.key.unwrap_or_else(|| {
                inner.timers.count += 1;
                (self.deadline, inner.timers.count)
            });
            inner.timers.waiting.insert(key, context.waker().clone());
            key
        };
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.ring.inner.borrow_mut().timers.waiting.remove(&key);
        }
    }
}
