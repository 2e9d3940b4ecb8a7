//! The syntax of pgpool.conf: text to settings, one line at a time.
//!
//! `key [=] value`, comments behind `#`. A value is a string in single quotes (a quote inside is
//! doubled or behind a backslash), a number with an optional unit, or a word of letters, digits
//! and `_ - . : /` that starts with a letter or `_`. The grammar is that of PostgreSQL's own
//! configuration files before units could be fractions (PostgreSQL manual, section 20.1.2).

use std::path::{Path, PathBuf};

/// One line that says something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::config) struct Setting {
    pub file: PathBuf,
    /// 1 for the first line.
    pub line: usize,
    /// As written, with its number if it has one.
    pub name: String,
    /// Without its quotes and escapes.
    pub value: String,
}

/// A line that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::config) struct Fault {
    pub line: usize,
    /// The name, when the line got that far.
    pub key: Option<String>,
    pub text: String,
}

/// Every setting of a text, and every line that is none.
pub(in crate::config) fn settings(text: &str, file: &Path) -> (Vec<Setting>, Vec<Fault>) {
    let mut settings = Vec::new();
    let mut faults = Vec::new();
    for (index, text) in text.split('\n').enumerate() {
        match line(text) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                settings.push(Setting { file: file.to_path_buf(), line: index + 1, name, value })
            }
            Err((key, text)) => faults.push(Fault { line: index + 1, key, text }),
        }
    }
    (settings, faults)
}

type Wrong = (Option<String>, String);

fn line(text: &str) -> Result<Option<(String, String)>, Wrong> {
    let text = text.trim_start_matches(BLANK);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
    if end == 0 || text.starts_with(|c: char| c.is_ascii_digit()) {
        let text = "this line does not start with a name: write key = value".to_string();
        return Err((None, text));
    }
    let (name, rest) = text.split_at(end);
    let wrong = |text: String| match is_secret(name) {
        // The reason quotes the value, and errors end up in logs.
        true => (Some(name.to_string()), "put the value in single quotes".to_string()),
        false => (Some(name.to_string()), text),
    };
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches(BLANK);
    let (value, rest) = value(rest).map_err(wrong)?;
    let rest = rest.trim_matches(BLANK);
    if !rest.is_empty() && !rest.starts_with('#') {
        return Err(wrong(format!(
            "the value is followed by {rest:?}: put the whole value in single quotes"
        )));
    }
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(wrong("the value is not UTF-8".to_string()));
    }
    Ok(Some((name.to_string(), value)))
}

/// The value at the start of `text`, and what follows it.
fn value(text: &str) -> Result<(String, &str), String> {
    if let Some(rest) = text.strip_prefix('\'') {
        return quoted(rest);
    }
    let end = text.find(|c: char| c == '#' || c == '\'' || BLANK.contains(&c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() {
        return Err("the value is missing: write '' for an empty one".to_string());
    }
    if is_word(word) || is_number(word) {
        Ok((word.to_string(), rest))
    } else {
        Err(format!("{word} must stand in single quotes: '{word}'"))
    }
}

/// The rest of a string whose first quote is read. Escapes as pgpool-II takes them: the control
/// characters by letter, octal bytes, any other character for itself.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => {
                value.push(b'\'');
                at += 2;
            }
            b'\'' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                let value = String::from_utf8_lossy(&value).into_owned();
                return match value.contains('\0') {
                    true => Err("the value holds a zero byte".to_string()),
                    false => Ok((value, rest)),
                };
            }
            b'\\' => at += escape(&bytes[at + 1..], &mut value) + 1,
            byte => {
                value.push(byte);
                at += 1;
            }
        }
    }
    Err("the closing single quote is missing".to_string())
}

/// Adds what follows a backslash to `value`; returns how many bytes that took.
fn escape(bytes: &[u8], value: &mut Vec<u8>) -> usize {
    let octal = bytes.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
    if octal > 0 {
        let code = bytes[..octal].iter().fold(0u32, |code, digit| code * 8 + u32::from(digit - b'0'));
        value.push((code & 0xff) as u8);
        return octal;
    }
    match bytes.first() {
        None => 0,
        Some(byte) => {
            value.push(match byte {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => *other,
            });
            1
        }
    }
}

fn is_secret(name: &str) -> bool {
    name.contains("password") || name == "wd_authkey"
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| in_name(c) && !c.is_ascii_digit())
        && text.chars().all(|c| in_name(c) || "-.:/".contains(c))
}

/// `-12`, `10MB`, `0x1F`, `0.5`, `1e3`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let hex = digits
        .strip_prefix("0x")
        .is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let integer = end > 0 && digits[end..].bytes().all(|byte| byte.is_ascii_alphabetic());
    let real = digits.contains('.') && digits.parse::<f64>().is_ok();
    hex || integer || real
}

const BLANK: [char; 3] = [' ', '\t', '\r'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Result<(String, String), String> {
        match line(text) {
            Ok(Some(pair)) => Ok(pair),
            Ok(None) => Err("nothing".to_string()),
            Err((_, text)) => Err(text),
        }
    }

    #[test]
    fn values_are_words_numbers_and_strings() {
        for (text, name, value) in [
            ("port = 9999", "port", "9999"),
            ("port 9999", "port", "9999"),
            ("port=9999", "port", "9999"),
            ("  port\t=\t9999  # comment\r", "port", "9999"),
            ("port = 9999#comment", "port", "9999"),
            ("port = 0x270F", "port", "0x270F"),
            ("memqcache_total_size = 64MB", "memqcache_total_size", "64MB"),
            ("backend_weight0 = 0.5", "backend_weight0", "0.5"),
            ("client_idle_limit_in_recovery = -1", "client_idle_limit_in_recovery", "-1"),
            ("load_balance_mode on", "load_balance_mode", "on"),
            ("include other.conf", "include", "other.conf"),
            ("listen_addresses = '*'", "listen_addresses", "*"),
            ("wd_authkey=''", "wd_authkey", ""),
            ("a = 'it''s'", "a", "it's"),
            ("a = 'it\\'s'", "a", "it's"),
            ("a = 'tab\\there\\\\ \\101'", "a", "tab\there\\ A"),
            ("a = '# no comment' # comment", "a", "# no comment"),
            ("a'x'", "a", "x"),
        ] {
            let pair = (name.to_string(), value.to_string());
            assert_eq!(one(text), Ok(pair), "{text}");
        }
    }

    #[test]
    fn blank_lines_and_comments_say_nothing() {
        for text in ["", "  ", "\r", "# port = 1", "\t# x"] {
            assert_eq!(line(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_says_what_to_write() {
        for (text, wrong) in [
            ("port =", "the value is missing: write ''"),
            ("port", "the value is missing"),
            ("= 5", "does not start with a name"),
            ("9 = 5", "does not start with a name"),
            ("a = 'x", "the closing single quote is missing"),
            ("a = 'x\\'", "the closing single quote is missing"),
            ("listen_addresses = *", "must stand in single quotes: '*'"),
            ("backend_hostname0 = 10.0.0.1", "must stand in single quotes: '10.0.0.1'"),
            ("socket_dir = /tmp", "must stand in single quotes: '/tmp'"),
            ("health_check_period = 10 s", "is followed by \"s\""),
            ("a = 'x' 'y'", "is followed by"),
            ("a = 'x\\000'", "zero byte"),
            ("sr_check_password = my secret", "put the value in single quotes"),
        ] {
            let error = one(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn faults_and_settings_are_numbered_together() {
        let (settings, faults) = settings("a = 1\n\nb =\nc = 2\n", Path::new("f"));
        let lines: Vec<usize> = settings.iter().map(|setting| setting.line).collect();
        assert_eq!(lines, [1, 4]);
        assert_eq!(faults[0].line, 3);
        assert_eq!(faults[0].key.as_deref(), Some("b"));
    }

    proptest! {
        #[test]
        fn any_string_survives_quoting(value in "[^\\x00\\n\u{fffd}]{0,30}") {
            let escaped = value.replace('\\', "\\\\").replace('\'', "''");
            let pair = one(&format!("key = '{escaped}' # comment"));
            prop_assert_eq!(pair, Ok(("key".to_string(), value)));
        }

        #[test]
        fn nothing_panics(text in "(?s).{0,80}") {
            settings(&text, Path::new("f"));
        }

        #[test]
        fn nothing_panics_near_the_grammar(text in "[a-z0-9'\\\\=# .\u{e9}-]{0,40}") {
            settings(&text, Path::new("f"));
        }
    }
}
