//! Strings, quoted names and dollar quotes: all that ends with what it began with (manual, section 4.1.2).

use memchr::{memchr, memchr2, memmem};

use super::class::IN_NAME;
use super::{Kind, Lexer};

impl Lexer<'_> {
    /// A letter has been read: the rest of a string or quoted name if it is the prefix of one, as in `E'…'`,
    /// `B'…'`, `X'…'`, `N'…'`, `U&'…'` and `U&"…"`.
    pub(super) fn prefixed(&mut self, letter: u8) -> Option<Kind> {
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
    pub(super) fn plain_string(&mut self) -> Kind {
        if self.dialect.standard_conforming_strings {
            self.string(false, Kind::String)
        } else {
            self.string(true, Kind::EscapeString)
        }
    }

    /// The rest of a string whose opening quote has been read, with its continuations on further lines.
    pub(super) fn string(&mut self, escapes: bool, kind: Kind) -> Kind {
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
    pub(super) fn continues(&mut self) -> bool {
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
    pub(super) fn quoted(&mut self, kind: Kind) -> Kind {
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
    pub(super) fn dollar(&mut self) -> Kind {
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
}
