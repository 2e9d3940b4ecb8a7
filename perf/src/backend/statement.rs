//! What a statement asks for, by its first words: all that a server without data has to know.

use memchr::{memchr2, memchr3};

use super::{parameters, probe};

/// What to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    /// All the rows.
    Select,
    /// pgweir's question to a node.
    Probe(probe::Depth),
    Show(Box<str>),
    Begin(&'static str),
    Commit,
    Rollback,
    RollbackTo,
    /// With the name and value to report, for a parameter that is.
    Set(Option<(&'static str, Box<[u8]>)>),
    Reset(&'static str),
    CopyIn,
    CopyOut,
    /// Only the tag.
    Done(Tag),
    Unknown,
}

/// A command's tag: one or two words of a short list.
pub(super) type Tag = &'static str;

impl Kind {
    /// Looks at one statement.
    pub fn of(text: &[u8]) -> Kind {
        let text = trim(text);
        let mut words = text.split(|byte| !is_word(*byte)).filter(|word| !word.is_empty());
        let Some(first) = words.next() else {
            return if text.is_empty() { Kind::Empty } else { Kind::Unknown };
        };
        let mut second = || words.next().unwrap_or_default();
        let is = |word: &str| first.eq_ignore_ascii_case(word.as_bytes());
        if is("SELECT") {
            probe::question(text).map_or(Kind::Select, Kind::Probe)
        } else if is("WITH") || is("VALUES") || is("TABLE") {
            Kind::Select
        } else if is("BEGIN") {
            Kind::Begin("BEGIN")
        } else if is("START") {
            Kind::Begin("START TRANSACTION")
        } else if is("COMMIT") || is("END") {
            Kind::Commit
        } else if is("ROLLBACK") || is("ABORT") {
            let mut rest = text.split(u8::is_ascii_whitespace).skip(1);
            match rest.any(|word| word.eq_ignore_ascii_case(b"TO")) {
                true => Kind::RollbackTo,
                false => Kind::Rollback,
            }
        } else if is("SET") {
            Kind::Set(assignment(text))
        } else if is("RESET") {
            Kind::Reset("RESET")
        } else if is("DISCARD") {
            let whole = second().eq_ignore_ascii_case(b"ALL");
            if whole { Kind::Reset("DISCARD ALL") } else { Kind::Done("DISCARD") }
        } else if is("SHOW") {
            Kind::Show(String::from_utf8_lossy(second()).into_owned().into())
        } else if is("COPY") {
            let to = text.split(|byte| !is_word(*byte)).any(|word| word.eq_ignore_ascii_case(b"STDOUT"));
            if to { Kind::CopyOut } else { Kind::CopyIn }
        } else {
            let one = TAGS.iter().find(|(word, _)| is(word)).map(|(_, tag)| *tag);
            let object = second();
            let same = |word: &str| object.eq_ignore_ascii_case(word.as_bytes());
            let pair = |tag: &Tag| tag.split_once(' ').is_some_and(|(verb, object)| is(verb) && same(object));
            one.or_else(|| PAIRS.iter().copied().find(pair)).map_or(Kind::Unknown, Kind::Done)
        }
    }
}

/// The first statement of `text` and what follows the semicolon behind it.
pub(super) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(found) = memchr3(b';', b'\'', b'"', &text[at..]) {
        at += found + 1;
        match text[at - 1] {
            b';' => return (&text[..at - 1], &text[at..]),
            quote => at = memchr2(quote, quote, &text[at..]).map_or(text.len(), |end| at + end + 1),
        }
    }
    (text, b"")
}

/// How many parameters a statement has: the highest of its `$1`, `$2`, … outside quotes.
pub(super) fn parameters(text: &[u8]) -> u16 {
    let mut highest = 0;
    let mut at = 0;
    while let Some(found) = memchr3(b'$', b'\'', b'"', &text[at..]) {
        at += found + 1;
        match text[at - 1] {
            b'$' => {
                let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
                let number = digits
                    .fold(0u16, |sum, byte| sum.saturating_mul(10).saturating_add((byte - b'0').into()));
                highest = highest.max(number);
            }
            quote => at = memchr2(quote, quote, &text[at..]).map_or(text.len(), |end| at + end + 1),
        }
    }
    highest
}

/// Name and value of `SET [SESSION] name { = | TO } value`, for a parameter that is reported.
fn assignment(text: &[u8]) -> Option<(&'static str, Box<[u8]>)> {
    let rest = trim(&text[b"SET".len()..]);
    let rest = match rest.get(..8) {
        Some(word) if word.eq_ignore_ascii_case(b"SESSION ") => trim(&rest[8..]),
        _ => rest,
    };
    let end = rest.iter().position(|byte| !is_word(*byte))?;
    let name = parameters::reported_name(&rest[..end])?;
    let value = trim(&rest[end..]);
    let value = match value.split_first() {
        Some((b'=', value)) => trim(value),
        _ => trim(value.get(2..).filter(|_| value[..2].eq_ignore_ascii_case(b"TO"))?),
    };
    let unquoted = value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'"));
    Some((name, unquoted.unwrap_or(value).into()))
}

/// Without the white space and comments before it, and the white space behind it.
fn trim(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    loop {
        let end = if text.starts_with(b"--") {
            text.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
        } else if text.starts_with(b"/*") {
            memchr::memmem::find(text, b"*/").map(|end| end + 2)
        } else {
            return text;
        };
        text = text[end.unwrap_or(text.len())..].trim_ascii_start();
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Statements that say what they did in a tag that follows from their first word.
const TAGS: [(&str, Tag); 17] = [
    ("INSERT", "INSERT 0 1"),
    ("UPDATE", "UPDATE 1"),
    ("DELETE", "DELETE 1"),
    ("MERGE", "MERGE 1"),
    ("SAVEPOINT", "SAVEPOINT"),
    ("RELEASE", "RELEASE"),
    ("TRUNCATE", "TRUNCATE TABLE"),
    ("LOCK", "LOCK TABLE"),
    ("DEALLOCATE", "DEALLOCATE"),
    ("LISTEN", "LISTEN"),
    ("UNLISTEN", "UNLISTEN"),
    ("NOTIFY", "NOTIFY"),
    ("ANALYZE", "ANALYZE"),
    ("VACUUM", "VACUUM"),
    ("CHECKPOINT", "CHECKPOINT"),
    ("CLOSE", "CLOSE CURSOR"),
    ("DO", "DO"),
];

/// Those whose tag is their first two words.
const PAIRS: [Tag; 9] = [
    "CREATE TABLE",
    "CREATE INDEX",
    "CREATE VIEW",
    "CREATE SCHEMA",
    "DROP TABLE",
    "DROP INDEX",
    "DROP VIEW",
    "DROP SCHEMA",
    "ALTER TABLE",
];
