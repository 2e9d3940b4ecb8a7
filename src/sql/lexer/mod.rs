//! Bytes to tokens, by section 4.1 of the PostgreSQL manual and, where that is silent, by the server's own
//! rules (`src/backend/parser/scan.l`).
//!
//! No value is decoded: a token is a kind and a place, and a word also says which keyword it is. Every byte
//! string has tokens; what the server would refuse becomes [`Kind::Other`] or sets [`Lexer::unfinished`].
//! Each byte is looked at a bounded number of times. The lexer is `Copy`, so looking ahead is lexing on with
//! a copy.
//!
//! | file | its subject |
//! |---|---|
//! | here | the loop, names, and the usual form of everything |
//! | `class` | what a byte may be |
//! | `strings` | strings, quoted names, dollar quotes |
//! | `numbers` | numbers that are more than digits |
//! | `signs` | comments and operators |

mod class;
mod numbers;
mod signs;
mod strings;

use memchr::memchr;

use super::Dialect;
use super::block::{Block, SIZE};
use super::keyword::{Word, long_word, word};
use super::token::Span;
pub(super) use super::token::{Kind, Token};
use class::{CLASS, Class, IN_NAME, SINGLE, is_operator};

/// The tokens of one text. Asking on after [`Kind::End`] gives `End` again.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'a> {
    /// Up to the first NUL, where the server stops reading too.
    text: &'a [u8],
    at: usize,
    /// Up to where all is known to be signs that stand for themselves.
    signs: usize,
    dialect: Dialect,
    /// Whether the text ended inside a string, a quoted name or a comment.
    pub unfinished: bool,
    /// Whether a name held a byte that this client's encoding may mean differently: the name may be longer
    /// than we think.
    pub doubtful_name: bool,
    /// Whether a string held such a byte where a backslash counts: it may end elsewhere than we think.
    pub doubtful_string: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], dialect: Dialect) -> Self {
        let len = memchr(0, text).unwrap_or(text.len());
        Lexer {
            text: &text[..len.min(LEN_MAX)],
            at: 0,
            signs: 0,
            dialect,
            unfinished: len > LEN_MAX,
            doubtful_name: false,
            doubtful_string: false,
        }
    }

    /// The bytes of a token, quotes and prefix included.
    pub fn bytes(&self, token: Token) -> &'a [u8] {
        &self.text[token.span.start()..token.span.end()]
    }

    /// Where in the text a token stands, quotes and prefix included.
    pub fn place(&self, token: Token) -> std::ops::Range<usize> {
        token.span.start()..token.span.end()
    }

    /// The bytes from the start of one token to the end of another that is not before it.
    pub fn between(&self, first: Token, last: Token) -> &'a [u8] {
        &self.text[first.span.start()..last.span.end()]
    }

    /// The next token, with white space and comments before it skipped.
    pub fn next(&mut self) -> Token {
        self.next_inlined()
    }

    /// The same for the one loop that reads nearly all tokens: there the lexer and the token are never put together
    /// in memory, as long as what is not inlined takes the lexer by value.
    #[inline(always)]
    pub fn next_inlined(&mut self) -> Token {
        loop {
            let mut start = self.at;
            // The vertical tab is white space since PostgreSQL 16, an error before.
            let byte = loop {
                let Some(&byte) = self.text.get(start) else {
                    self.at = start;
                    return self.token(Kind::End, start);
                };
                if byte != b' ' && !matches!(byte, b'\t'..=b'\r') {
                    break byte;
                }
                start += 1;
            };
            self.at = start + 1;
            // Two steps for nearly all tokens, since a jump over all classes is foreseen less often.
            let class = CLASS[byte as usize];
            if let Class::Name = class {
                return self.name(start);
            }
            if let Class::Single = class {
                return self.token(SINGLE[byte as usize], start);
            }
            let usual = match class {
                Class::Prefix if !matches!(self.ahead(0), Some(b'\'' | b'&')) => return self.name(start),
                Class::Digit => self.plain_number(),
                Class::Dollar => self.parameter(),
                Class::Quote if self.dialect.standard_conforming_strings => self.simple_string(),
                Class::DoubleQuote => self.simple_name(),
                Class::Dot if !matches!(self.ahead(0), Some(b'0'..=b'9')) => Some(Kind::Dot),
                Class::Operator if byte == b'-' && self.ahead(0) == Some(b'-') => {
                    self.line_comment();
                    continue;
                }
                Class::Operator if !self.ahead(0).is_some_and(is_operator) => {
                    Some(if byte == b'=' { Kind::Equals } else { Kind::Operator })
                }
                _ => None,
            };
            if let Some(kind) = usual {
                return self.token(kind, start);
            }
            let token;
            (*self, token) = self.unusual(byte);
            if let Some(token) = token {
                return token;
            }
        }
    }

    /// Digits, perhaps with a dot between them, and nothing behind that may belong to the number.
    #[inline(always)]
    fn plain_number(&mut self) -> Option<Kind> {
        let mut end = self.end_of_digits(self.at);
        if let Some([b'.', b'0'..=b'9', ..]) = self.text.get(end..) {
            end = self.end_of_digits(end + 1);
        }
        if let Some(b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z') = self.text.get(end) {
            return None;
        }
        self.at = end;
        Some(Kind::Number)
    }

    /// A dollar sign has been read, and digits follow.
    #[inline(always)]
    fn parameter(&mut self) -> Option<Kind> {
        let end = self.end_of_digits(self.at);
        (end > self.at).then(|| {
            self.at = end;
            Kind::Parameter
        })
    }

    /// Byte by byte: numbers are short, and where their ends are foreseen nothing waits for a count.
    #[inline(always)]
    fn end_of_digits(&self, start: usize) -> usize {
        let mut end = start;
        while let Some(b'0'..=b'9') = self.text.get(end) {
            end += 1;
        }
        end
    }

    /// A string that ends at the next quote: nothing stands behind that may belong to it.
    #[inline(always)]
    fn simple_string(&mut self) -> Option<Kind> {
        let end = self.quote_behind(self.at)? + 1;
        match self.text.get(end..) {
            Some([b'\'' | b'-' | b'\t'..=b'\r', ..]) => return None,
            Some([b' ', b' ' | b'-' | b'\t'..=b'\r', ..]) => return None,
            _ => self.at = end,
        }
        Some(Kind::String)
    }

    /// A quoted name that ends at the next quote.
    #[inline(always)]
    fn simple_name(&mut self) -> Option<Kind> {
        let rest = &self.text[self.at..];
        let end = memchr(b'"', rest)? + 1;
        if rest.get(end) == Some(&b'"') {
            return None;
        }
        self.at += end;
        Some(Kind::QuotedName)
    }

    /// The rest of a token that begins with `byte`, which has been read; nothing, if it is a comment.
    #[inline(never)]
    fn unusual(mut self, byte: u8) -> (Self, Option<Token>) {
        let start = self.at - 1;
        let kind = match CLASS[byte as usize] {
            Class::Prefix => match self.prefixed(byte) {
                Some(kind) => kind,
                None => {
                    let token = self.name(start);
                    return (self, Some(token));
                }
            },
            Class::Digit => self.number(),
            Class::Quote => self.plain_string(),
            Class::DoubleQuote => self.quoted(Kind::QuotedName),
            Class::Dollar => self.dollar(),
            Class::Dot => {
                self.at = start;
                self.fraction();
                Kind::Number
            }
            Class::Colon => match self.ahead(0) {
                Some(b':') => {
                    self.at += 1;
                    Kind::Cast
                }
                Some(b'=') => {
                    self.at += 1;
                    Kind::Operator
                }
                _ => Kind::Operator,
            },
            Class::Operator => {
                if (byte, self.ahead(0)) == (b'/', Some(b'*')) {
                    self.at += 1;
                    self.block_comment();
                    return (self, None);
                }
                self.operator(byte)
            }
            _ => Kind::Other,
        };
        let token = self.token(kind, start);
        (self, Some(token))
    }

    /// A comma has been read: skips constants with a comma behind each, so that the last comma is the one that was
    /// read. Long texts are mostly that: rows to insert, lists to look in.
    #[inline(always)]
    pub fn skip_constants(&mut self) {
        loop {
            let start = self.at + usize::from(self.ahead(0) == Some(b' '));
            let end = match self.text.get(start..) {
                Some([b'0'..=b'9', ..]) => self.end_of_digits(start + 1),
                Some([b'$', b'0'..=b'9', ..]) => self.end_of_digits(start + 2),
                Some([b'\'', ..]) if self.dialect.standard_conforming_strings => {
                    match self.quote_behind(start + 1) {
                        Some(quote) => quote + 1,
                        None => return,
                    }
                }
                _ => return,
            };
            // Right behind its last byte: so the number, or the string, has ended.
            if self.text.get(end) != Some(&b',') {
                return;
            }
            self.at = end + 1;
        }
    }

    /// Where the next single quote stands.
    #[inline(always)]
    fn quote_behind(&self, start: usize) -> Option<usize> {
        let near = Block::at(self.text, start).len_before(b'\'');
        if near < 8 {
            return Some(start + near);
        }
        memchr(b'\'', &self.text[start..]).map(|len| start + len)
    }

    #[inline(always)]
    fn token(&self, kind: Kind, start: usize) -> Token {
        Token { kind, word: Word::PLAIN, span: Span::new(start, self.at) }
    }

    /// The token that `next` will give.
    pub fn peek(&self) -> Token {
        let mut ahead = *self;
        ahead.next()
    }

    fn ahead(&self, by: usize) -> Option<u8> {
        self.text.get(self.at + by).copied()
    }

    /// The rest of a name that starts at `start`.
    #[inline(always)]
    fn name(&mut self, start: usize) -> Token {
        let block = Block::at(self.text, start);
        self.at = start + block.word_len();
        while let Some(&byte) = self.text.get(self.at)
            && IN_NAME[byte as usize]
        {
            self.at += 1;
        }
        let len = self.at - start;
        let word = if len <= SIZE { word(block, len) } else { long_word(&self.text[start..self.at]) };
        if !self.dialect.ascii_safe && !self.text[start..self.at].is_ascii() {
            self.doubtful_name = true;
        }
        Token { word, ..self.token(Kind::Word, start) }
    }
}

/// How long a text can be, so that a place in it fits a token. The server takes no message above 1 GB.
const LEN_MAX: usize = u32::MAX as usize;
