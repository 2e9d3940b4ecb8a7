//! What running a function's body may leave in the session it runs in, judged without a parser, like everything here.
//! Unsure means that it leaves something.

use super::calls::{Call, Calls, Walk};
use super::effects::Effects;
use super::functions::Function;
use super::keyword::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::{Dialect, relations};

/// See [`body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// It may leave something behind.
    Leaves,
    /// It leaves what these leave.
    Calls(Calls),
}

/// What a body in SQL or PL/pgSQL leaves behind. Advancing a sequence and notifying do not count: neither is undone or
/// repeated by running elsewhere.
pub fn body(text: &[u8]) -> Body {
    let mut calls = Calls::default();
    let mut walk = Walk::new(Lexer::new(text, Dialect::default()));
    let mut begins = true;
    let mut updates = false;
    while let Some(token) = walk.next() {
        let keyword = token.keyword();
        let leaves = match keyword {
            // SET of an UPDATE or of ON CONFLICT DO UPDATE; else a setting's.
            Keyword::Set => {
                !updates
                    && !matches!(
                        walk.lexer.peek().keyword(),
                        Keyword::Local | Keyword::Transaction | Keyword::Constraints
                    )
            }
            // A text that is made when it runs.
            Keyword::Execute => true,
            Keyword::Temp | Keyword::Temporary | Keyword::Hold => true,
            Keyword::Reset
            | Keyword::Discard
            | Keyword::Listen
            | Keyword::Unlisten
            | Keyword::Load
            | Keyword::Prepare
            | Keyword::Deallocate
            | Keyword::Call
            | Keyword::Do => begins,
            Keyword::Other => token.is_name() && names_temporary(walk.lexer.bytes(token)),
            _ => false,
        };
        if leaves {
            return Body::Leaves;
        }
        updates |= keyword == Keyword::Update;
        begins = token.kind == Kind::Semicolon || opens_block(&walk, token);
        if begins {
            updates = false;
        }
        if let Some(call) = walk.called(token)
            && call_leaves(&call, &walk, &mut calls)
        {
            return Body::Leaves;
        }
    }
    let lexer = &walk.lexer;
    match lexer.unfinished || lexer.doubtful_name || lexer.doubtful_string || calls.unreadable {
        true => Body::Leaves,
        false => Body::Calls(calls),
    }
}

fn call_leaves(call: &Call<'_>, walk: &Walk<'_>, calls: &mut Calls) -> bool {
    match call.function {
        None => true,
        Some(Function::Harmless | Function::Primary) => false,
        Some(Function::Leaves(Effects::SET_CONFIG)) => !is_local(walk.lexer),
        Some(Function::Leaves(effects)) => {
            !effects.without(Effects::SEQUENCE_ADVANCE | Effects::NOTIFY).is_empty()
        }
        Some(Function::Unknown) => {
            calls.add(call.name, call.quoted);
            false
        }
    }
}

/// Whether the arguments that follow end with `, true`: then set_config() sets for the transaction only.
fn is_local(mut lexer: Lexer<'_>) -> bool {
    let mut depth = 0u32;
    let (mut last, mut before) = (Token::NOTHING, Token::NOTHING);
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::Close if depth == 0 => break,
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            Kind::End => return false,
            _ => {}
        }
        before = last;
        last = token;
    }
    before.kind == Kind::Comma && lexer.bytes(last).eq_ignore_ascii_case(b"true")
}

/// Whether a statement may begin behind this token.
fn opens_block(walk: &Walk<'_>, token: Token) -> bool {
    let word = walk.lexer.bytes(token);
    token.kind == Kind::Word
        && [&b"begin"[..], b"then", b"else", b"loop", b"atomic"]
            .iter()
            .any(|opening| word.eq_ignore_ascii_case(opening))
        || word.ends_with(b">>")
}

fn names_temporary(name: &[u8]) -> bool {
    relations::is_temporary_schema(super::scan::unquoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_only_read_and_write_leave_nothing() {
        for (text, calls) in [
            ("SELECT 1", ""),
            ("BEGIN RETURN abs(x) + g(x); END", "g"),
            ("BEGIN UPDATE t SET a = f(1) WHERE b = 2; RETURN NEW; END", "f"),
            ("INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "t conflict"),
            ("BEGIN PERFORM set_config('a.b', x, true); END", ""),
            ("BEGIN SET LOCAL work_mem = '1MB'; END", ""),
            ("BEGIN PERFORM nextval('s'); PERFORM pg_notify('a', 'b'); END", ""),
            ("DECLARE r record; BEGIN FOR r IN SELECT * FROM t LOOP x := x + r.v; END LOOP; END", ""),
            ("BEGIN IF a THEN UPDATE t SET b = 1; ELSE DELETE FROM t; END IF; END", ""),
            ("SELECT reset, load FROM t", ""),
        ] {
            let Body::Calls(found) = body(text.as_bytes()) else { panic!("{text}") };
            let found: Vec<_> = found.names.iter().map(|name| String::from_utf8_lossy(name)).collect();
            assert_eq!(found.join(" "), calls, "{text}");
        }
    }

    #[test]
    fn bodies_that_may_set_something_are_known_for_it() {
        for text in [
            "BEGIN RETURN set_config('work_mem', v, false); END",
            "BEGIN RETURN set_config('work_mem', v, is_local); END",
            "BEGIN EXECUTE 'SET search_path = s'; END",
            "BEGIN SET search_path = s; END",
            "BEGIN UPDATE t SET a = 1; SET search_path = s; END",
            "BEGIN IF a THEN UPDATE t SET b = 1; ELSE SET x = 1; END IF; END",
            "BEGIN CREATE TEMP TABLE t (a int); END",
            "CREATE TABLE pg_temp.t (a int)",
            "BEGIN PERFORM pg_advisory_lock(1); END",
            "SELECT currval('s')",
            "LISTEN a",
            "BEGIN <<here>> LOAD 'x'; END",
            "BEGIN CALL p(); END",
            "SELECT U&\"f\"(1)",
            "SELECT 'unfinished",
        ] {
            assert_eq!(body(text.as_bytes()), Body::Leaves, "{text}");
        }
    }
}
