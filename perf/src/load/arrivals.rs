//! When queries arrive in the open loop.

use std::time::Duration;

use super::Spread;

/// A schedule without an end. It goes on by itself, whether or not anybody is free to send: an arrival stays next until
/// it is [taken](Self::take), with the time at which it was due.
#[derive(Clone)]
pub(super) struct Arrivals {
    spread: Spread,
    /// Mean time between two arrivals (seconds).
    interval: f64,
    /// How many were taken.
    taken: u64,
    /// When the next one is due (seconds since the start).
    next: f64,
    random: fastrand::Rng,
}

impl Arrivals {
    /// `rate` arrivals per second. The same seed gives the same schedule.
    pub fn new(spread: Spread, rate: f64, seed: u64) -> Arrivals {
        let random = fastrand::Rng::with_seed(seed);
        Arrivals { spread, interval: 1.0 / rate, taken: 0, next: 0.0, random }
    }

    /// When the next arrival is due, since the start.
    pub fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next)
    }

    /// Takes the next arrival; says when it was due.
    pub fn take(&mut self) -> Duration {
        let due = self.due();
        self.taken += 1;
        self.next = match self.spread {
            // From the count, so that rounding does not add up.
            Spread::Even => self.taken as f64 * self.interval,
            Spread::Poisson => self.next - self.interval * (1.0 - self.random.f64()).ln(),
        };
        due
    }

    /// How many arrivals are due until `time` and not taken.
    pub fn waiting(mut self, time: Duration) -> u64 {
        let taken = self.taken;
        while self.due() <= time {
            self.take();
        }
        self.taken - taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_arrivals_keep_their_distance_for_hours() {
        let mut arrivals = Arrivals::new(Spread::Even, 3_000.0, 1);
        for _ in 0..3_000 * 3_600 {
            arrivals.take();
        }
        assert_eq!(arrivals.due(), Duration::from_secs(3_600));
        assert_eq!(arrivals.waiting(Duration::from_millis(3_600_001)), 4);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_their_name() {
        let mut arrivals = Arrivals::new(Spread::Poisson, 1_000.0, 7);
        let dues: Vec<f64> = (0..100_000).map(|_| arrivals.take().as_secs_f64()).collect();
        let gaps: Vec<f64> = dues.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((0.98e-3..1.02e-3).contains(&mean), "{mean}");
        // An exponential distribution exceeds its mean in one of e cases.
        let above = gaps.iter().filter(|gap| **gap > 1e-3).count() as f64 / gaps.len() as f64;
        assert!((0.36..0.375).contains(&above), "{above}");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn an_arrival_that_waits_keeps_its_time() {
        let mut arrivals = Arrivals::new(Spread::Even, 10.0, 1);
        assert_eq!([arrivals.take(), arrivals.take()], [Duration::ZERO, Duration::from_millis(100)]);
        assert_eq!(arrivals.due(), Duration::from_millis(200));
    }
}
