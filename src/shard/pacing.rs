//! Opening backends one after the other for a while after a node has come back or become the primary: everybody needs one
//! then, and a server that has just started has enough to do.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::pools::Slot;

/// The pace of one shard.
#[derive(Default)]
pub(super) struct Pacing {
    until: Cell<Option<Instant>>,
    next: Cell<Option<Instant>>,
}

impl Pacing {
    /// From now on, for a while.
    pub fn begin(&self, now: Instant) {
        self.until.set(Some(now + PACED_FOR));
    }

    /// Takes a turn to open a backend. `share`, of 0 to 1: where in the interval before the next one.
    ///
    /// # Errors
    ///
    /// When the next turn is.
    fn take(&self, now: Instant, interval: Duration, share: f64) -> Result<(), Instant> {
        if self.until.get().is_none_or(|until| now >= until) {
            return Ok(());
        }
        match self.next.get().filter(|next| now < *next) {
            Some(next) => Err(next),
            None => {
                // Between half of it and one and a half, so that shards do not keep in step.
                self.next.set(Some(now + interval.mul_f64(0.5 + share)));
                Ok(())
            }
        }
    }
}

impl Shard {
    /// Whether a backend may be opened now. If not, the pool is looked at again when its turn has come.
    pub(super) fn may_open(self: &Rc<Self>, slot: &Rc<Slot>) -> bool {
        let shards = u32::try_from(self.shared.shards.len()).unwrap_or(u32::MAX);
        let share = f64::from((self.random() >> 40) as u32) / f64::from(1 << 24);
        let Err(next) = self.pacing.take(Instant::now(), OPEN_INTERVAL.saturating_mul(shards), share) else {
            return true;
        };
        if !slot.turn_awaited.replace(true) {
            let (shard, slot) = (self.clone(), slot.clone());
            self.ring.spawn(async move {
                shard.ring.sleep_until(next).await;
                slot.turn_awaited.set(false);
                shard.replenish(&slot);
            });
        }
        false
    }
}

/// How long the pace is kept.
const PACED_FOR: Duration = Duration::from_secs(2);

/// The time between two openings by all shards together.
const OPEN_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_one_after_the_other_and_only_for_a_while() {
        let pacing = Pacing::default();
        let (start, interval) = (Instant::now(), Duration::from_millis(10));
        for _ in 0..3 {
            assert_eq!(pacing.take(start, interval, 0.0), Ok(()), "nothing has happened");
        }
        pacing.begin(start);
        assert_eq!(pacing.take(start, interval, 0.25), Ok(()));
        let next = start + interval.mul_f64(0.75);
        assert_eq!(pacing.take(start, interval, 0.0), Err(next));
        assert_eq!(pacing.take(next, interval, 0.0), Ok(()));
        assert_eq!(pacing.take(next, interval, 0.0), Err(next + interval / 2));
        for _ in 0..3 {
            assert_eq!(pacing.take(start + PACED_FOR, interval, 0.0), Ok(()), "it is over");
        }
    }
}
