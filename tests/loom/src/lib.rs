//! Model checks of how pictures and answers reach a thread that sleeps: see `src/rung.rs`.

#![cfg(loom)]

#[path = "../../../src/rung.rs"]
mod rung;

#[cfg(test)]
mod tests {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use crate::rung::Rung;

    /// A queue of which only the length matters, and what wakes its receiver. The orderings are those of crossbeam's
    /// `ArrayQueue`: a push moves the tail by a sequentially consistent exchange, and a pop that finds nothing puts a
    /// fence before it believes that.
    #[derive(Default)]
    struct Door {
        queued: AtomicUsize,
        rung: Rung,
        event: Event,
    }

    /// An eventfd: a wake-up that comes before the wait is kept.
    struct Event(Notify);

    impl Default for Event {
        fn default() -> Event {
            Event(Notify::new())
        }
    }

    impl Door {
        fn send(&self) {
            self.queued.fetch_add(1, Ordering::SeqCst);
            if self.rung.ring() {
                self.event.0.notify();
            }
        }

        /// How many there are in all.
        fn look(&self) -> usize {
            fence(Ordering::SeqCst);
            self.queued.load(Ordering::Relaxed)
        }
    }

    /// Two senders; the receiver sleeps until it is woken, again and again, and must come to see both messages. Loom
    /// reports a receiver that sleeps for ever.
    fn receive_all(heard_then_look: bool) {
        loom::model(move || {
            let door = Arc::new(Door::default());
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let door = door.clone();
                    thread::spawn(move || door.send())
                })
                .collect();
            let mut seen = 0;
            while seen < 2 {
                door.event.0.wait();
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
        });
    }

    #[test]
    fn nothing_that_was_queued_is_slept_through() {
        receive_all(true);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn who_looks_before_it_hears_is_found_out() {
        receive_all(false);
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
}
