//! Model checks of how pictures and answers reach a thread that sleeps: see `src/rung.rs`.

#![cfg(all(loom, test))]

#[path = "../../../src/rung.rs"]
mod rung;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;

use crate::rung::Rung;

/// A queue of which only the length matters, and the wake-ups of its receiver that were not taken yet, as an eventfd counts
/// them. The orderings of the queue are those of crossbeam's `ArrayQueue`: a push moves the tail by a sequentially
/// consistent exchange, and a pop that finds nothing puts a fence before it believes that.
struct Door {
    queued: AtomicUsize,
    rung: Rung,
    woken: AtomicUsize,
}

impl Door {
    fn send(&self) {
        self.queued.fetch_add(1, Ordering::SeqCst);
        if self.rung.ring() {
            self.woken.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How many there are in all.
    fn look(&self) -> usize {
        fence(Ordering::SeqCst);
        self.queued.load(Ordering::Relaxed)
    }
}

/// Two senders, and a receiver that looks whenever it finds that it was woken. What it has not seen when they are done, it
/// must have been woken for.
fn receive(heard_then_look: bool) {
    loom::model(move || {
        let door =
            Arc::new(Door { queued: AtomicUsize::new(0), rung: Rung::default(), woken: AtomicUsize::new(0) });
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let door = door.clone();
                thread::spawn(move || door.send())
            })
            .collect();
        let mut seen = 0;
        for _ in 0..2 {
            if door.woken.swap(0, Ordering::AcqRel) == 0 {
                continue;
            }
            seen = match heard_then_look {
                true => {
                    door.rung.heard();
                    door.look()
                }
                false => {
                    let seen = door.look();
                    door.rung.heard();
                    seen
                }
            };
        }
        for sender in senders {
            sender.join().expect("it ends");
        }
        assert!(seen == 2 || door.woken.load(Ordering::Acquire) > 0, "it sleeps, and {seen} of 2 were seen");
    });
}

#[test]
fn nothing_that_was_queued_is_slept_through() {
    receive(true);
}

/// To prove that the model can fail.
#[test]
#[should_panic(expected = "it sleeps")]
fn who_looks_before_it_hears_is_found_out() {
    receive(false);
}

/// What a sender wrote before it rang is there for who has heard it.
#[test]
fn what_was_written_before_the_ring_is_seen_behind_it() {
    loom::model(|| {
        let (rung, written) = (Arc::new(Rung::default()), Arc::new(AtomicBool::new(false)));
        let (ringing, writing) = (rung.clone(), written.clone());
        let sender = thread::spawn(move || {
            writing.store(true, Ordering::Relaxed);
            ringing.ring();
        });
        if rung.heard() {
            assert!(written.load(Ordering::Relaxed));
        }
        sender.join().expect("it ends");
    });
}
