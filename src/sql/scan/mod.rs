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

mod state;

use crate::sql::effects::Effects;
use crate::sql::functions::{Function, function};
use crate::sql::keyword::{Category, Keyword, Word};
use crate::sql::lexer::{Class, Kind, Lexer, Token};
use crate::sql::relations::{describes_one_node, is_prepared_view, is_temporary_schema};
use crate::sql::statement::Bounds;
use crate::sql::token::Span;

pub(super) use state::Name;
use state::{Place, State};

/// A text while it is being read, and what has been found so far.
pub(super) struct Scan<'a> {
    pub lexer: Lexer<'a>,
    /// Of all statements up to here.
    pub effects: Effects,
    /// Whether nothing in this statement has yet said that it is no read.
    pub harmless: bool,
}

impl<'a> Scan<'a> {
    #[inline(always)]
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
        let mut state = State::new(inside);
        let mut goes_on = self.take(&mut state, first);
        let mut at = self.lexer.at();
        // What is usual is taken in here, with as few steps as can be, and all the rest by `take`.
        while goes_on {
            let (class, start) = self.lexer.class_behind(at);
            at = match class {
                Class::Name | Class::Prefix => {
                    let end = self.lexer.end_of_name(start);
                    if self.lexer.is_prefix(class, start, end) {
                        (at, goes_on) = self.unusual(&mut state, at);
                        continue;
                    }
                    self.word(&mut state, start, end);
                    end
                }
                Class::Comma => {
                    state.last.set(Place::Comma);
                    self.lexer.skip_constants(start + 1)
                }
                Class::Dot if self.lexer.is_dot(start) => {
                    state.last.dot();
                    start + 1
                }
                Class::Operator if self.lexer.is_sign(start) => {
                    state.last.set(Place::Gap);
                    start + 1
                }
                Class::Open => {
                    if state.last.place == Place::Name {
                        self.lexer.go_to(start + 1);
                        self.call(&mut state);
                    }
                    state.open();
                    start + 1
                }
                Class::Close => {
                    if !state.closes() {
                        self.lexer.go_to(start + 1);
                        return;
                    }
                    start + 1
                }
                Class::End => {
                    self.lexer.go_to(start);
                    return;
                }
                Class::DoubleQuote => match self.lexer.end_of_quoted(start) {
                    Some(end) => {
                        self.quoted(&mut state, Name { kind: Kind::QuotedName, span: Span::new(start, end) });
                        end
                    }
                    None => {
                        (at, goes_on) = self.unusual(&mut state, at);
                        continue;
                    }
                },
                _ => {
                    let end = match class {
                        Class::Digit => self.lexer.end_of_number(start),
                        Class::Dollar => self.lexer.end_of_parameter(start),
                        Class::Quote => self.lexer.end_of_string(start),
                        _ => None,
                    };
                    let Some(end) = end else {
                        (at, goes_on) = self.unusual(&mut state, at);
                        continue;
                    };
                    state.last.set(Place::Operand);
                    end
                }
            };
        }
    }

    /// Takes in a word that stands between two places.
    #[inline(always)]
    fn word(&mut self, state: &mut State, start: usize, end: usize) {
        let name = Name { kind: Kind::Word, span: Span::new(start, end) };
        if state.last.place == Place::Dot {
            self.lexer.doubt_name(start, end);
            state.last.part(name);
            self.relation(name);
            return;
        }
        let word = self.lexer.word(start, end);
        self.named(state, name, word);
    }

    /// Takes in a name without quotes that follows no dot, knowing what word it is.
    #[inline(always)]
    fn named(&mut self, state: &mut State, name: Name, word: Word) {
        state.last.name(name, word);
        if word.category == Category::Plain {
            self.relation(name);
        }
        if word.keyword.matters() {
            self.lexer.go_to(name.span.end());
            self.keyword(&mut state.bounds, state.last.before.word.keyword, word.keyword);
        }
    }

    /// Takes in a name in quotes.
    #[inline(always)]
    fn quoted(&mut self, state: &mut State, name: Name) {
        let last = &mut state.last;
        if last.place == Place::Dot {
            last.part(name)
        } else {
            last.name(name, Word::PLAIN)
        }
        self.relation(name);
    }

    /// Takes in the token behind `at`. Returns where it ends, and whether to go on.
    #[inline(never)]
    fn unusual(&mut self, state: &mut State, at: usize) -> (usize, bool) {
        self.lexer.go_to(at);
        let token = self.lexer.next();
        let goes_on = self.take(state, token);
        (self.lexer.at(), goes_on)
    }

    /// Takes in a token, behind which the lexer stands, and returns whether to go on.
    fn take(&mut self, state: &mut State, token: Token) -> bool {
        match token.kind {
            Kind::Word if state.last.place == Place::Dot => {
                state.last.part(Name { kind: token.kind, span: token.span });
                self.relation(state.last.name);
            }
            Kind::Word => self.named(state, Name { kind: token.kind, span: token.span }, token.word),
            Kind::QuotedName | Kind::UnicodeName => {
                self.quoted(state, Name { kind: token.kind, span: token.span });
            }
            Kind::Open => {
                if state.last.place == Place::Name {
                    self.call(state);
                }
                state.open();
            }
            Kind::Close => return state.closes(),
            Kind::Semicolon if state.bounds.semicolon() => return false,
            Kind::End => return false,
            Kind::Dot => state.last.dot(),
            Kind::Comma => state.last.set(Place::Comma),
            Kind::Cast => state.last.set(Place::Cast),
            Kind::CloseBracket
            | Kind::Number
            | Kind::Parameter
            | Kind::String
            | Kind::EscapeString
            | Kind::UnicodeString
            | Kind::DollarString => state.last.set(Place::Operand),
            Kind::Semicolon | Kind::OpenBracket | Kind::Equals | Kind::Operator | Kind::Other => {
                state.last.set(Place::Gap)
            }
        }
        true
    }

    /// Notes what a keyword says wherever it stands, knowing the one directly before it.
    fn keyword(&mut self, bounds: &mut Bounds, before: Keyword, keyword: Keyword) {
        bounds.word(before, keyword);
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
            Keyword::LastValue | Keyword::IsCalled if self.lexer.peek().kind != Kind::Open => {
                self.harmless = false
            }
            _ => {}
        }
    }

    /// Notes what a name says if it is a relation's or a schema's.
    #[inline(always)]
    pub fn relation(&mut self, name: Name) {
        // Nearly every name of an application leaves here.
        let letters = name.span.start() + usize::from(name.kind != Kind::Word);
        if name.kind == Kind::UnicodeName || self.lexer.is_system(letters) {
            self.system_relation(name);
        }
    }

    #[inline(never)]
    fn system_relation(&mut self, name: Name) {
        let bytes = self.lexer.slice(name.span);
        let name = match name.kind {
            Kind::Word => bytes,
            Kind::QuotedName => unquoted(bytes),
            _ => {
                self.harmless = false; // with Unicode escapes it may spell anything
                return;
            }
        };
        if describes_one_node(name) {
            self.harmless = false;
            if is_prepared_view(name) {
                self.effects |= Effects::PREPARED_VIEW;
            }
        } else if is_temporary_schema(name) {
            self.effects |= Effects::TEMPORARY;
            self.harmless = false;
        }
    }

    /// A parenthesis has been read behind a name.
    fn call(&mut self, state: &mut State) {
        let lexer = &self.lexer;
        let last = &state.last;
        if last.word.keyword == Keyword::On && last.before.word.keyword == Keyword::Distinct {
            state.distinct_on.open(state.bounds.depth());
        }
        let before = &last.before;
        let simple = last.parts == 1;
        if simple && (last.word.category == Category::Fixed || before.is_operand()) {
            return;
        }
        // Behind INTO, [IF NOT] EXISTS and their like stands a table, perhaps with its columns.
        let table = matches!(
            before.word.keyword,
            Keyword::Into | Keyword::Table | Keyword::Exists | Keyword::References
        );
        if before.place == Place::Cast || before.word.keyword == Keyword::As || table {
            return;
        }
        if simple && is_pair(before.word.keyword, last.word.keyword) {
            return;
        }
        let bytes = lexer.slice(last.name.span);
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
            _ if built_in && name.eq_ignore_ascii_case(b"current_setting") && is_custom_setting(*lexer) => {}
            Function::Primary if built_in => self.harmless = false,
            _ if simple && before.place == Place::Comma && heads_table_expression(*lexer) => {}
            _ => {
                self.effects |= Effects::UNKNOWN_CALL;
                self.harmless = false;
            }
        }
    }
}

fn is_pg_catalog(lexer: &Lexer, qualifier: Name) -> bool {
    let bytes = lexer.slice(qualifier.span);
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
