//! What two texts have in common that differ only in their constants, in case, in white space and in comments.
//!
//! No allocation, one pass over the tokens: the fingerprint is a hash of them. Names are folded where the server folds
//! them, a constant counts as one whatever it is, and a list of constants as one of them, so that `IN (1, 2)` and `IN
//! (3)` are the same. Two texts with one fingerprint may still differ, one time in 2⁶⁴ and for whoever wants it: use it
//! only where a wrong answer costs no more than time.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::Dialect;
use super::lexer::{Kind, Lexer};

/// The fingerprint of a text.
pub fn fingerprint(text: &[u8], dialect: Dialect) -> u64 {
    let mut lexer = Lexer::new(text, dialect);
    let mut hasher = FxHasher::default();
    // A comma behind a constant counts only when something else follows.
    let mut constant = false;
    let mut comma = false;
    loop {
        let token = lexer.next();
        let is_constant = token.is_string() || matches!(token.kind, Kind::Number | Kind::Parameter);
        if constant && token.kind == Kind::Comma && !comma {
            comma = true;
            continue;
        }
        if is_constant {
            if !comma {
                hasher.write_u8(CONSTANT);
            }
            (constant, comma) = (true, false);
            continue;
        }
        if std::mem::take(&mut comma) {
            hasher.write_u8(b',');
        }
        constant = false;
        match token.kind {
            Kind::End => return hasher.finish(),
            Kind::Word => {
                let bytes = lexer.bytes(token).iter().map(u8::to_ascii_lowercase);
                bytes.for_each(|byte| hasher.write_u8(byte));
                // Two words are not one.
                hasher.write_u8(b' ');
            }
            _ => lexer.bytes(token).hash(&mut hasher),
        }
    }
}

/// Stands for a constant: a byte that begins no token.
const CONSTANT: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> u64 {
        fingerprint(text.as_bytes(), Dialect::default())
    }

    #[test]
    fn constants_case_and_space_do_not_matter() {
        for (a, b) in [
            ("SELECT v FROM t WHERE id = 1", "select  v\nfrom T where ID=$1 -- here"),
            ("SELECT f('a', 2)", "SELECT f(1)"),
            ("SELECT * FROM t WHERE id IN (1, 2, 3)", "SELECT * FROM t WHERE id IN ($1, $2)"),
            ("/* a */ SELECT 1.5e3", "SELECT E'x'"),
            ("SELECT 1, a", "SELECT 'b' , A"),
            ("SELECT a, 1, 2, b", "SELECT a, 1, b"),
        ] {
            assert_eq!(of(a), of(b), "{a} | {b}");
        }
    }

    #[test]
    fn everything_else_does() {
        let texts = [
            "",
            "SELECT 1",
            "SELECT a",
            "SELECT \"a\"",
            "SELECT \"A\"",
            "SELECT a b",
            "SELECT ab",
            "SELECT a, b",
            "SELECT a, 1, b",
            "SELECT a, 1 b",
            "SELECT 1,, 2",
            "SELECT a + 1",
            "SELECT a - 1",
            "SELECT a FROM v",
            "SELECT a FROM v;",
            "SELECT a FROM w",
            "SELECT a(1)",
            "SELECT 1, a(2)",
        ];
        for (index, a) in texts.iter().enumerate() {
            for b in &texts[..index] {
                assert_ne!(of(a), of(b), "{a} | {b}");
            }
        }
    }
}
