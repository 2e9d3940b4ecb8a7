//! One client from accept to goodbye, seen from above the socket: what it sent, what that means for whoever serves it,
//! and what belongs to the client wherever it is served. Takes frames, answers orders; owns no socket and no clock, and
//! knows neither pools nor nodes: it says "this needs a node for a read", and the shard finds one. Mirrors
//! [`backend`](crate::backend): learn one, know the other.
//!
//! * [`startup`]: what the client asked for when it came;
//! * [`settings`]: what it has set, undone as the server undoes it;
//! * [`statements`]: what it has prepared, shared with everybody who prepared the same;
//! * [`pins`]: why it keeps its backend.

pub mod pins;
pub mod settings;
pub mod startup;
pub mod statements;

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::limits::SESSION_STATEMENTS_MAX;
use crate::sql::{self, Analysis, Dialect, Effects, Intent};
use crate::wire::backend::{Report, TransactionStatus};
use crate::wire::frontend::{Bind, Parse, Target, read_execute, read_query};
use crate::wire::{Sqlstate, Violation};

pub use self::pins::Pins;
pub use self::settings::{Changes, Settings, SharedSettings};
pub use self::statements::{Statement, StatementCache, StatementCount};

/// What a frame needs to be served, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Nothing by itself.
    #[default]
    Nothing,
    /// Any node.
    Any,
    /// A node for a read.
    Read,
    /// The primary.
    Write,
}

/// What to do with a frame from the client.
#[derive(Debug)]
pub enum Order {
    /// A simple query.
    Query,
    /// A Parse that the server sees as it came: unnamed statements, and texts too long to be kept.
    ParseAsIs(Option<Rc<Statement>>),
    /// A Parse of a named statement, under our own name.
    Parse(Rc<Statement>),
    /// A Parse of a name that is taken, by this statement.
    ParseDuplicate(Rc<Statement>),
    /// A Bind; the names take so many bytes of the body.
    Bind {
        statement: Bound,
        portal: usize,
        names: usize,
    },
    /// A Describe of a named statement.
    Describe(Rc<Statement>),
    /// A Describe of the unnamed statement.
    DescribeUnnamed(Rc<Statement>),
    /// A Describe of a portal, or of something unknown.
    DescribeAsIs,
    Execute,
    /// A Close of a named statement: forgotten here; backends keep theirs for others.
    CloseStatement,
    /// A Close of a portal, or of the unnamed statement.
    CloseAsIs,
    Sync,
    Flush,
    FunctionCall,
    /// CopyData, CopyDone, CopyFail.
    Copy,
    Terminate,
    /// DEALLOCATE of a statement that was prepared by the protocol: done here.
    Deallocate,
    /// Refused without asking a server.
    Refuse(Box<Report>),
    /// A simple query that pgweir answers itself.
    Console(Box<[u8]>),
    /// The same by the extended protocol, step by step.
    ConsoleParse,
    ConsoleBind,
    ConsoleDescribe {
        statement: Rc<Statement>,
        portal: bool,
    },
    ConsoleExecute(Rc<Statement>),
}

impl Order {
    /// Whether pgweir carries it out without a server.
    pub fn local(&self) -> bool {
        matches!(
            self,
            Order::Deallocate
                | Order::Refuse(_)
                | Order::Console(_)
                | Order::ConsoleParse
                | Order::ConsoleBind
                | Order::ConsoleDescribe { .. }
                | Order::ConsoleExecute(_)
        )
    }
}

/// What a Bind binds.
#[derive(Debug)]
pub enum Bound {
    Named(Rc<Statement>),
    Unnamed(Rc<Statement>),
    /// A name this session does not know: the server says so.
    Unknown,
}

/// A frame's order with what it takes to carry it out.
#[derive(Debug)]
pub struct Plan {
    pub order: Order,
    pub want: Want,
}

/// A change of the session's names that was not answered yet.
enum Naming {
    /// A Parse of this name; the statement it makes, unless the name is taken or empty.
    Parse(Box<[u8]>, Option<Rc<Statement>>),
    /// A Close of this name, which was this statement's.
    Close(Box<[u8]>, Rc<Statement>),
}

/// See the module's text.
pub struct Session {
    /// How its SQL must be read.
    pub dialect: Dialect,
    /// Whether only single statements outside transactions are allowed.
    pub statement_mode: bool,
    /// Whether this is the admin console: pgweir answers everything.
    pub console: bool,
    /// What the unnamed portal is bound to, when pgweir answers that.
    console_portal: Option<Rc<Statement>>,
    statements: FxHashMap<Box<[u8]>, Rc<Statement>>,
    unnamed: Option<Rc<Statement>>,
    /// In the order sent, which is the order they are answered in.
    naming: VecDeque<Naming>,
    settings: SharedSettings,
    /// Whether its transactions are SERIALIZABLE unless they say otherwise: a standby refuses those.
    serializable: bool,
    startup_settings: SharedSettings,
    changes: Changes,
    pins: Pins,
    /// Whether a DISCARD ALL was sent and not answered yet.
    discard_all: bool,
    /// Whether something that was sent asks for the values this session's sequences had last.
    own_writes: bool,
    status: TransactionStatus,
    /// Whether an error was answered since the last ReadyForQuery.
    failed: bool,
    rolled_back: bool,
    /// How many transactions ended since the last ReadyForQuery.
    ends: usize,
    /// Whether something that was sent and not answered yet forgets all prepared statements.
    forgetting: bool,
    /// Whether functions we do not know were called on the backend since it was last taken.
    called_unknown: bool,
}

impl Session {
    pub fn new(settings: SharedSettings) -> Session {
        Session {
            serializable: is_serializable(&settings),
            dialect: Dialect::default(),
            statement_mode: false,
            console: false,
            console_portal: None,
            statements: FxHashMap::default(),
            unnamed: None,
            naming: VecDeque::new(),
            settings: settings.clone(),
            startup_settings: settings,
            changes: Changes::default(),
            pins: Pins::NONE,
            discard_all: false,
            own_writes: false,
            status: TransactionStatus::Idle,
            failed: false,
            rolled_back: false,
            ends: 0,
            called_unknown: false,
            forgetting: false,
        }
    }

    /// What a backend must have set to serve this session.
    pub fn settings(&self) -> &SharedSettings {
        &self.settings
    }

    /// Whether its reads may run on a replica at all.
    pub fn reads_anywhere(&self) -> bool {
        !self.serializable
    }

    /// Why it keeps its backend.
    pub fn pins(&self) -> Pins {
        self.pins
    }

    pub fn pin(&mut self, pin: Pins) {
        self.pins |= pin;
    }

    /// The transaction status the client was told last.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// True exactly when what the server says it completed must be looked at.
    pub fn watches_tags(&self) -> bool {
        !self.changes.is_empty() || self.discard_all
    }

    /// Decides about one frame of the client. `whole` is false when the frame is too long to be kept and `body` only its
    /// beginning.
    ///
    /// # Errors
    ///
    /// [`Violation`] when the client broke the protocol; its connection is closed then.
    pub fn handle(
        &mut self,
        tag: u8,
        body: &[u8],
        whole: bool,
        cache: &mut StatementCache,
    ) -> Result<Plan, Violation> {
        let plan = |order, want| Ok(Plan { order, want });
        match tag {
            b'Q' if whole => self.query(read_query(body)?),
            b'Q' => {
                self.pins |= Pins::LONG_STATEMENT;
                plan(Order::Query, Want::Write)
            }
            b'P' if whole => self.parse(Parse::read(body)?, cache),
            b'P' => {
                self.pins |= Pins::LONG_STATEMENT;
                self.unnamed = None;
                plan(Order::ParseAsIs(None), Want::Write)
            }
            b'B' => self.bind(Bind::read(body)?, body),
            b'D' => match Target::read(body)? {
                Target::Statement(name) if self.console_statement(name).is_some() => {
                    let statement = self.console_statement(name).ok_or(Violation::Format)?;
                    plan(Order::ConsoleDescribe { statement, portal: false }, Want::Nothing)
                }
                Target::Portal(b"") if self.console_portal.is_some() => {
                    let statement = self.console_portal.clone().ok_or(Violation::Format)?;
                    plan(Order::ConsoleDescribe { statement, portal: true }, Want::Nothing)
                }
                Target::Statement(b"") => match &self.unnamed {
                    Some(statement) => {
                        let want = want_of(statement.analysis.intent);
                        plan(Order::DescribeUnnamed(statement.clone()), want)
                    }
                    None => plan(Order::DescribeAsIs, Want::Any),
                },
                Target::Statement(name) => match self.statements.get(name) {
                    Some(statement) => {
                        plan(Order::Describe(statement.clone()), want_of(statement.analysis.intent))
                    }
                    None => plan(Order::DescribeAsIs, Want::Any),
                },
                Target::Portal(_) => plan(Order::DescribeAsIs, Want::Any),
            },
            b'E' => {
                let (portal, _) = read_execute(body)?;
                match &self.console_portal {
                    Some(statement) if portal.is_empty() => {
                        plan(Order::ConsoleExecute(statement.clone()), Want::Nothing)
                    }
                    _ => plan(Order::Execute, Want::Any),
                }
            }
            b'C' => match Target::read(body)? {
                Target::Statement(name) if self.statements.contains_key(name) => {
                    let closed = self.statements.remove(name);
                    self.naming.extend(closed.map(|statement| Naming::Close(name.into(), statement)));
                    plan(Order::CloseStatement, Want::Nothing)
                }
                Target::Statement(b"") => {
                    self.unnamed = None;
                    plan(Order::CloseAsIs, Want::Any)
                }
                _ => plan(Order::CloseAsIs, Want::Any),
            },
            b'S' if body.is_empty() => plan(Order::Sync, Want::Nothing),
            b'H' if body.is_empty() => plan(Order::Flush, Want::Nothing),
            b'S' | b'H' => Err(Violation::Format),
            b'F' => plan(Order::FunctionCall, Want::Write),
            b'd' | b'c' | b'f' => plan(Order::Copy, Want::Nothing),
            b'X' => plan(Order::Terminate, Want::Nothing),
            _ => Err(Violation::Tag),
        }
    }

    /// The oldest Parses and Closes that were not answered yet, so many together, did not happen.
    pub fn did_not_happen(&mut self, count: usize) {
        let count = count.min(self.naming.len());
        // Last first, since one may have used the name another had freed.
        for naming in self.naming.drain(..count).rev() {
            match naming {
                Naming::Parse(name, Some(_)) => {
                    self.statements.remove(&name);
                }
                // A Parse that fails leaves no unnamed statement, not even the one before.
                Naming::Parse(name, None) if name.is_empty() => self.unnamed = None,
                Naming::Parse(..) => {}
                Naming::Close(name, statement) => {
                    self.statements.insert(name, statement);
                }
            }
        }
    }

    /// The oldest Close that was not answered yet was answered.
    pub fn closed(&mut self) {
        self.naming.pop_front();
    }

    /// The name of the oldest Parse not answered yet.
    pub fn parsing(&self) -> &[u8] {
        match self.naming.front() {
            Some(Naming::Parse(name, _)) => name,
            _ => b"",
        }
    }

    /// What was sent since the last ReadyForQuery is refused as a whole: nothing of it happened.
    pub fn refused(&mut self) {
        self.did_not_happen(self.naming.len());
        self.changes.confirm(true);
        self.discard_all = false;
        self.own_writes = false;
        if self.status == TransactionStatus::Idle {
            self.changes.forget();
        }
    }

    /// Whether what was sent since the last call asks for the values this session's sequences had last.
    pub fn take_own_writes(&mut self) -> bool {
        std::mem::take(&mut self.own_writes)
    }

    /// Whether the answer is still to come that decides if all prepared statements are forgotten.
    pub fn forgetting(&self) -> bool {
        self.forgetting
    }

    /// Whether functions we do not know were called since the last call of this.
    pub fn take_called_unknown(&mut self) -> bool {
        std::mem::take(&mut self.called_unknown)
    }

    /// The oldest Parse not answered yet was answered.
    pub fn parsed(&mut self) {
        if let Some(Naming::Parse(_, Some(statement))) = self.naming.pop_front() {
            statement.accepted();
        }
    }

    /// The server completed something, with this tag. Worth calling while [`watches_tags`](Self::watches_tags).
    pub fn completed(&mut self, tag: &[u8]) {
        self.rolled_back = tag == b"ROLLBACK";
        self.ends += usize::from(matches!(tag, b"COMMIT" | b"ROLLBACK" | b"PREPARE TRANSACTION"));
    }

    /// The client is being told of an error.
    pub fn error(&mut self) {
        self.failed = true;
    }

    /// The server is ready. `backend` is what is set on the backend that says so; both follow what the text did.
    /// True when everything the session had on its backend was discarded.
    pub fn ready(&mut self, status: TransactionStatus, backend: &mut SharedSettings) -> bool {
        self.status = status;
        let failed = std::mem::take(&mut self.failed);
        let rolled_back = std::mem::take(&mut self.rolled_back);
        let ends = std::mem::take(&mut self.ends);
        self.forgetting = false;
        let discarded = std::mem::take(&mut self.discard_all) && !failed;
        if discarded {
            self.pins = Pins::NONE;
            self.statements.clear();
            self.unnamed = None;
        }
        if self.changes.is_empty() {
            return discarded;
        }
        if status == TransactionStatus::Idle {
            let settings = Rc::make_mut(&mut self.settings);
            self.changes.finish(
                settings,
                Rc::make_mut(backend),
                &self.startup_settings,
                failed.then_some(ends),
                rolled_back,
            );
            self.serializable = is_serializable(&self.settings);
        } else {
            self.changes.confirm(failed);
        }
        discarded
    }

    /// The backend is gone, and the open transaction with it.
    pub fn lost(&mut self) {
        self.status = TransactionStatus::Idle;
        self.changes.forget();
        self.pins = Pins::NONE;
        self.discard_all = false;
        self.failed = false;
        self.rolled_back = false;
        self.did_not_happen(self.naming.len());
    }

    /// All prepared statements were deallocated.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }

    fn query(&mut self, text: &[u8]) -> Result<Plan, Violation> {
        // A simple query destroys the unnamed statement (PostgreSQL manual 55.2.3).
        self.unnamed = None;
        let analysis = sql::classify(text, self.dialect);
        if let Some(plan) = self.answered_here(text, &analysis) {
            return Ok(plan);
        }
        Ok(match self.refusal(&analysis) {
            Some(report) => Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing },
            None => {
                self.note(text, &analysis);
                Plan { order: Order::Query, want: want_of(analysis.intent) }
            }
        })
    }

    fn parse(&mut self, parse: Parse<'_>, cache: &mut StatementCache) -> Result<Plan, Violation> {
        if parse.name.is_empty() {
            let statement = cache.intern(&parse, self.dialect);
            self.unnamed = Some(statement.clone());
            if self.answers(&statement.analysis) {
                return Ok(Plan { order: Order::ConsoleParse, want: Want::Nothing });
            }
            if let Some(report) = self.refusal(&statement.analysis) {
                return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
            }
            self.naming.push_back(Naming::Parse(Box::default(), None));
            let want = want_of(statement.analysis.intent);
            return Ok(Plan { order: Order::ParseAsIs(Some(statement)), want });
        }
        if let Some(taken) = self.statements.get(parse.name) {
            let order = Order::ParseDuplicate(taken.clone());
            self.naming.push_back(Naming::Parse(parse.name.into(), None));
            return Ok(Plan { order, want: Want::Any });
        }
        let statement = cache.intern(&parse, self.dialect);
        if let Some(report) = self.refusal(&statement.analysis) {
            return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
        }
        if self.statements.len() >= SESSION_STATEMENTS_MAX {
            let report = Report::error(
                Sqlstate::OUT_OF_MEMORY,
                format!("a session may hold at most {SESSION_STATEMENTS_MAX} prepared statements"),
            )
            .hint("Close statements that are not used any more, or use unnamed ones.");
            return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
        }
        self.statements.insert(parse.name.into(), statement.clone());
        if self.answers(&statement.analysis) {
            return Ok(Plan { order: Order::ConsoleParse, want: Want::Nothing });
        }
        self.naming.push_back(Naming::Parse(parse.name.into(), Some(statement.clone())));
        // What a server has accepted for this database and user before needs none to be prepared again: a client that
        // prepares outside a transaction does not have to wait for one that is in one.
        let want = match statement.is_accepted() {
            true => Want::Nothing,
            false => want_of(statement.analysis.intent),
        };
        Ok(Plan { order: Order::Parse(statement), want })
    }

    fn bind(&mut self, bind: Bind<'_>, body: &[u8]) -> Result<Plan, Violation> {
        let known = match bind.statement {
            b"" => self.unnamed.clone(),
            name => self.statements.get(name).cloned(),
        };
        let names = body.len() - bind.rest.len();
        let portal = bind.portal.len();
        let Some(statement) = known else {
            return Ok(Plan {
                order: Order::Bind { statement: Bound::Unknown, portal, names },
                want: Want::Any,
            });
        };
        let analysis = statement.analysis;
        if bind.portal.is_empty() {
            self.console_portal = None;
        }
        if self.answers(&analysis) {
            self.console_portal = Some(statement);
            return Ok(Plan { order: Order::ConsoleBind, want: Want::Nothing });
        }
        self.note(statement.query(), &analysis);
        let want = want_of(analysis.intent);
        let statement = match bind.statement {
            b"" => Bound::Unnamed(statement),
            _ => Bound::Named(statement),
        };
        Ok(Plan { order: Order::Bind { statement, portal, names }, want })
    }

    /// Notes what a text that is about to run leaves behind.
    fn note(&mut self, text: &[u8], analysis: &Analysis) {
        let effects = analysis.effects;
        if effects.is_empty() {
            return;
        }
        self.called_unknown |= effects.contains(Effects::UNKNOWN_CALL);
        self.forgetting |= effects.intersects(Effects::DEALLOCATE_ALL.union(Effects::DISCARD_ALL));
        self.own_writes |= effects.contains(Effects::SEQUENCE_STATE) && self.pins.is_empty();
        self.pins |= Pins::of(effects);
        self.discard_all |= effects.contains(Effects::DISCARD_ALL);
        // The ends of transactions matter only when there is something to keep or to undo, savepoints also before.
        let always = effects.intersects(Effects::SET.union(Effects::SAVEPOINT).union(Effects::ROLLBACK_TO));
        let ends = effects.intersects(Effects::TRANSACTION_BEGIN.union(Effects::TRANSACTION_END));
        if always || (ends && !self.changes.is_empty()) {
            let noted = self.changes.note(sql::changes(text, self.dialect));
            if noted.opaque || self.changes.len() > CHANGES_MAX {
                self.pins |= Pins::SETTING;
            }
        }
    }

    /// What pgweir answers by itself.
    fn answered_here(&mut self, text: &[u8], analysis: &Analysis) -> Option<Plan> {
        let effects = analysis.effects;
        if self.answers(analysis) {
            return Some(Plan { order: Order::Console(text.into()), want: Want::Nothing });
        }
        if effects.contains(Effects::DEALLOCATE)
            && analysis.statements == 1
            && self.status != TransactionStatus::Failed
        {
            let name = deallocated(text)?;
            self.statements.remove(name.as_slice())?;
            return Some(Plan { order: Order::Deallocate, want: Want::Nothing });
        }
        None
    }

    /// Whether pgweir answers a text with this analysis.
    fn answers(&self, analysis: &Analysis) -> bool {
        self.console || analysis.effects.contains(Effects::SHOW_POOL)
    }

    fn console_statement(&self, name: &[u8]) -> Option<Rc<Statement>> {
        let statement = match name {
            b"" => self.unnamed.as_ref()?,
            name => self.statements.get(name)?,
        };
        self.answers(&statement.analysis).then(|| statement.clone())
    }

    fn refusal(&self, analysis: &Analysis) -> Option<Report> {
        let transactional = Effects::TRANSACTION_BEGIN.union(Effects::SAVEPOINT);
        (self.statement_mode && analysis.effects.intersects(transactional)).then(|| {
            Report::error(
                Sqlstate::FEATURE_NOT_SUPPORTED,
                "transactions of several statements are not available in statement pooling",
            )
            .hint("Set pool.mode = \"transaction\" for this database or user.")
        })
    }
}

/// Whether these settings make transactions SERIALIZABLE by default.
fn is_serializable(settings: &Settings) -> bool {
    settings.get(b"default_transaction_isolation").is_some_and(|value| {
        value.text().to_ascii_lowercase().windows(12).any(|part| part == b"serializable")
    })
}

/// What a text needs.
fn want_of(intent: Intent) -> Want {
    match intent {
        Intent::Empty | Intent::Session | Intent::End => Want::Any,
        Intent::Read | Intent::BeginReadOnly => Want::Read,
        Intent::Begin | Intent::Write => Want::Write,
    }
}

/// The name in a single `DEALLOCATE [PREPARE] name`, as the server folds it. `None` when the text is anything else, or
/// written in a way that is not worth following.
fn deallocated(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.trim().trim_end_matches(';').trim_end().splitn(2, char::is_whitespace);
    words.next().filter(|word| word.eq_ignore_ascii_case("deallocate"))?;
    let mut name = words.next()?.trim();
    if let Some((first, rest)) = name.split_once(char::is_whitespace)
        && first.eq_ignore_ascii_case("prepare")
    {
        name = rest.trim();
    }
    if let Some(quoted) = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        return (!quoted.contains('"')).then(|| quoted.as_bytes().to_vec());
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (plain && !name.is_empty()).then(|| name.to_ascii_lowercase().into_bytes())
}

/// Steps one transaction may take before it is not worth following them.
const CHANGES_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
