//! Numbers that are more than digits (manual, section 4.1.2.6).

use super::{Kind, Lexer};

impl Lexer<'_> {
    /// A digit has been read. Letters that cannot belong to the number are left for the next token: servers
    /// before 15 read `1into` as two tokens, and swallowing the second would hide a keyword.
    pub(super) fn number(&mut self) -> Kind {
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
    pub(super) fn fraction(&mut self) {
        self.at += 1;
        if let Some(b'0'..=b'9') = self.ahead(0) {
            self.digits(u8::is_ascii_digit);
        }
        self.exponent();
    }

    pub(super) fn exponent(&mut self) {
        if let Some(b'e' | b'E') = self.ahead(0) {
            let sign = usize::from(matches!(self.ahead(1), Some(b'+' | b'-')));
            if let Some(b'0'..=b'9') = self.ahead(1 + sign) {
                self.at += 1 + sign;
                self.digits(u8::is_ascii_digit);
            }
        }
    }

    /// Digits, with single underscores between them (manual, section 4.1.2.6).
    pub(super) fn digits(&mut self, is_digit: fn(&u8) -> bool) {
        loop {
            match self.ahead(0) {
                Some(byte) if is_digit(&byte) => self.at += 1,
                Some(b'_') if self.text.get(self.at + 1).is_some_and(is_digit) => self.at += 2,
                _ => return,
            }
        }
    }
}
