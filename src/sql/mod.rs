//! Bytes to intent: what a text of SQL wants, judged without a parser. Unsure means write.
//!
//! No sockets, no clock, no allocation (but for the names that [`changes`] has to fold), no grammar, no
//! catalog. One pass over the tokens answers two questions: may this text run on a replica ([`Intent`]), and
//! what will it leave behind in the session ([`Effects`]). A second and slower pass, [`changes`], says which
//! settings a text touches, in order; it is worth asking only when the effects contain [`Effects::SET`] or a
//! savepoint.
//!
//! | file | its subject |
//! |---|---|
//! | `lexer` | bytes to tokens, by section 4.1 of the PostgreSQL manual |
//! | `token` | what a token is |
//! | `block` | sixteen bytes of a text at once |
//! | `keyword` | the words that mean something to us, and how one is looked up |
//! | `words` | all words of the language |
//! | `functions` | which built-in functions a replica may run, and which ones leave something behind |
//! | `relations` | which system views describe one node, so that only the primary's answer will do |
//! | `classify` | one statement after the other to intent and effects |
//! | `scan` | what in a statement is an effect, or no read |
//! | `statement` | where one statement ends and the next begins |
//! | `changes` | what a text does to the session's settings |
//! | `calls` | which functions it calls that we do not know |
//! | `body` | what the source of such a function may leave behind |
//! | `prepared` | which prepared statements it names, and where |
//! | `fingerprint` | what texts have in common that differ in their constants |
//! | `encoding` | client encodings in which a byte below 0x80 is not always a character of its own |
//!
//! What cannot be seen lexically, and is therefore left to others: temporary tables (the caller pins a
//! session that made one), views, operators and casts that call volatile functions, and functions of a user's
//! that share the name of a harmless built-in one. A standby refuses what writes among these with 25006, and
//! the router learns from that.

mod administration;
mod block;
mod body;
mod calls;
mod changes;
mod classify;
mod effects;
mod encoding;
mod fingerprint;
mod functions;
mod keyword;
mod lexer;
mod prepared;
mod relations;
mod scan;
mod statement;
mod token;
mod words;

pub use administration::{Administration, administration};
pub use body::{Body, body};
pub use calls::{Calls, calls};
pub use changes::{Change, Name, changes};
pub use classify::classify;
pub use effects::Effects;
pub use encoding::ascii_safe;
pub use fingerprint::fingerprint;
pub use prepared::{Mention, Verb, mentions};

/// How this session's SQL must be read. Both values can change with every `ParameterStatus`; the server reads
/// the whole of one simple query by the values it had when the query arrived, and so do we.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialect {
    /// Whether a backslash in a plain `'…'` is an ordinary character (the server's default since 9.1).
    pub standard_conforming_strings: bool,
    /// Whether every byte below 0x80 is a character of its own: see [`ascii_safe`].
    pub ascii_safe: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect { standard_conforming_strings: true, ascii_safe: true }
    }
}

/// What [`classify`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Analysis {
    pub intent: Intent,
    /// Facts about the text: each is true of at least one of its statements.
    pub effects: Effects,
    /// How many statements the text has, empty ones not counted; 255 stands for more.
    pub statements: u8,
}

/// Where a text may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Nothing but white space, comments and semicolons.
    Empty,
    /// May run on a replica.
    Read,
    /// Runs on the primary: it writes, its answer depends on the node, or we are not sure.
    Write,
    /// Opens a transaction that is declared READ ONLY, and does nothing else.
    BeginReadOnly,
    /// Opens a transaction, and does nothing else.
    Begin,
    /// Closes a transaction, and does nothing else: COMMIT, END, ROLLBACK, ABORT, PREPARE TRANSACTION.
    End,
    /// Changes or shows only the session, so that any node will do: SET, RESET, DISCARD, DEALLOCATE,
    /// SAVEPOINT, RELEASE, ROLLBACK TO, and `SHOW pool_…`, which pgweir answers itself.
    Session,
}

#[cfg(test)]
mod tests;
