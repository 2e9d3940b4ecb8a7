//! Whether whoever is behind a queue has been woken and has not looked yet. It spares a thousand messages a thousand
//! wake-ups, and must not let the last of them be slept through; `tests/loom` plays through every order.
//!
//! ```text
//!  sender    queue a message ▶ ring ▶ wake the receiver, if told to
//!  receiver  woken ▶ hear ▶ look into the queue until it is empty ▶ sleep
//! ```

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module's text.
#[derive(Debug)]
pub struct Rung(AtomicBool);

impl Default for Rung {
    fn default() -> Rung {
        Rung(AtomicBool::new(false))
    }
}

impl Rung {
    /// Says that there is something in the queue. True when the receiver has to be woken: otherwise it has been already,
    /// and has not looked since.
    pub fn ring(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    /// The receiver is about to look: what is queued from here on rings anew. Whether anybody has rung.
    ///
    /// Sequentially consistent, because otherwise the look could be taken before others see this.
    pub fn heard(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}
