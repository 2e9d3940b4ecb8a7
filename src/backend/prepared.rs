//! The statements prepared on one backend. When there are too many, the least recently used one goes.

use std::num::NonZeroU64;

use rustc_hash::FxHashMap;

use crate::wire::frontend::own_statement_name;

/// Names one statement within the process: same number, same text and parameter types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(pub NonZeroU64);

impl StatementId {
    /// The name under which backends know the statement.
    pub fn name(self) -> Vec<u8> {
        own_statement_name(self.0)
    }
}

/// See the module's text. Bounded by the number given to [`Prepared::new`].
#[derive(Debug)]
pub struct Prepared {
    /// The number of the last use of each.
    statements: FxHashMap<StatementId, u64>,
    uses: u64,
    max: usize,
}

impl Prepared {
    pub fn new(max: usize) -> Prepared {
        Prepared { statements: FxHashMap::default(), uses: 0, max: max.max(1) }
    }

    /// Whether `statement` is here; if so it was just used.
    pub fn touch(&mut self, statement: StatementId) -> bool {
        self.uses += 1;
        match self.statements.get_mut(&statement) {
            Some(used) => {
                *used = self.uses;
                true
            }
            None => false,
        }
    }

    pub fn insert(&mut self, statement: StatementId) {
        self.uses += 1;
        self.statements.insert(statement, self.uses);
    }

    pub fn remove(&mut self, statement: StatementId) {
        self.statements.remove(&statement);
    }

    /// The statement that has to go before another comes; it is forgotten here.
    pub fn evict(&mut self) -> Option<StatementId> {
        if self.statements.len() < self.max {
            return None;
        }
        // A search, but only when a full backend meets a new statement: a Parse on the server costs far more.
        let oldest = *self.statements.iter().min_by_key(|(_, used)| **used)?.0;
        self.statements.remove(&oldest);
        Some(oldest)
    }

    /// All of them, least recently used first.
    pub fn all(&self) -> Vec<StatementId> {
        let mut all: Vec<_> = self.statements.iter().map(|(statement, used)| (*used, *statement)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, statement)| statement).collect()
    }

    pub fn clear(&mut self) {
        self.statements.clear();
    }

    pub fn len(&self) -> usize {
        self.statements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> StatementId {
        StatementId(NonZeroU64::new(number).unwrap())
    }

    #[test]
    fn the_least_recently_used_statement_goes_first() {
        let mut prepared = Prepared::new(2);
        prepared.insert(id(1));
        assert_eq!(prepared.evict(), None);
        prepared.insert(id(2));
        assert!(prepared.touch(id(1)));
        assert_eq!(prepared.evict(), Some(id(2)));
        prepared.insert(id(3));
        assert!(!prepared.touch(id(2)));
        assert!(prepared.touch(id(1)) && prepared.touch(id(3)));
    }
}
