//! What was counted while the load was measured.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub(super) struct Tally {
    /// Whether it counts; off while the load warms up.
    pub counting: bool,
    pub queries: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub rows: u64,
    /// From when the query should have been sent to its answer (ns).
    pub latency: Histogram<u64>,
    /// From when it was sent (ns).
    pub service: Histogram<u64>,
}

/// When a query began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// When it was due. In the closed loop, when it was sent.
    pub due: Instant,
    pub sent: Instant,
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            counting: false,
            queries: 0,
            errors: 0,
            first_error: None,
            bytes_received: 0,
            bytes_sent: 0,
            rows: 0,
            latency: histogram(),
            service: histogram(),
        }
    }

    pub fn received(&mut self, bytes: usize) {
        self.bytes_received += if self.counting { bytes as u64 } else { 0 };
    }

    pub fn sent(&mut self, bytes: usize) {
        self.bytes_sent += if self.counting { bytes as u64 } else { 0 };
    }

    pub fn rows(&mut self, rows: u64) {
        self.rows += if self.counting { rows } else { 0 };
    }

    /// A query was answered.
    pub fn answered(&mut self, begun: Begun, now: Instant) {
        if self.counting {
            self.queries += 1;
            self.latency.saturating_record(nanoseconds(now - begun.due));
            self.service.saturating_record(nanoseconds(now - begun.sent));
        }
    }

    /// Something failed. What fails while the load warms up counts too: it should not.
    pub fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS).expect("the bounds are right")
}

/// Longest latency told apart (ns): an hour. What is longer counts as that.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
