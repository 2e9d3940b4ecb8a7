//! What a byte may be: the tables that the lexer goes by.

use super::Kind;

#[inline(always)]
pub(super) fn is_operator(byte: u8) -> bool {
    matches!(CLASS[byte as usize], Class::Operator)
}

/// What a byte may start.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
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

pub(super) static CLASS: [Class; 256] = {
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

pub(super) static SINGLE: [Kind; 256] = {
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
pub(super) static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 0x80..);
        byte += 1;
    }
    table
};
