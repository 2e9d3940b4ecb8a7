//! The rest of a statement: everything in it that is an effect, or no read.
//!
//! A query is a read unless something in it, at any depth, says otherwise: a word that writes or locks, a
//! view about one node, a call of a function that we do not know to be harmless. No tree is built: that a
//! word counts at any depth is what makes one pass enough, and what makes us call a few reads writes (`SELECT
//! 1 AS update`).
//!
//! The one hard question is whether `name (` calls a function. It does not when
//! - the name is a keyword that no function is named after: `IN (`, `VALUES (`, `COALESCE (`;
//! - it follows an operand, since no two operands stand side by side: `FROM (…) v (a, b)`, `FROM accounts a
//!   (x, y)`, `sum(x) OVER (…)`. An operand is a value, a closing parenthesis, or a name that is no keyword;
//! - it follows `::`, or AS, where aliases and the types of CAST stand;
//! - it heads a common table expression: `WITH a (x) AS (…), b (y) AS (…)`;
//! - it is the second of a pair of keywords such as `ORDER BY (`, `LEFT JOIN (`.
//!
//! One parenthesis closes something that is not an operand: in `SELECT DISTINCT ON (a) f(b)` the call is a
//! call.

use super::effects::Effects;
use super::functions::{Function, function};
use super::keyword::{Category, Keyword, Word};
use super::lexer::{Kind, Lexer, Token};
use super::relations::{describes_one_node, is_temporary_schema};
use super::statement::Bounds;

/// A text while it is being read, and what has been found so far.
pub(super) struct Scan<'a> {
    pub lexer: Lexer<'a>,
    /// Of all statements up to here.
    pub effects: Effects,
    /// Whether nothing in this statement has yet said that it is no read.
    pub harmless: bool,
}

impl<'a> Scan<'a> {
    pub fn new(lexer: Lexer<'a>) -> Self {
        Scan { lexer, effects: Effects::NONE, harmless: true }
    }

    /// Reads on to the end of the statement; `first` is the last token that was read.
    pub fn rest(&mut self, first: Token) {
        self.read(first, false);
    }

    /// Reads on to the parenthesis that closes `open`, or to the end of the statement.
    pub fn inside(&mut self, open: Token) {
        self.read(open, true);
    }

    fn read(&mut self, first: Token, inside: bool) {
        self.lexer = self.read_with(self.lexer, &first, inside);
    }

    /// Reads on with a lexer that stays out of memory, and returns it.
    fn read_with(&mut self, mut lexer: Lexer<'a>, first: &Token, inside: bool) -> Lexer<'a> {
        let mut bounds = Bounds::default();
        let mut last = Last::new();
        let mut distinct_on = DistinctOn::default();
        let mut token = *first;
        loop {
            if token.is_name() {
                if last.place == Place::Dot {
                    last.part(token);
                    self.relation(token.kind, lexer.bytes(token));
                } else {
                    last.name(token);
                    if token.word.category == Category::Plain {
                        self.relation(token.kind, lexer.bytes(token));
                    }
                    if token.word.keyword != Keyword::Other {
                        bounds.word(last.before.keyword, token.word.keyword);
                        self.keyword(last.before.keyword, token.word.keyword, lexer);
                    }
                }
            } else if token.kind == Kind::Comma {
                lexer.skip_constants();
                last.set(Place::Comma);
            } else if let Some(place) = place_behind(token.kind) {
                last.set(place);
            } else {
                match token.kind {
                    Kind::Dot => last.dot(),
                    Kind::Open => {
                        if last.place == Place::Name {
                            self.call(&last, lexer);
                            if last.keyword == Keyword::On && last.before.keyword == Keyword::Distinct {
                                distinct_on.open(bounds.depth());
                            }
                        }
                        bounds.open();
                        last.set(Place::Gap);
                    }
                    Kind::Close => {
                        bounds.close();
                        if inside && bounds.depth() == 0 {
                            return lexer;
                        }
                        last.set(if distinct_on.close(bounds.depth()) { Place::Gap } else { Place::Operand });
                    }
                    Kind::Semicolon if !bounds.semicolon() => last.set(Place::Gap),
                    _ => return lexer,
                }
            }
            token = lexer.next_inlined();
        }
    }

    /// Notes what a keyword says wherever it stands, knowing the one directly before it.
    #[inline(always)]
    fn keyword(&mut self, before: Keyword, keyword: Keyword, lexer: Lexer) {
        match keyword {
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Merge => self.harmless = false,
            Keyword::Into => {
                self.harmless = false;
                if !matches!(before, Keyword::Insert | Keyword::Merge) {
                    self.effects |= Effects::DDL; // SELECT INTO makes a table
                }
            }
            // FOR UPDATE has been caught above.
            Keyword::No | Keyword::Share | Keyword::Key if before == Keyword::For => self.harmless = false,
            Keyword::Temp | Keyword::Temporary => {
                let makes =
                    [Keyword::Create, Keyword::Replace, Keyword::Into, Keyword::Local, Keyword::Global];
                if makes.contains(&before) {
                    self.effects |= Effects::TEMPORARY;
                }
            }
            Keyword::Execute if before == Keyword::As => self.effects |= Effects::EXECUTE,
            // A sequence's own columns: on a replica they may be ahead of the primary's.
            Keyword::LastValue | Keyword::IsCalled if lexer.peek().kind != Kind::Open => {
                self.harmless = false
            }
            _ => {}
        }
    }

    /// Notes what a name says if it is a relation's or a schema's.
    #[inline(always)]
    pub fn relation(&mut self, kind: Kind, bytes: &[u8]) {
        let name = match kind {
            Kind::Word => bytes,
            Kind::QuotedName => unquoted(bytes),
            _ => {
                self.harmless = false; // with Unicode escapes it may spell anything
                return;
            }
        };
        // Nearly every name of an application leaves here.
        if !matches!(name, [b'p' | b'P', b'g' | b'G', b'_', ..]) {
            return;
        }
        if describes_one_node(name) {
            self.harmless = false;
        } else if is_temporary_schema(name) {
            self.effects |= Effects::TEMPORARY;
            self.harmless = false;
        }
    }

    /// A parenthesis has been read behind the name in `last`.
    fn call(&mut self, last: &Last, lexer: Lexer<'a>) {
        let before = &last.before;
        let simple = last.parts == 1;
        if simple && (last.word.category == Category::Fixed || before.is_operand()) {
            return;
        }
        // Behind INTO, [IF NOT] EXISTS and their like stands a table, perhaps with its columns.
        let table =
            matches!(before.keyword, Keyword::Into | Keyword::Table | Keyword::Exists | Keyword::References);
        if before.place == Place::Cast || before.keyword == Keyword::As || table {
            return;
        }
        if simple && is_pair(before.keyword, last.word.keyword) {
            return;
        }
        let bytes = lexer.bytes(last.name);
        let (name, quoted) = match last.name.kind {
            Kind::Word => (bytes, false),
            Kind::QuotedName => (unquoted(bytes), true),
            _ => {
                self.harmless = false;
                return;
            }
        };
        let built_in = simple || last.parts == 2 && is_pg_catalog(lexer, last.qualifier);
        match function(name, quoted) {
            Function::Harmless if built_in => {}
            Function::Leaves(effects) => {
                self.effects |= effects;
                self.harmless = false;
            }
            _ if built_in && name.eq_ignore_ascii_case(b"current_setting") && is_custom_setting(lexer) => {}
            Function::Primary if built_in => self.harmless = false,
            _ if simple && before.place == Place::Comma && heads_table_expression(lexer) => {}
            _ => {
                self.effects |= Effects::UNKNOWN_CALL;
                self.harmless = false;
            }
        }
    }
}

fn is_pg_catalog(lexer: Lexer, qualifier: Token) -> bool {
    let bytes = lexer.bytes(qualifier);
    match qualifier.kind {
        Kind::Word => bytes.eq_ignore_ascii_case(b"pg_catalog"),
        Kind::QuotedName => unquoted(bytes) == b"pg_catalog",
        _ => false,
    }
}

/// Whether the next token is the name of a custom setting, as a plain string: only those have a dot. They
/// are carried from backend to backend, so any node can say them.
fn is_custom_setting(lexer: Lexer) -> bool {
    let name = lexer.peek();
    name.kind == Kind::String && lexer.bytes(name).contains(&b'.')
}

/// Whether what follows a name and a parenthesis is `column, … ) AS [[NOT] MATERIALIZED] ( query`. A function
/// in FROM can be followed by AS and a parenthesis too, but there come columns and types, and no column is
/// named by a word that begins a query; except VALUES, which a parenthesis must follow here.
fn heads_table_expression(mut lexer: Lexer) -> bool {
    let mut token = lexer.next();
    while token.is_name() || token.kind == Kind::Comma {
        token = lexer.next();
    }
    let behind = lexer.next();
    if token.kind != Kind::Close || behind.keyword() != Keyword::As {
        return false;
    }
    token = lexer.next();
    while matches!(token.keyword(), Keyword::Not | Keyword::Materialized) {
        token = lexer.next();
    }
    if token.kind != Kind::Open {
        return false;
    }
    token = lexer.next();
    match token.keyword() {
        Keyword::Select | Keyword::With | Keyword::Table => true,
        Keyword::Values => lexer.next().kind == Kind::Open,
        _ => token.kind == Kind::Open,
    }
}

/// What stands before the token at hand, as far as `read` must know.
struct Last {
    place: Place,
    /// The keyword that the last token is, if it is one.
    keyword: Keyword,
    /// The name, or its last part, where `place` is a name or the dot behind one.
    name: Token,
    word: Word,
    /// How many parts the name has.
    parts: u8,
    /// The part before the last.
    qualifier: Token,
    /// What stood before the whole name.
    before: Before,
}

struct Before {
    place: Place,
    category: Category,
    keyword: Keyword,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The start, an operator, an opening parenthesis: what follows begins an operand.
    Gap,
    Comma,
    /// A value, or the end of something in parentheses or brackets.
    Operand,
    Name,
    Dot,
    Cast,
}

/// What stands before the next token, behind one that says nothing else.
#[inline(always)]
fn place_behind(kind: Kind) -> Option<Place> {
    match kind {
        Kind::Cast => Some(Place::Cast),
        Kind::Comma => Some(Place::Comma),
        Kind::CloseBracket
        | Kind::Number
        | Kind::Parameter
        | Kind::String
        | Kind::EscapeString
        | Kind::UnicodeString
        | Kind::DollarString => Some(Place::Operand),
        Kind::OpenBracket | Kind::Equals | Kind::Operator | Kind::Other => Some(Place::Gap),
        Kind::End
        | Kind::Semicolon
        | Kind::Dot
        | Kind::Open
        | Kind::Close
        | Kind::Word
        | Kind::QuotedName
        | Kind::UnicodeName => None,
    }
}

impl Last {
    fn new() -> Self {
        Last {
            place: Place::Gap,
            keyword: Keyword::Other,
            name: Token::NOTHING,
            word: Word::PLAIN,
            parts: 0,
            qualifier: Token::NOTHING,
            before: Before { place: Place::Gap, category: Category::Plain, keyword: Keyword::Other },
        }
    }

    /// Takes in a token that is neither a name nor a dot.
    #[inline]
    fn set(&mut self, place: Place) {
        self.place = place;
        self.keyword = Keyword::Other;
    }

    /// Takes in a name that follows no dot.
    #[inline]
    fn name(&mut self, name: Token) {
        self.before = Before { place: self.place, category: self.word.category, keyword: self.keyword };
        self.place = Place::Name;
        self.keyword = name.keyword();
        self.name = name;
        self.word = name.word;
        self.parts = 1;
    }

    /// Takes in a dot. One that follows no name, as in `(row).field`, makes the next name no simple one.
    fn dot(&mut self) {
        if self.place != Place::Name {
            self.parts = 2;
        }
        self.set(Place::Dot);
    }

    /// Takes in a name that follows a dot: whatever word it is, it is no keyword.
    fn part(&mut self, name: Token) {
        self.qualifier = self.name;
        self.name = name;
        self.word = Word::PLAIN;
        self.parts = self.parts.saturating_add(1);
        self.place = Place::Name;
    }
}

impl Before {
    fn is_operand(&self) -> bool {
        self.place == Place::Operand || self.place == Place::Name && self.category == Category::Plain
    }
}

/// Which parentheses belong to DISTINCT ON. One is followed exactly; a second one inside the first is so odd
/// that from then on every parenthesis counts as one.
#[derive(Default)]
struct DistinctOn {
    /// How deep the parenthesis stands that is open.
    depth: Option<u32>,
    nested: bool,
}

impl DistinctOn {
    fn open(&mut self, depth: u32) {
        self.nested |= self.depth.is_some();
        self.depth = Some(depth);
    }

    /// Whether the parenthesis that closes at `depth` is one.
    #[inline]
    fn close(&mut self, depth: u32) -> bool {
        if self.depth == Some(depth) {
            self.depth = None;
            return true;
        }
        self.nested
    }
}

/// Whether a parenthesis behind these two words belongs to the language, although a function may be named
/// like the second.
fn is_pair(first: Keyword, second: Keyword) -> bool {
    match second {
        Keyword::By => matches!(first, Keyword::Group | Keyword::Order | Keyword::Partition),
        Keyword::Cube | Keyword::Rollup => true, // the one function among these, an extension's, only computes
        Keyword::First | Keyword::Next => first == Keyword::Fetch,
        Keyword::Ilike => first == Keyword::Not,
        Keyword::Join => matches!(
            first,
            Keyword::Left
                | Keyword::Right
                | Keyword::Full
                | Keyword::Inner
                | Keyword::Outer
                | Keyword::Cross
                | Keyword::Natural
        ),
        Keyword::Materialized => first == Keyword::Not,
        Keyword::Sets => first == Keyword::Grouping,
        Keyword::Varying => {
            matches!(first, Keyword::Bit | Keyword::Char | Keyword::Character | Keyword::Nchar)
        }
        Keyword::Zone => first == Keyword::Time,
        // Whatever they introduce: a table expression, an alias, a sampling method.
        _ => matches!(first, Keyword::With | Keyword::Recursive | Keyword::Ordinality | Keyword::Tablesample),
    }
}

/// A quoted name without its quotes. Doubled quotes inside stay doubled: no name we look for has any.
pub(super) fn unquoted(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'"', inner @ .., b'"'] => inner,
        _ => bytes,
    }
}
