//! The numbers of the last minute: rates and percentiles are about now, not about the whole life of the process.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::control::gather::Gathered;
use crate::counters::{Counter, Latencies, ShardCounters};
use crate::door::Shared;

/// What all shards together have counted since the start.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Totals {
    pub assignments: u64,
    pub transactions: u64,
    pub queries: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub logins: u64,
    pub errors: u64,
    pub query_times: Latencies,
    pub wait_times: Latencies,
}

impl Totals {
    /// The sums over all shards.
    pub fn of(shared: &Shared, gathered: &Gathered) -> Totals {
        let sum = |counter: fn(&ShardCounters) -> &Counter| {
            shared.counters.iter().map(|shard| counter(shard).read()).sum()
        };
        let nodes = shared.counters.iter().flat_map(|shard| &shard.nodes);
        let mut totals = Totals {
            assignments: nodes.map(|node| node.reads.read() + node.writes.read()).sum(),
            transactions: sum(|shard| &shard.transactions),
            queries: sum(|shard| &shard.queries),
            bytes_in: sum(|shard| &shard.bytes_in),
            bytes_out: sum(|shard| &shard.bytes_out),
            logins: sum(|shard| &shard.logins),
            errors: sum(|shard| &shard.errors),
            query_times: Latencies::default(),
            wait_times: Latencies::default(),
        };
        for snapshot in gathered.iter().flatten() {
            totals.query_times.add(&snapshot.queries);
            totals.wait_times.add(&snapshot.waits);
        }
        totals
    }
}

/// Samples of the last minute, the oldest first.
#[derive(Debug, Default)]
pub(in crate::control) struct Window {
    samples: VecDeque<(Instant, Totals)>,
}

impl Window {
    pub fn push(&mut self, now: Instant, totals: Totals) {
        while self.samples.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > LENGTH) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, totals));
    }

    /// The oldest sample of the last minute, and how long ago it was taken.
    pub fn oldest(&self, now: Instant) -> (Duration, Totals) {
        let mut samples =
            self.samples.iter().map(|(then, totals)| (now.saturating_duration_since(*then), totals));
        let oldest = samples.find(|(ago, _)| *ago <= LENGTH);
        oldest.map_or_else(Default::default, |(ago, totals)| (ago, totals.clone()))
    }
}

/// PgBouncer's `stats_period`.
const LENGTH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_the_last_minute() {
        let start = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.oldest(start).0, Duration::ZERO);
        for seconds in (0..=100).step_by(10) {
            let totals = Totals { queries: seconds, ..Totals::default() };
            window.push(start + Duration::from_secs(seconds), totals);
        }
        let (ago, oldest) = window.oldest(start + Duration::from_secs(105));
        assert_eq!((ago.as_secs(), oldest.queries), (55, 50));
        assert!(window.samples.len() <= 7);
    }
}
