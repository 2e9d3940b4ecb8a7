//! What a text does to the session's settings, statement by statement.
//!
//! The manual's pages of SET, SET ROLE, SET SESSION AUTHORIZATION, SET TRANSACTION, SET CONSTRAINTS, RESET
//! and DISCARD are the source for what follows here; whatever they do not allow yields nothing, as the server
//! refuses the whole text.

use std::borrow::Cow;

use super::Dialect;
use super::keyword::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::statement::Bounds;

/// One step of a text that matters to whoever keeps the session's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// `SET [SESSION] name {TO|=} value`; replay as `SET name TO value`. The value is raw SQL, without the
    /// white space and comments around it. A plain string in it may hold backslashes that are ordinary
    /// characters, so replay it while `standard_conforming_strings` is on; where it was off, such a value is
    /// [`Change::Opaque`].
    Set {
        name: Name<'a>,
        value: &'a [u8],
    },
    /// `RESET name`, `SET name TO DEFAULT`, `SET TIME ZONE LOCAL`, `SET NAMES`.
    Reset {
        name: Name<'a>,
    },
    ResetAll,
    /// `SET TIME ZONE value`, which takes more than the setting `timezone` does (`INTERVAL '1' HOUR`, `-8`):
    /// replay it as it was said. It overrides an earlier `timezone`, and is overridden by a later one.
    SetTimeZone {
        value: &'a [u8],
    },
    DiscardAll,
    Listen {
        name: Name<'a>,
    },
    Unlisten {
        name: Name<'a>,
    },
    UnlistenAll,
    /// Something that replaying cannot carry: SET SESSION AUTHORIZATION, SET SEED, SET … FROM CURRENT, a name
    /// or value of which we cannot tell where it ends, a channel's name with Unicode escapes.
    Opaque,
    /// Something that ends with the transaction: SET LOCAL, SET TRANSACTION, SET CONSTRAINTS.
    Local,
    /// BEGIN or START TRANSACTION; also behind a [`Change::Commit`] or [`Change::Rollback`] that says AND
    /// CHAIN.
    Begin,
    /// COMMIT, END or PREPARE TRANSACTION.
    Commit,
    /// ROLLBACK or ABORT.
    Rollback,
    Savepoint {
        name: Name<'a>,
    },
    Release {
        name: Name<'a>,
    },
    RollbackTo {
        name: Name<'a>,
    },
}

/// The changes that `text` makes if all of it succeeds, in order. Slower than
/// [`classify`](super::classify()), and it allocates where a name must be folded: ask only when the effects
/// say that there is something to learn (SET, SET_LOCAL, SAVEPOINT, ROLLBACK_TO, LISTEN, UNLISTEN).
pub fn changes(text: &[u8], dialect: Dialect) -> impl Iterator<Item = Change<'_>> {
    Changes { lexer: Lexer::new(text, dialect), chained: false, characteristics: false }
}

/// A setting's, a savepoint's or a channel's name as the server understands it, without quotes. A setting's is
/// in lower case, its parts joined by dots; the others' are in lower case unless they were quoted.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name<'a>(Cow<'a, [u8]>);

impl<'a> Name<'a> {
    /// The name of a setting from elsewhere, such as a startup packet: without quotes, in any case.
    pub fn setting(name: &'a [u8]) -> Self {
        if name.iter().any(u8::is_ascii_uppercase) {
            return Name(Cow::Owned(name.to_ascii_lowercase()));
        }
        Name(Cow::Borrowed(name))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_owned(self) -> Name<'static> {
        Name(Cow::Owned(self.0.into_owned()))
    }

    /// Appends a setting's name to `out` as SQL that means it. Each part is quoted, since a custom setting's
    /// may be a reserved word: `user.id` is not allowed, `"user"."id"` is.
    pub fn write_sql(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        for &byte in self.as_bytes() {
            match byte {
                b'.' => out.extend_from_slice(b"\".\""),
                b'"' => out.extend_from_slice(b"\"\""),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }

    /// A name of one token, folded unless it is quoted. One with Unicode escapes stays as it is, which no
    /// other name equals.
    pub(super) fn of(bytes: &'a [u8], kind: Kind) -> Self {
        match kind {
            Kind::QuotedName => Name(unquoted(bytes)),
            Kind::UnicodeName => Name(Cow::Borrowed(bytes)),
            _ => Name::setting(bytes),
        }
    }
}

struct Changes<'a> {
    lexer: Lexer<'a>,
    /// Whether a transaction has ended that began the next.
    chained: bool,
    /// Whether we are among the modes of SET SESSION CHARACTERISTICS.
    characteristics: bool,
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        loop {
            if std::mem::take(&mut self.chained) {
                return Some(Change::Begin);
            }
            if self.characteristics {
                if let Some(change) = self.characteristic() {
                    return Some(change);
                }
                self.characteristics = false;
            }
            let first = self.lexer.next();
            match first.kind {
                Kind::End => return None,
                Kind::Semicolon => continue,
                _ => {}
            }
            if let Some(change) = self.statement(first) {
                return Some(change);
            }
        }
    }
}

impl<'a> Changes<'a> {
    /// Reads a statement to its end and says what it changes, if anything.
    fn statement(&mut self, first: Token) -> Option<Change<'a>> {
        match first.keyword() {
            Keyword::Set => self.set(),
            Keyword::Reset => self.reset(),
            Keyword::Discard => {
                let all = self.rest().first == Keyword::All;
                all.then_some(Change::DiscardAll)
            }
            Keyword::Begin | Keyword::Start => {
                self.rest();
                Some(Change::Begin)
            }
            Keyword::Commit | Keyword::End => self.end(Change::Commit),
            Keyword::Rollback | Keyword::Abort => self.end(Change::Rollback),
            Keyword::Prepare if self.peeked() == Keyword::Transaction => {
                self.lexer.next();
                let id = self.lexer.next();
                self.skip(id);
                id.is_string().then_some(Change::Commit)
            }
            Keyword::Listen => self.channel(|name| Change::Listen { name }),
            Keyword::Unlisten if self.lexer.bytes(self.lexer.peek()) == b"*" => {
                self.lexer.next();
                let behind = self.lexer.next();
                self.skip(behind);
                behind.ends_statement().then_some(Change::UnlistenAll)
            }
            Keyword::Unlisten => self.channel(|name| Change::Unlisten { name }),
            Keyword::Savepoint => {
                let name = self.rest().name?;
                Some(Change::Savepoint { name })
            }
            Keyword::Release => {
                let name = self.rest().name?;
                Some(Change::Release { name })
            }
            _ => {
                self.skip(first);
                None
            }
        }
    }

    /// LISTEN or UNLISTEN has been read; the name of a channel is to follow, and nothing else. As the server does, one
    /// that is longer than a name can be is cut; where that is among characters of several bytes, we give up.
    fn channel(&mut self, change: impl FnOnce(Name<'a>) -> Change<'a>) -> Option<Change<'a>> {
        let token = self.lexer.next();
        if token.ends_statement() {
            return None;
        }
        let behind = self.lexer.next();
        self.skip(behind);
        if !token.is_name() || !behind.ends_statement() {
            return None;
        }
        let mut name = Name::of(self.lexer.bytes(token), token.kind);
        if name.as_bytes().len() > NAME_MAX {
            if !name.as_bytes().is_ascii() {
                return Some(Change::Opaque);
            }
            name = Name(Cow::Owned(name.as_bytes()[..NAME_MAX].to_vec()));
        }
        let doubtful = token.kind == Kind::UnicodeName || self.lexer.doubtful_name;
        Some(if doubtful { Change::Opaque } else { change(name) })
    }

    /// COMMIT, END, ROLLBACK or ABORT has been read.
    fn end(&mut self, change: Change<'a>) -> Option<Change<'a>> {
        let rest = self.rest();
        if rest.first == Keyword::Prepared {
            return None; // the second phase of some other transaction
        }
        if rest.to {
            return Some(Change::RollbackTo { name: rest.name? });
        }
        self.chained = rest.chain;
        Some(change)
    }

    /// SET has been read.
    fn set(&mut self) -> Option<Change<'a>> {
        let mut token = self.lexer.next();
        if token.ends_statement() {
            return None;
        }
        if !self.is_setting() {
            match token.keyword() {
                Keyword::Local | Keyword::Constraints => {
                    self.skip(token);
                    return Some(Change::Local);
                }
                // One SESSION says how long, a second one what.
                Keyword::Session if !self.peeks(&[Keyword::Characteristics, Keyword::Authorization]) => {
                    token = self.lexer.next();
                }
                _ => {}
            }
        }
        let change = if self.is_setting() { self.setting(token) } else { self.special(token) };
        let doubtful = self.lexer.doubtful_name || self.lexer.doubtful_string;
        if doubtful { Some(Change::Opaque) } else { change }
    }

    /// Whether the word just read names a setting, whatever else it means: `SET role TO joe`, `SET session.id
    /// = 7`.
    fn is_setting(&self) -> bool {
        let next = self.lexer.peek();
        matches!(next.kind, Kind::Dot | Kind::Equals) || next.keyword() == Keyword::To
    }

    /// The forms of SET that have words of their own, `token` being the first of them.
    fn special(&mut self, token: Token) -> Option<Change<'a>> {
        match token.keyword() {
            Keyword::Transaction => {
                self.skip(token);
                Some(Change::Local)
            }
            Keyword::Session => {
                let what = self.next_keyword();
                if what == Keyword::Characteristics {
                    self.characteristics = true;
                    return self.characteristic();
                }
                self.rest();
                (what == Keyword::Authorization).then_some(Change::Opaque)
            }
            Keyword::Time => {
                if self.next_keyword() != Keyword::Zone {
                    self.rest();
                    return None;
                }
                let value = self.value();
                match value.first {
                    Keyword::Local | Keyword::Default => {
                        Some(Change::Reset { name: Name::setting(b"timezone") })
                    }
                    _ if value.doubtful => Some(Change::Opaque),
                    _ => Some(Change::SetTimeZone { value: value.bytes? }),
                }
            }
            Keyword::Names => {
                let value = self.value();
                Some(set_or_reset(Name::setting(b"client_encoding"), value))
            }
            Keyword::Schema => {
                let value = self.value();
                value.bytes?;
                Some(set_or_reset(Name::setting(b"search_path"), value))
            }
            Keyword::Role => {
                let value = self.value();
                value.bytes?;
                Some(set_or_reset(Name::setting(b"role"), value))
            }
            Keyword::Xml => {
                if self.next_keyword() != Keyword::Option {
                    self.rest();
                    return None;
                }
                let value = self.value();
                value.bytes?;
                Some(set_or_reset(Name::setting(b"xmloption"), value))
            }
            _ => {
                // `SET name FROM CURRENT`, or nothing that is allowed.
                let mut last = token;
                let mut from = false;
                while !last.ends_statement() {
                    from |= last.keyword() == Keyword::From;
                    last = self.lexer.next();
                }
                from.then_some(Change::Opaque)
            }
        }
    }

    /// `name [. name]… {TO|=} value`, of which the first name has been read.
    fn setting(&mut self, first: Token) -> Option<Change<'a>> {
        let (name, after) = self.setting_name(first);
        if after.kind != Kind::Equals && after.keyword() != Keyword::To {
            let from = after.keyword() == Keyword::From;
            self.skip(after);
            return from.then_some(Change::Opaque);
        }
        let value = self.value();
        let Some(name) = name else {
            return Some(Change::Opaque);
        };
        value.bytes?;
        match name.as_bytes() {
            b"seed" | b"session_authorization" => Some(Change::Opaque),
            name if OF_TRANSACTION.contains(&name) => Some(Change::Local),
            _ => Some(set_or_reset(name, value)),
        }
    }

    /// RESET has been read.
    fn reset(&mut self) -> Option<Change<'a>> {
        let first = self.lexer.next();
        if first.ends_statement() {
            return None;
        }
        let next = self.lexer.peek();
        let simple = next.ends_statement();
        let change = match (first.keyword(), next.keyword()) {
            (Keyword::All, _) if simple => Some(Change::ResetAll),
            (Keyword::Time, Keyword::Zone) => Some(Change::Reset { name: Name::setting(b"timezone") }),
            (Keyword::Transaction, Keyword::Isolation) => Some(Change::Local),
            (Keyword::Session, Keyword::Authorization) => Some(Change::Opaque),
            _ => {
                let (name, after) = self.setting_name(first);
                self.skip(after);
                return match name {
                    _ if !first.is_name() => None,
                    None => Some(Change::Opaque),
                    Some(_) if self.lexer.doubtful_name => Some(Change::Opaque),
                    Some(name) if name.as_bytes() == b"session_authorization" => Some(Change::Opaque),
                    Some(name) if OF_TRANSACTION.contains(&name.as_bytes()) => Some(Change::Local),
                    Some(name) => Some(Change::Reset { name }),
                };
            }
        };
        self.skip(first);
        change
    }

    /// The name that starts with `first`, and the token behind it; no name if it is none that we can spell.
    fn setting_name(&mut self, first: Token) -> (Option<Name<'a>>, Token) {
        let mut name = self.setting_part(first);
        loop {
            let token = self.lexer.next();
            if token.kind != Kind::Dot {
                return (name, token);
            }
            let part = self.lexer.next();
            name = match (name, self.setting_part(part)) {
                (Some(name), Some(part)) => {
                    Some(Name(Cow::Owned([name.as_bytes(), b".", part.as_bytes()].concat())))
                }
                _ => None,
            };
            if part.ends_statement() {
                return (None, part);
            }
        }
    }

    /// One part of a setting's name, in lower case even if quoted, since settings have no case. The server
    /// cuts a part that is longer than a name can be; we give up.
    fn setting_part(&self, token: Token) -> Option<Name<'a>> {
        if !matches!(token.kind, Kind::Word | Kind::QuotedName) {
            return None;
        }
        let Name(part) = Name::of(self.lexer.bytes(token), token.kind);
        if part.len() > NAME_MAX {
            return None;
        }
        Some(match part {
            Cow::Borrowed(part) => Name::setting(part),
            Cow::Owned(part) => Name(Cow::Owned(part.to_ascii_lowercase())),
        })
    }

    /// The next mode of SET SESSION CHARACTERISTICS AS TRANSACTION, as the setting that it is short for.
    fn characteristic(&mut self) -> Option<Change<'a>> {
        let mut before = Keyword::Other;
        loop {
            let token = self.lexer.next();
            if token.ends_statement() {
                self.characteristics = false;
                return None;
            }
            let keyword = token.keyword();
            let (name, value): (&[u8], &[u8]) = match (before, keyword) {
                (Keyword::Level, Keyword::Serializable) => (ISOLATION, b"'serializable'"),
                (Keyword::Repeatable, Keyword::Read) => (ISOLATION, b"'repeatable read'"),
                (Keyword::Read, Keyword::Committed) => (ISOLATION, b"'read committed'"),
                (Keyword::Read, Keyword::Uncommitted) => (ISOLATION, b"'read uncommitted'"),
                (Keyword::Read, Keyword::Only) => (READ_ONLY, b"on"),
                (Keyword::Read, Keyword::Write) => (READ_ONLY, b"off"),
                (Keyword::Not, Keyword::Deferrable) => (DEFERRABLE, b"off"),
                (_, Keyword::Deferrable) => (DEFERRABLE, b"on"),
                _ => {
                    before = keyword;
                    continue;
                }
            };
            return Some(Change::Set { name: Name::setting(name), value });
        }
    }

    /// Everything up to the end of the statement, as one value.
    fn value(&mut self) -> Value<'a> {
        let first = self.lexer.next();
        let mut token = first;
        let mut last = None;
        let mut doubtful = false;
        while !token.ends_statement() {
            last = Some(token);
            let bytes = self.lexer.bytes(token);
            doubtful |= token.kind == Kind::EscapeString
                && matches!(bytes[0], b'\'' | b'n' | b'N')
                && bytes.contains(&b'\\');
            token = self.lexer.next();
        }
        let bytes = last.map(|last| self.lexer.between(first, last));
        Value { bytes, first: first.keyword(), doubtful }
    }

    /// Reads a statement of a few words to its end.
    fn rest(&mut self) -> Rest<'a> {
        let mut rest = Rest { first: Keyword::Other, to: false, chain: false, name: None };
        let mut before = None;
        loop {
            let token = self.lexer.next();
            if token.ends_statement() {
                return rest;
            }
            let keyword = token.keyword();
            if before.is_none() {
                rest.first = keyword;
            }
            rest.to |= keyword == Keyword::To;
            rest.chain |= before == Some(Keyword::And) && keyword == Keyword::Chain;
            rest.name = token.is_name().then(|| Name::of(self.lexer.bytes(token), token.kind));
            before = Some(keyword);
        }
    }

    /// Reads any statement to its end; `first` is a token of it, or its end.
    fn skip(&mut self, first: Token) {
        let mut bounds = Bounds::default();
        let mut before = Keyword::Other;
        let mut after_dot = false;
        let mut token = first;
        loop {
            match token.kind {
                Kind::End => return,
                Kind::Semicolon if bounds.semicolon() => return,
                Kind::Open => bounds.open(),
                Kind::Close => bounds.close(),
                _ => {}
            }
            let keyword = if after_dot { Keyword::Other } else { token.keyword() };
            bounds.word(before, keyword);
            before = keyword;
            after_dot = token.kind == Kind::Dot;
            token = self.lexer.next();
        }
    }

    fn peeked(&self) -> Keyword {
        self.lexer.peek().keyword()
    }

    fn peeks(&self, keywords: &[Keyword]) -> bool {
        keywords.contains(&self.peeked())
    }

    fn next_keyword(&mut self) -> Keyword {
        let token = self.lexer.peek();
        if token.ends_statement() {
            return Keyword::Other; // leave the end for whoever reads on
        }
        self.lexer.next();
        token.keyword()
    }
}

/// The value that a setting is given.
struct Value<'a> {
    /// `None` if there is none.
    bytes: Option<&'a [u8]>,
    first: Keyword,
    /// Whether it means something else where backslashes in plain strings are ordinary characters.
    doubtful: bool,
}

/// The rest of a statement of a few words.
struct Rest<'a> {
    first: Keyword,
    to: bool,
    chain: bool,
    /// The last word.
    name: Option<Name<'a>>,
}

fn set_or_reset<'a>(name: Name<'a>, value: Value<'a>) -> Change<'a> {
    match value.bytes {
        _ if value.first == Keyword::Default => Change::Reset { name },
        _ if value.doubtful => Change::Opaque,
        Some(value) => Change::Set { name, value },
        None => Change::Reset { name },
    }
}

/// A quoted name without its quotes, and with one for each that is doubled inside.
fn unquoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let inner = match bytes {
        [b'"', inner @ .., b'"'] => inner,
        _ => bytes,
    };
    if !inner.contains(&b'"') {
        return Cow::Borrowed(inner);
    }
    let mut name = Vec::with_capacity(inner.len());
    let mut doubled = false;
    for &byte in inner {
        doubled = byte == b'"' && !doubled;
        if !doubled {
            name.push(byte);
        }
    }
    Cow::Owned(name)
}

/// Settings that are the current transaction's, however they are set.
const OF_TRANSACTION: &[&[u8]] =
    &[b"transaction_isolation", b"transaction_read_only", b"transaction_deferrable"];

const ISOLATION: &[u8] = b"default_transaction_isolation";
const READ_ONLY: &[u8] = b"default_transaction_read_only";
const DEFERRABLE: &[u8] = b"default_transaction_deferrable";

/// How many bytes of a name count (NAMEDATALEN - 1).
const NAME_MAX: usize = 63;
