//! The oracle: a tokenizer that is slow and obviously right, written from the manual without a look at the
//! other one.
//!
//! It walks over a vector of bytes, one at a time, with no tables, no search functions and no shared state.
//! Each `…_end` function gets the place behind what has been recognised and returns the place behind the
//! whole.

use crate::sql::lexer::Kind;

pub struct Tokens {
    /// Kind and text of each.
    pub tokens: Vec<(Kind, Vec<u8>)>,
    pub unfinished: bool,
}

pub fn tokens(text: &[u8], standard_conforming_strings: bool) -> Tokens {
    let mut bytes = Vec::new();
    for &byte in text {
        if byte == 0 {
            break;
        }
        bytes.push(byte);
    }
    let mut found = Tokens { tokens: Vec::new(), unfinished: false };
    let mut at = 0;
    while at < bytes.len() {
        if is_space(bytes[at]) {
            at += 1;
        } else if starts(&bytes, at, "--") {
            while at < bytes.len() && bytes[at] != b'\n' && bytes[at] != b'\r' {
                at += 1;
            }
        } else if starts(&bytes, at, "/*") {
            match comment_end(&bytes, at) {
                Some(end) => at = end,
                None => {
                    found.unfinished = true;
                    at = bytes.len();
                }
            }
        } else {
            let (kind, end) = token(&bytes, at, standard_conforming_strings);
            let end = match end {
                Some(end) => end,
                None => {
                    found.unfinished = true;
                    bytes.len()
                }
            };
            found.tokens.push((kind, bytes[at..end].to_vec()));
            at = end;
        }
    }
    found
}

/// The token that starts at `at`, and its end, unless the text ends first.
fn token(bytes: &[u8], at: usize, standard: bool) -> (Kind, Option<usize>) {
    let plain = if standard { Kind::String } else { Kind::EscapeString };
    let byte = bytes[at];
    if starts(bytes, at, "'") {
        return (plain, string_end(bytes, at + 1, !standard));
    }
    for prefix in ["n'", "N'"] {
        if starts(bytes, at, prefix) {
            return (plain, string_end(bytes, at + 2, !standard));
        }
    }
    for prefix in ["e'", "E'"] {
        if starts(bytes, at, prefix) {
            return (Kind::EscapeString, string_end(bytes, at + 2, true));
        }
    }
    for prefix in ["b'", "B'", "x'", "X'"] {
        if starts(bytes, at, prefix) {
            return (Kind::String, string_end(bytes, at + 2, false));
        }
    }
    for prefix in ["u&'", "U&'"] {
        if starts(bytes, at, prefix) {
            return (Kind::UnicodeString, string_end(bytes, at + 3, false));
        }
    }
    for prefix in ["u&\"", "U&\""] {
        if starts(bytes, at, prefix) {
            return (Kind::UnicodeName, quoted_end(bytes, at + 3));
        }
    }
    if byte == b'"' {
        return (Kind::QuotedName, quoted_end(bytes, at + 1));
    }
    if is_name_start(byte) {
        let mut end = at;
        while end < bytes.len() && (is_name_start(bytes[end]) || is_digit(bytes[end]) || bytes[end] == b'$') {
            end += 1;
        }
        return (Kind::Word, Some(end));
    }
    if byte == b'$' {
        return dollar(bytes, at);
    }
    if is_digit(byte) || (byte == b'.' && at + 1 < bytes.len() && is_digit(bytes[at + 1])) {
        return (Kind::Number, Some(number_end(bytes, at)));
    }
    if is_operator(byte) {
        let mut end = at + 1;
        while end < bytes.len()
            && is_operator(bytes[end])
            && !starts(bytes, end, "--")
            && !starts(bytes, end, "/*")
        {
            end += 1;
        }
        // The manual, 4.1.3: no operator ends in + or - unless it also has one of these.
        let unusual = bytes[at..end].iter().any(|byte| "~!@#%^&|`?".as_bytes().contains(byte));
        while !unusual && end > at + 1 && (bytes[end - 1] == b'+' || bytes[end - 1] == b'-') {
            end -= 1;
        }
        let kind = if &bytes[at..end] == b"=" { Kind::Equals } else { Kind::Operator };
        return (kind, Some(end));
    }
    if starts(bytes, at, "::") {
        return (Kind::Cast, Some(at + 2));
    }
    if starts(bytes, at, ":=") {
        return (Kind::Operator, Some(at + 2));
    }
    let kind = match byte {
        b':' => Kind::Operator,
        b'(' => Kind::Open,
        b')' => Kind::Close,
        b'[' => Kind::OpenBracket,
        b']' => Kind::CloseBracket,
        b',' => Kind::Comma,
        b';' => Kind::Semicolon,
        b'.' => Kind::Dot,
        _ => Kind::Other,
    };
    (kind, Some(at + 1))
}

fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if starts(bytes, at, "/*") {
            depth += 1;
            at += 2;
        } else if starts(bytes, at, "*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

fn string_end(bytes: &[u8], start: usize, escapes: bool) -> Option<usize> {
    let mut at = start;
    while at < bytes.len() {
        let escape = escapes && bytes[at] == b'\\';
        if escape || starts(bytes, at, "''") {
            at += 2;
        } else if bytes[at] == b'\'' {
            match continuation(bytes, at + 1) {
                Some(next) => at = next,
                None => return Some(at + 1),
            }
        } else {
            at += 1;
        }
    }
    None
}

/// If the string that was closed before `start` goes on behind a line break: the place behind its next
/// opening quote.
fn continuation(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut line_broken = false;
    while at < bytes.len() {
        if bytes[at] == b'\n' || bytes[at] == b'\r' {
            line_broken = true;
            at += 1;
        } else if is_space(bytes[at]) {
            at += 1;
        } else if starts(bytes, at, "--") {
            while at < bytes.len() && bytes[at] != b'\n' && bytes[at] != b'\r' {
                at += 1;
            }
        } else if bytes[at] == b'\'' && line_broken {
            return Some(at + 1);
        } else {
            return None;
        }
    }
    None
}

fn quoted_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at < bytes.len() {
        if starts(bytes, at, "\"\"") {
            at += 2;
        } else if bytes[at] == b'"' {
            return Some(at + 1);
        } else {
            at += 1;
        }
    }
    None
}

fn dollar(bytes: &[u8], at: usize) -> (Kind, Option<usize>) {
    let mut end = at + 1;
    if end < bytes.len() && is_digit(bytes[end]) {
        while end < bytes.len() && is_digit(bytes[end]) {
            end += 1;
        }
        return (Kind::Parameter, Some(end));
    }
    while end < bytes.len() && (is_name_start(bytes[end]) || is_digit(bytes[end])) {
        end += 1;
    }
    if end == bytes.len() || bytes[end] != b'$' {
        return (Kind::Other, Some(at + 1));
    }
    let delimiter = &bytes[at..=end];
    let mut close = end + 1;
    while close + delimiter.len() <= bytes.len() {
        if &bytes[close..close + delimiter.len()] == delimiter {
            return (Kind::DollarString, Some(close + delimiter.len()));
        }
        close += 1;
    }
    (Kind::DollarString, None)
}

fn number_end(bytes: &[u8], at: usize) -> usize {
    let letter = |place: usize| bytes.get(place).map_or(0, u8::to_ascii_lowercase);
    if bytes[at] == b'0' {
        for (radix, digits) in [(b'x', "0123456789abcdef"), (b'o', "01234567"), (b'b', "01")] {
            let is_one = |byte: u8| digits.as_bytes().contains(&byte.to_ascii_lowercase());
            if letter(at + 1) == radix {
                let mut end = at + 2;
                loop {
                    if end < bytes.len() && is_one(bytes[end]) {
                        end += 1;
                    } else if end + 1 < bytes.len() && bytes[end] == b'_' && is_one(bytes[end + 1]) {
                        end += 2;
                    } else {
                        break;
                    }
                }
                if end > at + 2 {
                    return end;
                }
            }
        }
    }
    let mut end = digits_end(bytes, at);
    if starts(bytes, end, ".") && !(end > at && starts(bytes, end, "..")) {
        end += 1;
        if end < bytes.len() && is_digit(bytes[end]) {
            end = digits_end(bytes, end);
        }
    }
    if letter(end) == b'e' {
        let sign = usize::from(matches!(letter(end + 1), b'+' | b'-'));
        if letter(end + 1 + sign).is_ascii_digit() {
            end = digits_end(bytes, end + 1 + sign);
        }
    }
    end
}

/// Digits with single underscores between them.
fn digits_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        if is_digit(bytes[at]) {
            at += 1;
        } else if at > start && bytes[at] == b'_' && at + 1 < bytes.len() && is_digit(bytes[at + 1]) {
            at += 2;
        } else {
            break;
        }
    }
    at
}

fn starts(bytes: &[u8], at: usize, with: &str) -> bool {
    at <= bytes.len() && bytes[at..].starts_with(with.as_bytes())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 11 | 12)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 128
}

fn is_operator(byte: u8) -> bool {
    "~!@#^&|`?+-*/%<>=".bytes().any(|operator| operator == byte)
}
