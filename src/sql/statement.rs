//! Where one statement ends and the next begins.

use super::keyword::Keyword;

/// What decides whether a semicolon ends the statement: how many parentheses are open (CREATE RULE has
/// semicolons inside them), and whether we are inside the `BEGIN ATOMIC … END` body of a function.
#[derive(Clone, Copy, Default)]
pub(super) struct Bounds {
    depth: u32,
    /// Whether the statement creates a function or procedure, the only ones with such a body.
    routine: bool,
    /// 0 outside such a body, else how many END are missing: its own and one for each CASE.
    open: u32,
}

impl Bounds {
    pub fn depth(&self) -> u32 {
        self.depth
    }

    pub fn open(&mut self) {
        self.depth = self.depth.saturating_add(1);
    }

    pub fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether a semicolon here ends the statement.
    pub fn semicolon(&self) -> bool {
        self.depth == 0 && self.open == 0
    }

    /// Takes in a keyword and the one directly before it. Behind AS it is a column's label, which may be any
    /// word.
    #[inline]
    pub fn word(&mut self, before: Keyword, keyword: Keyword) {
        match keyword {
            Keyword::Function | Keyword::Procedure => {
                self.routine |= matches!(before, Keyword::Create | Keyword::Replace);
            }
            Keyword::Atomic if self.routine && self.open == 0 && before == Keyword::Begin => self.open = 1,
            Keyword::Case if self.open > 0 && before != Keyword::As => {
                self.open = self.open.saturating_add(1)
            }
            Keyword::End if self.open > 0 && before != Keyword::As => self.open -= 1,
            _ => {}
        }
    }
}
