//! One statement after the other to intent and effects.
//!
//! The first word of a statement decides how the rest is read. What begins like a read is one, unless `scan`
//! finds something in it that is not.

use super::effects::Effects;
use super::keyword::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::relations::may_begin_with_temporary_schema;
use super::scan::{Name, Scan, unquoted};
use super::{Analysis, Dialect, Intent};

/// What `text` wants and does, by one pass over it: no allocation, time linear in its length, any bytes
/// allowed. A text that the server would refuse gets an answer too, and one that could be read in two ways is
/// a write.
pub fn classify(text: &[u8], dialect: Dialect) -> Analysis {
    let mut scan = Scan::new(Lexer::new(text, dialect));
    let mut statements = 0u8;
    let mut intent = Intent::Empty;
    while !scan.lexer.ended() {
        let first = scan.lexer.next();
        match first.kind {
            Kind::End => break,
            Kind::Semicolon => continue,
            _ => {}
        }
        scan.harmless = true;
        let this = statement(&mut scan, first);
        intent = if statements == 0 { this } else { together(intent, this) };
        statements = statements.saturating_add(1);
    }
    let mut effects = scan.effects;
    if statements > 1 && effects.contains(Effects::SHOW_POOL) {
        effects = effects.without(Effects::SHOW_POOL);
        intent = Intent::Write;
    }
    if scan.lexer.unfinished {
        effects |= Effects::UNFINISHED;
        intent = Intent::Write;
    }
    if scan.lexer.doubtful_name {
        intent = Intent::Write;
    }
    if scan.lexer.doubtful_string {
        effects |= Effects::OPAQUE;
        intent = Intent::Write;
    }
    Analysis { intent, effects, statements }
}

/// The intent of a text with statements of both intents. Texts that mix transactions with anything else are
/// writes: what runs in which transaction is for the session to follow, on the primary.
fn together(a: Intent, b: Intent) -> Intent {
    match (a, b) {
        (Intent::Session, Intent::Session) => Intent::Session,
        (Intent::Read | Intent::Session, Intent::Read | Intent::Session) => Intent::Read,
        _ => Intent::Write,
    }
}

/// Reads a statement whose first token is `first`, to its end.
fn statement(scan: &mut Scan, first: Token) -> Intent {
    match first.keyword() {
        Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table => query(scan, first),
        _ if first.kind == Kind::Open => query(scan, first),
        Keyword::Begin | Keyword::Start => begin(scan),
        Keyword::Commit | Keyword::End | Keyword::Rollback | Keyword::Abort => end(scan),
        Keyword::Savepoint | Keyword::Release => session(scan, Effects::SAVEPOINT),
        Keyword::Set => set(scan),
        Keyword::Reset => session(scan, Effects::SET),
        Keyword::Discard => discard(scan),
        Keyword::Show => show(scan),
        Keyword::Explain => explain(scan),
        Keyword::Copy => copy(scan),
        Keyword::Prepare => prepare(scan),
        Keyword::Execute => write(scan, first, Effects::EXECUTE),
        Keyword::Deallocate => deallocate(scan),
        Keyword::Declare => declare(scan),
        Keyword::Listen => write(scan, first, Effects::LISTEN),
        Keyword::Unlisten => write(scan, first, Effects::UNLISTEN),
        Keyword::Notify => write(scan, first, Effects::NOTIFY),
        Keyword::Do | Keyword::Call | Keyword::Load => write(scan, first, Effects::OPAQUE),
        Keyword::Create
        | Keyword::Alter
        | Keyword::Drop
        | Keyword::Comment
        | Keyword::Grant
        | Keyword::Revoke
        | Keyword::Refresh
        | Keyword::Reassign
        | Keyword::Security
        | Keyword::Import
        | Keyword::Cluster => write(scan, first, Effects::DDL),
        _ => write(scan, first, Effects::NONE),
    }
}

/// A statement that runs on the primary whatever else is in it; the rest is read for its effects.
fn write(scan: &mut Scan, first: Token, effects: Effects) -> Intent {
    scan.effects |= effects;
    scan.rest(first);
    Intent::Write
}

/// A statement of a few words, of which the first has told everything.
fn session(scan: &mut Scan, effects: Effects) -> Intent {
    scan.effects |= effects;
    skip(scan);
    Intent::Session
}

/// A query, in parentheses or without: a read, unless something in it says otherwise.
fn query(scan: &mut Scan, first: Token) -> Intent {
    scan.harmless &= begins_query(scan, first);
    scan.rest(first);
    read_if_harmless(scan)
}

/// Whether `first` begins a query, behind any number of parentheses.
fn begins_query(scan: &Scan, first: Token) -> bool {
    let mut token = first;
    if first.kind == Kind::Open {
        let mut lexer = scan.lexer;
        while token.kind == Kind::Open {
            token = lexer.next();
        }
    }
    matches!(token.keyword(), Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table)
}

fn read_if_harmless(scan: &Scan) -> Intent {
    if scan.harmless { Intent::Read } else { Intent::Write }
}

/// BEGIN or START TRANSACTION has been read. READ ONLY counts only where a standby would take the other modes
/// as well: it refuses SERIALIZABLE and READ WRITE.
fn begin(scan: &mut Scan) -> Intent {
    scan.effects |= Effects::TRANSACTION_BEGIN;
    let mut read_only = false;
    let mut refused = false;
    let mut before = Keyword::Other;
    loop {
        let token = scan.lexer.next();
        if token.ends_statement() {
            break;
        }
        let keyword = token.keyword();
        match (before, keyword) {
            (Keyword::Read, Keyword::Only) => read_only = true,
            (Keyword::Read, Keyword::Write) | (_, Keyword::Serializable) => refused = true,
            _ => {}
        }
        before = keyword;
    }
    if read_only && !refused { Intent::BeginReadOnly } else { Intent::Begin }
}

/// COMMIT, END, ROLLBACK or ABORT has been read.
fn end(scan: &mut Scan) -> Intent {
    let mut token = scan.lexer.next();
    if token.keyword() == Keyword::Prepared {
        // The second phase of a transaction that was prepared elsewhere: it ends none of ours.
        skip(scan);
        return Intent::Write;
    }
    let mut to = false;
    let mut chain = false;
    let mut before = Keyword::Other;
    while !token.ends_statement() {
        let keyword = token.keyword();
        to |= keyword == Keyword::To;
        chain |= before == Keyword::And && keyword == Keyword::Chain;
        before = keyword;
        token = scan.lexer.next();
    }
    if to {
        scan.effects |= Effects::ROLLBACK_TO;
        return Intent::Session;
    }
    scan.effects |= Effects::TRANSACTION_END;
    if chain {
        scan.effects |= Effects::CHAIN;
    }
    Intent::End
}

/// SET has been read. Which setting gets which value is the business of `changes`; here only what matters to
/// the route: a snapshot exists on one node, and a standby refuses to be what it cannot.
fn set(scan: &mut Scan) -> Intent {
    let mut token = scan.lexer.next();
    let local = match set_scope(scan, token) {
        Keyword::Local | Keyword::Transaction | Keyword::Constraints => true,
        Keyword::Session => scan.lexer.peek().keyword() == Keyword::Transaction,
        _ => false,
    };
    scan.effects |= if local { Effects::SET_LOCAL } else { Effects::SET };
    let mut intent = Intent::Session;
    let mut before = Keyword::Other;
    let mut is_value = false;
    while !token.ends_statement() {
        let keyword = token.keyword();
        match (before, keyword) {
            (Keyword::Transaction, Keyword::Snapshot)
            | (Keyword::Read, Keyword::Write)
            | (_, Keyword::Serializable)
                if local =>
            {
                intent = Intent::Write;
            }
            _ => {}
        }
        // With temporary objects first in the path, CREATE TABLE makes a temporary one without saying so.
        let bytes = scan.lexer.bytes(token);
        if is_value && may_begin_with_temporary_schema(bytes) || !is_value && is_seed(bytes) {
            scan.effects |= Effects::OPAQUE;
        }
        is_value = token.kind == Kind::Equals || matches!(keyword, Keyword::To | Keyword::Schema);
        before = keyword;
        token = scan.lexer.next();
    }
    intent
}

/// What `first`, the word behind SET, says about the rest; nothing if it names a setting, as in `SET
/// session.user_id = 7`.
fn set_scope(scan: &Scan, first: Token) -> Keyword {
    let next = scan.lexer.peek();
    let names = matches!(next.kind, Kind::Dot | Kind::Equals) || next.keyword() == Keyword::To;
    if names { Keyword::Other } else { first.keyword() }
}

/// Whether a name is that of the setting which is really the state of `random()`.
fn is_seed(name: &[u8]) -> bool {
    unquoted(name).eq_ignore_ascii_case(b"seed")
}

fn discard(scan: &mut Scan) -> Intent {
    let what = scan.lexer.next();
    if what.keyword() == Keyword::All {
        scan.effects |= Effects::SET | Effects::DISCARD_ALL;
    }
    skip_from(scan, what);
    Intent::Session
}

/// SHOW has been read. What a setting is depends on the node (`in_hot_standby`, `port`), so it is the
/// primary's to say. `SHOW pool_…` is pgpool's, and ours.
fn show(scan: &mut Scan) -> Intent {
    let name = scan.lexer.next();
    let bytes = scan.lexer.bytes(name);
    let pool = bytes.get(..SHOW_POOL.len()).is_some_and(|head| head.eq_ignore_ascii_case(SHOW_POOL));
    if name.kind == Kind::Word && pool && scan.lexer.peek().ends_statement() {
        return session(scan, Effects::SHOW_POOL);
    }
    skip_from(scan, name);
    Intent::Write
}

/// EXPLAIN has been read. It reads if what it explains does; to explain a write is left to the primary.
fn explain(scan: &mut Scan) -> Intent {
    let mut token = scan.lexer.next();
    if token.kind == Kind::Open && !begins_query(scan, token) {
        token = skip_parentheses(scan, token);
    } else {
        while matches!(token.keyword(), Keyword::Analyze | Keyword::Analyse | Keyword::Verbose) {
            token = scan.lexer.next();
        }
    }
    match token.keyword() {
        Keyword::Execute => write(scan, token, Effects::EXECUTE),
        Keyword::Create => write(scan, token, Effects::DDL),
        _ => query(scan, token),
    }
}

/// COPY has been read: a query in parentheses, or a table, perhaps with columns; then TO or FROM; then the
/// client, a file or a program. Only what goes from a read to the client is a read.
fn copy(scan: &mut Scan) -> Intent {
    let mut token = scan.lexer.next();
    if token.kind == Kind::Open {
        scan.harmless &= begins_query(scan, token);
        scan.inside(token);
        token = scan.lexer.next();
    } else {
        if token.keyword() == Keyword::Binary {
            token = scan.lexer.next();
        }
        while token.is_name() || token.kind == Kind::Dot {
            if matches!(token.keyword(), Keyword::To | Keyword::From) {
                break;
            }
            if token.is_name() {
                scan.relation(Name { kind: token.kind, span: token.span });
            }
            token = scan.lexer.next();
        }
        if token.kind == Kind::Open {
            token = skip_parentheses(scan, token);
        }
    }
    if token.ends_statement() {
        return Intent::Write;
    }
    let direction = token.keyword();
    let place = scan.lexer.next();
    // The server takes either word for the client, whatever the direction.
    let client = matches!(place.keyword(), Keyword::Stdin | Keyword::Stdout);
    skip_from(scan, place);
    match (direction, client) {
        (Keyword::To, true) => {
            scan.effects |= Effects::COPY_OUT;
            read_if_harmless(scan)
        }
        (Keyword::From, true) => {
            scan.effects |= Effects::COPY_IN;
            Intent::Write
        }
        _ => Intent::Write,
    }
}

/// PREPARE has been read: of a transaction, which ends it here, or of a statement. The latter's text is read
/// for its effects, as EXECUTE will not show them.
fn prepare(scan: &mut Scan) -> Intent {
    let name = scan.lexer.next();
    if name.keyword() == Keyword::Transaction && scan.lexer.peek().is_string() {
        scan.effects |= Effects::TRANSACTION_END;
        skip(scan);
        return Intent::End;
    }
    write(scan, name, Effects::PREPARE)
}

/// DEALLOCATE has been read. PREPARE behind it is noise, unless it is all there is.
fn deallocate(scan: &mut Scan) -> Intent {
    let mut name = scan.lexer.next();
    if name.keyword() == Keyword::Prepare && !scan.lexer.peek().ends_statement() {
        name = scan.lexer.next();
    }
    let all = name.keyword() == Keyword::All;
    scan.effects |= if all { Effects::DEALLOCATE_ALL } else { Effects::DEALLOCATE };
    skip_from(scan, name);
    Intent::Session
}

/// DECLARE has been read; WITH HOLD stands before the FOR that begins the query.
fn declare(scan: &mut Scan) -> Intent {
    scan.effects |= Effects::DECLARE;
    let mut before = Keyword::Other;
    loop {
        let token = scan.lexer.next();
        if token.ends_statement() {
            return Intent::Write;
        }
        let keyword = token.keyword();
        if before == Keyword::With && keyword == Keyword::Hold {
            scan.effects |= Effects::HOLD;
        }
        if keyword == Keyword::For {
            return write(scan, token, Effects::NONE);
        }
        before = keyword;
    }
}

/// Reads to the end of a statement in which nothing more matters.
fn skip(scan: &mut Scan) {
    while !scan.lexer.next().ends_statement() {}
}

/// The same, when `token` may have been the end already.
fn skip_from(scan: &mut Scan, token: Token) {
    if !token.ends_statement() {
        skip(scan);
    }
}

/// Skips a list in parentheses, of which `open` has been read, that holds no others. Returns the token behind
/// it.
fn skip_parentheses(scan: &mut Scan, open: Token) -> Token {
    let mut token = open;
    while token.kind != Kind::Close && !token.ends_statement() {
        token = scan.lexer.next();
    }
    if token.kind == Kind::Close { scan.lexer.next() } else { token }
}

const SHOW_POOL: &[u8] = b"pool_";
