//! What a backend owes: one entry for every message it was sent that is answered, in the order sent.
//!
//! The server answers strictly in order, so the entry at the front says whose the next reply is. Three rules of the
//! protocol make it more than a queue (PostgreSQL manual 55.2.3):
//!
//! 1. After an error in the extended protocol the server ignores everything up to the next Sync: those entries leave
//!    without an answer, and what we had prepared in them never happened.
//! 2. An error in a simple query or a function call ignores nothing; ReadyForQuery follows it.
//! 3. While it copies from the client, the server ignores Sync and Flush: a Sync that was sent before the copy began is
//!    never answered.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::wire::Violation;
use crate::wire::backend::{CLOSE_COMPLETE, PARSE_COMPLETE};

use super::{StatementId, Verdict};

/// One message's debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A client's Parse, sent; the statement it makes when named.
    Parse(Option<StatementId>),
    /// A client's Parse that will fail because its name is taken.
    ParseDuplicate,
    /// A client's Parse of something that is prepared already: we answer when its turn comes.
    SayParsed,
    /// A client's Close that the server need not see: we answer when its turn comes.
    SayClosed,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    /// A simple query: any number of replies, then ReadyForQuery.
    Query,
    FunctionCall,
    /// Our own Parse, to prepare here what the session prepared elsewhere.
    OwnParse(StatementId),
    OwnParseUnnamed,
    OwnClose(StatementId),
    OwnCloseUnnamed,
    /// Our own simple query.
    OwnQuery,
    /// Our own simple query, whose rows we want.
    OwnLook,
    /// A CopyDone or CopyFail that was sent before it was known whether the server copies: never answered itself.
    CopyEnd,
    /// Our own Sync, to end a pipeline that goes on elsewhere.
    OwnSync,
}

impl Owed {
    fn decides(self) -> bool {
        matches!(
            self,
            Owed::Parse(Some(_)) | Owed::OwnParse(_) | Owed::OwnClose(_) | Owed::SayParsed | Owed::SayClosed
        )
    }
}

/// An answer that is ours to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    Parsed,
    Closed,
}

impl Saying {
    /// The message.
    pub fn reply(self) -> &'static [u8] {
        match self {
            Saying::Parsed => PARSE_COMPLETE,
            Saying::Closed => CLOSE_COMPLETE,
        }
    }
}

/// Whose the reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Client,
    Own,
}

/// What an error took with it.
#[derive(Debug, Default)]
pub struct Failure {
    /// Whether the error answers a message of our own that stands alone (an [`Owed::OwnQuery`]).
    pub own: bool,
    /// Whether it answers an [`Owed::OwnLook`].
    pub look: bool,
    /// Whether it answers a Parse whose name was taken.
    pub duplicate: bool,
    /// What did not happen to statements, in the order it was sent. To be undone last first: one may have been closed
    /// that was to be prepared before.
    pub undone: SmallVec<[Undone; 4]>,
    /// Whether the unnamed statement was to be parsed or closed. A Parse that failed leaves none, what the server went
    /// over in silence leaves the one before.
    pub unnamed: bool,
    /// How many Parses of the client did not happen, and Closes that we would have answered.
    pub changes: usize,
    /// Whether it answers a Parse of the client, the first of these: the others the server went over in silence.
    pub parse: bool,
}

/// What did not happen to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    Parse(StatementId),
    Close(StatementId),
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: VecDeque<Owed>,
    /// True exactly when the server ignores what comes until a Sync that was not sent yet.
    ignoring: bool,
    /// True exactly when messages were sent that nothing follows yet that is answered by a ReadyForQuery.
    unsynced: bool,
    /// How many of the owed replies decide which statements exist.
    deciding: usize,
}

impl Ledger {
    /// Enters one message that was, or is about to be, sent.
    pub fn owe(&mut self, owed: Owed) {
        match owed {
            Owed::Sync | Owed::OwnSync => {
                self.unsynced = false;
                self.ignoring = false;
            }
            // Never between messages of an open pipeline.
            Owed::OwnQuery | Owed::OwnLook => debug_assert!(!self.unsynced),
            // With nothing before it that may copy, the server reads over it.
            Owed::CopyEnd if self.owed.is_empty() || self.ignoring => return,
            Owed::CopyEnd => {}
            Owed::Query | Owed::FunctionCall if self.ignoring => return,
            // They end what was begun before them, as a Sync does.
            Owed::Query | Owed::FunctionCall => self.unsynced = false,
            _ if self.ignoring => return,
            _ => self.unsynced = true,
        }
        self.deciding += usize::from(owed.decides());
        self.owed.push_back(owed);
    }

    fn pop(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.deciding -= usize::from(owed.decides());
        // What was before it did not copy.
        while self.owed.front() == Some(&Owed::CopyEnd) {
            self.owed.pop_front();
        }
        Some(owed)
    }

    /// Whether messages owed while ignoring leave no entry: then the caller must undo what it did for them.
    pub fn ignoring(&self) -> bool {
        self.ignoring
    }

    /// True exactly when nothing is owed and no pipeline is open.
    pub fn settled(&self) -> bool {
        self.owed.is_empty() && !self.unsynced
    }

    /// True exactly when messages were sent that nothing follows yet that is answered by a ReadyForQuery.
    pub fn unsynced(&self) -> bool {
        self.unsynced
    }

    /// Whether a reply is still owed that decides which statements exist. What comes behind the next Sync must not rely on
    /// either outcome: an error before it would skip them.
    pub fn undecided(&self) -> bool {
        self.deciding > 0
    }

    /// How many entries wait.
    pub fn len(&self) -> usize {
        self.owed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// How many ReadyForQuery the client still waits for.
    pub fn readies(&self) -> usize {
        self.owed.iter().filter(|owed| matches!(owed, Owed::Sync | Owed::Query | Owed::FunctionCall)).count()
    }

    /// Whether the client still waits for one.
    pub fn owes_ready(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Sync | Owed::Query | Owed::FunctionCall))
    }

    /// The next answer that is ours to give, if its turn has come. Ask again until `None`.
    pub fn say(&mut self) -> Option<Saying> {
        let saying = match self.owed.front()? {
            Owed::SayParsed => Saying::Parsed,
            Owed::SayClosed => Saying::Closed,
            _ => return None,
        };
        self.pop();
        Some(saying)
    }

    /// A reply that settles nothing: a row, copy data.
    pub fn content(&self) -> Verdict {
        match self.owed.front() {
            Some(Owed::OwnQuery) => Verdict::Skip,
            Some(Owed::OwnLook) => Verdict::Found,
            _ => Verdict::Forward,
        }
    }

    /// ParseComplete.
    pub fn parsed(&mut self) -> Result<Outcome, Violation> {
        match self.pop() {
            Some(Owed::Parse(_) | Owed::ParseDuplicate) => Ok(Outcome::Client),
            Some(Owed::OwnParse(_) | Owed::OwnParseUnnamed) => Ok(Outcome::Own),
            _ => Err(Violation::Tag),
        }
    }

    /// Any other reply of a statement: settles the entry at the front when `tag` is its last reply.
    pub fn answered(&mut self, tag: u8) -> Result<Outcome, Violation> {
        let front = *self.owed.front().ok_or(Violation::Tag)?;
        let last = match (front, tag) {
            (Owed::OwnQuery | Owed::OwnLook, _) => return Ok(Outcome::Own),
            (Owed::Query, _) => return Ok(Outcome::Client),
            (Owed::FunctionCall, b'V') => false,
            (Owed::Bind, b'2') => true,
            (Owed::Describe, b't') => false,
            (Owed::Describe, b'T' | b'n') => true,
            (Owed::Execute, b'C' | b'I' | b's') => true,
            // Copying out of an extended statement: the responses are content, CommandComplete settles.
            (Owed::Execute, b'H' | b'c' | b'T') => false,
            (Owed::Close, b'3') => true,
            (Owed::OwnClose(_) | Owed::OwnCloseUnnamed, b'3') => {
                self.pop();
                return Ok(Outcome::Own);
            }
            _ => return Err(Violation::Tag),
        };
        if last {
            self.pop();
        }
        Ok(Outcome::Client)
    }

    /// ReadyForQuery: what it ends.
    pub fn ready(&mut self) -> Result<Owed, Violation> {
        match self.pop() {
            Some(
                ends @ (Owed::Sync
                | Owed::Query
                | Owed::FunctionCall
                | Owed::OwnQuery
                | Owed::OwnLook
                | Owed::OwnSync),
            ) => Ok(ends),
            _ => Err(Violation::Tag),
        }
    }

    /// CopyInResponse or CopyBothResponse: a Sync sent behind the statement will be read by the copy, and ignored, up to
    /// the copy's end. True when that was sent already.
    pub fn copy_in(&mut self) -> bool {
        let extended = self.owed.front() == Some(&Owed::Execute);
        while let Some(owed) = self.owed.get(1) {
            match owed {
                Owed::CopyEnd => {
                    self.owed.remove(1);
                    return true;
                }
                Owed::Sync if extended => {
                    self.owed.remove(1);
                    // Unless another one was sent behind it.
                    self.unsynced = !matches!(self.owed.back(), Some(Owed::Sync | Owed::OwnSync));
                }
                // Anything else makes the copy fail.
                _ => return false,
            }
        }
        false
    }

    /// ErrorResponse.
    pub fn failed(&mut self) -> Failure {
        let mut failure = Failure::default();
        match self.owed.front() {
            Some(Owed::OwnQuery) => failure.own = true,
            Some(Owed::OwnLook) => failure.look = true,
            // ReadyForQuery follows; also when the commit at the Sync itself failed. Nothing owed: the server says
            // goodbye.
            Some(Owed::Query | Owed::FunctionCall | Owed::Sync | Owed::OwnSync) | None => {}
            Some(first) => {
                failure.duplicate = *first == Owed::ParseDuplicate;
                failure.parse = matches!(first, Owed::Parse(_) | Owed::ParseDuplicate);
                while let Some(owed) = self.owed.front().copied() {
                    match owed {
                        Owed::Sync | Owed::OwnSync => return failure,
                        Owed::Parse(Some(statement)) => {
                            failure.undone.push(Undone::Parse(statement));
                            failure.changes += 1;
                        }
                        Owed::Parse(None) => {
                            failure.unnamed = true;
                            failure.changes += 1;
                        }
                        Owed::ParseDuplicate | Owed::SayParsed | Owed::SayClosed => failure.changes += 1,
                        Owed::OwnParse(statement) => failure.undone.push(Undone::Parse(statement)),
                        Owed::OwnClose(statement) => failure.undone.push(Undone::Close(statement)),
                        Owed::OwnParseUnnamed | Owed::OwnCloseUnnamed => failure.unnamed = true,
                        _ => {}
                    }
                    self.pop();
                }
                self.ignoring = true;
                self.unsynced = true;
            }
        }
        failure
    }
}
