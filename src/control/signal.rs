//! How one task of control wakes another.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Set by any task, waited for by one.
#[derive(Debug, Default)]
pub(super) struct Signal {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub fn set(&self) {
        self.set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until it is set, and takes it back.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.set.take() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn it_is_heard_once_also_when_set_before() {
        let signal = Signal::default();
        signal.set();
        block_on(signal.wait());
        assert!(block_on(poll_once(signal.wait())).is_none());
        signal.set();
        signal.set();
        assert!(block_on(poll_once(signal.wait())).is_some());
        assert!(block_on(poll_once(signal.wait())).is_none());
    }
}
