//! The form that nearly all tokens have, read with as few steps as can be.
//!
//! These functions take the place where they begin and return the one where they end, instead of keeping it in the
//! lexer: in the loop that reads nearly all tokens it stays in a register, and the lexer stays where it is.

use memchr::memchr;

use super::class::{CLASS, Class, is_operator};
use super::window;
use super::{Block, Kind, Lexer, SIZE};

impl Lexer<'_> {
    /// The next token behind `at`, where it begins and where it ends, if it has the usual form. Otherwise
    /// [`Lexer::next`] knows more.
    #[inline(always)]
    pub(super) fn usual(&mut self, at: usize) -> Option<(Kind, usize, usize)> {
        let (class, start) = self.class_behind(at);
        let (kind, end) = match class {
            Class::Name | Class::Prefix => (Kind::Word, self.end_of_usual_name(start, class)?),
            Class::Digit => (Kind::Number, self.end_of_number(start)?),
            Class::Quote => (Kind::String, self.end_of_string(start)?),
            Class::DoubleQuote => (Kind::QuotedName, self.end_of_quoted(start)?),
            Class::Dollar => (Kind::Parameter, self.end_of_parameter(start)?),
            Class::Dot if self.is_dot(start) => (Kind::Dot, start + 1),
            Class::Operator if self.is_sign(start) => match self.text[start] {
                b'=' => (Kind::Equals, start + 1),
                _ => (Kind::Operator, start + 1),
            },
            Class::Comma => (Kind::Comma, start + 1),
            Class::Open => (Kind::Open, start + 1),
            Class::Close => (Kind::Close, start + 1),
            Class::OpenBracket => (Kind::OpenBracket, start + 1),
            Class::CloseBracket => (Kind::CloseBracket, start + 1),
            Class::Semicolon => (Kind::Semicolon, start + 1),
            Class::End => (Kind::End, start),
            Class::Dot | Class::Colon | Class::Operator | Class::Space | Class::Other => return None,
        };
        Some((kind, start, end))
    }

    /// The next byte behind `at` that is no white space: what it may begin, and where it stands.
    #[inline(always)]
    pub fn class_behind(&self, at: usize) -> (Class, usize) {
        let mut start = at;
        while let Some(&byte) = self.text.get(start) {
            let class = CLASS[byte as usize];
            if class != Class::Space {
                return (class, start);
            }
            start += 1;
        }
        (Class::End, start)
    }

    /// Where a name ends, unless it is the prefix of a string or of a quoted name.
    #[inline(always)]
    fn end_of_usual_name(&mut self, start: usize, class: Class) -> Option<usize> {
        let end = self.end_of_name(start);
        (!self.is_prefix(class, start, end)).then_some(end)
    }

    /// Whether the name between these two places may be the prefix of a string or of a quoted name.
    #[inline(always)]
    pub fn is_prefix(&self, class: Class, start: usize, end: usize) -> bool {
        class == Class::Prefix && end == start + 1 && matches!(self.text.get(end), Some(b'\'' | b'&'))
    }

    /// Whether a dot is one, and not the start of a number.
    #[inline(always)]
    pub fn is_dot(&self, start: usize) -> bool {
        !matches!(self.text.get(start + 1), Some(b'0'..=b'9'))
    }

    /// Whether an operator's character is all of it, and begins no comment.
    #[inline(always)]
    pub fn is_sign(&self, start: usize) -> bool {
        !self.text.get(start + 1).is_some_and(|&byte| is_operator(byte))
    }

    #[inline(always)]
    pub fn end_of_name(&mut self, start: usize) -> usize {
        match self.window.end_of_name(start) {
            Some(end) => end,
            None => self.end_of_name_outside(start),
        }
    }

    /// Where a name ends that the window does not show, or not to its end.
    #[inline(always)]
    fn end_of_name_outside(&mut self, start: usize) -> usize {
        let mut base = start;
        loop {
            self.window.move_to(self.text, base);
            match self.window.end_of_name(base) {
                Some(end) => return end,
                None => base += window::LEN,
            }
        }
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

    /// Digits, perhaps with a dot between them, and nothing behind that may belong to the number.
    #[inline(always)]
    pub fn end_of_number(&self, start: usize) -> Option<usize> {
        let mut end = self.end_of_digits(start);
        if let Some([b'.', b'0'..=b'9', ..]) = self.text.get(end..) {
            end = self.end_of_digits(end + 1);
        }
        let goes_on = matches!(self.text.get(end), Some(b'_' | b'.' | b'a'..=b'z' | b'A'..=b'Z'));
        (!goes_on).then_some(end)
    }

    /// A dollar sign and digits.
    #[inline(always)]
    pub fn end_of_parameter(&self, start: usize) -> Option<usize> {
        let end = self.end_of_digits(start + 1);
        (end > start + 1).then_some(end)
    }

    /// A string that ends at the next quote: nothing stands behind that may belong to it.
    #[inline(always)]
    pub fn end_of_string(&self, start: usize) -> Option<usize> {
        if !self.dialect.standard_conforming_strings {
            return None;
        }
        let end = self.quote_behind(start + 1)? + 1;
        match self.text.get(end..) {
            Some([b'\'' | b'-' | b'\t'..=b'\r', ..]) => None,
            Some([b' ', b' ' | b'-' | b'\t'..=b'\r', ..]) => None,
            _ => Some(end),
        }
    }

    /// Where the next single quote stands.
    #[inline(always)]
    fn quote_behind(&self, start: usize) -> Option<usize> {
        let near = Block::at(self.text, start).len_before(b'\'');
        if near < SIZE {
            return Some(start + near);
        }
        memchr(b'\'', &self.text[start..]).map(|len| start + len)
    }

    /// A quoted name that ends at the next quote.
    #[inline(always)]
    pub fn end_of_quoted(&mut self, start: usize) -> Option<usize> {
        // Nearly all hold nothing that would need the quotes.
        let mut quote = self.end_of_name(start + 1);
        if self.text.get(quote) != Some(&b'"') {
            quote += memchr(b'"', &self.text[quote..])?;
        }
        let end = quote + 1;
        (self.text.get(end) != Some(&b'"')).then_some(end)
    }

    /// The place behind constants with a comma behind each, from `at` on, which is behind a comma too: so only the last
    /// of these commas need be seen. Long texts are mostly that: rows to insert, lists to look in.
    #[inline(always)]
    pub fn skip_constants(&self, at: usize) -> usize {
        let first = at + usize::from(self.text.get(at) == Some(&b' '));
        match self.text.get(first) {
            Some(b'0'..=b'9' | b'$' | b'\'' | b'(' | b'-') => self.constants(at),
            _ => at,
        }
    }

    /// The same, where there is likely to be one.
    #[inline(never)]
    fn constants(&self, mut at: usize) -> usize {
        loop {
            let start = at + usize::from(self.text.get(at) == Some(&b' '));
            let end = match self.text.get(start) {
                Some(b'(') => self.row(start),
                _ => self.constant(start),
            };
            match end {
                Some(end) if self.text.get(end) == Some(&b',') => at = end + 1,
                _ => return at,
            }
        }
    }

    /// Behind constants in parentheses.
    #[inline(always)]
    fn row(&self, open: usize) -> Option<usize> {
        let mut at = open;
        loop {
            let start = at + 1 + usize::from(self.text.get(at + 1) == Some(&b' '));
            at = self.constant(start)?;
            match self.text.get(at) {
                Some(b',') => {}
                Some(b')') => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Behind a number, a parameter or a string that ends right before a comma or a parenthesis; elsewhere it may not
    /// have ended.
    #[inline(always)]
    fn constant(&self, start: usize) -> Option<usize> {
        match self.text.get(start)? {
            b'0'..=b'9' => Some(self.end_of_decimals(start)),
            b'-' if matches!(self.text.get(start + 1), Some(b'0'..=b'9')) => {
                Some(self.end_of_decimals(start + 1))
            }
            b'$' => self.end_of_parameter(start),
            b'\'' if self.dialect.standard_conforming_strings => Some(self.quote_behind(start + 1)? + 1),
            _ => None,
        }
    }

    /// Behind digits, perhaps with a dot between them.
    #[inline(always)]
    fn end_of_decimals(&self, start: usize) -> usize {
        let end = self.end_of_digits(start);
        match self.text.get(end..) {
            Some([b'.', b'0'..=b'9', ..]) => self.end_of_digits(end + 1),
            _ => end,
        }
    }
}
