//! What a byte may be: the tables that the lexer goes by.

#[inline(always)]
pub(super) fn is_operator(byte: u8) -> bool {
    matches!(CLASS[byte as usize], Class::Operator)
}

/// What a byte may start.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::sql) enum Class {
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
    Comma,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Semicolon,
    /// White space. The vertical tab is some since PostgreSQL 16, an error before.
    Space,
    /// No byte: the end of the text.
    End,
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
            b',' => Class::Comma,
            b'(' => Class::Open,
            b')' => Class::Close,
            b'[' => Class::OpenBracket,
            b']' => Class::CloseBracket,
            b';' => Class::Semicolon,
            b' ' | b'\t'..=b'\r' => Class::Space,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/'
            | b'%' | b'<' | b'>' | b'=' => Class::Operator,
            _ => Class::Other,
        };
        byte += 1;
    }
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
