//! Statements that reach beyond their session to the logins of others: what makes a server refuse a database that anybody
//! is connected to, and what changes how the next login turns out.

use super::Dialect;
use super::changes::Name;
use super::keyword::Keyword;
use super::lexer::{Kind, Lexer, Token};

/// What a statement wants of the connections of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Administration<'a> {
    /// Nobody may be connected to this database: it is dropped, renamed, moved to another tablespace or copied.
    Vacate(Name<'a>),
    /// Who logs in from now on finds other settings, another name, or is refused: ALTER and DROP of roles and databases,
    /// REVOKE ON DATABASE.
    Logins,
}

/// What the statements of `text` want of the connections of others, in order. Ask only when the effects contain DDL.
pub fn administration(text: &[u8], dialect: Dialect) -> Vec<Administration<'_>> {
    let mut lexer = Lexer::new(text, dialect);
    let mut found = Vec::new();
    loop {
        let first = lexer.next();
        match first.kind {
            Kind::End => return found,
            Kind::Semicolon => continue,
            _ => {}
        }
        let second = lexer.next();
        let object = Object::of(lexer.bytes(second));
        let mut last = second;
        match (first.keyword(), object) {
            (Keyword::Drop, Some(Object::Database)) => {
                last = lexer.next();
                if is(&lexer, last, "if") && is(&lexer, lexer.peek(), "exists") {
                    lexer.next();
                    last = lexer.next();
                }
                found.extend(vacate(&lexer, last));
                found.push(Administration::Logins);
            }
            (Keyword::Alter, Some(Object::Database)) => {
                let name = lexer.next();
                last = lexer.next();
                let moves = is(&lexer, last, "rename")
                    || is(&lexer, last, "set") && is(&lexer, lexer.peek(), "tablespace");
                found.extend(vacate(&lexer, name).filter(|_| moves));
                found.push(Administration::Logins);
            }
            (Keyword::Create, Some(Object::Database)) => {
                let template = template(&mut lexer, &mut last);
                found.push(Administration::Vacate(template.unwrap_or(Name::setting(b"template1"))));
            }
            // A user mapping is none.
            (Keyword::Alter | Keyword::Drop, Some(Object::Role)) if !is(&lexer, lexer.peek(), "mapping") => {
                found.push(Administration::Logins);
            }
            (Keyword::Revoke, _) if on_database(&mut lexer, &mut last) => {
                found.push(Administration::Logins);
            }
            _ => {}
        }
        while !last.ends_statement() {
            last = lexer.next();
        }
        if last.kind == Kind::End {
            return found;
        }
    }
}

enum Object {
    Database,
    Role,
}

impl Object {
    fn of(word: &[u8]) -> Option<Object> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("database") {
            return Some(Object::Database);
        }
        (is("role") || is("user") || is("group")).then_some(Object::Role)
    }
}

fn is(lexer: &Lexer<'_>, token: Token, word: &str) -> bool {
    token.kind == Kind::Word && lexer.bytes(token).eq_ignore_ascii_case(word.as_bytes())
}

fn vacate<'a>(lexer: &Lexer<'a>, name: Token) -> Option<Administration<'a>> {
    name.is_name().then(|| Administration::Vacate(Name::of(lexer.bytes(name), name.kind)))
}

/// The name behind TEMPLATE in a CREATE DATABASE, up to whose end is read.
fn template<'a>(lexer: &mut Lexer<'a>, last: &mut Token) -> Option<Name<'a>> {
    // The new name, which may be "template".
    *last = lexer.next();
    let mut found = None;
    while !last.ends_statement() {
        *last = lexer.next();
        if is(lexer, *last, "template") {
            *last = lexer.next();
            if lexer.bytes(*last) == b"=" {
                *last = lexer.next();
            }
            // TEMPLATE DEFAULT is none.
            if last.is_name() && !is(lexer, *last, "default") {
                found = Some(Name::of(lexer.bytes(*last), last.kind));
            }
        }
    }
    found
}

/// Whether a REVOKE, up to whose end is read, is of privileges on databases.
fn on_database(lexer: &mut Lexer<'_>, last: &mut Token) -> bool {
    let mut found = false;
    while !last.ends_statement() {
        let on = is(lexer, *last, "on");
        *last = lexer.next();
        found |= on && is(lexer, *last, "database");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_its_session_is_found() {
        for (text, found) in [
            ("DROP DATABASE d", "vacate d, logins"),
            ("drop database if exists \"D d\" with (force)", "vacate D d, logins"),
            ("SELECT 1; DROP DATABASE D;", "vacate d, logins"),
            ("ALTER DATABASE d RENAME TO e", "vacate d, logins"),
            ("ALTER DATABASE d SET TABLESPACE t", "vacate d, logins"),
            ("ALTER DATABASE d SET work_mem = '1MB'", "logins"),
            ("ALTER DATABASE d OWNER TO somebody", "logins"),
            ("CREATE DATABASE d", "vacate template1"),
            ("CREATE DATABASE template OWNER = x TEMPLATE = \"T\" ENCODING 'UTF8'", "vacate T"),
            (
                "CREATE DATABASE d WITH TEMPLATE t; CREATE DATABASE e TEMPLATE DEFAULT",
                "vacate t, vacate template1",
            ),
            ("ALTER ROLE r SET work_mem = '1MB'", "logins"),
            ("ALTER USER ALL RESET ALL; DROP ROLE r", "logins, logins"),
            ("ALTER USER MAPPING FOR r SERVER s OPTIONS (ADD a 'b')", ""),
            ("DROP USER MAPPING FOR r SERVER s", ""),
            ("REVOKE CONNECT ON DATABASE d FROM PUBLIC", "logins"),
            ("REVOKE ALL ON TABLE database FROM PUBLIC", ""),
            ("DROP TABLE database; CREATE TABLE t (a int)", ""),
            ("DROP", ""),
            ("DROP DATABASE", "logins"),
        ] {
            let told: Vec<String> = administration(text.as_bytes(), Dialect::default())
                .into_iter()
                .map(|found| match found {
                    Administration::Vacate(name) => {
                        format!("vacate {}", String::from_utf8_lossy(name.as_bytes()))
                    }
                    Administration::Logins => "logins".to_owned(),
                })
                .collect();
            assert_eq!(told.join(", "), found, "{text}");
        }
    }
}
