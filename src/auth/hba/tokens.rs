//! Lines, fields and tokens of `pg_hba.conf`.
//!
//! A field ends at white space; commas inside it make it a list, and white space after a comma does not end it. Quotes
//! take the special meaning from words and characters, and two of them inside quotes are one. `#` starts a comment, and
//! a backslash at the end of a line continues it.

/// One line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1; of continued lines that of the first.
    pub number: usize,
    /// Its fields, each a list of one or more tokens; or what is wrong with them.
    pub fields: Result<Vec<Vec<Token>>, String>,
}

/// A word, and whether its first character was quoted: then it is a name, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    pub quoted: bool,
}

impl Token {
    /// Whether it is the keyword `word`, and not a name that happens to be spelt like it.
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// The lines of `text` that hold more than white space and comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line> {
    let mut physical = text.lines().enumerate();
    std::iter::from_fn(move || {
        loop {
            let (index, first) = physical.next()?;
            let mut logical = first.to_owned();
            while logical.ends_with('\\') {
                logical.pop();
                match physical.next() {
                    Some((_, next)) => logical.push_str(next),
                    None => break,
                }
            }
            let fields = fields(&logical);
            if fields.as_ref().is_ok_and(Vec::is_empty) {
                continue;
            }
            return Some(Line { number: index + 1, fields });
        }
    })
}

fn fields(line: &str) -> Result<Vec<Vec<Token>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut tokens = Vec::new();
        loop {
            let Some((token, after, comma)) = token(rest)? else {
                // The end of the line, perhaps behind a comma that promised more.
                if !tokens.is_empty() {
                    fields.push(tokens);
                }
                return Ok(fields);
            };
            tokens.push(token);
            rest = after;
            if !comma {
                break;
            }
        }
        fields.push(tokens);
    }
}

/// The next token, what follows it, and whether a comma ended it. `None` at the end of the line.
fn token(line: &str) -> Result<Option<(Token, &str, bool)>, String> {
    let line = line.trim_start_matches(|c: char| is_blank(c) || c == ',');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut text = String::new();
    let mut in_quotes = false;
    let mut characters = line.char_indices().peekable();
    let (end, comma) = loop {
        match characters.next() {
            None if in_quotes => {
                return Err("a quoted name has no closing quote on its line".to_owned());
            }
            None => break (line.len(), false),
            Some((_, '"')) if in_quotes && characters.peek().is_some_and(|&(_, next)| next == '"') => {
                text.push('"');
                characters.next();
            }
            Some((_, '"')) => in_quotes = !in_quotes,
            Some((_, c)) if in_quotes => text.push(c),
            // What ends the token stays, except the comma.
            Some((at, ',')) => break (at + 1, true),
            Some((at, c)) if is_blank(c) || c == '#' => break (at, false),
            Some((_, c)) => text.push(c),
        }
    };
    let quoted = line.starts_with('"');
    Ok(Some((Token { text, quoted }, &line[end..], comma)))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields as text: tokens joined by `|`, quoted ones in angle brackets.
    fn shown(line: &str) -> Vec<String> {
        fields(line)
            .unwrap()
            .iter()
            .map(|tokens| {
                let tokens: Vec<String> = tokens
                    .iter()
                    .map(|t| if t.quoted { format!("<{}>", t.text) } else { t.text.clone() })
                    .collect();
                tokens.join("|")
            })
            .collect()
    }

    #[test]
    fn fields_and_lists() {
        for (line, expected) in [
            ("local all all trust", vec!["local", "all", "all", "trust"]),
            ("\thost  a,b\tc", vec!["host", "a|b", "c"]),
            ("host a, b c", vec!["host", "a|b", "c"]),
            ("host a ,b c", vec!["host", "a", "b", "c"]),
            ("host \"all\" \"a b\",c \"x\"\"y\"", vec!["host", "<all>", "<a b>|c", "<x\"y>"]),
            ("host a\"b c\"d e", vec!["host", "ab cd", "e"]),
            ("host \"\" e", vec!["host", "<>", "e"]),
            ("host a#comment", vec!["host", "a"]),
            ("host \"a#b\" # \"open", vec!["host", "<a#b>"]),
            ("host a,", vec!["host", "a"]),
            ("  # nothing", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
        assert!(fields("host \"open").is_err());
    }

    #[test]
    fn numbers_and_continued_lines() {
        let text = "# one\n\nlocal all \\\n  all trust\r\nhost x\\\n";
        let found: Vec<(usize, usize)> =
            lines(text).map(|line| (line.number, line.fields.unwrap().len())).collect();
        assert_eq!(found, [(3, 4), (5, 2)]);
    }

    proptest! {
        #[test]
        fn any_text_becomes_lines(text in "[a-z \",#\\\\\n\té]{0,60}") {
            for line in lines(&text) {
                if let Ok(fields) = line.fields {
                    prop_assert!(!fields.is_empty() && fields.iter().all(|tokens| !tokens.is_empty()));
                }
            }
        }
    }
}
