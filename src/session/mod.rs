//! One client from accept to goodbye, seen from above the socket: what it sent, what that means for whoever serves it,
//! and what belongs to the client wherever it is served. Takes frames, answers orders; owns no socket and no clock, and
//! knows neither pools nor nodes: it says "this needs a node for a read", and the shard finds one. Mirrors
//! [`backend`](crate::backend): learn one, know the other.
//!
//! * [`startup`]: what the client asked for when it came;
//! * [`settings`]: what it has set; changes: how the server undoes that;
//! * [`order`]: what it answers to a frame;
//! * [`names`]: what its prepared statements are called;
//! * [`statements`]: what it has prepared, shared with everybody who prepared the same;
//! * [`functions`]: what is known of the functions it calls;
//! * [`channels`]: what it listens to;
//! * [`pins`]: why it keeps its backend;
//! * [`rest`]: what is kept of it while its client is idle.

mod changes;
pub mod channels;
pub mod functions;
mod names;
mod order;
pub mod pins;
mod prepared_view;
mod rest;
pub mod settings;
pub mod startup;
pub mod statements;

use std::rc::Rc;

use crate::limits::{SESSION_CHANNELS_MAX, SESSION_STATEMENTS_MAX};
use smallvec::SmallVec;

use crate::sql::{self, Administration, Analysis, Calls, Dialect, Effects, Mention, Verb};
use crate::wire::backend::{Report, TransactionStatus};
use crate::wire::frontend::{Bind, Parse, Target, put_query, read_execute, read_query};
use crate::wire::{Sqlstate, Violation};

use self::changes::Changes;
pub use self::channels::Channels;
use self::channels::Listening;
pub use self::names::Forgotten;
use self::names::{Names, deallocated};
use self::order::want_of;
pub use self::order::{Bound, Order, Plan, Renamed, Want};
pub use self::pins::Pins;
pub use self::rest::Rested;
pub use self::settings::{Settings, SharedSettings};
pub use self::statements::{Statement, StatementCache, StatementCount};

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
    names: Names,
    settings: SharedSettings,
    /// Whether its transactions are SERIALIZABLE unless they say otherwise: a standby refuses those.
    serializable: bool,
    startup_settings: SharedSettings,
    changes: Changes,
    listening: Listening,
    pins: Pins,
    /// The request with a DISCARD ALL that was sent and not answered yet.
    discard_all: Option<changes::Request>,
    /// Whether it went through.
    discarded: bool,
    /// The last request that was sent and not answered yet in which something returns to what it was when the session
    /// began. The server knows only what that was before a client's startup message.
    resetting: Option<changes::Request>,
    /// The last request that says how its transaction ends; 0 before the first.
    ending: changes::Request,
    /// How many requests were sent, and how many answered.
    sent: changes::Request,
    answered: changes::Request,
    /// Whether something that was sent asks for the values this session's sequences had last.
    own_writes: bool,
    status: TransactionStatus,
    /// Whether an error was answered since the last ReadyForQuery.
    failed: bool,
    rolled_back: bool,
    /// How many transactions ended since the last ReadyForQuery.
    ends: usize,
    /// Whether something was sent that may have done away with the cause of a pin.
    may_unpin: bool,
    /// What was noted since it was last asked whether the pins have a cause.
    pins_since: Pins,
    /// Whether statements that pin are refused.
    pub refuse_pins: bool,
    /// The functions we do not know that were called on the backend since it was last taken.
    called: SmallVec<[Rc<Calls>; 1]>,
    /// Whether something that was sent may make or change functions.
    defines: bool,
    /// What was sent wants of the connections of others.
    wishes: Option<Box<Wishes>>,
}

/// What a session wants of the connections of others.
#[derive(Debug, Default)]
struct Wishes {
    /// Nobody may be connected to these databases.
    vacate: Vec<Box<[u8]>>,
    /// When the transaction is over, logins turn out otherwise than before.
    logins: bool,
}

impl Session {
    pub fn new(settings: SharedSettings) -> Session {
        Session {
            serializable: is_serializable(&settings),
            dialect: Dialect::default(),
            statement_mode: false,
            console: false,
            console_portal: None,
            names: Names::default(),
            settings: settings.clone(),
            startup_settings: settings,
            changes: Changes::default(),
            listening: Listening::default(),
            pins: Pins::NONE,
            discard_all: None,
            discarded: false,
            resetting: None,
            ending: 0,
            sent: 0,
            answered: 0,
            own_writes: false,
            status: TransactionStatus::Idle,
            failed: false,
            rolled_back: false,
            ends: 0,
            may_unpin: false,
            pins_since: Pins::NONE,
            refuse_pins: false,
            called: SmallVec::new(),
            defines: false,
            wishes: None,
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

    /// The causes of these were gone when [`take_may_unpin`](Self::take_may_unpin) was called last. What was sent since
    /// then may have brought them back.
    pub fn unpin(&mut self, gone: Pins) {
        let gone = gone.without(self.pins_since);
        self.pins = self.pins.without(gone);
        if gone.contains(Pins::PREPARE) {
            self.names.none_by_sql();
        }
    }

    /// The backend with the causes of the pins is given up: the next one is asked which it has.
    pub fn moved(&mut self) {
        self.may_unpin = true;
    }

    /// Whether a server can tell if the pins still have a cause, and something was sent since the last call of this that
    /// may have done away with it.
    pub fn take_may_unpin(&mut self) -> bool {
        let may = std::mem::take(&mut self.may_unpin) && self.pins.without(Pins::TELLABLE).is_empty();
        if may {
            self.pins_since = Pins::NONE;
        }
        may
    }

    /// Whether a request that says how its transaction ends was sent and not answered yet.
    pub fn ending(&self) -> bool {
        self.ending > self.answered
    }

    /// The transaction status the client was told last.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// True exactly when what the server says it completed must be looked at.
    pub fn watches_tags(&self) -> bool {
        !self.changes.is_empty() || self.discard_all.is_some() || self.names.forgetting()
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
        let plan = self.plan(tag, body, whole, cache)?;
        if matches!(tag, b'S' | b'Q' | b'F') {
            self.asked();
        }
        Ok(plan)
    }

    /// The client sent what is answered by a ReadyForQuery.
    pub fn asked(&mut self) {
        self.sent += 1;
        self.changes.sent(self.sent);
    }

    /// It got a ReadyForQuery that no server sent.
    pub fn answered_by_us(&mut self) {
        self.answered = (self.answered + 1).min(self.sent);
    }

    fn plan(
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
                self.names.parse_unnamed(None);
                plan(Order::ParseAsIs(None), Want::Write)
            }
            b'B' => self.bind(Bind::read(body)?, body, cache),
            b'D' => match Target::read(body)? {
                Target::Statement(name) if self.console_statement(name).is_some() => {
                    let statement = self.console_statement(name).ok_or(Violation::Format)?;
                    plan(Order::ConsoleDescribe { statement, portal: false }, Want::Nothing)
                }
                Target::Portal(b"") if self.console_portal.is_some() => {
                    let statement = self.console_portal.clone().ok_or(Violation::Format)?;
                    plan(Order::ConsoleDescribe { statement, portal: true }, Want::Nothing)
                }
                Target::Statement(name) => match self.names.get(name).cloned() {
                    Some(statement) => {
                        let want = want_of(statement.analysis.intent);
                        let order = match self.renamed(&statement, &self.mentions(&statement), cache) {
                            Some(renamed) => Order::DescribeRenamed(renamed),
                            None if name.is_empty() => Order::DescribeUnnamed(statement),
                            None => Order::Describe(statement),
                        };
                        plan(order, want)
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
                    _ if self.names.run(portal, self.sent + 1) => plan(Order::ExecuteForgets, Want::Any),
                    _ => plan(Order::Execute, Want::Any),
                }
            }
            b'C' => match Target::read(body)? {
                Target::Statement(b"") => {
                    self.names.set_unnamed(None);
                    plan(Order::CloseAsIs, Want::Any)
                }
                Target::Statement(name) if self.names.close(name) => {
                    plan(Order::CloseStatement, Want::Nothing)
                }
                _ => plan(Order::CloseAsIs, Want::Any),
            },
            b'S' if body.is_empty() => plan(Order::Sync, Want::Nothing),
            b'H' if body.is_empty() => plan(Order::Flush, Want::Nothing),
            b'S' | b'H' => Err(Violation::Format),
            b'F' => {
                if !function_oid(body).is_some_and(|oid| LARGE_OBJECTS.contains(&oid)) {
                    self.pins |= Pins::FUNCTION;
                }
                plan(Order::FunctionCall, Want::Write)
            }
            b'd' | b'c' | b'f' => plan(Order::Copy, Want::Nothing),
            b'X' => plan(Order::Terminate, Want::Nothing),
            _ => Err(Violation::Tag),
        }
    }

    /// The oldest Parses and Closes that were not answered yet, so many together, did not happen.
    ///
    /// `failed`: whether the first is a Parse that failed; the others the server went over in silence.
    pub fn did_not_happen(&mut self, count: usize, failed: bool) {
        self.names.did_not_happen(count, failed);
    }

    /// The oldest Close that was not answered yet was answered.
    pub fn closed(&mut self) {
        self.names.closed();
    }

    /// The name of the oldest Parse not answered yet.
    pub fn parsing(&self) -> &[u8] {
        self.names.parsing()
    }

    /// What was sent since the last ReadyForQuery is refused as a whole: nothing of it happened.
    pub fn refused(&mut self) {
        self.names.nothing_happened();
        self.changes.refuse();
        self.discard_all = None;
        self.resetting = None;
        self.own_writes = false;
        self.names.decided(changes::Request::MAX);
        if self.status == TransactionStatus::Idle {
            self.changes.forget();
        }
    }

    /// As [`take_own_writes`](Self::take_own_writes), which may still be called.
    pub fn own_writes(&self) -> bool {
        self.own_writes
    }

    /// Whether what was sent since the last call asks for the values this session's sequences had last.
    pub fn take_own_writes(&mut self) -> bool {
        std::mem::take(&mut self.own_writes)
    }

    /// Whether the answer is still to come that decides if names of prepared statements are given up.
    pub fn forgetting(&self) -> bool {
        self.names.forgetting()
    }

    /// What was called on the backend since the last [`take_called`](Self::take_called), of functions we do not know.
    pub fn called(&self) -> &[Rc<Calls>] {
        &self.called
    }

    /// What was called is settled, one way or the other.
    pub fn take_called(&mut self) -> bool {
        let any = !self.called.is_empty();
        self.called.clear();
        any
    }

    /// Whether something that was sent since the last call of this may have made or changed functions.
    pub fn take_defines(&mut self) -> bool {
        std::mem::take(&mut self.defines)
    }

    /// The databases that nobody may be connected to for what is about to be sent.
    pub fn take_vacating(&mut self) -> Vec<Box<[u8]>> {
        self.wishes.as_mut().map_or(Vec::new(), |wishes| std::mem::take(&mut wishes.vacate))
    }

    /// Whether logins turn out otherwise since the transaction that is just over.
    pub fn take_login_changes(&mut self) -> bool {
        self.wishes.take().is_some_and(|wishes| wishes.logins)
    }

    /// What the client calls the statement with this number.
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        self.names.name_of(id)
    }

    /// The oldest Parse not answered yet was answered. The statement it made, if no server had accepted that before.
    pub fn parsed(&mut self) -> Option<Rc<Statement>> {
        self.names.parsed()
    }

    /// The server completed something, with this tag. Worth calling while [`watches_tags`](Self::watches_tags).
    pub fn completed(&mut self, tag: &[u8]) -> Forgotten {
        self.rolled_back = tag == b"ROLLBACK";
        self.discarded |= tag == b"DISCARD ALL";
        let ends = matches!(tag, b"COMMIT" | b"ROLLBACK" | b"PREPARE TRANSACTION" | b"DISCARD ALL");
        self.ends += usize::from(ends);
        self.names.completed(tag)
    }

    /// The client is being told of an error.
    pub fn error(&mut self) {
        self.failed = true;
        self.names.decided(self.answered + 1);
    }

    /// The server is ready. `backend` is what is set on the backend that says so; both follow what the text did. `more`:
    /// whether further requests wait for their answer.
    pub fn ready(&mut self, status: TransactionStatus, backend: &mut SharedSettings, more: bool) {
        // A Sync that a COPY has read over is never answered: with the last answer all are.
        self.answered = if more { (self.answered + 1).min(self.sent) } else { self.sent };
        let request = self.answered;
        self.status = status;
        let failed = std::mem::take(&mut self.failed);
        let rolled_back = std::mem::take(&mut self.rolled_back);
        let ends = std::mem::take(&mut self.ends);
        self.names.decided(request);
        self.discard_all.take_if(|sent| *sent <= request);
        if std::mem::take(&mut self.discarded) {
            self.pins = Pins::NONE;
            self.called.clear();
        }
        if self.changes.is_empty() {
            return;
        }
        if status == TransactionStatus::Idle {
            let settings = Rc::make_mut(&mut self.settings);
            self.changes.finish(
                request,
                settings,
                Rc::make_mut(backend),
                &mut self.listening.channels,
                &self.startup_settings,
                failed.then_some(ends),
                rolled_back,
            );
            self.serializable = is_serializable(&self.settings);
        } else {
            self.changes.confirm(request, failed);
        }
    }

    /// Whether something that was sent, and not answered yet, returns to what it was when the session began.
    pub fn resetting(&self) -> bool {
        self.resetting.is_some()
    }

    /// As [`resetting`](Self::resetting), once the answer is here.
    pub fn take_reset(&mut self) -> bool {
        self.resetting.take_if(|request| *request <= self.answered).is_some()
    }

    /// Within a transaction that has reset something: appends the SQL that brings the backend, on which `backend` was set
    /// when the transaction began, to what the session has. False when there is nothing to do.
    pub fn put_restore(&mut self, backend: &Settings, out: &mut Vec<u8>) -> bool {
        self.changes.put_restore(&self.settings, backend, &self.startup_settings, out)
    }

    /// The backend is gone, and the open transaction with it.
    pub fn lost(&mut self) {
        self.status = TransactionStatus::Idle;
        self.changes.forget();
        self.pins = Pins::NONE;
        self.discard_all = None;
        self.discarded = false;
        self.resetting = None;
        self.answered = self.sent;
        self.failed = false;
        self.rolled_back = false;
        self.called.clear();
        self.names.nothing_happened();
        self.names.decided(changes::Request::MAX);
    }

    fn query(&mut self, text: &[u8]) -> Result<Plan, Violation> {
        // A simple query destroys the unnamed statement (PostgreSQL manual 55.2.3).
        self.names.set_unnamed(None);
        let analysis = sql::classify(text, self.dialect);
        if let Some(plan) = self.answered_here(text, &analysis) {
            return Ok(plan);
        }
        Ok(match self.refusal(&analysis) {
            Some(report) => Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing },
            None => {
                self.note(text, &analysis);
                if analysis.effects.contains(Effects::UNKNOWN_CALL) {
                    let calls = sql::calls(text, self.dialect);
                    if !self.called.iter().any(|known| **known == calls) {
                        self.called.push(Rc::new(calls));
                    }
                }
                let order = match analysis.effects.intersects(NAMING) {
                    true => self.naming_query(text),
                    false => Order::Query,
                };
                Plan { order, want: want_of(analysis.intent) }
            }
        })
    }

    /// A simple query that mentions prepared statements.
    fn naming_query(&mut self, text: &[u8]) -> Order {
        let mentions = sql::mentions(text, self.dialect);
        let renamed = self.rename(text, &mentions);
        self.names.mentioned(&mentions, self.sent + 1);
        match renamed {
            None => Order::Query,
            Some((text, needs)) => {
                let mut frame = Vec::new();
                put_query(&mut frame, &text);
                Order::QueryRenamed { frame: frame.into(), needs }
            }
        }
    }

    /// What a prepared statement mentions.
    fn mentions<'s>(&self, statement: &'s Statement) -> Vec<Mention<'s>> {
        match statement.analysis.effects.intersects(NAMING) {
            true => sql::mentions(statement.query(), self.dialect),
            false => Vec::new(),
        }
    }

    /// The statement, if it mentions others of the protocol, in the words of backends.
    fn renamed(
        &self,
        statement: &Statement,
        mentions: &[Mention<'_>],
        cache: &mut StatementCache,
    ) -> Option<Renamed> {
        let (mut text, needs) = self.rename(statement.query(), mentions)?;
        let query = text.len();
        text.extend_from_slice(&statement.text()[statement.query().len()..]);
        let parse = Parse { name: b"", query: &text[..query], text: &text };
        Some(Renamed { statement: cache.intern(&parse, self.dialect), needs })
    }

    /// A text in which mentioned statements of the protocol have the names that backends know them by; and these
    /// statements. Nothing when it mentions none, or the server will not look at it because the transaction has failed.
    fn rename(&self, text: &[u8], mentions: &[Mention<'_>]) -> Option<(Vec<u8>, Vec<Rc<Statement>>)> {
        if self.status == TransactionStatus::Failed {
            return None;
        }
        let mut renamed = Vec::new();
        let mut needs: Vec<Rc<Statement>> = Vec::new();
        let mut copied = 0;
        for mention in mentions.iter().filter(|mention| mention.verb != Verb::DeallocateAll) {
            if let Verb::View { aliased } = mention.verb {
                needs = self.names.in_order().map(|(_, statement)| statement.clone()).collect();
                renamed.extend_from_slice(&text[copied..mention.place.start]);
                self.names.put_view(aliased, &mut renamed);
                copied = mention.place.end;
                continue;
            }
            let Some(statement) = self.names.get(mention.name.as_bytes()) else { continue };
            renamed.extend_from_slice(&text[copied..mention.place.start]);
            renamed.extend_from_slice(&statement.backend_name());
            copied = mention.place.end;
            if !needs.iter().any(|known| Rc::ptr_eq(known, statement)) {
                needs.push(statement.clone());
            }
        }
        if copied == 0 {
            return None;
        }
        renamed.extend_from_slice(&text[copied..]);
        Some((renamed, needs))
    }

    fn parse(&mut self, parse: Parse<'_>, cache: &mut StatementCache) -> Result<Plan, Violation> {
        if parse.name.is_empty() {
            let statement = cache.intern(&parse, self.dialect);
            self.listening.asks |= statement.analysis.effects.contains(Effects::CHANNELS);
            if self.answers(&statement.analysis) {
                self.names.set_unnamed(Some(statement));
                return Ok(Plan { order: Order::ConsoleParse, want: Want::Nothing });
            }
            if let Some(report) = self.refusal(&statement.analysis) {
                self.names.set_unnamed(None);
                return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
            }
            self.names.parse_unnamed(Some(statement.clone()));
            let want = want_of(statement.analysis.intent);
            return Ok(Plan { order: Order::ParseAsIs(Some(statement)), want });
        }
        if self.names.taken_by_sql(parse.name) {
            self.names.parse(parse.name, None);
            return Ok(Plan { order: Order::ParseTaken, want: Want::Any });
        }
        if let Some(taken) = self.names.get(parse.name) {
            let order = Order::ParseDuplicate(taken.clone());
            self.names.parse(parse.name, None);
            return Ok(Plan { order, want: Want::Any });
        }
        let statement = cache.intern(&parse, self.dialect);
        self.listening.asks |= statement.analysis.effects.contains(Effects::CHANNELS);
        if let Some(report) = self.refusal(&statement.analysis) {
            return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
        }
        if self.names.len() >= SESSION_STATEMENTS_MAX {
            let report = Report::error(
                Sqlstate::OUT_OF_MEMORY,
                format!("a session may hold at most {SESSION_STATEMENTS_MAX} prepared statements"),
            )
            .hint("Close statements that are not used any more, or use unnamed ones.");
            return Ok(Plan { order: Order::Refuse(Box::new(report)), want: Want::Nothing });
        }
        if self.answers(&statement.analysis) {
            self.names.set(parse.name, statement);
            return Ok(Plan { order: Order::ConsoleParse, want: Want::Nothing });
        }
        self.names.parse(parse.name, Some(statement.clone()));
        // What a server has accepted for this database and user before needs none to be prepared again: a client that
        // prepares outside a transaction does not have to wait for one that is in one.
        let want = match statement.is_accepted() {
            true => Want::Nothing,
            false => want_of(statement.analysis.intent),
        };
        Ok(Plan { order: Order::Parse(statement), want })
    }

    fn bind(&mut self, bind: Bind<'_>, body: &[u8], cache: &mut StatementCache) -> Result<Plan, Violation> {
        let known = self.names.get(bind.statement).cloned();
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
        if analysis.effects.contains(Effects::UNKNOWN_CALL)
            && !self.called.iter().any(|calls| Rc::ptr_eq(calls, statement.calls()))
        {
            self.called.push(statement.calls().clone());
        }
        let mentions = self.mentions(&statement);
        self.names.bound(bind.portal, &mentions);
        let want = want_of(analysis.intent);
        let renamed = self.renamed(&statement, &mentions, cache);
        let statement = match renamed {
            Some(renamed) => Bound::Renamed(renamed),
            None if bind.statement.is_empty() => Bound::Unnamed(statement),
            None => Bound::Named(statement),
        };
        Ok(Plan { order: Order::Bind { statement, portal, names }, want })
    }

    /// Notes what a text that is about to run leaves behind.
    fn note(&mut self, text: &[u8], analysis: &Analysis) {
        let effects = analysis.effects;
        // Closing a cursor is no effect of its own.
        self.may_unpin |= self.pins.contains(Pins::CURSOR);
        if effects.is_empty() {
            return;
        }
        if effects.contains(Effects::DDL) {
            self.defines = true;
            self.note_administration(text);
        }
        if effects.contains(Effects::TRANSACTION_END) {
            self.ending = self.sent + 1;
        }
        self.may_unpin |= effects.intersects(UNPINNING);
        self.own_writes |= effects.contains(Effects::SEQUENCE_STATE) && self.pins.is_empty();
        let pins = self.pins_of(effects);
        self.pins |= pins;
        self.pins_since |= pins;
        let idle = self.status == TransactionStatus::Idle;
        self.listening.note(effects, idle, self.changes.joining().next().is_some());
        if effects.contains(Effects::DISCARD_ALL) {
            self.discard_all = Some(self.sent + 1);
        }
        // The ends of transactions matter only when there is something to keep or to undo, savepoints also before.
        let always = match self.listening.own_backend {
            true => effects.without(LISTENING).intersects(CHANGING),
            false => effects.intersects(CHANGING),
        };
        let ends = effects.intersects(Effects::TRANSACTION_BEGIN.union(Effects::TRANSACTION_END));
        if always || (ends && !self.changes.is_empty()) {
            let noted = self.changes.note(sql::changes(text, self.dialect));
            if noted.resets && !self.startup_settings.is_empty() {
                self.resetting = Some(self.sent + 1);
            }
            if noted.opaque || self.changes.len() > CHANGES_MAX {
                self.pins |= Pins::SETTING;
            }
        }
    }

    fn note_administration(&mut self, text: &[u8]) {
        for administration in sql::administration(text, self.dialect) {
            let wishes = self.wishes.get_or_insert_default();
            match administration {
                Administration::Vacate(database) => wishes.vacate.push(database.as_bytes().into()),
                Administration::Logins => wishes.logins = true,
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
            self.names.remove(&name)?;
            return Some(Plan { order: Order::Deallocate, want: Want::Nothing });
        }
        None
    }

    /// Whether pgweir answers a text with this analysis.
    fn answers(&self, analysis: &Analysis) -> bool {
        self.console || analysis.effects.contains(Effects::SHOW_POOL)
    }

    /// What a statement with these effects leaves on its backend.
    fn pins_of(&self, effects: Effects) -> Pins {
        match self.listening.own_backend {
            true => Pins::of(effects),
            false => Pins::of(effects).without(Pins::LISTEN),
        }
    }

    fn console_statement(&self, name: &[u8]) -> Option<Rc<Statement>> {
        let statement = self.names.get(name)?;
        self.answers(&statement.analysis).then(|| statement.clone())
    }

    fn refusal(&self, analysis: &Analysis) -> Option<Report> {
        if analysis.effects.contains(Effects::LISTEN) && self.listening.channels.len() >= SESSION_CHANNELS_MAX
        {
            let message = format!("a session may listen to at most {SESSION_CHANNELS_MAX} channels");
            let report = Report::error(Sqlstate::OUT_OF_MEMORY, message);
            return Some(report.hint("UNLISTEN channels that are not needed any more."));
        }
        let pins = self.pins_of(analysis.effects);
        if self.refuse_pins && !pins.is_empty() {
            let report = Report::error(
                Sqlstate::FEATURE_NOT_SUPPORTED,
                format!(
                    "what this leaves in its session ({pins}) would keep a backend, which pool.pin refuses"
                ),
            );
            return Some(
                report
                    .hint("Set pool.pin = \"allow\", or pool.mode = \"session\" for this database or user."),
            );
        }
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

/// The function that a FunctionCall calls, by its number in the catalog.
fn function_oid(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|oid| u32::from_be_bytes(*oid))
}

/// What changes what follows a session, and what may undo that.
const CHANGING: Effects = Effects::SET.union(Effects::SAVEPOINT).union(Effects::ROLLBACK_TO).union(LISTENING);
const LISTENING: Effects = Effects::LISTEN.union(Effects::UNLISTEN);
/// What may do away with the cause of a pin.
const UNPINNING: Effects = Effects::ADVISORY
    .union(Effects::DDL)
    .union(Effects::TEMPORARY)
    .union(Effects::TRANSACTION_END)
    .union(Effects::PREPARE)
    .union(Effects::DEALLOCATE)
    .union(Effects::DEALLOCATE_ALL)
    .union(Effects::LISTEN)
    .union(Effects::UNLISTEN)
    .union(Effects::HOLD);
/// What names prepared statements in SQL.
const NAMING: Effects = Effects::PREPARE
    .union(Effects::EXECUTE)
    .union(Effects::DEALLOCATE)
    .union(Effects::DEALLOCATE_ALL)
    .union(Effects::DISCARD_ALL)
    .union(Effects::PREPARED_VIEW);
/// The functions on large objects that libpq calls by number; what they open ends with the transaction. From `pg_proc.dat`.
const LARGE_OBJECTS: [u32; 13] = [715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172];
/// Steps one transaction may take before it is not worth following them.
const CHANGES_MAX: usize = 10_000;

#[cfg(test)]
mod tests;
