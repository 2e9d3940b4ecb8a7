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
//! | here | the loop over what is not usual, and what names are |
//! | `usual` | the form that nearly all tokens have, read with as few steps as can be |
//! | `class` | what a byte may be |
//! | `strings` | strings, quoted names, dollar quotes |
//! | `numbers` | numbers that are more than digits |
//! | `signs` | comments and operators |
//! | `window` | where names end |

mod class;
mod numbers;
mod signs;
mod strings;
mod usual;
mod window;

use memchr::memchr;

use super::Dialect;
use super::block::{Block, SIZE};
use super::keyword::{Word, long_word, word};
use super::token::Span;
pub(super) use super::token::{Kind, Token};
pub(super) use class::Class;
use window::Window;

/// The tokens of one text. Asking on after [`Kind::End`] gives `End` again.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'a> {
    /// Up to the first NUL, where the server stops reading too.
    text: &'a [u8],
    at: usize,
    window: Window,
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
    #[inline(always)]
    pub fn new(text: &'a [u8], dialect: Dialect) -> Self {
        let len = end_of_text(text);
        let text = &text[..len.min(LEN_MAX)];
        Lexer {
            text,
            at: 0,
            window: Window::NOWHERE,
            signs: 0,
            dialect,
            unfinished: len > LEN_MAX,
            doubtful_name: false,
            doubtful_string: false,
        }
    }

    /// The bytes of a token, quotes and prefix included.
    pub fn bytes(&self, token: Token) -> &'a [u8] {
        self.slice(token.span)
    }

    /// The bytes between two places.
    pub fn slice(&self, span: Span) -> &'a [u8] {
        &self.text[span.start()..span.end()]
    }

    /// Whether what stands at `start` may be a name that PostgreSQL keeps for its own, `pg_…`.
    #[inline(always)]
    pub fn is_system(&self, start: usize) -> bool {
        matches!(self.text.get(start), Some(b'p' | b'P'))
            && matches!(self.text[start..], [_, b'g' | b'G', b'_', ..])
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
        loop {
            if let Some((kind, start, end)) = self.usual(self.at) {
                self.at = end;
                let word = if kind == Kind::Word { self.word(start, end) } else { Word::PLAIN };
                return Token { kind, word, span: Span::new(start, end) };
            }
            if let Some(token) = self.unusual() {
                return token;
            }
        }
    }

    /// The next token if it is not usual; nothing, if it was a comment.
    #[inline(never)]
    fn unusual(&mut self) -> Option<Token> {
        let (class, start) = self.class_behind(self.at);
        let Some(&byte) = self.text.get(start) else {
            return Some(self.token(Kind::End, start));
        };
        self.at = start + 1;
        let kind = match class {
            Class::Prefix => match self.prefixed(byte) {
                Some(kind) => kind,
                None => {
                    let word = self.word(start, self.at);
                    return Some(Token { word, ..self.token(Kind::Word, start) });
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
            Class::Colon => self.colon(),
            Class::Operator => match (byte, self.ahead(0)) {
                (b'-', Some(b'-')) => {
                    self.line_comment();
                    return None;
                }
                (b'/', Some(b'*')) => {
                    self.block_comment();
                    return None;
                }
                _ => self.operator(byte),
            },
            _ => Kind::Other,
        };
        Some(self.token(kind, start))
    }

    /// Whether the whole text has been read.
    pub fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Where the next token would be read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads on from another place, which is the start or the end of a token.
    pub fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// What a [`Kind::Word`] between these two places is.
    #[inline(always)]
    pub fn word(&mut self, start: usize, end: usize) -> Word {
        self.doubt_name(start, end);
        let len = end - start;
        match len <= SIZE {
            true => word(Block::at(self.text, start), len),
            false => long_word(&self.text[start..end]),
        }
    }

    /// Notes whether the name between these two places may end elsewhere.
    #[inline(always)]
    pub fn doubt_name(&mut self, start: usize, end: usize) {
        if !self.dialect.ascii_safe && !self.text[start..end].is_ascii() {
            self.doubtful_name = true;
        }
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
}

/// Where the server stops reading: at the first NUL.
#[inline(always)]
fn end_of_text(text: &[u8]) -> usize {
    // Short texts are the usual ones, and a search has its price before it begins.
    if text.len() <= SHORT {
        let (chunks, last) = text.as_chunks();
        let nuls = chunks.iter().fold(0, |nuls, chunk| nuls | Block::of(chunk).nuls());
        let nuls = nuls | Block::at(text, text.len() - last.len()).nuls() & !(u16::MAX << last.len());
        if nuls == 0 {
            return text.len();
        }
    }
    memchr(0, text).unwrap_or(text.len())
}

/// Up to how many bytes a text is searched for its end without calling anything.
const SHORT: usize = 128;

/// How long a text can be, so that a place in it fits a token. The server takes no message above 1 GB.
const LEN_MAX: usize = u32::MAX as usize;
