//! One connection to one node, seen from above the socket: the login, the replies it still owes and to whom, the
//! statements it has prepared, whether it is fit for the next session. Takes frames, answers what to do with them; owns no
//! socket and no clock. Mirrors [`session`](crate::session): learn one, know the other.
//!
//! * [`login`]: from the startup message to the first ReadyForQuery;
//! * [`ledger`]: every message that was sent and what is owed for it, in order;
//! * [`prepared`]: the statements that live on this backend, least recently used first out;
//! * [`parameters`]: what the server reported about itself (ParameterStatus).

pub mod ledger;
pub mod login;
pub mod parameters;
pub mod prepared;

use crate::wire::backend::{TransactionStatus, read_parameter_status};
use crate::wire::{Violation, frontend};

use self::ledger::Undone;
pub use self::ledger::{Ledger, Outcome, Owed, Saying};
pub use self::login::{Login, LoginError};
pub use self::parameters::Parameters;
pub use self::prepared::{Prepared, StatementId};

/// What names a backend to its server, for cancelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendKey {
    pub process_id: u32,
    pub secret: Vec<u8>,
}

/// A backend that is logged in.
pub struct Backend {
    pub key: BackendKey,
    pub parameters: Parameters,
    pub prepared: Prepared,
    pub ledger: Ledger,
    status: TransactionStatus,
    /// Whose unnamed statement this backend holds: a number unique to one Parse of one session, or [`SOMEBODYS`]. `None`
    /// when it surely holds none.
    unnamed: Option<u64>,
    /// Why this backend must not be used again, once there is a reason.
    unfit: Option<&'static str>,
}

/// What to do with a frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the client.
    Forward,
    /// It answers a message of our own.
    Skip,
    /// A parameter changed: the client is told if what it sees changes.
    Parameter,
    /// The server says something that answers nothing: to the client who holds the backend, if any.
    Notice,
    /// The client's request got an error.
    Failed(NotDone),
    /// As `Failed`, for a message of our own: the error text is in the frame.
    OwnFailed,
    /// ReadyForQuery for the client.
    Ready(TransactionStatus),
    /// ReadyForQuery for a message of our own.
    OwnReady(TransactionStatus),
    /// A row that we asked for.
    Found,
    /// What we asked for is all here, or failed.
    Looked,
    /// What we asked for is refused.
    LookFailed,
    /// CommandComplete for the client.
    Complete,
    /// A Parse of the client succeeded.
    Parsed,
    /// The server started or ended copying from the client: CopyInResponse or CopyBothResponse.
    CopyIn,
    /// The error belongs to a Parse we know to be a duplicate; it is reworded with the client's name.
    Duplicate(NotDone),
}

/// What an error took with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotDone {
    /// How many Parses and Closes of the client did not happen.
    pub changes: usize,
    /// Whether the first of them is a Parse that failed; the others the server went over in silence.
    pub parse: bool,
}

impl Backend {
    /// A backend whose login is finished.
    pub fn new(key: BackendKey, parameters: Parameters, statements_max: usize) -> Backend {
        Backend {
            key,
            parameters,
            prepared: Prepared::new(statements_max),
            ledger: Ledger::default(),
            status: TransactionStatus::Idle,
            unnamed: None,
            unfit: None,
        }
    }

    /// The transaction status of the last ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// True exactly when nothing is owed and no transaction is open: the backend may change hands.
    pub fn quiet(&self) -> bool {
        self.status == TransactionStatus::Idle && self.ledger.settled()
    }

    /// Marks the backend as not to be used again.
    pub fn spoil(&mut self, reason: &'static str) {
        self.unfit.get_or_insert(reason);
    }

    /// Why it must not be used again.
    pub fn unfit(&self) -> Option<&'static str> {
        self.unfit
    }

    /// Whether the unnamed statement on this backend is the one of Parse number `stamp`.
    pub fn has_unnamed(&self, stamp: u64) -> bool {
        self.unnamed == Some(stamp)
    }

    /// Appends what makes `statement` exist on this backend: a Parse if it does not, a Close of the one that has to go.
    /// Our own replies are owed for both.
    pub fn ensure_prepared(&mut self, statement: StatementId, text: &[u8], out: &mut Vec<u8>) {
        if self.prepared.touch(statement) {
            return;
        }
        self.make_room(out);
        frontend::put_parse(out, &statement.name(), text);
        self.prepared.insert(statement);
        self.ledger.owe(Owed::OwnParse(statement));
    }

    /// A client's Parse of `statement`: answered by ourselves when the statement exists here, sent otherwise.
    pub fn parse(&mut self, statement: StatementId, text: &[u8], out: &mut Vec<u8>) {
        if self.prepared.touch(statement) {
            // In a transaction that has failed the server refuses to parse, and what was sent may fail one.
            if self.status != TransactionStatus::Failed && !self.ledger.owes_ready() {
                self.ledger.owe(Owed::SayParsed);
                return;
            }
            self.prepared.remove(statement);
            frontend::put_close_statement(out, &statement.name());
            self.ledger.owe(Owed::OwnClose(statement));
        }
        self.make_room(out);
        frontend::put_parse(out, &statement.name(), text);
        self.prepared.insert(statement);
        self.ledger.owe(Owed::Parse(Some(statement)));
    }

    /// A client's Parse of the unnamed statement, number `stamp`, is being sent as it came.
    pub fn parse_unnamed(&mut self, stamp: u64) {
        self.unnamed = Some(stamp);
        self.ledger.owe(Owed::Parse(None));
    }

    /// Parses the session's unnamed statement again, because another session used the place since.
    pub fn ensure_unnamed(&mut self, stamp: u64, text: &[u8], out: &mut Vec<u8>) {
        if !self.has_unnamed(stamp) {
            frontend::put_parse(out, b"", text);
            self.unnamed = Some(stamp);
            self.ledger.owe(Owed::OwnParseUnnamed);
        }
    }

    /// A message of the client means an unnamed statement that its session does not have: what another session left here
    /// goes first, so that the server says that there is none.
    pub fn ensure_no_unnamed(&mut self, out: &mut Vec<u8>) {
        if self.unnamed.take().is_some() {
            frontend::put_close_statement(out, b"");
            self.ledger.owe(Owed::OwnCloseUnnamed);
        }
    }

    /// It was another shard's before: what unnamed statement it holds is not known.
    pub fn was_elsewhere(&mut self) {
        self.unnamed = Some(SOMEBODYS);
    }

    /// A client's Close of the unnamed statement is being sent. It may not come to it.
    pub fn close_unnamed(&mut self) {
        self.unnamed = self.unnamed.and(Some(SOMEBODYS));
    }

    /// A query of our own: its replies are ours.
    pub fn own_query(&mut self, text: &[u8], out: &mut Vec<u8>) {
        frontend::put_query(out, text);
        self.unnamed = None;
        self.ledger.owe(Owed::OwnQuery);
    }

    /// A query of our own whose rows we want.
    pub fn look(&mut self, text: &[u8], out: &mut Vec<u8>) {
        frontend::put_query(out, text);
        self.unnamed = None;
        self.ledger.owe(Owed::OwnLook);
    }

    /// Appends what makes `statements` exist on this backend, as a request of its own, so that a simple query may follow.
    /// Inside an open pipeline it becomes a part of that.
    pub fn ensure_before_query<'t>(
        &mut self,
        statements: impl Iterator<Item = (StatementId, &'t [u8])>,
        out: &mut Vec<u8>,
    ) {
        let synced = !self.ledger.unsynced();
        for (statement, text) in statements {
            self.ensure_prepared(statement, text, out);
        }
        if synced && self.ledger.unsynced() {
            frontend::put_sync(out);
            self.ledger.owe(Owed::OwnSync);
        }
    }

    /// A simple query of the client is being sent. It destroys the unnamed statement.
    pub fn query(&mut self) {
        self.unnamed = None;
        self.ledger.owe(Owed::Query);
    }

    /// All prepared statements are gone: DEALLOCATE ALL or DISCARD ALL went through.
    pub fn forget_statements(&mut self) {
        self.prepared.clear();
        // By the extended protocol, the command itself may be the unnamed statement.
        self.close_unnamed();
    }

    /// Decides about one frame from the server. The body may be cut off for the types that are only relayed (rows, copy
    /// data), never for the others.
    ///
    /// # Errors
    ///
    /// [`Violation`] when the server sent what nobody asked for; the backend is discarded then.
    pub fn handle(&mut self, tag: u8, body: &[u8]) -> Result<Verdict, Violation> {
        let verdict = match tag {
            // Rows first: they are nearly all there is.
            b'D' | b'd' => return Ok(self.ledger.content()),
            // What the server remarks about a message of our own is nobody's business.
            b'N' if self.ledger.content() != Verdict::Forward => Verdict::Skip,
            b'N' | b'A' => Verdict::Notice,
            b'S' => {
                let (name, value) = read_parameter_status(body)?;
                self.parameters.set(name, value);
                Verdict::Parameter
            }
            b'Z' => {
                self.status = TransactionStatus::read(body)?;
                match self.ledger.ready()? {
                    Owed::OwnQuery | Owed::OwnSync => Verdict::OwnReady(self.status),
                    Owed::OwnLook => Verdict::Looked,
                    _ => Verdict::Ready(self.status),
                }
            }
            b'E' => self.fail()?,
            b'G' | b'W' => {
                let ended = self.ledger.copy_in();
                match self.ledger.content() {
                    Verdict::Forward if !ended => Verdict::CopyIn,
                    verdict => verdict,
                }
            }
            b'1' => match self.ledger.parsed()? {
                Outcome::Client => Verdict::Parsed,
                Outcome::Own => Verdict::Skip,
            },
            b'2' | b'3' | b'n' | b's' | b'T' | b't' | b'C' | b'I' | b'H' | b'V' | b'c' => {
                match self.ledger.answered(tag)? {
                    Outcome::Client if tag == b'C' => Verdict::Complete,
                    Outcome::Client => Verdict::Forward,
                    Outcome::Own => Verdict::Skip,
                }
            }
            _ => return Err(Violation::Tag),
        };
        Ok(verdict)
    }

    fn fail(&mut self) -> Result<Verdict, Violation> {
        let failure = self.ledger.failed();
        for undone in failure.undone.into_iter().rev() {
            match undone {
                Undone::Parse(statement) => self.prepared.remove(statement),
                Undone::Close(statement) => self.prepared.insert(statement),
            }
        }
        if failure.unnamed {
            self.unnamed = Some(SOMEBODYS);
        }
        if failure.look {
            return Ok(Verdict::LookFailed);
        }
        let not_done = NotDone { changes: failure.changes, parse: failure.parse };
        Ok(match (failure.own, failure.duplicate) {
            (true, _) => Verdict::OwnFailed,
            (false, true) => Verdict::Duplicate(not_done),
            (false, false) => Verdict::Failed(not_done),
        })
    }

    fn make_room(&mut self, out: &mut Vec<u8>) {
        while let Some(evicted) = self.prepared.evict() {
            frontend::put_close_statement(out, &evicted.name());
            self.ledger.owe(Owed::OwnClose(evicted));
        }
    }
}

/// The number of an unnamed statement that no session may rely on. Statements are counted from 1.
const SOMEBODYS: u64 = 0;

#[cfg(test)]
mod tests;
