//! Bytes to tokens, by section 4.1 of the PostgreSQL manual and, where that is silent, by the server's own
//! rules (`src/backend/parser/scan.l`).
//!
//! No value is decoded: a token is a kind and a place, and a word also says which keyword it is. Every byte
//! string has tokens; what the server would refuse becomes [`Kind::Other`] or sets [`Lexer::unfinished`].
//! Each byte is looked at a bounded number of times. The lexer is `Copy`, so looking ahead is lexing on with
//! a copy.

use memchr::{memchr, memchr2, memmem};

use super::Dialect;
use super::keyword::{Keyword, Word, word};

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

/// A piece of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    /// What keyword a [`Kind::Word`] is; of all others, none.
    pub word: Word,
    span: Span,
}

/// Where a token stands: its start in the low half, its end in the high half. One number instead of two,
/// because tokens are copied through memory: a copy that loads both at once would have to wait until two
/// stores are done, and that wait was a quarter of all time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span(u64);

impl Span {
    #[inline(always)]
    fn new(start: usize, end: usize) -> Self {
        Span(start as u64 | (end as u64) << u32::BITS)
    }

    #[inline(always)]
    fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    fn end(self) -> usize {
        (self.0 >> u32::BITS) as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing but white space and comments was left.
    End,
    /// A name or keyword without quotes.
    Word,
    /// `"…"`
    QuotedName,
    /// `U&"…"`
    UnicodeName,
    /// `'…'` and `N'…'` where a backslash is an ordinary character, `B'…'` and `X'…'`.
    String,
    /// `E'…'`, and `'…'` where a backslash escapes.
    EscapeString,
    /// `U&'…'`
    UnicodeString,
    /// `$$…$$` or `$tag$…$tag$`
    DollarString,
    /// `$1`
    Parameter,
    Number,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    Semicolon,
    Dot,
    /// `::`
    Cast,
    /// A lone `=`.
    Equals,
    /// Any other run of operator characters, and a lone `:`.
    Operator,
    /// A byte that means nothing in SQL.
    Other,
}

impl Token {
    /// A token that nothing was lexed to.
    pub const NOTHING: Token = Token { kind: Kind::Other, word: Word::PLAIN, span: Span(0) };

    pub fn keyword(self) -> Keyword {
        self.word.keyword
    }

    pub fn is_name(self) -> bool {
        matches!(self.kind, Kind::Word | Kind::QuotedName | Kind::UnicodeName)
    }

    /// Whether a statement without parentheses ends here.
    pub fn ends_statement(self) -> bool {
        matches!(self.kind, Kind::End | Kind::Semicolon)
    }

    pub fn is_string(self) -> bool {
        matches!(self.kind, Kind::String | Kind::EscapeString | Kind::UnicodeString | Kind::DollarString)
    }
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

    /// The same for the one loop that reads nearly all tokens: there a token is never put together in memory.
    #[inline(always)]
    pub fn next_inlined(&mut self) -> Token {
        loop {
            let start = self.at;
            let Some(&byte) = self.text.get(start) else {
                return self.token(Kind::End, start);
            };
            self.at = start + 1;
            let kind = match CLASS[byte as usize] {
                Class::Space => continue,
                Class::Name => return self.name(start),
                Class::Prefix => match self.prefixed(byte) {
                    Some(kind) => kind,
                    None => return self.name(start),
                },
                Class::Digit => self.number(),
                Class::Quote => self.plain_string(),
                Class::DoubleQuote => self.quoted(Kind::QuotedName),
                Class::Dollar => self.dollar(),
                Class::Single(kind) => kind,
                Class::Dot => match self.ahead(0) {
                    Some(b'0'..=b'9') => {
                        self.at = start;
                        self.fraction();
                        Kind::Number
                    }
                    _ => Kind::Dot,
                },
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
                    if self.skip_comment(byte) {
                        continue;
                    }
                    self.operator(byte)
                }
                Class::Other => Kind::Other,
            };
            return self.token(kind, start);
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

    /// The rest of a name whose first byte has been read.
    #[inline(always)]
    fn name(&mut self, start: usize) -> Token {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|&byte| !IN_NAME[byte as usize]).unwrap_or(rest.len());
        let name = &self.text[start..self.at];
        if !self.dialect.ascii_safe && !name.is_ascii() {
            self.doubtful_name = true;
        }
        Token { word: word(name), ..self.token(Kind::Word, start) }
    }

    /// A letter has been read: the rest of a string or quoted name if it is the prefix of one, as in `E'…'`,
    /// `B'…'`, `X'…'`, `N'…'`, `U&'…'` and `U&"…"`.
    fn prefixed(&mut self, letter: u8) -> Option<Kind> {
        let next = self.ahead(0)?;
        if next != b'\'' && next != b'&' {
            return None;
        }
        match (letter | 0x20, next, self.ahead(1)) {
            (b'u', b'&', Some(b'\'')) => {
                self.at += 2;
                Some(self.string(false, Kind::UnicodeString))
            }
            (b'u', b'&', Some(b'"')) => {
                self.at += 2;
                Some(self.quoted(Kind::UnicodeName))
            }
            (b'e', b'\'', _) => {
                self.at += 1;
                Some(self.string(true, Kind::EscapeString))
            }
            (b'b' | b'x', b'\'', _) => {
                self.at += 1;
                Some(self.string(false, Kind::String))
            }
            (b'n', b'\'', _) => {
                // The server reads N as a word of its own and the rest as any string.
                self.at += 1;
                Some(self.plain_string())
            }
            _ => None,
        }
    }

    /// The rest of a string without a prefix whose opening quote has been read.
    fn plain_string(&mut self) -> Kind {
        if self.dialect.standard_conforming_strings {
            self.string(false, Kind::String)
        } else {
            self.string(true, Kind::EscapeString)
        }
    }

    /// The rest of a string whose opening quote has been read, with its continuations on further lines.
    fn string(&mut self, escapes: bool, kind: Kind) -> Kind {
        let start = self.at;
        loop {
            let rest = &self.text[self.at..];
            let found = if escapes { memchr2(b'\'', b'\\', rest) } else { memchr(b'\'', rest) };
            let Some(found) = found else {
                self.at = self.text.len();
                self.unfinished = true;
                break;
            };
            self.at += found + 1;
            if rest[found] == b'\\' {
                self.at = (self.at + 1).min(self.text.len()); // whatever follows, it ends nothing
            } else if self.ahead(0) == Some(b'\'') {
                self.at += 1;
            } else if !self.continues() {
                break;
            }
        }
        if escapes && !self.dialect.ascii_safe && !self.text[start..self.at].is_ascii() {
            self.doubtful_string = true;
        }
        kind
    }

    /// Whether the string that just closed goes on behind a line break; if so, the next opening quote is read
    /// too. White space and `--` comments may stand between, other comments may not.
    fn continues(&mut self) -> bool {
        let mut at = self.at;
        let mut line_break = false;
        loop {
            match self.text.get(at) {
                Some(b'\n' | b'\r') => {
                    line_break = true;
                    at += 1;
                }
                Some(b' ' | b'\t' | 0x0b | 0x0c) => at += 1,
                Some(b'-') if self.text.get(at + 1) == Some(&b'-') => {
                    match memchr2(b'\n', b'\r', &self.text[at..]) {
                        Some(len) => at += len,
                        None => return false,
                    }
                }
                Some(b'\'') if line_break => {
                    self.at = at + 1;
                    return true;
                }
                _ => return false,
            }
        }
    }

    /// The rest of a quoted name whose opening quote has been read.
    fn quoted(&mut self, kind: Kind) -> Kind {
        loop {
            let Some(found) = memchr(b'"', &self.text[self.at..]) else {
                self.at = self.text.len();
                self.unfinished = true;
                return kind;
            };
            self.at += found + 1;
            if self.ahead(0) != Some(b'"') {
                return kind;
            }
            self.at += 1;
        }
    }

    /// A dollar sign has been read: a parameter, a dollar-quoted string, or nothing.
    fn dollar(&mut self) -> Kind {
        let open = self.at - 1;
        let rest = &self.text[self.at..];
        if let Some(b'0'..=b'9') = rest.first() {
            self.at += rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
            return Kind::Parameter;
        }
        let tag = rest.iter().position(|&byte| byte == b'$' || !IN_NAME[byte as usize]).unwrap_or(rest.len());
        if rest.get(tag) != Some(&b'$') {
            return Kind::Other;
        }
        let delimiter = &self.text[open..open + tag + 2];
        let body = open + delimiter.len();
        if !self.dialect.ascii_safe && !delimiter.is_ascii() {
            self.doubtful_string = true;
        }
        match memmem::find(&self.text[body..], delimiter) {
            Some(len) => self.at = body + len + delimiter.len(),
            None => {
                self.at = self.text.len();
                self.unfinished = true;
            }
        }
        Kind::DollarString
    }

    /// A digit has been read. Letters that cannot belong to the number are left for the next token: servers
    /// before 15 read `1into` as two tokens, and swallowing the second would hide a keyword.
    fn number(&mut self) -> Kind {
        let first = self.text[self.at - 1];
        let radix: Option<fn(&u8) -> bool> = match self.ahead(0) {
            _ if first != b'0' => None,
            Some(b'x' | b'X') => Some(u8::is_ascii_hexdigit),
            Some(b'o' | b'O') => Some(|byte| matches!(byte, b'0'..=b'7')),
            Some(b'b' | b'B') => Some(|byte| matches!(byte, b'0' | b'1')),
            _ => None,
        };
        if let Some(is_digit) = radix {
            let digits = self.at + 1;
            let first = digits + usize::from(self.text.get(digits) == Some(&b'_'));
            if self.text.get(first).is_some_and(is_digit) {
                self.at = digits;
                self.digits(is_digit);
                return Kind::Number;
            }
        }
        self.digits(u8::is_ascii_digit);
        // `1..10` is two numbers with a range between them, not `1.` and `.10`.
        if self.ahead(0) == Some(b'.') && self.ahead(1) != Some(b'.') {
            self.fraction();
        } else {
            self.exponent();
        }
        Kind::Number
    }

    /// A dot, the digits after it, and an exponent.
    fn fraction(&mut self) {
        self.at += 1;
        if let Some(b'0'..=b'9') = self.ahead(0) {
            self.digits(u8::is_ascii_digit);
        }
        self.exponent();
    }

    fn exponent(&mut self) {
        if let Some(b'e' | b'E') = self.ahead(0) {
            let sign = usize::from(matches!(self.ahead(1), Some(b'+' | b'-')));
            if let Some(b'0'..=b'9') = self.ahead(1 + sign) {
                self.at += 1 + sign;
                self.digits(u8::is_ascii_digit);
            }
        }
    }

    /// Digits, with single underscores between them (manual, section 4.1.2.6).
    fn digits(&mut self, is_digit: fn(&u8) -> bool) {
        loop {
            match self.ahead(0) {
                Some(byte) if is_digit(&byte) => self.at += 1,
                Some(b'_') if self.text.get(self.at + 1).is_some_and(is_digit) => self.at += 2,
                _ => return,
            }
        }
    }

    /// Skips a comment that starts with the operator character just read, if one does.
    fn skip_comment(&mut self, byte: u8) -> bool {
        match (byte, self.ahead(0)) {
            (b'-', Some(b'-')) => {
                self.at += memchr2(b'\n', b'\r', &self.text[self.at..]).unwrap_or(self.text.len() - self.at);
                true
            }
            (b'/', Some(b'*')) => {
                self.at += 1;
                self.block_comment();
                true
            }
            _ => false,
        }
    }

    /// The rest of a `/* … */` comment, which may hold others.
    fn block_comment(&mut self) {
        let mut depth = 1usize;
        while let Some(found) = memchr2(b'*', b'/', &self.text[self.at..]) {
            let byte = self.text[self.at + found];
            self.at += found + 1;
            match (byte, self.ahead(0)) {
                (b'*', Some(b'/')) => {
                    self.at += 1;
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                (b'/', Some(b'*')) => {
                    self.at += 1;
                    depth += 1;
                }
                // A ruler of stars: one step over all but its last, instead of a search per star.
                (b'*', Some(b'*')) => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&byte| byte != b'*').unwrap_or(rest.len()) - 1;
                }
                _ => {}
            }
        }
        self.at = self.text.len();
        self.unfinished = true;
    }

    /// The rest of a run of operator characters, which ends before a comment. A trailing plus or minus
    /// belongs to what follows, as in `a=-1`, unless the run has a character that no operator of standard SQL
    /// has (manual, 4.1.3).
    fn operator(&mut self, first: u8) -> Kind {
        let start = self.at - 1;
        if start < self.signs {
            return Kind::Operator;
        }
        let mut usual = is_usual(first);
        while let Some(byte) = self.ahead(0) {
            if !matches!(CLASS[byte as usize], Class::Operator) {
                break;
            }
            if matches!((byte, self.ahead(1)), (b'-', Some(b'-')) | (b'/', Some(b'*'))) {
                break;
            }
            usual &= is_usual(byte);
            self.at += 1;
        }
        if usual {
            self.signs = self.at;
            while self.at > start + 1 && matches!(self.text[self.at - 1], b'+' | b'-') {
                self.at -= 1;
            }
        }
        if first == b'=' && self.at == start + 1 { Kind::Equals } else { Kind::Operator }
    }
}

/// Whether standard SQL has operators with this character.
fn is_usual(operator: u8) -> bool {
    matches!(operator, b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=')
}

/// What a byte may start.
#[derive(Clone, Copy)]
enum Class {
    Space,
    Name,
    /// A letter that makes a following quote special.
    Prefix,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dot,
    Colon,
    Operator,
    Single(Kind),
    Other,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            // The vertical tab is white space since PostgreSQL 16, an error before.
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'b' | b'B' | b'e' | b'E' | b'n' | b'N' | b'u' | b'U' | b'x' | b'X' => Class::Prefix,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Name,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'(' => Class::Single(Kind::Open),
            b')' => Class::Single(Kind::Close),
            b'[' => Class::Single(Kind::OpenBracket),
            b']' => Class::Single(Kind::CloseBracket),
            b',' => Class::Single(Kind::Comma),
            b';' => Class::Single(Kind::Semicolon),
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/'
            | b'%' | b'<' | b'>' | b'=' => Class::Operator,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
};

/// Whether a byte may stand inside a name, after its first.
static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 0x80..);
        byte += 1;
    }
    table
};

/// How long a text can be, so that a place in it fits a token. The server takes no message above 1 GB.
const LEN_MAX: usize = u32::MAX as usize;
