//! Where a text names statements that were prepared: PREPARE, EXECUTE and DEALLOCATE in SQL share their names with the
//! protocol's statements. `pg_prepared_statements` shows both.

use std::ops::Range;

use super::Dialect;
use super::changes::Name;
use super::keyword::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::relations::is_prepared_view;
use super::statement::Bounds;

/// What is done with the statement of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Prepare,
    /// Also inside EXPLAIN and CREATE TABLE … AS.
    Execute,
    Deallocate,
    /// DEALLOCATE ALL or DISCARD ALL.
    DeallocateAll,
    /// All of them are read, from `pg_prepared_statements` in a FROM clause; whether the view has an alias there.
    View {
        aliased: bool,
    },
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention<'a> {
    pub verb: Verb,
    /// As the server folds it; empty for [`Verb::DeallocateAll`] and [`Verb::View`].
    pub name: Name<'a>,
    /// Where in the text the name stands, with its quotes.
    pub place: Range<usize>,
}

/// The names of prepared statements in `text`, in order. Ask only when the effects contain PREPARE, EXECUTE, DEALLOCATE
/// or one that forgets all.
pub fn mentions(text: &[u8], dialect: Dialect) -> Vec<Mention<'_>> {
    let mut lexer = Lexer::new(text, dialect);
    let mut mentions = Vec::new();
    let mut bounds = Bounds::default();
    let mut first = Token::NOTHING;
    let mut before = Token::NOTHING;
    // What stands before `before`: ahead of a qualified name and its dot, FROM and the schema.
    let mut earlier = [Token::NOTHING; 2];
    let mut begins = true;
    loop {
        let mut token = lexer.next();
        match token.kind {
            Kind::End => return mentions,
            Kind::Semicolon if bounds.semicolon() => {
                begins = true;
                bounds = Bounds::default();
                continue;
            }
            Kind::Open => bounds.open(),
            Kind::Close => bounds.close(),
            Kind::Word => bounds.word(before.keyword(), token.keyword()),
            _ => {}
        }
        if begins {
            first = token;
        }
        let verb = match token.keyword() {
            Keyword::Prepare if begins && !is_two_phase(lexer) => Some(Verb::Prepare),
            Keyword::Execute if begins || runs(first, before) => Some(Verb::Execute),
            Keyword::Deallocate if begins => {
                let mut ahead = lexer;
                if ahead.next().keyword() == Keyword::Prepare && !ahead.peek().ends_statement() {
                    lexer = ahead;
                }
                Some(Verb::Deallocate)
            }
            Keyword::Discard if begins && lexer.peek().keyword() == Keyword::All => Some(Verb::DeallocateAll),
            _ => None,
        };
        begins = false;
        mentions.extend(view(&lexer, earlier, before, token));
        if let Some(verb) = verb
            && lexer.peek().is_name()
        {
            token = lexer.next();
            let all =
                verb == Verb::DeallocateAll || verb == Verb::Deallocate && token.keyword() == Keyword::All;
            mentions.push(match all {
                true => Mention { verb: Verb::DeallocateAll, name: Name::setting(b""), place: 0..0 },
                false => Mention {
                    verb,
                    name: Name::of(lexer.bytes(token), token.kind),
                    place: lexer.place(token),
                },
            });
        }
        earlier = [earlier[1], before];
        before = token;
    }
}

/// `token` as the view of the prepared statements in a FROM clause, behind `before` and what was `earlier`.
fn view<'a>(lexer: &Lexer<'a>, earlier: [Token; 2], before: Token, token: Token) -> Option<Mention<'a>> {
    if !token.is_name() || !is_prepared_view(Name::of(lexer.bytes(token), token.kind).as_bytes()) {
        return None;
    }
    let qualified = before.kind == Kind::Dot;
    let (ahead, first) = if qualified { (earlier[0], earlier[1]) } else { (before, token) };
    if qualified && Name::of(lexer.bytes(first), first.kind).as_bytes() != b"pg_catalog" {
        return None;
    }
    // What stands elsewhere is a column's qualifier.
    let in_from = matches!(ahead.keyword(), Keyword::From | Keyword::Join) || ahead.kind == Kind::Comma;
    let next = lexer.peek();
    if !in_from || matches!(next.kind, Kind::Dot | Kind::Open) {
        return None;
    }
    let aliased = match next.kind {
        Kind::QuotedName | Kind::UnicodeName => true,
        Kind::Word => next.keyword() == Keyword::As || !follows_a_relation(lexer.bytes(next)),
        _ => false,
    };
    let place = lexer.place(first).start..lexer.place(token).end;
    Some(Mention { verb: Verb::View { aliased }, name: Name::setting(b""), place })
}

/// Whether a word behind a relation in FROM is no alias but goes on with the statement.
fn follows_a_relation(word: &[u8]) -> bool {
    FOLLOWING.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// The reserved words that can follow a relation in a FROM clause (manual, SELECT).
const FOLLOWING: [&str; 23] = [
    "cross",
    "except",
    "fetch",
    "for",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "right",
    "tablesample",
    "union",
    "using",
    "where",
    "window",
];

/// Whether PREPARE, which was read, is that of a transaction.
fn is_two_phase(mut lexer: Lexer<'_>) -> bool {
    lexer.next().keyword() == Keyword::Transaction && lexer.peek().is_string()
}

/// Whether EXECUTE inside a statement that begins with `first` runs a prepared statement, standing behind `before`.
fn runs(first: Token, before: Token) -> bool {
    match first.keyword() {
        Keyword::Explain => {
            matches!(
                before.keyword(),
                Keyword::Explain | Keyword::Analyze | Keyword::Analyse | Keyword::Verbose | Keyword::As
            ) || before.kind == Kind::Close
        }
        Keyword::Create => before.keyword() == Keyword::As,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_the_server_looks_for_statements() {
        for (text, found) in [
            ("PREPARE p (int) AS SELECT $1", "Prepare p p"),
            ("PREPARE transaction AS SELECT 1", "Prepare transaction transaction"),
            ("PREPARE TRANSACTION 'x'", ""),
            ("execute \"P\"(1)", "Execute P \"P\""),
            ("SELECT 1; EXECUTE Q; DEALLOCATE q", "Execute q Q, Deallocate q q"),
            ("DEALLOCATE PREPARE p", "Deallocate p p"),
            ("DEALLOCATE prepare", "Deallocate prepare prepare"),
            ("DEALLOCATE ALL", "DeallocateAll  "),
            ("deallocate prepare all", "DeallocateAll  "),
            ("DISCARD ALL", "DeallocateAll  "),
            ("DISCARD PLANS", ""),
            ("EXPLAIN (ANALYZE, COSTS off) EXECUTE p(1)", "Execute p p"),
            ("EXPLAIN ANALYZE VERBOSE EXECUTE p", "Execute p p"),
            ("CREATE TABLE t AS EXECUTE p (1)", "Execute p p"),
            ("EXPLAIN ANALYZE CREATE TABLE t AS EXECUTE p", "Execute p p"),
            ("CREATE TRIGGER a BEFORE INSERT ON t EXECUTE FUNCTION f()", ""),
            ("GRANT EXECUTE ON FUNCTION f TO u", ""),
            ("SELECT execute FROM prepare", ""),
            ("EXECUTE", ""),
            ("SELECT * FROM pg_prepared_statements", "View { aliased: false }  pg_prepared_statements"),
            (
                "SELECT p.name FROM t, Pg_Catalog.\"pg_prepared_statements\" AS p WHERE true",
                "View { aliased: true }  Pg_Catalog.\"pg_prepared_statements\"",
            ),
            (
                "SELECT 1 FROM t JOIN pg_prepared_statements p ON true; TABLE pg_prepared_statements",
                "View { aliased: true }  pg_prepared_statements",
            ),
            (
                "SELECT pg_prepared_statements.name FROM pg_prepared_statements ORDER BY 1",
                "View { aliased: false }  pg_prepared_statements",
            ),
            ("SELECT 1 FROM mine.pg_prepared_statements, pg_prepared_statements()", ""),
        ] {
            let all: Vec<_> = mentions(text.as_bytes(), Dialect::default())
                .into_iter()
                .map(|mention| {
                    let name = String::from_utf8_lossy(mention.name.as_bytes()).into_owned();
                    format!("{:?} {name} {}", mention.verb, &text[mention.place])
                })
                .collect();
            assert_eq!(all.join(", "), found, "{text}");
        }
    }
}
