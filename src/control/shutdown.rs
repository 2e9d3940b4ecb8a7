//! When the shards are told to end. No clock: times come with the events.
//!
//! ```text
//!   Running ──drain──▶ Draining ──all ended──▶ (over)
//!      │                  │ drain again, stop, or its time is up
//!      └──────stop──────▶ Stopping ──all ended──▶ (over)
//! ```

use std::time::{Duration, Instant};

/// How far the end is.
#[derive(Debug, Default)]
pub(super) enum Shutdown {
    #[default]
    Running,
    /// Transactions may finish until then.
    Draining {
        until: Instant,
    },
    Stopping,
}

/// What to tell every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Drain,
    Stop,
}

impl Shutdown {
    /// The operator wants an orderly end, and for the second time a quick one. `timeout` of zero waits for nothing.
    pub fn drain(&mut self, now: Instant, timeout: Duration) -> Option<Order> {
        match self {
            Shutdown::Running if !timeout.is_zero() => {
                *self = Shutdown::Draining { until: now + timeout };
                Some(Order::Drain)
            }
            _ => self.stop(),
        }
    }

    /// The operator wants the end now.
    pub fn stop(&mut self) -> Option<Order> {
        match std::mem::replace(self, Shutdown::Stopping) {
            Shutdown::Stopping => None,
            Shutdown::Running | Shutdown::Draining { .. } => Some(Order::Stop),
        }
    }

    /// Time went by.
    pub fn tick(&mut self, now: Instant) -> Option<Order> {
        match self {
            Shutdown::Draining { until } if *until <= now => self.stop(),
            _ => None,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self, Shutdown::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_drain_ends_by_a_second_one_or_by_time() {
        let now = Instant::now();
        let mut shutdown = Shutdown::default();
        assert!(shutdown.is_running());
        assert_eq!(shutdown.tick(now), None);
        assert_eq!(shutdown.drain(now, LONG), Some(Order::Drain));
        assert!(!shutdown.is_running());
        assert_eq!(shutdown.tick(now + LONG - Duration::from_nanos(1)), None);
        assert_eq!(shutdown.tick(now + LONG), Some(Order::Stop));
        assert_eq!(
            (shutdown.tick(now + LONG), shutdown.stop(), shutdown.drain(now, LONG)),
            (None, None, None)
        );
        let mut shutdown = Shutdown::default();
        shutdown.drain(now, LONG);
        assert_eq!(shutdown.drain(now, LONG), Some(Order::Stop));
    }

    #[test]
    fn a_stop_or_a_drain_without_time_is_at_once() {
        let mut shutdown = Shutdown::default();
        assert_eq!(shutdown.stop(), Some(Order::Stop));
        let mut shutdown = Shutdown::default();
        assert_eq!(shutdown.drain(Instant::now(), Duration::ZERO), Some(Order::Stop));
    }
}
