//! Reads that a standby refused: the next one like them goes to the primary at once.
//!
//! What a text calls may hide a write that no lexer sees: a view, an operator, a cast. The standby sees it, the request
//! is sent again to the primary, and its fingerprint is kept here. Being wrong costs little either way: what is kept too
//! long reads on the primary, and what is forgotten is refused once more. As long as nothing is known, which is the
//! usual case, no fingerprint is made.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::counters::Refusal;
use crate::door::ToShard;
use crate::limits::{CORRECTION_AGE_MAX, CORRECTIONS_MAX};
use crate::ring::Chunk;
use crate::session::{Bound, Order};
use crate::sql::{Dialect, fingerprint};
use crate::wire::frame::HEAD_SIZE;
use crate::wire::frontend::read_query;

use super::Shard;
use super::relay::Relay;

impl Relay {
    /// Why a standby has refused one of the collected frames before, if it has.
    pub(super) fn known_refusal(&self) -> Option<Refusal> {
        let mut corrections = self.shard.corrections.borrow_mut();
        if corrections.is_empty() {
            return None;
        }
        let known = corrections.get_mut(&self.tenant.database)?;
        let now = Instant::now();
        let dialect = self.session.dialect;
        let refusal = self.batch.iter().find_map(|frame| known.find(fingerprint_of(frame, dialect)?, now));
        if known.is_empty() {
            corrections.remove(&self.tenant.database);
            drop(corrections);
            self.shard.count_corrections();
        }
        refusal
    }

    /// A standby has refused the frames that were sent last.
    pub(super) fn refused_by_standby(&self, refusal: Refusal) {
        self.shard.counters().refusals[refusal as usize].refused.add(1);
        if !refusal.lasts() {
            return;
        }
        // The error was the first word of the answer, so it is about the first text.
        let dialect = self.session.dialect;
        if let Some(fingerprint) = self.kept.iter().find_map(|frame| fingerprint_of(frame, dialect)) {
            self.shard.corrected(&self.tenant.database, fingerprint, refusal);
            self.shard.tell_others(|| ToShard::Corrected {
                database: self.tenant.database.clone(),
                fingerprint,
                refusal,
            });
        }
    }
}

impl Shard {
    /// A standby has refused a text with this fingerprint, here or on another shard.
    pub(super) fn corrected(&self, database: &Arc<str>, fingerprint: u64, refusal: Refusal) {
        let mut corrections = self.corrections.borrow_mut();
        corrections.entry(database.clone()).or_default().learn(fingerprint, refusal, Instant::now());
        drop(corrections);
        self.count_corrections();
    }

    /// Functions and views of this database may have changed: what was a write may be a read.
    pub(super) fn forget_corrections(&self, database: &str) {
        if self.corrections.borrow_mut().remove(database).is_some() {
            self.count_corrections();
        }
    }

    fn count_corrections(&self) {
        let corrections = self.corrections.borrow();
        for (refusal, _) in Refusal::ALL {
            let known = corrections.values().map(|known| known.count(refusal)).sum::<usize>();
            self.counters().refusals[refusal as usize].known.set(known as u64);
        }
    }
}

/// The fingerprint of what a frame runs or prepares.
fn fingerprint_of((order, frame): &(Order, Chunk), dialect: Dialect) -> Option<u64> {
    match order {
        Order::Query | Order::QueryRenamed { .. } => {
            let text = read_query(frame.get(HEAD_SIZE..)?).ok()?;
            Some(fingerprint(text, dialect))
        }
        Order::Parse(statement)
        | Order::ParseAsIs(Some(statement))
        | Order::Bind { statement: Bound::Named(statement) | Bound::Unnamed(statement), .. } => {
            Some(statement.fingerprint())
        }
        Order::Bind { statement: Bound::Renamed(renamed), .. } => Some(renamed.statement.fingerprint()),
        _ => None,
    }
}

/// The fingerprints of one database in one shard.
#[derive(Debug, Default)]
pub(super) struct Corrections {
    known: FxHashMap<u64, Correction>,
}

#[derive(Clone, Copy, Debug)]
struct Correction {
    refusal: Refusal,
    learned: Instant,
    used: Instant,
}

impl Corrections {
    /// Whether nothing is known: then nobody needs to know a fingerprint.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A standby has refused a text with this fingerprint. The one that was not asked for the longest time gives way.
    pub fn learn(&mut self, fingerprint: u64, refusal: Refusal, now: Instant) {
        if self.known.len() >= CORRECTIONS_MAX && !self.known.contains_key(&fingerprint) {
            let oldest = self.known.iter().min_by_key(|(_, correction)| correction.used);
            if let Some(oldest) = oldest.map(|(fingerprint, _)| *fingerprint) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(fingerprint, Correction { refusal, learned: now, used: now });
    }

    /// How many are known for this reason.
    fn count(&self, refusal: Refusal) -> usize {
        self.known.values().filter(|correction| correction.refusal == refusal).count()
    }

    /// Why a standby has refused such a text, if it has, not too long ago.
    pub fn find(&mut self, fingerprint: u64, now: Instant) -> Option<Refusal> {
        let correction = self.known.get_mut(&fingerprint)?;
        if now.saturating_duration_since(correction.learned) > CORRECTION_AGE_MAX {
            self.known.remove(&fingerprint);
            return None;
        }
        correction.used = now;
        Some(correction.refusal)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_refused_is_known_until_it_is_too_old() {
        let start = Instant::now();
        let mut corrections = Corrections::default();
        assert!(corrections.is_empty());
        corrections.learn(7, Refusal::Write, start);
        assert!(!corrections.is_empty());
        assert_eq!(corrections.find(7, start + CORRECTION_AGE_MAX), Some(Refusal::Write));
        assert_eq!(corrections.find(8, start), None);
        assert_eq!(corrections.find(7, start + CORRECTION_AGE_MAX + Duration::from_nanos(1)), None);
        assert!(corrections.is_empty());
    }

    #[test]
    fn refused_again_it_is_young_again() {
        let start = Instant::now();
        let mut corrections = Corrections::default();
        corrections.learn(7, Refusal::Write, start);
        corrections.learn(7, Refusal::Write, start + CORRECTION_AGE_MAX);
        assert_eq!(
            corrections.find(7, start + CORRECTION_AGE_MAX + CORRECTION_AGE_MAX),
            Some(Refusal::Write)
        );
    }

    #[test]
    fn the_least_asked_for_gives_way() {
        let start = Instant::now();
        let at = |nanos: u64| start + Duration::from_nanos(nanos);
        let mut corrections = Corrections::default();
        for fingerprint in 0..CORRECTIONS_MAX as u64 {
            corrections.learn(fingerprint, Refusal::Write, at(fingerprint));
        }
        assert_eq!(corrections.find(0, at(CORRECTIONS_MAX as u64)), Some(Refusal::Write));
        corrections.learn(u64::MAX, Refusal::Write, at(CORRECTIONS_MAX as u64 + 1));
        assert_eq!(corrections.find(u64::MAX, at(CORRECTIONS_MAX as u64 + 2)), Some(Refusal::Write));
        assert_eq!(corrections.find(0, at(CORRECTIONS_MAX as u64 + 2)), Some(Refusal::Write));
        assert_eq!(corrections.find(1, at(CORRECTIONS_MAX as u64 + 2)), None);
        assert_eq!(corrections.find(2, at(CORRECTIONS_MAX as u64 + 2)), Some(Refusal::Write));
    }
}
