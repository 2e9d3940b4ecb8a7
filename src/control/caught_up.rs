//! Until which moment a replica has everything: what lets a session's read follow its own write to a replica.
//!
//! When the primary was asked at the moment m and answered that its WAL ended at L, then everything committed before m
//! lies before L. So a replica that has replayed L shows everything that was committed before m. The last few such
//! pairs are kept, so that a replica that is some probes behind still gets the newest m it has reached.
//!
//! This counts time on one clock only, ours, and needs no position from the session that wrote.

use std::collections::VecDeque;

use super::lsn::Lsn;
use crate::topology::Moment;

/// The pairs of one primary on one timeline.
#[derive(Debug, Default)]
pub(super) struct CaughtUp {
    timeline: Option<u32>,
    /// Both grow from front to back. At most [`MARKS_MAX`].
    marks: VecDeque<(Moment, Lsn)>,
}

impl CaughtUp {
    /// Forgets everything: another primary has other positions.
    pub fn reset(&mut self) {
        *self = CaughtUp::default();
    }

    /// The primary, asked at `sent`, writes to `timeline` and its WAL ends at `written`.
    pub fn wrote(&mut self, timeline: Option<u32>, sent: Moment, written: Lsn) {
        if self.timeline != timeline {
            self.reset();
            self.timeline = timeline;
        }
        match self.marks.back_mut() {
            // Nothing was written since: the same position, known for longer.
            Some((moment, lsn)) if *lsn == written => *moment = sent.max(*moment),
            // A primary does not go back. One that seems to is another server at the same address.
            Some((_, lsn)) if *lsn > written => {
                self.marks.clear();
                self.marks.push_back((sent, written));
            }
            _ => {
                if self.marks.len() == MARKS_MAX {
                    self.marks.pop_front();
                }
                self.marks.push_back((sent, written));
            }
        }
    }

    /// The newest moment whose commits a replica on `timeline` shows when it has replayed up to `replayed`. `None`: not
    /// known, or longer ago than is kept.
    pub fn reached(&self, timeline: Option<u32>, replayed: Lsn) -> Option<Moment> {
        // Without a timeline the position says nothing: it may be on a branch that the primary left.
        if self.timeline.is_none() || self.timeline != timeline {
            return None;
        }
        let count = self.marks.partition_point(|(_, lsn)| *lsn <= replayed);
        self.marks.get(count.checked_sub(1)?).map(|(moment, _)| *moment)
    }

    /// Where the primary's WAL ended when it was last asked.
    pub fn newest(&self) -> Option<Lsn> {
        self.marks.back().map(|(_, lsn)| *lsn)
    }
}

/// How many pairs are kept: at the usual interval the last 16 seconds. Whoever is further behind gets no reads of
/// sessions that have written.
const MARKS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_replica_gets_the_newest_moment_it_has_reached() {
        let mut caught_up = CaughtUp::default();
        for (moment, lsn) in [(10, 100), (20, 200), (30, 200), (40, 400)] {
            caught_up.wrote(Some(1), Moment(moment), Lsn(lsn));
        }
        for (replayed, moment) in
            [(99, None), (100, Some(10)), (199, Some(10)), (200, Some(30)), (999, Some(40))]
        {
            assert_eq!(caught_up.reached(Some(1), Lsn(replayed)), moment.map(Moment), "{replayed}");
        }
        assert_eq!(caught_up.reached(Some(2), Lsn(999)), None, "another timeline");
        assert_eq!(caught_up.reached(None, Lsn(999)), None, "unknown timeline");
        caught_up.wrote(Some(2), Moment(50), Lsn(300));
        assert_eq!(caught_up.reached(Some(1), Lsn(999)), None);
        assert_eq!(caught_up.reached(Some(2), Lsn(999)), Some(Moment(50)));
    }

    #[test]
    fn a_position_that_went_back_forgets_what_was_before() {
        let mut caught_up = CaughtUp::default();
        caught_up.wrote(Some(1), Moment(10), Lsn(500));
        caught_up.wrote(Some(1), Moment(20), Lsn(100));
        assert_eq!(caught_up.reached(Some(1), Lsn(100)), Some(Moment(20)));
        assert_eq!(caught_up.newest(), Some(Lsn(100)));
    }

    proptest! {
        /// Against the definition: the greatest moment of any pair at or before the position.
        #[test]
        fn same_as_the_definition(
            steps in proptest::collection::vec((1u64..5, 0u64..3), 1..MARKS_MAX),
            replayed in 0u64..200,
        ) {
            let (mut caught_up, mut pairs, mut now, mut lsn) = (CaughtUp::default(), Vec::new(), 0, 0);
            for (time, bytes) in steps {
                (now, lsn) = (now + time, lsn + bytes);
                caught_up.wrote(Some(1), Moment(now), Lsn(lsn));
                pairs.push((now, lsn));
            }
            let newest = pairs.iter().filter(|(_, lsn)| *lsn <= replayed).map(|(moment, _)| Moment(*moment)).max();
            prop_assert_eq!(caught_up.reached(Some(1), Lsn(replayed)), newest);
        }
    }
}
