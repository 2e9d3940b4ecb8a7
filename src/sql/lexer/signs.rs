//! Comments and operators, which begin with the same characters (manual, sections 4.1.3 and 4.1.5).

use memchr::memchr2;

use super::class::is_operator;
use super::{Kind, Lexer};

impl Lexer<'_> {
    /// A colon has been read: `::`, `:=` or one alone.
    pub(super) fn colon(&mut self) -> Kind {
        let (kind, len) = match self.ahead(0) {
            Some(b':') => (Kind::Cast, 1),
            Some(b'=') => (Kind::Operator, 1),
            _ => (Kind::Operator, 0),
        };
        self.at += len;
        kind
    }

    /// The rest of a comment that ends with the line.
    pub(super) fn line_comment(&mut self) {
        self.at += memchr2(b'\n', b'\r', &self.text[self.at..]).unwrap_or(self.text.len() - self.at);
    }

    /// The rest of a `/* … */` comment, which may hold others. Its slash has been read.
    pub(super) fn block_comment(&mut self) {
        self.at += 1;
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
    pub(super) fn operator(&mut self, first: u8) -> Kind {
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

/// Whether standard SQL has operators with this character.
fn is_usual(operator: u8) -> bool {
    matches!(operator, b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=')
}
