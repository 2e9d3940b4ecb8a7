//! Moments and durations.

use std::time::Duration;

use crate::topology::Moment;

/// Counting with moments, without overflow.
pub(super) trait Later {
    /// The moment so long after this one.
    fn later(self, by: Duration) -> Self;
    /// How long after `earlier`; zero if it is not.
    fn after(self, earlier: Self) -> Duration;
}

impl Later for Moment {
    fn later(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn after(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
