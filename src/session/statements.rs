//! Statements that clients prepared, kept once per shard, database and user, and shared by everybody who prepared the same.

use std::borrow::Borrow;
use std::cell::{Cell, OnceCell};
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::sql::{self, Analysis, Calls, Dialect};
use crate::wire::frontend::{Parse, own_statement_name};

/// One text with its parameter types, classified.
#[derive(Debug)]
pub struct Statement {
    /// Unique within the process: backends that move between shards keep their statements' names.
    id: Cell<NonZeroU64>,
    count: Rc<StatementCount>,
    pub analysis: Analysis,
    /// The query, its zero and the parameter types, as in Parse.
    text: Box<[u8]>,
    /// Bytes of the query.
    query: usize,
    /// Whether a server has accepted it once.
    accepted: Cell<bool>,
    dialect: Dialect,
    calls: OnceCell<Rc<Calls>>,
    fingerprint: OnceCell<u64>,
}

impl Statement {
    /// The number under which backends know it.
    pub fn id(&self) -> NonZeroU64 {
        self.id.get()
    }

    /// What backends call it.
    pub fn backend_name(&self) -> Vec<u8> {
        own_statement_name(self.id())
    }

    /// Gives it another number: what backends have prepared under the old one does not fit any more.
    pub fn renew(&self) {
        self.id.set(self.count.next());
    }

    /// A server accepted it. True for the first time.
    pub fn accepted(&self) -> bool {
        !self.accepted.replace(true)
    }

    /// The functions it calls that we do not know.
    pub fn calls(&self) -> &Rc<Calls> {
        self.calls.get_or_init(|| Rc::new(sql::calls(self.query(), self.dialect)))
    }

    /// What it has in common with those that differ in their constants only.
    pub fn fingerprint(&self) -> u64 {
        *self.fingerprint.get_or_init(|| sql::fingerprint(self.query(), self.dialect))
    }

    /// Whether a server has accepted it once, for this database and user.
    pub fn is_accepted(&self) -> bool {
        self.accepted.get()
    }

    /// Whether it was read in the usual dialect, and so is shared.
    pub fn is_usual(&self) -> bool {
        self.dialect == Dialect::default()
    }

    /// The query with its zero and the parameter types, as a Parse carries them behind the name.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The query alone.
    pub fn query(&self) -> &[u8] {
        &self.text[..self.query]
    }
}

/// The statements of one database and user in one shard, by text. Two are the same exactly when all their bytes are.
#[derive(Debug)]
pub struct StatementCache {
    statements: FxHashSet<ByText>,
    /// The number of the shard's last statement.
    count: Rc<StatementCount>,
    /// How many to hold before looking for those nobody uses.
    sweep_at: usize,
}

/// Numbers the statements of a shard: its own number in the upper bits, counted in the lower.
#[derive(Debug, Default)]
pub struct StatementCount(Cell<u64>);

impl StatementCount {
    /// For the shard with this number.
    pub fn new(shard: u16) -> StatementCount {
        StatementCount(Cell::new(u64::from(shard) << SHARD_SHIFT))
    }

    fn next(&self) -> NonZeroU64 {
        self.0.set(self.0.get() + 1);
        NonZeroU64::new(self.0.get()).expect("counted from 1")
    }
}

/// Compares statements by what they say and the dialect they were read in.
#[derive(Debug)]
struct ByText(Rc<Statement>);

impl StatementCache {
    /// An empty cache that numbers its statements by `count`, which all caches of a shard share.
    pub fn new(count: Rc<StatementCount>) -> StatementCache {
        StatementCache { statements: FxHashSet::default(), count, sweep_at: 0 }
    }

    /// The statement of this Parse: the one that is known, or a new one.
    pub fn intern(&mut self, parse: &Parse<'_>, dialect: Dialect) -> Rc<Statement> {
        // A text means the same in every dialect unless it has a backslash or bytes above ASCII; rather than look, the
        // unusual dialects do not share.
        let usual = dialect == Dialect::default();
        if usual && let Some(ByText(known)) = self.statements.get(parse.text) {
            return known.clone();
        }
        let statement = Rc::new(Statement {
            id: Cell::new(self.count.next()),
            count: self.count.clone(),
            analysis: sql::classify(parse.query, dialect),
            text: parse.text.into(),
            query: parse.query.len(),
            accepted: Cell::new(false),
            dialect,
            calls: OnceCell::new(),
            fingerprint: OnceCell::new(),
        });
        if usual {
            if self.statements.len() >= self.sweep_at.max(SWEEP_MIN) {
                self.sweep();
                self.sweep_at = self.statements.len() * 2;
            }
            self.statements.insert(ByText(statement.clone()));
        }
        statement
    }

    /// Forgets the statements that no session holds.
    pub fn sweep(&mut self) {
        self.statements.retain(|ByText(statement)| Rc::strong_count(statement) > 1);
    }

    pub fn len(&self) -> usize {
        self.statements.len()
    }

    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        &self.0.text
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &ByText) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

/// Where in a statement's number its shard's begins.
const SHARD_SHIFT: u32 = 48;
/// Statements below which it is not worth looking for unused ones.
const SWEEP_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Parse<'_> {
        Parse::read(body).unwrap()
    }

    #[test]
    fn the_same_text_and_types_are_one_statement_and_nothing_else_is() {
        let mut cache = StatementCache::new(Rc::default());
        let one = cache.intern(&parse(b"a\0select $1\0\0\0"), Dialect::default());
        let same = cache.intern(&parse(b"b\0select $1\0\0\0"), Dialect::default());
        let typed = cache.intern(&parse(b"a\0select $1\0\0\x01\0\0\0\x17"), Dialect::default());
        assert!(Rc::ptr_eq(&one, &same));
        assert_ne!(one.id(), typed.id());
        assert_eq!(typed.query(), b"select $1");
        let unusual = Dialect { standard_conforming_strings: false, ..Dialect::default() };
        assert_ne!(cache.intern(&parse(b"a\0select $1\0\0\0"), unusual).id(), one.id());
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let mut cache = StatementCache::new(Rc::default());
        let held = cache.intern(&parse(b"\0select 1\0\0\0"), Dialect::default());
        cache.intern(&parse(b"\0select 2\0\0\0"), Dialect::default());
        cache.sweep();
        assert_eq!(cache.len(), 1);
        assert!(Rc::ptr_eq(&held, &cache.intern(&parse(b"\0select 1\0\0\0"), Dialect::default())));
    }
}
