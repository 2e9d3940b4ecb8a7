//! The functions a text calls that we do not know, for whoever can ask the server what they do.

use super::Dialect;
use super::functions::{Function, NAME_MAX, function};
use super::keyword::Category;
use super::lexer::{Kind, Lexer, Token};
use super::scan::unquoted;

/// Functions by name, whatever their schema and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// As the catalog spells them, each once, in the order met. Tables with a list of columns are among them: no
    /// function will be found under their names.
    pub names: Vec<Box<[u8]>>,
    /// Whether there is one whose name we cannot tell: it is written with escapes, or too long.
    pub unreadable: bool,
}

impl Calls {
    pub(super) fn add(&mut self, name: &[u8], quoted: bool) {
        if name.len() > NAME_MAX {
            self.unreadable = true;
            return;
        }
        let name = spelled(name, quoted);
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

/// What `text` calls that we do not know, and all that looks like a call. Slower than
/// [`classify`](super::classify()), and it allocates: ask only when the effects contain
/// [`UNKNOWN_CALL`](super::Effects::UNKNOWN_CALL).
pub fn calls(text: &[u8], dialect: Dialect) -> Calls {
    let mut calls = Calls::default();
    let mut walk = Walk::new(Lexer::new(text, dialect));
    while let Some(token) = walk.next() {
        if let Some(call) = walk.called(token) {
            match call.function {
                Some(Function::Harmless | Function::Primary | Function::Leaves(_)) => {}
                Some(Function::Unknown) => calls.add(call.name, call.quoted),
                None => calls.unreadable = true,
            }
        }
    }
    calls
}

/// A lexer that remembers the name before a parenthesis.
pub(super) struct Walk<'a> {
    pub lexer: Lexer<'a>,
    /// The token before the one read last.
    pub before: Token,
    /// The name that the tokens before form, and its schema.
    name: Option<Token>,
    qualifier: Option<Token>,
    dotted: bool,
}

/// Something that looks like the call of a function.
pub(super) struct Call<'a> {
    /// Without quotes and schema.
    pub name: &'a [u8],
    pub quoted: bool,
    /// What it is taken for; `None` when its name cannot be read.
    pub function: Option<Function>,
}

impl<'a> Walk<'a> {
    pub fn new(lexer: Lexer<'a>) -> Self {
        Walk { lexer, before: Token::NOTHING, name: None, qualifier: None, dotted: false }
    }

    /// The next token; `None` at the end.
    pub fn next(&mut self) -> Option<Token> {
        let token = self.lexer.next();
        (token.kind != Kind::End).then_some(token)
    }

    /// Takes `token` in, which was read last; the call that it opens, if any.
    pub fn called(&mut self, token: Token) -> Option<Call<'a>> {
        let call = match token.kind {
            Kind::Open => self.name.and_then(|name| self.call(name)),
            _ => None,
        };
        if token.is_name() {
            self.qualifier = self.name.filter(|_| self.dotted);
            self.name = Some(token);
            self.dotted = false;
        } else if token.kind == Kind::Dot {
            self.dotted = true;
        } else {
            self.name = None;
            self.dotted = false;
        }
        self.before = token;
        call
    }

    fn call(&self, name: Token) -> Option<Call<'a>> {
        let bytes = self.lexer.bytes(name);
        let (bare, quoted) = match name.kind {
            Kind::Word => (bytes, false),
            Kind::QuotedName => (unquoted(bytes), true),
            _ => return Some(Call { name: bytes, quoted: true, function: None }),
        };
        if self.qualifier.is_none() && name.word.category == Category::Fixed {
            return None;
        }
        let built_in = self.qualifier.is_none_or(|schema| {
            let bytes = self.lexer.bytes(schema);
            bytes.eq_ignore_ascii_case(b"pg_catalog") || bytes == b"\"pg_catalog\""
        });
        let function = match function(bare, quoted) {
            Function::Harmless | Function::Primary if !built_in => Function::Unknown,
            function => function,
        };
        Some(Call { name: bare, quoted, function: Some(function) })
    }
}

/// A name as the catalog spells it.
fn spelled(name: &[u8], quoted: bool) -> Box<[u8]> {
    if !quoted {
        return name.to_ascii_lowercase().into();
    }
    let mut spelled = Vec::with_capacity(name.len());
    let mut bytes = name.iter().peekable();
    while let Some(&byte) = bytes.next() {
        spelled.push(byte);
        if byte == b'"' {
            bytes.next_if_eq(&&b'"');
        }
    }
    spelled.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let calls = calls(text.as_bytes(), Dialect::default());
        assert!(!calls.unreadable, "{text}");
        calls.names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn what_is_not_built_in_is_named_as_the_catalog_spells_it() {
        assert_eq!(names("SELECT f(1), G(2), f(3)"), ["f", "g"]);
        assert_eq!(names("SELECT \"G\"(2), s.\"a\"\"b\" (3)"), ["G", "a\"b"]);
        assert_eq!(names("SELECT abs(1), pg_catalog.abs(2), public.abs(3)"), ["abs"]);
        assert_eq!(names("SELECT x IN (1), y AND (z), count(*)"), Vec::<String>::new());
        assert_eq!(names("SELECT 'f(1)' /* g(2) */ -- h(3)"), Vec::<String>::new());
        assert_eq!(names("SELECT set_config('a.b', 'c', false)"), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_cannot_be_told_is_said_so() {
        let long = format!("SELECT {}(1)", "x".repeat(NAME_MAX + 1));
        for text in ["SELECT U&\"f\"(1)", long.as_str()] {
            assert!(calls(text.as_bytes(), Dialect::default()).unreadable, "{text}");
        }
    }
}
