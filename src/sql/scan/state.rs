//! What stands before the token at hand, as far as reading a statement must know it.

use crate::sql::keyword::{Category, Word};
use crate::sql::lexer::Kind;
use crate::sql::statement::Bounds;
use crate::sql::token::Span;

/// A statement while it is being read. What changes with nearly every token is written here one by one and read in
/// rare cases only, so it may as well lie in memory.
pub(super) struct State {
    pub(super) bounds: Bounds,
    pub(super) last: Last,
    pub(super) distinct_on: DistinctOn,
    /// Whether the parenthesis that was read first ends it.
    pub(super) inside: bool,
}

impl State {
    pub(super) fn new(inside: bool) -> Self {
        State { bounds: Bounds::default(), last: Last::new(), distinct_on: DistinctOn::default(), inside }
    }

    /// Takes in a parenthesis that opens.
    pub(super) fn open(&mut self) {
        self.bounds.open();
        self.last.set(Place::Gap);
    }

    /// Takes in a parenthesis that closes, unless it ends all.
    pub(super) fn closes(&mut self) -> bool {
        self.bounds.close();
        if self.inside && self.bounds.depth() == 0 {
            return false;
        }
        let place = if self.distinct_on.close(self.bounds.depth()) { Place::Gap } else { Place::Operand };
        self.last.set(place);
        true
    }
}

/// A name, or a part of one, and where it stands.
#[derive(Clone, Copy)]
pub(in crate::sql) struct Name {
    pub kind: Kind,
    pub span: Span,
}

/// What stands before the token at hand, as far as `read` must know.
pub(super) struct Last {
    pub(super) place: Place,
    /// What word the last token is, if it is a name.
    pub(super) word: Word,
    /// The name, or its last part, where `place` is a name or the dot behind one.
    pub(super) name: Name,
    /// How many parts the name has.
    pub(super) parts: u8,
    /// The part before the last.
    pub(super) qualifier: Name,
    /// What stood before the whole name.
    pub(super) before: Before,
}

pub(super) struct Before {
    pub(super) place: Place,
    /// What the word was, where the place is a name.
    pub(super) word: Word,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The start, an operator, an opening parenthesis: what follows begins an operand.
    Gap,
    Comma,
    /// A value, or the end of something in parentheses or brackets.
    Operand,
    Name,
    Dot,
    Cast,
}

impl Last {
    pub(super) fn new() -> Self {
        let nothing = Name { kind: Kind::Other, span: Span::new(0, 0) };
        Last {
            place: Place::Gap,
            word: Word::PLAIN,
            name: nothing,
            parts: 0,
            qualifier: nothing,
            before: Before { place: Place::Gap, word: Word::PLAIN },
        }
    }

    /// Takes in a token that is neither a name nor a dot.
    #[inline(always)]
    pub(super) fn set(&mut self, place: Place) {
        self.place = place;
        self.word = Word::PLAIN;
    }

    /// Takes in a name that follows no dot.
    #[inline(always)]
    pub(super) fn name(&mut self, name: Name, word: Word) {
        self.before = Before { place: self.place, word: self.word };
        self.place = Place::Name;
        self.word = word;
        self.name = name;
        self.parts = 1;
    }

    /// Takes in a dot. One that follows no name, as in `(row).field`, makes the next name no simple one.
    pub(super) fn dot(&mut self) {
        if self.place != Place::Name {
            self.parts = 2;
        }
        self.set(Place::Dot);
    }

    /// Takes in a name that follows a dot: whatever word it is, it is no keyword.
    #[inline(always)]
    pub(super) fn part(&mut self, name: Name) {
        self.qualifier = self.name;
        self.name = name;
        self.parts = self.parts.saturating_add(1);
        self.place = Place::Name;
    }
}

impl Before {
    pub(super) fn is_operand(&self) -> bool {
        self.place == Place::Operand || self.place == Place::Name && self.word.category == Category::Plain
    }
}

/// Which parentheses belong to DISTINCT ON. One is followed exactly; a second one inside the first is so odd
/// that from then on every parenthesis counts as one.
#[derive(Default)]
pub(super) struct DistinctOn {
    /// How deep the parenthesis stands that is open.
    pub(super) depth: Option<u32>,
    pub(super) nested: bool,
}

impl DistinctOn {
    pub(super) fn open(&mut self, depth: u32) {
        self.nested |= self.depth.is_some();
        self.depth = Some(depth);
    }

    /// Whether the parenthesis that closes at `depth` is one.
    #[inline]
    pub(super) fn close(&mut self, depth: u32) -> bool {
        if self.depth == Some(depth) {
            self.depth = None;
            return true;
        }
        self.nested
    }
}
