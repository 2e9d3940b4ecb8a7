//! Bytes to tokens, by section 4.1 of the PostgreSQL manual and, where that is silent, by the server's own
//! rules (`src/backend/parser/scan.l`).
//!
//! No value is decoded: a token is a kind and a place, and a word also says which keyword it is. Every byte
//! string has tokens; what the server would refuse becomes [`Kind::Other`] or sets [`Lexer::unfinished`].
//! Each byte is looked at a bounded number of times. The lexer is `Copy`, so looking ahead is lexing on with
//! a copy.

use memchr::{memchr, memchr2, memmem};

use super::Dialect;
use super::block::{Block, SIZE};
use super::keyword::{Word, long_word, word};
use super::token::Span;
pub(super) use super::token::{Kind, Token};

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

    /// The rest of a comment that ends with the line.
    #[inline(always)]
    fn line_comment(&mut self) {
        self.at += memchr2(b'\n', b'\r', &self.text[self.at..]).unwrap_or(self.text.len() - self.at);
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
            if !is_operator(byte) {
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

#[inline(always)]
fn is_operator(byte: u8) -> bool {
    matches!(CLASS[byte as usize], Class::Operator)
}

/// Whether standard SQL has operators with this character.
fn is_usual(operator: u8) -> bool {
    matches!(operator, b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=')
}

/// What a byte may start.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
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
    /// A token of its own: see [`SINGLE`].
    Single,
    Other,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'b' | b'B' | b'e' | b'E' | b'n' | b'N' | b'u' | b'U' | b'x' | b'X' => Class::Prefix,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Name,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'(' | b')' | b'[' | b']' | b',' | b';' => Class::Single,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/'
            | b'%' | b'<' | b'>' | b'=' => Class::Operator,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
};

static SINGLE: [Kind; 256] = {
    let mut table = [Kind::Other; 256];
    table[b'(' as usize] = Kind::Open;
    table[b')' as usize] = Kind::Close;
    table[b'[' as usize] = Kind::OpenBracket;
    table[b']' as usize] = Kind::CloseBracket;
    table[b',' as usize] = Kind::Comma;
    table[b';' as usize] = Kind::Semicolon;
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
