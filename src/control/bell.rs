//! How other threads wake control: a flag and the waker of the one task that looks into the queues.
//!
//! The counterpart of a shard's doorbell, for a thread that sleeps in glommio's ring: glommio's wakers may be called from
//! any thread, and do there what an eventfd does.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use crate::rung::Rung;

/// Wakes control from any thread. Ringing twice before it was heard costs one system call, not two.
#[derive(Clone, Default)]
pub struct Bell {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    rung: Rung,
    /// Set by the first wait, and never again: it is always the same task that waits.
    waker: OnceLock<Waker>,
}

impl Bell {
    /// Wakes the task. What was queued before the call is seen by it.
    pub fn ring(&self) {
        if self.shared.rung.ring()
            && let Some(waker) = self.shared.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Waits until somebody rings. Look into the queues afterwards: bells are not counted.
    ///
    /// Only ever awaited by one task, and directly: not inside a combinator that has wakers of its own.
    pub(super) async fn rung(&self) {
        poll_fn(|context| {
            // Before the flag is looked at: who rings after that look finds the waker.
            let waker = self.shared.waker.get_or_init(|| context.waker().clone());
            debug_assert!(waker.will_wake(context.waker()));
            match self.shared.rung.heard() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Two threads announce what they queued; every announcement is heard, although most bells are swallowed.
    #[test]
    fn nothing_queued_before_a_ring_is_overlooked() {
        const EACH: u64 = 20_000;
        let (bell, queued) = (Bell::default(), Arc::new(AtomicU64::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (bell, queued) = (bell.clone(), queued.clone());
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        queued.fetch_add(1, Ordering::SeqCst);
                        bell.ring();
                    }
                })
            })
            .collect();
        let executor = glommio::LocalExecutorBuilder::default()
            .io_memory(64 * 1024)
            .ring_depth(8)
            .make()
            .expect("io_uring is allowed where the tests run");
        executor.run(async move {
            let waiting = glommio::spawn_local(async move {
                while queued.load(Ordering::SeqCst) < 2 * EACH {
                    bell.rung().await;
                }
            });
            waiting.await;
        });
        for thread in threads {
            thread.join().expect("it only counts");
        }
    }
}
