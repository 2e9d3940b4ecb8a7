//! A piece of a text: what kind of token it is, and where it stands.

use super::keyword::{Keyword, Word};

/// A piece of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    /// What keyword a [`Kind::Word`] is; of all others, none.
    pub word: Word,
    pub span: Span,
}

/// Where a token stands: its start in the low half, its end in the high half. One number instead of two,
/// because tokens are copied through memory: a copy that loads both at once would have to wait until two
/// stores are done, and that wait was a quarter of all time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span(u64);

impl Span {
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Self {
        Span(start as u64 | (end as u64) << u32::BITS)
    }

    #[inline(always)]
    pub fn start(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    pub fn end(self) -> usize {
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
